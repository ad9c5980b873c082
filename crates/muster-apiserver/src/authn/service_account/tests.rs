//! Tokens made here and tokens made elsewhere; what a token dies with; the answers to token requests.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use muster_identity::PrivateKey;
use rstest::rstest;

use super::*;
use crate::{authz::sample::Objects, entropy::system_entropy};

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

fn now() -> Timestamp {
    "2026-11-21T08:00:00Z".parse().expect("a time")
}

fn issuer() -> TokenIssuer {
    let key = PrivateKey::generate(&mut system_entropy()).expect("a key");
    TokenIssuer::new(AuthenticationConfig {
        issuer: ISSUER.into(),
        further_audiences: vec!["api".into()],
        service_account_key: SigningKey::new(&key).expect("usable"),
        further_keys: vec![],
        allow_anonymous: true,
    })
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    let namespace = if kind == "Node" {
        Value::Null
    } else {
        "default".into()
    };
    json!({
        "apiVersion": "v1", "kind": kind, "spec": spec,
        "metadata": {"name": name, "namespace": namespace, "uid": format!("{name}-uid")},
    })
}

fn identity(name: &str) -> ObjectIdentity {
    ObjectIdentity {
        name: name.into(),
        uid: format!("{name}-uid"),
    }
}

fn grant(bound: Option<Bound>) -> TokenGrant {
    TokenGrant {
        namespace: "default".into(),
        account: identity("robot"),
        audiences: vec![],
        life: SignedDuration::from_hours(1),
        warn_after: None,
        bound,
    }
}

fn verify(
    issuer: &TokenIssuer,
    token: &Secret<String>,
    objects: impl IntoIterator<Item = Value>,
    now: Timestamp,
) -> Result<UserInfo, Unauthenticated> {
    let reader = Objects::of(objects);
    issuer
        .verify(token, issuer.audiences(), reader.as_ref(), now)
        .map(|(user, _)| user)
}

#[test]
fn a_token_speaks_for_its_account_and_tells_its_pod_and_node() {
    let issuer = issuer();
    let bound = Bound::Pod {
        pod: identity("p"),
        node: Some(identity("n")),
    };
    let token = issuer.mint(&grant(Some(bound)), now()).expect("minted");
    let objects = [
        object("ServiceAccount", "robot", json!({})),
        object("Pod", "p", json!({})),
    ];
    let user = verify(&issuer, &token, objects, now()).expect("a user");
    assert_eq!(user.name, "system:serviceaccount:default:robot");
    assert_eq!(user.uid, "robot-uid");
    assert_eq!(
        user.groups,
        ["system:serviceaccounts", "system:serviceaccounts:default"]
    );
    let extra = |key: &str| user.extra[&format!("authentication.kubernetes.io/{key}")][0].clone();
    assert_eq!(
        (extra("pod-name"), extra("pod-uid")),
        ("p".into(), "p-uid".into())
    );
    assert_eq!(
        (extra("node-name"), extra("node-uid")),
        ("n".into(), "n-uid".into())
    );
    assert!(extra("credential-id").starts_with("JTI="));
}

#[test]
fn a_token_begins_and_ends() {
    let issuer = issuer();
    let token = issuer.mint(&grant(None), now()).expect("minted");
    let at = |offset: i64| {
        let account = object("ServiceAccount", "robot", json!({}));
        verify(
            &issuer,
            &token,
            [account],
            now() + SignedDuration::from_secs(offset),
        )
        .is_ok()
    };
    assert_eq!(
        [at(-1), at(0), at(3599), at(3600)],
        [false, true, true, false]
    );
}

fn replaced(mut object: Value) -> Value {
    object["metadata"]["uid"] = "another".into();
    object
}

fn dying(mut object: Value, since: &str) -> Value {
    object["metadata"]["deletionTimestamp"] = since.into();
    object
}

#[rstest]
#[case::account_gone(None, vec![], false)]
#[case::account_replaced(None, vec![replaced(object("ServiceAccount", "robot", json!({})))], false)]
#[case::account_just_deleted(
    None, vec![dying(object("ServiceAccount", "robot", json!({})), "2026-11-21T07:59:30Z")], true
)]
#[case::account_deleted(
    None, vec![dying(object("ServiceAccount", "robot", json!({})), "2026-11-21T07:58:59Z")], false
)]
#[case::pod_gone(
    Some(Bound::Pod { pod: identity("p"), node: None }),
    vec![object("ServiceAccount", "robot", json!({}))], false
)]
#[case::pod_replaced(
    Some(Bound::Pod { pod: identity("p"), node: None }),
    vec![object("ServiceAccount", "robot", json!({})), replaced(object("Pod", "p", json!({})))], false
)]
#[case::node_gone(
    Some(Bound::Node(identity("n"))), vec![object("ServiceAccount", "robot", json!({}))], false
)]
#[case::node_there(
    Some(Bound::Node(identity("n"))),
    vec![object("ServiceAccount", "robot", json!({})), object("Node", "n", json!({}))], true
)]
#[case::secret_gone(
    Some(Bound::Secret(identity("s"))), vec![object("ServiceAccount", "robot", json!({}))], false
)]
#[case::secret_there(
    Some(Bound::Secret(identity("s"))),
    vec![object("ServiceAccount", "robot", json!({})), object("Secret", "s", json!({}))], true
)]
fn a_token_dies_with_what_it_is_bound_to(
    #[case] bound: Option<Bound>,
    #[case] objects: Vec<Value>,
    #[case] good: bool,
) {
    let issuer = issuer();
    let token = issuer.mint(&grant(bound), now()).expect("minted");
    assert_eq!(verify(&issuer, &token, objects, now()).is_ok(), good);
}

#[test]
fn a_token_is_good_for_its_audiences_only() {
    let issuer = issuer();
    let reader = Objects::of([object("ServiceAccount", "robot", json!({}))]);
    let check = |audiences: &[&str], wanted: &[&str]| {
        let owned = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
        let token = issuer
            .mint(
                &TokenGrant {
                    audiences: owned(audiences),
                    ..grant(None)
                },
                now(),
            )
            .expect("minted");
        let found = issuer.verify(&token, &owned(wanted), reader.as_ref(), now());
        found.map(|(_, good_for)| good_for).unwrap_or_default()
    };
    assert_eq!(check(&[], &[ISSUER]), [ISSUER]);
    assert_eq!(check(&["vault", "x"], &["vault", "y"]), ["vault"]);
    assert!(check(&["vault"], &[ISSUER, "api"]).is_empty());
}

/// A token with header and claims changed and signed again by the same key.
fn forged(issuer: &TokenIssuer, change: impl Fn(&mut Value, &mut Value)) -> Secret<String> {
    let token = issuer.mint(&grant(None), now()).expect("minted");
    let parts = jwt::parse(token.expose()).expect("a token");
    let (mut header, mut claims) = (parts.header, parts.claims);
    change(&mut header, &mut claims);
    let signed = jwt::write(&header, &claims, |bytes| issuer.key.sign(bytes));
    Secret::new(signed.expect("signed"))
}

#[test]
fn claims_that_do_not_fit_are_refused_though_the_signature_is_right() {
    let issuer = issuer();
    let good = |change: &dyn Fn(&mut Value, &mut Value)| {
        let token = forged(&issuer, change);
        verify(
            &issuer,
            &token,
            [object("ServiceAccount", "robot", json!({}))],
            now(),
        )
        .is_ok()
    };
    assert!(good(&|_, _| {}));
    assert!(!good(&|_, claims| claims["iss"] = "https://other".into()));
    assert!(!good(
        &|_, claims| claims["sub"] = "system:serviceaccount:default:root".into()
    ));
    assert!(
        !good(&|_, claims| claims["exp"] = Value::Null),
        "a token of this issuer has an end"
    );
    assert!(!good(&|_, claims| claims["aud"] = Value::Null));
    assert!(!good(&|_, claims| claims["kubernetes.io"] = Value::Null));
    assert!(!good(&|header, _| header["alg"] = "none".into()));
    assert!(!good(&|header, _| header["alg"] = "HS256".into()));
    assert!(!good(&|header, _| header["kid"] = "other".into()));
    assert!(!good(&|header, _| header["crit"] = json!(["x"])));
}

#[test]
fn a_token_of_another_key_or_with_a_changed_byte_is_refused() {
    let (ours, theirs) = (issuer(), issuer());
    let account = || object("ServiceAccount", "robot", json!({}));
    let token = theirs.mint(&grant(None), now()).expect("minted");
    assert!(verify(&ours, &token, [account()], now()).is_err());
    let token = ours.mint(&grant(None), now()).expect("minted");
    let (signed, signature) = token.expose().rsplit_once('.').expect("parts");
    let (header, claims) = signed.split_once('.').expect("parts");
    let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64");
    let text = String::from_utf8(claims)
        .expect("text")
        .replace("robot", "admin");
    let changed = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(text));
    assert!(verify(&ours, &Secret::new(changed), [account()], now()).is_err());
}

#[test]
fn the_documents_let_others_verify() {
    let issuer = issuer();
    let document = issuer.discovery_document("https://10.78.0.1:6443");
    assert_eq!(document["issuer"], ISSUER);
    assert_eq!(
        document["jwks_uri"],
        "https://10.78.0.1:6443/openid/v1/jwks"
    );
    assert_eq!(
        document["id_token_signing_alg_values_supported"],
        json!(["ES256"])
    );
    let keys = issuer.key_set();
    assert_eq!(keys["keys"][0]["kid"], issuer.key.public().id());
    assert_eq!(keys["keys"][0]["crv"], "P-256");
}

#[test]
fn names_of_service_accounts_are_read_back() {
    assert_eq!(of_user_name(&user_name("ns", "sa")), Some(("ns", "sa")));
    for other in [
        "system:serviceaccount:ns",
        "system:serviceaccount::sa",
        "admin",
        "system:serviceaccount:a:b:c",
    ] {
        assert_eq!(of_user_name(other), None, "{other}");
    }
}

fn cluster() -> std::sync::Arc<Objects> {
    Objects::of([
        object("ServiceAccount", "robot", json!({})),
        object(
            "Pod",
            "p",
            json!({"serviceAccountName": "robot", "nodeName": "n"}),
        ),
        object("Pod", "q", json!({"serviceAccountName": "other"})),
        object("Node", "n", json!({})),
    ])
}

fn ask(spec: Value) -> Result<Value, Box<muster_machinery::Status>> {
    let request = json!({"spec": spec});
    issuer().answer(cluster().as_ref(), "default", "robot", &request, now())
}

#[test]
fn a_token_request_is_answered_with_a_token_for_an_hour() {
    let answer = ask(json!({})).expect("answered");
    assert_eq!(
        (&answer["kind"], &answer["apiVersion"]),
        (&json!("TokenRequest"), &json!("authentication.k8s.io/v1"))
    );
    assert_eq!(
        answer["status"]["expirationTimestamp"],
        "2026-11-21T09:00:00Z"
    );
    assert_eq!(answer["spec"]["audiences"][0], ISSUER);
    assert_eq!(answer["spec"]["boundObjectRef"], Value::Null);
    let token = answer["status"]["token"].as_str().expect("a token");
    assert!(jwt::looks_like_one(token));
}

#[test]
fn a_token_bound_to_a_pod_tells_the_node_too() {
    let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "p-uid"});
    let answer =
        ask(json!({"boundObjectRef": reference, "expirationSeconds": 3607})).expect("answered");
    assert_eq!(answer["spec"]["boundObjectRef"], reference);
    let token = answer["status"]["token"].as_str().expect("a token");
    let claims = jwt::parse(token).expect("a token").claims;
    assert_eq!(
        claims["kubernetes.io"]["node"],
        json!({"name": "n", "uid": "n-uid"})
    );
    // Its holder is told of an hour, and may be late.
    assert_eq!(
        answer["status"]["expirationTimestamp"],
        "2026-11-21T09:00:07Z"
    );
    let private = &claims["kubernetes.io"];
    assert_eq!(
        private["warnafter"].as_i64(),
        Some(now().as_second() + 3607)
    );
    let year = 365 * 24 * 3600;
    assert_eq!(claims["exp"].as_i64(), Some(now().as_second() + year));
}

#[test]
fn only_the_life_that_admission_writes_is_extended() {
    let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": "p"});
    for spec in [
        json!({"boundObjectRef": reference, "expirationSeconds": 3608}),
        json!({"boundObjectRef": reference, "expirationSeconds": 3607, "audiences": ["vault"]}),
        json!({"expirationSeconds": 3607}),
    ] {
        let answer = ask(spec).expect("answered");
        let token = answer["status"]["token"].as_str().expect("a token");
        let claims = jwt::parse(token).expect("a token").claims;
        assert!(claims["exp"].as_i64() <= Some(now().as_second() + 3608));
        assert_eq!(claims["kubernetes.io"].get("warnafter"), None);
    }
}

#[rstest]
#[case(json!({"name": "other"}), 422)]
#[case(json!({"namespace": "other"}), 400)]
#[case(json!({"uid": "other"}), 409)]
#[case(json!({"name": "robot", "namespace": "default", "uid": "robot-uid"}), 0)]
fn a_token_request_may_name_its_account_and_no_other(#[case] metadata: Value, #[case] code: u16) {
    let request = json!({"metadata": metadata, "spec": {}});
    let answer = issuer().answer(cluster().as_ref(), "default", "robot", &request, now());
    assert_eq!(answer.map_or_else(|refused| refused.code(), |_| 0), code);
}

#[test]
fn keys_of_earlier_days_still_verify_and_are_shown() {
    let (old, mut new) = (issuer(), issuer());
    new.believed.push(old.key.public().clone());
    let account = || object("ServiceAccount", "robot", json!({}));
    for minted_by in [&old, &new] {
        let token = minted_by.mint(&grant(None), now()).expect("minted");
        assert!(verify(&new, &token, [account()], now()).is_ok());
    }
    let token = new.mint(&grant(None), now()).expect("minted");
    assert!(verify(&old, &token, [account()], now()).is_err());
    let keys = new.key_set();
    let ids: Vec<_> = [&new, &old].map(|one| json!(one.key.public().id())).into();
    assert_eq!(
        json!([keys["keys"][0]["kid"], keys["keys"][1]["kid"]]),
        json!(ids)
    );
}

fn kept(token: &Secret<String>) -> Value {
    use base64::engine::general_purpose::STANDARD;
    let mut secret = object("Secret", "robot-token", json!({}));
    secret["data"] = json!({"token": STANDARD.encode(token.expose())});
    secret
}

#[test]
fn a_token_without_an_end_lives_with_its_secret_and_its_account() {
    let issuer = issuer();
    let grant = LegacyGrant {
        namespace: "default".into(),
        account: identity("robot"),
        secret: "robot-token".into(),
    };
    let token = issuer.mint_legacy(&grant).expect("minted");
    let account = || object("ServiceAccount", "robot", json!({}));
    let check = |objects: Vec<Value>| verify(&issuer, &token, objects, now());
    let user = check(vec![account(), kept(&token)]).expect("a user");
    assert_eq!(user.name, "system:serviceaccount:default:robot");
    assert_eq!(user.uid, "robot-uid");
    assert!(user.is_in("system:serviceaccounts:default"));

    let another = kept(&Secret::new("another".into()));
    let mut invalid = kept(&token);
    invalid["metadata"]["labels"] =
        json!({"kubernetes.io/legacy-token-invalid-since": "2026-01-01"});
    let gone = dying(kept(&token), "2026-11-21T07:59:59Z");
    for secret in [another, invalid, gone] {
        assert!(check(vec![account(), secret]).is_err());
    }
    assert!(check(vec![account()]).is_err());
    assert!(check(vec![kept(&token)]).is_err());
    assert!(check(vec![kept(&token), replaced(account())]).is_err());
    let reader = Objects::of([account(), kept(&token)]);
    let elsewhere = ["vault".to_owned()];
    assert!(
        issuer
            .verify(&token, &elsewhere, reader.as_ref(), now())
            .is_err()
    );
}

#[rstest]
#[case(json!({"expirationSeconds": 599}), 422, "may not specify a duration less than 10 minutes")]
#[case(json!({"expirationSeconds": 1_i64 << 33}), 422, "larger than 2^32 seconds")]
#[case(json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "none"}}), 404, "pods \"none\" not found")]
#[case(
    json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "x"}}),
    409, "does not match the UID in record"
)]
#[case(json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "q"}}), 400, "different serviceaccount name")]
#[case(
    json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Service", "name": "p"}}),
    400, "cannot bind token to object of type /v1, Kind=Service"
)]
fn a_token_request_that_cannot_be_met_says_why(
    #[case] spec: Value,
    #[case] code: u16,
    #[case] why: &str,
) {
    let refused = ask(spec).expect_err("refused");
    assert_eq!(refused.code(), code);
    assert!(refused.message().contains(why), "{refused}");
}

#[test]
fn an_account_that_is_not_there_gets_no_token() {
    let refused = issuer().answer(cluster().as_ref(), "default", "nobody", &json!({}), now());
    let refused = refused.expect_err("refused");
    assert_eq!(refused.message(), "serviceaccounts \"nobody\" not found");
}
