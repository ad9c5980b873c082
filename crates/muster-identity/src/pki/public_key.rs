//! A public key and what it can verify: [`PublicKey`].
//!
//! It refuses to know whose key it is and whether to trust it. SHA-1 and RSA below 2048 bits are not
//! accepted anywhere.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use const_oid::ObjectIdentifier;
use const_oid::db::{rfc5912, rfc8410};
use der::{Decode as _, Encode as _};
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};

use super::{KeyError, key_der};

/// Smallest and largest RSA modulus, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

const LABEL: &str = "PUBLIC KEY";

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// ECDSA on NIST P-256; the default everywhere.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// ECDSA on NIST P-521 (public keys of others only).
    P521,
    /// RSA with this many bits of modulus.
    Rsa {
        /// Bits of the modulus.
        bits: usize,
    },
    /// Ed25519 (public keys of others only).
    Ed25519,
}

/// A public key, as a DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) that was checked to be of a known
/// kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublicKey {
    kind: KeyKind,
    spki: Vec<u8>,
    /// The bits inside: a point, a PKCS #1 RSAPublicKey or 32 bytes of Ed25519.
    bits: Vec<u8>,
}

impl PublicKey {
    /// Reads a DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`KeyError::Damaged`] when it is none, [`KeyError::Unsupported`] when it is of an unknown kind.
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, KeyError> {
        let damaged = || KeyError::Damaged {
            encoding: "SubjectPublicKeyInfo",
        };
        let info = SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| damaged())?;
        let bits = info.subject_public_key.as_bytes().ok_or_else(damaged)?;
        let kind = kind_of(&info, bits)?;
        let algorithm = default_algorithm(kind);
        UnparsedPublicKey::new(algorithm, bits)
            .parse()
            .map_err(|_| damaged())?;
        Ok(Self {
            kind,
            spki: spki.to_vec(),
            bits: bits.to_vec(),
        })
    }

    pub(super) fn from_spki(info: &SubjectPublicKeyInfoOwned) -> Result<Self, KeyError> {
        let der = info.to_der().map_err(|_| KeyError::Damaged {
            encoding: "SubjectPublicKeyInfo",
        })?;
        Self::from_spki_der(&der)
    }

    /// The kind of key.
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The DER SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The bits inside the SubjectPublicKeyInfo: an uncompressed point (SEC 1), a DER `RSAPublicKey` (RFC 8017) or
    /// the 32 bytes of Ed25519 (RFC 8032).
    pub fn key_bits(&self) -> &[u8] {
        &self.bits
    }

    /// Reads every block `PUBLIC KEY` of a PEM text, in order; other blocks are skipped.
    ///
    /// # Errors
    /// [`KeyError::Pem`] for broken PEM, else as [`Self::from_spki_der`] for the first key that cannot be used.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<Self>, KeyError> {
        super::pem::parse(text)
            .map_err(KeyError::Pem)?
            .iter()
            .filter(|block| block.label == LABEL)
            .map(|block| Self::from_spki_der(block.der.expose()))
            .collect()
    }

    /// PEM `PUBLIC KEY`.
    pub fn to_pem(&self) -> String {
        super::pem::encode(LABEL, &self.spki)
    }

    /// Verifies a signature made with [`PrivateKey::sign`](super::PrivateKey::sign).
    ///
    /// # Errors
    /// [`KeyError::BadSignature`] when it does not verify.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        self.verify_with(default_algorithm(self.kind), message, signature)
    }

    /// Verifies a signature of the X.509 algorithm `algorithm` (RFC 5912, RFC 8410).
    pub(super) fn verify_x509(
        &self,
        algorithm: ObjectIdentifier,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), KeyError> {
        let algorithm =
            x509_algorithm(algorithm, self.kind).ok_or_else(|| KeyError::Unsupported {
                kind: format!("signature {algorithm}"),
            })?;
        self.verify_with(algorithm, message, signature)
    }

    fn verify_with(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), KeyError> {
        UnparsedPublicKey::new(algorithm, &self.bits)
            .verify(message, signature)
            .map_err(|_| KeyError::BadSignature)
    }
}

fn kind_of(info: &SubjectPublicKeyInfoRef<'_>, bits: &[u8]) -> Result<KeyKind, KeyError> {
    let unsupported = |kind: String| Err(KeyError::Unsupported { kind });
    match info.algorithm.oid {
        rfc5912::ID_EC_PUBLIC_KEY => match info.algorithm.parameters_oid() {
            Ok(rfc5912::SECP_256_R_1) => Ok(KeyKind::P256),
            Ok(rfc5912::SECP_384_R_1) => Ok(KeyKind::P384),
            Ok(rfc5912::SECP_521_R_1) => Ok(KeyKind::P521),
            Ok(curve) => unsupported(format!("EC curve {curve}")),
            Err(_) => unsupported("EC with explicit parameters".to_owned()),
        },
        rfc5912::RSA_ENCRYPTION => {
            let bits = key_der::read_rsa_public_bits(bits)?;
            if RSA_BITS.contains(&bits) {
                Ok(KeyKind::Rsa { bits })
            } else {
                unsupported(format!("RSA of {bits} bits"))
            }
        }
        rfc8410::ID_ED_25519 => Ok(KeyKind::Ed25519),
        other => unsupported(other.to_string()),
    }
}

fn default_algorithm(kind: KeyKind) -> &'static dyn VerificationAlgorithm {
    match kind {
        KeyKind::P256 => &signature::ECDSA_P256_SHA256_ASN1,
        KeyKind::P384 => &signature::ECDSA_P384_SHA384_ASN1,
        KeyKind::P521 => &signature::ECDSA_P521_SHA512_ASN1,
        KeyKind::Rsa { .. } => &signature::RSA_PKCS1_2048_8192_SHA256,
        KeyKind::Ed25519 => &signature::ED25519,
    }
}

/// The algorithms that X.509 signatures may have; SHA-1 and MD5 are not among them.
fn x509_algorithm(
    algorithm: ObjectIdentifier,
    kind: KeyKind,
) -> Option<&'static dyn VerificationAlgorithm> {
    use KeyKind::{Ed25519, P256, P384, P521, Rsa};
    Some(match (algorithm, kind) {
        (rfc5912::ECDSA_WITH_SHA_256, P256) => &signature::ECDSA_P256_SHA256_ASN1,
        (rfc5912::ECDSA_WITH_SHA_384, P256) => &signature::ECDSA_P256_SHA384_ASN1,
        (rfc5912::ECDSA_WITH_SHA_512, P256) => &signature::ECDSA_P256_SHA512_ASN1,
        (rfc5912::ECDSA_WITH_SHA_256, P384) => &signature::ECDSA_P384_SHA256_ASN1,
        (rfc5912::ECDSA_WITH_SHA_384, P384) => &signature::ECDSA_P384_SHA384_ASN1,
        (rfc5912::ECDSA_WITH_SHA_512, P384) => &signature::ECDSA_P384_SHA512_ASN1,
        (rfc5912::ECDSA_WITH_SHA_256, P521) => &signature::ECDSA_P521_SHA256_ASN1,
        (rfc5912::ECDSA_WITH_SHA_384, P521) => &signature::ECDSA_P521_SHA384_ASN1,
        (rfc5912::ECDSA_WITH_SHA_512, P521) => &signature::ECDSA_P521_SHA512_ASN1,
        (rfc5912::SHA_256_WITH_RSA_ENCRYPTION, Rsa { .. }) => {
            &signature::RSA_PKCS1_2048_8192_SHA256
        }
        (rfc5912::SHA_384_WITH_RSA_ENCRYPTION, Rsa { .. }) => {
            &signature::RSA_PKCS1_2048_8192_SHA384
        }
        (rfc5912::SHA_512_WITH_RSA_ENCRYPTION, Rsa { .. }) => {
            &signature::RSA_PKCS1_2048_8192_SHA512
        }
        (rfc8410::ID_ED_25519, Ed25519) => &signature::ED25519,
        _ => return None,
    })
}
