//! The fleet file, `kind: FleetConfiguration`: what it may say, and what follows from it for each host.
//!
//! [`FleetConfiguration`] is the file as it is written, [`Fleet`] is what follows. It refuses to know where the text came
//! from and what a run does with the fleet.

mod cluster;
mod complete;
mod fleet;
mod host;
mod merge;
mod read;
mod resolve;
mod resolve_run;
mod run;
mod words;
pub mod written;
mod written_run;

#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod tests;

pub use cluster::{ClusterAccess, MintOn};
pub use complete::Ambient;
pub use fleet::{Fleet, Group, HookCommand, Hooks, HostSettings, HostSpec};
pub use host::{
    CommandSettings, Connection, ForeignMethod, HostMethod, JumpHost, KubeadmMethod, Kubelet,
    LocalSettings, MusterMethod, Provider, Role, Runtime, SecretSource, Size, SshSettings, Sudo,
    Taint, TaintEffect, VagrantSettings,
};
pub use read::{API_VERSION, KIND};
pub use run::{
    CertificateKey, Concurrency, Keep, Limit, Policy, Readiness, Timeouts, TokenLife, Until,
};
pub use words::{Amount, Cap, MethodName, OnFailure, Positive, Span};
pub use written::FleetConfiguration;
