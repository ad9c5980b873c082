//! The audit log of `muster server`: its policy is read before anything starts.

use crate::args::audit::Audit;
use crate::exit::{FAILED, Failure};
use muster_apiserver::audit::{AuditConfig, AuditLog, AuditPolicy};

/// Reads the flags and the policy that they name.
pub(crate) fn read(audit: &Audit) -> Result<Option<AuditConfig>, Failure> {
    let (Some(policy), Some(path)) = (&audit.audit_policy_file, &audit.audit_log_path) else {
        return Ok(None);
    };
    let unusable = || {
        let what = format!("the audit policy {} cannot be used", policy.display());
        Failure::new("audit-policy", FAILED, what)
    };
    let text = std::fs::read_to_string(policy).map_err(|error| unusable().because(&error))?;
    let policy = AuditPolicy::parse(&text).map_err(|error| {
        unusable()
            .because(&error)
            .cure("correct it; kubernetes.io/docs/tasks/debug/debug-cluster/audit tells what a policy may hold")
    })?;
    let log = AuditLog {
        path: path.clone(),
        max_size: audit.audit_log_maxsize,
        max_backups: audit.audit_log_maxbackup,
        max_age: audit.audit_log_maxage,
    };
    Ok(Some(AuditConfig { policy, log }))
}
