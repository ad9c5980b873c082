//! kubeconfig files (`v1` `Config` of client-go): [`Kubeconfig`].
use crate::pki::CertificateBundle;
use crate::secret::Secret;
use crate::token::BootstrapToken;

/// A kubeconfig.
#[derive(Clone, Debug, PartialEq)]
pub struct Kubeconfig;

/// Why a kubeconfig cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KubeconfigError {
    /// Larger than 1 MiB.
    #[error("the kubeconfig has {length} bytes, more than 1 MiB")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Not YAML, or not of a kubeconfig's shape.
    #[error("the kubeconfig cannot be read: {detail}")]
    Unreadable {
        /// Where and why; no values.
        detail: String,
    },
    /// `current-context` is empty or names no context.
    #[error("there is no context {name:?}")]
    NoContext {
        /// The name.
        name: String,
    },
    /// The context names a cluster that is not there.
    #[error("there is no cluster {name:?}")]
    NoCluster {
        /// The name.
        name: String,
    },
    /// The context names a user that is not there.
    #[error("there is no user {name:?}")]
    NoUser {
        /// The name.
        name: String,
    },
    /// A `…-data` field is not base64.
    #[error("{field} is not base64")]
    NotBase64 {
        /// The field.
        field: &'static str,
    },
}

/// Bytes that stand in the file, or a file that has them. Reading it is the caller's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material<T> {
    /// Embedded, decoded.
    Data(T),
    /// A path, as it stands.
    File(String),
}

/// The cluster of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedCluster {
    /// Name of the entry.
    pub name: String,
    /// `server`, a URL.
    pub server: String,
    /// `certificate-authority(-data)`: PEM.
    pub certificate_authority: Option<Material<Vec<u8>>>,
    /// `tls-server-name`: the name to verify instead of the URL's host.
    pub tls_server_name: Option<String>,
    /// `insecure-skip-tls-verify`.
    pub insecure_skip_tls_verify: bool,
}

/// The user of a context.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ResolvedUser {
    /// Name of the entry.
    pub name: String,
    /// `token`, or `tokenFile`.
    pub token: Option<Material<Secret<String>>>,
    /// `client-certificate(-data)`: PEM.
    pub client_certificate: Option<Material<Vec<u8>>>,
    /// `client-key(-data)`: PEM.
    pub client_key: Option<Material<Secret<Vec<u8>>>>,
}

/// The current context, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Its cluster.
    pub cluster: ResolvedCluster,
    /// Its user; empty for a file without users (cluster-info).
    pub user: ResolvedUser,
    /// Its namespace.
    pub namespace: Option<String>,
}

impl Kubeconfig {
    /// Reads YAML or JSON.
    ///
    /// # Errors
    /// [`KubeconfigError::TooLong`] or [`KubeconfigError::Unreadable`].
    pub fn parse(text: &[u8]) -> Result<Self, KubeconfigError> {
        let _ = text;
        todo!()
    }

    /// YAML as kubectl and kubeadm write it. It may hold secrets.
    pub fn to_yaml(&self) -> Secret<String> {
        todo!()
    }

    /// What kubeadm publishes in `kube-public/cluster-info`: one cluster without a name, no user.
    pub fn for_cluster_info(server: &str, ca: &CertificateBundle) -> Self {
        let _ = (server, ca);
        todo!()
    }

    /// For a bearer of a bootstrap token, as kubeadm's `bootstrap-kubelet.conf`.
    pub fn for_bootstrap_token(server: &str, ca: &CertificateBundle, token: &BootstrapToken) -> Self {
        let _ = (server, ca, token);
        todo!()
    }

    /// For a bearer of any token: user name `user` on cluster `kubernetes`.
    pub fn for_token(server: &str, ca: &CertificateBundle, user: &str, token: &Secret<String>) -> Self {
        let _ = (server, ca, user, token);
        todo!()
    }

    /// With certificate and key embedded, as kubeadm's `admin.conf`.
    pub fn for_client_certificate(
        server: &str,
        ca: &CertificateBundle,
        user: &str,
        certificate_pem: &str,
        key_pem: &Secret<String>,
    ) -> Self {
        let _ = (server, ca, user, certificate_pem, key_pem);
        todo!()
    }

    /// With certificate and key in files, as the kubelet's `kubelet.conf`.
    pub fn for_client_files(
        server: &str,
        ca: &CertificateBundle,
        certificate_path: &str,
        key_path: &str,
    ) -> Self {
        let _ = (server, ca, certificate_path, key_path);
        todo!()
    }

    /// The cluster and user of the current context. A file without contexts (cluster-info) resolves to the
    /// cluster with the empty name and no user.
    ///
    /// # Errors
    /// [`KubeconfigError`] when a name leads nowhere or data is not base64.
    pub fn resolve(&self) -> Result<Resolved, KubeconfigError> {
        todo!()
    }
}
