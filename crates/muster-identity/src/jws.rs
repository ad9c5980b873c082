//! The detached signature of cluster-info: `header..signature` (RFC 7515, HS256).
//!
//! It refuses to know what is signed, and any algorithm but the one that Kubernetes uses here.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::token::BootstrapToken;

/// Longest signature text that is looked at, in bytes; a real one has about 90.
const MAX_LEN: usize = 4096;

/// Why a signature is not accepted. All but [`JwsError::Mismatch`] mean that the text is not a signature by
/// this token at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Not `header..signature` in unpadded base64url.
    #[error("not a detached signature of the form header..signature")]
    Malformed,
    /// Signed by another algorithm than HS256; never accept it.
    #[error("the signature algorithm is {found:?}, only HS256 is accepted")]
    Algorithm {
        /// The header's `alg`, cut after 32 characters.
        found: String,
    },
    /// Signed by another token.
    #[error("the signature was made with token {found:?}, not {expected:?}")]
    KeyId {
        /// The header's `kid`, cut after 32 characters.
        found: String,
        /// Our token's id.
        expected: String,
    },
    /// The bytes were not signed with this token's secret: the content was changed, or the token is wrong.
    #[error("the signature does not match")]
    Mismatch,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

/// Signs `payload` with the token's secret: HMAC-SHA256 over `base64url(header).base64url(payload)`, with the
/// header `{"alg":"HS256","kid":"ID"}`, as the bootstrap signer of Kubernetes does.
pub fn sign_detached(payload: &[u8], token: &BootstrapToken) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{}"}}"#, token.id()));
    let tag = hmac::sign(&key(token), signing_input(&header, payload).as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

/// Checks that `jws` signs `payload` and was made with the token. The comparison is in constant time.
///
/// # Errors
/// [`JwsError`]; nothing of the payload may be trusted then.
pub fn verify_detached(jws: &str, payload: &[u8], token: &BootstrapToken) -> Result<(), JwsError> {
    let jws = jws.trim();
    if jws.len() > MAX_LEN {
        return Err(JwsError::Malformed);
    }
    let (header, signature) = jws.split_once("..").ok_or(JwsError::Malformed)?;
    let decoded = URL_SAFE_NO_PAD
        .decode(header)
        .map_err(|_| JwsError::Malformed)?;
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| JwsError::Malformed)?;
    let fields: Header = serde_json::from_slice(&decoded).map_err(|_| JwsError::Malformed)?;
    if fields.alg != "HS256" {
        return Err(JwsError::Algorithm {
            found: cut(&fields.alg),
        });
    }
    if fields.kid != token.id().as_str() {
        return Err(JwsError::KeyId {
            found: cut(&fields.kid),
            expected: token.id().as_str().to_owned(),
        });
    }
    hmac::verify(
        &key(token),
        signing_input(header, payload).as_bytes(),
        &signature,
    )
    .map_err(|_| JwsError::Mismatch)
}

fn key(token: &BootstrapToken) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, token.secret().expose().as_bytes())
}

fn signing_input(header: &str, payload: &[u8]) -> String {
    let mut input = String::with_capacity(header.len() + 1 + payload.len().div_ceil(3) * 4);
    input.push_str(header);
    input.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut input);
    input
}

fn cut(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
mod tests;
