//! Which names a definition gets, and the conditions that say so.
//!
//! Decides from all definitions at once; who writes the decision down is the caller's matter, and so is the time.
//! Upstream: the naming, establishing and API approval controllers.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::approval::{Approval, approval_of, is_protected_group};
use super::definition::{Definition, Names};
use crate::go_quote::quoted;
use crate::meta::{self, items, str_at};

/// Names that are taken in a group.
#[derive(Debug, Default)]
pub struct Taken {
    resources: HashSet<String>,
    kinds: HashSet<String>,
}

impl Taken {
    /// Takes names.
    pub fn take(&mut self, names: &Names) {
        self.resources
            .extend([names.plural.clone(), names.singular.clone()]);
        self.resources.extend(names.short_names.iter().cloned());
        self.kinds
            .extend([names.kind.clone(), names.list_kind.clone()]);
        self.resources.remove("");
        self.kinds.remove("");
    }

    /// Takes the names of a resource.
    pub fn take_resource(&mut self, resource: &crate::resources::Resource) {
        let names = [&resource.plural, &resource.singular]
            .into_iter()
            .chain(&resource.short_names);
        self.resources.extend(names.map(|name| name.to_string()));
        self.kinds
            .extend([resource.kind.to_string(), resource.list_kind.to_string()]);
    }
}

/// A condition of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its type.
    pub type_: &'static str,
    /// Whether it is true.
    pub holds: bool,
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, in words.
    pub message: String,
}

impl Condition {
    /// That its objects are on their way out, or why not.
    #[must_use]
    pub fn terminating(holds: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            type_: "Terminating",
            holds,
            reason,
            message: message.into(),
        }
    }

    /// Writes the condition into an object's status. The time changes when the condition does.
    pub fn set(&self, object: &mut Value, now: Timestamp) {
        let Some(status) = meta::map_mut(object, "status") else {
            return;
        };
        let conditions = status.entry("conditions").or_insert_with(|| json!([]));
        if conditions.is_null() {
            *conditions = json!([]);
        }
        let Some(list) = conditions.as_array_mut() else {
            return;
        };
        let text = if self.holds { "True" } else { "False" };
        let now = meta::format_time(now);
        let known = list
            .iter_mut()
            .find(|known| str_at(known, &["type"]) == Some(self.type_));
        match known {
            Some(known) => {
                if str_at(known, &["status"]) != Some(text) {
                    known["lastTransitionTime"] = now.into();
                }
                known["status"] = text.into();
                known["reason"] = self.reason.into();
                known["message"] = self.message.as_str().into();
            }
            None => list.push(
                json!({"type": self.type_, "status": text, "reason": self.reason,
                "message": self.message, "lastTransitionTime": now}),
            ),
        }
    }

    fn stands_in(&self, object: &Value) -> bool {
        let text = if self.holds { "True" } else { "False" };
        items(object, &["status", "conditions"])
            .iter()
            .any(|known| {
                let of = |name: &str| str_at(known, &[name]).unwrap_or_default();
                (of("type"), of("status"), of("reason"), of("message"))
                    == (self.type_, text, self.reason, &*self.message)
            })
    }
}

/// What a definition's status has to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The names that it gets.
    pub accepted: Names,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

impl Decision {
    /// Whether the object says all of this already.
    #[must_use]
    pub fn stands_in(&self, object: &Value) -> bool {
        Names::parse(meta::at(object, &["status", "acceptedNames"])) == self.accepted
            && self
                .conditions
                .iter()
                .all(|condition| condition.stands_in(object))
    }

    /// Writes the decision into the object's status.
    pub fn write(&self, object: &mut Value, now: Timestamp) {
        if let Some(status) = meta::map_mut(object, "status") {
            let mut names = json!({"kind": self.accepted.kind, "plural": self.accepted.plural});
            let texts = [
                ("singular", &self.accepted.singular),
                ("listKind", &self.accepted.list_kind),
            ];
            for (name, text) in texts {
                if !text.is_empty() {
                    names[name] = text.as_str().into();
                }
            }
            let lists = [
                ("shortNames", &self.accepted.short_names),
                ("categories", &self.accepted.categories),
            ];
            for (name, list) in lists {
                if !list.is_empty() {
                    names[name] = json!(list);
                }
            }
            status.insert("acceptedNames".to_owned(), names);
        }
        self.conditions
            .iter()
            .for_each(|condition| condition.set(object, now));
    }
}

/// Decides on a definition. `taken` are the names of the same group that others have.
#[must_use]
pub fn decide(definition: &Definition, object: &Value, taken: &Taken) -> Decision {
    let (wanted, mut accepted) = (&definition.wanted, definition.accepted.clone());
    let mut conflict = None;
    let mut grant =
        |wanted: &str, own: &mut String, used: &HashSet<String>, reason: &'static str| {
            if wanted == own || !used.contains(wanted) {
                wanted.clone_into(own);
            } else {
                conflict = Some((reason, format!("{} is already in use", quoted(wanted))));
            }
        };
    grant(
        &wanted.plural,
        &mut accepted.plural,
        &taken.resources,
        "PluralConflict",
    );
    grant(
        &wanted.singular,
        &mut accepted.singular,
        &taken.resources,
        "SingularConflict",
    );
    grant(
        &wanted.kind,
        &mut accepted.kind,
        &taken.kinds,
        "KindConflict",
    );
    grant(
        &wanted.list_kind,
        &mut accepted.list_kind,
        &taken.kinds,
        "ListKindConflict",
    );
    let used: Vec<String> = wanted
        .short_names
        .iter()
        .filter(|name| !accepted.short_names.contains(name) && taken.resources.contains(*name))
        .map(|name| format!("{} is already in use", quoted(name)))
        .collect();
    match used.as_slice() {
        [] => accepted.short_names.clone_from(&wanted.short_names),
        [one] => conflict = Some(("ShortNamesConflict", one.clone())),
        many => conflict = Some(("ShortNamesConflict", format!("[{}]", many.join(", ")))),
    }
    accepted.categories.clone_from(&wanted.categories);
    let holds = conflict.is_none();
    let (reason, message) =
        conflict.unwrap_or_else(|| ("NoConflicts", "no conflicts found".to_owned()));
    let mut conditions = vec![Condition {
        type_: "NamesAccepted",
        holds,
        reason,
        message,
    }];
    if !definition.is("Established") {
        conditions.push(established(holds));
    }
    conditions.extend(approval(definition, object));
    Decision {
        accepted,
        conditions,
    }
}

fn established(names_accepted: bool) -> Condition {
    let (reason, message) = match names_accepted {
        true => (
            "InitialNamesAccepted",
            "the initial names have been accepted",
        ),
        false => ("NotAccepted", "not all names are accepted"),
    };
    let message = message.to_owned();
    Condition {
        type_: "Established",
        holds: names_accepted,
        reason,
        message,
    }
}

fn approval(definition: &Definition, object: &Value) -> Option<Condition> {
    if !is_protected_group(&definition.group) {
        return None;
    }
    let (holds, reason, message) = match approval_of(object) {
        Approval::Approved(message) => (true, "ApprovedAnnotation", message),
        Approval::Bypassed(message) => (false, "UnapprovedAnnotation", message),
        Approval::Missing(message) => (false, "MissingAnnotation", message),
        Approval::Invalid(message) => (false, "InvalidAnnotation", message),
    };
    Some(Condition {
        type_: "KubernetesAPIApprovalPolicyConformant",
        holds,
        reason,
        message,
    })
}
