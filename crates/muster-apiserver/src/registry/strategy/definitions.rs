//! CustomResourceDefinitions: one that is deleted waits until its objects are gone.
//!
//! Refuses to know: who takes the objects away.

use jiff::Timestamp;
use muster_machinery::{
    crd::{CLEANUP_FINALIZER, naming::Condition},
    meta,
};
use serde_json::{Value, json};

/// Marks a definition whose deletion begins.
pub(super) fn prepare_delete(object: &mut Value, now: Timestamp) {
    if meta::is_being_deleted(object) {
        return;
    }
    let mut finalizers: Vec<String> = meta::finalizers(object).map(str::to_owned).collect();
    if !finalizers
        .iter()
        .any(|finalizer| finalizer == CLEANUP_FINALIZER)
    {
        finalizers.push(CLEANUP_FINALIZER.to_owned());
    }
    if let Some(metadata) = meta::metadata_mut(object) {
        metadata.insert("finalizers".to_owned(), json!(finalizers));
    }
    let why =
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    Condition::terminating(true, "InstanceDeletionPending", why).set(object, now);
}
