//! Who may change what: one Lease (`coordination.k8s.io/v1`) for the run and one for each host that is being changed.
//!
//! Only the holder or expiry frees a Lease. One that has expired is adopted, and the caller is told whose it was; one
//! that we could not renew in time, or that somebody else has, is lost, and whoever waits on [`Leases::lost`] hears it.
//! It refuses to know what is done under a Lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use muster_net::ApiError;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::access::Api;

/// The namespace of the Leases.
pub(crate) const NAMESPACE: &str = "kube-system";
/// How long a Lease stands without renewal.
const DURATION: Duration = Duration::from_secs(40);
/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(10);
/// How often taking a Lease is tried when somebody else changes it at the same moment.
const TRIES: u32 = 8;

/// How a Lease was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Nobody had it, or we did.
    Free,
    /// Somebody had it and did not renew it any more.
    Adopted {
        /// Who.
        from: String,
        /// When it was renewed last.
        renewed: Option<Timestamp>,
    },
}

/// Why a Lease was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    /// Somebody else has it and renews it. Wait, or stop them.
    #[error("{holder} holds the lease {lease}")]
    Held {
        /// The Lease.
        lease: String,
        /// Its holder.
        holder: String,
        /// How long it stands if it is not renewed.
        stands: Duration,
    },
    /// The API refused or did not answer.
    #[error("the lease {lease} cannot be read or written")]
    Api {
        /// The Lease.
        lease: String,
        /// Why.
        #[source]
        source: ApiError,
    },
}

#[derive(Clone, Debug)]
struct Held {
    version: String,
    renewed: Instant,
}

struct Inside {
    api: Arc<dyn Api>,
    holder: String,
    held: Mutex<BTreeMap<String, Held>>,
    lost: watch::Sender<Option<String>>,
}

/// The Leases of one run.
#[derive(Clone)]
pub(crate) struct Leases(Arc<Inside>);

impl Leases {
    /// Leases that are held as `holder`, which names the run: whoever resumes it finds its own.
    pub(crate) fn new(api: Arc<dyn Api>, holder: String) -> Self {
        Self(Arc::new(Inside {
            api,
            holder,
            held: Mutex::default(),
            lost: watch::Sender::new(None),
        }))
    }

    /// Says which Lease was lost, once one is.
    pub(crate) fn lost(&self) -> watch::Receiver<Option<String>> {
        self.0.lost.subscribe()
    }

    /// Takes a Lease and has it renewed from now on.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub(crate) async fn take(&self, lease: &str) -> Result<Taken, LeaseError> {
        let api_error = |source| LeaseError::Api {
            lease: lease.to_owned(),
            source,
        };
        let mut tries = 0;
        let mut seen: Option<Value> = None;
        loop {
            tries += 1;
            match self.try_take(lease, seen.take()).await {
                Ok(Try::Taken(taken)) => return Ok(taken),
                Ok(Try::Held { holder, stands }) => {
                    return Err(LeaseError::Held {
                        lease: lease.to_owned(),
                        holder,
                        stands,
                    });
                }
                // Expired by our clock. A holder whose clock goes wrong still renews it: that is waited for.
                Ok(Try::Expired(object)) => {
                    seen = Some(object);
                    sleep(RENEWAL + RENEWAL / 5).await;
                }
                Err(error)
                    if (error.is_conflict() || error.is_already_exists()) && tries < TRIES =>
                {
                    sleep(Duration::from_millis(50 * u64::from(tries))).await;
                }
                Err(error) => return Err(api_error(error)),
            }
        }
    }

    /// `seen`: the object that had expired when it was looked at last.
    async fn try_take(&self, lease: &str, seen: Option<Value>) -> Result<Try, ApiError> {
        let now = Timestamp::now();
        let found = match self.0.api.get(&path(lease)).await {
            Ok(object) => object,
            Err(error) if error.is_not_found() => {
                let object = self.object(lease, now, now, 0, None);
                let made = self.0.api.create(&collection(), &object).await?;
                self.hold(lease, &made);
                return Ok(Try::Taken(Taken::Free));
            }
            Err(error) => return Err(error),
        };
        let spec = Spec::of(&found);
        let (transitions, stands) = (spec.transitions, spec.stands(now));
        let version = found.pointer("/metadata/resourceVersion").cloned();
        let taken = match spec.holder {
            None => Taken::Free,
            Some(holder) if holder == self.0.holder => Taken::Free,
            Some(holder) => match stands {
                Some(stands) => return Ok(Try::Held { holder, stands }),
                None if seen.as_ref() == Some(&found) => Taken::Adopted {
                    from: holder,
                    renewed: spec.renewed,
                },
                None => return Ok(Try::Expired(found)),
            },
        };
        let object = self.object(lease, now, now, transitions + 1, version);
        let written = self.0.api.replace(&path(lease), &object).await?;
        self.hold(lease, &written);
        Ok(Try::Taken(taken))
    }

    fn hold(&self, lease: &str, object: &Value) {
        let held = Held {
            version: version_of(object),
            renewed: Instant::now(),
        };
        self.0.held.lock().insert(lease.to_owned(), held);
    }

    fn object(
        &self,
        lease: &str,
        acquired: Timestamp,
        renewed: Timestamp,
        transitions: u64,
        version: Option<Value>,
    ) -> Value {
        let mut object = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": lease,
                "namespace": NAMESPACE,
                "labels": {"app.kubernetes.io/managed-by": "muster"},
            },
            "spec": {
                "holderIdentity": self.0.holder,
                "leaseDurationSeconds": DURATION.as_secs(),
                "acquireTime": micro_time(acquired),
                "renewTime": micro_time(renewed),
                "leaseTransitions": transitions,
            },
        });
        if let Some(version) = version {
            object["metadata"]["resourceVersion"] = version;
        }
        object
    }

    /// Renews what is held until it is dropped.
    pub(crate) async fn keep(&self) {
        loop {
            sleep(RENEWAL).await;
            let names: Vec<String> = self.0.held.lock().keys().cloned().collect();
            // One that has no answer must not hold up the others until they expire.
            let renewals = names.iter().map(|lease| async move {
                if timeout(RENEWAL, self.renew(lease)).await.is_err() {
                    self.lose_if_expired(lease);
                }
            });
            futures::future::join_all(renewals).await;
        }
    }

    async fn renew(&self, lease: &str) {
        let Some(held) = self.0.held.lock().get(lease).cloned() else {
            return;
        };
        let patch = json!({
            "metadata": {"resourceVersion": held.version},
            "spec": {"renewTime": micro_time(Timestamp::now())},
        });
        match self.0.api.merge(&path(lease), &patch).await {
            Ok(object) if Spec::of(&object).holder.as_deref() == Some(&self.0.holder) => {
                // It may have been given up meanwhile.
                if let Some(held) = self.0.held.lock().get_mut(lease) {
                    held.version = version_of(&object);
                    held.renewed = Instant::now();
                }
            }
            Ok(_) => self.lose(lease),
            Err(error) if error.is_not_found() => self.lose(lease),
            Err(error) if error.is_conflict() => self.look_again(lease).await,
            Err(error) => {
                tracing::debug!(lease, %error, "a lease was not renewed");
                self.lose_if_expired(lease);
            }
        }
    }

    fn lose_if_expired(&self, lease: &str) {
        let renewed = self.0.held.lock().get(lease).map(|held| held.renewed);
        if renewed.is_some_and(|renewed| renewed.elapsed() >= DURATION) {
            self.lose(lease);
        }
    }

    /// Somebody changed it: it is still ours if they only labelled it.
    async fn look_again(&self, lease: &str) {
        let Ok(object) = self.0.api.get(&path(lease)).await else {
            return;
        };
        if Spec::of(&object).holder.as_deref() != Some(&self.0.holder) {
            return self.lose(lease);
        }
        if let Some(held) = self.0.held.lock().get_mut(lease) {
            held.version = version_of(&object);
        }
    }

    fn lose(&self, lease: &str) {
        if self.0.held.lock().remove(lease).is_some() {
            self.0.lost.send_replace(Some(lease.to_owned()));
        }
    }

    /// Gives a Lease up, whether this process took it or an earlier one of the same run did. One that is not ours stays.
    ///
    /// # Errors
    /// [`LeaseError::Api`]; it then expires by itself.
    pub(crate) async fn give_up(&self, lease: &str) -> Result<(), LeaseError> {
        self.0.held.lock().remove(lease);
        let api_error = |source| LeaseError::Api {
            lease: lease.to_owned(),
            source,
        };
        match self.0.api.get(&path(lease)).await {
            Ok(object) if Spec::of(&object).holder.as_deref() == Some(&self.0.holder) => {
                let gone = super::access::delete_if_there(&*self.0.api, &path(lease)).await;
                gone.map_err(api_error)
            }
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(api_error(error)),
        }
    }
}

enum Try {
    Taken(Taken),
    Held { holder: String, stands: Duration },
    Expired(Value),
}

struct Spec {
    holder: Option<String>,
    renewed: Option<Timestamp>,
    duration: Duration,
    transitions: u64,
}

impl Spec {
    fn of(object: &Value) -> Self {
        let spec = &object["spec"];
        let holder = spec["holderIdentity"].as_str().filter(|h| !h.is_empty());
        let renewed = spec["renewTime"].as_str().and_then(|t| t.parse().ok());
        Self {
            holder: holder.map(str::to_owned),
            renewed,
            duration: Duration::from_secs(spec["leaseDurationSeconds"].as_u64().unwrap_or(0)),
            transitions: spec["leaseTransitions"].as_u64().unwrap_or(0),
        }
    }

    /// How long it stands from `now` on; `None` once it has expired.
    fn stands(&self, now: Timestamp) -> Option<Duration> {
        let duration = SignedDuration::try_from(self.duration).ok()?;
        let end = self.renewed?.checked_add(duration).ok()?;
        Duration::try_from(end.duration_since(now))
            .ok()
            .filter(|left| !left.is_zero())
    }
}

fn collection() -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases")
}

fn path(lease: &str) -> String {
    format!("{}/{lease}", collection())
}

fn version_of(object: &Value) -> String {
    let version = object.pointer("/metadata/resourceVersion");
    version
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// `MicroTime`: RFC 3339 with six digits of a second.
fn micro_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::access::memory::Memory;
    use super::*;

    fn leases(api: &Memory, holder: &str) -> Leases {
        Leases::new(Arc::new(api.clone()), holder.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_renewed_is_held_and_the_holder_is_named() {
        let api = Memory::default();
        let ours = leases(&api, "a");
        assert_eq!(ours.take("l").await.unwrap(), Taken::Free);
        let refused = leases(&api, "b").take("l").await.unwrap_err();
        assert!(matches!(refused, LeaseError::Held { holder, .. } if holder == "a"));
        assert_eq!(
            ours.take("l").await.unwrap(),
            Taken::Free,
            "whoever resumes finds its own"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_lease_is_adopted_with_a_word_unless_it_is_renewed_after_all() {
        let api = Memory::default();
        let mut object =
            leases(&api, "a").object("l", Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, 3, None);
        api.create(&collection(), &object).await.unwrap();
        let theirs = leases(&api, "b");
        let adopted = theirs.take("l").await.unwrap();
        assert!(matches!(adopted, Taken::Adopted { from, .. } if from == "a"));
        assert_eq!(
            api.get(&path("l")).await.unwrap()["spec"]["leaseTransitions"],
            4
        );

        // The clock of its holder goes wrong, and it renews all the same.
        object["metadata"]["name"] = json!("m");
        api.create(&collection(), &object).await.unwrap();
        let renewing = async {
            loop {
                sleep(Duration::from_secs(5)).await;
                let later = json!({"spec": {"renewTime": micro_time(Timestamp::UNIX_EPOCH), "beat": Timestamp::now().to_string()}});
                api.merge(&path("m"), &later).await.unwrap();
            }
        };
        let taking = tokio::time::timeout(Duration::from_secs(60), theirs.take("m"));
        tokio::select! {
            () = renewing => unreachable!(),
            taken = taking => assert!(taken.is_err(), "it is not taken from a living holder"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_somebody_took_is_lost_and_is_not_freed_by_us() {
        let api = Memory::default();
        let ours = leases(&api, "a");
        ours.take("l").await.unwrap();
        let theirs = json!({"spec": {"holderIdentity": "b"}});
        api.merge(&path("l"), &theirs).await.unwrap();
        let mut lost = ours.lost();
        tokio::select! {
            () = ours.keep() => unreachable!(),
            changed = lost.changed() => changed.unwrap(),
        }
        assert_eq!(lost.borrow().as_deref(), Some("l"));
        ours.give_up("l").await.unwrap();
        assert_eq!(
            api.get(&path("l")).await.unwrap()["spec"]["holderIdentity"],
            "b"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_away_for_a_moment_costs_no_lease_and_one_that_stays_away_does() {
        let api = Memory::default();
        let ours = leases(&api, "a");
        ours.take("l").await.unwrap();
        api.is_away(true);
        let mut lost = ours.lost();
        tokio::select! {
            () = ours.keep() => unreachable!(),
            () = sleep(DURATION - RENEWAL) => {}
            _ = lost.changed() => panic!("lost too early"),
        }
        tokio::select! {
            () = ours.keep() => unreachable!(),
            changed = lost.changed() => changed.unwrap(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_without_an_answer_costs_its_own_lease_and_no_other() {
        let api = Memory::default();
        let ours = leases(&api, "a");
        ours.take("silent").await.unwrap();
        ours.take("other").await.unwrap();
        api.never_answer(&path("silent"));
        let begin = Instant::now();
        let mut lost = ours.lost();
        tokio::select! {
            () = ours.keep() => unreachable!(),
            changed = lost.changed() => changed.unwrap(),
        }
        assert_eq!(lost.borrow().as_deref(), Some("silent"));
        assert!(begin.elapsed() >= DURATION);
        let held = ours.0.held.lock();
        assert!(held["other"].renewed.elapsed() <= 2 * RENEWAL);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_up_is_gone() {
        let api = Memory::default();
        let ours = leases(&api, "a");
        ours.take("l").await.unwrap();
        ours.give_up("l").await.unwrap();
        assert!(api.get(&path("l")).await.unwrap_err().is_not_found());
        ours.give_up("l").await.unwrap();
    }
}
