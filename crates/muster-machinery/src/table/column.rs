//! A column's definition, and how a kind's columns are declared.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::meta;

/// Definition of a column (`metav1.TableColumnDefinition`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Header, which clients show in capitals.
    pub name: &'static str,
    /// OpenAPI type: `string`, `integer`, `boolean` or `date`.
    #[serde(rename = "type")]
    pub type_: &'static str,
    /// OpenAPI format; `name` for the object's name.
    pub format: &'static str,
    /// Text for people.
    pub description: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: u8,
}

/// How objects of one kind become rows.
pub(super) struct Printer {
    pub(super) columns: &'static [Column],
    pub(super) cells: fn(&Value, Timestamp) -> Vec<Value>,
    pub(super) conditions: fn(&Value) -> Vec<Value>,
}

impl Printer {
    pub(super) const fn new(
        columns: &'static [Column],
        cells: fn(&Value, Timestamp) -> Vec<Value>,
    ) -> Self {
        Self {
            columns,
            cells,
            conditions: |_| Vec::new(),
        }
    }
}

pub(crate) const NAME: Column = Column {
    name: "Name",
    type_: "string",
    format: "name",
    description: "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names",
    priority: 0,
};

pub(crate) const CREATED: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

pub(super) const AGE: Column = text("Age", CREATED);

pub(super) const CONTAINERS: Column =
    wide("Containers", "Names of each container in the template.");
pub(super) const IMAGES: Column = wide(
    "Images",
    "Images referenced by each container in the template.",
);
pub(super) const SELECTOR: Column = wide(
    "Selector",
    "Label selector of the objects that belong to this one.",
);

pub(super) const fn text(name: &'static str, description: &'static str) -> Column {
    typed(name, "string", description)
}

pub(super) const fn integer(name: &'static str, description: &'static str) -> Column {
    typed(name, "integer", description)
}

pub(super) const fn boolean(name: &'static str, description: &'static str) -> Column {
    typed(name, "boolean", description)
}

pub(super) const fn wide(name: &'static str, description: &'static str) -> Column {
    Column {
        priority: 1,
        ..typed(name, "string", description)
    }
}

const fn typed(name: &'static str, type_: &'static str, description: &'static str) -> Column {
    Column {
        name,
        type_,
        format: "",
        description,
        priority: 0,
    }
}

/// The columns of kinds that have none of their own: name and creation time.
pub(super) const CREATED_AT: Printer = Printer::new(
    &[
        NAME,
        Column {
            type_: "date",
            ..text("Created At", CREATED)
        },
    ],
    |object, _| {
        let created = meta::str_at(object, &["metadata", "creationTimestamp"]);
        vec![
            meta::name(object).into(),
            json!(created.unwrap_or("<unknown>")),
        ]
    },
);
