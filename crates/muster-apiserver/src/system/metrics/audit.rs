//! How many audit events there were, and how many were lost (`k8s.io/apiserver` `audit/metrics`).
//!
//! Refuses to know: what they said.

use super::exposition::{Counter, Exposed, Metric};

/// Numbers about the audit log.
pub(crate) struct AuditMetrics {
    events: Metric<Counter>,
    errors: Metric<Counter>,
    levels: Metric<Counter>,
    rejected: Metric<Counter>,
}

impl Default for AuditMetrics {
    fn default() -> Self {
        let metrics = Self {
            events: Metric::new(
                "apiserver_audit_event_total",
                "[ALPHA] Counter of audit events generated and sent to the audit backend.",
                &[],
            ),
            errors: Metric::new(
                "apiserver_audit_error_total",
                "[ALPHA] Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error.",
                &["plugin"],
            ),
            levels: Metric::new(
                "apiserver_audit_level_total",
                "[ALPHA] Counter of policy levels for audit events (1 per request).",
                &["level"],
            ),
            rejected: Metric::new(
                "apiserver_audit_requests_rejected_total",
                "[ALPHA] Counter of apiserver requests rejected due to an error in audit logging backend.",
                &[],
            ),
        };
        // Both are shown from the beginning; no request is ever rejected for the log's sake.
        drop((metrics.events.of(&[]), metrics.rejected.of(&[])));
        metrics
    }
}

impl AuditMetrics {
    /// An event goes to the log.
    pub(crate) fn event(&self) {
        self.events.of(&[]).inc();
    }

    /// An event is lost.
    pub(crate) fn error(&self, plugin: &str) {
        self.errors.of(&[plugin]).inc();
    }

    /// The policy has decided on a request.
    pub(crate) fn level(&self, level: &str) {
        self.levels.of(&[level]).inc();
    }
}

impl Exposed for AuditMetrics {
    fn expose(&self, out: &mut String) {
        self.events.expose(out);
        self.errors.expose(out);
        self.levels.expose(out);
        self.rejected.expose(out);
    }
}
