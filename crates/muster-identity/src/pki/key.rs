//! A private key: [`PrivateKey`], in every PEM encoding that kubeadm, the kubelet and OpenSSL write.
//!
//! It refuses to know what it signs and where it is kept. Signing draws its nonces from aws-lc itself.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384};
use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{SECP_256_R_1, SECP_384_R_1};

use super::key_der::{self, EcKeyParts, Pkcs8Content};
use super::{KeyKind, PemError, PublicKey, pem};
use crate::entropy::Entropy;
use crate::secret::Secret;

/// A private key for signing: ECDSA P-256 (the default) or P-384, or RSA from 2048 bits. Cheap to clone; its
/// `Debug` shows the kind only.
#[derive(Clone)]
pub struct PrivateKey(Arc<Inner>);

struct Inner {
    pair: Pair,
    public: PublicKey,
    pkcs8: Secret<Vec<u8>>,
    /// SEC1 or PKCS #1, as kubeadm and the kubelet write it.
    traditional: Secret<Vec<u8>>,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

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
    /// The key's bytes are damaged, or its public and private halves do not fit.
    #[error("the {encoding} key is damaged")]
    Damaged {
        /// The encoding it was read as.
        encoding: &'static str,
    },
    /// A kind of key or signature that is not supported; use ECDSA P-256 or P-384, or RSA from 2048 bits, with
    /// SHA-2.
    #[error("keys of the kind {kind} are not supported")]
    Unsupported {
        /// Algorithm or curve, dotted where it has no name here.
        kind: String,
    },
    /// A signature does not verify with this key.
    #[error("the signature does not verify")]
    BadSignature,
    /// The crypto library refused; try again.
    #[error("the crypto library could not {operation}")]
    Crypto {
        /// What it was asked for.
        operation: &'static str,
    },
}

/// The curves we sign on.
#[derive(Clone, Copy)]
enum Curve {
    P256,
    P384,
}

impl Curve {
    fn from_oid(oid: ObjectIdentifier) -> Result<Self, KeyError> {
        match oid {
            SECP_256_R_1 => Ok(Self::P256),
            SECP_384_R_1 => Ok(Self::P384),
            other => Err(KeyError::Unsupported {
                kind: format!("EC curve {other}"),
            }),
        }
    }

    const fn scalar_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }
}

impl PrivateKey {
    /// Makes an ECDSA P-256 key from the entropy.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] when the entropy yields no usable scalar, which only a broken source does.
    pub fn generate(entropy: &mut dyn Entropy) -> Result<Self, KeyError> {
        Self::generate_on(Curve::P256, entropy)
    }

    /// Makes an ECDSA P-384 key from the entropy.
    ///
    /// # Errors
    /// As [`PrivateKey::generate`].
    pub fn generate_p384(entropy: &mut dyn Entropy) -> Result<Self, KeyError> {
        Self::generate_on(Curve::P384, entropy)
    }

    fn generate_on(curve: Curve, entropy: &mut dyn Entropy) -> Result<Self, KeyError> {
        // A draw is unusable (zero, or not below the curve's order) about once in 2^32 times for P-256.
        for _ in 0..16 {
            let mut scalar = Secret::new(vec![0; curve.scalar_len()]);
            entropy.fill(scalar.expose_mut());
            if let Ok(key) = Self::from_scalar(curve, scalar.expose()) {
                return Ok(key);
            }
        }
        Err(KeyError::Crypto {
            operation: "make a key from the entropy",
        })
    }

    /// Makes an RSA key of 2048 bits. The primes are drawn by the crypto library itself.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] when the library fails.
    pub fn generate_rsa_2048() -> Result<Self, KeyError> {
        Self::generate_rsa(2048)
    }

    /// Makes an RSA key of 2048, 3072 or 4096 bits. The primes are drawn by the crypto library itself.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for another size, [`KeyError::Crypto`] when the library fails.
    pub fn generate_rsa(bits: usize) -> Result<Self, KeyError> {
        let failed = || KeyError::Crypto {
            operation: "make an RSA key",
        };
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            _ => {
                return Err(KeyError::Unsupported {
                    kind: format!("RSA of {bits} bits"),
                });
            }
        };
        let pair = RsaKeyPair::generate(size).map_err(|_| failed())?;
        let pkcs8 = pair.as_der().map_err(|_| failed())?;
        Self::from_pkcs8_der(pkcs8.as_ref())
    }

    /// Reads the first private key of a PEM text: `PRIVATE KEY` (PKCS #8, RFC 5958), `EC PRIVATE KEY` (SEC1,
    /// RFC 5915, also after `EC PARAMETERS`) or `RSA PRIVATE KEY` (PKCS #1, RFC 8017).
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let blocks = pem::parse(text).map_err(|error| match error {
            PemError::Encrypted { .. } => KeyError::Encrypted,
            other => KeyError::Pem(other),
        })?;
        let mut parameters = None;
        for block in &blocks {
            let der = block.der.expose();
            match block.label.as_str() {
                "PRIVATE KEY" => return Self::from_pkcs8_der(der),
                "EC PRIVATE KEY" => return Self::from_ec(key_der::read_sec1(der)?, parameters),
                "RSA PRIVATE KEY" => return Self::from_pkcs1(der),
                "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Encrypted),
                "EC PARAMETERS" => parameters = key_der::read_curve(der).ok(),
                _ => {}
            }
        }
        Err(KeyError::Missing)
    }

    /// Reads a DER PKCS #8 key.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        match key_der::read_pkcs8(der)? {
            Pkcs8Content::Ec { curve, sec1 } => {
                Self::from_ec(key_der::read_sec1(sec1)?, Some(curve))
            }
            Pkcs8Content::Rsa { pkcs1 } => Self::from_pkcs1(pkcs1),
        }
    }

    fn from_ec(parts: EcKeyParts<'_>, outer: Option<ObjectIdentifier>) -> Result<Self, KeyError> {
        let damaged = || KeyError::Damaged { encoding: "SEC1" };
        let curve = Curve::from_oid(parts.curve.or(outer).ok_or_else(damaged)?)?;
        let len = curve.scalar_len();
        // Some writers drop leading zeros; SEC1 wants them back.
        let significant = parts
            .scalar
            .iter()
            .position(|&byte| byte != 0)
            .ok_or_else(damaged)?;
        let digits = &parts.scalar[significant..];
        let mut scalar = Secret::new(vec![0; len]);
        let start = len.checked_sub(digits.len()).ok_or_else(damaged)?;
        scalar.expose_mut()[start..].copy_from_slice(digits);
        let key = Self::from_scalar(curve, scalar.expose())?;
        match parts.public {
            // A compressed point would have to be expanded first; the scalar alone settles the key.
            Some(public) if public.first() == Some(&4) && public != key.public_key().key_bits() => {
                Err(damaged())
            }
            _ => Ok(key),
        }
    }

    fn from_scalar(curve: Curve, scalar: &[u8]) -> Result<Self, KeyError> {
        let damaged = || KeyError::Damaged { encoding: "EC" };
        let (agreement, signing) = match curve {
            Curve::P256 => (&ECDH_P256, &ECDSA_P256_SHA256_ASN1_SIGNING),
            Curve::P384 => (&ECDH_P384, &ECDSA_P384_SHA384_ASN1_SIGNING),
        };
        let point = agreement::PrivateKey::from_private_key(agreement, scalar)
            .map_err(|_| damaged())?
            .compute_public_key()
            .map_err(|_| damaged())?;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(signing, scalar, point.as_ref())
            .map_err(|_| damaged())?;
        let failed = |_| KeyError::Crypto {
            operation: "encode an EC key",
        };
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
        let public = PublicKey::from_spki_der(spki.as_ref())?;
        let pkcs8 = Secret::new(pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec());
        let sec1: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().map_err(failed)?;
        let traditional = Secret::new(sec1.as_ref().to_vec());
        Ok(Self(Arc::new(Inner {
            pair: Pair::Ec(pair),
            public,
            pkcs8,
            traditional,
        })))
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        let bits = key_der::read_rsa_bits(der)?;
        if bits < 2048 {
            return Err(KeyError::Unsupported {
                kind: format!("RSA of {bits} bits"),
            });
        }
        let pair = RsaKeyPair::from_der(der).map_err(|_| KeyError::Damaged {
            encoding: "PKCS #1",
        })?;
        let failed = |_| KeyError::Crypto {
            operation: "encode an RSA key",
        };
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
        let public = PublicKey::from_spki_der(spki.as_ref())?;
        let pkcs8 = Secret::new(pair.as_der().map_err(failed)?.as_ref().to_vec());
        let traditional = Secret::new(der.to_vec());
        Ok(Self(Arc::new(Inner {
            pair: Pair::Rsa(pair),
            public,
            pkcs8,
            traditional,
        })))
    }

    /// The kind of key.
    pub fn kind(&self) -> KeyKind {
        self.0.public.kind()
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public
    }

    /// PEM as kubeadm and the kubelet write it: `EC PRIVATE KEY` (SEC1) or `RSA PRIVATE KEY` (PKCS #1).
    pub fn to_pem(&self) -> Secret<String> {
        let label = match self.0.pair {
            Pair::Ec(_) => "EC PRIVATE KEY",
            Pair::Rsa(_) => "RSA PRIVATE KEY",
        };
        Secret::new(pem::encode(label, self.0.traditional.expose()))
    }

    /// DER PKCS #8, as rustls takes it.
    pub fn pkcs8_der(&self) -> Secret<Vec<u8>> {
        self.0.pkcs8.clone()
    }

    /// Signs with the key's usual algorithm: ECDSA with SHA-256 (P-256) or SHA-384 (P-384), ASN.1 encoded; RSA
    /// PKCS #1 v1.5 with SHA-256.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] when the library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError::Crypto { operation: "sign" };
        let random = SystemRandom::new();
        match &self.0.pair {
            Pair::Ec(pair) => Ok(pair
                .sign(&random, message)
                .map_err(failed)?
                .as_ref()
                .to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl PartialEq for PrivateKey {
    /// Keys are equal when their public halves are.
    fn eq(&self, other: &Self) -> bool {
        self.0.public == other.0.public
    }
}

impl Eq for PrivateKey {}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({:?}, ****)", self.kind())
    }
}

#[cfg(test)]
mod tests;
