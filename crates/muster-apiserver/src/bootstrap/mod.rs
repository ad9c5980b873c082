//! What a control plane needs before it can serve the first request: its keys and certificates on disk, the
//! administrator's kubeconfig, and the objects every cluster starts with.
//!
//! Refuses to know: sockets and the registry. Names, paths and modes of files are kubeadm's.

mod access_files;
mod objects;
mod pki;
mod policy;
mod upkeep;
mod worker_profiles;
mod write;

pub use self::{
    objects::{BootstrapSettings, default_objects},
    pki::{Credential, Pki, PkiError, PkiSettings},
    upkeep::brought_up_to_date,
};

pub(crate) use self::policy::cluster_role_rules;
