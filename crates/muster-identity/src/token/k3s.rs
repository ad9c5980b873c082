//! Tokens of K3s (and RKE2): `K10HASH::USER:PASSWORD`, `K10HASH::ID.SECRET`, and the same without a hash.
//!
//! It refuses to know the server that gives out the CA bundle, and how a token is shown to it.

use std::fmt::Write as _;

use aws_lc_rs::digest;

use super::kubeadm::BootstrapToken;
use crate::pki::{Certificate, CertificateBundle, CertificateError};
use crate::secret::Secret;

/// The group that K3s gives to its expiring tokens.
pub const K3S_NODE_TOKEN_GROUP: &str = "system:bootstrappers:k3s:default-node-token";
/// Largest token that is looked at, in bytes of its long form.
const MAX_TEXT: usize = 4096;
const PREFIX: &str = "K10";
const HASH_LEN: usize = 64;

/// A token of K3s. Its `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct K3sToken {
    /// SHA-256 of the server's CA bundle in hexadecimal digits, as it stands; `None` trusts whoever answers.
    pub ca_hash: Option<String>,
    /// With what to log in.
    pub credentials: K3sCredentials,
}

/// The part of a token of K3s that proves something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum K3sCredentials {
    /// A bootstrap token, shown as a bearer. It may end, and lets in agents only.
    Bootstrap(BootstrapToken),
    /// The server's or the agents' password, shown as basic auth. It does not end.
    Password {
        /// The name before the password: `server`, `node` or nothing. Agents log in as `node` whatever stands here.
        user: String,
        /// The password.
        password: Secret<String>,
    },
}

/// Why a text is not a token of K3s. The text is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum K3sTokenError {
    /// There is nothing in it.
    #[error("the token is empty")]
    Empty,
    /// Longer than any token, or not text.
    #[error("this is not a token of K3s: it is not text, or longer than 4096 characters")]
    NotText,
    /// What stands between `K10` and `::` is not 64 characters long; it was probably cut when it was copied.
    #[error("the CA hash in the token has {found} characters instead of 64")]
    HashLength {
        /// Characters found.
        found: usize,
    },
    /// The hash is not made of lower-case hexadecimal digits. K3s compares it as text, so that it can never match.
    #[error("the CA hash in the token is not made of lower-case hexadecimal digits")]
    HashDigits,
    /// After the hash there is neither a bootstrap token nor `USER:PASSWORD`.
    #[error("the token has neither USER:PASSWORD nor a bootstrap token after its CA hash")]
    Credentials,
}

impl K3sToken {
    /// Reads the long and the short forms, as K3s does: a text without `K10` is a bootstrap token or a bare password.
    /// White space around it is no part of it.
    ///
    /// # Errors
    /// [`K3sTokenError`]; unlike K3s, a hash that can never match is refused.
    pub fn parse(text: &[u8]) -> Result<Self, K3sTokenError> {
        let token = Self::read(text)?;
        // The long form counts, so that what can be read can be written and read again.
        if token.to_text().expose().len() > MAX_TEXT {
            return Err(K3sTokenError::NotText);
        }
        Ok(token)
    }

    fn read(text: &[u8]) -> Result<Self, K3sTokenError> {
        let text = text.trim_ascii();
        if text.len() > MAX_TEXT {
            return Err(K3sTokenError::NotText);
        }
        let text = std::str::from_utf8(text).map_err(|_| K3sTokenError::NotText)?;
        if text.is_empty() {
            return Err(K3sTokenError::Empty);
        }
        let Some(rest) = text.strip_prefix(PREFIX) else {
            let credentials = BootstrapToken::parse(text).map_or_else(
                |_| K3sCredentials::password("", text),
                K3sCredentials::Bootstrap,
            );
            return Ok(Self {
                ca_hash: None,
                credentials,
            });
        };
        let (hash, credentials) = rest.split_once("::").unwrap_or(("", rest));
        let ca_hash = match hash.chars().count() {
            0 => None,
            HASH_LEN if hash.bytes().all(is_digit) => Some(hash.to_owned()),
            HASH_LEN => return Err(K3sTokenError::HashDigits),
            found => return Err(K3sTokenError::HashLength { found }),
        };
        let credentials = match BootstrapToken::parse(credentials) {
            Ok(token) => K3sCredentials::Bootstrap(token),
            Err(_) => match credentials.split_once(':') {
                Some((user, password)) if !password.is_empty() => {
                    K3sCredentials::password(user, password)
                }
                _ => return Err(K3sTokenError::Credentials),
            },
        };
        Ok(Self {
            ca_hash,
            credentials,
        })
    }

    /// The token of an agent that pins the CA bundle `pem`, as the server gives it out at `/cacerts`.
    ///
    /// # Errors
    /// [`CertificateError`] when the bundle cannot be read.
    pub fn for_bundle(pem: &[u8], token: BootstrapToken) -> Result<Self, CertificateError> {
        Ok(Self {
            ca_hash: Some(k3s_ca_hash(pem)?),
            credentials: K3sCredentials::Bootstrap(token),
        })
    }

    /// The text, in the long form.
    pub fn to_text(&self) -> Secret<String> {
        let hash = self.ca_hash.as_deref().unwrap_or_default();
        Secret::new(match &self.credentials {
            K3sCredentials::Bootstrap(token) => {
                format!("{PREFIX}{hash}::{}", token.to_text().expose())
            }
            K3sCredentials::Password { user, password } => {
                format!("{PREFIX}{hash}::{user}:{}", password.expose())
            }
        })
    }
}

impl K3sCredentials {
    fn password(user: &str, password: &str) -> Self {
        Self::Password {
            user: user.to_owned(),
            password: Secret::new(password.to_owned()),
        }
    }
}

/// The hash with which K3s pins a CA bundle. One certificate: SHA-256 of the text of the file, line ends and all. More:
/// SHA-256 of the DER of the root to which the first one leads, and of the text where it leads to none of them.
///
/// # Errors
/// [`CertificateError`] when the bundle cannot be read.
pub fn k3s_ca_hash(pem: &[u8]) -> Result<String, CertificateError> {
    let bundle = CertificateBundle::from_pem(pem)?;
    Ok(match root_of(bundle.certificates()) {
        Some(root) => hex_digest(root.der()),
        None => hex_digest(pem),
    })
}

/// Climbs from the first certificate over those after it to one that signed itself.
fn root_of(certificates: &[Certificate]) -> Option<&Certificate> {
    let (first, others) = certificates.split_first()?;
    let mut at = first;
    // Each step uses up one certificate at most, so a circle ends as well.
    for _ in others {
        let next = others
            .iter()
            .find(|issuer| *issuer != at && at.verify_signed_by(issuer).is_ok())?;
        if next.verify_signed_by(next).is_ok() {
            return Some(next);
        }
        at = next;
    }
    None
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

fn hex_digest(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(HASH_LEN);
    for byte in digest::digest(&digest::SHA256, bytes).as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests;
