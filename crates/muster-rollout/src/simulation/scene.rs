//! What is played: a fleet, its plan, its weather, and when the coordinator crashes, all from a seed.
//!
//! It makes plans, and refuses to know how they fare.

use std::{sync::Arc, time::Duration};

use super::Weather;
use crate::{
    Auto, Cap, ControlPlane, HostPlan, Keep, Limit, LimitKey, LimitKind, Policy, Resume, Role,
    RolloutPlan, RunId, Share, Waves, chance::Chance,
};

/// When the coordinator crashes, and what is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// After so many durable records, in the middle of a write if that falls there.
    pub at_record: Option<u64>,
    /// After so many effects of its life.
    pub at_effect: Option<u64>,
    /// How the run is taken up again.
    pub then: Resume,
}

/// What is played.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Chance of the world and of the run.
    pub seed: u64,
    /// The run.
    pub plan: RolloutPlan,
    /// What goes wrong.
    pub weather: Weather,
    /// Crashes of the coordinator, in turn, one for each of its lives.
    pub crashes: Vec<Crash>,
    /// How much virtual time until the user interrupts the run, for each time.
    pub interrupts: Vec<Duration>,
    /// How much virtual time until the run's Lease is lost.
    pub lease_lost: Option<Duration>,
    /// How much virtual time until somebody deletes all tokens.
    pub tokens_deleted: Option<Duration>,
    /// Whether a run that is stuck is taken back once more, after everything was mended.
    pub mend: bool,
}

impl Scene {
    /// A fleet in fair weather: nothing goes wrong, nobody crashes.
    #[must_use]
    pub fn fair(hosts: u32, seed: u64) -> Self {
        let host = |number| HostPlan {
            name: Arc::from(format!("worker-{number}")),
            role: Role::Worker,
            provision: false,
            limits: Vec::new(),
            manual: 0,
        };
        let run = RunId(format!("run-{seed}"));
        Self {
            seed,
            plan: RolloutPlan::new(run, seed, (0..hosts).map(host).collect()),
            weather: Weather::fair(),
            crashes: Vec::new(),
            interrupts: Vec::new(),
            lease_lost: None,
            tokens_deleted: None,
            mend: false,
        }
    }

    /// A large fleet in bad weather: jump hosts and groups with limits, a cap that finds its own size, hosts that stay
    /// when others fail.
    #[must_use]
    pub fn large(hosts: u32, seed: u64) -> Self {
        let mut scene = Self::fair(hosts, seed);
        let mut chance = Chance::new(seed ^ 0x1a46e);
        scene.add_limits(&mut chance, 20);
        scene.plan.limits[0].cap = Cap::Auto(Auto {
            start: 50,
            most: 2000,
            ..Auto::default()
        });
        scene.plan.policy.keep = Keep::Successes;
        scene.plan.undo.parallelism = 200;
        scene.plan.timeouts.run = Duration::from_secs(7 * 24 * 3600);
        scene.weather = Weather::drizzle();
        scene
    }

    /// A small fleet with everything from chance: its hosts, limits, policy, weather, crashes and interrupts.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0x5eed);
        let hosts = u32::try_from(1 + chance.below(16)).unwrap_or(1);
        let mut scene = Self::fair(hosts, seed);
        for host in &mut scene.plan.hosts {
            host.provision = chance.below(4) == 0;
            if chance.below(6) == 0 {
                host.role = Role::ControlPlane;
            }
        }
        let limits = chance.below(4);
        scene.add_limits(&mut chance, limits);
        scene.plan.limits[0].cap = match chance.below(3) {
            0 => Cap::Auto(Auto::default()),
            _ => Cap::Fixed(small(&mut chance, 6)),
        };
        scene.plan.policy = policy(&mut chance);
        scene.plan.undo.parallelism = small(&mut chance, 6);
        scene.plan.undo.keep_machines = chance.below(5) == 0;
        if chance.below(3) == 0 {
            // So short that it has to be changed in the middle.
            scene.plan.tokens.lifetime = Duration::from_secs(120 + chance.below(900));
            scene.plan.tokens.margin = Duration::from_secs(chance.below(60));
        }
        if chance.below(8) == 0 {
            scene.plan.timeouts.run = Duration::from_secs(60 + chance.below(3600));
        }
        scene.weather = Weather::random(&mut chance);
        scene.add_trouble(&mut chance);
        scene
    }

    fn add_limits(&mut self, chance: &mut Chance, limits: u64) {
        for number in 0..limits {
            let kind = if number % 2 == 0 {
                LimitKind::JumpHost
            } else {
                LimitKind::Group
            };
            self.plan.limits.push(Limit {
                kind,
                name: format!("limit-{number}"),
                cap: Cap::Fixed(small(chance, 100)),
            });
        }
        for host in &mut self.plan.hosts {
            // A jump host has an odd key, a group an even one, as the API server comes before them.
            for first in [1, 2] {
                let choices = (limits + 2 - first) / 2;
                if choices > 0 && chance.below(3) > 0 {
                    let key = first + 2 * chance.below(choices);
                    host.limits.extend(u16::try_from(key).ok().map(LimitKey));
                }
            }
        }
    }

    fn add_trouble(&mut self, chance: &mut Chance) {
        self.mend = true;
        if chance.below(10) == 0 {
            self.tokens_deleted = Some(Duration::from_millis(chance.below(300_000)));
        }
        for _ in 0..chance.below(4) {
            let how = if chance.below(5) == 0 {
                Resume::Undo
            } else {
                Resume::GoOn
            };
            let at = 1 + chance
                .below(u64::from(u32::try_from(self.plan.hosts.len()).unwrap_or(1)) * 12 + 10);
            let by_record = chance.below(2) == 0;
            self.crashes.push(Crash {
                at_record: by_record.then_some(at),
                at_effect: (!by_record).then_some(2 * at),
                then: how,
            });
        }
        if chance.below(4) == 0 {
            for _ in 0..=chance.below(2) {
                let at = Duration::from_millis(chance.below(600_000));
                self.interrupts.push(at);
            }
            self.interrupts.sort_unstable();
        }
        if chance.below(12) == 0 {
            self.lease_lost = Some(Duration::from_millis(chance.below(600_000)));
        }
    }
}

fn small(chance: &mut Chance, most: u64) -> u32 {
    u32::try_from(1 + chance.below(most)).unwrap_or(1)
}

fn policy(chance: &mut Chance) -> Policy {
    let share = |chance: &mut Chance| match chance.below(2) {
        0 => Share::Hosts(small(chance, 8)),
        _ => Share::Percent(u8::try_from(chance.below(101)).unwrap_or(100)),
    };
    Policy {
        keep: match chance.below(3) {
            0 => Keep::AllOrNothing,
            1 => Keep::Successes,
            _ => Keep::AtLeast(share(chance)),
        },
        stop_after: (chance.below(4) == 0).then(|| small(chance, 3)),
        waves: (chance.below(4) == 0).then(|| Waves {
            sizes: vec![Share::Hosts(1), share(chance)],
            tolerated: u32::try_from(chance.below(2)).unwrap_or(0),
        }),
        control_plane: match chance.below(2) {
            0 => ControlPlane::Before,
            _ => ControlPlane::Beside,
        },
    }
}
