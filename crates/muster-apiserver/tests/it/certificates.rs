//! The life of a certificate signing request.

use base64::{Engine, engine::general_purpose::STANDARD};
use muster_apiserver::UserInfo;
use muster_identity::{Csr, PrivateKey, Subject, SubjectAltNames};
use serde_json::{Value, json};

use crate::harness::Cluster;

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

pub(crate) fn request(name: &str) -> Value {
    let mut entropy = |bytes: &mut [u8]| aws_lc_rs::rand::fill(bytes).unwrap();
    let key = PrivateKey::generate(&mut entropy).unwrap();
    let subject = Subject::new("system:node:n1", ["system:nodes"]);
    let csr = Csr::build(&key, &subject, &SubjectAltNames::none()).unwrap();
    let pem = STANDARD.encode(csr.to_pem());
    json!({"metadata": {"name": name}, "spec": {
        "request": pem,
        "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
        "usages": ["digital signature", "client auth"],
        "username": "forged", "groups": ["system:masters"],
    }})
}

#[tokio::test]
async fn a_request_says_who_really_asked_and_is_approved_and_signed_apart() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let asker = UserInfo::new(
        "system:bootstrap:abcdef",
        [
            "system:bootstrappers",
            "system:bootstrappers:kubeadm:default-node-token",
            "system:authenticated",
        ],
    );
    let made = cluster
        .user(asker)
        .post(REQUESTS, &request("csr"))
        .await
        .ok();
    assert_eq!(made["spec"]["username"], "system:bootstrap:abcdef");
    assert!(
        !made["spec"]["groups"]
            .as_array()
            .unwrap()
            .contains(&json!("system:masters"))
    );
    assert_eq!(made["status"], json!({}));

    let path = format!("{REQUESTS}/csr");
    let approve = json!({"status": {"conditions": [{"type": "Approved", "status": "True",
        "reason": "Test", "message": "ok"}], "certificate": "Zm9yZ2Vk"}});
    let ignored = admin.merge(&path, &approve).await.ok();
    assert_eq!(
        ignored["status"],
        json!({}),
        "the main resource cannot approve"
    );
    let ignored = admin
        .merge(
            &format!("{path}/status"),
            &json!({"status": approve["status"]["conditions"][0]}),
        )
        .await;
    assert!(
        ignored.code.is_success() || ignored.code == 400,
        "{}",
        ignored.text()
    );

    let approved = admin
        .merge(&format!("{path}/approval"), &approve)
        .await
        .ok();
    let condition = &approved["status"]["conditions"][0];
    assert_eq!(condition["type"], "Approved");
    assert!(condition["lastUpdateTime"].is_string() && condition["lastTransitionTime"].is_string());
    assert!(
        approved["status"].get("certificate").is_none(),
        "approval cannot sign"
    );

    let mut changed = approved.clone();
    changed["spec"]["request"] = json!("b3RoZXI=");
    let unchanged = admin.put(&path, &changed).await.ok();
    assert_eq!(unchanged["spec"]["request"], made["spec"]["request"]);
}

#[tokio::test]
async fn a_status_update_can_sign_and_fail_but_not_approve() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let made = admin.post(REQUESTS, &request("csr")).await.ok();
    let path = format!("{REQUESTS}/csr");
    let condition =
        |kind: &str| json!({"type": kind, "status": "True", "reason": "x", "message": "x"});
    let with = |base: &Value, conditions: Value| {
        let mut changed = base.clone();
        changed["status"]["conditions"] = conditions;
        changed
    };
    let status = format!("{path}/status");
    let deciding = with(&made, json!([condition("Approved"), condition("Failed")]));
    let refused = admin.put(&status, &deciding).await;
    assert_eq!(refused.code, 422);
    assert!(
        refused
            .text()
            .contains("updates may not add a condition of type"),
        "{}",
        refused.text()
    );
    let failing = with(&made, json!([condition("Failed")]));
    let written = admin.put(&status, &failing).await.ok();
    assert_eq!(written["status"]["conditions"][0]["type"], "Failed");

    let approval = json!({"status": {"conditions": [
        written["status"]["conditions"][0], condition("Approved"), condition("Reviewed")]}});
    let approved = admin
        .merge(&format!("{path}/approval"), &approval)
        .await
        .ok();
    let kinds: Vec<_> = approved["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| condition["type"].clone())
        .collect();
    assert_eq!(kinds, ["Failed", "Approved", "Reviewed"]);
    let mut rewritten = approved["status"]["conditions"].clone();
    rewritten[1]["message"] = json!("forged");
    let kept = admin.put(&status, &with(&approved, rewritten)).await.ok();
    assert_eq!(kept["status"]["conditions"][1]["message"], "x");
    let without = with(&approved, json!([condition("Failed")]));
    let refused = admin.put(&status, &without).await;
    assert_eq!(refused.code, 422);
}
