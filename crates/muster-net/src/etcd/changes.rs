//! Changes of a cluster's members, and waiting for their health: each is idempotent, tried again while what is in the
//! way may pass by itself, and ends within its limit.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::call::CallFailure;
use super::messages::{MemberAddRequest, MemberAddResponse, MemberIdRequest, MemberListResponse};
use super::quorum::{Departure, Verdict, may_leave};
use super::{
    Added, EtcdClient, EtcdError, Member, MemberHealth, PAUSE, Refusal, members as read_members,
    unreachable_all,
};

const MEMBER_ADD: &str = "/etcdserverpb.Cluster/MemberAdd";
const MEMBER_REMOVE: &str = "/etcdserverpb.Cluster/MemberRemove";
const MEMBER_PROMOTE: &str = "/etcdserverpb.Cluster/MemberPromote";

impl EtcdClient {
    /// Adds a member without a vote. One with this peer URL that is there already is taken as it is.
    ///
    /// # Errors
    /// [`EtcdError`]; what passes by itself is tried again until the limit.
    pub async fn add_learner(
        &mut self,
        peer_url: &str,
        limit: Duration,
    ) -> Result<Added, EtcdError> {
        let mut patience = Patience::new("take in the new member", limit);
        let mut asked = false;
        loop {
            let (members, url) = match self.list().await {
                Ok(answer) => answer,
                Err(failures) => {
                    patience.wait(unreachable_all(failures)).await?;
                    continue;
                }
            };
            self.learn(&members);
            if let Some(found) = members.iter().find(|member| member.has_peer_url(peer_url)) {
                // After a lost answer it is the one that we asked for.
                return Ok(Added {
                    id: found.id,
                    already: !asked,
                    members,
                });
            }
            asked = true;
            let question = MemberAddRequest {
                peer_urls: vec![peer_url.to_owned()],
                is_learner: true,
            };
            let answer: Result<MemberAddResponse, _> = self.ask(&url, MEMBER_ADD, question).await;
            match answer {
                Ok(MemberAddResponse {
                    member: Some(added),
                    members: all,
                }) => {
                    return Ok(Added {
                        id: added.id,
                        members: read_members(all),
                        already: false,
                    });
                }
                Ok(_) => {}
                Err(failure) if failure.refusal() == Some(Refusal::PeerUrlExists) => {}
                Err(failure) => patience.judge(failure, &url).await?,
            }
        }
    }

    /// Waits until a learner has started and caught up, and gives it its vote. One that has a vote is left alone.
    ///
    /// # Errors
    /// [`EtcdError`]; what passes by itself is tried again until the limit.
    pub async fn promote(&mut self, id: u64, limit: Duration) -> Result<(), EtcdError> {
        let mut patience = Patience::new("give the new member its vote", limit);
        loop {
            let (members, url) = match self.list().await {
                Ok(answer) => answer,
                Err(failures) => {
                    patience.wait(unreachable_all(failures)).await?;
                    continue;
                }
            };
            self.learn(&members);
            let Some(member) = members.iter().find(|member| member.id == id) else {
                return Err(EtcdError::NoMember {
                    member: format!("{id:x}"),
                });
            };
            if !member.is_learner {
                return Ok(());
            }
            if !member.has_started() {
                patience.hold("the new member has not started").await?;
                continue;
            }
            let answer: Result<MemberListResponse, _> =
                self.ask(&url, MEMBER_PROMOTE, MemberIdRequest { id }).await;
            match answer {
                Ok(answer) => {
                    self.learn(&read_members(answer.members));
                    return Ok(());
                }
                Err(failure) if failure.refusal() == Some(Refusal::NotALearner) => return Ok(()),
                Err(failure) => patience.judge(failure, &url).await?,
            }
        }
    }

    /// Waits until more than half of the voters are well, and the member with this peer URL among them.
    ///
    /// # Errors
    /// [`EtcdError::TimedOut`] names who is not.
    pub async fn await_health(
        &mut self,
        peer_url: Option<&str>,
        limit: Duration,
    ) -> Result<Vec<MemberHealth>, EtcdError> {
        let mut patience = Patience::new("become healthy", limit);
        loop {
            let health = match self.health().await {
                Ok(health) => health,
                Err(error) => {
                    patience.wait(error).await?;
                    continue;
                }
            };
            let voters: Vec<&MemberHealth> =
                health.iter().filter(|one| !one.member.is_learner).collect();
            let well = voters.iter().filter(|one| one.state.is_ok()).count();
            let own = peer_url.is_none_or(|url| {
                health
                    .iter()
                    .any(|one| one.member.has_peer_url(url) && one.state.is_ok())
            });
            if well > voters.len() / 2 && own {
                return Ok(health);
            }
            patience.hold(&ailing(&health)).await?;
        }
    }

    /// Takes the member with this peer URL out of the cluster, where [`may_leave`] lets it go.
    ///
    /// # Errors
    /// [`EtcdError::WouldLoseQuorum`] at once; what passes by itself is tried again until the limit.
    pub async fn remove(
        &mut self,
        peer_url: &str,
        limit: Duration,
    ) -> Result<Departure, EtcdError> {
        let mut patience = Patience::new("remove the member", limit);
        let mut asked = false;
        loop {
            let (members, url) = match self.list().await {
                Ok(answer) => answer,
                Err(failures) => {
                    patience.wait(unreachable_all(failures)).await?;
                    continue;
                }
            };
            self.learn(&members);
            let leaving = members.iter().find(|member| member.has_peer_url(peer_url));
            let Some(leaving) = leaving.cloned() else {
                return Ok(if asked {
                    Departure::Removed
                } else {
                    Departure::Gone
                });
            };
            let id = match may_leave(&self.health_of(members).await, peer_url) {
                Verdict::Remove { id } => id,
                Verdict::Gone => return Ok(Departure::Gone),
                Verdict::Last => return Ok(Departure::Last),
                Verdict::LosesQuorum {
                    healthy,
                    needed,
                    silent,
                } => {
                    return Err(EtcdError::WouldLoseQuorum {
                        name: leaving.display_name(),
                        healthy,
                        needed,
                        dead: silent,
                    });
                }
            };
            asked = true;
            // A member that is asked to remove itself may be gone before it answers.
            let url = self.other_than(&leaving, url);
            let answer: Result<MemberListResponse, _> =
                self.ask(&url, MEMBER_REMOVE, MemberIdRequest { id }).await;
            match answer {
                Ok(_) => return Ok(Departure::Removed),
                Err(failure) if failure.refusal() == Some(Refusal::MemberNotFound) => {
                    return Ok(Departure::Removed);
                }
                Err(failure) => patience.judge(failure, &url).await?,
            }
        }
    }

    fn other_than(&self, member: &Member, url: String) -> String {
        if !member.client_urls.contains(&url) {
            return url;
        }
        let other = self
            .endpoints
            .iter()
            .find(|known| !member.client_urls.contains(known));
        other.cloned().unwrap_or(url)
    }
}

fn ailing(health: &[MemberHealth]) -> String {
    let ailing = health.iter().filter_map(|one| {
        let reason = one.state.as_ref().err()?;
        Some(format!("{}: {reason}", one.member.display_name()))
    });
    let ailing: Vec<String> = ailing.collect();
    if ailing.is_empty() {
        "the new member is not among them".to_owned()
    } else {
        ailing.join("; ")
    }
}

/// Tries with a limit.
struct Patience {
    call: &'static str,
    limit: Duration,
    deadline: Instant,
}

impl Patience {
    fn new(call: &'static str, limit: Duration) -> Self {
        Self {
            call,
            limit,
            deadline: Instant::now() + limit,
        }
    }

    /// Waits a moment; at the limit the obstacle becomes the error.
    async fn hold(&mut self, obstacle: &str) -> Result<(), EtcdError> {
        if Instant::now() >= self.deadline {
            return Err(EtcdError::TimedOut {
                call: self.call,
                limit: self.limit,
                last: obstacle.to_owned(),
            });
        }
        sleep(PAUSE).await;
        Ok(())
    }

    /// Waits a moment; at the limit the error is the answer.
    async fn wait(&mut self, error: EtcdError) -> Result<(), EtcdError> {
        if Instant::now() >= self.deadline {
            return Err(error);
        }
        sleep(PAUSE).await;
        Ok(())
    }

    /// A refusal that does not pass is the end; anything else may.
    async fn judge(&mut self, failure: CallFailure, url: &str) -> Result<(), EtcdError> {
        match failure.refusal() {
            Some(refusal) if !refusal.passes() && refusal != Refusal::NotEnoughStarted => {
                Err(failure.into_error(self.call, url))
            }
            _ => self.hold(&failure.to_string()).await,
        }
    }
}
