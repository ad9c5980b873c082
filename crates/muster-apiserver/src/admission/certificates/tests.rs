//! Fresh requests, and who may approve and sign.

use muster_identity::{PrivateKey, Subject, SubjectAltNames};
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::{admission::harness::Bench, authz::sample, entropy::system_entropy};

const TARGET: &str = "certificatesigningrequests.certificates.k8s.io";

fn pem(groups: &[&str]) -> String {
    let key = PrivateKey::generate(&mut system_entropy()).expect("a key");
    let subject = Subject::new("u", groups.iter().copied());
    Csr::build(&key, &subject, &SubjectAltNames::default())
        .expect("built")
        .to_pem()
}

fn request(groups: &[&str], signer: &str) -> Value {
    json!({"metadata": {"name": "c"}, "spec": {
        "request": STANDARD.encode(pem(groups)), "signerName": signer, "usages": ["client auth"],
    }})
}

fn create(object: Value) -> Result<Value, Box<Status>> {
    Bench::new([])
        .by(UserInfo::new("u", ["g"]))
        .create(TARGET, object)
}

#[test]
fn a_request_records_who_asks_whatever_it_says_itself() {
    let mut object = request(&[], "example.com/s");
    object["spec"]["username"] = "system:admin".into();
    object["spec"]["extra"] = json!({"a": ["b"]});
    let spec = create(object).expect("admitted")["spec"].take();
    assert_eq!(
        (&spec["username"], &spec["groups"]),
        (&json!("u"), &json!(["g"]))
    );
    assert_eq!(spec.get("extra"), None);
}

#[rstest]
#[case("request", json!("bm8="), "PEM block type must be CERTIFICATE REQUEST")]
#[case("request", json!("!"), "PEM block type must be CERTIFICATE REQUEST")]
#[case("request", json!(null), "PEM block type must be CERTIFICATE REQUEST")]
#[case(
    "signerName",
    json!("kubernetes.io/legacy-unknown"),
    "the legacy signerName is not allowed via this API version"
)]
fn a_request_that_cannot_be_signed_is_invalid(
    #[case] field: &str,
    #[case] value: Value,
    #[case] why: &str,
) {
    let mut object = request(&[], "example.com/s");
    object["spec"][field] = value;
    let refused = create(object).expect_err("refused");
    assert_eq!(refused.code(), 422);
    assert!(refused.message().contains(why), "{refused}");
}

#[test]
fn a_request_for_a_key_that_the_asker_does_not_hold_is_invalid() {
    let mut der = Csr::from_pem(pem(&[]).as_bytes())
        .expect("a request")
        .der()
        .to_vec();
    // The last bytes are the signature's.
    let last = der.len() - 1;
    der[last] ^= 1;
    let forged = muster_identity::pki::pem::encode("CERTIFICATE REQUEST", &der);
    let mut object = request(&[], "example.com/s");
    object["spec"]["request"] = STANDARD.encode(forged).into();
    let refused = create(object).expect_err("refused");
    assert_eq!(refused.code(), 422);
    assert!(
        refused.message().contains("signature does not verify"),
        "{refused}"
    );
}

#[test]
fn nobody_becomes_a_master_by_certificate() {
    let signer = "kubernetes.io/kube-apiserver-client";
    let refused = create(request(&["system:masters"], signer)).expect_err("refused");
    assert!(
        refused.message().ends_with(
            "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
        ),
        "{refused}"
    );
    assert!(create(request(&["team"], signer)).is_ok());
    assert!(create(request(&["system:masters"], "example.com/s")).is_ok());
}

fn with_right(verb: &str, signer: &str) -> Bench {
    let rule = json!([{
        "verbs": [verb], "apiGroups": [GROUP], "resources": ["signers"], "resourceNames": [signer],
    }]);
    Bench::new(sample::grant_everywhere("User", "u", rule)).by(UserInfo::new("u", []))
}

#[rstest]
#[case("approve", "example.com/s", true)]
#[case("approve", "example.com/*", true)]
#[case("approve", "example.com/t", false)]
#[case("approve", "*", false)]
#[case("sign", "example.com/s", false)]
fn approval_takes_the_right_for_the_stored_signer(
    #[case] verb: &str,
    #[case] signer: &str,
    #[case] may: bool,
) {
    let stored = request(&[], "example.com/s");
    let mut approved = request(&[], "example.com/t");
    approved["status"] = json!({"conditions": [{"type": "Approved"}]});
    let target = format!("-/{TARGET}/c/approval");
    let result = with_right(verb, signer).update(&target, stored, approved);
    assert_eq!(result.is_ok(), may);
    if let Err(refused) = result {
        assert!(
            refused.message().ends_with(
                "user not permitted to approve requests with signerName \"example.com/s\""
            ),
            "{refused}"
        );
    }
}

#[test]
fn signing_takes_its_own_right() {
    let stored = request(&[], "example.com/s");
    let mut signed = stored.clone();
    signed["status"] = json!({"certificate": "eA=="});
    let target = format!("-/{TARGET}/c/status");
    let may =
        |bench: Bench, new: &Value| bench.update(&target, stored.clone(), new.clone()).is_ok();
    assert!(may(with_right("sign", "example.com/s"), &signed));
    assert!(!may(with_right("approve", "example.com/s"), &signed));
    assert!(
        may(with_right("approve", "example.com/s"), &stored),
        "nothing is signed"
    );
}
