//! Certificate signing requests: [`Csr`] (PKCS #10, RFC 2986).
use super::{KeyError, PemError, PrivateKey, PublicKey, Subject, SubjectAltNames};

/// A certificate signing request whose own signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    der: Vec<u8>,
    subject: Subject,
    sans: SubjectAltNames,
    public_key: PublicKey,
}

/// Why something is not an acceptable request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// The text is not PEM.
    #[error("the request is not PEM")]
    Pem(#[source] PemError),
    /// There is no block `CERTIFICATE REQUEST` in the text, or it is not the only one.
    #[error("a request is exactly one PEM block CERTIFICATE REQUEST")]
    NotOneRequest,
    /// The bytes are no PKCS #10 request.
    #[error("the request is damaged: {detail}")]
    Damaged {
        /// What the decoder says.
        detail: String,
    },
    /// Its key is of no known kind, damaged, or could not sign.
    #[error("the request's key cannot be used")]
    Key(#[source] KeyError),
    /// The requester does not hold the key that it asks a certificate for.
    #[error("the request's signature does not verify")]
    Signature,
    /// The request asks for a CA certificate; none is ever given.
    #[error("the request asks for a CA certificate")]
    AsksForCa,
}

impl Csr {
    /// Builds and signs a request.
    ///
    /// # Errors
    /// [`CsrError::Key`] when signing fails, [`CsrError::Damaged`] when a name cannot be encoded.
    pub fn build(
        key: &PrivateKey,
        subject: &Subject,
        sans: &SubjectAltNames,
    ) -> Result<Self, CsrError> {
        let _ = (key, subject, sans);
        todo!()
    }

    /// Reads a PEM request and verifies its signature.
    ///
    /// # Errors
    /// [`CsrError`] says what is wrong.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CsrError> {
        let _ = pem;
        todo!()
    }

    /// Reads a DER request and verifies its signature.
    ///
    /// # Errors
    /// [`CsrError`] says what is wrong.
    pub fn from_der(der: &[u8]) -> Result<Self, CsrError> {
        let _ = der;
        todo!()
    }

    /// PEM `CERTIFICATE REQUEST`.
    pub fn to_pem(&self) -> String {
        super::pem::encode("CERTIFICATE REQUEST", &self.der)
    }

    /// The DER bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whom the certificate is asked for.
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The alternative names asked for.
    pub const fn subject_alt_names(&self) -> &SubjectAltNames {
        &self.sans
    }

    /// The key to be certified.
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}
