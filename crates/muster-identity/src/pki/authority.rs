//! The authority that signs: [`CertificateAuthority`].
//!
//! It refuses to know who may have which certificate (that is [`SignerName`](super::SignerName)'s business)
//! and never sees a request: it issues what it is told, in one profile of its own.

use const_oid::AssociatedOid;
use der::asn1::{GeneralizedTime, OctetString};
use der::{DateTime, Encode};
use jiff::{SignedDuration, Timestamp};
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{self, Builder as _, CertificateBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension as _};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::Time;

use super::x509_signing::{KeySigner, SignatureBytes};
use super::{
    Certificate, CertificateError, KeyError, PrivateKey, PublicKey, Subject, SubjectAltNames, Usage,
};
use crate::entropy::Entropy;
use crate::name::{NODES_GROUP, NodeName};
use crate::pin::CaPin;

/// Common name of a cluster's CA, as kubeadm sets it.
pub const CLUSTER_CA_NAME: &str = "kubernetes";
/// How far a certificate's start lies before its signing, for clocks that are behind: 5 minutes.
pub const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// A life below this is not shortened by the back-dating (kube-controller-manager's rule).
const SHORT_LIFE: SignedDuration = SignedDuration::from_hours(8);

/// A CA: a certificate and the private key that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateAuthority {
    certificate: Certificate,
    key: PrivateKey,
}

/// What to certify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueRequest {
    /// User and groups, or the server's name.
    pub subject: Subject,
    /// Alternative names; none is a certificate without the extension.
    pub sans: SubjectAltNames,
    /// What it may be used for.
    pub usages: Vec<Usage>,
    /// The key to be certified.
    pub public_key: PublicKey,
    /// How long; cut at the CA's own end.
    pub validity: Validity,
}

/// How long a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// This long as kube-controller-manager counts: from [`BACKDATE`] before now; the end is moved back as
    /// well, unless less than 8 hours were asked for.
    For(SignedDuration),
    /// From and until, inclusive, as they stand.
    Between {
        /// First moment.
        not_before: Timestamp,
        /// Last moment.
        not_after: Timestamp,
    },
}

/// Why an authority cannot be used or did not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// The CA's certificate cannot be read.
    #[error("the CA certificate cannot be used")]
    Certificate(#[source] CertificateError),
    /// A key cannot be read, made or used.
    #[error("the key cannot be used")]
    Key(#[source] KeyError),
    /// Certificate and key of the CA do not belong together; look whether both files are of the same CA.
    #[error("the CA certificate {subject:?} and the CA key do not belong together")]
    Mismatch {
        /// Common name in the certificate.
        subject: String,
    },
    /// The certificate is not one of a CA.
    #[error("{subject:?} is not a CA certificate")]
    NotACa {
        /// Common name in the certificate.
        subject: String,
    },
    /// The CA itself has ended, or the validity asked for is empty; renew the CA.
    #[error("nothing is left of the validity: it would end at {not_after}")]
    Ended {
        /// The end that came out.
        not_after: Timestamp,
    },
    /// Something cannot be encoded, such as an alternative name with letters beyond ASCII.
    #[error("the certificate cannot be encoded: {detail}")]
    Encoding {
        /// What the encoder says.
        detail: String,
    },
}

impl CertificateAuthority {
    /// Makes a new self-signed CA with a fresh P-256 key, in kubeadm's profile: the common name is a DNS
    /// alternative name as well; key usages digital signature, key encipherment and cert sign.
    /// It starts [`BACKDATE`] before `now` and ends `life` after it.
    ///
    /// # Errors
    /// [`AuthorityError`] when the key cannot be made or the name not be encoded.
    pub fn new_self_signed(
        common_name: &str,
        now: Timestamp,
        life: SignedDuration,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, AuthorityError> {
        let key = PrivateKey::generate(entropy).map_err(AuthorityError::Key)?;
        Self::self_signed_with(key, common_name, now, life, entropy)
    }

    /// Makes a self-signed CA with a key that exists already.
    ///
    /// # Errors
    /// As [`CertificateAuthority::new_self_signed`].
    pub fn self_signed_with(
        key: PrivateKey,
        common_name: &str,
        now: Timestamp,
        life: SignedDuration,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, AuthorityError> {
        let subject = Subject::new::<String>(common_name, []);
        let name = subject.to_name().map_err(encoding)?;
        let identifier = key_identifier(key.public_key());
        let profile = Profile {
            subject: name.clone(),
            issuer: name,
            usages: vec![
                Usage::DigitalSignature,
                Usage::KeyEncipherment,
                Usage::CertSign,
            ],
            is_ca: true,
            subject_key: Some(identifier),
            // As Go for a self-signed one: the key identifier says it all.
            authority_key: None,
            names: SubjectAltNames::new([common_name], [])
                .to_extension()
                .map_err(encoding)?,
        };
        let (start, end) = (shift(now, -BACKDATE), shift(now, life));
        let certificate = sign(profile, &key, key.public_key(), (start, end), entropy)?;
        Ok(Self { certificate, key })
    }

    /// Loads a CA from two PEM texts and checks that they belong together. Of a bundle the first certificate
    /// counts.
    ///
    /// # Errors
    /// [`AuthorityError`] says what is wrong.
    pub fn load(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, AuthorityError> {
        let certificate =
            Certificate::from_pem(certificate_pem).map_err(AuthorityError::Certificate)?;
        let key = PrivateKey::from_pem(key_pem).map_err(AuthorityError::Key)?;
        Self::from_parts(certificate, key)
    }

    /// Puts a CA together and checks that its parts belong together.
    ///
    /// # Errors
    /// [`AuthorityError::NotACa`] or [`AuthorityError::Mismatch`].
    pub fn from_parts(certificate: Certificate, key: PrivateKey) -> Result<Self, AuthorityError> {
        let subject = || certificate.subject().common_name.clone();
        if !certificate.is_ca() {
            return Err(AuthorityError::NotACa { subject: subject() });
        }
        let public = certificate
            .public_key()
            .map_err(AuthorityError::Certificate)?;
        if public != *key.public_key() {
            return Err(AuthorityError::Mismatch { subject: subject() });
        }
        Ok(Self { certificate, key })
    }

    /// The CA's certificate.
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The CA's key.
    pub const fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The pin that a join command names.
    pub fn pin(&self) -> CaPin {
        CaPin::of(&self.certificate)
    }

    /// Signs a certificate in our own profile: KeyUsage (critical), ExtendedKeyUsage, BasicConstraints CA:FALSE
    /// (critical), AuthorityKeyIdentifier, SubjectAltName; a serial of 20 random bytes; at the latest the CA's
    /// end.
    ///
    /// # Errors
    /// [`AuthorityError`] when nothing is left of the validity or something cannot be encoded.
    pub fn issue(
        &self,
        request: &IssueRequest,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Certificate, AuthorityError> {
        let profile = Profile {
            subject: request.subject.to_name().map_err(encoding)?,
            issuer: self.certificate.subject_name().clone(),
            usages: request.usages.clone(),
            is_ca: false,
            subject_key: None,
            authority_key: self.certificate.key_identifier().map(<[u8]>::to_vec),
            names: request.sans.to_extension().map_err(encoding)?,
        };
        let validity = self.clip(request.validity, now)?;
        sign(profile, &self.key, &request.public_key, validity, entropy)
    }

    /// First and last moment of a certificate, within the CA's own.
    fn clip(
        &self,
        validity: Validity,
        now: Timestamp,
    ) -> Result<(Timestamp, Timestamp), AuthorityError> {
        let (not_before, end) = match validity {
            Validity::For(life) if life < SHORT_LIFE => (shift(now, -BACKDATE), shift(now, life)),
            Validity::For(life) => (shift(now, -BACKDATE), shift(shift(now, life), -BACKDATE)),
            Validity::Between {
                not_before,
                not_after,
            } => (not_before, not_after),
        };
        let not_after = end.min(self.certificate.not_after());
        if not_after < now || not_after <= not_before {
            return Err(AuthorityError::Ended { not_after });
        }
        Ok((not_before, not_after))
    }
}

impl IssueRequest {
    /// A server's certificate (digital signature, key encipherment, server auth), as kubeadm's `apiserver`.
    pub fn server(
        common_name: impl Into<String>,
        sans: SubjectAltNames,
        public_key: PublicKey,
        life: SignedDuration,
    ) -> Self {
        Self {
            subject: Subject::new::<String>(common_name, []),
            sans,
            usages: vec![
                Usage::DigitalSignature,
                Usage::KeyEncipherment,
                Usage::ServerAuth,
            ],
            public_key,
            validity: Validity::For(life),
        }
    }

    /// A client's certificate (digital signature, key encipherment, client auth): user and groups.
    pub fn client(subject: Subject, public_key: PublicKey, life: SignedDuration) -> Self {
        Self {
            subject,
            sans: SubjectAltNames::default(),
            usages: vec![
                Usage::DigitalSignature,
                Usage::KeyEncipherment,
                Usage::ClientAuth,
            ],
            public_key,
            validity: Validity::For(life),
        }
    }

    /// A node's client certificate (digital signature, client auth): `system:node:NAME` in `system:nodes`.
    pub fn node_client(node: &NodeName, public_key: PublicKey, life: SignedDuration) -> Self {
        Self {
            usages: vec![Usage::DigitalSignature, Usage::ClientAuth],
            ..Self::client(
                Subject::new(node.user_name(), [NODES_GROUP]),
                public_key,
                life,
            )
        }
    }
}

/// What stands in a certificate beside key, serial and validity.
struct Profile {
    subject: Name,
    issuer: Name,
    usages: Vec<Usage>,
    is_ca: bool,
    subject_key: Option<Vec<u8>>,
    authority_key: Option<Vec<u8>>,
    names: Option<SubjectAltName>,
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    /// In Go's order, so that our certificates look like Kubernetes' own.
    fn build_extensions(
        &self,
        _spki: SubjectPublicKeyInfoRef<'_>,
        _issuer_spki: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        let mut extensions = Vec::new();
        let mut bits: Vec<_> = self
            .usages
            .iter()
            .filter_map(|usage| usage.key_usage())
            .collect();
        if let Some(first) = bits.pop() {
            let set = bits.into_iter().fold(first.into(), |set, bit| set | bit);
            extensions.push(extension(true, &KeyUsage(set))?);
        }
        let mut purposes = Vec::new();
        for purpose in self.usages.iter().filter_map(|usage| usage.extended()) {
            if !purposes.contains(&purpose) {
                purposes.push(purpose);
            }
        }
        if !purposes.is_empty() {
            extensions.push(extension(false, &ExtendedKeyUsage(purposes))?);
        }
        let constraints = BasicConstraints {
            ca: self.is_ca,
            path_len_constraint: None,
        };
        extensions.push(extension(true, &constraints)?);
        if let Some(identifier) = &self.subject_key {
            let identifier = SubjectKeyIdentifier(OctetString::new(identifier.clone())?);
            extensions.push(extension(false, &identifier)?);
        }
        if let Some(identifier) = &self.authority_key {
            let authority = AuthorityKeyIdentifier {
                key_identifier: Some(OctetString::new(identifier.clone())?),
                ..AuthorityKeyIdentifier::default()
            };
            extensions.push(extension(false, &authority)?);
        }
        if let Some(names) = &self.names {
            extensions.push(names.to_extension(tbs.subject(), &[])?);
        }
        Ok(extensions)
    }
}

fn extension<T: AssociatedOid + Encode>(critical: bool, value: &T) -> der::Result<Extension> {
    Ok(Extension {
        extn_id: T::OID,
        critical,
        extn_value: OctetString::new(value.to_der()?)?,
    })
}

fn sign(
    profile: Profile,
    key: &PrivateKey,
    subject_key: &PublicKey,
    (not_before, not_after): (Timestamp, Timestamp),
    entropy: &mut dyn Entropy,
) -> Result<Certificate, AuthorityError> {
    let validity = x509_cert::time::Validity::new(x509_time(not_before)?, x509_time(not_after)?);
    let spki = SubjectPublicKeyInfoOwned::try_from(subject_key.spki_der()).map_err(encoding)?;
    let certificate = CertificateBuilder::new(profile, serial(entropy)?, validity, spki)
        .and_then(|builder| builder.build::<_, SignatureBytes>(&KeySigner(key)))
        .map_err(encoding)?;
    let der = certificate.to_der().map_err(encoding)?;
    Certificate::from_der(&der).map_err(AuthorityError::Certificate)
}

/// 20 random bytes with the top bit cleared (RFC 5280 section 4.1.2.2: positive, at most 20 octets); the next
/// bit is set so that none is ever zero or short.
fn serial(entropy: &mut dyn Entropy) -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 20];
    entropy.fill(&mut bytes);
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::new(&bytes).map_err(encoding)
}

/// RFC 7093 section 2, method 1: the left 160 bits of SHA-256 over the key's bits, as Go makes it.
fn key_identifier(key: &PublicKey) -> Vec<u8> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.key_bits());
    digest.as_ref()[..20].to_vec()
}

/// The builder turns years before 2050 into UTCTime, as RFC 5280 wants.
fn x509_time(time: Timestamp) -> Result<Time, AuthorityError> {
    let seconds = u64::try_from(time.as_second()).map_err(|_| AuthorityError::Encoding {
        detail: format!("{time} is before 1970"),
    })?;
    let moment = DateTime::from_unix_duration(std::time::Duration::from_secs(seconds));
    Ok(Time::GeneralTime(GeneralizedTime::from_date_time(
        moment.map_err(encoding)?,
    )))
}

/// Saturates at the ends of time.
fn shift(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(time)
}

fn encoding(error: impl std::fmt::Display) -> AuthorityError {
    AuthorityError::Encoding {
        detail: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
