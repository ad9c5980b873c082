//! Minting and revoking as the run does them: asked for, answered, tried again, given up.
//!
//! Every change of a token goes through `note_token`, by the saga's table and onto the record.

use jiff::Timestamp;
use muster_identity::TokenId;
use muster_saga::{Event, Status, next};

use super::{TOKEN, Token, Work, id_of};
use crate::{
    Effect, EventKind, Grant, HostIndex, Record, StageFailure, chance,
    coordinator::{Held, Rollout, course::Course, timers::Timer},
    retry::after,
};

impl Rollout {
    /// A token for a join of the host: its id, or nothing yet, or never.
    pub(in crate::coordinator) fn token_for(
        &mut self,
        host: HostIndex,
    ) -> Result<Option<TokenId>, StageFailure> {
        if let Some((given, until)) = &self.tokens.given
            && self.now <= *until
        {
            return Ok(Some(given.id.clone()));
        }
        if let Some(serial) = self.tokens.fit_current(self.now) {
            let token = &mut self.tokens.tokens[serial as usize];
            token.users += 1;
            self.hosts[host.as_usize()].token = Some(serial);
            return Ok(Some(token.id.clone()));
        }
        if let Some(failure) = &self.tokens.failure {
            return Err(failure.clone());
        }
        self.mint();
        Ok(None)
    }

    /// The host's attempt with its token is over.
    pub(in crate::coordinator) fn put_token_back(&mut self, host: HostIndex) {
        let Some(serial) = self.hosts[host.as_usize()].token.take() else {
            return;
        };
        let token = &mut self.tokens.tokens[serial as usize];
        token.users -= 1;
        if token.users == 0 && self.tokens.current != Some(serial) {
            self.revoke(serial);
        }
    }

    /// Begins another token, unless one is on its way.
    pub(in crate::coordinator) fn mint(&mut self) {
        if self.tokens.minting.is_some() {
            return;
        }
        let serial = u32::try_from(self.tokens.tokens.len()).unwrap_or(u32::MAX);
        let id = id_of(self.plan.seed, serial);
        self.tokens.tokens.push(Token::new(id, self.now));
        self.tokens.minting = Some(serial);
        self.ask_for(serial, Work::Minting);
    }

    fn revoke(&mut self, serial: u32) {
        let token = &mut self.tokens.tokens[serial as usize];
        if !token.is_alive() || token.work != Work::None || token.stuck.is_some() {
            return;
        }
        token.since = self.now;
        token.attempts = 0;
        self.ask_for(serial, Work::Revoking);
    }

    /// Revokes all that nobody uses.
    pub(in crate::coordinator) fn revoke_all(&mut self) {
        self.tokens.current = None;
        for serial in (0u32..).take(self.tokens.tokens.len()) {
            if self.tokens.tokens[serial as usize].users == 0 {
                self.revoke(serial);
            }
        }
    }

    /// Records that a token is to be minted or revoked, and lets that happen.
    fn ask_for(&mut self, serial: u32, work: Work) {
        let time = self.plan.timeouts.token;
        let token = &mut self.tokens.tokens[serial as usize];
        token.turn(work);
        token.attempts += 1;
        let epoch = token.epoch;
        // Never less than a whole attempt, also when the stage ends sooner: what is given up must not be in the air any more
        // when the token is revoked.
        let deadline = after(self.now, time.attempt);
        self.timers.set(deadline, Timer::Token(serial, epoch));
        if work == Work::Minting {
            self.note_token(serial, Event::Intent, None);
            self.ledger.hold(Held::Mint {
                serial,
                epoch,
                deadline,
            });
        } else {
            self.note_token(serial, Event::UndoIntent, None);
            self.ledger.hold(Held::Revoke {
                serial,
                epoch,
                deadline,
            });
        }
    }

    fn note_token(&mut self, serial: u32, event: Event, expires: Option<Timestamp>) {
        let token = &mut self.tokens.tokens[serial as usize];
        let Ok(status) = next(token.status, event) else {
            debug_assert!(false, "token {serial} cannot take {event:?}");
            return;
        };
        token.status = status;
        self.ledger.record(Record::Token {
            serial,
            id: token.id.clone(),
            event,
            expires,
            at: self.now,
        });
    }

    pub(in crate::coordinator) fn release_mint(
        &mut self,
        serial: u32,
        epoch: u32,
        deadline: Timestamp,
    ) {
        let token = &mut self.tokens.tokens[serial as usize];
        if token.epoch == epoch {
            token.asked = true;
            self.effects.push_back(Effect::Mint {
                expected: token.id.clone(),
                attempt: token.attempts,
                lifetime: self.plan.tokens.lifetime,
                deadline,
            });
        }
    }

    pub(in crate::coordinator) fn release_revoke(
        &mut self,
        serial: u32,
        epoch: u32,
        deadline: Timestamp,
    ) {
        let token = &mut self.tokens.tokens[serial as usize];
        if token.epoch == epoch {
            token.asked = true;
            self.effects.push_back(Effect::Revoke {
                id: token.id.clone(),
                attempt: token.attempts,
                deadline,
            });
        }
    }

    pub(in crate::coordinator) fn on_minted(
        &mut self,
        expected: &TokenId,
        attempt: u32,
        result: Result<Grant, StageFailure>,
    ) {
        let Some(serial) = self.tokens.find(expected, Work::Minting) else {
            return;
        };
        let token = &self.tokens.tokens[serial as usize];
        // Also a late success means nothing: the attempt that is in the air makes the token (again), and only after its
        // answer can nothing make it any more.
        if !token.asked || token.attempts != attempt {
            return;
        }
        match result {
            Ok(grant) => self.on_granted(serial, grant),
            Err(failure) => self.on_mint_failed(serial, failure),
        }
    }

    fn on_granted(&mut self, serial: u32, grant: Grant) {
        let join = self.plan.timeouts.join.attempt;
        let now = self.now;
        let until = self.plan.tokens.minted_until(now, grant.expires, join);
        let token = &mut self.tokens.tokens[serial as usize];
        token.id = grant.id.clone();
        token.until = until;
        token.turn(Work::None);
        self.tokens.minting = None;
        self.note_token(serial, Event::Done, Some(grant.expires));
        self.ledger.hold(Held::Tell(EventKind::TokenMinted {
            id: grant.id,
            expires: grant.expires,
        }));
        if grant.expires <= now {
            self.revoke(serial);
            return self.on_no_token(StageFailure::stillborn());
        }
        self.ledger.hold(Held::Usable { serial });
    }

    /// A new token is on record: joins begin with it, and the one before goes when its last user is done.
    pub(in crate::coordinator) fn on_usable(&mut self, serial: u32) {
        let before = self.tokens.current.replace(serial);
        if let Some(before) = before
            && self.tokens.tokens[before as usize].users == 0
        {
            self.revoke(before);
        }
        self.on_token_known();
    }

    fn on_token_known(&mut self) {
        if self.course == Course::Minting {
            self.course = Course::Forward;
        }
        for (host, epoch) in std::mem::take(&mut self.tokens.waiting) {
            self.on_token_news(host, epoch);
        }
    }

    fn on_mint_failed(&mut self, serial: u32, failure: StageFailure) {
        self.note_token(serial, Event::Failed, None);
        match self.next_token_attempt(serial, &failure) {
            Some(at) => self.wait_for_token(serial, at),
            None => {
                self.tokens.tokens[serial as usize].turn(Work::None);
                self.tokens.minting = None;
                self.revoke(serial);
                self.on_no_token(failure);
            }
        }
    }

    /// There will be no token: whoever waits for one fails, and nobody starts any more.
    fn on_no_token(&mut self, failure: StageFailure) {
        self.tell(EventKind::TokenMintFailed {
            failure: failure.clone(),
        });
        self.tokens.failure = Some(failure.clone());
        self.stop_starting(failure);
        self.on_token_known();
    }

    fn next_token_attempt(&self, serial: u32, failure: &StageFailure) -> Option<Timestamp> {
        let token = &self.tokens.tokens[serial as usize];
        if self.interrupted && token.work == Work::Minting {
            return None;
        }
        let question = [TOKEN, u64::from(serial), u64::from(token.epoch)];
        let lot = chance::draw(self.plan.seed, &question);
        let patience = after(token.since, self.plan.timeouts.token.stage);
        self.plan
            .backoff
            .next(token.attempts, failure, patience, self.now, lot)
    }

    fn wait_for_token(&mut self, serial: u32, at: Timestamp) {
        let token = &mut self.tokens.tokens[serial as usize];
        let work = token.work;
        token.turn(work);
        let epoch = token.epoch;
        self.timers.set(at, Timer::Token(serial, epoch));
    }

    pub(in crate::coordinator) fn on_revoked(
        &mut self,
        id: &TokenId,
        attempt: u32,
        result: Result<(), StageFailure>,
    ) {
        let Some(serial) = self.tokens.find(id, Work::Revoking) else {
            return;
        };
        let token = &mut self.tokens.tokens[serial as usize];
        if !token.asked || token.attempts != attempt {
            return;
        }
        match result {
            Err(failure) => self.on_revoke_failed(serial, failure),
            Ok(()) => {
                token.turn(Work::None);
                self.note_token(serial, Event::Undone, None);
                let id = id.clone();
                self.ledger.hold(Held::Tell(EventKind::TokenRevoked { id }));
            }
        }
    }

    fn on_revoke_failed(&mut self, serial: u32, failure: StageFailure) {
        self.note_token(serial, Event::UndoFailed, None);
        if let Some(at) = self.next_token_attempt(serial, &failure) {
            return self.wait_for_token(serial, at);
        }
        let token = &mut self.tokens.tokens[serial as usize];
        token.turn(Work::None);
        token.stuck = Some(failure.clone());
        let id = token.id.clone();
        self.ledger
            .hold(Held::Tell(EventKind::TokenRevokeFailed { id, failure }));
    }

    /// An attempt had no answer in time, or the wait before another one is over.
    pub(in crate::coordinator) fn on_token_timer(&mut self, serial: u32) {
        let token = &self.tokens.tokens[serial as usize];
        let (work, status) = (token.work, token.status);
        let failure = || {
            let what = format!("token {}", token.id);
            StageFailure::attempt_timed_out(&what, self.plan.timeouts.token.attempt)
        };
        match (work, status) {
            (Work::Minting, Status::Doing) => {
                let failure = failure();
                self.on_mint_failed(serial, failure);
            }
            (Work::Revoking, Status::Undoing) => {
                let failure = failure();
                self.on_revoke_failed(serial, failure);
            }
            (Work::None, _) => {}
            (work, _) => self.ask_for(serial, work),
        }
    }
}
