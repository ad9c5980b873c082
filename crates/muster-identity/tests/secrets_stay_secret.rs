//! Formats every public type that holds a secret, plainly and prettily, and looks for the secret.
//!
//! It refuses to trust that each `Debug` was written with care.

use std::fmt::Debug;

use muster_identity::kubeconfig::Kubeconfig;
use muster_identity::pki::{
    CertificateAuthority, Csr, IssueRequest, PrivateKey, Subject, SubjectAltNames, pem,
};
use muster_identity::{BootstrapToken, BootstrapTokenSecret, CertificateBundle, Secret};

const PLANTED: &str = "plantedsecret123";
const KEY: &str = include_str!("../fixtures/p256-sec1.pem");

/// The planted text as it is, in base64, and as the list of numbers that a derived `Debug` would show.
fn traces() -> Vec<String> {
    let scalar = pem::parse(KEY.as_bytes()).expect("the fixture is PEM")[0]
        .der
        .expose()[7..39]
        .to_vec();
    let mut traces = vec![PLANTED.to_owned(), "cGxhbnRlZHNlY3JldDEyM".to_owned()];
    for bytes in [PLANTED.as_bytes().to_vec(), scalar] {
        let numbers: Vec<_> = bytes[..8].iter().map(u8::to_string).collect();
        traces.push(numbers.join(", "));
        traces.push(numbers.join(",\n"));
    }
    traces.push(KEY.lines().nth(1).expect("the fixture has a body")[20..60].to_owned());
    traces
}

fn stays_secret(name: &str, value: &impl Debug) {
    for shown in [format!("{value:?}"), format!("{value:#?}")] {
        let squeezed = shown.replace(' ', "");
        for trace in traces() {
            let found = shown.contains(&trace) || squeezed.contains(&trace.replace(' ', ""));
            assert!(!found, "{name} shows a secret: {shown}");
        }
    }
}

#[test]
fn no_debug_output_shows_a_secret() {
    let token = BootstrapToken::parse(&format!("abcdef.{PLANTED}")).unwrap();
    let secret = BootstrapTokenSecret::new(token.clone());
    let key = PrivateKey::from_pem(KEY.as_bytes()).unwrap();
    let now = "2026-11-21T00:00:00Z".parse().unwrap();
    let life = jiff::SignedDuration::from_hours(1000);
    let mut entropy = |bytes: &mut [u8]| bytes.fill(7);
    let ca = CertificateAuthority::self_signed_with(key.clone(), "ca", now, life, &mut entropy);
    let ca = ca.unwrap();
    let bundle = CertificateBundle::from(ca.certificate().clone());
    let subject = Subject::new("jane", ["dev"]);
    let request = IssueRequest::client(subject.clone(), key.public_key().clone(), life);

    stays_secret("Secret<String>", &Secret::new(PLANTED.to_owned()));
    stays_secret(
        "Secret<Vec<u8>>",
        &Some(Secret::new(PLANTED.as_bytes().to_vec())),
    );
    stays_secret("BootstrapToken", &token);
    stays_secret("token text", &token.to_text());
    stays_secret("BootstrapTokenSecret", &secret);
    stays_secret("token data", &secret.to_data());
    stays_secret("PrivateKey", &key);
    stays_secret("key PEM", &key.to_pem());
    stays_secret("key PKCS #8", &key.pkcs8_der());
    stays_secret("PublicKey", key.public_key());
    stays_secret("PemBlock", &pem::parse(KEY.as_bytes()).unwrap());
    stays_secret("CertificateAuthority", &ca);
    stays_secret("IssueRequest", &request);
    stays_secret(
        "Csr",
        &Csr::build(&key, &subject, &SubjectAltNames::none()).unwrap(),
    );
    stays_secret("CertificateBundle", &bundle);
    for config in [
        Kubeconfig::for_bootstrap_token("https://a:1", &bundle, &token),
        Kubeconfig::for_token(
            "https://a:1",
            &bundle,
            "u",
            &Secret::new(PLANTED.to_owned()),
        ),
        Kubeconfig::for_client_certificate("https://a:1", &bundle, "u", "CERT", &key.to_pem()),
    ] {
        stays_secret("Kubeconfig", &config);
        stays_secret("Kubeconfig YAML", &config.to_yaml());
        stays_secret("Resolved", &config.resolve().unwrap());
    }
    let foreign = format!(
        "users:\n- name: u\n  user: {{password: {PLANTED}, exec: {{env: [{{value: {PLANTED}}}]}}}}\n\
         contexts:\n- name: c\n  context: {{cluster: k, user: u}}\ncurrent-context: c\n\
         clusters:\n- name: k\n  cluster: {{server: 'https://a:1'}}\n"
    );
    let foreign = Kubeconfig::parse(foreign.as_bytes()).unwrap();
    stays_secret("foreign Kubeconfig", &foreign);
    stays_secret("foreign Resolved", &foreign.resolve().unwrap());
}

#[test]
fn no_error_repeats_a_token_that_is_nearly_right() {
    for text in [
        format!("abcdef.{PLANTED}x"),
        format!("abcde.{PLANTED}"),
        format!("{PLANTED}.{PLANTED}"),
    ] {
        let error = BootstrapToken::parse(&text).unwrap_err();
        stays_secret("TokenError", &error);
        assert!(!error.to_string().contains(PLANTED));
    }
}
