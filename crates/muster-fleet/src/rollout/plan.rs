//! From a fleet to the plan of a run: what the coordinator must know, and nothing of how hosts are reached.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use muster_rollout::fleet_file::{self, Fleet, HostSpec, Provider};
use muster_rollout::{
    Auto, Backoff, Cap, HostPlan, Keep, Limit, LimitKey, LimitKind, Manual, Policy, RolloutPlan,
    RunId, Share, StageTime, Timeouts, TokenPolicy, UndoPlan, Waves,
};
use std::time::Duration;

use super::method::manual;

/// A name for a run: when it began, and something by chance.
#[must_use]
pub fn run_id(now: Timestamp, entropy: fn(&mut [u8])) -> RunId {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut chance = [0; 4];
    entropy(&mut chance);
    let letters = chance.map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
    let letters: String = letters.iter().collect();
    RunId(format!("{}-{letters}", now.strftime("%Y%m%d-%H%M%S")))
}

/// The plan of a run over this fleet.
#[must_use]
pub fn plan_of(fleet: &Fleet, run: RunId, seed: u64) -> RolloutPlan {
    let mut limits = vec![Limit {
        kind: LimitKind::ApiServer,
        name: "API server".to_owned(),
        cap: match fleet.concurrency.limit {
            fleet_file::Limit::Fixed(most) => Cap::Fixed(most),
            fleet_file::Limit::Auto => Cap::Auto(Auto::default()),
        },
    }];
    let jumps = jump_limits(fleet, &mut limits);
    let groups = group_limits(fleet, &mut limits);
    let mut manuals = Manuals::default();
    let hosts = fleet.hosts.iter().map(|host| HostPlan {
        name: Arc::from(host.name.as_str()),
        role: host.settings.role,
        provision: !matches!(host.settings.provider, Provider::None),
        limits: limits_of(host, &jumps, &groups),
        manual: manuals.of(host),
    });
    let hosts = hosts.collect();
    RolloutPlan {
        limits,
        policy: policy(&fleet.policy),
        tokens: TokenPolicy {
            lifetime: fleet.token.ttl,
            margin: fleet.token.margin,
            ..TokenPolicy::default()
        },
        timeouts: timeouts(&fleet.timeouts),
        backoff: Backoff::default(),
        undo: UndoPlan {
            parallelism: fleet.concurrency.undo,
            ..UndoPlan::default()
        },
        manuals: manuals.all,
        ..RolloutPlan::new(run, seed, hosts)
    }
}

fn key(limits: &[Limit]) -> LimitKey {
    LimitKey(u16::try_from(limits.len()).unwrap_or(u16::MAX))
}

fn jump_limits(fleet: &Fleet, limits: &mut Vec<Limit>) -> Vec<LimitKey> {
    let Some(most) = fleet.concurrency.per_jump_host else {
        return Vec::new();
    };
    let ways = fleet.jumps.iter().map(|way| {
        let key = key(limits);
        let name: Vec<String> = way.iter().map(ToString::to_string).collect();
        limits.push(Limit {
            kind: LimitKind::JumpHost,
            name: name.join(","),
            cap: Cap::Fixed(most),
        });
        key
    });
    ways.collect()
}

fn group_limits(fleet: &Fleet, limits: &mut Vec<Limit>) -> Vec<Option<LimitKey>> {
    let groups = fleet.groups.iter().map(|group| {
        let most = group.limit?;
        let key = key(limits);
        limits.push(Limit {
            kind: LimitKind::Group,
            name: group.name.clone(),
            cap: Cap::Fixed(most),
        });
        Some(key)
    });
    groups.collect()
}

fn limits_of(host: &HostSpec, jumps: &[LimitKey], groups: &[Option<LimitKey>]) -> Vec<LimitKey> {
    let jump = host
        .settings
        .jump
        .and_then(|at| jumps.get(at as usize).copied());
    let of_groups = host
        .settings
        .groups
        .iter()
        .filter_map(|at| *groups.get(*at as usize)?);
    jump.into_iter().chain(of_groups).collect()
}

fn policy(policy: &fleet_file::Policy) -> Policy {
    let waves = (policy.waves.len() > 1).then(|| Waves {
        sizes: policy
            .waves
            .iter()
            .map(|size| Share::Hosts(*size))
            .collect(),
        tolerated: policy.wave_failures,
    });
    Policy {
        keep: match policy.keep {
            fleet_file::Keep::AllOrNothing => Keep::AllOrNothing,
            fleet_file::Keep::Successes => Keep::Successes,
            fleet_file::Keep::AtLeast(least) => Keep::AtLeast(Share::Hosts(least)),
        },
        stop_after: policy.max_failures,
        waves,
        ..Policy::default()
    }
}

fn timeouts(timeouts: &fleet_file::Timeouts) -> Timeouts {
    let usual = Timeouts::default();
    let attempts = |attempt: Duration| StageTime {
        attempt,
        stage: attempt.saturating_mul(2),
    };
    let prepare = StageTime {
        attempt: timeouts.connect.saturating_add(timeouts.stage),
        stage: timeouts
            .connect
            .saturating_add(timeouts.stage)
            .saturating_mul(2),
    };
    let join = attempts(timeouts.stage);
    let ready = StageTime {
        attempt: timeouts.ready,
        stage: timeouts.ready,
    };
    let parts = [
        usual.provision.stage,
        usual.lock.stage,
        prepare.stage,
        join.stage,
        ready.stage,
    ];
    Timeouts {
        prepare,
        join,
        ready,
        host: parts
            .into_iter()
            .fold(Duration::ZERO, Duration::saturating_add),
        // Without an end: a year.
        run: timeouts.run.unwrap_or(Duration::from_secs(365 * 24 * 3600)),
        undo: StageTime {
            attempt: timeouts.undo,
            stage: timeouts.undo.saturating_mul(3),
        },
        ..usual
    }
}

/// Instructions for people: most hosts share theirs.
#[derive(Default)]
struct Manuals {
    all: Vec<Manual>,
    places: HashMap<String, u32>,
}

impl Manuals {
    fn of(&mut self, host: &HostSpec) -> u32 {
        let mut own = manual(host);
        // `{name}` is filled in by whoever shows it; what names this host otherwise is its own.
        for text in [
            &mut own.provision,
            &mut own.lock,
            &mut own.prepare,
            &mut own.join,
        ] {
            if host.address() == host.name.as_str() {
                *text = text.replace(&format!(" {} ", host.name), " {name} ");
            }
        }
        let key = format!("{own:?}");
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        // A number that names nothing has no instructions, which is better than those of another host.
        let place = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(own);
        self.places.insert(key, place);
        place
    }
}
