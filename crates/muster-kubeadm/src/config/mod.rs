//! kubeadm's configuration files: `kubeadm.k8s.io/v1beta4`, and `v1beta3` for reading.
//!
//! A file is split into documents, each is checked field by field, defaulted with what the machine says of itself
//! ([`Ambient`]) and validated, with kubeadm's words. What is written is always `v1beta4`. It refuses to know files,
//! flags and what a configuration is used for.

mod ambient;
mod convert;
mod defaults;
mod document;
mod error;
mod images;
mod migrate;
mod print;
mod read;
mod shape;
mod types;
mod validation;
mod yaml;

pub use ambient::{Ambient, DEFAULT_CRI_SOCKET, KNOWN_CRI_SOCKETS, detect_cri_socket};
pub use defaults::{default_timeouts, kubelet_component_config};
pub use document::{Document, split};
pub use error::{ConfigError, FieldError, Unusable, aggregate};
pub use images::{
    CURRENT_VERSION, ETCD_TAG, IMAGE_REPOSITORY, Images, KUBERNETES_VERSION, MINIMUM_VERSION,
    PAUSE_TAG, is_version_label,
};
pub use migrate::{migrate, validate};
pub use print::{
    ComponentConfig, print_init_defaults, print_join_defaults, print_reset_defaults,
    print_upgrade_defaults,
};
pub use read::{
    Initial, Reading, Strictness, read_init, read_join, read_reset, read_upgrade, resolve_init,
    resolve_join, resolve_reset,
};
pub use types::*;
pub use validation::{
    is_ip_sloppy, validate_certificate_key, validate_ignored_checks, validate_init, validate_join,
    validate_reset,
};
pub use yaml::to_yaml;

#[cfg(test)]
mod tests;
