//! What cluster and hosts are like before a run, without changing anything: for the plan that people read, and for the
//! check that a saved plan still fits.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use muster_identity::Secret;
use muster_rollout::StageFailure;
use muster_rollout::fleet_file::{Fleet, HostSpec, Provider};
use serde::{Deserialize, Serialize};

use super::access::{self, Kubeconfiged};
use super::error::RolloutError;
use super::fault;
use super::machines::Machines;
use super::method::{Binaries, Site};
use super::nodes::Nodes;
use super::reach::Secrets;
use super::store::Source;

/// Hosts that are looked at side by side.
const SIDE_BY_SIDE: usize = 32;

/// What one host is like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostFacts {
    /// What its method sees: machine, version of the tool, whether it is a node already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<String>,
    /// The uid of the Node of its name, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Why it could not be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<StageFailure>,
    /// Its machine is made by the run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub to_be_made: bool,
}

/// What cluster and hosts are like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The API server that hosts are given, where it is known before a token is made.
    pub endpoint: Option<String>,
    /// Pins of its CA.
    pub pins: Vec<String>,
    /// The hosts by their names.
    pub hosts: BTreeMap<String, HostFacts>,
}

/// A plan that was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedPlan {
    /// The version of this shape.
    pub version: u32,
    /// The fleet's name.
    pub fleet: String,
    /// SHA-256 of everything that the plan follows from.
    pub hash: String,
    /// SHA-256 of the fleet file and the inventory.
    pub source: String,
    /// What cluster and hosts were like.
    pub facts: Facts,
}

impl SavedPlan {
    /// The version that is written, and the only one that is read.
    pub const VERSION: u32 = 1;

    /// A plan that follows from these.
    #[must_use]
    pub fn new(fleet: &str, source: &Source, facts: Facts) -> Self {
        let source = sha256(&(&source.fleet_file, &source.inventory, &source.limit));
        Self {
            version: Self::VERSION,
            fleet: fleet.to_owned(),
            hash: sha256(&(&source, &facts)),
            source,
            facts,
        }
    }

    /// What is different now; nothing if the plan still fits.
    #[must_use]
    pub fn differences(&self, now: &Self) -> Vec<String> {
        if self.hash == now.hash
            && self.version == now.version
            && self.hash == sha256(&(&self.source, &self.facts))
        {
            return Vec::new();
        }
        let mut differences = Vec::new();
        if self.source != now.source {
            differences.push("the fleet file or the inventory was changed".to_owned());
        }
        if (&self.facts.endpoint, &self.facts.pins) != (&now.facts.endpoint, &now.facts.pins) {
            differences.push("the cluster is another one".to_owned());
        }
        let names = self.facts.hosts.keys().chain(now.facts.hosts.keys());
        let mut names: Vec<&String> = names.collect();
        names.sort();
        names.dedup();
        for name in names {
            let (before, now) = (self.facts.hosts.get(name), now.facts.hosts.get(name));
            if before != now {
                differences.push(format!("{name} {}", difference(before, now)));
            }
        }
        if differences.is_empty() {
            differences.push("the plan itself was changed".to_owned());
        }
        differences
    }
}

fn difference(before: Option<&HostFacts>, now: Option<&HostFacts>) -> String {
    match (before, now) {
        (None, _) => "was not in the plan".to_owned(),
        (_, None) => "is not in the fleet any more".to_owned(),
        (Some(before), Some(now)) if before.node != now.node => match &now.node {
            Some(_) if before.node.is_none() => "has a Node now".to_owned(),
            Some(_) => "has another Node than before".to_owned(),
            None => "has no Node any more".to_owned(),
        },
        (
            Some(_),
            Some(HostFacts {
                failure: Some(failure),
                ..
            }),
        ) => format!("cannot be looked at: {}", failure.message),
        (Some(before), Some(now)) => format!(
            "was {:?} and is {:?}",
            before.seen.join(", "),
            now.seen.join(", ")
        ),
    }
}

fn sha256(value: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    muster_ssh::Payload::bytes(Secret::new(bytes))
        .sha256()
        .to_owned()
}

/// Looks at the cluster and at every host, and changes nothing.
///
/// # Errors
/// [`RolloutError::Access`] when the cluster cannot be asked. A host that cannot be looked at says so itself.
pub async fn look(
    fleet: &Fleet,
    kubeconfig: Option<Kubeconfiged>,
    machines: &dyn Machines,
    secrets: &Secrets,
) -> Result<Facts, RolloutError> {
    let access = access::open(fleet, kubeconfig, machines, &**secrets).await;
    let access = access.map_err(RolloutError::Access)?;
    let nodes = Nodes::new(Arc::clone(&access.api));
    let looks = futures::stream::iter(fleet.hosts.iter()).map(|host| {
        let nodes = nodes.clone();
        async move { (host.name.to_string(), look_at(host, machines, &nodes).await) }
    });
    Ok(Facts {
        endpoint: access.cluster.endpoint.map(|endpoint| endpoint.to_string()),
        pins: access
            .cluster
            .pins
            .iter()
            .map(ToString::to_string)
            .collect(),
        hosts: looks.buffer_unordered(SIDE_BY_SIDE).collect().await,
    })
}

async fn look_at(host: &HostSpec, machines: &dyn Machines, nodes: &Nodes) -> HostFacts {
    let mut facts = HostFacts::default();
    match nodes.look(host.name.as_str()).await {
        Ok(node) => facts.node = node.map(|node| node.uid),
        Err(error) => facts.failure = Some(fault::of_api("look for the Node", &error)),
    }
    if !matches!(host.settings.provider, Provider::None) {
        facts.to_be_made = true;
        return facts;
    }
    match seen(host, machines).await {
        Ok(seen) => facts.seen = seen,
        Err(failure) => facts.failure = Some(failure),
    }
    facts
}

async fn seen(host: &HostSpec, machines: &dyn Machines) -> Result<Vec<String>, StageFailure> {
    let machine = machines.open(host, None).await?;
    let site = Site {
        run: String::new(),
        host: host.clone(),
        machine: Arc::clone(&machine),
        binaries: Binaries::default(),
    };
    let seen = site.look().await;
    machine.close().await;
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(facts: Facts) -> SavedPlan {
        let source = Source {
            fleet_file: Some("a".into()),
            ..Source::default()
        };
        SavedPlan::new("f", &source, facts)
    }

    fn facts(node: Option<&str>, seen: &str) -> Facts {
        let host = HostFacts {
            seen: vec![seen.into()],
            node: node.map(str::to_owned),
            ..HostFacts::default()
        };
        Facts {
            hosts: [("w1".to_owned(), host)].into(),
            ..Facts::default()
        }
    }

    #[test]
    fn a_saved_plan_fits_only_while_nothing_is_different() {
        let before = plan(facts(None, "x86_64"));
        assert!(before.differences(&plan(facts(None, "x86_64"))).is_empty());
        let other = before.differences(&plan(facts(Some("uid"), "x86_64")));
        assert_eq!(other, ["w1 has a Node now"]);
        let other =
            plan(facts(Some("old"), "x86_64")).differences(&plan(facts(Some("uid"), "x86_64")));
        assert_eq!(other, ["w1 has another Node than before"]);
        let other = before.differences(&plan(facts(None, "aarch64")));
        assert_eq!(other, ["w1 was \"x86_64\" and is \"aarch64\""]);
        let source = Source::default();
        let other = before.differences(&SavedPlan::new("f", &source, facts(None, "x86_64")));
        assert_eq!(other, ["the fleet file or the inventory was changed"]);
    }

    #[test]
    fn a_plan_that_somebody_edited_does_not_fit() {
        let mut edited = plan(facts(None, "x86_64"));
        edited.facts = facts(None, "riscv64");
        let now = plan(facts(None, "riscv64"));
        assert!(!edited.differences(&now).is_empty());
    }
}
