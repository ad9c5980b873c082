//! The audit log of `muster server`, with kube-apiserver's flags.

use clap::Args;
use std::path::PathBuf;

/// What is written down about requests, and where to.
#[derive(Args, Clone, Debug)]
pub(crate) struct Audit {
    /// The audit policy (`audit.k8s.io/v1`): how much is written down about which requests
    #[arg(long, value_name = "FILE", requires = "audit_log_path")]
    pub(crate) audit_policy_file: Option<PathBuf>,
    /// The file that the audit log goes to, as JSON lines; `-` is standard output
    #[arg(long, value_name = "FILE", requires = "audit_policy_file")]
    pub(crate) audit_log_path: Option<PathBuf>,
    /// The size in megabytes at which the audit log is renamed and begun anew
    #[arg(long, default_value_t = 100, value_name = "MEGABYTES")]
    pub(crate) audit_log_maxsize: u64,
    /// How many renamed audit logs are kept; 0 keeps all
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub(crate) audit_log_maxbackup: usize,
    /// How many days renamed audit logs are kept; 0 keeps them for ever
    #[arg(long, default_value_t = 0, value_name = "DAYS")]
    pub(crate) audit_log_maxage: u32,
}
