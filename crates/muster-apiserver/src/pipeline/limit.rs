//! How many requests are worked on at once, and who waits: reading and writing ones apart, each user in turn. Signs
//! of life (leases and status of nodes, leases of leaders) have places of their own; health checks and
//! `system:masters` never wait. Watches are counted by user for as long as they last.
//!
//! Refuses to know: what requests do. Watches give their place back as soon as they have begun.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::StreamExt as _;
use muster_machinery::status::Status;
use parking_lot::Mutex;

use super::lane::{self, Full, Lane, Size};
use crate::{
    authn::{ANONYMOUS, service_account},
    authz::{LEASE_NAMESPACE, MASTERS, node_identity},
    registry::Refusal,
    request::{RequestInfo, UserInfo, Verb},
    server::Limits,
    wire::{Response, ResponseBody},
};

/// The limits of one server.
#[derive(Debug)]
pub(crate) struct InflightLimits {
    reading: Lane,
    writing: Lane,
    vital: Lane,
    exempt: Arc<[AtomicUsize; 2]>,
    watches: Arc<Mutex<HashMap<String, usize>>>,
    watches_per_user: usize,
}

/// A place that a request holds until it is answered.
#[derive(Debug)]
pub(crate) struct Place {
    _given: Option<lane::Place>,
    _beside: Option<Exempt>,
}

/// A request that never waits; it is only counted.
#[derive(Debug)]
struct Exempt {
    counts: Arc<[AtomicUsize; 2]>,
    which: usize,
}

/// What a request counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Exempt,
    Vital,
    Reading,
    Writing,
}

impl InflightLimits {
    /// The limits as configured.
    pub(crate) fn new(limits: &Limits) -> Self {
        let lane = |places: usize, per_user: usize| {
            Lane::new(Size {
                places,
                places_per_user: per_user.max(1),
                waiting: limits.waiting,
                waiting_per_user: limits.waiting_per_user,
                patience: limits.patience,
            })
        };
        // A quarter stays for the others, whoever holds places long: with a body that never ends, say.
        let most = |places: usize| places - places / 4;
        Self {
            reading: lane(limits.reading, most(limits.reading)),
            writing: lane(limits.writing, most(limits.writing)),
            // No node and no leader needs more than a few.
            vital: lane(limits.vital, limits.vital / 8),
            exempt: Arc::default(),
            watches: Arc::default(),
            watches_per_user: limits.watches_per_user,
        }
    }

    /// Takes a place, waiting for one if need be. Nobody in particular is told apart by where they ask `from`.
    pub(crate) async fn enter(
        &self,
        user: &UserInfo,
        info: &RequestInfo,
        from: Option<IpAddr>,
    ) -> Result<Place, Refusal> {
        let lane = match class(user, info) {
            Class::Exempt => {
                return Ok(Place {
                    _given: None,
                    _beside: Some(self.beside(info)),
                });
            }
            Class::Vital => &self.vital,
            Class::Reading => &self.reading,
            Class::Writing => &self.writing,
        };
        let place = match from {
            Some(from) if user.name == ANONYMOUS => {
                lane.enter(&format!("{ANONYMOUS} {from}")).await
            }
            _ => lane.enter(&user.name).await,
        };
        let given = place.map_err(|Full| too_many())?;
        Ok(Place {
            _given: Some(given),
            _beside: None,
        })
    }

    fn beside(&self, info: &RequestInfo) -> Exempt {
        let which = usize::from(!info.verb.is_read_only());
        self.exempt[which].fetch_add(1, Ordering::Relaxed);
        Exempt {
            counts: Arc::clone(&self.exempt),
            which,
        }
    }

    /// Requests that are worked on, reading and writing ones.
    pub(crate) fn inflight(&self) -> (usize, usize) {
        let beside = |which: usize| self.exempt[which].load(Ordering::Relaxed);
        (
            self.reading.taken() + beside(0),
            self.writing.taken() + self.vital.taken() + beside(1),
        )
    }

    /// Counts a watch on its user until its stream ends.
    pub(crate) fn begin_watch(&self, user: &UserInfo) -> Result<Watching, Refusal> {
        let mut watches = self.watches.lock();
        let own = watches.entry(user.name.clone()).or_default();
        if *own >= self.watches_per_user && !user.is_in(MASTERS) {
            return Err(too_many());
        }
        *own += 1;
        Ok(Watching {
            user: user.name.clone(),
            watches: Arc::clone(&self.watches),
        })
    }
}

impl Drop for Exempt {
    fn drop(&mut self) {
        self.counts[self.which].fetch_sub(1, Ordering::Relaxed);
    }
}

/// A watch that is counted.
#[derive(Debug)]
pub(crate) struct Watching {
    user: String,
    watches: Arc<Mutex<HashMap<String, usize>>>,
}

impl Watching {
    /// Ties the count to the answer: it ends with the stream.
    pub(crate) fn until_it_ends(self, response: Response) -> Response {
        response.map(|body| match body {
            ResponseBody::Stream(frames) => {
                let counted = frames.map(move |frame| {
                    let _counted = &self;
                    frame
                });
                ResponseBody::Stream(Box::pin(counted))
            }
            whole => whole,
        })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watches = self.watches.lock();
        if let Some(own) = watches.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                watches.remove(&self.user);
            }
        }
    }
}

fn too_many() -> Refusal {
    Status::too_many_requests("Too many requests, please try again later.", 1).into()
}

fn class(user: &UserInfo, info: &RequestInfo) -> Class {
    let is_health = ["/healthz", "/livez", "/readyz"].iter().any(|root| {
        let rest = info.path.strip_prefix(root);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if user.is_in(MASTERS) || (is_health && info.resource.is_none()) {
        Class::Exempt
    } else if is_vital(user, info) {
        Class::Vital
    } else if info.verb.is_read_only() {
        Class::Reading
    } else {
        Class::Writing
    }
}

/// Signs of life: what upstream's flow schemas `system-node-high` and `system-leader-election` let through.
fn is_vital(user: &UserInfo, info: &RequestInfo) -> bool {
    let Some(asked) = &info.resource else {
        return false;
    };
    let single = !matches!(
        info.verb,
        Verb::List | Verb::Watch | Verb::DeleteCollection | Verb::Other(_)
    );
    let namespace = asked.namespace.as_deref();
    let is_lease = asked.group == "coordination.k8s.io" && asked.resource == "leases";
    if node_identity(user).is_some() {
        let is_node = asked.group.is_empty()
            && asked.resource == "nodes"
            && matches!(asked.subresource.as_deref(), None | Some("status"));
        return single && (is_node || (is_lease && namespace == Some(LEASE_NAMESPACE)));
    }
    let may_lead = matches!(
        user.name.as_str(),
        "system:kube-controller-manager" | "system:kube-scheduler"
    ) || user.is_in(&format!("{}:kube-system", service_account::GROUP));
    may_lead && single && is_lease && namespace == Some("kube-system")
}

#[cfg(test)]
mod tests {
    use http::Method;
    use rstest::rstest;

    use super::*;
    use crate::authz::sample::node;

    const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n";
    const LEADER: &str =
        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler";

    fn info(method: &Method, path: &str) -> RequestInfo {
        RequestInfo::parse(method, path, None)
    }

    fn user(name: &str) -> UserInfo {
        UserInfo::new(name, [])
    }

    #[rstest]
    #[case(node("n"), Method::PUT, LEASE, Class::Vital)]
    #[case(node("n"), Method::PATCH, "/api/v1/nodes/n/status", Class::Vital)]
    #[case(node("n"), Method::POST, "/api/v1/nodes", Class::Vital)]
    #[case(node("n"), Method::GET, "/api/v1/nodes", Class::Reading)]
    #[case(
        node("n"),
        Method::PATCH,
        "/api/v1/namespaces/d/pods/p/status",
        Class::Writing
    )]
    #[case(user("u"), Method::PUT, LEASE, Class::Writing)]
    #[case(user("u"), Method::GET, LEASE, Class::Reading)]
    #[case(user("system:kube-scheduler"), Method::PUT, LEADER, Class::Vital)]
    #[case(user("u"), Method::PUT, LEADER, Class::Writing)]
    #[case(user("u"), Method::GET, "/readyz/ping", Class::Exempt)]
    #[case(user("u"), Method::GET, "/readyzz", Class::Reading)]
    #[case(UserInfo::new("a", [MASTERS]), Method::POST, "/api/v1/namespaces", Class::Exempt)]
    fn requests_count_as_what_they_are(
        #[case] user: UserInfo,
        #[case] method: Method,
        #[case] path: &str,
        #[case] expected: Class,
    ) {
        assert_eq!(class(&user, &info(&method, path)), expected);
    }

    #[tokio::test]
    async fn where_everything_is_taken_the_refusal_says_when_to_come_back() {
        let limits = Limits {
            reading: 1,
            waiting: 0,
            ..Limits::default()
        };
        let limits = InflightLimits::new(&limits);
        let pods = info(&Method::GET, "/api/v1/pods");
        let place = limits
            .enter(&user("a"), &pods, None)
            .await
            .expect("a place");
        assert_eq!(limits.inflight(), (1, 0));
        let refused = limits
            .enter(&user("b"), &pods, None)
            .await
            .expect_err("full");
        assert_eq!((refused.code(), refused.retry_after()), (429, Some(1)));
        assert!(
            limits
                .enter(&node("n"), &info(&Method::PUT, LEASE), None)
                .await
                .is_ok()
        );
        drop(place);
        assert!(limits.enter(&user("b"), &pods, None).await.is_ok());
    }

    #[tokio::test]
    async fn strangers_from_one_address_do_not_keep_those_from_another_out() {
        let limits = Limits {
            reading: 4,
            waiting: 0,
            ..Limits::default()
        };
        let limits = InflightLimits::new(&limits);
        let pods = info(&Method::GET, "/api/v1/pods");
        let from = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        let mut held = Vec::new();
        while let Ok(place) = limits.enter(&user(ANONYMOUS), &pods, from(1)).await {
            held.push(place);
        }
        assert_eq!(held.len(), 3);
        assert!(limits.enter(&user(ANONYMOUS), &pods, from(2)).await.is_ok());
    }

    #[tokio::test]
    async fn a_watch_counts_until_its_stream_ends() {
        let limits = Limits {
            watches_per_user: 1,
            ..Limits::default()
        };
        let limits = InflightLimits::new(&limits);
        let watching = limits.begin_watch(&user("a")).expect("counted");
        let stream = ResponseBody::Stream(Box::pin(futures::stream::pending()));
        let answer = watching.until_it_ends(Response::new(stream));
        assert_eq!(
            limits
                .begin_watch(&user("a"))
                .expect_err("one too many")
                .code(),
            429
        );
        assert!(limits.begin_watch(&user("b")).is_ok());
        assert!(limits.begin_watch(&UserInfo::new("a", [MASTERS])).is_ok());
        drop(answer);
        assert!(limits.begin_watch(&user("a")).is_ok());
    }
}
