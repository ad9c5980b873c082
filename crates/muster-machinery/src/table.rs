//! Tables: what `kubectl get` shows, made on the server (`meta.k8s.io/v1` Table).
//!
//! Each kind has its columns and the code that fills them, with kube-apiserver's names, order and texts.
//! Rows always hold the wide columns too: the client drops those of priority 1. Also the partial form of
//! objects (`PartialObjectMetadata`). The time that ages are computed from is an argument.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::meta;

mod cell;
mod cluster;
mod column;
mod config;
mod event;
mod network;
mod node;
mod pod;
mod policy;
mod storage;
mod workload;

pub use column::Column;
use column::Printer;
pub(crate) use column::{CREATED, NAME};

use crate::crd::columns::{Columns, CustomColumn};

/// The `apiVersion` of tables and partial objects.
pub const META_API_VERSION: &str = "meta.k8s.io/v1";

/// What each row of a table carries beside its cells (`includeObject` query parameter).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// The object's metadata.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter; the empty text means metadata. `None` when it is unknown.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "None" => Some(Self::None),
            "" | "Metadata" => Some(Self::Metadata),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

/// Metadata of a list (`metav1.ListMeta`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListMeta {
    /// Revision at which the list is true.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Token for the next page; empty at the end.
    #[serde(rename = "continue", skip_serializing_if = "String::is_empty")]
    pub continue_token: String,
    /// How many objects follow after this page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_item_count: Option<u64>,
}

/// A table of objects of one kind; serialises with upstream's field order.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    kind: &'static str,
    api_version: &'static str,
    metadata: ListMeta,
    /// Null when the headers were sent before, as in a watch after its first event.
    column_definitions: Option<Definitions>,
    rows: Vec<Row>,
}

/// Where columns come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum Definitions {
    BuiltIn(&'static [Column]),
    Custom(Vec<CustomColumn>),
}

/// One object's cells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// One cell for each column: text, number or boolean.
    pub cells: Vec<Value>,
    /// Remarks on the whole row, such as a pod that is done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Value>,
    /// What [`IncludeObject`] asked for; null for nothing.
    pub object: Value,
}

impl Table {
    /// Makes a table of objects of one kind. Ages are as of `now`.
    #[must_use]
    pub fn new<'a>(
        group: &str,
        kind: &str,
        objects: impl IntoIterator<Item = &'a Value>,
        metadata: ListMeta,
        include: IncludeObject,
        now: Timestamp,
    ) -> Self {
        let printer = printer(group, kind);
        let rows = objects
            .into_iter()
            .map(|object| row(&printer, object, include, now))
            .collect();
        Self {
            kind: "Table",
            api_version: META_API_VERSION,
            metadata,
            column_definitions: Some(Definitions::BuiltIn(printer.columns)),
            rows,
        }
    }

    /// Makes a table of custom resources. Ages are as of `now`.
    #[must_use]
    pub fn custom<'a>(
        columns: &Columns,
        objects: impl IntoIterator<Item = &'a Value>,
        metadata: ListMeta,
        include: IncludeObject,
        now: Timestamp,
    ) -> Self {
        let row = |object: &Value| Row {
            cells: columns.cells(object, now),
            conditions: Vec::new(),
            object: included(object, include),
        };
        Self {
            kind: "Table",
            api_version: META_API_VERSION,
            metadata,
            rows: objects.into_iter().map(row).collect(),
            column_definitions: Some(Definitions::Custom(columns.columns().to_vec())),
        }
    }

    /// A table of one object; the revision is the object's own. Also for a watch event.
    #[must_use]
    pub fn of_one(
        group: &str,
        kind: &str,
        object: &Value,
        include: IncludeObject,
        now: Timestamp,
    ) -> Self {
        let metadata = ListMeta {
            resource_version: meta::resource_version(object).to_owned(),
            ..ListMeta::default()
        };
        Self::new(group, kind, [object], metadata, include, now)
    }

    /// Leaves out the column definitions, as in a watch after its first event.
    #[must_use]
    pub fn without_headers(mut self) -> Self {
        self.column_definitions = None;
        self
    }

    /// The columns of a built-in kind; empty for others and after [`Self::without_headers`].
    #[must_use]
    pub const fn columns(&self) -> &'static [Column] {
        match self.column_definitions {
            Some(Definitions::BuiltIn(columns)) => columns,
            _ => &[],
        }
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

fn row(printer: &Printer, object: &Value, include: IncludeObject, now: Timestamp) -> Row {
    Row {
        cells: (printer.cells)(object, now),
        conditions: (printer.conditions)(object),
        object: included(object, include),
    }
}

fn included(object: &Value, include: IncludeObject) -> Value {
    match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => partial_object_metadata(object),
        IncludeObject::Object => object.clone(),
    }
}

fn printer(group: &str, kind: &str) -> Printer {
    match group {
        "" => None
            .or_else(|| config::printer(kind))
            .or_else(|| node::printer(kind))
            .or_else(|| pod::printer(kind))
            .or_else(|| network::core_printer(kind))
            .or_else(|| storage::core_printer(kind))
            .or_else(|| workload::core_printer(kind))
            .or_else(|| event::printer(kind)),
        "events.k8s.io" => event::new_api_printer(kind),
        "apps" | "batch" | "autoscaling" => workload::printer(group, kind),
        "networking.k8s.io" | "discovery.k8s.io" => network::printer(kind),
        "storage.k8s.io" | "resource.k8s.io" => storage::printer(kind),
        _ => policy::printer(kind).or_else(|| cluster::printer(kind)),
    }
    .unwrap_or(column::CREATED_AT)
}

/// Only the metadata of an object, as a `PartialObjectMetadata`.
#[must_use]
pub fn partial_object_metadata(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": META_API_VERSION,
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

/// Only the metadata of several objects, as a `PartialObjectMetadataList`.
#[must_use]
pub fn partial_object_metadata_list<'a>(
    objects: impl IntoIterator<Item = &'a Value>,
    metadata: &ListMeta,
) -> Value {
    let items: Vec<Value> = objects.into_iter().map(partial_object_metadata).collect();
    json!({
        "kind": "PartialObjectMetadataList",
        "apiVersion": META_API_VERSION,
        "metadata": metadata,
        "items": items,
    })
}

#[cfg(test)]
mod tests;
