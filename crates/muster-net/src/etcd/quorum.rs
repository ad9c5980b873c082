//! Whether a member may leave its cluster: never when those who stay could not agree on anything any more.
//!
//! The one place where that is judged, from what was seen of the members; it asks nobody.

use super::MemberHealth;

/// What is to be done with a member that is to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can be removed.
    Remove {
        /// Its id.
        id: u64,
    },
    /// The cluster does not know it, or no longer.
    Gone,
    /// It is the only voter: the cluster ends with it.
    Last,
    /// Those who would stay could not agree.
    LosesQuorum {
        /// How many of those who would stay are well.
        healthy: usize,
        /// How many must be.
        needed: usize,
        /// The names of those who are not.
        silent: Vec<String>,
    },
}

/// What became of a member that was to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It was removed.
    Removed,
    /// The cluster does not know it, or no longer.
    Gone,
    /// It is the only voter and still there: whether its cluster may end is not etcd's to say.
    Last,
}

/// Judges the member with that peer URL. A learner has no voice that could be missed; of the voters that stay, more than
/// half must be well, whether the one that leaves is or not.
#[must_use]
pub fn may_leave(members: &[MemberHealth], peer_url: &str) -> Verdict {
    let found = members.iter().find(|one| one.member.has_peer_url(peer_url));
    let Some(leaving) = found.map(|one| &one.member) else {
        return Verdict::Gone;
    };
    if leaving.is_learner {
        return Verdict::Remove { id: leaving.id };
    }
    let staying: Vec<&MemberHealth> = members
        .iter()
        .filter(|one| !one.member.is_learner && one.member.id != leaving.id)
        .collect();
    if staying.is_empty() {
        return Verdict::Last;
    }
    let needed = staying.len() / 2 + 1;
    let healthy = staying.iter().filter(|one| one.state.is_ok()).count();
    if healthy >= needed {
        return Verdict::Remove { id: leaving.id };
    }
    let silent = staying.iter().filter(|one| one.state.is_err());
    Verdict::LosesQuorum {
        healthy,
        needed,
        silent: silent.map(|one| one.member.display_name()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::Member;

    fn members(healthy: &[bool]) -> Vec<MemberHealth> {
        let make = |(index, healthy): (usize, &bool)| MemberHealth {
            member: Member {
                id: index as u64,
                name: format!("m{index}"),
                peer_urls: vec![format!("https://10.0.0.{index}:2380")],
                client_urls: Vec::new(),
                is_learner: false,
            },
            state: if *healthy {
                Ok("3.6.0".into())
            } else {
                Err("it does not answer".into())
            },
        };
        healthy.iter().enumerate().map(make).collect()
    }

    const OWN: &str = "https://10.0.0.0:2380";

    #[test]
    fn a_member_leaves_only_when_the_others_can_go_on() {
        let remove = Verdict::Remove { id: 0 };
        assert_eq!(may_leave(&members(&[true, true, true]), OWN), remove);
        assert_eq!(may_leave(&members(&[true, true]), OWN), remove);
        assert_eq!(
            may_leave(&members(&[false, true, true]), OWN),
            remove,
            "itself may be dead"
        );
        let lost = may_leave(&members(&[true, true, false]), OWN);
        let expected = Verdict::LosesQuorum {
            healthy: 1,
            needed: 2,
            silent: vec!["m2".into()],
        };
        assert_eq!(lost, expected, "two that stay must both live");
        assert_eq!(
            may_leave(&members(&[true, true, true, true, false]), OWN),
            remove
        );
    }

    #[test]
    fn the_last_one_is_told_from_one_that_is_gone_and_from_a_learner() {
        assert_eq!(may_leave(&members(&[true]), OWN), Verdict::Last);
        assert_eq!(
            may_leave(&members(&[true]), "https://other:2380"),
            Verdict::Gone
        );
        let mut with_learner = members(&[true, false, false]);
        with_learner[0].member.is_learner = true;
        assert_eq!(may_leave(&with_learner, OWN), Verdict::Remove { id: 0 });
        let mut last_voter = members(&[true, true]);
        last_voter[1].member.is_learner = true;
        assert_eq!(
            may_leave(&last_voter, OWN),
            Verdict::Last,
            "a learner cannot go on alone"
        );
    }
}
