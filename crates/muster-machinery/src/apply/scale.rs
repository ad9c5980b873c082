//! Owners over the `scale` subresource: its object has other paths and another version than the object it scales.
//!
//! Upstream: k8s.io/apimachinery `pkg/util/managedfields/scalehandler.go`.

use serde_json::Value;

use super::element::Path;
use super::field_set::FieldSet;
use super::managed::{Managed, ManagedError, Owned};

/// The version of `Scale` objects.
const SCALE_VERSION: &str = "autoscaling/v1";

fn replicas_of_scale() -> Path {
    Path::fields(&["spec", "replicas"])
}

/// Where a version of the scaled kind has its replicas; `None` when it has no scale subresource.
pub type ReplicasPath<'a> = dyn Fn(&str) -> Option<Path> + 'a;

/// The `managedFields` of a `Scale`, from those of the scaled object.
///
/// # Errors
/// When the entries cannot be read.
pub fn to_scale(parent: &Value, replicas: &ReplicasPath<'_>) -> Result<Vec<Value>, ManagedError> {
    let parent = Managed::read(parent)?;
    let mut scale = Managed::default();
    for (manager, owned) in parent.0 {
        if replicas(&owned.api_version).is_some_and(|path| owned.fields.contains(&path.0)) {
            let owned = Owned {
                fields: only(&replicas_of_scale()),
                api_version: SCALE_VERSION.into(),
                time: owned.time,
            };
            scale.0.insert(manager, owned);
        }
    }
    Ok(scale.to_entries())
}

/// The `managedFields` of the scaled object after a write to its `Scale`. `parent` has the entries from before,
/// `api_version` is the version of the parent in which the new entries are meant.
///
/// # Errors
/// When the entries of either cannot be read.
pub fn to_parent(
    parent: &Value,
    scale: &Value,
    api_version: &str,
    replicas: &ReplicasPath<'_>,
) -> Result<Vec<Value>, ManagedError> {
    let mut of_scale = Managed::read(scale)?;
    let mut result = Managed::default();
    for (manager, mut owned) in Managed::read(parent)?.0 {
        let path = replicas(&owned.api_version);
        if let Some(path) = path.filter(|path| owned.fields.contains(&path.0))
            && of_scale.0.remove(&manager).is_none()
        {
            owned.fields = owned.fields.difference(&only(&path));
        }
        if !owned.fields.is_empty() {
            result.0.insert(manager, owned);
        }
    }
    if let Some(path) = replicas(api_version) {
        for (manager, owned) in of_scale.0 {
            if owned.fields.contains(&replicas_of_scale().0) {
                let owned = Owned {
                    fields: only(&path),
                    api_version: api_version.into(),
                    time: owned.time,
                };
                result.0.insert(manager, owned);
            }
        }
    }
    Ok(result.to_entries())
}

fn only(path: &Path) -> FieldSet {
    let mut set = FieldSet::new();
    set.insert(&path.0);
    set
}
