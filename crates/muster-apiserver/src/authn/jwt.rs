//! The compact form of signed tokens (RFC 7515, RFC 7519), as far as service-account tokens need it.
//!
//! Refuses to know: keys and what claims mean. Whatever is longer or deeper than such a token can be is
//! refused before it is decoded.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

/// Longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// The three parts of a token; nothing about them is verified.
pub(super) struct Parts<'a> {
    /// The header.
    pub(super) header: Value,
    /// The claims.
    pub(super) claims: Value,
    /// The bytes that are signed: header, point, claims, as sent.
    pub(super) signed: &'a [u8],
    /// The signature.
    pub(super) signature: Vec<u8>,
}

/// Whether a bearer token has the form of one: three parts between points.
pub(super) fn looks_like_one(token: &str) -> bool {
    token.split('.').count() == 3
}

/// Takes a token apart. `None` when it is malformed.
pub(super) fn parse(token: &str) -> Option<Parts<'_>> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    Some(Parts {
        header: object(header)?,
        claims: object(claims)?,
        signed: signed.as_bytes(),
        signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
    })
}

fn object(part: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    // serde_json bounds the depth by itself.
    let value: Value = serde_json::from_slice(&bytes).ok()?;
    value.is_object().then_some(value)
}

/// Puts a token together; `sign` gets what is to be signed.
pub(super) fn write<E>(
    header: &Value,
    claims: &Value,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<String, E> {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut token = format!("{}.{}", encode(header), encode(claims));
    let signature = sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_can_be_taken_apart() {
        let (header, claims) = (json!({"alg": "ES256"}), json!({"sub": "a"}));
        let written: Result<String, Infallible> = write(&header, &claims, |_| Ok(vec![1, 2]));
        let token = written.unwrap_or_default();
        assert!(looks_like_one(&token));
        let parts = parse(&token).expect("a token");
        assert_eq!(
            (parts.header, parts.claims, parts.signature),
            (header, claims, vec![1, 2])
        );
        assert_eq!(
            parts.signed,
            token.rsplit_once('.').expect("parts").0.as_bytes()
        );
    }

    #[test]
    fn a_header_that_is_no_object_is_refused() {
        let part = URL_SAFE_NO_PAD.encode("[]");
        assert!(parse(&format!("{part}.{part}.")).is_none());
        assert!(parse(&"a".repeat(MAX_TOKEN + 1)).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_text_makes_it_panic(text in "[A-Za-z0-9_.=-]{0,200}") {
            let _ = parse(&text);
        }
    }
}
