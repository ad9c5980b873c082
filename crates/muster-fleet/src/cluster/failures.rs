//! Errors of etcd and of the API in the words and ids of a step that failed.

use muster_net::{ApiError, EtcdError};
use muster_saga::Failure;

/// An error and its causes in one line.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

/// A file that a control-plane node cannot do without.
pub(crate) fn missing_file(path: &str) -> Failure {
    Failure {
        id: "certificate-unusable".into(),
        message: format!("{path} is not on this node"),
        remedy: Some(
            "Copy it from another control-plane node, or join with --certificate-key.".into(),
        ),
    }
}

/// etcd did not do what a step asked.
pub(crate) fn etcd_failure(error: &EtcdError) -> Failure {
    let (id, remedy) = match error {
        EtcdError::Refused { .. } | EtcdError::NoMember { .. } => (
            "etcd-refused",
            "Look at the members of etcd (`etcdctl member list`) and at its log.",
        ),
        EtcdError::WouldLoseQuorum { .. } => (
            "etcd-refused",
            "Bring the members back that do not answer, or remove them, and try again.",
        ),
        EtcdError::Tls(_) => (
            "certificate-unusable",
            "See that the certificates below pki/etcd are of this cluster.",
        ),
        EtcdError::NoEndpoint | EtcdError::Unreachable { .. } | EtcdError::TimedOut { .. } => (
            "etcd-unhealthy",
            "Mend the members that are named, or remove them (`etcdctl member remove`), and join again.",
        ),
    };
    Failure {
        id: id.into(),
        message: words(error),
        remedy: Some(remedy.into()),
    }
}

/// The API did not do what a step asked an administrator for.
pub(crate) fn administration_failure(what: &str, error: &ApiError) -> Failure {
    let remedy = if error.is_forbidden() {
        "The cluster must grant cluster-admin to the group kubeadm:cluster-admins, as kubeadm init does."
    } else {
        "See that the control plane's endpoint answers, then join again."
    };
    Failure {
        id: "control-plane-unhealthy".into(),
        message: format!("cannot {what}: {}", words(error)),
        remedy: Some(remedy.into()),
    }
}
