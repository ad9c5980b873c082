//! What is true, whoever knows of it: machines, Leases, binaries, joins, Node objects and tokens.
//!
//! It changes when a deed is under way or ends, also when nobody waits for that deed any more. It refuses to know the
//! coordinator.

use std::collections::BTreeMap;

use jiff::Timestamp;
use muster_identity::TokenId;

use super::{Weather, weather::Nature};
use crate::{HostIndex, RolloutPlan, Stage, chance::Chance};

/// What stands on and of a host.
#[derive(Clone, Debug)]
pub(super) struct SimHost {
    pub(super) nature: Nature,
    /// Whether it is on the far side when the network is cut in two.
    pub(super) far: bool,
    pub(super) machine: bool,
    pub(super) lease: bool,
    pub(super) binary: bool,
    /// Traces of a join: files, a kubelet.
    pub(super) traces: bool,
    pub(super) node: bool,
    /// The join got to its end.
    pub(super) joined: bool,
    /// Until when a deed or undo is under way, whoever waits for it.
    pub(super) busy_until: Timestamp,
    /// Which one: what a killed one would have done does not happen.
    pub(super) work: u64,
}

/// A deed of a host, or an undo, when it takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Landing {
    pub(super) host: HostIndex,
    pub(super) stage: Stage,
    pub(super) undo: bool,
    /// The work that it is; [`SimHost::work`] must still be the same.
    pub(super) work: u64,
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) hosts: Vec<SimHost>,
    /// Tokens that exist, with their ends.
    pub(super) tokens: BTreeMap<TokenId, Timestamp>,
}

impl World {
    pub(super) fn new(plan: &RolloutPlan, weather: &Weather, chance: &mut Chance) -> Self {
        let host = |plan: &crate::HostPlan| SimHost {
            nature: weather.nature(chance),
            far: chance.below(2) == 0,
            machine: !plan.provision,
            lease: false,
            binary: false,
            traces: false,
            node: false,
            joined: false,
            busy_until: Timestamp::MIN,
            work: 0,
        };
        Self {
            hosts: plan.hosts.iter().map(host).collect(),
            tokens: BTreeMap::new(),
        }
    }

    pub(super) fn host(&mut self, host: HostIndex) -> &mut SimHost {
        &mut self.hosts[host.as_usize()]
    }

    pub(super) fn token_lives(&self, id: &TokenId, now: Timestamp) -> bool {
        self.tokens.get(id).is_some_and(|expires| now < *expires)
    }

    /// A deed has begun: it may have left traces from now on.
    pub(super) fn begin(&mut self, host: HostIndex, stage: Stage) {
        if stage == Stage::Join {
            self.host(host).traces = true;
        }
    }

    /// A deed failed in the middle.
    pub(super) fn leave_halfway(&mut self, host: HostIndex, stage: Stage) {
        let host = self.host(host);
        match stage {
            Stage::Provision => host.machine = true,
            Stage::Lock => host.lease = true,
            Stage::Prepare => host.binary = true,
            Stage::Join => {
                host.traces = true;
                host.node = true;
            }
            Stage::Ready => {}
        }
    }

    /// A deed or undo takes effect, unless it was killed.
    pub(super) fn land(&mut self, landing: Landing) {
        let host = self.host(landing.host);
        if host.work != landing.work {
            return;
        }
        let done = !landing.undo;
        match landing.stage {
            Stage::Provision => {
                host.machine = done;
                if landing.undo {
                    // With the machine goes what was on it; the Node object does not.
                    (host.binary, host.traces, host.joined) = (false, false, false);
                }
            }
            Stage::Lock => host.lease = done,
            Stage::Prepare => host.binary = done,
            Stage::Join => {
                (host.traces, host.node, host.joined) = (done, done, done);
            }
            Stage::Ready => {}
        }
    }
}

impl SimHost {
    /// In the cluster, wholly.
    pub(super) fn is_joined(&self) -> bool {
        self.joined && self.node && self.traces
    }

    /// As it was before the run, but for its Lease.
    pub(super) fn is_clean(&self, provisioned: bool, keep_machine: bool) -> bool {
        let machine = !provisioned || keep_machine || !self.machine;
        machine && !self.binary && !self.traces && !self.node && !self.joined
    }
}
