//! What stops an apply: fields of others, and configurations that are none. With upstream's words.

use std::collections::BTreeMap;

use super::element::Path;
use super::field_set::FieldSet;
use super::managed::{ManagedError, Manager};
use crate::status::{Cause, Status};

/// A field that another manager owns with another value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The owner.
    pub manager: Manager,
    /// The field.
    pub path: Path,
}

/// More bytes of paths than this are not told.
const MAX_TOLD: usize = 256 * 1024;

/// The fields that an apply would take from others; never empty. Apply with force to take them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflicts {
    told: Vec<Conflict>,
    total: usize,
}

impl Conflicts {
    pub(super) fn of(sets: &BTreeMap<Manager, FieldSet>) -> Self {
        let mut left = MAX_TOLD;
        let mut told = Vec::new();
        for (manager, set) in sets {
            set.visit(&mut Vec::new(), &mut |path| {
                let length: usize = path.iter().map(|step| step.to_string().len()).sum();
                left = left.saturating_sub(length);
                if left > 0 || told.is_empty() {
                    told.push(Conflict {
                        manager: manager.clone(),
                        path: Path(path.to_vec()),
                    });
                }
                left > 0
            });
        }
        let total = sets.values().map(FieldSet::len).sum();
        Self { told, total }
    }

    /// The conflicts, by manager; of very many, the first.
    #[must_use]
    pub fn as_slice(&self) -> &[Conflict] {
        &self.told
    }

    /// The message of kube-apiserver.
    #[must_use]
    pub fn message(&self) -> String {
        if let ([Conflict { manager, path }], 1) = (self.told.as_slice(), self.total) {
            return format!("Apply failed with 1 conflict: conflict with {manager}: {path}");
        }
        let mut of_managers: BTreeMap<&Manager, Vec<&Path>> = BTreeMap::new();
        for conflict in &self.told {
            let paths = of_managers.entry(&conflict.manager).or_default();
            paths.push(&conflict.path);
        }
        let mut lines = Vec::new();
        for (manager, paths) in of_managers {
            lines.push(format!("conflicts with {manager}:"));
            lines.extend(paths.iter().map(|path| format!("- {path}")));
        }
        if self.total > self.told.len() {
            lines.push(format!("and {} more", self.total - self.told.len()));
        }
        format!(
            "Apply failed with {} conflicts: {}",
            self.total,
            lines.join("\n")
        )
    }

    /// The answer: 409 with one cause `FieldManagerConflict` for each field.
    #[must_use]
    pub fn to_status(&self) -> Status {
        let cause = |conflict: &Conflict| Cause {
            reason: "FieldManagerConflict".into(),
            message: format!("conflict with {}", conflict.manager),
            field: conflict.path.to_string(),
        };
        Status::apply_conflict(self.told.iter().map(cause).collect(), &self.message())
    }
}

/// Why a configuration was not applied; [`ApplyError::to_status`] is the answer to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Other managers own fields with other values: give way, or apply with force.
    #[error("{}", .0.message())]
    Conflicts(Conflicts),
    /// `apiVersion` and `kind` are not those of the request's resource.
    #[error("invalid object type: {0}")]
    WrongKind(String),
    /// The configuration names owners itself.
    #[error("metadata.managedFields must be nil")]
    ManagedFieldsGiven,
    /// The configuration does not fit the type.
    #[error("failed to create typed patch object ({object}): {}", describe(.mistakes))]
    Unfit {
        /// Namespace, name and kind.
        object: String,
        /// Each mistake with its path.
        mistakes: Vec<String>,
    },
    /// The configuration or the live object nests deeper than [`super::MAX_DEPTH`].
    #[error("the object nests too deep")]
    TooDeep,
    /// The live object's owners cannot be read: replace them with an update.
    #[error("failed to decode managed fields")]
    LiveManagedFields(#[source] ManagedError),
}

fn describe(mistakes: &[String]) -> String {
    match mistakes {
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    }
}

impl ApplyError {
    /// The answer to the client. Unfit configurations are a bad request here; kube-apiserver answers 500 with the same
    /// message.
    #[must_use]
    pub fn to_status(&self) -> Status {
        match self {
            Self::Conflicts(conflicts) => conflicts.to_status(),
            Self::LiveManagedFields(source) => Status::internal(format!("{self}: {source}")),
            Self::WrongKind(_) | Self::ManagedFieldsGiven | Self::Unfit { .. } | Self::TooDeep => {
                Status::bad_request(self.to_string())
            }
        }
    }
}
