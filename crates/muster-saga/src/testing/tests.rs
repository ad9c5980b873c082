//! The proofs themselves: they pass for an honest world and fail for dishonest ones.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::StepId;

/// A world of named boxes. Each step puts its name into a box, in two elementary operations.
#[derive(Default)]
struct Boxes {
    boxes: BTreeMap<String, String>,
    operations: u64,
    power: Option<u64>,
    /// The undo forgets what was there before.
    forgetful: bool,
    /// Doing it again adds to the box.
    piles_up: bool,
}

impl Boxes {
    fn operation(&mut self) -> Result<(), Interruption> {
        if self.power == Some(self.operations) {
            return Err(Interruption::PowerLost);
        }
        self.operations += 1;
        Ok(())
    }
}

impl World for Boxes {
    type Snapshot = BTreeMap<String, String>;

    fn definition(&self) -> Definition {
        let step = |id: &str, after: &[&str]| StepSpec {
            id: StepId::new(id),
            after: after.iter().copied().map(StepId::new).collect(),
            description: String::new(),
            undo: String::new(),
            content: Value::Null,
        };
        Definition::new(vec![step("a", &[]), step("b", &["a"]), step("c", &["a"])]).unwrap()
    }

    fn observe(&mut self, step: &StepSpec) -> Result<Value, Interruption> {
        Ok(json!(self.boxes.get(step.id.as_str())))
    }

    fn perform(&mut self, step: &StepSpec, _: &Value) -> Result<Value, Interruption> {
        self.operation()?;
        let before = self
            .boxes
            .get(step.id.as_str())
            .cloned()
            .unwrap_or_default();
        self.boxes.insert(step.id.to_string(), "half".into());
        self.operation()?;
        let full = if self.piles_up {
            before + "full"
        } else {
            "full".into()
        };
        self.boxes.insert(step.id.to_string(), full);
        Ok(Value::Null)
    }

    fn undo(
        &mut self,
        step: &StepSpec,
        prior: &Value,
        _: Option<&Value>,
    ) -> Result<Vec<Residue>, Interruption> {
        self.operation()?;
        match prior.as_str() {
            Some(before) if !self.forgetful => {
                self.boxes.insert(step.id.to_string(), before.into());
            }
            _ => {
                self.boxes.remove(step.id.as_str());
            }
        }
        Ok(Vec::new())
    }

    fn snapshot(&self) -> Self::Snapshot {
        self.boxes.clone()
    }

    fn operations(&self) -> u64 {
        self.operations
    }

    fn lose_power_at(&mut self, at: Option<u64>) {
        self.power = at;
    }
}

fn honest() -> Boxes {
    Boxes {
        boxes: BTreeMap::from([("b".into(), "theirs".into())]),
        ..Boxes::default()
    }
}

#[test]
fn an_honest_world_passes_all_three() {
    fails_anywhere_then_clean(honest);
    repeats_change_nothing(honest);
    crash_anywhere_then_resumes(honest);
}

#[test]
#[should_panic(expected = "the world is not as it was")]
fn an_undo_that_forgets_what_was_there_is_found_out() {
    fails_anywhere_then_clean(|| Boxes {
        forgetful: true,
        ..honest()
    });
}

#[test]
#[should_panic(expected = "the second time changed something")]
fn a_deed_that_piles_up_is_found_out() {
    repeats_change_nothing(|| Boxes {
        piles_up: true,
        ..honest()
    });
}

#[test]
#[should_panic(expected = "half done")]
fn a_deed_that_depends_on_its_own_half_is_found_out() {
    crash_anywhere_then_resumes(|| Boxes {
        piles_up: true,
        ..honest()
    });
}
