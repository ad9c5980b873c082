//! Tokens as k0s makes them, and as people break them on the way.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const CA: &str = include_str!("../../../fixtures/kubeadm-ca.pem");
/// Made from the kubeconfig below with Go's `compress/gzip` and `encoding/base64`, the libraries of k0s.
const BY_GO: &str = include_str!("../../../fixtures/k0s-worker.token");

fn worker() -> K0sToken {
    K0sToken::new(
        JoinRole::Worker,
        Endpoint::parse("https://10.78.0.1:6443").unwrap(),
        CertificateBundle::from_pem(CA.as_bytes()).unwrap(),
        BootstrapToken::parse("abcdef.0123456789abcdef").unwrap(),
    )
}

fn packed(yaml: &[u8]) -> String {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(yaml).unwrap();
    STANDARD.encode(packer.finish().unwrap())
}

fn decode_changed(from: &str, to: &str) -> Result<K0sToken, K0sTokenError> {
    let yaml = worker().to_kubeconfig().to_yaml();
    assert!(yaml.expose().contains(from), "{from}");
    K0sToken::decode(packed(yaml.expose().replace(from, to).as_bytes()).as_bytes())
}

#[test]
fn the_kubeconfig_inside_has_the_names_of_k0s_in_the_order_of_client_go() {
    let data = STANDARD.encode(CA);
    let expected = format!(
        "apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {data}
    server: https://10.78.0.1:6443
  name: k0s
contexts:
- context:
    cluster: k0s
    user: kubelet-bootstrap
  name: k0s
current-context: k0s
kind: Config
users:
- name: kubelet-bootstrap
  user:
    token: abcdef.0123456789abcdef
"
    );
    assert_eq!(worker().to_kubeconfig().to_yaml().expose(), &expected);
}

#[test]
fn a_token_made_with_the_libraries_of_k0s_is_read() {
    assert_eq!(K0sToken::decode(BY_GO.as_bytes()), Ok(worker()));
}

#[test]
fn what_is_written_is_one_line_of_padded_base64_and_can_be_read() {
    let mut controller = worker().with_server(Endpoint::parse("[fd00::1]:9443").unwrap());
    controller.role = JoinRole::Controller;
    for token in [worker(), controller] {
        let text = token.encode();
        assert_eq!(text.expose().len() % 4, 0);
        assert!(text.expose().starts_with("H4sI"));
        assert!(!text.expose().contains(char::is_whitespace));
        assert_eq!(K0sToken::decode(text.expose().as_bytes()), Ok(token));
    }
}

#[test]
fn white_space_around_and_line_ends_within_are_no_part_of_a_token() {
    let text = worker().encode();
    let (first, second) = text.expose().split_at(76);
    let folded = format!("\r\n {first}\r\n{second}\n\n");
    assert_eq!(K0sToken::decode(folded.as_bytes()), Ok(worker()));
}

#[test]
fn neither_debug_nor_display_nor_an_error_shows_the_secret() {
    let token = worker();
    assert_eq!(
        token.to_string(),
        "worker token abcdef.**** for https://10.78.0.1:6443"
    );
    assert!(!format!("{token:?}").contains("0123456789abcdef"));
    let error = decode_changed("abcdef.0123456789abcdef", "abcdef-0123456789abcdef").unwrap_err();
    assert_eq!(error, K0sTokenError::Token(TokenError::Malformed));
    assert!(!format!("{error:?} {error}").contains("0123456789"));
}

#[test]
fn a_token_that_is_cut_anywhere_is_told_as_cut() {
    let text = worker().encode();
    // A few characters say nothing yet: four stand for the first three bytes.
    for length in 8..text.expose().len() {
        let cut = &text.expose()[..length];
        assert_eq!(
            K0sToken::decode(cut.as_bytes()),
            Err(K0sTokenError::Truncated),
            "after {length}"
        );
    }
}

#[rstest]
#[case("", K0sTokenError::Empty)]
#[case(" \n", K0sTokenError::Empty)]
#[case(
    "abcdef.0123456789abcdef",
    K0sTokenError::OtherKind(TokenKind::Bootstrap)
)]
#[case("K10aa::server:pw", K0sTokenError::OtherKind(TokenKind::K3s))]
#[case("eyJhbGciOiJSUzI1NiJ9.e30.x", K0sTokenError::OtherKind(TokenKind::Jwt))]
#[case(
    "apiVersion: v1\nkind: Config",
    K0sTokenError::OtherKind(TokenKind::Kubeconfig)
)]
#[case("H4sI_-_-", K0sTokenError::NotBase64 { position: 5 })]
#[case("not a token", K0sTokenError::Truncated)]
#[case("Zm9yZWlnbg==", K0sTokenError::NotGzip)]
#[case("YXBpVmVyc2lvbjogdjEK", K0sTokenError::NotGzip)]
#[case("H4sIAAAAAAAC//////////////////////////8=", K0sTokenError::Damaged)]
fn what_is_no_token_is_told_apart(#[case] text: &str, #[case] error: K0sTokenError) {
    assert_eq!(K0sToken::decode(text.as_bytes()), Err(error));
}

#[test]
fn the_data_of_a_secret_is_told_from_the_token() {
    let twice = STANDARD.encode(worker().encode().expose());
    assert_eq!(
        K0sToken::decode(twice.as_bytes()),
        Err(K0sTokenError::EncodedTwice)
    );
}

#[test]
fn a_changed_byte_is_noticed() {
    let text = worker().encode();
    let mut bytes = STANDARD.decode(text.expose()).unwrap();
    let crc = bytes.len() - 8;
    bytes[crc] ^= 1;
    assert_eq!(
        K0sToken::decode(STANDARD.encode(bytes).as_bytes()),
        Err(K0sTokenError::Damaged)
    );
}

#[test]
fn a_zip_bomb_is_refused_without_being_unpacked() {
    let bomb = packed(&vec![b' '; 256 * MAX_UNPACKED / 8]);
    assert!(bomb.len() < MAX_TEXT);
    assert_eq!(
        K0sToken::decode(bomb.as_bytes()),
        Err(K0sTokenError::TooLarge)
    );
    let long = "A".repeat(MAX_TEXT + 1);
    assert_eq!(
        K0sToken::decode(long.as_bytes()),
        Err(K0sTokenError::TooLong {
            length: MAX_TEXT + 1
        })
    );
}

#[test]
fn a_kubeconfig_that_is_no_join_token_is_told_apart() {
    let admin = decode_changed("user: kubelet-bootstrap", "user: kubernetes-admin");
    assert_eq!(
        admin,
        Err(K0sTokenError::NoRole {
            user: "kubernetes-admin".to_owned()
        })
    );
    assert_eq!(
        decode_changed("    user: kubelet-bootstrap\n", ""),
        Err(K0sTokenError::NoRole {
            user: String::new()
        })
    );
    assert_eq!(
        decode_changed("token: abcdef.0123456789abcdef", "token: ''"),
        Err(K0sTokenError::NoToken)
    );
    assert_eq!(
        decode_changed("certificate-authority-data:", "other:"),
        Err(K0sTokenError::NoCa)
    );
    assert!(matches!(
        decode_changed("https://", "http://"),
        Err(K0sTokenError::Server(_))
    ));
    assert!(matches!(
        decode_changed("kind: Config", "kind: Pod"),
        Err(K0sTokenError::Kubeconfig(KubeconfigError::Kind { .. }))
    ));
    let no_yaml = packed(b"[1, 2");
    assert!(matches!(
        K0sToken::decode(no_yaml.as_bytes()),
        Err(K0sTokenError::Kubeconfig(
            KubeconfigError::Unreadable { .. }
        ))
    ));
}

#[test]
fn contexts_of_both_roles_leave_the_role_open() {
    let second =
        "contexts:\n- context:\n    cluster: k0s\n    user: controller-bootstrap\n  name: other\n";
    assert_eq!(
        decode_changed("contexts:\n", second),
        Err(K0sTokenError::AmbiguousRole)
    );
    let same = second.replace("controller-bootstrap", "kubelet-bootstrap");
    assert_eq!(decode_changed("contexts:\n", &same), Ok(worker()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn any_bytes_are_a_token_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = K0sToken::decode(&bytes);
        let _ = K0sToken::decode(STANDARD.encode(&bytes).as_bytes());
        let _ = K0sToken::decode(packed(&bytes).as_bytes());
    }

    #[test]
    fn a_token_with_changed_characters_is_the_same_or_refused(
        at in any::<prop::sample::Index>(), to in "[A-Za-z0-9+/=_ -]"
    ) {
        let mut text = worker().encode().expose().clone();
        let at = at.index(text.len());
        text.replace_range(at..=at, &to);
        // The checksum covers what is inside; only the head of gzip has bits that nobody reads.
        if let Ok(token) = K0sToken::decode(text.as_bytes()) {
            prop_assert_eq!(token, worker());
        }
    }

    #[test]
    fn any_host_and_role_survive(host in "[a-z]{1,20}", port in 1_u16.., controller in any::<bool>()) {
        let mut token = worker().with_server(Endpoint::parse(&format!("{host}:{port}")).unwrap());
        token.role = if controller { JoinRole::Controller } else { JoinRole::Worker };
        prop_assert_eq!(K0sToken::decode(token.encode().expose().as_bytes()), Ok(token));
    }
}
