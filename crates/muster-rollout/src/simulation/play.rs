//! The driver of the simulation: carries effects out in virtual time, crashes when the scene says so, and takes the run
//! up again from what was durable.
//!
//! It knows when things happen; whether they may is the watch's business.

mod deeds;

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use jiff::Timestamp;
use muster_identity::TokenId;

use super::{
    Crash, Scene, Violation, Weather,
    watch::{Checked, UnderWay, Watch, check_end},
    weather::Nature,
    world::{Landing, World},
};
use crate::{
    Effect, Ending, HostIndex, Input, Pressure, Record, Resume, Rollout, Stage, Verdict,
    chance::Chance, retry::after,
};

/// What a play came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// How the run ended at last.
    pub verdict: Verdict,
    /// How much virtual time it took.
    pub virtual_time: Duration,
    /// How many inputs the coordinator took.
    pub inputs: u64,
    /// How many effects it gave.
    pub effects: u64,
    /// How many records became durable.
    pub records: u64,
    /// How many stages were begun.
    pub deeds: u64,
    /// How often the coordinator crashed or was stopped.
    pub lives: u32,
    /// How many tokens were minted.
    pub tokens: u64,
    /// The most hosts that were at work at once.
    pub high_water: u32,
    /// Whether the run was stuck first, and was taken back when everything had been mended.
    pub mended: bool,
}

/// Something that will happen.
#[derive(Debug)]
enum Happening {
    /// A deed takes effect.
    Lands(Landing),
    /// A token exists.
    Minted(TokenId, Timestamp),
    /// A token is gone.
    Revoked(TokenId),
    /// The coordinator of that life hears something.
    Heard(u32, Box<Input>),
    /// The disk has taken records of that life.
    Written(u32, Vec<Record>),
    /// The user interrupts.
    Interrupted,
    /// The Lease of the run is lost.
    LeaseLost,
    /// Somebody deletes all tokens.
    TokensDeleted,
}

type Queue = BinaryHeap<Reverse<(Timestamp, u64, usize)>>;

/// More than any run of that size needs: whoever gets here turns in circles.
const INPUTS_PER_HOST: u64 = 4000;

struct Play<'a> {
    scene: &'a Scene,
    weather: Weather,
    chance: Chance,
    now: Timestamp,
    queue: Queue,
    happenings: Vec<Option<Happening>>,
    free: Vec<usize>,
    order: u64,
    world: World,
    watch: Watch,
    rollout: Rollout,
    wake: Option<Timestamp>,
    /// What is durable; kept only if somebody will read it.
    journal: Vec<Record>,
    life: u32,
    effects_of_life: u64,
    work: u64,
    crashed: Option<Crash>,
    stopped: bool,
    report: Report,
}

/// Plays a scene to its end.
///
/// # Errors
/// [`Violation`] when something happened that must never happen; its seed shows it again.
pub fn play(scene: &Scene) -> Result<Report, Violation> {
    let mut chance = Chance::new(scene.seed);
    let now = Timestamp::UNIX_EPOCH;
    let world = World::new(&scene.plan, &scene.weather, &mut chance);
    let violation = |what: String| Violation {
        seed: scene.seed,
        at: now,
        what,
    };
    let rollout = Rollout::begin(scene.plan.clone(), None, now)
        .map_err(|error| violation(error.to_string()))?;
    let counts = rollout.counts();
    let mut play = Play {
        scene,
        weather: scene.weather.clone(),
        chance,
        now,
        queue: Queue::new(),
        happenings: Vec::new(),
        free: Vec::new(),
        order: 0,
        world,
        watch: Watch::new(&scene.plan),
        rollout,
        wake: None,
        journal: Vec::new(),
        life: 0,
        effects_of_life: 0,
        work: 0,
        crashed: None,
        stopped: false,
        report: Report {
            verdict: Verdict {
                ending: Ending::Stopped,
                counts,
                reason: None,
                stuck: Vec::new(),
            },
            virtual_time: Duration::ZERO,
            inputs: 0,
            effects: 0,
            records: 0,
            deeds: 0,
            lives: 1,
            tokens: 0,
            high_water: 0,
            mended: false,
        },
    };
    play.play_out().map_err(|what| Violation {
        seed: scene.seed,
        at: play.now,
        what,
    })?;
    play.report.high_water = play.watch.high_water;
    let time = play.now.duration_since(Timestamp::UNIX_EPOCH);
    play.report.virtual_time = Duration::try_from(time).unwrap_or_default();
    Ok(play.report)
}

impl Play<'_> {
    fn play_out(&mut self) -> Checked {
        for at in &self.scene.interrupts {
            self.at(after(self.now, *at), Happening::Interrupted);
        }
        if let Some(at) = self.scene.lease_lost {
            self.at(after(self.now, at), Happening::LeaseLost);
        }
        if let Some(at) = self.scene.tokens_deleted {
            self.at(after(self.now, at), Happening::TokensDeleted);
        }
        self.drain()?;
        let most = INPUTS_PER_HOST * (self.scene.plan.hosts.len() as u64 + 10);
        loop {
            if let Some(crash) = self.crashed.take() {
                self.new_life(crash.then)?;
            } else if std::mem::take(&mut self.stopped) {
                let undo = self.chance.below(3) == 0;
                let how = if undo { Resume::Undo } else { Resume::GoOn };
                self.new_life(how)?;
            } else if !self.rollout.has_ended() {
                self.step()?;
            } else if self.can_be_mended() {
                check_end(&self.scene.plan, &self.world, &self.report.verdict)?;
                self.mend();
                self.new_life(Resume::Undo)?;
            } else {
                break;
            }
            if self.report.inputs > most {
                return Err("the run does not come to an end".into());
            }
        }
        if self.report.mended && self.report.verdict.ending != Ending::Undone {
            return Err(format!("stuck for ever: {:?}", self.report.verdict));
        }
        // What is still under way in the world may land, and must change nothing that was promised.
        while let Some(happening) = self.take_next() {
            self.happen(happening)?;
        }
        check_end(&self.scene.plan, &self.world, &self.report.verdict)
    }

    fn can_be_mended(&self) -> bool {
        self.scene.mend && !self.report.mended && self.report.verdict.ending == Ending::Stuck
    }

    /// Somebody sees to everything that was the matter.
    fn mend(&mut self) {
        self.report.mended = true;
        self.weather = Weather::fair();
        for host in &mut self.world.hosts {
            host.nature = Nature::Good;
            host.work = 0;
            host.busy_until = self.now;
        }
    }

    fn step(&mut self) -> Checked {
        let next = self.queue.peek().map(|Reverse((at, _, _))| *at);
        match (self.wake, next) {
            (Some(wake), next) if next.is_none_or(|next| wake <= next) => {
                self.now = self.now.max(wake);
                self.wake = None;
                self.tell(Input::Tick)
            }
            (_, Some(_)) => match self.take_next() {
                Some(happening) => self.happen(happening),
                None => Ok(()),
            },
            (_, None) => Err(format!(
                "nothing will ever happen again: {:?}",
                self.rollout.status()
            )),
        }
    }

    fn at(&mut self, at: Timestamp, happening: Happening) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.happenings.push(None);
            self.happenings.len() - 1
        });
        self.happenings[place] = Some(happening);
        self.order += 1;
        self.queue.push(Reverse((at, self.order, place)));
    }

    fn take_next(&mut self) -> Option<Happening> {
        let Reverse((at, _, place)) = self.queue.pop()?;
        self.now = self.now.max(at);
        self.free.push(place);
        self.happenings[place].take()
    }

    fn happen(&mut self, happening: Happening) -> Checked {
        match happening {
            Happening::Lands(landing) => self.world.land(landing),
            Happening::Minted(id, expires) => {
                self.world.tokens.insert(id, expires);
            }
            Happening::Revoked(id) => {
                self.world.tokens.remove(&id);
            }
            Happening::Heard(life, input) if life == self.life => return self.tell(*input),
            Happening::Written(life, records) if life == self.life => return self.write(records),
            Happening::Interrupted => return self.tell(Input::Interrupt),
            Happening::LeaseLost => return self.tell(Input::LeaseLost { holder: None }),
            Happening::TokensDeleted => self.world.tokens.clear(),
            Happening::Heard(..) | Happening::Written(..) => {}
        }
        Ok(())
    }

    /// The disk takes records one by one; the power may go in between.
    fn write(&mut self, records: Vec<Record>) -> Checked {
        for record in records {
            self.make_durable(record);
            let crash = self.crash_of_this_life();
            if crash.is_some_and(|crash| crash.at_record == Some(self.report.records)) {
                self.crashed = crash;
                return Ok(());
            }
        }
        self.tell(Input::Recorded)
    }

    fn make_durable(&mut self, record: Record) {
        self.watch.on_durable(&record);
        self.report.records += 1;
        let will_be_read = self.scene.mend
            || !self.scene.crashes.is_empty()
            || !self.scene.interrupts.is_empty()
            || self.scene.lease_lost.is_some();
        if will_be_read {
            self.journal.push(record);
        }
    }

    fn crash_of_this_life(&self) -> Option<Crash> {
        self.scene.crashes.get(self.life as usize).copied()
    }

    fn new_life(&mut self, how: Resume) -> Checked {
        // Whoever mended everything to have it taken back does not change their mind.
        let how = if self.report.mended {
            Resume::Undo
        } else {
            how
        };
        // Long enough that requests which were in the air have landed.
        let pause = Duration::from_secs(3 + self.chance.below(60));
        let until = after(self.now, pause);
        while self
            .queue
            .peek()
            .is_some_and(|Reverse((at, _, _))| *at <= until)
        {
            let happening = self.take_next();
            // Nobody is there to hear it.
            if let Some(Happening::Lands(_) | Happening::Minted(..) | Happening::Revoked(_)) =
                &happening
            {
                happening.map_or(Ok(()), |happening| self.happen(happening))?;
            }
        }
        self.now = until;
        self.life += 1;
        self.report.lives += 1;
        self.effects_of_life = 0;
        self.wake = None;
        self.watch.on_new_life(&self.scene.plan);
        let plan = self.scene.plan.clone();
        let records = self.journal.clone();
        self.rollout = if records.is_empty() {
            Rollout::begin(plan, None, self.now).map_err(|error| error.to_string())?
        } else {
            Rollout::resume(plan, None, records, how, self.now)
                .map_err(|error| error.to_string())?
        };
        self.drain()
    }

    fn tell(&mut self, input: Input) -> Checked {
        match &input {
            Input::Ended {
                host,
                stage,
                attempt,
                ..
            } => self.heard(*host, *stage, false, *attempt),
            Input::Undone {
                host,
                stage,
                attempt,
                ..
            } => self.heard(*host, *stage, true, *attempt),
            Input::Pressure {
                pressure:
                    Pressure::TooManyRequests {
                        retry_after: Some(wait),
                    },
                ..
            } => self.watch.on_quiet(after(self.now, *wait)),
            _ => {}
        }
        self.report.inputs += 1;
        self.rollout.handle(input, self.now);
        self.drain()
    }

    fn heard(&mut self, host: HostIndex, stage: Stage, undo: bool, attempt: u32) {
        let deed = UnderWay {
            stage,
            undo,
            attempt,
        };
        if self.watch.waits_for(host, deed) {
            self.watch.on_end_of_deed(&self.scene.plan, host);
        }
    }

    fn drain(&mut self) -> Checked {
        while let Some(effect) = self.rollout.next_effect() {
            self.report.effects += 1;
            self.effects_of_life += 1;
            let crash = self.crash_of_this_life();
            if crash.is_some_and(|crash| crash.at_effect == Some(self.effects_of_life)) {
                self.crashed = crash;
                return Ok(());
            }
            self.carry_out(effect)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) -> Checked {
        match effect {
            Effect::Record(records) => {
                if self.rollout.has_ended() {
                    // The last words of a run that was stopped.
                    records
                        .into_iter()
                        .for_each(|record| self.make_durable(record));
                    return Ok(());
                }
                let at = self.soon(20);
                self.at(at, Happening::Written(self.life, records));
            }
            Effect::Start {
                host,
                stage,
                attempt,
                token,
                ..
            } => return self.start(host, stage, attempt, token),
            Effect::Undo {
                host,
                stage,
                attempt,
                ..
            } => return self.undo(host, stage, attempt),
            Effect::Abandon { host, .. } => self.abandon(host),
            Effect::Mint {
                expected,
                attempt,
                lifetime,
                ..
            } => return self.mint(expected, attempt, lifetime),
            Effect::Revoke { id, attempt, .. } => return self.revoke(id, attempt),
            Effect::WakeAt(at) => self.wake = Some(at),
            Effect::Tell(event) => return self.watch.on_event(&event),
            Effect::End(verdict) => {
                self.watch.on_end();
                self.stopped = verdict.ending == Ending::Stopped;
                self.report.verdict = verdict;
            }
        }
        Ok(())
    }
}
