//! What label and field selectors look at, extracted from an object once and shared by all who ask.
//!
//! Refuses to know: selectors themselves, and which fields a kind offers: that is the data model's table.

use muster_machinery::{
    resources,
    selector::{field_value, selectable_fields},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::object::StoredObject;

/// The fields that a resource's objects can be selected by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Selectable {
    group: &'static str,
    kind: &'static str,
    fields: &'static [&'static str],
}

impl Selectable {
    /// The selectable fields of a stored resource.
    pub(crate) fn of(group: &str, plural: &str) -> Self {
        resources::find_preferred(group, plural).map_or_else(Self::default, |resource| Self {
            group: &resource.group,
            kind: &resource.kind,
            fields: selectable_fields(&resource.group, &resource.kind),
        })
    }

    /// Where a field stands in [`Attributes`].
    pub(crate) fn position(self, field: &str) -> Option<usize> {
        self.fields.iter().position(|own| *own == field)
    }
}

/// Labels and selectable field values of one object.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    labels: Option<Map<String, Value>>,
    fields: Box<[Box<str>]>,
}

#[derive(Deserialize)]
struct OnlyLabels {
    #[serde(default)]
    metadata: LabelsOf,
}

#[derive(Deserialize, Default)]
struct LabelsOf {
    #[serde(default)]
    labels: Option<Map<String, Value>>,
}

impl Attributes {
    pub(super) fn of(object: &StoredObject, selectable: Selectable) -> Self {
        if selectable.fields.is_empty() {
            let only = serde_json::from_slice::<OnlyLabels>(object.json()).ok();
            let labels = only.and_then(|only| only.metadata.labels);
            return Self {
                labels,
                fields: Box::default(),
            };
        }
        let Ok(mut value) = object.value() else {
            return Self::default();
        };
        let fields = selectable
            .fields
            .iter()
            .map(|field| field_value(selectable.group, selectable.kind, &value, field).into())
            .collect();
        let labels = match value.pointer_mut("/metadata/labels").map(Value::take) {
            Some(Value::Object(labels)) => Some(labels),
            _ => None,
        };
        Self { labels, fields }
    }

    /// `metadata.labels`.
    pub(crate) fn labels(&self) -> Option<&Map<String, Value>> {
        self.labels.as_ref()
    }

    /// The value of the selectable field at a [`Selectable::position`].
    pub(crate) fn field(&self, position: usize) -> &str {
        self.fields.get(position).map_or("", |value| value)
    }
}
