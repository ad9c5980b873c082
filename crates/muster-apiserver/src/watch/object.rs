//! One stored object in one representation: the JSON that is served, `resourceVersion` included, as shared
//! bytes. Values are parsed from it where somebody needs one and thrown away again.
//!
//! Refuses to know: what the object means. The stored form differs from the served one only in that it has
//! no `resourceVersion`: the revision is known after the write, so it is spliced in, not serialised again.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value};

use super::attributes::{Attributes, Selectable};

/// An object as it was at one revision.
#[derive(Debug)]
pub(crate) struct StoredObject {
    key: Arc<str>,
    revision: u64,
    json: Bytes,
    attributes: OnceLock<Box<Attributes>>,
    parsed: OnceLock<Arc<Value>>,
    protobuf: OnceLock<Kept>,
}

/// Bytes that are kept beside their object, as far as there is room.
#[derive(Debug)]
struct Kept(Bytes);

/// How much is kept beside objects, in bytes, and how much may be.
static KEPT: AtomicUsize = AtomicUsize::new(0);
const MAX_KEPT: usize = 96 << 20;

impl Kept {
    fn new(bytes: &Bytes) -> Option<Self> {
        if KEPT.fetch_add(bytes.len(), Ordering::Relaxed) > MAX_KEPT {
            KEPT.fetch_sub(bytes.len(), Ordering::Relaxed);
            return None;
        }
        Some(Self(bytes.clone()))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        KEPT.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

impl StoredObject {
    /// The object under `key` (`namespace/name` or `name`) whose stored form is `stored`.
    pub(crate) fn new(key: Arc<str>, revision: u64, stored: &[u8]) -> Self {
        Self {
            key,
            revision,
            json: with_revision(stored, revision),
            attributes: OnceLock::new(),
            parsed: OnceLock::new(),
            protobuf: OnceLock::new(),
        }
    }

    /// `namespace/name`, or `name` for cluster-scoped resources.
    pub(crate) fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// The object's name.
    pub(crate) fn name(&self) -> &str {
        self.key
            .rsplit_once('/')
            .map_or(&*self.key, |(_, name)| name)
    }

    /// The object's namespace, if it has one.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.key.split_once('/').map(|(namespace, _)| namespace)
    }

    /// The revision of the write that made this state.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The object as it is served.
    pub(crate) fn json(&self) -> &Bytes {
        &self.json
    }

    /// The same state under another revision: what is told of an object that has left a selection, or gone.
    pub(crate) fn at_revision(&self, revision: u64) -> Self {
        let own = format!("\"resourceVersion\":\"{}\"", self.revision);
        let rest = metadata_start(&self.json).and_then(|at| {
            let rest = self.json[at..].strip_prefix(own.as_bytes())?;
            Some((at, rest.strip_prefix(b",").unwrap_or(rest)))
        });
        let stored = rest.map(|(at, rest)| [&self.json[..at], rest].concat());
        let stored = stored.as_deref().unwrap_or(&self.json);
        Self::new(Arc::clone(&self.key), revision, stored)
    }

    /// The object as a value of its own. Bytes that are not JSON (a damaged store) read as an error.
    pub(crate) fn value(&self) -> Result<Value, serde_json::Error> {
        match self.parsed.get() {
            Some(value) => Ok(Value::clone(value)),
            None => serde_json::from_slice(&self.json),
        }
    }

    /// The object as a shared value that is kept: only for the few kinds that are read on every request.
    pub(crate) fn kept_value(&self) -> Arc<Value> {
        Arc::clone(self.parsed.get_or_init(|| self.shared_value()))
    }

    /// The object as a shared value that is not kept.
    pub(crate) fn shared_value(&self) -> Arc<Value> {
        Arc::new(serde_json::from_slice(&self.json).unwrap_or(Value::Null))
    }

    /// The object's bare protobuf message in its stored version: as it was kept, or made by `encode` and kept
    /// for the next one who asks, while there is room.
    pub(crate) fn protobuf<E>(
        &self,
        encode: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Bytes, E> {
        if let Some(kept) = self.protobuf.get() {
            return Ok(kept.0.clone());
        }
        let bytes = Bytes::from(encode()?);
        if let Some(kept) = Kept::new(&bytes) {
            let _ = self.protobuf.set(kept);
        }
        Ok(bytes)
    }

    /// What selectors look at, extracted on first use.
    pub(crate) fn attributes(&self, selectable: Selectable) -> &Attributes {
        self.attributes
            .get_or_init(|| Box::new(Attributes::of(self, selectable)))
    }
}

/// Serialises an object for storage: `apiVersion`, `kind` and `metadata` first, no `resourceVersion`.
pub(crate) fn encode_stored(object: &Value) -> Result<Bytes, serde_json::Error> {
    let empty = Map::new();
    let object = object.as_object().unwrap_or(&empty);
    let mut out = Vec::with_capacity(1024);
    out.push(b'{');
    for key in ["apiVersion", "kind"] {
        if let Some(value) = object.get(key) {
            write_entry(&mut out, key, value)?;
        }
    }
    write_key(&mut out, "metadata")?;
    out.push(b'{');
    if let Some(Value::Object(metadata)) = object.get("metadata") {
        for (key, value) in metadata.iter().filter(|(key, _)| *key != "resourceVersion") {
            write_entry(&mut out, key, value)?;
        }
    }
    out.push(b'}');
    for (key, value) in object {
        if !matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
            write_entry(&mut out, key, value)?;
        }
    }
    out.push(b'}');
    Ok(out.into())
}

fn write_entry(out: &mut Vec<u8>, key: &str, value: &Value) -> Result<(), serde_json::Error> {
    write_key(out, key)?;
    serde_json::to_writer(out, value)
}

fn write_key(out: &mut Vec<u8>, key: &str) -> Result<(), serde_json::Error> {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    serde_json::to_writer(&mut *out, key)?;
    out.push(b':');
    Ok(())
}

const METADATA: &[u8] = b"\"metadata\":{";

/// The served form of a stored form.
fn with_revision(stored: &[u8], revision: u64) -> Bytes {
    let Some(at) = metadata_start(stored) else {
        return with_revision_parsed(stored, revision);
    };
    let (head, tail) = stored.split_at(at);
    let mut out = BytesMut::with_capacity(stored.len() + 44);
    out.put_slice(head);
    out.put_slice(format!("\"resourceVersion\":\"{revision}\"").as_bytes());
    if tail.first() != Some(&b'}') {
        out.put_u8(b',');
    }
    out.put_slice(tail);
    out.freeze()
}

/// Where the entries of `metadata` begin, if the bytes are in the order that [`encode_stored`] writes:
/// before it stand `apiVersion` and `kind` only, and neither contains a brace.
fn metadata_start(stored: &[u8]) -> Option<usize> {
    let inner = stored.strip_prefix(b"{")?;
    let brace = inner.iter().position(|byte| *byte == b'{')?;
    inner[..=brace].ends_with(METADATA).then_some(brace + 2)
}

fn with_revision_parsed(stored: &[u8], revision: u64) -> Bytes {
    let Ok(mut value) = serde_json::from_slice::<Value>(stored) else {
        return Bytes::copy_from_slice(stored);
    };
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert(
            "resourceVersion".to_owned(),
            Value::String(revision.to_string()),
        );
    }
    serde_json::to_vec(&value).map_or_else(|_| Bytes::copy_from_slice(stored), Bytes::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(key: &str, revision: u64, value: &Value) -> StoredObject {
        StoredObject::new(key.into(), revision, &encode_stored(value).unwrap())
    }

    #[test]
    fn the_revision_is_spliced_into_the_served_form_only() {
        let value = json!({"kind": "Pod", "apiVersion": "v1", "data": {"metadata": {"x": "{"}},
            "metadata": {"name": "p", "resourceVersion": "1"}});
        let stored = encode_stored(&value).unwrap();
        assert!(!String::from_utf8_lossy(&stored).contains("resourceVersion"));
        let served = object("ns/p", 42, &value);
        assert_eq!(served.value().unwrap()["metadata"]["resourceVersion"], "42");
        assert_eq!(served.value().unwrap()["data"], value["data"]);
        assert_eq!((served.namespace(), served.name()), (Some("ns"), "p"));
    }

    #[test]
    fn empty_metadata_and_foreign_order_are_understood() {
        let served = object("p", 7, &json!({"metadata": {}}));
        assert_eq!(
            served.value().unwrap(),
            json!({"metadata": {"resourceVersion": "7"}})
        );
        let foreign = StoredObject::new(
            "p".into(),
            8,
            br#"{"data":{"metadata":{}},"metadata":{"name":"p"}}"#,
        );
        assert_eq!(foreign.value().unwrap()["metadata"]["resourceVersion"], "8");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn splicing_never_changes_anything_else(name in ".*", data in ".*", revision: u64) {
            let value = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": name}, "a": data});
            let mut served = object("x", revision, &value).value().unwrap();
            let metadata = served["metadata"].as_object_mut().unwrap();
            prop_assert_eq!(metadata.remove("resourceVersion"), Some(json!(revision.to_string())));
            prop_assert_eq!(served, value);
        }
    }
}
