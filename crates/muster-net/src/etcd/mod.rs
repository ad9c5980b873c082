//! A client of etcd for its membership and its health: list, add as learner, promote, remove, status, alarms.
//!
//! All members are asked side by side, so that a dead one costs nothing and is named; a change goes to a member that
//! has just answered with a quorum behind it. Every wait has a limit. Changes are idempotent: a learner is known by its
//! peer URL. It refuses to know keys and values, and where certificates come from.

mod call;
mod error;
mod messages;
#[cfg(feature = "testing")]
pub mod testing;

pub use error::{EtcdError, Refusal};

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt as _};
use muster_identity::CertificateBundle;
use rustls::ClientConfig;
use tokio::time::{Instant, sleep};

use crate::tls::{ClientCertificate, pinned_config};
use call::{CallFailure, call};
use messages::{
    AlarmRequest, AlarmResponse, MemberAddRequest, MemberAddResponse, MemberIdRequest,
    MemberListRequest, MemberListResponse, StatusRequest, StatusResponse,
};

/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(200);
/// More members than any etcd should have; more in an answer are not looked at.
const MAX_MEMBERS: usize = 64;

const MEMBER_LIST: &str = "/etcdserverpb.Cluster/MemberList";
const MEMBER_ADD: &str = "/etcdserverpb.Cluster/MemberAdd";
const MEMBER_REMOVE: &str = "/etcdserverpb.Cluster/MemberRemove";
const MEMBER_PROMOTE: &str = "/etcdserverpb.Cluster/MemberPromote";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";
const ALARM: &str = "/etcdserverpb.Maintenance/Alarm";

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

    fn has_peer_url(&self, url: &str) -> bool {
        self.peer_urls.iter().any(|known| known == url)
    }
}

impl From<messages::Member> for Member {
    fn from(member: messages::Member) -> Self {
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

/// A client of one cluster of etcds. Each call makes its own connection.
#[derive(Clone, Debug)]
pub struct EtcdClient {
    endpoints: Vec<String>,
    tls: Option<Arc<ClientConfig>>,
}

impl EtcdClient {
    /// A client that trusts members of `ca` and shows its own certificate. `endpoints` are client URLs of one member
    /// or more, `https://HOST:PORT`; the others are found by [`EtcdClient::members`].
    ///
    /// # Errors
    /// [`EtcdError::NoEndpoint`] and [`EtcdError::Tls`].
    pub fn new(
        endpoints: Vec<String>,
        ca: &CertificateBundle,
        identity: &ClientCertificate,
    ) -> Result<Self, EtcdError> {
        let tls = pinned_config(ca, Some(identity)).map_err(EtcdError::Tls)?;
        Self::with(endpoints, Some(tls))
    }

    /// A client of an etcd without TLS, `http://HOST:PORT`.
    ///
    /// # Errors
    /// [`EtcdError::NoEndpoint`].
    pub fn without_tls(endpoints: Vec<String>) -> Result<Self, EtcdError> {
        Self::with(endpoints, None)
    }

    fn with(mut endpoints: Vec<String>, tls: Option<Arc<ClientConfig>>) -> Result<Self, EtcdError> {
        endpoints.sort();
        endpoints.dedup();
        if endpoints.is_empty() {
            return Err(EtcdError::NoEndpoint);
        }
        Ok(Self { endpoints, tls })
    }

    /// The client URLs that are asked.
    #[must_use]
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    async fn ask<Q, A>(&self, url: &str, path: &'static str, question: Q) -> Result<A, CallFailure>
    where
        Q: prost::Message + Clone + 'static,
        A: prost::Message + Default + 'static,
    {
        call(url, self.tls.clone(), path, question).await
    }

    /// The members as a quorum agrees on them, and the URL of who said so first.
    async fn list(&self) -> Result<(Vec<Member>, String), Vec<(String, CallFailure)>> {
        let mut asked: FuturesUnordered<_> = self
            .endpoints
            .iter()
            .map(|url| async move {
                let question = MemberListRequest { linearizable: true };
                (
                    url,
                    self.ask::<_, MemberListResponse>(url, MEMBER_LIST, question)
                        .await,
                )
            })
            .collect();
        let mut failures = Vec::new();
        while let Some((url, answer)) = asked.next().await {
            match answer {
                Ok(answer) => return Ok((members(answer.members), url.clone())),
                Err(failure) => failures.push((url.clone(), failure)),
            }
        }
        failures.sort_by(|a, b| a.0.cmp(&b.0));
        Err(failures)
    }

    /// All members, as a quorum agrees on them. From now on all that have started are asked, whoever was known
    /// before.
    ///
    /// # Errors
    /// [`EtcdError::Unreachable`] names every member that was asked.
    pub async fn members(&mut self) -> Result<Vec<Member>, EtcdError> {
        let (members, _) = self.list().await.map_err(unreachable_all)?;
        self.learn(&members);
        Ok(members)
    }

    /// As [`EtcdClient::members`], tried again until the limit: pods may be starting, or a leader is elected.
    ///
    /// # Errors
    /// As [`EtcdClient::members`].
    pub async fn members_within(&mut self, limit: Duration) -> Result<Vec<Member>, EtcdError> {
        let deadline = Instant::now() + limit;
        loop {
            match self.members().await {
                Ok(members) => return Ok(members),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// The members' own client URLs replace what was known, as far as they have any. A learner cannot answer for the
    /// cluster and is left out.
    fn learn(&mut self, members: &[Member]) {
        let voters = members.iter().filter(|member| !member.is_learner);
        let mut urls: Vec<String> = voters
            .filter_map(|member| member.client_urls.first().cloned())
            .collect();
        urls.sort();
        urls.dedup();
        if !urls.is_empty() {
            self.endpoints = urls;
        }
    }

    /// How every member is, asked side by side; learners too.
    ///
    /// # Errors
    /// [`EtcdError::Unreachable`] when not even the list of members can be had.
    pub async fn health(&mut self) -> Result<Vec<MemberHealth>, EtcdError> {
        let members = self.members().await?;
        Ok(self.health_of(members).await)
    }

    async fn health_of(&self, members: Vec<Member>) -> Vec<MemberHealth> {
        let asked = members.into_iter().map(|member| async move {
            let state = match member.client_urls.first() {
                None => Err("it has not started".to_owned()),
                Some(url) => self.state(url).await,
            };
            MemberHealth { member, state }
        });
        join_all(asked).await
    }

    /// The version of a member that is well.
    async fn state(&self, url: &str) -> Result<String, String> {
        let answer: Result<StatusResponse, _> = self.ask(url, STATUS, StatusRequest {}).await;
        let status = answer.map_err(|failure| failure.to_string())?;
        if !status.errors.is_empty() {
            return Err(status.errors.join(", "));
        }
        if status.leader == 0 {
            return Err("it follows no leader".to_owned());
        }
        Ok(status.version)
    }

    /// The alarms that are raised: an etcd without space takes no new member's data.
    ///
    /// # Errors
    /// [`EtcdError::Unreachable`] or [`EtcdError::Refused`].
    pub async fn alarms(&mut self) -> Result<Vec<Alarm>, EtcdError> {
        let (_, url) = self.list().await.map_err(unreachable_all)?;
        let answer: Result<AlarmResponse, _> = self.ask(&url, ALARM, AlarmRequest::default()).await;
        let answer = answer.map_err(|failure| failure.into_error("list its alarms", &url))?;
        let alarms = answer
            .alarms
            .into_iter()
            .take(MAX_MEMBERS)
            .map(|alarm| Alarm {
                member: alarm.member_id,
                what: match alarm.alarm {
                    1 => "no space".to_owned(),
                    2 => "corrupt".to_owned(),
                    other => format!("alarm {other}"),
                },
            });
        Ok(alarms.collect())
    }

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
                        members: self::members(all),
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
                    self.learn(&self::members(answer.members));
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

    /// Removes the member with this peer URL; says whether there was one. Never so that too few would be left: of the
    /// voters that remain, more than half must answer, and the last one stays.
    ///
    /// # Errors
    /// [`EtcdError::WouldLoseQuorum`] at once; what passes by itself is tried again until the limit.
    pub async fn remove(&mut self, peer_url: &str, limit: Duration) -> Result<bool, EtcdError> {
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
            let Some(member) = members
                .iter()
                .find(|member| member.has_peer_url(peer_url))
                .cloned()
            else {
                return Ok(asked);
            };
            if !member.is_learner {
                self.keep_quorum(&member, members).await?;
            }
            asked = true;
            // A member that is asked to remove itself may be gone before it answers.
            let url = self.other_than(&member, url);
            let answer: Result<MemberListResponse, _> = self
                .ask(&url, MEMBER_REMOVE, MemberIdRequest { id: member.id })
                .await;
            match answer {
                Ok(_) => return Ok(true),
                Err(failure) if failure.refusal() == Some(Refusal::MemberNotFound) => {
                    return Ok(true);
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

    async fn keep_quorum(&self, leaving: &Member, members: Vec<Member>) -> Result<(), EtcdError> {
        let staying = members
            .into_iter()
            .filter(|one| !one.is_learner && one.id != leaving.id);
        let health = self.health_of(staying.collect()).await;
        let healthy = health.iter().filter(|one| one.state.is_ok()).count();
        let needed = health.len() / 2 + 1;
        if healthy >= needed {
            return Ok(());
        }
        let dead = health.iter().filter(|one| one.state.is_err());
        Err(EtcdError::WouldLoseQuorum {
            name: leaving.display_name(),
            healthy,
            needed,
            dead: dead.map(|one| one.member.display_name()).collect(),
        })
    }
}

fn members(members: Vec<messages::Member>) -> Vec<Member> {
    members
        .into_iter()
        .take(MAX_MEMBERS)
        .map(Member::from)
        .collect()
}

fn unreachable_all(failures: Vec<(String, CallFailure)>) -> EtcdError {
    let members = failures
        .into_iter()
        .map(|(url, failure)| (url, failure.to_string()));
    EtcdError::Unreachable {
        members: members.collect(),
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
