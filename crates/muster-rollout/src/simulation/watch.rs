//! What must never happen, looked at after every event; and whether the world is as the verdict says.
//!
//! It sees what the driver sees and what is true, and refuses to look into the coordinator.

use std::collections::BTreeMap;

use jiff::Timestamp;
use muster_identity::TokenId;
use muster_saga::Event as StageEvent;

use super::world::World;
use crate::{
    Cap, Ending, Event, EventKind, HostIndex, LimitKey, Record, Role, RolloutPlan, Stage, Stuck,
    Verdict,
};

/// Something happened that must never happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}, {at}: {what}")]
pub struct Violation {
    /// The seed that shows it again.
    pub seed: u64,
    /// When, in virtual time.
    pub at: Timestamp,
    /// What.
    pub what: String,
}

pub(super) type Checked = Result<(), String>;

/// How far a host is in the stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Started,
    Ended,
}

/// How often a deed and its undo are durably intended.
#[derive(Clone, Copy, Debug, Default)]
struct Intents {
    deeds: u32,
    undos: u32,
}

/// A deed or undo that the coordinator waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnderWay {
    pub(super) stage: Stage,
    pub(super) undo: bool,
    pub(super) attempt: u32,
}

#[derive(Debug)]
pub(super) struct Watch {
    caps: Vec<u32>,
    in_use: Vec<u32>,
    undo_cap: u32,
    undoing: u32,
    leaders_at_work: u32,
    under_way: Vec<Option<UnderWay>>,
    intents: Vec<[Intents; 5]>,
    tokens: BTreeMap<TokenId, Intents>,
    told: Vec<Told>,
    sequence: u64,
    quiet_until: Timestamp,
    over: bool,
    /// The most hosts that were at work at once.
    pub(super) high_water: u32,
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

impl Watch {
    pub(super) fn new(plan: &RolloutPlan) -> Self {
        let most = |cap: Cap| match cap {
            Cap::Fixed(cap) => cap,
            Cap::Auto(auto) => auto.most,
        };
        let hosts = plan.hosts.len();
        Self {
            caps: plan.limits.iter().map(|limit| most(limit.cap)).collect(),
            in_use: vec![0; plan.limits.len()],
            undo_cap: plan.undo.parallelism,
            undoing: 0,
            leaders_at_work: 0,
            under_way: vec![None; hosts],
            intents: vec![[Intents::default(); 5]; hosts],
            tokens: BTreeMap::new(),
            told: vec![Told::Nothing; hosts],
            sequence: 0,
            quiet_until: Timestamp::MIN,
            over: false,
            high_water: 0,
        }
    }

    /// The coordinator is gone, and another one begins.
    pub(super) fn on_new_life(&mut self, plan: &RolloutPlan) {
        let kept = (
            std::mem::take(&mut self.intents),
            std::mem::take(&mut self.tokens),
        );
        let high_water = self.high_water;
        *self = Self::new(plan);
        (self.intents, self.tokens) = kept;
        self.high_water = high_water;
    }

    pub(super) fn on_durable(&mut self, record: &Record) {
        match record {
            Record::Host {
                host,
                stage,
                event,
                attempt,
                ..
            } => {
                let intents = &mut self.intents[host.as_usize()][*stage as usize];
                match event {
                    StageEvent::Intent => intents.deeds = *attempt,
                    StageEvent::UndoIntent => intents.undos = *attempt,
                    _ => {}
                }
            }
            Record::Token { id, event, .. } => {
                let intents = self.tokens.entry(id.clone()).or_default();
                match event {
                    StageEvent::Intent => intents.deeds += 1,
                    StageEvent::UndoIntent => intents.undos += 1,
                    _ => {}
                }
            }
            _ => {}
        }
    }

    pub(super) fn on_deed(
        &mut self,
        plan: &RolloutPlan,
        host: HostIndex,
        deed: UnderWay,
    ) -> Checked {
        check(!self.over, || "something was begun after the end".into())?;
        let before = self.under_way[host.as_usize()].replace(deed);
        check(before.is_none(), || {
            format!("{host:?}: {deed:?} beside {before:?}")
        })?;
        let intents = self.intents[host.as_usize()][deed.stage as usize];
        let intended = if deed.undo {
            intents.undos
        } else {
            intents.deeds
        };
        check(intended == deed.attempt, || {
            format!("{host:?}: {deed:?} without its durable intent")
        })?;
        self.count(plan, host, deed, true);
        self.check_caps()
    }

    /// Nobody waits any more for what was under way on the host.
    pub(super) fn on_end_of_deed(&mut self, plan: &RolloutPlan, host: HostIndex) {
        if let Some(deed) = self.under_way[host.as_usize()].take() {
            self.count(plan, host, deed, false);
        }
    }

    pub(super) fn waits_for(&self, host: HostIndex, deed: UnderWay) -> bool {
        self.under_way[host.as_usize()] == Some(deed)
    }

    fn count(&mut self, plan: &RolloutPlan, host: HostIndex, deed: UnderWay, begins: bool) {
        let change = |count: &mut u32| {
            *count = if begins { *count + 1 } else { *count - 1 };
        };
        let host = &plan.hosts[host.as_usize()];
        let changes_members = matches!(deed.stage, Stage::Join | Stage::Ready);
        if host.role == Role::ControlPlane && changes_members {
            change(&mut self.leaders_at_work);
        }
        if deed.undo {
            change(&mut self.undoing);
        } else if deed.stage != Stage::Ready {
            change(&mut self.in_use[0]);
            let mut keys: Vec<LimitKey> = host.limits.clone();
            keys.sort_unstable();
            keys.dedup();
            keys.retain(|key| *key != LimitKey::API_SERVER);
            keys.iter()
                .for_each(|key| change(&mut self.in_use[usize::from(key.0)]));
        }
        self.high_water = self.high_water.max(self.in_use[0]);
    }

    fn check_caps(&self) -> Checked {
        let mut limits = self.in_use.iter().zip(&self.caps);
        check(limits.all(|(in_use, cap)| in_use <= cap), || {
            format!(
                "more at work than may be: {:?} of {:?}",
                self.in_use, self.caps
            )
        })?;
        check(self.undoing <= self.undo_cap, || {
            "too many undos at once".into()
        })?;
        check(self.leaders_at_work <= 1, || {
            "two control-plane hosts at once".into()
        })
    }

    pub(super) fn on_mint(&mut self, id: &TokenId) -> Checked {
        let intended = self.tokens.get(id).is_some_and(|token| token.deeds > 0);
        check(intended && !self.over, || {
            format!("{id} minted without its durable intent")
        })
    }

    pub(super) fn on_revoke(&mut self, id: &TokenId) -> Checked {
        let intended = self.tokens.get(id).is_some_and(|token| token.undos > 0);
        check(intended && !self.over, || {
            format!("{id} revoked without its durable intent")
        })
    }

    /// The API server asked to be left alone.
    pub(super) fn on_quiet(&mut self, until: Timestamp) {
        self.quiet_until = self.quiet_until.max(until);
    }

    pub(super) fn on_event(&mut self, event: &Event) -> Checked {
        check(!self.over, || "something was told after the end".into())?;
        check(event.sequence == self.sequence, || {
            format!("event {} where {} belongs", event.sequence, self.sequence)
        })?;
        self.sequence += 1;
        match &event.kind {
            EventKind::ClusterNodeJoinStarted { host } => {
                check(event.at >= self.quiet_until, || {
                    format!("{} began in quiet time", host.name)
                })?;
                self.tell(host.host, Told::Nothing, Told::Started)
            }
            EventKind::ClusterNodeJoinCompleted { host, .. }
            | EventKind::ClusterNodeJoinFailed { host, .. } => {
                self.tell(host.host, Told::Started, Told::Ended)
            }
            EventKind::RunEnded { .. } => {
                let open = self.told.iter().position(|told| *told == Told::Started);
                check(open.is_none(), || format!("host {open:?} has no end"))
            }
            _ => Ok(()),
        }
    }

    fn tell(&mut self, host: HostIndex, from: Told, to: Told) -> Checked {
        let told = &mut self.told[host.as_usize()];
        check(*told == from, || {
            format!("{host:?} is {told:?} and was told to be {to:?}")
        })?;
        *told = to;
        Ok(())
    }

    pub(super) fn on_end(&mut self) {
        self.over = true;
    }
}

/// Whether the world is as the verdict of a run that ended says.
pub(super) fn check_end(plan: &RolloutPlan, world: &World, verdict: &Verdict) -> Checked {
    let mut joined = 0;
    for (host, state) in plan.hosts.iter().zip(&world.hosts) {
        let keep = plan.undo.keep_machines;
        let stuck = verdict
            .stuck
            .iter()
            .any(|stuck| matches!(stuck, Stuck::Host { name, .. } if **name == *host.name));
        if stuck {
            continue;
        }
        let clean = state.is_clean(host.provision, keep);
        joined += u32::from(state.is_joined());
        let fits = match verdict.ending {
            Ending::Joined => state.is_joined(),
            Ending::Undone => clean,
            Ending::Kept => clean || state.is_joined(),
            // Whether it was to be taken back is seen by the count of those that joined.
            Ending::Stuck => clean || state.is_joined(),
            Ending::Stopped => true,
        };
        check(fits, || {
            format!("{} at {:?}: {state:?}", host.name, verdict.ending)
        })?;
    }
    check(joined == verdict.counts.joined, || {
        format!("{joined} joined, and the verdict says {:?}", verdict.counts)
    })?;
    let said = |id: &TokenId| {
        let stuck = verdict.stuck.iter();
        stuck
            .into_iter()
            .any(|stuck| matches!(stuck, Stuck::Token { id: known, .. } if known == id))
    };
    let alive = world.tokens.keys().find(|id| !said(id));
    check(alive.is_none(), || format!("the token {alive:?} lives on"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HostName, RunId, simulation::Scene};

    const DEED: UnderWay = UnderWay {
        stage: Stage::Join,
        undo: false,
        attempt: 1,
    };

    fn intent(host: u32) -> Record {
        Record::Host {
            host: HostIndex(host),
            stage: Stage::Join,
            event: StageEvent::Intent,
            attempt: 1,
            at: Timestamp::UNIX_EPOCH,
            failure: None,
            receipt: None,
        }
    }

    fn begin(watch: &mut Watch, plan: &RolloutPlan, host: u32) -> Checked {
        watch.on_durable(&intent(host));
        watch.on_deed(plan, HostIndex(host), DEED)
    }

    fn told(sequence: u64, kind: EventKind) -> Event {
        Event {
            run: RunId("r".into()),
            incarnation: 0,
            sequence,
            at: Timestamp::UNIX_EPOCH,
            kind,
        }
    }

    #[test]
    fn it_sees_a_deed_without_its_durable_intent() {
        let plan = Scene::fair(3, 1).plan;
        let mut watch = Watch::new(&plan);
        assert!(watch.on_deed(&plan, HostIndex(0), DEED).is_err());
        let id = TokenId::parse("abcdef").unwrap();
        assert!(watch.on_mint(&id).is_err());
        assert!(watch.on_revoke(&id).is_err());
    }

    #[test]
    fn it_sees_one_host_too_many_and_two_deeds_on_one_host() {
        let plan = Scene::fair(4, 1).plan;
        let mut watch = Watch::new(&plan);
        for host in 0..3 {
            assert_eq!(begin(&mut watch, &plan, host), Ok(()));
        }
        assert!(begin(&mut watch, &plan, 3).is_err());
        let mut watch = Watch::new(&plan);
        assert_eq!(begin(&mut watch, &plan, 0), Ok(()));
        assert!(begin(&mut watch, &plan, 0).is_err());
    }

    #[test]
    fn it_sees_a_start_without_end_and_an_end_without_start() {
        let plan = Scene::fair(1, 1).plan;
        let host = || HostName {
            host: HostIndex(0),
            name: "worker-0".into(),
        };
        let started = || EventKind::ClusterNodeJoinStarted { host: host() };
        let completed = || EventKind::ClusterNodeJoinCompleted {
            host: host(),
            seconds: 1.0,
        };
        let mut watch = Watch::new(&plan);
        assert!(watch.on_event(&told(0, completed())).is_err());
        let mut watch = Watch::new(&plan);
        assert_eq!(watch.on_event(&told(0, started())), Ok(()));
        assert!(watch.on_event(&told(2, completed())).is_err(), "a gap");
        assert_eq!(watch.on_event(&told(1, completed())), Ok(()));
        assert!(watch.on_event(&told(2, completed())).is_err(), "twice");
    }
}
