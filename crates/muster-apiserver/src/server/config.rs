//! What a server is made from, and why it did not start.
//!
//! Refuses to know: how it starts.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use muster_identity::Endpoint;
use muster_storage::{Store, StoreError};

use super::Limits;
use crate::{
    audit::AuditConfig, authn::signing_key::SigningKeyError, bootstrap::PkiError, serve::TlsError,
};

/// What a server is made from.
#[derive(Clone)]
pub struct Config {
    /// Where keys, certificates and kubeconfigs are kept.
    pub data_dir: PathBuf,
    /// Addresses to listen on; port 0 lets the system choose.
    pub bind: Vec<SocketAddr>,
    /// Where the objects are kept.
    pub store: Arc<dyn Store>,
    /// Where nodes reach this server; goes into cluster-info and the kubeconfigs. Port 0 stands for the bound
    /// port. Without it: the first bound address, or the loopback address if that is a wildcard.
    pub advertise: Option<Endpoint>,
    /// Further DNS names of the serving certificate.
    pub dns_names: Vec<String>,
    /// Further addresses of the serving certificate.
    pub addresses: Vec<IpAddr>,
    /// The cluster's name.
    pub cluster_name: String,
    /// The DNS domain of the cluster.
    pub dns_domain: String,
    /// Whether requests without a credential are served as `system:anonymous`; kubeadm's discovery needs it.
    pub allow_anonymous: bool,
    /// How much clients may take.
    pub limits: Limits,
    /// What is written down about requests, if anything.
    pub audit: Option<AuditConfig>,
}

impl Config {
    /// A cluster `kubernetes` with kubeadm's defaults, on one address.
    pub fn new(data_dir: impl Into<PathBuf>, bind: SocketAddr, store: Arc<dyn Store>) -> Self {
        Self {
            data_dir: data_dir.into(),
            bind: vec![bind],
            store,
            advertise: None,
            dns_names: Vec::new(),
            addresses: Vec::new(),
            cluster_name: "kubernetes".to_owned(),
            dns_domain: "cluster.local".to_owned(),
            allow_anonymous: true,
            limits: Limits::default(),
            audit: None,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("data_dir", &self.data_dir)
            .field("bind", &self.bind)
            .field("advertise", &self.advertise)
            .finish_non_exhaustive()
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No address to listen on was given.
    #[error("no address to listen on")]
    NoAddress,
    /// An address cannot be listened on; see whether another process has it.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Keys and certificates cannot be loaded or made.
    #[error("the keys and certificates cannot be used")]
    Pki(#[source] PkiError),
    /// The key for service-account tokens cannot be used.
    #[error("the service-account key cannot be used")]
    SigningKey(#[source] SigningKeyError),
    /// The TLS settings do not fit together.
    #[error("TLS cannot be set up")]
    Tls(#[source] TlsError),
    /// The audit log cannot be opened; look at the folder and its rights.
    #[error("the audit log {path} cannot be opened", path = path.display())]
    AuditLog {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The store does not answer.
    #[error("the store cannot be read")]
    Store(#[source] StoreError),
    /// A default object was refused by our own rules.
    #[error("the default object {object} cannot be made: {why}")]
    DefaultObject {
        /// Kind and name.
        object: String,
        /// The refusal.
        why: String,
    },
}
