//! The kubeconfigs that a cluster hands out: cluster-info, for a token, for a certificate, for a kubelet.
//!
//! It refuses to know where they are written; the names in them are those of kubeadm and the kubelet.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Kubeconfig;
use super::document::{
    Cluster, Context, Document, Hidden, NamedCluster, NamedContext, NamedUser, User,
};
use crate::pki::CertificateBundle;
use crate::secret::Secret;
use crate::token::BootstrapToken;

const CLUSTER: &str = "kubernetes";
const K0S: &str = "k0s";
const BOOTSTRAP_USER: &str = "tls-bootstrap-token-user";

/// The names in a file of one context.
struct Names<'a> {
    cluster: &'a str,
    context: &'a str,
    user: &'a str,
    namespace: Option<&'a str>,
}

impl Kubeconfig {
    /// What kubeadm publishes in `kube-public/cluster-info`: one cluster without a name, no user.
    pub fn for_cluster_info(server: &str, ca: &CertificateBundle) -> Self {
        Self(Document {
            clusters: Some(vec![named_cluster("", server, ca)]),
            ..empty()
        })
    }

    /// For a bearer of a bootstrap token, as kubeadm's `bootstrap-kubelet.conf`.
    pub fn for_bootstrap_token(
        server: &str,
        ca: &CertificateBundle,
        token: &BootstrapToken,
    ) -> Self {
        Self::for_token(server, ca, BOOTSTRAP_USER, &token.to_text())
    }

    /// For a bearer of any token: `user` on the cluster `kubernetes`.
    pub fn for_token(
        server: &str,
        ca: &CertificateBundle,
        user: &str,
        token: &Secret<String>,
    ) -> Self {
        let credentials = User {
            token: Some(Hidden(token.clone())),
            ..User::default()
        };
        Self::for_user(server, ca, user, credentials)
    }

    /// What is inside a join token of k0s: cluster and context are called `k0s`, the name of the user says the role.
    pub fn for_k0s_token(
        server: &str,
        ca: &CertificateBundle,
        user: &str,
        token: &BootstrapToken,
    ) -> Self {
        let names = Names {
            cluster: K0S,
            context: K0S,
            user,
            namespace: None,
        };
        let credentials = User {
            token: Some(Hidden(token.to_text())),
            ..User::default()
        };
        Self::of_one_context(server, ca, &names, credentials)
    }

    /// With certificate and key embedded, as kubeadm's `admin.conf`: `user` on the cluster `kubernetes`.
    pub fn for_client_certificate(
        server: &str,
        ca: &CertificateBundle,
        user: &str,
        certificate_pem: &str,
        key_pem: &Secret<String>,
    ) -> Self {
        Self::for_client_certificate_of(CLUSTER, server, ca, user, certificate_pem, key_pem)
    }

    /// As [`Kubeconfig::for_client_certificate`], on a cluster of another name (`clusterName` of a ClusterConfiguration).
    pub fn for_client_certificate_of(
        cluster: &str,
        server: &str,
        ca: &CertificateBundle,
        user: &str,
        certificate_pem: &str,
        key_pem: &Secret<String>,
    ) -> Self {
        let key = Secret::new(STANDARD.encode(key_pem.expose()));
        let credentials = User {
            client_certificate_data: Some(STANDARD.encode(certificate_pem)),
            client_key_data: Some(Hidden(key)),
            ..User::default()
        };
        let context = format!("{user}@{cluster}");
        let names = Names {
            cluster,
            context: &context,
            user,
            namespace: None,
        };
        Self::of_one_context(server, ca, &names, credentials)
    }

    /// With certificate and key in files, under the names that the kubelet gives in its own `kubelet.conf`.
    pub fn for_client_files(
        server: &str,
        ca: &CertificateBundle,
        certificate_path: &str,
        key_path: &str,
    ) -> Self {
        let names = Names {
            cluster: "default-cluster",
            context: "default-context",
            user: "default-auth",
            namespace: Some("default"),
        };
        let credentials = User {
            client_certificate: Some(certificate_path.to_owned()),
            client_key: Some(key_path.to_owned()),
            ..User::default()
        };
        Self::of_one_context(server, ca, &names, credentials)
    }

    fn for_user(server: &str, ca: &CertificateBundle, user: &str, credentials: User) -> Self {
        let context = format!("{user}@{CLUSTER}");
        let names = Names {
            cluster: CLUSTER,
            context: &context,
            user,
            namespace: None,
        };
        Self::of_one_context(server, ca, &names, credentials)
    }

    fn of_one_context(
        server: &str,
        ca: &CertificateBundle,
        names: &Names<'_>,
        credentials: User,
    ) -> Self {
        let context = Context {
            cluster: names.cluster.to_owned(),
            namespace: names.namespace.map(str::to_owned),
            user: names.user.to_owned(),
            extra: BTreeMap::new(),
        };
        Self(Document {
            clusters: Some(vec![named_cluster(names.cluster, server, ca)]),
            contexts: Some(vec![NamedContext {
                context,
                name: names.context.to_owned(),
            }]),
            current_context: names.context.to_owned(),
            users: Some(vec![NamedUser {
                name: names.user.to_owned(),
                user: credentials,
            }]),
            ..empty()
        })
    }
}

fn named_cluster(name: &str, server: &str, ca: &CertificateBundle) -> NamedCluster {
    let data = (!ca.is_empty()).then(|| STANDARD.encode(ca.to_pem()));
    let cluster = Cluster {
        certificate_authority_data: data,
        server: server.to_owned(),
        ..Cluster::default()
    };
    NamedCluster {
        cluster,
        name: name.to_owned(),
    }
}

fn empty() -> Document {
    Document {
        api_version: "v1".to_owned(),
        clusters: None,
        contexts: None,
        current_context: String::new(),
        kind: "Config".to_owned(),
        preferences: None,
        users: None,
        extra: BTreeMap::new(),
    }
}
