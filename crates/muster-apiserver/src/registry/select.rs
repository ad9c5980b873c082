//! Which objects a list, a watch or a collection deletion is about, in a form that is quick to test
//! on stored objects.
//!
//! Refuses to know: selector syntax.

use muster_machinery::{
    resources::Resource,
    selector::{FieldSelector, LabelSelector},
};

use crate::watch::{Interest, Selectable, StoredObject};

/// A compiled selection.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    labels: LabelSelector,
    name: Option<String>,
    terms: Vec<Term>,
    selectable: Selectable,
}

#[derive(Clone, Debug)]
struct Term {
    target: TermTarget,
    value: String,
    negated: bool,
}

#[derive(Clone, Copy, Debug)]
enum TermTarget {
    Name,
    Namespace,
    Field(usize),
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
        }
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
            .all(|term| term.matches(object, self.selectable))
            && (self.labels.is_everything()
                || self
                    .labels
                    .matches_labels(object.attributes(self.selectable).labels()))
    }
}

impl Term {
    fn matches(&self, object: &StoredObject, selectable: Selectable) -> bool {
        let actual = match self.target {
            TermTarget::Name => object.name(),
            TermTarget::Namespace => object.namespace().unwrap_or_default(),
            TermTarget::Field(position) => object.attributes(selectable).field(position),
        };
        (actual == self.value) != self.negated
    }
}

fn target(field: &str, resource: &Resource, selectable: Selectable) -> TermTarget {
    match field {
        "metadata.name" => TermTarget::Name,
        "metadata.namespace" => TermTarget::Namespace,
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
