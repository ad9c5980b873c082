//! Every way to be somebody, every way to be refused, and that a bad credential is never nobody.

use std::collections::BTreeMap;

use http::HeaderValue;
use jiff::SignedDuration;
use muster_identity::{
    BootstrapToken, BootstrapTokenSecret, CertificateAuthority, PrivateKey, Subject,
    pki::IssueRequest, token::Expiration,
};
use parking_lot::Mutex;
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
        further_keys: vec![],
        allow_anonymous,
    };
    let authenticator = Authenticator::new(config, Objects::of(objects));
    authenticator.trust_clients(&authority("ca").certificate().clone().into());
    authenticator.trust_front_proxies(&authority("proxies").certificate().clone().into());
    authenticator
}

/// One CA per name, the same in every test.
fn authority(name: &str) -> CertificateAuthority {
    static AUTHORITIES: Mutex<BTreeMap<String, CertificateAuthority>> = Mutex::new(BTreeMap::new());
    let make = || {
        let life = SignedDuration::from_hours(9999);
        CertificateAuthority::new_self_signed(name, now(), life, &mut system_entropy())
            .expect("a CA")
    };
    let mut authorities = AUTHORITIES.lock();
    authorities
        .entry(name.to_owned())
        .or_insert_with(make)
        .clone()
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

fn certificate(subject: Subject, life: SignedDuration) -> ClientCertificate {
    certificate_of("ca", subject, life)
}

fn certificate_of(ca: &str, subject: Subject, life: SignedDuration) -> ClientCertificate {
    let mut entropy = system_entropy();
    let key = PrivateKey::generate(&mut entropy).expect("a key");
    let request = IssueRequest::client(subject, key.public_key().clone(), life);
    let issued = authority(ca)
        .issue(&request, now(), &mut entropy)
        .expect("issued");
    ClientCertificate::from_chain([issued.der()]).expect("a chain")
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
    let shapeless = |der: &[u8]| ClientCertificate::from_chain([der]).expect("a chain");
    for shown in [nameless, shapeless(b"not a certificate"), shapeless(b"")] {
        let refused = authenticator.authenticate(&HeaderMap::new(), Some(&shown), now());
        assert!(matches!(refused, Err(Unauthenticated::Certificate { .. })));
    }
    assert!(ClientCertificate::from_chain([]).is_none());
}

#[test]
fn a_certificate_of_a_strange_ca_is_refused_and_a_good_token_beside_it_counts() {
    let authenticator = authenticator([stored(|_| {})], true);
    let subject = Subject::new("kubernetes-admin", ["system:masters"]);
    let shown = certificate_of("strange", subject, SignedDuration::from_hours(1));
    let refused = authenticator.authenticate(&HeaderMap::new(), Some(&shown), now());
    assert!(matches!(refused, Err(Unauthenticated::Certificate { .. })));
    let user = authenticator.authenticate(&bearer(TOKEN), Some(&shown), now());
    assert_eq!(user.expect("a user").name, "system:bootstrap:abcdef");
}

#[test]
fn a_ca_that_is_trusted_or_not_any_more_counts_at_once_on_open_connections() {
    let authenticator = authenticator([], true);
    let subject = || Subject::new("u", [""; 0]);
    let old = certificate(subject(), SignedDuration::from_hours(1));
    let new = certificate_of("next", subject(), SignedDuration::from_hours(1));
    let is_good = |shown| {
        authenticator
            .authenticate(&HeaderMap::new(), Some(shown), now())
            .is_ok()
    };
    assert_eq!((is_good(&old), is_good(&new)), (true, false));
    let ca = |name| authority(name).certificate().clone();
    authenticator.trust_clients(&vec![ca("ca"), ca("next")].into());
    assert_eq!((is_good(&old), is_good(&new)), (true, true));
    authenticator.trust_clients(&ca("next").into());
    assert_eq!((is_good(&old), is_good(&new)), (false, true));
}

fn remote() -> HeaderMap {
    let pairs = [
        ("X-Remote-User", "jane"),
        ("X-Remote-Uid", "u-1"),
        ("X-Remote-Group", "team-a"),
        ("X-Remote-Group", "team-b"),
        ("X-Remote-Extra-Acme.com%2fScopes", "view"),
        ("X-Remote-Extra-acme.com%2fscopes", "edit"),
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name: http::HeaderName = name.parse().expect("a name");
        headers.append(name, HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn a_front_proxy_says_whom_it_speaks_for() {
    let proxy = Subject::new("front-proxy-client", [""; 0]);
    let shown = certificate_of("proxies", proxy, SignedDuration::from_hours(1));
    let authenticator = authenticator([], true);
    let user = authenticator
        .authenticate(&remote(), Some(&shown), now())
        .expect("a user");
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("jane", "u-1"));
    assert_eq!(user.groups, ["team-a", "team-b", "system:authenticated"]);
    assert_eq!(user.extra["acme.com/scopes"], ["view", "edit"]);

    let mut nobody = HeaderMap::new();
    nobody.insert("x-remote-user", HeaderValue::from_static(ANONYMOUS));
    nobody.insert(
        "x-remote-group",
        HeaderValue::from_static("system:unauthenticated"),
    );
    let user = authenticator.authenticate(&nobody, Some(&shown), now());
    assert_eq!(user, Ok(UserInfo::new(ANONYMOUS, [UNAUTHENTICATED_GROUP])));

    // A proxy that names nobody is not somebody itself.
    let refused = authenticator.authenticate(&HeaderMap::new(), Some(&shown), now());
    assert!(matches!(refused, Err(Unauthenticated::Certificate { .. })));
}

#[rstest]
#[case("proxies", "somebody-else")]
#[case("strange", "front-proxy-client")]
fn who_is_no_front_proxy_cannot_speak_for_others(#[case] ca: &str, #[case] name: &str) {
    let shown = certificate_of(
        ca,
        Subject::new(name, [""; 0]),
        SignedDuration::from_hours(1),
    );
    let refused = authenticator([], true).authenticate(&remote(), Some(&shown), now());
    assert!(matches!(refused, Err(Unauthenticated::Certificate { .. })));
}

#[test]
fn headers_of_a_front_proxy_from_anybody_else_are_nothing() {
    let authenticator = authenticator([], true);
    let user = authenticator.authenticate(&remote(), None, now());
    assert_eq!(user.expect("a user").name, ANONYMOUS);
    let subject = Subject::new("front-proxy-client", [""; 0]);
    let shown = certificate(subject, SignedDuration::from_hours(1));
    let user = authenticator.authenticate(&remote(), Some(&shown), now());
    assert_eq!(user.expect("a user").name, "front-proxy-client");
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

#[test]
fn a_token_that_names_no_group_is_one_of_k0s_and_no_other_is() {
    let groups = |of: &[&str]| {
        let of = of.iter().map(|group| (*group).to_owned()).collect();
        let token = stored(|secret| secret.groups = of);
        let user = authenticator([token], true).authenticate(&bearer(TOKEN), None, now());
        user.expect("a user").groups
    };
    let of_k0s = "system:bootstrappers:k0s:default-node-token".to_owned();
    assert!(groups(&[]).contains(&of_k0s));
    assert!(!groups(&["system:bootstrappers:manual"]).contains(&of_k0s));
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
