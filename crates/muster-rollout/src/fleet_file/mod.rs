//! The fleet file, `kind: FleetConfiguration`: what it may say, and what follows from it for each host.
//!
//! It refuses to know where the text came from and what a run does with the fleet.

mod cluster;
mod fleet;
mod host;
mod run;

pub use cluster::{ClusterAccess, MintOn};
pub use fleet::{Fleet, Group, HookCommand, Hooks, HostSettings, HostSpec};
pub use host::{
    CommandSettings, Connection, ForeignMethod, HostMethod, JumpHost, KubeadmMethod, Kubelet,
    LocalSettings, MusterMethod, Provider, Role, Runtime, SecretSource, Size, SshSettings, Sudo,
    Taint, TaintEffect, VagrantSettings,
};
pub use run::{
    CertificateKey, Concurrency, Keep, Limit, Policy, Readiness, Timeouts, TokenLife, Until,
};
