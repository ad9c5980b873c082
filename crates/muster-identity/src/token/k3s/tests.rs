//! Tokens of K3s in all their forms. Hashes are those that `sha256sum` prints.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const CA: &str = include_str!("../../../fixtures/kubeadm-ca.pem");
/// `sha256sum fixtures/kubeadm-ca.pem`.
const CA_SUM: &str = "eecfff1943f590659099b081eb339ca9df180b4c928b0d8c65084cbbc79adc80";
const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn bootstrap() -> BootstrapToken {
    BootstrapToken::parse("abcdef.0123456789abcdef").unwrap()
}

#[rstest]
#[case("hunter2", None, K3sCredentials::password("", "hunter2"))]
#[case("hunter2\n", None, K3sCredentials::password("", "hunter2"))]
#[case(
    "abcdef.0123456789abcdef",
    None,
    K3sCredentials::Bootstrap(bootstrap())
)]
#[case(
    "K10::abcdef.0123456789abcdef",
    None,
    K3sCredentials::Bootstrap(bootstrap())
)]
#[case("K10:::hunter2", None, K3sCredentials::password("", "hunter2"))]
#[case("K10server:a:b", None, K3sCredentials::password("server", "a:b"))]
fn forms_without_a_hash_are_read_as_k3s_reads_them(
    #[case] text: &str,
    #[case] ca_hash: Option<String>,
    #[case] credentials: K3sCredentials,
) {
    let token = K3sToken::parse(text.as_bytes()).unwrap();
    assert_eq!(
        token,
        K3sToken {
            ca_hash,
            credentials
        }
    );
}

#[test]
fn the_full_forms_are_read_and_written() {
    let text = format!("K10{HASH}::server:pass:word");
    let token = K3sToken::parse(text.as_bytes()).unwrap();
    assert_eq!(token.ca_hash.as_deref(), Some(HASH));
    assert_eq!(
        token.credentials,
        K3sCredentials::password("server", "pass:word")
    );
    assert_eq!(token.to_text().expose(), &text);
    assert!(!format!("{token:?}").contains("pass:word"));
    let text = format!("K10{HASH}::abcdef.0123456789abcdef");
    let token = K3sToken::parse(text.as_bytes()).unwrap();
    assert_eq!(token.credentials, K3sCredentials::Bootstrap(bootstrap()));
    assert_eq!(token.to_text().expose(), &text);
}

#[rstest]
#[case("", K3sTokenError::Empty)]
#[case("K10", K3sTokenError::Credentials)]
#[case("K10abc", K3sTokenError::Credentials)]
#[case("K10abc::server:pw", K3sTokenError::HashLength { found: 3 })]
#[case("K10::server:", K3sTokenError::Credentials)]
#[case(
    "K100123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef::a:b",
    K3sTokenError::HashDigits
)]
fn broken_ones_are_told_apart(#[case] text: &str, #[case] error: K3sTokenError) {
    assert_eq!(K3sToken::parse(text.as_bytes()), Err(error));
}

#[test]
fn a_short_token_that_would_be_too_long_in_its_long_form_is_too_long() {
    for prefix in ["", "K10a:", "K10::a:"] {
        for length in 4080..4100 {
            let text = format!("{prefix}{}", "x".repeat(length - prefix.len()));
            if let Ok(token) = K3sToken::parse(text.as_bytes()) {
                let again = K3sToken::parse(token.to_text().expose().as_bytes());
                assert_eq!(again, Ok(token), "{prefix:?} {length}");
            }
        }
        let much = format!("{prefix}{}", "x".repeat(4100));
        assert_eq!(
            K3sToken::parse(much.as_bytes()),
            Err(K3sTokenError::NotText)
        );
    }
}

#[test]
fn one_certificate_is_hashed_as_the_text_of_its_file() {
    assert_eq!(k3s_ca_hash(CA.as_bytes()).unwrap(), CA_SUM);
    let other_text = format!("{CA}\n");
    assert_ne!(k3s_ca_hash(other_text.as_bytes()).unwrap(), CA_SUM);
    let token = K3sToken::for_bundle(CA.as_bytes(), bootstrap()).unwrap();
    assert_eq!(
        token.to_text().expose(),
        &format!("K10{CA_SUM}::abcdef.0123456789abcdef")
    );
}

/// An intermediate and its root.
const CHAIN: &str = include_str!("../../../fixtures/k3s-server-ca.pem");
/// `openssl x509 -outform der | sha256sum` of the root.
const ROOT_SUM: &str = "7db9b44591d80bcbd26aeb84dbcb9b449a3e3c4d89213df4ea6531eb38c43e83";

#[test]
fn a_chain_is_hashed_by_its_root_and_a_bundle_that_leads_nowhere_by_its_text() {
    assert_eq!(k3s_ca_hash(CHAIN.as_bytes()).unwrap(), ROOT_SUM);
    let unrelated = format!("{CHAIN}{CA}");
    assert_eq!(k3s_ca_hash(unrelated.as_bytes()).unwrap(), ROOT_SUM);
    let leads_nowhere = format!("{CA}{CHAIN}");
    assert_eq!(
        k3s_ca_hash(leads_nowhere.as_bytes()).unwrap(),
        hex_digest(leads_nowhere.as_bytes())
    );
    assert!(k3s_ca_hash(b"").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn any_text_is_a_token_or_refused(text in "(K10)?([0-9a-f]{63,65})?(::)?[a-z0-9.:]{0,30}|.{0,40}") {
        if let Ok(token) = K3sToken::parse(text.as_bytes()) {
            let again = K3sToken::parse(token.to_text().expose().as_bytes());
            prop_assert_eq!(again, Ok(token));
        }
    }

    #[test]
    fn any_bytes_are_a_token_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = K3sToken::parse(&bytes);
    }
}
