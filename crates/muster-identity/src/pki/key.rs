//! A private key: [`PrivateKey`].
use super::{KeyKind, PemError, PublicKey};
use crate::entropy::Entropy;
use crate::secret::Secret;

/// A private key for signing: ECDSA P-256 (the default) or P-384, or RSA from 2048 bits. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PrivateKey;

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not PEM.
    #[error("the key is not PEM")]
    Pem(#[source] PemError),
    /// There is no key in the text; look whether it is the right file.
    #[error("no private key found")]
    Missing,
    /// The key is encrypted with a passphrase; decrypt it first.
    #[error("the private key is encrypted")]
    Encrypted,
    /// The key's bytes are damaged, or public and private half do not fit.
    #[error("the {encoding} key is damaged")]
    Damaged {
        /// The encoding it was read as.
        encoding: &'static str,
    },
    /// A kind of key that is not supported; use ECDSA P-256 or P-384 or RSA from 2048 bits.
    #[error("keys of the kind {kind} are not supported")]
    Unsupported {
        /// Algorithm or curve, dotted where it has no name here.
        kind: String,
    },
    /// The crypto library refused; try again.
    #[error("the crypto library could not {operation}")]
    Crypto {
        /// What it was asked for.
        operation: &'static str,
    },
}

impl PrivateKey {
    /// Makes an ECDSA P-256 key from the entropy.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] when the entropy yields no usable scalar, which only a broken source does.
    pub fn generate(entropy: &mut dyn Entropy) -> Result<Self, KeyError> {
        let _ = entropy;
        todo!()
    }

    /// Makes an ECDSA P-384 key from the entropy.
    ///
    /// # Errors
    /// As [`PrivateKey::generate`].
    pub fn generate_p384(entropy: &mut dyn Entropy) -> Result<Self, KeyError> {
        let _ = entropy;
        todo!()
    }

    /// Makes an RSA key of 2048 bits. The primes are drawn by the crypto library itself.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] when the library fails.
    pub fn generate_rsa_2048() -> Result<Self, KeyError> {
        todo!()
    }

    /// Reads the first private key of a PEM text: `PRIVATE KEY` (PKCS #8), `EC PRIVATE KEY` (SEC1, also after
    /// `EC PARAMETERS`) or `RSA PRIVATE KEY` (PKCS #1).
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let _ = pem;
        todo!()
    }

    /// Reads a DER PKCS #8 key.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let _ = der;
        todo!()
    }

    /// The kind of key.
    pub fn kind(&self) -> KeyKind {
        todo!()
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        todo!()
    }

    /// PEM as kubeadm and the kubelet write it: `EC PRIVATE KEY` or `RSA PRIVATE KEY`.
    pub fn to_pem(&self) -> Secret<String> {
        todo!()
    }

    /// DER PKCS #8, as rustls takes it.
    pub fn pkcs8_der(&self) -> Secret<Vec<u8>> {
        todo!()
    }

    /// Signs with the key's usual algorithm: ECDSA with SHA-256 or SHA-384 (ASN.1), RSA PKCS #1 v1.5 with SHA-256.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] when the library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let _ = message;
        todo!()
    }
}
