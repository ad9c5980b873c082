//! What a cluster of etcds says of itself: members, their health, alarms.

/// A member of a cluster of etcds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Its name; empty until it has started.
    pub name: String,
    /// Where its peers reach it: its identity in the cluster.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has started.
    pub client_urls: Vec<String>,
    /// It has no vote.
    pub is_learner: bool,
}

impl Member {
    /// Whether it has ever started.
    #[must_use]
    pub fn has_started(&self) -> bool {
        !self.name.is_empty()
    }

    /// Its name, or its id in hexadecimal digits until it has one.
    #[must_use]
    pub fn display_name(&self) -> String {
        if self.has_started() {
            self.name.clone()
        } else {
            format!("{:x}", self.id)
        }
    }

    pub(super) fn has_peer_url(&self, url: &str) -> bool {
        self.peer_urls.iter().any(|known| known == url)
    }
}

impl From<super::messages::Member> for Member {
    fn from(member: super::messages::Member) -> Self {
        Self {
            id: member.id,
            name: member.name,
            peer_urls: member.peer_urls,
            client_urls: member.client_urls,
            is_learner: member.is_learner,
        }
    }
}

/// How a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberHealth {
    /// Which.
    pub member: Member,
    /// Its version; or why it is not well.
    pub state: Result<String, String>,
}

/// A member that was added, or was there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its id.
    pub id: u64,
    /// All members, also the new one.
    pub members: Vec<Member>,
    /// It was there before this call.
    pub already: bool,
}

/// An alarm that a member has raised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The member's id.
    pub member: u64,
    /// `no space`, `corrupt`, or a number that is not known here.
    pub what: String,
}
