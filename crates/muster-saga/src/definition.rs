//! What a saga is made of: steps with names and the steps they stand on.
//!
//! A definition is plain data and is written into the journal whole, so that a later binary can undo what an earlier
//! one did. What a step means is an opaque value here; it must never hold a secret, because the journal holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a step, unique in its saga: letters, digits, `-`, `_`, `.`; at most 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(String);

impl StepId {
    /// Takes a name as it is; [`Definition::new`] checks its form.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_well_formed(&self) -> bool {
        !self.0.is_empty()
            && self.0.len() <= 128
            && self
                .0
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One step: its name, what it stands on, what it says of itself, and its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepSpec {
    /// The name.
    pub id: StepId,
    /// The steps that must be done before this one may start, and that must not be undone before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepId>,
    /// One line for people: what it does.
    pub description: String,
    /// One line for people: how it is taken back, or why it cannot be.
    pub undo: String,
    /// The content, opaque to this crate and free of secrets.
    pub content: serde_json::Value,
}

/// The steps of a saga in the order in which they are preferred, checked to be free of circles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<StepSpec>", into = "Vec<StepSpec>")]
pub struct Definition {
    steps: Vec<StepSpec>,
}

/// Why a list of steps is no definition. A mistake of the program that made it, or a damaged journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// Two steps have one name: rename one.
    #[error("two steps are named {id}")]
    Duplicate {
        /// The name.
        id: StepId,
    },
    /// A step stands on one that does not exist: add it or drop the dependency.
    #[error("step {id} stands on {missing}, which does not exist")]
    Unknown {
        /// The step.
        id: StepId,
        /// The name that is not there.
        missing: StepId,
    },
    /// Steps stand on each other in a circle: break it.
    #[error("steps stand on each other in a circle: {ids:?}")]
    Circle {
        /// The steps that can never start.
        ids: Vec<StepId>,
    },
    /// A name holds other characters than letters, digits, `-`, `_` and `.`, or is empty or too long.
    #[error("{id:?} is not a step name")]
    Name {
        /// The name.
        id: StepId,
    },
}

impl Definition {
    /// Checks and keeps the steps.
    ///
    /// # Errors
    /// [`DefinitionError`] when names clash, are malformed, are missing, or depend on each other in a circle.
    pub fn new(steps: Vec<StepSpec>) -> Result<Self, DefinitionError> {
        let mut names = BTreeSet::new();
        for step in &steps {
            if !step.id.is_well_formed() {
                return Err(DefinitionError::Name {
                    id: step.id.clone(),
                });
            }
            if !names.insert(&step.id) {
                return Err(DefinitionError::Duplicate {
                    id: step.id.clone(),
                });
            }
        }
        for step in &steps {
            if let Some(missing) = step.after.iter().find(|id| !names.contains(id)) {
                return Err(DefinitionError::Unknown {
                    id: step.id.clone(),
                    missing: missing.clone(),
                });
            }
        }
        refuse_circles(&steps)?;
        Ok(Self { steps })
    }

    /// The steps in their order.
    #[must_use]
    pub fn steps(&self) -> &[StepSpec] {
        &self.steps
    }

    /// The step of that name.
    #[must_use]
    pub fn step(&self, id: &StepId) -> Option<&StepSpec> {
        self.steps.iter().find(|step| &step.id == id)
    }

    /// The steps that stand directly on `id`.
    pub fn dependants<'a>(&'a self, id: &'a StepId) -> impl Iterator<Item = &'a StepSpec> {
        self.steps
            .iter()
            .filter(move |step| step.after.contains(id))
    }
}

impl TryFrom<Vec<StepSpec>> for Definition {
    type Error = DefinitionError;

    fn try_from(steps: Vec<StepSpec>) -> Result<Self, Self::Error> {
        Self::new(steps)
    }
}

impl From<Definition> for Vec<StepSpec> {
    fn from(definition: Definition) -> Self {
        definition.steps
    }
}

/// Kahn's algorithm: whatever cannot be taken away layer by layer is in, or behind, a circle.
fn refuse_circles(steps: &[StepSpec]) -> Result<(), DefinitionError> {
    let mut waiting: BTreeMap<&StepId, BTreeSet<&StepId>> = steps
        .iter()
        .map(|step| (&step.id, step.after.iter().collect()))
        .collect();
    loop {
        let free: Vec<&StepId> = waiting
            .iter()
            .filter(|(_, after)| after.is_empty())
            .map(|(id, _)| *id)
            .collect();
        if free.is_empty() {
            break;
        }
        for id in free {
            waiting.remove(id);
            for after in waiting.values_mut() {
                after.remove(id);
            }
        }
    }
    if waiting.is_empty() {
        return Ok(());
    }
    Err(DefinitionError::Circle {
        ids: waiting.into_keys().cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(id: &str, after: &[&str]) -> StepSpec {
        StepSpec {
            id: StepId::new(id),
            after: after.iter().map(|a| StepId::new(*a)).collect(),
            description: String::new(),
            undo: String::new(),
            content: serde_json::Value::Null,
        }
    }

    #[test]
    fn a_diamond_is_accepted_and_keeps_its_order() {
        let diamond = Definition::new(vec![
            step("a", &[]),
            step("b", &["a"]),
            step("c", &["a"]),
            step("d", &["b", "c"]),
        ])
        .unwrap();
        let names: Vec<&str> = diamond.steps().iter().map(|s| s.id.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
        let a = StepId::new("a");
        assert_eq!(diamond.dependants(&a).count(), 2);
    }

    #[test]
    fn circles_duplicates_strangers_and_bad_names_are_refused() {
        assert_eq!(
            Definition::new(vec![step("a", &["b"]), step("b", &["a"]), step("c", &[])]),
            Err(DefinitionError::Circle {
                ids: vec![StepId::new("a"), StepId::new("b")]
            })
        );
        assert!(matches!(
            Definition::new(vec![step("a", &[]), step("a", &[])]),
            Err(DefinitionError::Duplicate { .. })
        ));
        assert!(matches!(
            Definition::new(vec![step("a", &["x"])]),
            Err(DefinitionError::Unknown { .. })
        ));
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert!(
                matches!(
                    Definition::new(vec![step(bad, &[])]),
                    Err(DefinitionError::Name { .. })
                ),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_circle_is_also_refused_when_it_comes_from_a_journal() {
        let json = serde_json::to_string(&vec![step("a", &["a"])]).unwrap();
        assert!(serde_json::from_str::<Definition>(&json).is_err());
    }
}
