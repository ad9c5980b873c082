//! The plain way of writing a Secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::fill::child;

/// `stringData` is write-only: each entry becomes base64 in `data`.
pub(super) fn merge_string_data(secret: &mut Value) {
    let Some(map) = secret.as_object_mut() else {
        return;
    };
    let Some(Value::Object(texts)) = map.remove("stringData") else {
        return;
    };
    let Some(data) = child(secret, "data").and_then(Value::as_object_mut) else {
        return;
    };
    for (key, text) in texts {
        let encoded = STANDARD.encode(text.as_str().unwrap_or(""));
        data.insert(key, encoded.into());
    }
}
