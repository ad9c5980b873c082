//! Spreads pauses, so that what failed together is not tried again together.
//!
//! It draws no random numbers: the spread follows from the key, so it differs between keys and not between runs.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// `pause`, longer by up to a quarter.
pub(crate) fn spread(pause: Duration, key: &(impl Hash + ?Sized)) -> Duration {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    pause.hash(&mut hasher);
    let part = u32::try_from(hasher.finish() % 256).unwrap_or_default();
    pause + pause / 4 * part / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_of_many_keys_are_spread_over_a_quarter() {
        let pause = Duration::from_secs(8);
        let all: Vec<_> = (0..100).map(|key: u32| spread(pause, &key)).collect();
        assert!(
            all.iter()
                .all(|one| (pause..pause + pause / 4).contains(one))
        );
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert!(distinct.len() > 50);
    }
}
