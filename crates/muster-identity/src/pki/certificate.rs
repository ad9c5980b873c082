//! Certificates as values: [`Certificate`] and [`CertificateBundle`].
use jiff::Timestamp;

use super::{KeyError, PemError, PublicKey, Subject, SubjectAltNames};

/// An X.509 certificate that was read or issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    spki: Vec<u8>,
    der: Vec<u8>,
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
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        let _ = pem;
        todo!()
    }

    /// Reads one DER certificate.
    ///
    /// # Errors
    /// [`CertificateError`] says what is wrong.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let _ = der;
        todo!()
    }

    /// The DER bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// PEM `CERTIFICATE`.
    pub fn to_pem(&self) -> String {
        super::pem::encode("CERTIFICATE", &self.der)
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
        todo!()
    }

    /// Whom it is for.
    pub fn subject(&self) -> &Subject {
        todo!()
    }

    /// Who issued it.
    pub fn issuer(&self) -> &Subject {
        todo!()
    }

    /// Its alternative names.
    pub fn subject_alt_names(&self) -> &SubjectAltNames {
        todo!()
    }

    /// Valid from.
    pub fn not_before(&self) -> Timestamp {
        todo!()
    }

    /// Valid until, inclusive.
    pub fn not_after(&self) -> Timestamp {
        todo!()
    }

    /// Whether `now` lies within the validity.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before() <= now && now <= self.not_after()
    }

    /// Whether it is a CA's (BasicConstraints CA:TRUE).
    pub fn is_ca(&self) -> bool {
        todo!()
    }

    /// The serial number, big endian without sign byte.
    pub fn serial(&self) -> &[u8] {
        todo!()
    }

    /// Checks that `issuer` signed this certificate: names fit, `issuer` is a CA, the signature verifies.
    ///
    /// # Errors
    /// [`CertificateError::NotSignedBy`] or [`CertificateError::Key`].
    pub fn verify_signed_by(&self, issuer: &Self) -> Result<(), CertificateError> {
        let _ = issuer;
        todo!()
    }
}

impl CertificateBundle {
    /// Reads every certificate of a PEM text; other blocks are skipped.
    ///
    /// # Errors
    /// [`CertificateError`] at the first damaged one, or when there is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        let _ = pem;
        todo!()
    }

    /// The certificates, in order.
    pub fn certificates(&self) -> &[Certificate] {
        &self.0
    }

    /// Those certificates for which `keep` is true.
    #[must_use]
    pub fn retain(&self, keep: impl Fn(&Certificate) -> bool) -> Self {
        Self(self.0.iter().filter(|certificate| keep(certificate)).cloned().collect())
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
