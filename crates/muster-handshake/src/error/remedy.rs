//! What to do now: one remedy for each [`HandshakeError`].
//!
//! Kept apart from what happened, so that a reader of the reference page and a tired person on a
//! terminal read the same sentences. Knows no flag but those of the command line's contract.

use muster_identity::TokenKind;

use super::HandshakeError;

impl HandshakeError {
    /// What to do now, as one or two full sentences.
    pub fn remedy(&self) -> String {
        match self {
            Self::TokenMalformed { .. } => {
                "Use a token of the form abcdef.0123456789abcdef, as `muster token create` prints it.".into()
            }
            Self::TokenUnknown { .. } | Self::TokenExpired { .. } => {
                "Make a new token on the control plane: `muster token create --print-join-command`.".into()
            }
            Self::PinMalformed { .. } => {
                "Give the pin as sha256: and 64 hexadecimal digits, as `muster token create --print-join-command` prints it.".into()
            }
            Self::PinMismatch { .. } => {
                "Do not go on unless the cluster's CA was really replaced. Take the pin from the control plane itself: `muster token create --print-join-command`.".into()
            }
            Self::SignatureInvalid { .. } => {
                "Check the part of the token after the dot; if it is right, somebody changed cluster-info on the way.".into()
            }
            Self::JoinTokenUnusable { .. } => {
                "Copy the token again, whole (`base64 -d | gunzip` must show a kubeconfig), or make a new one: `k0s token create`, `muster token create --format k0s`.".into()
            }
            Self::TokenRoleMismatch { wanted, .. } => {
                format!("Make one of the right role: `k0s token create --role {wanted}`, `muster token create --format k0s --role {wanted}`.")
            }
            Self::TokenKindMismatch { found } => kind_remedy(*found),
            Self::WorkerProfileMissing { .. } => {
                "See which there are: `kubectl -n kube-system get configmaps -l k0s.k0sproject.io/worker-profile`; or leave out --profile.".into()
            }
            Self::HostUnresolvable { .. } => {
                "Check the spelling and this machine's resolver, or give the address instead of the name.".into()
            }
            Self::HostUnreachable { .. } => {
                "Check the address, this machine's routes and the firewalls between.".into()
            }
            Self::ConnectionRefused { .. } => {
                "Check the port (6443 is usual) and that the API server is running.".into()
            }
            Self::Timeout { .. } => {
                "Check that no firewall drops the packets and that the server is not overloaded.".into()
            }
            Self::ConnectionLost { .. } => "Try again; if it stays, look into the server's log.".into(),
            Self::NotTls { .. } | Self::NotKubernetes { .. } => {
                "Check host and port: give those of the Kubernetes API server (6443 is usual).".into()
            }
            Self::TlsNameMismatch { names, advertised, .. } => name_remedy(names, advertised.as_deref()),
            Self::TlsUntrusted { .. } => {
                "Check that the endpoint belongs to the cluster of the pin; a proxy that opens TLS must be by-passed.".into()
            }
            Self::ClockSkew { .. } => {
                "Set this machine's clock (for example with chrony or systemd-timesyncd), then try again.".into()
            }
            Self::ClusterInfoMissing { .. } => {
                "Publish it on the control plane (`kubeadm init phase bootstrap-token`), or give the cluster's CA: --certificate-authority FILE, or --discovery-file FILE.".into()
            }
            Self::DiscoveryClosed { .. } => {
                "Give the cluster's CA instead: --certificate-authority FILE with the token, or --discovery-file FILE with --tls-bootstrap-token TOKEN.".into()
            }
            Self::DiscoveryFileUnusable { .. } => {
                "Give a kubeconfig that names the server, its CA and, at most, a token or a client certificate; `kubectl config view --flatten --minify` writes one.".into()
            }
            Self::ProxyFailed { endpoint, .. } => {
                let host = endpoint.rsplit_once(':').map_or(endpoint.as_str(), |(host, _)| host);
                format!("Add {host} to NO_PROXY to go there directly, or have the proxy allow CONNECT to {endpoint}.")
            }
            Self::Unauthorized { .. } => {
                "A token may have expired, been deleted, or be for something else. Make a new one: `muster token create --print-join-command`, or `--format k0s`.".into()
            }
            Self::Forbidden { .. } => {
                "An administrator must allow it: for a kubeadm cluster, `kubeadm init phase bootstrap-token` restores the usual permissions.".into()
            }
            Self::NodeNameTaken { name } => {
                format!("Choose another name with --node-name, or remove the old node first: `kubectl delete node {name}`.")
            }
            Self::CsrDenied { name, .. } => {
                format!("Ask who denied it and why: `kubectl describe csr {name}`. Another join makes a new request.")
            }
            Self::CsrFailed { name, .. } => {
                format!("See `kubectl describe csr {name}` and the signer's log, then try again.")
            }
            Self::CsrPending { name, approved: false } => approve_cure(name),
            Self::CsrPending { name, approved: true } => {
                format!("Check that a signer runs (kube-controller-manager with a CA key), then try again; `kubectl get csr {name}` shows the request.")
            }
            Self::ServerError { .. } => "Look into the API server's log, or try again later.".into(),
        }
    }
}

/// The command that lets a pending request go on.
pub fn approve_cure(csr_name: &str) -> String {
    format!("Approve it on the control plane: `kubectl certificate approve {csr_name}`.")
}

fn kind_remedy(found: TokenKind) -> String {
    match found {
        TokenKind::Bootstrap => "Give it with --token, and the API server and a pin beside it.".into(),
        TokenKind::K0s => "Give it to `muster join --token-file FILE`.".into(),
        TokenKind::K3s => {
            "A K3s server lets in agents of K3s only: `k3s agent --server URL --token-file FILE`. `muster token inspect` shows what is in it.".into()
        }
        TokenKind::Kubeconfig => "Give it with --discovery-file FILE.".into(),
        TokenKind::Jwt => "Give a kubeconfig that holds it, with --discovery-file FILE.".into(),
    }
}

fn name_remedy(names: &[String], advertised: Option<&str>) -> String {
    match (advertised, names.is_empty()) {
        (Some(advertised), _) => {
            format!("Use the endpoint that the cluster advertises, {advertised}, or add the name to the API server's certificate.")
        }
        (None, false) => {
            "Use one of the names in the certificate, or add this one to the API server's certificate.".into()
        }
        (None, true) => "Add the name to the API server's certificate.".into(),
    }
}
