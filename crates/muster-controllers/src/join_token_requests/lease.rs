//! One of several operators leads: whoever holds a Lease (coordination.k8s.io/v1), renewed all the time.
//!
//! As client-go does it: a Lease counts as free when it has not been renewed for its duration by the watch of who looks,
//! so clocks need not agree. It refuses to know what the leader does.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// The name of the Lease.
pub(crate) const NAME: &str = "muster-operator";

/// How long letting go may take.
const RELEASE: Duration = Duration::from_secs(5);

/// Who stands for election.
#[derive(Clone)]
pub(crate) struct Candidate {
    leases: Api<Lease>,
    identity: String,
    /// How long a Lease is good for without a renewal.
    life: Duration,
}

/// What a Lease means to a candidate.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    /// It is ours.
    Ours,
    /// Nobody holds it.
    Free,
    /// Somebody holds it.
    Held,
}

/// What was seen of the Lease of somebody else, and since when.
struct Observed {
    resource_version: Option<String>,
    since: Instant,
}

fn judge(spec: &LeaseSpec, identity: &str, unchanged_for: Duration) -> Claim {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    if holder == identity {
        return Claim::Ours;
    }
    let seconds = spec.lease_duration_seconds.unwrap_or_default();
    let life = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    if holder.is_empty() || unchanged_for >= life {
        Claim::Free
    } else {
        Claim::Held
    }
}

impl Candidate {
    pub(crate) fn new(client: Client, namespace: &str, identity: String, life: Duration) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            identity,
            life,
        }
    }

    fn retry(&self) -> Duration {
        self.life * 2 / 15
    }

    /// Waits until the Lease is ours.
    pub(crate) async fn win(&self) {
        let mut observed = Observed {
            resource_version: None,
            since: Instant::now(),
        };
        loop {
            match self.try_to_hold(&mut observed).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "the Lease could not be had and is tried again")
                }
            }
            sleep(crate::jitter::spread(self.retry(), &self.identity)).await;
        }
    }

    /// Renews the Lease; ends when it could not be for two thirds of its life.
    pub(crate) async fn hold(&self) {
        let mut observed = Observed {
            resource_version: None,
            since: Instant::now(),
        };
        let patience = self.life * 2 / 3;
        let mut deadline = Instant::now() + patience;
        loop {
            sleep_until((Instant::now() + self.retry()).min(deadline)).await;
            let begin = Instant::now();
            match timeout_at(deadline, self.try_to_hold(&mut observed)).await {
                Ok(Ok(true)) => deadline = begin + patience,
                Ok(Ok(false)) => {
                    tracing::error!("somebody else holds the Lease");
                    return;
                }
                Ok(Err(error)) => tracing::warn!(%error, "the Lease could not be renewed"),
                Err(_) => {}
            }
            if Instant::now() >= deadline {
                tracing::error!("the Lease could not be renewed in time");
                return;
            }
        }
    }

    /// Lets go of the Lease, so that the next need not wait.
    pub(crate) async fn release(&self) {
        let released = async {
            // A renewal that was under way may come in between.
            while !self.try_to_release().await? {}
            Ok::<_, kube::Error>(())
        };
        match tokio::time::timeout(RELEASE, released).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the Lease was not released"),
            Err(_) => tracing::warn!("the Lease was not released in time"),
        }
    }

    async fn try_to_release(&self) -> Result<bool, kube::Error> {
        let mut lease = self.leases.get(NAME).await?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
            return Ok(true);
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        let parameters = PostParams::default();
        won(self.leases.replace(NAME, &parameters, &lease).await)
    }

    async fn try_to_hold(&self, observed: &mut Observed) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.leases.get_opt(NAME).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(NAME.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.renewed(&LeaseSpec::default(), false)),
            };
            return won(self.leases.create(&PostParams::default(), &lease).await);
        };
        if lease.resource_version() != observed.resource_version {
            observed.resource_version = lease.resource_version();
            observed.since = Instant::now();
        }
        let spec = lease.spec.clone().unwrap_or_default();
        let claim = judge(&spec, &self.identity, observed.since.elapsed());
        if claim == Claim::Held {
            return Ok(false);
        }
        lease.spec = Some(self.renewed(&spec, claim == Claim::Ours));
        won(self
            .leases
            .replace(NAME, &PostParams::default(), &lease)
            .await)
    }

    fn renewed(&self, before: &LeaseSpec, is_ours: bool) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let transitions = before.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.life.as_secs()).ok(),
            acquire_time: before
                .acquire_time
                .clone()
                .filter(|_| is_ours)
                .or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions + i32::from(!is_ours)),
            ..before.clone()
        }
    }
}

/// A write that came too late means that somebody else has it.
fn won(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Some("me"), 15, 99, Claim::Ours)]
    #[case(Some("other"), 15, 14, Claim::Held)]
    #[case(Some("other"), 15, 15, Claim::Free)]
    #[case(Some(""), 15, 0, Claim::Free)]
    #[case(None, 0, 0, Claim::Free)]
    fn a_lease_is_free_when_it_was_let_go_or_stood_still_for_its_life(
        #[case] holder: Option<&str>,
        #[case] life: i32,
        #[case] unchanged: u64,
        #[case] claim: Claim,
    ) {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(life),
            ..LeaseSpec::default()
        };
        assert_eq!(judge(&spec, "me", Duration::from_secs(unchanged)), claim);
    }
}
