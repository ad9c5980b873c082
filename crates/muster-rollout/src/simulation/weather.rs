//! What goes wrong, how often, and for how long.
//!
//! Shares are in a thousand. It decides the fate of one deed at a time and refuses to know what the deed is for.

use std::time::Duration;

use jiff::Timestamp;

use crate::{Stage, chance::Chance, retry::after};

/// How often what goes wrong.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// Deeds that fail and may succeed next time.
    pub transient: u64,
    /// Deeds that fail for good.
    pub terminal: u64,
    /// Deeds whose answer is lost.
    pub lost: u64,
    /// Deeds that hang for up to half an hour.
    pub hung: u64,
    /// Hosts that have something the matter with them for good.
    pub bad_hosts: u64,
    /// Undos that fail for good.
    pub undo_terminal: u64,
    /// Mints and revocations that fail for good.
    pub token_terminal: u64,
    /// Answers that are slow.
    pub slow: u64,
    /// When the API server wants to be left alone.
    pub storms: Vec<Span>,
    /// When half of the hosts cannot be reached.
    pub partitions: Vec<Span>,
}

/// Some time of the run.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// From here.
    pub from: Timestamp,
    /// To here.
    pub to: Timestamp,
}

/// What is the matter with a host, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    Good,
    /// Never answers a connection.
    Unreachable,
    /// Refuses the credential.
    Stranger,
    /// Cannot join.
    Unfit,
    /// Joins and is never ready.
    NeverReady,
    /// Hangs in its join.
    Hangs,
}

/// What becomes of one deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    /// Done, and nobody hears of it.
    DoneUnheard,
    /// Failed before or after something was changed.
    Transient {
        halfway: bool,
    },
    Terminal {
        halfway: bool,
    },
    /// Under way for so long; then done, and nobody hears of it.
    Hung(Duration),
    /// The API server asked to be left alone for so long.
    Refused(Duration),
}

const START: Timestamp = Timestamp::UNIX_EPOCH;

impl Weather {
    /// Nothing goes wrong.
    #[must_use]
    pub fn fair() -> Self {
        Self::default()
    }

    /// A little of everything, as in a large fleet.
    #[must_use]
    pub fn drizzle() -> Self {
        let minutes = |from: u64, to: u64| Span {
            from: after(START, Duration::from_secs(from * 60)),
            to: after(START, Duration::from_secs(to * 60)),
        };
        Self {
            transient: 20,
            terminal: 1,
            lost: 2,
            hung: 1,
            bad_hosts: 5,
            slow: 1,
            storms: vec![minutes(5, 6), minutes(30, 32)],
            partitions: vec![minutes(10, 13)],
            ..Self::default()
        }
    }

    /// Anything from fair to terrible.
    pub(crate) fn random(chance: &mut Chance) -> Self {
        let mut share = |most: u64| match chance.below(2) {
            0 => 0,
            _ => chance.below(most),
        };
        let (transient, terminal, lost, hung) = (share(300), share(40), share(60), share(40));
        let (bad_hosts, undo_terminal, token_terminal) = (share(150), share(30), share(60));
        let slow = share(300);
        let spans = |chance: &mut Chance| {
            let number = chance.below(3);
            (0..number).map(|_| Span::random(chance)).collect()
        };
        Self {
            transient,
            terminal,
            lost,
            hung,
            bad_hosts,
            undo_terminal,
            token_terminal,
            slow,
            storms: spans(chance),
            partitions: spans(chance),
        }
    }

    pub(super) fn nature(&self, chance: &mut Chance) -> Nature {
        if chance.below(1000) >= self.bad_hosts {
            return Nature::Good;
        }
        match chance.below(5) {
            0 => Nature::Unreachable,
            1 => Nature::Stranger,
            2 => Nature::Unfit,
            3 => Nature::NeverReady,
            _ => Nature::Hangs,
        }
    }

    /// What becomes of a stage of a host, other than waiting for its Node.
    pub(super) fn fate(
        &self,
        chance: &mut Chance,
        (stage, nature): (Stage, Nature),
        cut_off: bool,
        now: Timestamp,
    ) -> Fate {
        if cut_off && self.is_partitioned(now) {
            return Fate::Transient { halfway: false };
        }
        match (stage, nature) {
            (Stage::Prepare, Nature::Unreachable) => return Fate::Transient { halfway: false },
            (Stage::Prepare, Nature::Stranger) => return Fate::Terminal { halfway: false },
            (Stage::Join, Nature::Unfit) => return Fate::Terminal { halfway: true },
            (Stage::Join, Nature::Hangs) => return Fate::Hung(Duration::from_secs(1200)),
            _ => {}
        }
        if stage == Stage::Join
            && let Some(storm) = self.storm(now)
        {
            return Fate::Refused(storm);
        }
        self.any_fate(chance, self.terminal)
    }

    /// What becomes of an undo.
    pub(super) fn undo_fate(&self, chance: &mut Chance, cut_off: bool, now: Timestamp) -> Fate {
        if cut_off && self.is_partitioned(now) {
            return Fate::Transient { halfway: false };
        }
        self.any_fate(chance, self.undo_terminal)
    }

    /// What becomes of minting or revoking.
    pub(super) fn token_fate(&self, chance: &mut Chance, now: Timestamp) -> Fate {
        if let Some(storm) = self.storm(now) {
            return Fate::Refused(storm);
        }
        match self.any_fate(chance, self.token_terminal) {
            // The server ends what takes too long.
            Fate::Hung(_) => Fate::DoneUnheard,
            fate => fate,
        }
    }

    fn any_fate(&self, chance: &mut Chance, terminal: u64) -> Fate {
        let halfway = chance.below(2) == 0;
        let mut lot = chance.below(1000);
        let mut falls = |share: u64| {
            let hit = lot < share;
            lot = if hit { u64::MAX } else { lot - share };
            hit
        };
        if falls(self.transient) {
            Fate::Transient { halfway }
        } else if falls(terminal) {
            Fate::Terminal { halfway }
        } else if falls(self.lost) {
            Fate::DoneUnheard
        } else if falls(self.hung) {
            Fate::Hung(Duration::from_secs(chance.below(1800)))
        } else {
            Fate::Done
        }
    }

    pub(super) fn is_slow(&self, chance: &mut Chance) -> bool {
        chance.below(1000) < self.slow
    }

    fn is_partitioned(&self, now: Timestamp) -> bool {
        self.partitions.iter().any(|span| span.holds(now))
    }

    /// How long the API server asks to be left alone, if it does.
    fn storm(&self, now: Timestamp) -> Option<Duration> {
        let storm = self.storms.iter().find(|span| span.holds(now))?;
        let left = storm.to.duration_since(now).as_secs();
        Some(Duration::from_secs(
            u64::try_from(left).unwrap_or(0).clamp(1, 10),
        ))
    }
}

impl Span {
    fn random(chance: &mut Chance) -> Self {
        let from = after(START, Duration::from_secs(chance.below(600)));
        let to = after(from, Duration::from_secs(chance.below(400)));
        Self { from, to }
    }

    fn holds(self, now: Timestamp) -> bool {
        self.from <= now && now < self.to
    }
}
