//! The keys of service-account tokens: one signs with ES256, ES384 or RS256 (RFC 7518), any number verify and
//! are shown as JSON Web Keys (RFC 7517).
//!
//! Refuses to know: what is signed.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
        ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED, EcdsaKeyPair,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use muster_identity::{KeyKind, PrivateKey, PublicKey};
use serde_json::{Value, json};

/// A key pair for signing tokens. Cheap to clone; its `Debug` shows the id only.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<Pair>,
    public: VerificationKey,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(rsa::KeyPair),
}

/// A public key whose tokens are believed.
#[derive(Clone, Debug)]
pub struct VerificationKey {
    kind: &'static Kind,
    bits: Arc<[u8]>,
    id: String,
}

#[derive(Debug)]
struct Kind {
    algorithm: &'static str,
    /// The curve's name in a JSON Web Key; `None` for RSA.
    curve: Option<&'static str>,
    verification: &'static dyn VerificationAlgorithm,
}

static P256: Kind = Kind {
    algorithm: "ES256",
    curve: Some("P-256"),
    verification: &ECDSA_P256_SHA256_FIXED,
};
static P384: Kind = Kind {
    algorithm: "ES384",
    curve: Some("P-384"),
    verification: &ECDSA_P384_SHA384_FIXED,
};
static P521: Kind = Kind {
    algorithm: "ES512",
    curve: Some("P-521"),
    verification: &ECDSA_P521_SHA512_FIXED,
};
static RSA: Kind = Kind {
    algorithm: "RS256",
    curve: None,
    verification: &RSA_PKCS1_2048_8192_SHA256,
};

/// The crypto library refused the key or the operation; the key file is of no use for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the service account key cannot be used for {operation}")]
pub struct SigningKeyError {
    operation: &'static str,
}

impl VerificationKey {
    /// Takes a public key.
    ///
    /// # Errors
    /// [`SigningKeyError`] when it is of a kind that tokens are not signed with.
    pub fn new(key: &PublicKey) -> Result<Self, SigningKeyError> {
        let kind = match key.kind() {
            KeyKind::P256 => &P256,
            KeyKind::P384 => &P384,
            KeyKind::P521 => &P521,
            KeyKind::Rsa { .. } => &RSA,
            KeyKind::Ed25519 => {
                return Err(SigningKeyError {
                    operation: "verifying",
                });
            }
        };
        Ok(Self {
            kind,
            bits: key.key_bits().into(),
            id: key_id(key.spki_der()),
        })
    }

    /// The key's id in token headers: the unpadded base64url SHA-256 of its SubjectPublicKeyInfo, as
    /// kube-apiserver has it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The `alg` of its tokens (RFC 7518, section 3.1).
    pub fn algorithm(&self) -> &'static str {
        self.kind.algorithm
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.kind.verification, &self.bits)
            .verify(message, signature)
            .is_ok()
    }

    /// As a JSON Web Key.
    pub fn json_web_key(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = json!({"use": "sig", "kid": self.id, "alg": self.algorithm()});
        match self.kind.curve {
            Some(curve) => {
                // An uncompressed point (SEC 1, section 2.3.3): 4, x, y.
                let point = self.bits.get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                key["kty"] = "EC".into();
                key["crv"] = curve.into();
                key["x"] = encode(x).into();
                key["y"] = encode(y).into();
            }
            None => {
                let (modulus, exponent) = rsa_numbers(&self.bits).unwrap_or_default();
                key["kty"] = "RSA".into();
                key["n"] = encode(modulus).into();
                key["e"] = encode(exponent).into();
            }
        }
        key
    }
}

impl SigningKey {
    /// Takes the cluster's service-account key.
    ///
    /// # Errors
    /// [`SigningKeyError`] when it is of a kind that tokens are not signed with.
    pub fn new(key: &PrivateKey) -> Result<Self, SigningKeyError> {
        let unusable = |_| SigningKeyError {
            operation: "signing",
        };
        let pkcs8 = key.pkcs8_der();
        let pair = match key.kind() {
            KeyKind::P256 => Pair::Ecdsa(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.expose())
                    .map_err(unusable)?,
            ),
            KeyKind::P384 => Pair::Ecdsa(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8.expose())
                    .map_err(unusable)?,
            ),
            KeyKind::Rsa { .. } => {
                Pair::Rsa(rsa::KeyPair::from_pkcs8(pkcs8.expose()).map_err(unusable)?)
            }
            _ => {
                return Err(SigningKeyError {
                    operation: "signing",
                });
            }
        };
        Ok(Self {
            pair: Arc::new(pair),
            public: VerificationKey::new(key.public_key())?,
        })
    }

    /// Its public half.
    pub fn public(&self) -> &VerificationKey {
        &self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningKeyError> {
        let failed = |_| SigningKeyError {
            operation: "signing",
        };
        let random = SystemRandom::new();
        match self.pair.as_ref() {
            Pair::Ecdsa(pair) => {
                let signature = pair.sign(&random, message).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.public.id)
            .finish_non_exhaustive()
    }
}

fn key_id(spki: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, spki))
}

/// Modulus and exponent of a DER `RSAPublicKey` (RFC 8017, appendix A.1.1), without leading zeros.
fn rsa_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    let (body, _) = der_value(der, SEQUENCE)?;
    let (modulus, rest) = der_value(body, INTEGER)?;
    let (exponent, _) = der_value(rest, INTEGER)?;
    let positive = |number: &[u8]| number.iter().take_while(|&&byte| byte == 0).count();
    Some((
        modulus.get(positive(modulus)..)?,
        exponent.get(positive(exponent)..)?,
    ))
}

/// The content of the DER value at the start, and what follows it.
fn der_value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes
                .iter()
                .fold(0_usize, |sum, &byte| (sum << 8) | usize::from(byte));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::system_entropy;

    fn keys() -> Vec<SigningKey> {
        let p256 = PrivateKey::generate(&mut system_entropy()).expect("a key");
        let p384 = PrivateKey::generate_p384(&mut system_entropy()).expect("a key");
        let rsa = PrivateKey::generate_rsa_2048().expect("a key");
        [p256, p384, rsa]
            .iter()
            .map(|key| SigningKey::new(key).expect("usable"))
            .collect()
    }

    #[test]
    fn every_kind_of_key_verifies_what_it_signed_and_nothing_else() {
        for key in keys() {
            let signature = key.sign(b"message").expect("signed");
            let public = key.public();
            assert!(public.verifies(b"message", &signature), "{public:?}");
            assert!(!public.verifies(b"massage", &signature));
            assert!(!public.verifies(b"message", &signature[1..]));
        }
    }

    #[test]
    fn the_json_web_key_verifies_signatures_too() {
        for key in keys() {
            let web = key.public().json_web_key();
            let number = |field: &str| {
                URL_SAFE_NO_PAD
                    .decode(web[field].as_str().unwrap_or_default())
                    .expect("base64")
            };
            let signature = key.sign(b"message").expect("signed");
            let verified = match web["kty"].as_str() {
                Some("RSA") => aws_lc_rs::rsa::PublicKeyComponents {
                    n: number("n"),
                    e: number("e"),
                }
                .verify(&RSA_PKCS1_2048_8192_SHA256, b"message", &signature),
                _ => {
                    let curve = if web["crv"] == "P-256" { &P256 } else { &P384 };
                    let point = [vec![4], number("x"), number("y")].concat();
                    UnparsedPublicKey::new(curve.verification, point).verify(b"message", &signature)
                }
            };
            assert!(verified.is_ok(), "{web}");
            assert_eq!(web["kid"], key.public().id());
        }
    }

    #[test]
    fn damaged_der_has_no_numbers() {
        for der in [
            &b""[..],
            &[0x30],
            &[0x30, 0x85, 1],
            &[0x30, 2, 2, 9],
            &[0x31, 0],
        ] {
            assert_eq!(rsa_numbers(der), None);
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let key = &keys()[0];
        assert_eq!(
            format!("{key:?}"),
            format!("SigningKey {{ id: {:?}, .. }}", key.public().id())
        );
    }
}
