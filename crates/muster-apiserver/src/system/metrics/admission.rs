//! How long admission took and what it refused (`k8s.io/apiserver` `admission/metrics`).
//!
//! Refuses to know: plugins and webhooks; it is told about them.

use std::time::Duration;

use super::exposition::{Counter, Exposed, Histogram, Metric};
use crate::admission::{Operation, Phase};

const LATENCIES: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
const WEBHOOK_LATENCIES: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
/// Codes above it are counted as it.
const HIGHEST_CODE: u16 = 600;

/// Numbers about admission.
pub(crate) struct AdmissionMetrics {
    step: Metric<Histogram>,
    controller: Metric<Histogram>,
    webhook: Metric<Histogram>,
    requests: Metric<Counter>,
    rejections: Metric<Counter>,
    fail_open: Metric<Counter>,
}

/// How a webhook was called, as metrics say it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Called<'a> {
    /// The webhook's name.
    pub(crate) webhook: &'a str,
    /// `admit` or `validating`.
    pub(crate) sort: &'static str,
    /// What is done to the object.
    pub(crate) operation: Operation,
}

impl Default for AdmissionMetrics {
    fn default() -> Self {
        const NAMED: &[&str] = &["name", "type", "operation", "rejected"];
        Self {
            step: Metric::with_buckets(
                "apiserver_admission_step_admission_duration_seconds",
                "[STABLE] Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step type (validate or admit).",
                &["type", "operation", "rejected"],
                LATENCIES,
            ),
            controller: Metric::with_buckets(
                "apiserver_admission_controller_admission_duration_seconds",
                "[STABLE] Admission controller latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).",
                NAMED,
                LATENCIES,
            ),
            webhook: Metric::with_buckets(
                "apiserver_admission_webhook_admission_duration_seconds",
                "[STABLE] Admission webhook latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).",
                NAMED,
                WEBHOOK_LATENCIES,
            ),
            requests: Metric::new(
                "apiserver_admission_webhook_request_total",
                "[ALPHA] Admission webhook request total, identified by name and broken out for each admission type (validating or admit) and operation. Additional labels specify whether the request was rejected or not and an HTTP status code. Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded.",
                &["name", "type", "operation", "code", "rejected"],
            ),
            rejections: Metric::new(
                "apiserver_admission_webhook_rejection_count",
                "[ALPHA] Admission webhook rejection count, identified by name and broken out for each admission type (validating or admit) and operation. Additional labels specify an error type (calling_webhook_error or apiserver_internal_error if an error occurred; no_error otherwise) and optionally a non-zero rejection code if the webhook rejects the request with an HTTP status code (honored by the apiserver when the code is greater or equal to 400). Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded.",
                &["name", "type", "operation", "error_type", "rejection_code"],
            ),
            fail_open: Metric::new(
                "apiserver_admission_webhook_fail_open_count",
                "[ALPHA] Admission webhook fail open count, identified by name and broken out for each admission type (validating or admit).",
                &["name", "type"],
            ),
        }
    }
}

impl AdmissionMetrics {
    /// One half of the chain is through.
    pub(crate) fn step(&self, phase: Phase, operation: Operation, rejected: bool, took: Duration) {
        self.step
            .of(&[phase.as_str(), operation.as_str(), truth(rejected)])
            .observe_time(took);
    }

    /// A built-in plugin is through.
    pub(crate) fn controller(
        &self,
        name: &str,
        phase: Phase,
        operation: Operation,
        rejected: bool,
        took: Duration,
    ) {
        self.controller
            .of(&[name, phase.as_str(), operation.as_str(), truth(rejected)])
            .observe_time(took);
    }

    /// A webhook has been called.
    pub(crate) fn webhook(&self, call: Called<'_>, rejected: bool, code: u16, took: Duration) {
        let operation = call.operation.as_str();
        let code = code.min(HIGHEST_CODE).to_string();
        let rejected = truth(rejected);
        self.requests
            .of(&[call.webhook, call.sort, operation, &code, rejected])
            .inc();
        self.webhook
            .of(&[call.webhook, call.sort, operation, rejected])
            .observe_time(took);
    }

    /// A webhook, or that it could not be called, has refused a request.
    pub(crate) fn rejection(&self, call: Called<'_>, error_type: &'static str, code: u16) {
        let code = code.min(HIGHEST_CODE).to_string();
        let operation = call.operation.as_str();
        self.rejections
            .of(&[call.webhook, call.sort, operation, error_type, &code])
            .inc();
    }

    /// A webhook could not be called, and that was let pass.
    pub(crate) fn fail_open(&self, call: Called<'_>) {
        self.fail_open.of(&[call.webhook, call.sort]).inc();
    }
}

impl Exposed for AdmissionMetrics {
    fn expose(&self, out: &mut String) {
        self.step.expose(out);
        self.controller.expose(out);
        self.webhook.expose(out);
        self.requests.expose(out);
        self.rejections.expose(out);
        self.fail_open.expose(out);
    }
}

const fn truth(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}
