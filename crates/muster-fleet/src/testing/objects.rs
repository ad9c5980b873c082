//! Objects of a simulated cluster by their paths, with versions, as an API server keeps them.

use std::collections::BTreeMap;

use muster_net::{ApiError, StatusError};
use serde_json::Value;

/// Objects by path.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects {
    kept: BTreeMap<String, Value>,
    version: u64,
}

pub(super) fn refusal(code: u16, reason: &str, message: &str) -> ApiError {
    ApiError::Status(Box::new(StatusError {
        code,
        reason: reason.to_owned(),
        message: message.to_owned(),
        details: None,
        retry_after: None,
    }))
}

fn version_in(object: &Value, pointer: &str) -> Option<String> {
    Some(object.pointer(pointer)?.as_str()?.to_owned())
}

impl Objects {
    /// Puts an object there, whatever was there before.
    pub(super) fn put(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = Value::from(self.version.to_string());
        self.kept.insert(path.to_owned(), object.clone());
        object
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, ApiError> {
        let found = self.kept.get(path).cloned();
        found.ok_or_else(|| refusal(404, "NotFound", path))
    }

    pub(super) fn create(&mut self, collection: &str, object: &Value) -> Result<Value, ApiError> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{collection}/{name}");
        if self.kept.contains_key(&path) {
            return Err(refusal(409, "AlreadyExists", &path));
        }
        Ok(self.put(&path, object.clone()))
    }

    fn checked(&self, path: &str, wanted: Option<String>) -> Result<Value, ApiError> {
        let present = self.get(path)?;
        match wanted {
            Some(wanted) if present["metadata"]["resourceVersion"] != wanted.as_str() => {
                Err(refusal(409, "Conflict", path))
            }
            _ => Ok(present),
        }
    }

    pub(super) fn replace(&mut self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.checked(path, version_in(object, "/metadata/resourceVersion"))?;
        Ok(self.put(path, object.clone()))
    }

    pub(super) fn merge(&mut self, path: &str, patch: &Value) -> Result<Value, ApiError> {
        let wanted = version_in(patch, "/metadata/resourceVersion");
        let mut object = self.checked(path, wanted)?;
        merge(&mut object, patch);
        Ok(self.put(path, object))
    }

    pub(super) fn delete(&mut self, path: &str, options: Option<&Value>) -> Result<(), ApiError> {
        let wanted =
            options.and_then(|options| version_in(options, "/preconditions/resourceVersion"));
        self.checked(path, wanted)?;
        self.kept.remove(path);
        Ok(())
    }

    /// All of them, without versions and times, which differ between runs.
    pub(super) fn timeless(&self) -> BTreeMap<String, Value> {
        let mut all = self.kept.clone();
        for object in all.values_mut() {
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("resourceVersion");
            }
        }
        all
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    for (name, value) in patch {
        if value.is_null() {
            target.as_object_mut().map(|fields| fields.remove(name));
        } else {
            merge(&mut target[name.as_str()], value);
        }
    }
}
