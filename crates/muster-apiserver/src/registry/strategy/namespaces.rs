//! Namespaces: they stay, Terminating, until their content is gone and `spec.finalizers` is empty.
//!
//! Refuses to know: who empties them.

use muster_machinery::meta;
use serde_json::{Value, json};

use super::copy_field;

/// The label by which selectors find a namespace by name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(super) fn prepare_create(object: &mut Value) {
    let name = meta::name(object).to_owned();
    if !name.is_empty() {
        meta::set_label(object, NAME_LABEL, &name);
    }
}

/// The main resource cannot change what must happen before the end.
pub(super) fn keep_finalizers(new: &mut Value, old: &Value) {
    copy_field(new, old, "spec");
}

/// `finalize` changes nothing else.
pub(super) fn only_finalizers(new: &mut Value, old: &Value) {
    let spec = new.get("spec").cloned();
    *new = old.clone();
    if let Some(map) = new.as_object_mut() {
        map.insert("spec".to_owned(), spec.unwrap_or_else(|| json!({})));
    }
}

/// The mark by which everybody sees that nothing new may come in.
pub(super) fn prepare_delete(object: &mut Value) {
    if has_content_finalizers(object)
        && let Some(status) = meta::map_mut(object, "status")
    {
        status.insert("phase".to_owned(), json!("Terminating"));
    }
}

pub(super) fn has_content_finalizers(object: &Value) -> bool {
    !meta::items(object, &["spec", "finalizers"]).is_empty()
}
