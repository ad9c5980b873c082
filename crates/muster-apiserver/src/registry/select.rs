//! Which objects a list, a watch or a collection deletion is about, in a form that is quick to test
//! on stored objects.
//!
//! Refuses to know: selector syntax.

use muster_machinery::{
    resources::Resource,
    selector::{FieldSelector, LabelSelector},
};

use serde_json::Value;

use crate::{
    custom::CustomVersion,
    watch::{Interest, Selectable, StoredObject},
};

/// A compiled selection.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    labels: LabelSelector,
    name: Option<String>,
    terms: Vec<Term>,
    selectable: Selectable,
    custom: Option<CustomVersion>,
}

#[derive(Clone, Debug)]
struct Term {
    target: TermTarget,
    value: String,
    negated: bool,
}

#[derive(Clone, Debug)]
enum TermTarget {
    Name,
    Namespace,
    Field(usize),
    /// A field of a custom resource.
    Custom(Vec<String>),
}

impl Selection {
    /// Compiles selectors for objects of `resource`. Fields have been checked before.
    pub(crate) fn new(
        labels: &LabelSelector,
        fields: &FieldSelector,
        resource: &Resource,
        selectable: Selectable,
    ) -> Self {
        let terms = fields
            .requirements()
            .iter()
            .map(|requirement| Term {
                target: target(&requirement.field, resource, selectable),
                value: requirement.value.clone(),
                negated: requirement.negated,
            })
            .collect();
        let name = fields.required_value("metadata.name").map(str::to_owned);
        Self {
            labels: labels.clone(),
            name,
            terms,
            selectable,
            custom: None,
        }
    }

    /// Looks at objects as a version of a custom resource serves them.
    pub(crate) fn served_as(mut self, custom: Option<&CustomVersion>) -> Self {
        self.custom = custom.cloned();
        self
    }

    /// Whether everything is selected.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.terms.is_empty()
    }

    /// Narrows the selection to one name.
    pub(crate) fn restrict_to(&mut self, name: &str) {
        let value = name.to_owned();
        self.terms.push(Term {
            target: TermTarget::Name,
            value,
            negated: false,
        });
        self.name.get_or_insert_with(|| name.to_owned());
    }

    /// The one name that can match, if the selection demands one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Which changes can concern the selection at all.
    pub(crate) fn interest(&self) -> Interest {
        if let Some(name) = &self.name {
            return Interest::Name(name.clone());
        }
        self.terms
            .iter()
            .find(|term| matches!(term.target, TermTarget::Field(0)) && !term.negated)
            .map_or(Interest::All, |term| Interest::Field(term.value.clone()))
    }

    /// Whether the object is selected.
    pub(crate) fn matches(&self, object: &StoredObject) -> bool {
        self.terms
            .iter()
            .all(|term| term.matches(object, self.selectable, self.custom.as_ref()))
            && (self.labels.is_everything()
                || self
                    .labels
                    .matches_labels(object.attributes(self.selectable).labels()))
    }
}

impl Term {
    fn matches(
        &self,
        object: &StoredObject,
        selectable: Selectable,
        custom: Option<&CustomVersion>,
    ) -> bool {
        let actual = match &self.target {
            TermTarget::Name => object.name(),
            TermTarget::Namespace => object.namespace().unwrap_or_default(),
            TermTarget::Field(position) => object.attributes(selectable).field(*position),
            TermTarget::Custom(path) => {
                return (custom_field(object, path, custom) == self.value) != self.negated;
            }
        };
        (actual == self.value) != self.negated
    }
}

/// A field of a custom resource as text; empty when it is not there.
fn custom_field(object: &StoredObject, path: &[String], custom: Option<&CustomVersion>) -> String {
    let Ok(mut value) = object.value() else {
        return String::new();
    };
    if custom.is_some_and(|custom| custom.serve(&mut value).is_err()) {
        return String::new();
    }
    match path.iter().try_fold(&value, |value, name| value.get(name)) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn target(field: &str, resource: &Resource, selectable: Selectable) -> TermTarget {
    match field {
        "metadata.name" => TermTarget::Name,
        "metadata.namespace" => TermTarget::Namespace,
        _ if resource.selectable.iter().any(|own| own == field) => {
            TermTarget::Custom(field.split('.').map(str::to_owned).collect())
        }
        _ => {
            let stored = stored_field(field, resource);
            TermTarget::Field(selectable.position(&stored).unwrap_or(usize::MAX))
        }
    }
}

/// The name that a field has in the stored version: `events.k8s.io` objects are kept as core events.
fn stored_field(field: &str, resource: &Resource) -> String {
    if resource.group != "events.k8s.io" {
        return field.to_owned();
    }
    match field {
        "reportingController" => "reportingComponent".to_owned(),
        _ => field.replacen("regarding.", "involvedObject.", 1),
    }
}
