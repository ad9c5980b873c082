//! The authority that signs: [`CertificateAuthority`].
use jiff::{SignedDuration, Timestamp};

use super::{
    Certificate, CertificateError, KeyError, PrivateKey, PublicKey, Subject, SubjectAltNames, Usage,
};
use crate::entropy::Entropy;

/// Common name of a cluster's CA, as kubeadm sets it.
pub const CLUSTER_CA_NAME: &str = "kubernetes";
/// How far a certificate's start lies before its signing, for clocks that are behind: 5 minutes.
pub const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// A CA: a certificate and its private key.
#[derive(Clone, Debug)]
pub struct CertificateAuthority;

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
    /// Certificate and key of the CA do not belong together.
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
    /// The CA itself has ended, or the validity asked for is empty.
    #[error("nothing is left of the validity: it would end at {not_after}")]
    Ended {
        /// The end that came out.
        not_after: Timestamp,
    },
    /// A name cannot be encoded.
    #[error("the certificate cannot be encoded: {detail}")]
    Encoding {
        /// What the encoder says.
        detail: String,
    },
}

impl CertificateAuthority {
    /// Makes a new self-signed CA with a fresh P-256 key, in kubeadm's profile.
    ///
    /// # Errors
    /// [`AuthorityError`] when the key cannot be made or the name not be encoded.
    pub fn new_self_signed(
        common_name: &str,
        now: Timestamp,
        life: SignedDuration,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, AuthorityError> {
        let _ = (common_name, now, life, entropy);
        todo!()
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
        let _ = (key, common_name, now, life, entropy);
        todo!()
    }

    /// Loads a CA from two PEM texts and checks that they belong together. Of a bundle the first certificate counts.
    ///
    /// # Errors
    /// [`AuthorityError`] says what is wrong.
    pub fn load(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, AuthorityError> {
        let _ = (certificate_pem, key_pem);
        todo!()
    }

    /// The CA's certificate.
    pub fn certificate(&self) -> &Certificate {
        todo!()
    }

    /// The CA's key.
    pub fn key(&self) -> &PrivateKey {
        todo!()
    }

    /// Signs a certificate in our own profile.
    ///
    /// # Errors
    /// [`AuthorityError`] when nothing is left of the validity or something cannot be encoded.
    pub fn issue(
        &self,
        request: &IssueRequest,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Certificate, AuthorityError> {
        let _ = (request, now, entropy);
        todo!()
    }
}

impl IssueRequest {
    /// A server's certificate (digital signature, key encipherment, server auth).
    pub fn server(
        common_name: impl Into<String>,
        sans: SubjectAltNames,
        public_key: PublicKey,
        life: SignedDuration,
    ) -> Self {
        let _ = (common_name.into(), sans, public_key, life);
        todo!()
    }

    /// A client's certificate (digital signature, key encipherment, client auth): user and groups.
    pub fn client(subject: Subject, public_key: PublicKey, life: SignedDuration) -> Self {
        let _ = (subject, public_key, life);
        todo!()
    }

    /// A node's client certificate: `system:node:NAME` in `system:nodes`.
    pub fn node_client(
        node: &crate::name::NodeName,
        public_key: PublicKey,
        life: SignedDuration,
    ) -> Self {
        let _ = (node, public_key, life);
        todo!()
    }
}
