//! One file per command: each turns flags into calls of the crates below, and results into output.

pub(crate) mod audit_settings;
pub(crate) mod bench;
pub(crate) mod csr;
pub(crate) mod fleet;
pub(crate) mod join;
pub(crate) mod join_config;
pub(crate) mod join_token;
pub(crate) mod kubelet;
pub(crate) mod node;
pub(crate) mod operator;
pub(crate) mod playground;
pub(crate) mod preflight;
pub(crate) mod reset;
pub(crate) mod server;
pub(crate) mod serving;
pub(crate) mod token;
