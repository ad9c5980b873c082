//! Whether an etcd member may leave: never when those who stay could not agree on anything any more.

/// A member of an etcd cluster as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its id.
    pub id: u64,
    /// Its name; empty until it has started.
    pub name: String,
    /// Its peer URLs.
    pub peer_urls: Vec<String>,
    /// It does not vote yet.
    pub learner: bool,
    /// It answered.
    pub healthy: bool,
}

/// What is to be done with a member that is to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtcdVerdict {
    /// It can be removed.
    Remove {
        /// Its id.
        id: u64,
    },
    /// The cluster no longer knows it.
    Gone,
    /// It is the only voter: the cluster ends with it.
    Last,
    /// Those who would stay could not agree.
    LosesQuorum {
        /// How many of those who would stay answer.
        healthy: usize,
        /// How many must.
        needed: usize,
        /// The names of those who do not answer.
        silent: Vec<String>,
    },
}

/// Judges the member with that peer URL.
#[must_use]
pub fn may_leave(members: &[Voter], peer_url: &str) -> EtcdVerdict {
    let leaving = members
        .iter()
        .find(|member| member.peer_urls.iter().any(|url| url == peer_url));
    let Some(leaving) = leaving else {
        return EtcdVerdict::Gone;
    };
    let voters: Vec<&Voter> = members.iter().filter(|member| !member.learner).collect();
    // A learner has no voice that could be missed.
    if leaving.learner {
        return EtcdVerdict::Remove { id: leaving.id };
    }
    let staying: Vec<&&Voter> = voters
        .iter()
        .filter(|voter| voter.id != leaving.id)
        .collect();
    if staying.is_empty() {
        return EtcdVerdict::Last;
    }
    let needed = staying.len() / 2 + 1;
    let healthy = staying.iter().filter(|voter| voter.healthy).count();
    if healthy >= needed {
        return EtcdVerdict::Remove { id: leaving.id };
    }
    let silent = staying.iter().filter(|voter| !voter.healthy);
    EtcdVerdict::LosesQuorum {
        healthy,
        needed,
        silent: silent.map(|voter| voter.name.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(healthy: &[bool]) -> Vec<Voter> {
        let make = |(index, healthy): (usize, &bool)| Voter {
            id: index as u64,
            name: format!("m{index}"),
            peer_urls: vec![format!("https://10.0.0.{index}:2380")],
            learner: false,
            healthy: *healthy,
        };
        healthy.iter().enumerate().map(make).collect()
    }

    const OWN: &str = "https://10.0.0.0:2380";

    #[test]
    fn a_member_leaves_only_when_the_others_can_go_on() {
        let remove = EtcdVerdict::Remove { id: 0 };
        assert_eq!(may_leave(&members(&[true, true, true]), OWN), remove);
        assert_eq!(may_leave(&members(&[true, true]), OWN), remove);
        assert_eq!(
            may_leave(&members(&[false, true, true]), OWN),
            remove,
            "itself may be dead"
        );
        let lost = may_leave(&members(&[true, true, false]), OWN);
        let expected = EtcdVerdict::LosesQuorum {
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
        assert_eq!(may_leave(&members(&[true]), OWN), EtcdVerdict::Last);
        assert_eq!(
            may_leave(&members(&[true]), "https://other:2380"),
            EtcdVerdict::Gone
        );
        let mut with_learner = members(&[true, false, false]);
        with_learner[0].learner = true;
        assert_eq!(may_leave(&with_learner, OWN), EtcdVerdict::Remove { id: 0 });
        let mut last_voter = members(&[true, true]);
        last_voter[1].learner = true;
        assert_eq!(
            may_leave(&last_voter, OWN),
            EtcdVerdict::Last,
            "a learner cannot go on alone"
        );
    }
}
