//! The objects around the shared certificates: the Secret itself, the token that ends with it, who may read it.
//!
//! The Secret is owned by a bootstrap token of two hours that can neither sign nor authenticate; when the cluster
//! removes the token, garbage collection removes the Secret.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use muster_identity::BootstrapToken;
use muster_identity::token::{BootstrapTokenSecret, Expiration, TokenUsages};
use serde_json::{Map, Value, json};

/// The Secret's name.
pub const SECRET_NAME: &str = "kubeadm-certs";
/// The Secret's path in the API.
pub const SECRET_PATH: &str = "/api/v1/namespaces/kube-system/secrets/kubeadm-certs";
/// The name of the Role and the RoleBinding that let joiners read it.
pub const ROLE_NAME: &str = "kubeadm:kubeadm-certs";
/// The description of the token that ends with it.
pub const TOKEN_DESCRIPTION: &str = "Proxy for managing TTL for the kubeadm-certs secret";
/// How long kubeadm keeps shared certificates: two hours.
pub const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(2);
/// The group of joiners with kubeadm's default token.
const JOINERS: &str = "system:bootstrappers:kubeadm:default-node-token";

/// The Secret of the token that the shared certificates end with.
#[must_use]
pub fn token_secret(token: BootstrapToken, ends: Timestamp) -> Value {
    let secret = BootstrapTokenSecret {
        description: TOKEN_DESCRIPTION.to_owned(),
        expiration: Expiration::At(ends),
        usages: TokenUsages::default(),
        groups: Vec::new(),
        ..BootstrapTokenSecret::new(token)
    };
    secret.to_object()
}

/// The Secret kube-system/kubeadm-certs with encrypted values, owned by the token's Secret of this name and uid.
#[must_use]
pub fn secret(sealed: &BTreeMap<String, Vec<u8>>, owner: &str, owner_uid: &str) -> Value {
    let data: Map<String, Value> = sealed
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(STANDARD.encode(value))))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": SECRET_NAME,
            "namespace": "kube-system",
            "ownerReferences": [{
                "apiVersion": "v1",
                "kind": "Secret",
                "name": owner,
                "uid": owner_uid,
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "data": data,
    })
}

/// The Role that lets somebody read the Secret and nothing else.
#[must_use]
pub fn role() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": ROLE_NAME, "namespace": "kube-system"},
        "rules": [{
            "verbs": ["get"],
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": [SECRET_NAME],
        }],
    })
}

/// Gives that Role to whoever joins with kubeadm's default token.
#[must_use]
pub fn role_binding() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": ROLE_NAME, "namespace": "kube-system"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": ROLE_NAME,
        },
        "subjects": [{"kind": "Group", "name": JOINERS}],
    })
}
