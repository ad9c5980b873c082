//! What one run is asked to do: its hosts, its limits, its patience.
//!
//! Plain values that a driver makes from a fleet file and may keep beside the journal, so that a run can be taken up
//! from its state alone. It refuses to know how a host is reached: names, roles and keys of limits are all it sees.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    concurrency::Cap, policy::Policy, retry::Backoff, stage::Stage, token_age::TokenPolicy,
};

/// The name of one run, unique among the runs of its fleet, such as `20261121-142233-x7f3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub String);

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host of the run: its place in [`RolloutPlan::hosts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostIndex(pub u32);

impl HostIndex {
    /// The index as such.
    #[must_use]
    pub fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// A limit of the run: its place in [`RolloutPlan::limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LimitKey(pub u16);

impl LimitKey {
    /// The first limit of every plan: the API server, which every host of the run needs. Its cap is the number of hosts
    /// that may join at once.
    pub const API_SERVER: Self = Self(0);
}

/// What a host becomes. It is read, here and in fleet files, by the words of fleet files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A worker.
    #[default]
    Worker,
    /// A control-plane node. No two of them join or leave at the same time.
    ControlPlane,
}

impl Role {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::ControlPlane => "control-plane",
        }
    }
}

/// One host of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPlan {
    /// The name of its Node; unique in the run.
    pub name: Arc<str>,
    /// What it becomes.
    #[serde(default)]
    pub role: Role,
    /// Whether its machine has to be made first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub provision: bool,
    /// The limits that it stands under besides [`LimitKey::API_SERVER`]: its jump host, its group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitKey>,
    /// Its place in [`RolloutPlan::manuals`].
    #[serde(default)]
    pub manual: u32,
}

/// What a limit stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitKind {
    /// The API server of the cluster.
    ApiServer,
    /// A jump host that connections go through.
    JumpHost,
    /// A group of the fleet.
    Group,
}

/// How many hosts may be at work at once under one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// What it stands for.
    pub kind: LimitKind,
    /// The name of the jump host or group; the address of the API server.
    pub name: String,
    /// How many hosts at once.
    pub cap: Cap,
}

/// How long things may take. An attempt that is out of time is given up and frees its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTime {
    /// One attempt.
    pub attempt: Duration,
    /// The stage with all its attempts and the waits between them.
    pub stage: Duration,
}

/// The patience of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Making a machine.
    pub provision: StageTime,
    /// Taking the host's Lease.
    pub lock: StageTime,
    /// Connecting, looking around, bringing the binary.
    pub prepare: StageTime,
    /// The join on the host.
    pub join: StageTime,
    /// Waiting until the Node is ready.
    pub ready: StageTime,
    /// A host from its first place until it is ready.
    pub host: Duration,
    /// The whole way forward. Taking back has its own time.
    pub run: Duration,
    /// Taking one stage of one host back.
    pub undo: StageTime,
    /// Minting or revoking a token.
    pub token: StageTime,
}

impl Timeouts {
    /// The time of a stage.
    #[must_use]
    pub fn of(&self, stage: Stage) -> StageTime {
        match stage {
            Stage::Provision => self.provision,
            Stage::Lock => self.lock,
            Stage::Prepare => self.prepare,
            Stage::Join => self.join,
            Stage::Ready => self.ready,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = |attempt, stage| StageTime {
            attempt: Duration::from_secs(attempt),
            stage: Duration::from_secs(stage),
        };
        Self {
            provision: seconds(600, 900),
            lock: seconds(15, 60),
            prepare: seconds(120, 300),
            join: seconds(240, 480),
            ready: seconds(300, 300),
            host: Duration::from_secs(1800),
            run: Duration::from_secs(6 * 3600),
            undo: seconds(180, 600),
            token: seconds(30, 180),
        }
    }
}

/// What a person does to finish what the run could not take back, for hosts that are joined in the same way. `{name}`
/// stands for the host's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manual {
    /// To destroy the machine.
    pub provision: String,
    /// To give the host's Lease back.
    pub lock: String,
    /// To remove what was brought to the host.
    pub prepare: String,
    /// To reset the host and to delete its Node.
    pub join: String,
}

impl Manual {
    /// The instruction for a stage of a host.
    #[must_use]
    pub fn instruction(&self, stage: Stage, name: &str) -> String {
        let text = match stage {
            Stage::Provision => &self.provision,
            Stage::Lock => &self.lock,
            Stage::Prepare => &self.prepare,
            Stage::Join => &self.join,
            Stage::Ready => "",
        };
        text.replace("{name}", name)
    }
}

/// How things are taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoPlan {
    /// How many hosts at once.
    pub parallelism: u32,
    /// Whether machines that the run made stay when their hosts are taken back.
    pub keep_machines: bool,
}

impl Default for UndoPlan {
    fn default() -> Self {
        Self {
            parallelism: 10,
            keep_machines: false,
        }
    }
}

/// Everything that the coordinator of one run is given. It holds no secret and no address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutPlan {
    /// The run.
    pub run: RunId,
    /// Chance for waits and ids of tokens: random bytes of the driver, another value for every run.
    pub seed: u64,
    /// The hosts, in the order in which they start.
    pub hosts: Vec<HostPlan>,
    /// The limits; the first is that of the API server.
    pub limits: Vec<Limit>,
    /// What failures mean for the others, and in which order hosts start.
    #[serde(default)]
    pub policy: Policy,
    /// How old a token may become.
    #[serde(default)]
    pub tokens: TokenPolicy,
    /// How long things may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// How long to wait before another attempt.
    #[serde(default)]
    pub backoff: Backoff,
    /// How things are taken back.
    #[serde(default)]
    pub undo: UndoPlan,
    /// Instructions for people, by way of joining.
    #[serde(default)]
    pub manuals: Vec<Manual>,
}

/// A plan that no run can follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The first limit must be that of the API server: give it.
    #[error("the plan has no limit of the API server")]
    NoApiServer,
    /// A cap of nothing would let no host start: give at least 1, and a least that is not above the most.
    #[error("the limit {name} lets no host start")]
    EmptyCap {
        /// The limit's name.
        name: String,
    },
    /// A host names a limit that the plan does not have: a mistake in making the plan.
    #[error("the host {host} stands under a limit that the plan does not have")]
    UnknownLimit {
        /// The host's name.
        host: Arc<str>,
    },
    /// Two hosts would become the same Node: rename one.
    #[error("two hosts are called {name}")]
    NameTwice {
        /// The name.
        name: Arc<str>,
    },
    /// More hosts than there are numbers for: split the fleet.
    #[error("{hosts} hosts are too many for one run")]
    TooManyHosts {
        /// How many were given.
        hosts: usize,
    },
}

/// More hosts than anybody has; it keeps counters and tokens of waiting far from their ends.
const MAX_HOSTS: usize = 10_000_000;

impl RolloutPlan {
    /// A plan with the usual limits: three hosts at once, all or none.
    #[must_use]
    pub fn new(run: RunId, seed: u64, hosts: Vec<HostPlan>) -> Self {
        Self {
            run,
            seed,
            hosts,
            limits: vec![Limit {
                kind: LimitKind::ApiServer,
                name: "api-server".into(),
                cap: Cap::default(),
            }],
            policy: Policy::default(),
            tokens: TokenPolicy::default(),
            timeouts: Timeouts::default(),
            backoff: Backoff::default(),
            undo: UndoPlan::default(),
            manuals: Vec::new(),
        }
    }

    /// Whether a run can follow the plan.
    ///
    /// # Errors
    /// [`PlanError`] names what is wrong with it first.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.hosts.len() > MAX_HOSTS {
            return Err(PlanError::TooManyHosts {
                hosts: self.hosts.len(),
            });
        }
        let first = self.limits.first().map(|limit| limit.kind);
        if first != Some(LimitKind::ApiServer) {
            return Err(PlanError::NoApiServer);
        }
        if let Some(limit) = self.limits.iter().find(|limit| !limit.cap.lets_start()) {
            return Err(PlanError::EmptyCap {
                name: limit.name.clone(),
            });
        }
        let mut names = BTreeSet::new();
        for host in &self.hosts {
            if !names.insert(&host.name) {
                return Err(PlanError::NameTwice {
                    name: host.name.clone(),
                });
            }
            let known = |key: &LimitKey| usize::from(key.0) < self.limits.len();
            if !host.limits.iter().all(known) {
                return Err(PlanError::UnknownLimit {
                    host: host.name.clone(),
                });
            }
        }
        Ok(())
    }

    /// A number that changes with the hosts and their order (FNV-1a, 64 bits): records of a run fit only the plan that
    /// they were made for.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut take = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        for host in &self.hosts {
            host.name.bytes().for_each(&mut take);
            take(0);
            take(u8::from(host.provision));
            take(u8::from(host.role == Role::ControlPlane));
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(names: &[&str]) -> RolloutPlan {
        let host = |name: &&str| HostPlan {
            name: Arc::from(*name),
            role: Role::Worker,
            provision: false,
            limits: Vec::new(),
            manual: 0,
        };
        RolloutPlan::new(RunId("r".into()), 1, names.iter().map(host).collect())
    }

    #[test]
    fn a_plan_that_no_run_can_follow_is_refused_with_its_reason() {
        assert_eq!(plan(&["a", "b"]).check(), Ok(()));
        assert_eq!(
            plan(&["a", "a"]).check(),
            Err(PlanError::NameTwice { name: "a".into() })
        );
        let mut without = plan(&["a"]);
        without.limits.clear();
        assert_eq!(without.check(), Err(PlanError::NoApiServer));
        let mut empty = plan(&["a"]);
        empty.limits[0].cap = Cap::Fixed(0);
        assert!(matches!(empty.check(), Err(PlanError::EmptyCap { .. })));
        let mut unknown = plan(&["a"]);
        unknown.hosts[0].limits.push(LimitKey(7));
        assert!(matches!(
            unknown.check(),
            Err(PlanError::UnknownLimit { .. })
        ));
    }

    #[test]
    fn a_plan_survives_the_journal_and_other_hosts_have_another_fingerprint() {
        let mut before = plan(&["a", "b"]);
        before.hosts[1].role = Role::ControlPlane;
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<RolloutPlan>(&text).unwrap(), before);
        assert_ne!(before.fingerprint(), plan(&["b", "a"]).fingerprint());
        assert_ne!(before.fingerprint(), plan(&["ab", ""]).fingerprint());
    }

    #[test]
    fn an_instruction_names_its_host() {
        let manual = Manual {
            join: "ssh {name} muster reset --force && kubectl delete node {name}".into(),
            ..Manual::default()
        };
        assert_eq!(
            manual.instruction(Stage::Join, "w1"),
            "ssh w1 muster reset --force && kubectl delete node w1"
        );
    }
}
