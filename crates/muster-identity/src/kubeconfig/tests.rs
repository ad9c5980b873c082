//! kubeconfig files of a real cluster, of ours and of strangers.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::pki::CertificateBundle;
use crate::token::BootstrapToken;

const SERVER: &str = "https://10.78.0.1:6443";
const CA: &str = include_str!("../../fixtures/kubeadm-ca.pem");
const PATH: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

fn ca() -> CertificateBundle {
    CertificateBundle::from_pem(CA.as_bytes()).unwrap()
}

fn ca_data() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(CA)
}

#[test]
fn our_cluster_info_is_kubeadms_to_the_byte() {
    let text = include_str!("../../fixtures/cluster-info-jws.json");
    let fields: serde_json::Value = serde_json::from_str(text).unwrap();
    let real = fields["payload"].as_str().unwrap();
    assert_eq!(
        Kubeconfig::for_cluster_info(SERVER, &ca())
            .to_yaml()
            .expose(),
        real
    );
    let parsed = Kubeconfig::parse(real.as_bytes()).unwrap();
    assert_eq!(parsed.to_yaml().expose(), real);
    let resolved = parsed.resolve().unwrap();
    assert_eq!(resolved.cluster.server, SERVER);
    assert_eq!(
        resolved.cluster.certificate_authority,
        Some(Material::Data(CA.into()))
    );
    assert_eq!(resolved.user, ResolvedUser::default());
}

#[test]
fn our_kubelet_conf_is_the_kubelets_to_the_byte() {
    let expected = format!(
        "apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {}
    server: https://10.78.0.1:6443
  name: default-cluster
contexts:
- context:
    cluster: default-cluster
    namespace: default
    user: default-auth
  name: default-context
current-context: default-context
kind: Config
users:
- name: default-auth
  user:
    client-certificate: {PATH}
    client-key: {PATH}
",
        ca_data()
    );
    let ours = Kubeconfig::for_client_files(SERVER, &ca(), PATH, PATH);
    assert_eq!(ours.to_yaml().expose(), &expected);
    let user = ours.resolve().unwrap().user;
    assert_eq!(user.client_certificate, Some(Material::File(PATH.into())));
    assert_eq!(user.client_key, Some(Material::File(PATH.into())));
}

#[test]
fn our_bootstrap_kubelet_conf_is_kubeadms_to_the_byte() {
    let token = BootstrapToken::parse("mysj49.7vw1623kjhpl76d3").unwrap();
    let expected = format!(
        "apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {}
    server: https://10.78.0.1:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: tls-bootstrap-token-user
  name: tls-bootstrap-token-user@kubernetes
current-context: tls-bootstrap-token-user@kubernetes
kind: Config
users:
- name: tls-bootstrap-token-user
  user:
    token: mysj49.7vw1623kjhpl76d3
",
        ca_data()
    );
    let ours = Kubeconfig::for_bootstrap_token(SERVER, &ca(), &token);
    assert_eq!(ours.to_yaml().expose(), &expected);
    let found = ours.resolve().unwrap().user.token;
    assert_eq!(found, Some(Material::Data(token.to_text())));
}

#[test]
fn embedded_certificates_come_back() {
    let key = Secret::new("KEY PEM".to_owned());
    let config =
        Kubeconfig::for_client_certificate(SERVER, &ca(), "kubernetes-admin", "CERT PEM", &key);
    let read = Kubeconfig::parse(config.to_yaml().expose().as_bytes()).unwrap();
    assert_eq!(read, config);
    assert_eq!(read.current_context(), "kubernetes-admin@kubernetes");
    let user = read.resolve().unwrap().user;
    assert_eq!(
        user.client_certificate,
        Some(Material::Data(b"CERT PEM".to_vec()))
    );
    assert_eq!(
        user.client_key,
        Some(Material::Data(Secret::new(b"KEY PEM".to_vec())))
    );
}

/// A token of digits must stay a text for every YAML reader.
#[test]
fn a_token_that_looks_like_a_number_is_quoted() {
    for token in [
        "123456.1234567890123456",
        "12345e.1234567890123456",
        "true",
        "0x1f",
        "1_000",
        "~",
    ] {
        let config = Kubeconfig::for_token(SERVER, &ca(), "u", &Secret::new(token.to_owned()));
        let yaml = config.to_yaml();
        let generic: serde_json::Value = serde_saphyr::from_str(yaml.expose()).unwrap();
        assert_eq!(
            generic["users"][0]["user"]["token"],
            token,
            "{}",
            yaml.expose()
        );
        assert_eq!(Kubeconfig::parse(yaml.expose().as_bytes()).unwrap(), config);
    }
}

const FOREIGN: &str = r#"
apiVersion: v1
kind: Config
preferences: {}
current-context: b
clusters:
- name: one
  cluster: {server: "https://one:6443", certificate-authority: ca.crt}
- name: two
  cluster:
    server: https://two:6443
    insecure-skip-tls-verify: true
    tls-server-name: api.example.com
    proxy-url: http://proxy:3128
contexts:
- {name: a, context: {cluster: one, user: file}}
- {name: b, context: {cluster: two, user: exec, namespace: dev}}
- {name: c, context: {cluster: three, user: file}}
- {name: d, context: {cluster: one, user: nobody}}
- {name: e, context: {cluster: one, user: broken}}
- {name: f, context: {cluster: one, user: ""}}
users:
- name: file
  user: {tokenFile: /run/token, client-certificate: a.crt, client-key: a.key}
- name: exec
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, env: [{name: PASS, value: hunter2}]}
- name: broken
  user: {client-key-data: "***"}
"#;

#[test]
fn a_foreign_file_resolves_context_by_context() {
    let config = Kubeconfig::parse(FOREIGN.as_bytes()).unwrap();
    assert_eq!(
        config.contexts().collect::<Vec<_>>(),
        ["a", "b", "c", "d", "e", "f"]
    );
    let current = config.resolve().unwrap();
    assert_eq!(
        current.cluster.tls_server_name.as_deref(),
        Some("api.example.com")
    );
    assert!(current.cluster.insecure_skip_tls_verify);
    assert_eq!(current.namespace.as_deref(), Some("dev"));
    assert_eq!(current.user.other_fields, ["exec"]);
    let files = config.resolve_context("a").unwrap();
    assert_eq!(
        files.cluster.certificate_authority,
        Some(Material::File("ca.crt".into()))
    );
    assert_eq!(files.user.token, Some(Material::File("/run/token".into())));
    assert_eq!(
        config.resolve_context("f").unwrap().user,
        ResolvedUser::default()
    );
}

#[rstest]
#[case("x", KubeconfigError::NoContext { name: "x".into() })]
#[case("c", KubeconfigError::NoCluster { name: "three".into() })]
#[case("d", KubeconfigError::NoUser { name: "nobody".into() })]
#[case("e", KubeconfigError::NotBase64 { field: "client-key-data" })]
fn names_that_lead_nowhere_are_named(#[case] context: &str, #[case] error: KubeconfigError) {
    let config = Kubeconfig::parse(FOREIGN.as_bytes()).unwrap();
    assert_eq!(config.resolve_context(context), Err(error));
}

#[test]
fn unknown_fields_are_kept() {
    let config = Kubeconfig::parse(FOREIGN.as_bytes()).unwrap();
    let yaml = config.to_yaml();
    assert!(yaml.expose().contains("proxy-url: http://proxy:3128"));
    assert!(yaml.expose().contains("command: aws"));
    assert_eq!(Kubeconfig::parse(yaml.expose().as_bytes()).unwrap(), config);
}

#[test]
fn json_is_read_as_well() {
    let json = br#"{"kind":"Config","clusters":[{"name":"","cluster":{"server":"https://x:1"}}],"contexts":null}"#;
    let config = Kubeconfig::parse(json).unwrap();
    assert_eq!(config.resolve().unwrap().cluster.server, "https://x:1");
}

#[test]
fn a_file_without_contexts_has_no_current_one() {
    let config = Kubeconfig::parse(b"apiVersion: v1\nkind: Config\n").unwrap();
    assert_eq!(
        config.resolve(),
        Err(KubeconfigError::NoContext {
            name: String::new()
        })
    );
}

#[test]
fn other_documents_are_refused() {
    assert_eq!(
        Kubeconfig::parse(b"kind: Pod\n"),
        Err(KubeconfigError::Kind {
            found: "Pod".into()
        })
    );
    assert!(Kubeconfig::parse(b"\xff\xfe").is_err());
    assert!(Kubeconfig::parse(b"- a\n- b\n").is_err());
    assert!(Kubeconfig::parse(b"users: hello\n").is_err());
    let big = vec![b'#'; MAX_LEN + 1];
    assert_eq!(
        Kubeconfig::parse(&big),
        Err(KubeconfigError::TooLong {
            length: MAX_LEN + 1
        })
    );
}

#[test]
fn alias_bombs_and_deep_nests_are_refused() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let previous = format!("*a{},", level - 1).repeat(8);
        bomb.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            previous.trim_end_matches(',')
        ));
    }
    assert!(Kubeconfig::parse(bomb.as_bytes()).is_err());
    let deep = format!("extra: {}{}", "[".repeat(5000), "]".repeat(5000));
    assert!(Kubeconfig::parse(deep.as_bytes()).is_err());
}

#[test]
fn an_error_never_repeats_what_stands_in_the_file() {
    for text in [
        "users:\n- name: a\n  user:\n    token: [hunter2]\n",
        "users:\n- name: a\n  user: hunter2\n",
        "token: hunter2\ntoken: hunter2\n",
        "users: &hunter2 [\n",
    ] {
        let error = Kubeconfig::parse(text.as_bytes()).unwrap_err();
        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_text_is_read_or_refused(
        text in "((users|clusters|contexts|kind|name|user|- token|x): ?(\\[|\\{|\\||&a|\\*a|'|\"|null|1|x|)?\n {0,4}){0,12}|.{0,200}",
    ) {
        if let Ok(config) = Kubeconfig::parse(text.as_bytes()) {
            let _ = config.resolve();
            let _ = config.to_yaml();
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Kubeconfig::parse(&bytes);
    }

    #[test]
    fn any_name_and_token_survive(user in "[ -~äß]{0,40}", token in "[ -~]{1,40}") {
        let config = Kubeconfig::for_token(SERVER, &ca(), &user, &Secret::new(token));
        let read = Kubeconfig::parse(config.to_yaml().expose().as_bytes());
        prop_assert_eq!(read, Ok(config));
    }
}
