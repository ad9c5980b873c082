//! `metadata.managedFields`: the entries of an object, read, written, ordered and kept few.
//!
//! Formats and rules: `ManagedFieldsEntry` and k8s.io/apimachinery `pkg/util/managedfields`. Knows nothing of objects
//! beyond that field.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::field_set::FieldSet;
use super::fields_v1::FieldsError;
use crate::go_quote::quoted;
use crate::{meta, rfc3339};

/// More entries of updates than this are merged, oldest first.
const MAX_UPDATE_MANAGERS: usize = 10;

/// Who the fields of merged entries belong to.
const ANCIENT: &str = "ancient-changes";

/// How an entry came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What tells entries apart: an applier is one in all versions, an updater is not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    /// The name, such as `kubectl-client-side-apply`.
    pub name: String,
    /// How it writes.
    pub operation: Operation,
    /// The version of its updates; empty for an applier.
    pub api_version: String,
    /// The subresource it writes to; empty for the object itself.
    pub subresource: String,
}

impl Manager {
    /// The identity of a writer; an empty name becomes `unknown`.
    #[must_use]
    pub fn new(name: &str, operation: Operation, api_version: &str, subresource: &str) -> Self {
        let name = if name.is_empty() { "unknown" } else { name };
        let api_version = match operation {
            Operation::Apply => "",
            Operation::Update => api_version,
        };
        Self {
            name: name.into(),
            operation,
            api_version: api_version.into(),
            subresource: subresource.into(),
        }
    }
}

/// As in messages about conflicts: `"kubelet" with subresource "status" using v1`.
impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.name))?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {}", quoted(&self.subresource))?;
        }
        match self.operation {
            Operation::Apply => Ok(()),
            Operation::Update => write!(f, " using {}", self.api_version),
        }
    }
}

/// What a manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) fields: FieldSet,
    /// The version in which the paths are meant.
    pub(super) api_version: String,
    pub(super) time: Option<Timestamp>,
}

/// All entries of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Managed(pub(super) BTreeMap<Manager, Owned>);

/// Why `metadata.managedFields` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManagedError {
    /// It is no list of maps.
    #[error("managedFields is not a list of entries")]
    NotEntries,
    /// The operation is neither `Apply` nor `Update`.
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    /// The entry has no version.
    #[error("apiVersion must not be empty")]
    NoVersion,
    /// `fieldsType` is missing.
    #[error("missing fieldsType in managed fields entry {0}")]
    NoFieldsType(usize),
    /// `fieldsType` is not `FieldsV1`.
    #[error("invalid fieldsType {text:?} in managed fields entry {entry}")]
    FieldsType {
        /// Which entry, counted from 0.
        entry: usize,
        /// What it says.
        text: String,
    },
    /// `time` is no time.
    #[error("invalid time in managed fields entry {0}")]
    Time(usize),
    /// The fields are no `FieldsV1`.
    #[error("malformed fields in managed fields entry {entry}")]
    Fields {
        /// Which entry, counted from 0.
        entry: usize,
        /// What is wrong with them.
        #[source]
        source: FieldsError,
    },
}

/// `metadata.managedFields` of an object.
pub(super) fn of(object: &Value) -> Option<&Value> {
    meta::at(object, &["metadata", "managedFields"]).filter(|value| !value.is_null())
}

/// Whether a client asks to forget all owners: an empty list, or one empty entry.
pub(super) fn is_reset(object: &Value) -> bool {
    match of(object).and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => true,
        Some([Value::Object(entry)]) => entry.values().all(|v| v.is_null() || v == ""),
        _ => false,
    }
}

impl Managed {
    /// Reads the entries of an object; of several of one manager, the last counts.
    pub(super) fn read(object: &Value) -> Result<Self, ManagedError> {
        of(object).map_or_else(|| Ok(Self::default()), Self::from_entries)
    }

    pub(super) fn from_entries(entries: &Value) -> Result<Self, ManagedError> {
        let entries = entries.as_array().ok_or(ManagedError::NotEntries)?;
        let mut managed = Self::default();
        for (at, entry) in entries.iter().enumerate() {
            let (manager, owned) = read_entry(at, entry)?;
            managed.0.insert(manager, owned);
        }
        Ok(managed)
    }

    /// The entries in upstream's order: applies first, then by time, name, version and subresource.
    pub(super) fn to_entries(&self) -> Vec<Value> {
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_by_key(|(manager, owned)| {
            (
                manager.operation,
                seconds(owned),
                &manager.name,
                &owned.api_version,
                &manager.subresource,
            )
        });
        entries
            .into_iter()
            .map(|(manager, owned)| write_entry(manager, owned))
            .collect()
    }

    /// Replaces the entries of an object; none are none, not an empty list.
    pub(super) fn write(&self, object: &mut Value) {
        let Some(metadata) = meta::metadata_mut(object) else {
            return;
        };
        if self.0.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".into(), self.to_entries().into());
        }
    }

    /// Merges the oldest updates of each version until there are few enough, as far as versions allow.
    pub(super) fn cap(&mut self) {
        let is_update = |manager: &Manager| manager.operation == Operation::Update;
        let mut updaters: Vec<_> = self
            .0
            .iter()
            .filter(|(manager, _)| is_update(manager))
            .map(|(manager, owned)| (seconds(owned), manager.clone()))
            .collect();
        updaters.sort();
        let mut too_many = updaters.len().saturating_sub(MAX_UPDATE_MANAGERS);
        let mut first_of_version: BTreeMap<String, Manager> = BTreeMap::new();
        for (_, manager) in updaters {
            if too_many == 0 {
                return;
            }
            let version = manager.api_version.clone();
            let Some(first) = first_of_version.get(&version).cloned() else {
                first_of_version.insert(version, manager);
                continue;
            };
            let bucket = Manager::new(ANCIENT, Operation::Update, &version, "");
            if !self.0.contains_key(&bucket)
                && let Some(owned) = self.0.remove(&first)
            {
                self.0.insert(bucket.clone(), owned);
            }
            if manager == bucket {
                continue;
            }
            if let Some(merged) = self.0.remove(&manager)
                && let Some(owned) = self.0.get_mut(&bucket)
            {
                owned.fields.extend(&merged.fields);
                owned.time = merged.time;
            }
            too_many -= 1;
        }
    }
}

/// Seconds since 1970, as upstream compares times; 0 without a time.
fn seconds(owned: &Owned) -> i64 {
    owned.time.map_or(0, Timestamp::as_second)
}

fn read_entry(at: usize, entry: &Value) -> Result<(Manager, Owned), ManagedError> {
    if !entry.is_object() {
        return Err(ManagedError::NotEntries);
    }
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    let operation = match text("operation") {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return Err(ManagedError::Operation),
    };
    let api_version = match text("apiVersion") {
        "" => return Err(ManagedError::NoVersion),
        version => version,
    };
    match text("fieldsType") {
        "FieldsV1" => {}
        "" => return Err(ManagedError::NoFieldsType(at)),
        other => {
            return Err(ManagedError::FieldsType {
                entry: at,
                text: other.into(),
            });
        }
    }
    let time = match entry.get("time") {
        None | Some(Value::Null) => None,
        Some(time) => {
            let time = time.as_str().and_then(rfc3339::parse);
            Some(time.ok_or(ManagedError::Time(at))?)
        }
    };
    let fields = FieldSet::from_fields_v1(entry.get("fieldsV1").unwrap_or(&Value::Null));
    let fields = fields.map_err(|source| ManagedError::Fields { entry: at, source })?;
    // The name is kept as it is, even when empty.
    let manager = Manager {
        name: text("manager").into(),
        ..Manager::new("", operation, api_version, text("subresource"))
    };
    let owned = Owned {
        fields,
        api_version: api_version.into(),
        time,
    };
    Ok((manager, owned))
}

fn write_entry(manager: &Manager, owned: &Owned) -> Value {
    let mut entry = Map::new();
    let mut put = |key: &str, value: Value| entry.insert(key.into(), value);
    if !manager.name.is_empty() {
        put("manager", manager.name.as_str().into());
    }
    put("operation", manager.operation.as_str().into());
    put("apiVersion", owned.api_version.as_str().into());
    if let Some(time) = owned.time {
        put("time", meta::format_time(time).into());
    }
    put("fieldsType", json!("FieldsV1"));
    put("fieldsV1", owned.fields.to_fields_v1());
    if !manager.subresource.is_empty() {
        put("subresource", manager.subresource.as_str().into());
    }
    Value::Object(entry)
}
