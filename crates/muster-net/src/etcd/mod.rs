//! A client of etcd for its membership and its health: list, add as learner, promote, remove, status, alarms.
//!
//! All members are asked side by side, so that a dead one costs nothing and is named; a change goes to a member that
//! has just answered with a quorum behind it. Every wait has a limit. Changes are idempotent: a learner is known by its
//! peer URL. It refuses to know keys and values, and where certificates come from.

mod call;
mod changes;
mod error;
mod member;
mod messages;
mod quorum;
#[cfg(feature = "testing")]
pub mod testing;

pub use error::{EtcdError, Refusal};
pub use member::{Added, Alarm, Member, MemberHealth};
pub use quorum::{Departure, Verdict, may_leave};

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
    AlarmRequest, AlarmResponse, MemberListRequest, MemberListResponse, StatusRequest,
    StatusResponse,
};

/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(200);
/// More members than any etcd should have; more in an answer are not looked at.
const MAX_MEMBERS: usize = 64;

const MEMBER_LIST: &str = "/etcdserverpb.Cluster/MemberList";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";
const ALARM: &str = "/etcdserverpb.Maintenance/Alarm";

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
