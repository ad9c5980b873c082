//! The grammars at their edges, and upstream's words.

use proptest::prelude::*;

use super::*;

#[test]
fn a_bad_subdomain_is_explained_in_upstreams_words() {
    assert_eq!(
        dns_subdomain_problems("Node_1"),
        [
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        ]
    );
    assert_eq!(
        dns_label_problems("A"),
        [
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        ]
    );
    assert_eq!(dns_label_problems("a.b"), ["must not contain dots"]);
}

#[test]
fn lengths_are_bounded() {
    assert!(dns_label_problems(&"a".repeat(63)).is_empty());
    assert_eq!(
        dns_label_problems(&"a".repeat(64)),
        ["must be no more than 63 bytes"]
    );
    assert!(dns_subdomain_problems(&"a".repeat(253)).is_empty());
    assert_eq!(
        dns_subdomain_problems(&"a".repeat(254)),
        ["must be no more than 253 bytes"]
    );
}

#[test]
fn a_service_name_starts_with_a_letter() {
    assert!(!rfc1035_label_problems("1a").is_empty());
    assert!(rfc1035_label_problems("a1").is_empty());
}

#[test]
fn rbac_names_may_hold_colons_but_no_slash() {
    assert!(path_segment_problems("system:node").is_empty());
    assert_eq!(
        path_segment_problems("a/b%"),
        ["may not contain '/'", "may not contain '%'"]
    );
    assert_eq!(path_segment_problems(".."), ["may not be '..'"]);
}

#[test]
fn label_keys_have_an_optional_prefix() {
    for good in [
        "a",
        "A.b_c-d",
        "example.com/x",
        "node-role.kubernetes.io/control-plane",
    ] {
        assert!(label_key_problems(good).is_empty(), "{good}");
    }
    for bad in ["", "/x", "a/", "a/b/c", "Bad.Prefix/x", "-a", "a b"] {
        assert!(!label_key_problems(bad).is_empty(), "{bad}");
    }
}

#[test]
fn label_values_may_be_empty() {
    assert!(label_value_problems("").is_empty());
    assert!(!label_value_problems("a b").is_empty());
    assert!(!label_value_problems(&"a".repeat(64)).is_empty());
}

#[test]
fn config_keys_stay_inside_their_directory() {
    assert!(config_key_problems("tls.crt").is_empty());
    assert_eq!(config_key_problems(".."), ["must not be '..'"]);
    assert_eq!(config_key_problems("..x"), ["must not start with '..'"]);
    assert!(!config_key_problems("a/b").is_empty());
    assert!(!config_key_problems("").is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_makes_a_check_panic_and_labels_are_subdomains(text in ".{0,80}") {
        let label = dns_label_problems(&text).is_empty();
        prop_assert!(!label || dns_subdomain_problems(&text).is_empty());
        if rfc1035_label_problems(&text).is_empty() {
            prop_assert!(label);
        }
        let _ = (qualified_name_problems(&text), label_value_problems(&text));
        let _ = (config_key_problems(&text), port_name_problems(&text), path_segment_problems(&text));
    }
}
