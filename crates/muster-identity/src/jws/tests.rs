//! The signature against one that a real cluster made, and against forgeries.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn example() -> (BootstrapToken, String, String) {
    let text = include_str!("../../fixtures/cluster-info-jws.json");
    let fields: Value = serde_json::from_str(text).unwrap();
    let field = |name: &str| fields[name].as_str().unwrap().to_owned();
    let token = BootstrapToken::parse(&field("token")).unwrap();
    (token, field("payload"), field("detached_jws"))
}

fn with_header(header: &str) -> String {
    let (_, _, jws) = example();
    let (_, signature) = jws.split_once("..").unwrap();
    format!("{}..{signature}", URL_SAFE_NO_PAD.encode(header))
}

#[test]
fn a_real_clusters_signature_verifies_and_ours_is_the_same() {
    let (token, payload, jws) = example();
    assert_eq!(verify_detached(&jws, payload.as_bytes(), &token), Ok(()));
    assert_eq!(sign_detached(payload.as_bytes(), &token), jws);
}

#[test]
fn a_changed_payload_or_another_secret_does_not_verify() {
    let (token, payload, jws) = example();
    let changed = payload.replace("10.78.0.1", "10.78.0.2");
    assert_eq!(
        verify_detached(&jws, changed.as_bytes(), &token),
        Err(JwsError::Mismatch)
    );
    let other = BootstrapToken::parse("abcdef.0123456789abcdee").unwrap();
    assert_eq!(
        verify_detached(&jws, payload.as_bytes(), &other),
        Err(JwsError::Mismatch)
    );
}

#[test]
fn a_signature_by_another_token_is_named() {
    let (_, payload, jws) = example();
    let other = BootstrapToken::parse("fedcba.0123456789abcdef").unwrap();
    assert_eq!(
        verify_detached(&jws, payload.as_bytes(), &other),
        Err(JwsError::KeyId {
            found: "abcdef".into(),
            expected: "fedcba".into()
        })
    );
}

#[test]
fn no_other_algorithm_is_accepted() {
    let (token, payload, _) = example();
    for alg in ["none", "RS256", "hs256", "HS512", ""] {
        let jws = with_header(&format!(r#"{{"alg":"{alg}","kid":"abcdef"}}"#));
        assert_eq!(
            verify_detached(&jws, payload.as_bytes(), &token),
            Err(JwsError::Algorithm { found: alg.into() })
        );
    }
}

#[test]
fn a_signature_that_is_cut_does_not_verify() {
    let (token, payload, jws) = example();
    // 43 characters minus 3 are 30 whole bytes.
    let cut = &jws[..jws.len() - 3];
    assert_eq!(
        verify_detached(cut, payload.as_bytes(), &token),
        Err(JwsError::Mismatch)
    );
    let empty = jws.split_once("..").unwrap().0.to_owned() + "..";
    assert_eq!(
        verify_detached(&empty, payload.as_bytes(), &token),
        Err(JwsError::Mismatch)
    );
}

#[test]
fn other_texts_are_malformed() {
    let (token, payload, jws) = example();
    let attached = jws.replace("..", ".AAAA.");
    let padded = format!("{jws}=");
    let long = format!("{jws}{}", "A".repeat(5000));
    let not_json = with_header("{");
    let no_kid = with_header(r#"{"alg":"HS256"}"#);
    for text in ["", "..", "a", &attached, &padded, &long, &not_json, &no_kid] {
        assert_eq!(
            verify_detached(text, payload.as_bytes(), &token),
            Err(JwsError::Malformed),
            "{text}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn whatever_is_signed_verifies_and_nothing_else_does(
        payload in prop::collection::vec(any::<u8>(), 0..200),
        flip in any::<prop::sample::Index>(),
    ) {
        let (token, ..) = example();
        let jws = sign_detached(&payload, &token);
        prop_assert_eq!(verify_detached(&jws, &payload, &token), Ok(()));
        if !payload.is_empty() {
            let mut forged = payload.clone();
            forged[flip.index(payload.len())] ^= 1;
            prop_assert_eq!(verify_detached(&jws, &forged, &token), Err(JwsError::Mismatch));
        }
    }

    #[test]
    fn any_text_is_refused_without_panic(text in "[A-Za-z0-9_-]{0,60}\\.\\.[A-Za-z0-9_-]{0,60}|.{0,100}") {
        let (token, payload, _) = example();
        prop_assert!(verify_detached(&text, payload.as_bytes(), &token).is_err());
    }
}
