//! What the failures of some hosts mean for the others, and in which order hosts start.
//!
//! Three questions that do not depend on each other: which hosts stay at the end, when no more are started, and how many
//! start together. It decides from counts alone.
//!
//! Whatever the policy, a host that failed is taken back at once: nothing half-joined stays.

use serde::{Deserialize, Serialize};

/// A number of hosts, or a share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    /// So many.
    Hosts(u32),
    /// So many of a hundred, rounded up; above 100 all.
    Percent(u8),
}

impl Share {
    /// The number of hosts out of `all`.
    #[must_use]
    pub fn of(self, all: u32) -> u32 {
        match self {
            Self::Hosts(hosts) => hosts,
            Self::Percent(percent) => {
                let share = (u64::from(all) * u64::from(percent.min(100))).div_ceil(100);
                u32::try_from(share).unwrap_or(all)
            }
        }
    }
}

/// Which of the hosts that joined stay when others failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// All hosts join, or every attempted one is taken back.
    #[default]
    AllOrNothing,
    /// Those that joined stay.
    Successes,
    /// Those that joined stay if they are at least so many; otherwise every attempted one is taken back.
    AtLeast(Share),
}

/// How many hosts start together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waves {
    /// The sizes in turn, such as one host, ten of a hundred, all. The last one repeats.
    pub sizes: Vec<Share>,
    /// How many hosts of a wave may fail before no further wave starts.
    #[serde(default)]
    pub tolerated: u32,
}

/// When control-plane hosts start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlPlane {
    /// Before all workers, and workers start only if all of them are ready.
    #[default]
    Before,
    /// Beside the workers. One after another in any case.
    Beside,
}

/// What the failures of some hosts mean for the others, and in which order hosts start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Policy {
    /// Which hosts stay.
    pub keep: Keep,
    /// No host starts after so many have failed. `None`: one failure does not stop the others.
    pub stop_after: Option<u32>,
    /// How many start together; `None` for one wave with all.
    pub waves: Option<Waves>,
    /// When control-plane hosts start.
    pub control_plane: ControlPlane,
}

impl Policy {
    /// Whether `joined` of `all` hosts stay, when the way forward is over.
    #[must_use]
    pub fn keeps(&self, joined: u32, all: u32) -> bool {
        match self.keep {
            Keep::AllOrNothing => joined == all,
            Keep::Successes => true,
            Keep::AtLeast(share) => joined >= share.of(all).min(all),
        }
    }

    /// Whether a host that joined stays, whatever becomes of the others.
    #[must_use]
    pub fn keeps_each(&self) -> bool {
        self.keep == Keep::Successes
    }

    /// Whether so many failures end the starting.
    #[must_use]
    pub fn stops_after(&self, failed: u32) -> bool {
        self.stop_after.is_some_and(|most| failed >= most.max(1))
    }

    /// The size of the wave with that number (from 0), of `all` hosts; at least one.
    #[must_use]
    pub fn wave_size(&self, number: usize, all: u32) -> u32 {
        let Some(sizes) = self.waves.as_ref().map(|waves| &waves.sizes) else {
            return all.max(1);
        };
        let size = sizes.get(number).or_else(|| sizes.last());
        size.map_or(all, |share| share.of(all)).max(1)
    }

    /// Whether the wave after one with so many failures may start.
    #[must_use]
    pub fn goes_on_after_wave(&self, failed: u32) -> bool {
        self.waves
            .as_ref()
            .is_none_or(|waves| failed <= waves.tolerated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(keep: Keep) -> Policy {
        Policy {
            keep,
            ..Policy::default()
        }
    }

    #[test]
    fn what_stays_is_decided_by_how_many_joined() {
        assert!(keep(Keep::AllOrNothing).keeps(3, 3));
        assert!(!keep(Keep::AllOrNothing).keeps(2, 3));
        assert!(keep(Keep::Successes).keeps(0, 3));
        let two = keep(Keep::AtLeast(Share::Hosts(2)));
        assert!(two.keeps(2, 3) && !two.keeps(1, 3));
        let most = keep(Keep::AtLeast(Share::Percent(90)));
        assert!(most.keeps(9, 10) && !most.keeps(8, 10));
        assert!(!most.keeps(9, 11), "a share is rounded up");
        assert!(
            keep(Keep::AtLeast(Share::Hosts(9))).keeps(3, 3),
            "all is enough"
        );
    }

    #[test]
    fn the_last_wave_repeats() {
        let policy = Policy {
            waves: Some(Waves {
                sizes: vec![Share::Hosts(1), Share::Percent(10)],
                tolerated: 0,
            }),
            ..Policy::default()
        };
        let sizes = [0, 1, 2, 7].map(|number| policy.wave_size(number, 50));
        assert_eq!(sizes, [1, 5, 5, 5]);
        assert!(policy.goes_on_after_wave(0) && !policy.goes_on_after_wave(1));
        assert_eq!(Policy::default().wave_size(0, 50), 50);
    }

    #[test]
    fn starting_stops_only_when_that_was_asked_for() {
        assert!(!Policy::default().stops_after(1000));
        let policy = Policy {
            stop_after: Some(2),
            ..Policy::default()
        };
        assert!(!policy.stops_after(1) && policy.stops_after(2));
    }
}
