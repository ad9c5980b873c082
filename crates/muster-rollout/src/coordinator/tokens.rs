//! The tokens of a run: minted when one is needed, changed before they are too old, revoked when nobody uses them.
//!
//! A token is on record under its id before it exists, and goes by the saga's table like a stage: minting is the deed,
//! revoking the undo, and one whose minting was attempted is revoked whatever came of it. Only ids are known here.

mod mint;

use jiff::Timestamp;
use muster_identity::TokenId;
use muster_saga::{Event, Status, next};

use crate::{GivenToken, HostIndex, RolloutPlan, StageFailure, chance};

/// What a token is being put through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    None,
    Minting,
    Revoking,
}

/// One token of the run.
#[derive(Clone, Debug)]
pub(super) struct Token {
    id: TokenId,
    status: Status,
    attempts: u32,
    epoch: u32,
    work: Work,
    /// When the present work was first begun.
    since: Timestamp,
    /// Whether an attempt is under way and may be answered.
    asked: bool,
    /// Until when a join may begin with it.
    until: Timestamp,
    users: u32,
    /// Why revoking was given up.
    stuck: Option<StageFailure>,
}

/// All tokens of the run.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    given: Option<(GivenToken, Timestamp)>,
    tokens: Vec<Token>,
    current: Option<u32>,
    minting: Option<u32>,
    waiting: Vec<(HostIndex, u32)>,
    /// Why there will be no token any more.
    failure: Option<StageFailure>,
}

const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Told apart from hosts when chance is asked.
const TOKEN: u64 = 1 << 40;

/// The id of a run's token with that serial number.
fn id_of(seed: u64, serial: u32) -> TokenId {
    let mut chance = chance::Chance::new(chance::draw(seed, &[TOKEN, u64::from(serial)]));
    let mut letter = || {
        let at = usize::try_from(chance.below(36)).unwrap_or(0);
        char::from(ALPHABET[at])
    };
    let text: String = (0..6).map(|_| letter()).collect();
    TokenId::parse(&text).expect("six characters of the alphabet of ids")
}

impl Tokens {
    pub(super) fn new(plan: &RolloutPlan, given: Option<GivenToken>) -> Self {
        let join = plan.timeouts.join.attempt;
        let fit = |token: GivenToken| {
            let until = plan.tokens.given_until(&token, join);
            (token, until)
        };
        Self {
            given: given.map(fit),
            tokens: Vec::new(),
            current: None,
            minting: None,
            waiting: Vec::new(),
            failure: None,
        }
    }

    /// A token that records tell of.
    pub(super) fn recall(
        &mut self,
        serial: u32,
        id: &TokenId,
        event: Event,
        now: Timestamp,
    ) -> bool {
        let at = serial as usize;
        if at == self.tokens.len() {
            self.tokens.push(Token::new(id.clone(), now));
        }
        let Some(token) = self.tokens.get_mut(at) else {
            return false;
        };
        let Ok(status) = next(token.status, event) else {
            return false;
        };
        token.status = status;
        token.id = id.clone();
        true
    }

    pub(super) fn epoch(&self, serial: u32) -> Option<u32> {
        self.tokens.get(serial as usize).map(|token| token.epoch)
    }

    /// The ids of tokens that may be alive.
    pub(super) fn alive(&self) -> impl Iterator<Item = &TokenId> {
        let alive = self.tokens.iter().filter(|token| token.is_alive());
        alive.map(|token| &token.id)
    }

    /// Those whose revoking was given up.
    pub(super) fn stuck(&self) -> impl Iterator<Item = (&TokenId, &StageFailure)> {
        let given_up = |token: &'_ Token| token.stuck.is_some();
        let tokens = self.tokens.iter().filter(move |token| given_up(token));
        tokens.filter_map(|token| Some((&token.id, token.stuck.as_ref()?)))
    }

    /// Whether nothing is under way.
    pub(super) fn are_at_rest(&self) -> bool {
        self.tokens.iter().all(|token| token.work == Work::None)
    }

    /// Whether some may be alive that nobody has given up revoking.
    pub(super) fn are_left(&self) -> bool {
        self.tokens
            .iter()
            .any(|token| token.is_alive() && token.stuck.is_none())
    }

    pub(super) fn line_up(&mut self, host: HostIndex, epoch: u32) {
        self.waiting.push((host, epoch));
    }

    /// A token that the cluster refused is not used again.
    pub(super) fn condemn(&mut self, serial: Option<u32>) {
        match serial {
            None => self.given = None,
            Some(serial) if self.current == Some(serial) => self.current = None,
            Some(_) => {}
        }
    }

    /// Whether a join may begin now without another token being minted.
    pub(super) fn is_fit(&self, now: Timestamp) -> bool {
        self.given.as_ref().is_some_and(|(_, until)| now <= *until)
            || self.fit_current(now).is_some()
    }

    fn fit_current(&self, now: Timestamp) -> Option<u32> {
        self.current
            .filter(|serial| now <= self.tokens[*serial as usize].until)
    }

    fn find(&self, id: &TokenId, work: Work) -> Option<u32> {
        let wanted = |token: &Token| token.id == *id && token.work == work;
        self.tokens
            .iter()
            .rposition(wanted)
            .and_then(|at| u32::try_from(at).ok())
    }
}

impl Token {
    fn new(id: TokenId, now: Timestamp) -> Self {
        Self {
            id,
            status: Status::Pending,
            attempts: 0,
            epoch: 0,
            work: Work::None,
            since: now,
            asked: false,
            until: now,
            users: 0,
            stuck: None,
        }
    }

    fn is_alive(&self) -> bool {
        self.status.may_have_traces() || self.status == Status::UndoFailed
    }

    fn turn(&mut self, work: Work) {
        self.work = work;
        self.asked = false;
        self.epoch = self.epoch.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_run_are_its_own_and_can_be_found_again() {
        let ids: Vec<TokenId> = (0..50).map(|serial| id_of(7, serial)).collect();
        let mut different = ids.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), 50);
        assert_eq!(id_of(7, 3), ids[3]);
        assert_ne!(id_of(8, 3), ids[3]);
    }
}
