//! What `--dry-run` shows of requests to a cluster, in kubeadm's words: the action, the object's name, and the object.
//!
//! It refuses to know whether anything is sent.

use super::output::quoted;
use crate::printer::Printer;
use muster_kubeadm::config::to_yaml;
use serde_json::Value;

/// Shows an action on Secrets; `name` is left out for lists, and for what is created.
pub(super) fn would(verb: &str, namespace: &str, name: Option<&str>, printer: Printer) {
    printer.line(format!(
        "[dryrun] Would perform action {verb} on resource \"secrets\" in API group \"core/v1\""
    ));
    if let Some(name) = name {
        printer.line(format!(
            "[dryrun] Resource name {}, namespace {}",
            quoted(name),
            quoted(namespace)
        ));
    }
}

/// Shows that an object is not there.
pub(super) fn not_there(printer: Printer) {
    printer.line(
        "[dryrun] Real object does not exist. Attempting to GET from followup reactors or from the fake client tracker",
    );
}

/// Shows an object.
pub(super) fn attached(object: &Value, printer: Printer) {
    printer.line("[dryrun] Attached object:");
    printer.line(to_yaml(object));
}
