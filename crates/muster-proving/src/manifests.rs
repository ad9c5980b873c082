//! Objects that stories create, typed. Knows no cluster.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{Node, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use muster_identity::BootstrapTokenSecret;
use serde_json::{Value, json};

/// A Node with these addresses (type and address) and a Ready condition of this status.
pub fn node(name: &str, addresses: &[(&str, &str)], ready: &str) -> Node {
    let addresses: Vec<Value> = addresses
        .iter()
        .map(|(kind, address)| json!({"type": kind, "address": address}))
        .collect();
    read(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {
            "addresses": addresses,
            "conditions": [{"type": "Ready", "status": ready, "reason": "KubeletReady",
                "lastHeartbeatTime": jiff::Timestamp::now().to_string()}],
        },
    }))
}

/// A CertificateSigningRequest for `pem`.
pub fn request(name: &str, pem: &str, signer: &str, usages: &[&str]) -> CertificateSigningRequest {
    read(json!({
        "metadata": {"name": name},
        "spec": {"request": STANDARD.encode(pem), "signerName": signer, "usages": usages},
    }))
}

/// The Secret of a bootstrap token.
pub fn token(token: &BootstrapTokenSecret) -> Secret {
    read(token.to_object())
}

/// A reference to `owner`, which waits for the dependent when deleted in the foreground if `blocks`.
pub fn owner<K: Resource<DynamicType = ()>>(owner: &K, blocks: bool) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap(),
        block_owner_deletion: Some(blocks),
        controller: None,
    }
}

fn read<T: k8s_openapi::serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}
