//! How many requests are worked on at once. Reading and writing requests are counted apart; a request that
//! finds no place waits a little, and is told to come back later when too many wait already or one user
//! takes more than half of it all. Node leases and health checks never wait behind others.
//!
//! Refuses to know: what requests do. Watches give their place back as soon as they have begun.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use muster_machinery::status::Status;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    authz::MASTERS,
    registry::Refusal,
    request::{RequestInfo, UserInfo},
};

/// Reading requests at once (kube-apiserver's default).
const READING: usize = 400;
/// Writing requests at once (kube-apiserver's default).
const WRITING: usize = 200;
/// Requests that may wait, of each kind.
const WAITING: usize = 2000;
/// How long a request waits for a place.
const PATIENCE: Duration = Duration::from_secs(15);

/// The limits of one server.
#[derive(Debug)]
pub(crate) struct InflightLimits {
    reading: Lane,
    writing: Lane,
}

#[derive(Debug)]
struct Lane {
    places: Arc<Semaphore>,
    capacity: usize,
    waiting: AtomicUsize,
    users: Arc<Mutex<HashMap<String, usize>>>,
}

/// A place that a request holds until it is answered.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
    _share: Option<Share>,
}

/// What one user takes.
#[derive(Debug)]
struct Share {
    users: Arc<Mutex<HashMap<String, usize>>>,
    user: String,
}

impl InflightLimits {
    /// kube-apiserver's default limits.
    pub(crate) fn new() -> Self {
        Self {
            reading: Lane::new(READING),
            writing: Lane::new(WRITING),
        }
    }

    /// Takes a place, waiting for one if need be.
    pub(crate) async fn enter(
        &self,
        user: &UserInfo,
        info: &RequestInfo,
    ) -> Result<Place, Refusal> {
        if is_exempt(info) {
            return Ok(Place {
                _permit: None,
                _share: None,
            });
        }
        let lane = if info.verb.is_read_only() {
            &self.reading
        } else {
            &self.writing
        };
        lane.enter(user).await
    }

    /// Requests that are worked on, reading and writing ones.
    pub(crate) fn inflight(&self) -> (usize, usize) {
        (self.reading.taken(), self.writing.taken())
    }
}

impl Lane {
    fn new(capacity: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(capacity)),
            capacity,
            waiting: AtomicUsize::new(0),
            users: Arc::default(),
        }
    }

    fn taken(&self) -> usize {
        self.capacity - self.places.available_permits()
    }

    async fn enter(&self, user: &UserInfo) -> Result<Place, Refusal> {
        let share = self.share(user)?;
        let places = Arc::clone(&self.places);
        if let Ok(permit) = Arc::clone(&places).try_acquire_owned() {
            return Ok(Place {
                _permit: Some(permit),
                _share: Some(share),
            });
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(too_many());
        }
        let _waiter = Waiter(&self.waiting);
        match tokio::time::timeout(PATIENCE, places.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place {
                _permit: Some(permit),
                _share: Some(share),
            }),
            _ => Err(too_many()),
        }
    }

    /// Counts the request on its user, who may have half of all places and waiting places.
    fn share(&self, user: &UserInfo) -> Result<Share, Refusal> {
        let allowed = if user.is_in(MASTERS) {
            usize::MAX
        } else {
            (self.capacity + WAITING) / 2
        };
        let mut users = self.users.lock();
        let count = users.entry(user.name.clone()).or_default();
        if *count >= allowed {
            return Err(too_many());
        }
        *count += 1;
        Ok(Share {
            users: Arc::clone(&self.users),
            user: user.name.clone(),
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut users = self.users.lock();
        if let Some(count) = users.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                users.remove(&self.user);
            }
        }
    }
}

struct Waiter<'a>(&'a AtomicUsize);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn too_many() -> Refusal {
    Status::too_many_requests("Too many requests, please try again later.", 1).into()
}

/// What must get through whatever else goes on: signs of life, of nodes and of this server.
fn is_exempt(info: &RequestInfo) -> bool {
    match &info.resource {
        Some(resource) => {
            resource.group == "coordination.k8s.io"
                && resource.resource == "leases"
                && resource.namespace.as_deref() == Some("kube-node-lease")
        }
        None => ["/healthz", "/livez", "/readyz"]
            .iter()
            .any(|path| info.path.starts_with(path)),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn info(path: &str) -> RequestInfo {
        RequestInfo::parse(&Method::GET, path, None)
    }

    #[tokio::test]
    async fn one_user_cannot_take_everything_and_node_leases_get_through() {
        let lane = Lane::new(4);
        let greedy = UserInfo::new("greedy", []);
        let allowed = (4 + WAITING) / 2;
        let shares: Vec<_> = (0..allowed).map(|_| lane.share(&greedy).unwrap()).collect();
        assert_eq!(lane.share(&greedy).unwrap_err().code(), 429);
        assert!(lane.share(&UserInfo::new("other", [])).is_ok());
        drop(shares);
        assert!(lane.share(&greedy).is_ok());

        let limits = InflightLimits {
            reading: Lane::new(0),
            writing: Lane::new(0),
        };
        let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n";
        assert!(limits.enter(&greedy, &info(lease)).await.is_ok());
        assert!(limits.enter(&greedy, &info("/readyz/ping")).await.is_ok());
    }

    #[tokio::test]
    async fn a_place_is_given_back_and_the_next_one_gets_it() {
        let limits = InflightLimits {
            reading: Lane::new(1),
            writing: Lane::new(1),
        };
        let user = UserInfo::new("u", []);
        let first = limits.enter(&user, &info("/api/v1/pods")).await.unwrap();
        assert_eq!(limits.inflight(), (1, 0));
        let target = info("/api/v1/pods");
        let second = limits.enter(&user, &target);
        let (second, ()) = tokio::join!(second, async { drop(first) });
        assert!(second.is_ok());
    }
}
