//! Every way to be somebody, every way to be refused, and that a bad credential is never nobody.

use http::HeaderValue;
use jiff::SignedDuration;
use muster_identity::{
    BootstrapToken, BootstrapTokenSecret, CertificateAuthority, PrivateKey, Subject,
    pki::IssueRequest, token::Expiration,
};
use rstest::rstest;
use serde_json::Value;

use super::*;
use crate::{authz::sample::Objects, entropy::system_entropy};

const TOKEN: &str = "abcdef.0123456789abcdef";

fn now() -> Timestamp {
    "2026-11-21T08:00:00Z".parse().expect("a time")
}

fn authenticator(objects: impl IntoIterator<Item = Value>, allow_anonymous: bool) -> Authenticator {
    let key = PrivateKey::generate(&mut system_entropy()).expect("a key");
    let config = AuthenticationConfig {
        issuer: "https://kubernetes.default.svc.cluster.local".into(),
        further_audiences: vec![],
        service_account_key: SigningKey::new(&key).expect("usable"),
        allow_anonymous,
    };
    Authenticator::new(config, Objects::of(objects))
}

fn bearer(token: &str) -> HeaderMap {
    header(&format!("Bearer {token}"))
}

fn header(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        AUTHORIZATION,
        HeaderValue::from_str(value).expect("a header"),
    );
    headers
}

fn stored(change: impl FnOnce(&mut BootstrapTokenSecret)) -> Value {
    let mut secret = BootstrapTokenSecret::new(BootstrapToken::parse(TOKEN).expect("a token"));
    change(&mut secret);
    secret.to_object()
}

fn certificate(subject: Subject, life: SignedDuration) -> Vec<u8> {
    let mut entropy = system_entropy();
    let ca = CertificateAuthority::new_self_signed(
        "ca",
        now(),
        SignedDuration::from_hours(9999),
        &mut entropy,
    )
    .expect("a CA");
    let key = PrivateKey::generate(&mut entropy).expect("a key");
    let request = IssueRequest::client(subject, key.public_key().clone(), life);
    ca.issue(&request, now(), &mut entropy)
        .expect("issued")
        .der()
        .to_vec()
}

#[test]
fn a_request_without_a_credential_is_anonymous_if_that_is_allowed() {
    let user = authenticator([], true).authenticate(&HeaderMap::new(), None, now());
    assert_eq!(
        user,
        Ok(UserInfo::new(
            "system:anonymous",
            ["system:unauthenticated"]
        ))
    );
    let refused = authenticator([], false).authenticate(&HeaderMap::new(), None, now());
    assert_eq!(refused, Err(Unauthenticated::Missing));
}

#[test]
fn a_certificate_is_its_common_name_in_every_organisation() {
    let subject = Subject::new("system:node:n1", ["system:nodes", "team-b"]);
    let der = certificate(subject, SignedDuration::from_hours(1));
    let user = authenticator([], true)
        .authenticate(&HeaderMap::new(), Some(&der), now())
        .expect("a user");
    assert_eq!(user.name, "system:node:n1");
    assert_eq!(
        user.groups,
        ["system:nodes", "team-b", "system:authenticated"]
    );
    let id = &user.extra["authentication.kubernetes.io/credential-id"][0];
    assert!(id.starts_with("X509SHA256=") && id.len() == 11 + 64, "{id}");
}

#[test]
fn a_certificate_that_ended_on_an_open_connection_is_refused() {
    let der = certificate(Subject::new("u", [""; 0]), SignedDuration::from_hours(1));
    let authenticator = authenticator([], true);
    let at = |time| authenticator.authenticate(&HeaderMap::new(), Some(&der), time);
    assert!(at(now()).is_ok());
    let late = now() + SignedDuration::from_hours(2);
    assert!(matches!(at(late), Err(Unauthenticated::Certificate { .. })));
}

#[test]
fn a_certificate_without_a_name_or_shape_is_nobody() {
    let authenticator = authenticator([], true);
    let nameless = certificate(Subject::new("", ["g"]), SignedDuration::from_hours(1));
    for der in [nameless.as_slice(), b"not a certificate", b""] {
        let refused = authenticator.authenticate(&HeaderMap::new(), Some(der), now());
        assert!(matches!(refused, Err(Unauthenticated::Certificate { .. })));
    }
}

#[test]
fn a_bootstrap_token_is_its_id_in_its_groups() {
    let user = authenticator([stored(|_| {})], true)
        .authenticate(&bearer(TOKEN), None, now())
        .expect("a user");
    assert_eq!(user.name, "system:bootstrap:abcdef");
    assert_eq!(
        user.groups,
        [
            "system:bootstrappers",
            "system:bootstrappers:kubeadm:default-node-token",
            "system:authenticated"
        ]
    );
}

#[rstest]
#[case::expired(stored(|secret| secret.expiration = Expiration::At(now())))]
#[case::unreadable_end(stored(|secret| secret.expiration = Expiration::Unreadable("soon".into())))]
#[case::not_for_authentication(stored(|secret| secret.usages.authentication = false))]
#[case::of_a_foreign_group(stored(|secret| secret.groups = vec!["system:masters".into()]))]
#[case::of_another_type({
    let mut secret = stored(|_| {});
    secret["type"] = "Opaque".into();
    secret
})]
#[case::being_deleted({
    let mut secret = stored(|_| {});
    secret["metadata"]["deletionTimestamp"] = "2026-11-21T07:59:59Z".into();
    secret
})]
#[case::with_another_secret({
    let mut secret = stored(|_| {});
    secret["data"]["token-secret"] = "MDEyMzQ1Njc4OWFiY2RlMA==".into();
    secret
})]
#[case::elsewhere({
    let mut secret = stored(|_| {});
    secret["metadata"]["namespace"] = "default".into();
    secret
})]
fn a_bootstrap_token_is_refused(#[case] secret: Value) {
    let refused = authenticator([secret], true).authenticate(&bearer(TOKEN), None, now());
    assert!(
        matches!(refused, Err(Unauthenticated::BootstrapToken { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_token_that_ends_later_is_good_until_then() {
    let end = now() + SignedDuration::from_secs(1);
    let authenticator = authenticator(
        [stored(|secret| secret.expiration = Expiration::At(end))],
        true,
    );
    assert!(
        authenticator
            .authenticate(&bearer(TOKEN), None, now())
            .is_ok()
    );
    assert!(
        authenticator
            .authenticate(&bearer(TOKEN), None, end)
            .is_err()
    );
}

#[rstest]
#[case("Bearer")]
#[case("Bearer ")]
#[case("Bearer a b")]
#[case("Basic dTpw")]
#[case("Bearer no-token")]
#[case("Bearer ABCDEF.0123456789abcdef")]
#[case("Bearer a.b.c")]
#[case("Bearer ..")]
fn a_bad_credential_is_never_anonymous(#[case] value: &str) {
    let refused = authenticator([], true).authenticate(&header(value), None, now());
    assert!(refused.is_err(), "{refused:?}");
}

#[test]
fn headers_are_bounded_and_single() {
    let authenticator = authenticator([], true);
    let long = bearer(&"a".repeat(MAX_AUTHORIZATION));
    assert!(matches!(
        authenticator.authenticate(&long, None, now()),
        Err(Unauthenticated::Header { .. })
    ));
    let mut two = bearer(TOKEN);
    two.append(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    assert!(matches!(
        authenticator.authenticate(&two, None, now()),
        Err(Unauthenticated::Header { .. })
    ));
}

#[test]
fn a_certificate_counts_before_a_token() {
    let der = certificate(Subject::new("u", [""; 0]), SignedDuration::from_hours(1));
    let user = authenticator([], true).authenticate(&bearer("nonsense"), Some(&der), now());
    assert_eq!(user.map(|user| user.name), Ok("u".to_owned()));
}

#[test]
fn a_bootstrap_token_is_good_for_this_server_only() {
    let authenticator = authenticator([stored(|_| {})], true);
    let token = Secret::new(TOKEN.to_owned());
    let own = authenticator.issuer().audiences().to_vec();
    let found = authenticator
        .authenticate_token(&token, &own, now())
        .expect("good");
    assert_eq!(found.1, own);
    assert!(
        authenticator
            .authenticate_token(&token, &["vault".to_owned()], now())
            .is_err()
    );
}

#[test]
fn an_error_does_not_repeat_the_secret() {
    let refused = authenticator([], true).authenticate(&bearer(TOKEN), None, now());
    let shown = format!("{refused:?}");
    assert!(
        shown.contains("abcdef") && !shown.contains("0123456789abcdef"),
        "{shown}"
    );
}
