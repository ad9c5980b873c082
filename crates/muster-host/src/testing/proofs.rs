//! A host as a world for the three saga proofs.
//!
//! Steps that belong to the cluster do nothing here: what they do is proved where they are performed.

use std::sync::Arc;

use muster_plan::{Actor, SecretBag, Step, StepContent};
use muster_saga::testing::{Interruption, World};
use muster_saga::{Definition, Residue, StepSpec};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{Host, HostError, Prior};

/// A host, a saga for it, and a way to look at it.
pub struct HostWorld<S> {
    host: Arc<dyn Host>,
    definition: Definition,
    secrets: SecretBag,
    look: Box<dyn Fn() -> S>,
    operations: Box<dyn Fn() -> u64>,
    power: Box<dyn Fn(Option<u64>)>,
    runtime: Runtime,
}

impl<S> HostWorld<S> {
    /// A world on a host. `look` gives what is compared.
    ///
    /// # Panics
    /// When no runtime can be made.
    pub fn new(
        host: Arc<dyn Host>,
        definition: Definition,
        secrets: SecretBag,
        look: impl Fn() -> S + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        Self {
            host,
            definition,
            secrets,
            look: Box::new(look),
            operations: Box::new(|| 0),
            power: Box::new(|_| {}),
            runtime: runtime.unwrap_or_else(|error| panic!("no runtime: {error}")),
        }
    }

    /// The same with a way to count elementary operations and to cut the power at one of them.
    #[must_use]
    pub fn with_power(
        mut self,
        operations: impl Fn() -> u64 + 'static,
        power: impl Fn(Option<u64>) + 'static,
    ) -> Self {
        self.operations = Box::new(operations);
        self.power = Box::new(power);
        self
    }

    fn heard<T>(result: Result<T, HostError>) -> Result<T, Interruption> {
        result.map_err(|error| match error {
            HostError::PowerLost => Interruption::PowerLost,
            error => Interruption::Failed(error.to_failure()),
        })
    }
}

fn step(spec: &StepSpec) -> Option<Step> {
    let content = StepContent::of(spec).unwrap_or_else(|error| panic!("{error}"));
    (content.step.actor() == Actor::Host).then_some(content.step)
}

fn prior(value: &Value) -> Prior {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{value}: {error}"))
}

impl<S: PartialEq + std::fmt::Debug> World for HostWorld<S> {
    type Snapshot = S;

    fn definition(&self) -> Definition {
        self.definition.clone()
    }

    fn observe(&mut self, spec: &StepSpec) -> Result<Value, Interruption> {
        let Some(step) = step(spec) else {
            return Ok(serde_json::json!(Prior::Nothing));
        };
        let prior = Self::heard(self.runtime.block_on(self.host.observe(&step)))?;
        Ok(serde_json::json!(prior))
    }

    fn perform(&mut self, spec: &StepSpec, was: &Value) -> Result<Value, Interruption> {
        let Some(step) = step(spec) else {
            return Ok(Value::Null);
        };
        let (prior, id) = (prior(was), spec.id.as_str());
        Self::heard(
            self.runtime
                .block_on(self.host.perform(id, &step, &prior, &self.secrets)),
        )
    }

    fn undo(
        &mut self,
        spec: &StepSpec,
        was: &Value,
        _: Option<&Value>,
    ) -> Result<Vec<Residue>, Interruption> {
        let Some(step) = step(spec) else {
            return Ok(Vec::new());
        };
        let prior = prior(was);
        Self::heard(
            self.runtime
                .block_on(self.host.undo(spec.id.as_str(), &step, &prior)),
        )
    }

    fn snapshot(&self) -> S {
        (self.look)()
    }

    fn operations(&self) -> u64 {
        (self.operations)()
    }

    fn lose_power_at(&mut self, at: Option<u64>) {
        (self.power)(at);
    }
}
