//! Certificates as values: [`Certificate`] and [`CertificateBundle`].
//!
//! It refuses to know which certificate is trusted and what time it is. Chains are the TLS library's business;
//! here one certificate is checked against one issuer.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{
    ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME,
    ID_CE_SUBJECT_KEY_IDENTIFIER,
};
use der::{Decode, Encode as _, Reader as _, SliceReader};
use jiff::Timestamp;
use x509_cert::certificate::TbsCertificate;
use x509_cert::ext::pkix::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::time::Time;

use super::{KeyError, PemError, PublicKey, Subject, SubjectAltNames, Usage, pem};

const LABEL: &str = "CERTIFICATE";
/// Largest DER certificate that is looked at, in bytes.
const MAX_DER: usize = 256 * 1024;

/// An X.509 certificate (RFC 5280) that was read or issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    spki: Vec<u8>,
    subject: Subject,
    issuer: Subject,
    subject_name: Name,
    issuer_name: Name,
    sans: SubjectAltNames,
    not_before: Timestamp,
    not_after: Timestamp,
    serial: Vec<u8>,
    is_ca: bool,
    usages: Vec<Usage>,
    key_identifier: Option<Vec<u8>>,
}

/// One certificate or more, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateBundle(Vec<Certificate>);

/// Why something is not a certificate or does not verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The text is not PEM.
    #[error("the certificate is not PEM")]
    Pem(#[source] PemError),
    /// There is no certificate in the text.
    #[error("no certificate found")]
    Missing,
    /// The bytes are no X.509 certificate.
    #[error("the certificate is damaged: {detail}")]
    Damaged {
        /// What the decoder says.
        detail: String,
    },
    /// Its key is of no known kind or damaged.
    #[error("the certificate's key cannot be used")]
    Key(#[source] KeyError),
    /// It was not signed by the key that it should be signed by.
    #[error("the certificate was not signed by {issuer:?}")]
    NotSignedBy {
        /// Common name of the supposed issuer.
        issuer: String,
    },
}

impl Certificate {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// [`CertificateError`] says what is wrong.
    pub fn from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        let blocks = pem::parse(text).map_err(CertificateError::Pem)?;
        let block = blocks.iter().find(|block| block.label == LABEL);
        Self::from_der(block.ok_or(CertificateError::Missing)?.der.expose())
    }

    /// Reads one DER certificate.
    ///
    /// # Errors
    /// [`CertificateError::Damaged`] when it is none.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_DER {
            return Err(CertificateError::Damaged {
                detail: format!("{} bytes", der.len()),
            });
        }
        Self::read(der).map_err(|error| CertificateError::Damaged {
            detail: error.to_string(),
        })
    }

    fn read(der: &[u8]) -> der::Result<Self> {
        let certificate = x509_cert::Certificate::from_der(der)?;
        let tbs = certificate.tbs_certificate();
        let sans = match extension::<SubjectAltName>(tbs, ID_CE_SUBJECT_ALT_NAME)? {
            Some(names) => SubjectAltNames::from_extension(&names)?,
            None => SubjectAltNames::default(),
        };
        let constraints = extension::<BasicConstraints>(tbs, ID_CE_BASIC_CONSTRAINTS)?;
        let identifier = extension::<SubjectKeyIdentifier>(tbs, ID_CE_SUBJECT_KEY_IDENTIFIER)?;
        Ok(Self {
            der: der.to_vec(),
            spki: tbs.subject_public_key_info().to_der()?,
            subject: Subject::from_name(tbs.subject())?,
            issuer: Subject::from_name(tbs.issuer())?,
            subject_name: tbs.subject().clone(),
            issuer_name: tbs.issuer().clone(),
            sans,
            not_before: timestamp(tbs.validity().not_before)?,
            not_after: timestamp(tbs.validity().not_after)?,
            serial: tbs.serial_number().as_bytes().to_vec(),
            is_ca: constraints.is_some_and(|constraints| constraints.ca),
            usages: usages_of(tbs)?,
            key_identifier: identifier.map(|identifier| identifier.0.as_bytes().to_vec()),
        })
    }

    /// The DER bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// PEM `CERTIFICATE`.
    pub fn to_pem(&self) -> String {
        pem::encode(LABEL, &self.der)
    }

    /// The DER SubjectPublicKeyInfo, as it stands in the certificate.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The public key.
    ///
    /// # Errors
    /// [`CertificateError::Key`] when its kind is not known.
    pub fn public_key(&self) -> Result<PublicKey, CertificateError> {
        PublicKey::from_spki_der(&self.spki).map_err(CertificateError::Key)
    }

    /// Whom it is for.
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Who issued it.
    pub const fn issuer(&self) -> &Subject {
        &self.issuer
    }

    /// Its alternative names.
    pub const fn subject_alt_names(&self) -> &SubjectAltNames {
        &self.sans
    }

    /// Valid from.
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Valid until, inclusive.
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether `now` lies within the validity.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whether it is a CA's (BasicConstraints CA:TRUE).
    pub const fn is_ca(&self) -> bool {
        self.is_ca
    }

    /// What it may be used for: KeyUsage, then ExtendedKeyUsage; purposes unknown to Kubernetes are left out.
    pub fn usages(&self) -> &[Usage] {
        &self.usages
    }

    /// The serial number, big endian without sign byte.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The SubjectKeyIdentifier, when there is one.
    pub(super) fn key_identifier(&self) -> Option<&[u8]> {
        self.key_identifier.as_deref()
    }

    /// The subject as it is encoded, for the issuer field of what it signs.
    pub(super) const fn subject_name(&self) -> &Name {
        &self.subject_name
    }

    /// Checks that `issuer` signed this certificate: the names fit, `issuer` is a CA and its key verifies the
    /// signature. Validity in time is not looked at.
    ///
    /// # Errors
    /// [`CertificateError::NotSignedBy`], or [`CertificateError::Key`] when the issuer's key is of no known kind.
    pub fn verify_signed_by(&self, issuer: &Self) -> Result<(), CertificateError> {
        let refuse = || CertificateError::NotSignedBy {
            issuer: issuer.subject.common_name.clone(),
        };
        if !issuer.is_ca || self.issuer_name != issuer.subject_name {
            return Err(refuse());
        }
        let damaged = |error: der::Error| CertificateError::Damaged {
            detail: error.to_string(),
        };
        let certificate = x509_cert::Certificate::from_der(&self.der).map_err(damaged)?;
        // The signed bytes as they came, not as we would write them.
        let signed = first_element(&self.der).map_err(damaged)?;
        let algorithm = certificate.signature_algorithm();
        if algorithm != certificate.tbs_certificate().signature() {
            return Err(refuse());
        }
        let signature = certificate.signature().as_bytes().ok_or_else(refuse)?;
        issuer
            .public_key()?
            .verify_x509(algorithm.oid, signed, signature)
            .map_err(|_| refuse())
    }
}

impl CertificateBundle {
    /// Reads every certificate of a PEM text; other blocks are skipped.
    ///
    /// # Errors
    /// [`CertificateError`] at the first damaged one, or when there is none.
    pub fn from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        let blocks = pem::parse(text).map_err(CertificateError::Pem)?;
        let certificates = blocks
            .iter()
            .filter(|block| block.label == LABEL)
            .map(|block| Certificate::from_der(block.der.expose()))
            .collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() {
            return Err(CertificateError::Missing);
        }
        Ok(Self(certificates))
    }

    /// The certificates, in order.
    pub fn certificates(&self) -> &[Certificate] {
        &self.0
    }

    /// Those certificates for which `keep` is true.
    #[must_use]
    pub fn retain(&self, keep: impl Fn(&Certificate) -> bool) -> Self {
        Self(
            self.0
                .iter()
                .filter(|certificate| keep(certificate))
                .cloned()
                .collect(),
        )
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them as PEM, in order.
    pub fn to_pem(&self) -> String {
        self.0.iter().map(Certificate::to_pem).collect()
    }
}

impl From<Vec<Certificate>> for CertificateBundle {
    fn from(certificates: Vec<Certificate>) -> Self {
        Self(certificates)
    }
}

impl From<Certificate> for CertificateBundle {
    fn from(certificate: Certificate) -> Self {
        Self(vec![certificate])
    }
}

/// The bytes of the first element inside a SEQUENCE: what the signature beside it covers.
pub(super) fn first_element(der: &[u8]) -> der::Result<&[u8]> {
    let mut reader = SliceReader::new(der)?;
    reader.sequence(|inner| {
        let first = inner.tlv_bytes()?;
        let rest = inner.remaining_len();
        inner.read_slice(rest)?;
        Ok(first)
    })
}

fn extension<T: for<'a> Decode<'a, Error = der::Error>>(
    tbs: &TbsCertificate,
    oid: ObjectIdentifier,
) -> der::Result<Option<T>> {
    let mut found = tbs
        .extensions()
        .into_iter()
        .flatten()
        .filter(|entry| entry.extn_id == oid);
    found
        .next()
        .map(|entry| T::from_der(entry.extn_value.as_bytes()))
        .transpose()
}

fn usages_of(tbs: &TbsCertificate) -> der::Result<Vec<Usage>> {
    let bits = extension::<KeyUsage>(tbs, ID_CE_KEY_USAGE)?;
    let purposes = extension::<ExtendedKeyUsage>(tbs, ID_CE_EXT_KEY_USAGE)?;
    let mut usages = Vec::new();
    for usage in Usage::CANONICAL {
        let has_bit = usage
            .key_usage()
            .zip(bits)
            .is_some_and(|(bit, set)| set.0.contains(bit));
        let has_purpose = usage
            .extended()
            .zip(purposes.as_ref())
            .is_some_and(|(purpose, list)| list.0.contains(&purpose));
        if has_bit || has_purpose {
            usages.push(usage);
        }
    }
    Ok(usages)
}

fn timestamp(time: Time) -> der::Result<Timestamp> {
    let seconds = time.to_unix_duration().as_secs();
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_err(|_| der::Tag::GeneralizedTime.value_error().into())
}

#[cfg(test)]
mod tests;
