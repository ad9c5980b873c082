//! How deeds of hosts, and what is done about tokens, come out in the simulated world, and when the coordinator hears.
//!
//! The weather decides their fate; the world changes when they land. It refuses to know who asked, or why.

use std::time::Duration;

use jiff::Timestamp;
use muster_identity::TokenId;

use super::{Happening, Play};
use crate::{
    Grant, HostIndex, Input, LimitKey, Pressure, Receipt, Stage, StageFailure,
    retry::after,
    simulation::{
        watch::{Checked, UnderWay},
        weather::{Fate, Nature},
        world::Landing,
    },
};

impl Play<'_> {
    /// A moment, of up to so many milliseconds.
    pub(super) fn soon(&mut self, most: u64) -> Timestamp {
        let wait = 1 + self.chance.below(most);
        after(self.now, Duration::from_millis(wait))
    }

    fn answer(&mut self, at: Timestamp, input: Input) {
        self.at(at, Happening::Heard(self.life, Box::new(input)));
    }

    pub(super) fn start(
        &mut self,
        host: HostIndex,
        stage: Stage,
        attempt: u32,
        token: Option<TokenId>,
    ) -> Checked {
        self.report.deeds += 1;
        let deed = UnderWay {
            stage,
            undo: false,
            attempt,
        };
        self.watch.on_deed(&self.scene.plan, host, deed)?;
        if let Some(id) = &token {
            self.check_age(id)?;
        }
        let at = self.soon(usual(stage));
        if stage == Stage::Ready {
            return self.watch_node(host, attempt, at);
        }
        if let Some(failure) = self.objection(host, stage, token.as_ref()) {
            self.end(at, host, stage, attempt, Err(failure));
            return Ok(());
        }
        let state = &self.world.hosts[host.as_usize()];
        let (nature, far) = (state.nature, state.far);
        let fate = self
            .weather
            .fate(&mut self.chance, (stage, nature), far, self.now);
        let slow = self.weather.is_slow(&mut self.chance);
        let at = if slow {
            after(at, Duration::from_secs(20))
        } else {
            at
        };
        if stage == Stage::Join && !matches!(fate, Fate::Refused(_)) {
            let latency = Duration::from_millis(if slow { 3000 } else { 30 });
            self.press(Pressure::Fine { latency });
        }
        self.befall(fate, at, host, deed);
        Ok(())
    }

    /// A token may be gone because somebody deleted it, never because it was too old.
    fn check_age(&self, id: &TokenId) -> Checked {
        match self.world.tokens.get(id) {
            Some(expires) if *expires <= self.now => Err(format!("{id} has expired and is used")),
            _ => Ok(()),
        }
    }

    /// Why a deed does not even begin.
    fn objection(
        &self,
        host: HostIndex,
        stage: Stage,
        token: Option<&TokenId>,
    ) -> Option<StageFailure> {
        let state = &self.world.hosts[host.as_usize()];
        if state.busy_until > self.now {
            return Some(busy());
        }
        if stage == Stage::Join {
            let lives = token.is_some_and(|id| self.world.token_lives(id, self.now));
            if !lives {
                return Some(StageFailure {
                    token_refused: true,
                    ..StageFailure::terminal("token-refused", "the token is unknown or has expired")
                });
            }
        }
        None
    }

    fn watch_node(&mut self, host: HostIndex, attempt: u32, at: Timestamp) -> Checked {
        let state = &self.world.hosts[host.as_usize()];
        if !state.is_joined() {
            return Err(format!(
                "{host:?} is waited for and has not joined: {state:?}"
            ));
        }
        if state.nature != Nature::NeverReady {
            self.end(at, host, Stage::Ready, attempt, Ok(Receipt::Null));
        }
        Ok(())
    }

    pub(super) fn undo(&mut self, host: HostIndex, stage: Stage, attempt: u32) -> Checked {
        let deed = UnderWay {
            stage,
            undo: true,
            attempt,
        };
        self.watch.on_deed(&self.scene.plan, host, deed)?;
        let at = self.soon(usual(stage));
        let state = &self.world.hosts[host.as_usize()];
        if state.busy_until > self.now {
            self.end_undo(at, host, stage, attempt, Err(busy()));
            return Ok(());
        }
        let far = state.far;
        let fate = self.weather.undo_fate(&mut self.chance, far, self.now);
        self.befall(fate, at, host, deed);
        Ok(())
    }

    /// What its fate makes of a deed or undo.
    fn befall(&mut self, fate: Fate, at: Timestamp, host: HostIndex, deed: UnderWay) {
        let UnderWay { stage, undo, .. } = deed;
        let result = match fate {
            Fate::Done => {
                self.work_until(at, host, deed);
                Some(Ok(()))
            }
            Fate::DoneUnheard => {
                self.work_until(at, host, deed);
                None
            }
            Fate::Hung(time) => {
                self.work_until(after(at, time), host, deed);
                None
            }
            Fate::Transient { halfway } | Fate::Terminal { halfway } => {
                if halfway && !undo {
                    self.world.leave_halfway(host, stage);
                }
                Some(Err(match fate {
                    Fate::Terminal { .. } => StageFailure::terminal("broken", "it is broken"),
                    _ => StageFailure::transient("unreachable", "it cannot be reached"),
                }))
            }
            Fate::Refused(wait) => {
                self.press(Pressure::TooManyRequests {
                    retry_after: Some(wait),
                });
                Some(Err(refused(wait)))
            }
        };
        match result {
            None => {}
            Some(result) if undo => self.end_undo(at, host, stage, deed.attempt, result),
            Some(result) => {
                let result = result.map(|()| Receipt::Null);
                self.end(at, host, stage, deed.attempt, result);
            }
        }
    }

    /// The host is at it until then, whoever waits.
    fn work_until(&mut self, at: Timestamp, host: HostIndex, deed: UnderWay) {
        self.work += 1;
        let state = self.world.host(host);
        state.work = self.work;
        state.busy_until = at;
        if !deed.undo {
            self.world.begin(host, deed.stage);
        }
        let landing = Landing {
            host,
            stage: deed.stage,
            undo: deed.undo,
            work: self.work,
        };
        self.at(at, Happening::Lands(landing));
    }

    /// Some of what is given up can be ended; the rest goes on unheard.
    pub(super) fn abandon(&mut self, host: HostIndex) {
        self.watch.on_end_of_deed(&self.scene.plan, host);
        if self.chance.below(2) == 0 {
            let now = self.now;
            let state = self.world.host(host);
            state.work = 0;
            state.busy_until = state.busy_until.min(now);
        }
    }

    fn end(
        &mut self,
        at: Timestamp,
        host: HostIndex,
        stage: Stage,
        attempt: u32,
        result: Result<Receipt, StageFailure>,
    ) {
        let input = Input::Ended {
            host,
            stage,
            attempt,
            result,
        };
        self.answer(at, input);
    }

    fn end_undo(
        &mut self,
        at: Timestamp,
        host: HostIndex,
        stage: Stage,
        attempt: u32,
        result: Result<(), StageFailure>,
    ) {
        let input = Input::Undone {
            host,
            stage,
            attempt,
            result,
        };
        self.answer(at, input);
    }

    fn press(&mut self, pressure: Pressure) {
        let limit = LimitKey::API_SERVER;
        self.answer(self.now, Input::Pressure { limit, pressure });
    }

    pub(super) fn mint(&mut self, expected: TokenId, attempt: u32, lifetime: Duration) -> Checked {
        self.watch.on_mint(&expected)?;
        let at = self.soon(1000);
        let result = match self.token_fate() {
            Ok(heard) => {
                let expires = after(at, lifetime);
                self.report.tokens += 1;
                let known = self.world.tokens.get(&expected).copied();
                let expires = known.unwrap_or(expires);
                self.at(at, Happening::Minted(expected.clone(), expires));
                let id = expected.clone();
                heard.then_some(Ok(Grant { id, expires }))
            }
            Err(failure) => Some(Err(failure)),
        };
        if let Some(result) = result {
            // An answer may take longer than the deed itself, even longer than anybody waits.
            let late = if self.chance.below(20) == 0 {
                40_000
            } else {
                100
            };
            let wait = Duration::from_millis(self.chance.below(late));
            let input = Input::Minted {
                expected,
                attempt,
                result,
            };
            self.answer(after(at, wait), input);
        }
        Ok(())
    }

    pub(super) fn revoke(&mut self, id: TokenId, attempt: u32) -> Checked {
        self.watch.on_revoke(&id)?;
        let at = self.soon(1000);
        let result = match self.token_fate() {
            Ok(heard) => {
                self.at(at, Happening::Revoked(id.clone()));
                heard.then_some(Ok(()))
            }
            Err(failure) => Some(Err(failure)),
        };
        if let Some(result) = result {
            let input = Input::Revoked {
                id,
                attempt,
                result,
            };
            self.answer(at, input);
        }
        Ok(())
    }

    /// Whether what is asked about a token is done, and heard of.
    fn token_fate(&mut self) -> Result<bool, StageFailure> {
        match self.weather.token_fate(&mut self.chance, self.now) {
            Fate::Done => Ok(true),
            Fate::DoneUnheard | Fate::Hung(_) => Ok(false),
            Fate::Transient { .. } => Err(StageFailure::transient("unavailable", "not now")),
            Fate::Terminal { .. } => Err(StageFailure::terminal("forbidden", "not allowed")),
            Fate::Refused(wait) => Err(refused(wait)),
        }
    }
}

/// How long a stage takes at most when nothing is the matter, in milliseconds.
fn usual(stage: Stage) -> u64 {
    match stage {
        Stage::Provision => 60_000,
        Stage::Lock => 50,
        Stage::Prepare => 5_000,
        Stage::Join => 10_000,
        Stage::Ready => 30_000,
    }
}

fn busy() -> StageFailure {
    StageFailure::transient("busy", "something that was given up is still under way")
}

fn refused(wait: Duration) -> StageFailure {
    StageFailure {
        retry_after: Some(wait),
        ..StageFailure::transient("too-many-requests", "the API server asks to be left alone")
    }
}
