//! What a handshake tells while it runs: one closed list of events, for screens and for JSON lines.
//!
//! Events hold no secret: a token appears only by its public id.

use jiff::Timestamp;
use serde::Serialize;

/// One thing that happened on the way from stranger to node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Progress {
    /// The first connection is being made.
    DiscoveryStarted {
        /// `host:port` as it was given.
        endpoint: String,
    },
    /// Nobody has answered within the first second. Not an end: the wait goes on.
    NoAnswerYet {
        /// `host:port` as it was given.
        endpoint: String,
        /// The stable id of the error that this becomes if it stays so.
        id: &'static str,
        /// What is probably the matter, as a full sentence.
        hint: String,
    },
    /// A TLS connection stands; its certificate is recorded, not yet trusted.
    Connected {
        /// `host:port` as it was given.
        endpoint: String,
    },
    /// The way to the server leads through a proxy.
    Proxied {
        /// `host:port` of the server.
        endpoint: String,
        /// The proxy, without user and password.
        proxy: String,
    },
    /// The server shows no cluster-info; the pinned CA that stands in its own certificate chain is used instead.
    WithoutClusterInfo {
        /// `host:port` as it was given.
        endpoint: String,
        /// The stable id of what is the matter with cluster-info.
        id: &'static str,
        /// What is the matter with it.
        reason: String,
    },
    /// No CA was pinned: whoever knows the token can pose as the cluster, now and later.
    Unsafe {
        /// What is not safe, as a full sentence.
        reason: String,
    },
    /// cluster-info does not carry a signature of this token yet; it is read again shortly.
    SignatureAwaited {
        /// The public half of the token.
        token_id: String,
    },
    /// Something that may pass by itself went wrong; it is tried again.
    Retrying {
        /// The stable id of the error.
        id: &'static str,
        /// What went wrong.
        reason: String,
        /// When it is tried again.
        at: Timestamp,
    },
    /// The certificate is not valid for the typed endpoint; the advertised one is tried.
    Rerouted {
        /// `host:port` as it was given.
        from: String,
        /// `host:port` that the cluster advertises.
        to: String,
    },
    /// The cluster proved to be the pinned one.
    Trusted {
        /// `host:port` that will be used from now on.
        endpoint: String,
        /// `host:port` that the cluster advertises.
        advertised: String,
        /// The pins of the CA certificates that were kept.
        ca_pins: Vec<String>,
        /// Certificates of cluster-info that no pin vouches for and that were dropped.
        dropped_certificates: usize,
    },
    /// The cluster's configuration was read.
    ClusterConfigRead {
        /// The cluster has a readable ConfigMap kubeadm-config.
        kubeadm_config: bool,
        /// The cluster has a readable ConfigMap kubelet-config.
        kubelet_config: bool,
        /// It could be looked up whether a Ready node has our name.
        node_name_checked: bool,
    },
    /// The worker profile of a k0s cluster was read: the kubelet is configured by it.
    WorkerProfileRead {
        /// The profile.
        profile: String,
        /// The ConfigMap in kube-system that it stands in.
        config_map: String,
        /// It is that of a neighbouring minor version of Kubernetes.
        of_neighbour: bool,
    },
    /// The cluster has no worker profile of that name, or does not show it: it is joined without.
    WorkerProfileMissing {
        /// The profile.
        profile: String,
        /// The ConfigMaps in kube-system that were asked for.
        tried: Vec<String>,
    },
    /// The cluster wants a load balancer for its API servers on every node. None is started here.
    NodeLocalLoadBalancing {
        /// Its kind, in the words of k0s.
        kind: String,
    },
    /// The cluster reaches its kubelets through konnectivity.
    Konnectivity {
        /// The port of the control plane that agents connect to, when it is told.
        port: Option<u16>,
    },
    /// The certificate signing request is in the cluster.
    CsrCreated {
        /// Name of the CertificateSigningRequest.
        name: String,
        /// It was there already, from an earlier attempt with the same key.
        resumed: bool,
    },
    /// Nobody decided within the first second. Not an end: the wait goes on.
    CsrPending {
        /// Name of the CertificateSigningRequest.
        name: String,
        /// It is approved, but not signed yet.
        approved: bool,
        /// What somebody should do, as a full sentence.
        cure: String,
    },
    /// The request was approved.
    CsrApproved {
        /// Name of the CertificateSigningRequest.
        name: String,
    },
    /// The certificate is in hand and fits key and name.
    CertificateIssued {
        /// Name of the CertificateSigningRequest.
        name: String,
        /// End of its validity.
        not_after: Timestamp,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_tagged_json_object() {
        let event = Progress::CsrCreated {
            name: "node-csr-1".into(),
            resumed: false,
        };
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"event":"csr-created","name":"node-csr-1","resumed":false}"#
        );
    }
}
