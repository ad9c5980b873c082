//! The operator: stands for election, follows everything that matters, and hands each change to the worker.
//!
//! It refuses to know what is decided, and sockets: whoever serves health and metrics asks here.

use super::announce::Announcer;
use super::debt::Debt;
use super::hands::Pace;
use super::lease::Candidate;
use super::metrics::{Metrics, Standing};
use super::names::{DEBT_LABEL, DEFINITION, REQUEST_LABEL, STORED_VERSION};
use super::reference::{ClusterKind, clusters_of_secret, read_cluster};
use super::request::{Place, Request};
use super::served::{Seen, follow};
use super::targets::{Item, Targets, Tether};
use super::worker::Worker;
use super::world::World;
use crate::events::{Change, changes};
use crate::keyed;
use futures::{StreamExt, future, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret as SecretObject};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The pause before our own API is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// What an operator is started with.
#[derive(Clone, Debug)]
pub struct OperatorSettings {
    /// Where the Lease and debts are kept.
    pub namespace: String,
    /// Who we are among operators; must differ between them.
    pub identity: String,
    /// How long the Lease is good for without a renewal; `None` works without election.
    pub lease: Option<Duration>,
    /// How many requests are worked on at the same time.
    pub concurrency: usize,
    /// How many requests are begun in a second.
    pub rate: u32,
    /// Fills the secrets of tokens; must be cryptographically secure.
    pub entropy: fn(&mut [u8]),
}

/// What works while this operator leads.
struct Works {
    world: Arc<World>,
    targets: Arc<Targets>,
}

/// An operator. It works while [`Operator::run`] does.
pub struct Operator {
    client: Client,
    settings: OperatorSettings,
    metrics: Arc<Metrics>,
    works: Mutex<Option<Works>>,
    /// Waits for the Lease, or has seen all requests.
    is_ready: AtomicBool,
}

impl Operator {
    /// An operator for the requests of this cluster.
    #[must_use]
    pub fn new(client: Client, settings: OperatorSettings) -> Arc<Self> {
        Arc::new(Self {
            client,
            settings,
            metrics: Arc::default(),
            works: Mutex::new(None),
            is_ready: AtomicBool::new(false),
        })
    }

    /// Whether it waits for its turn, or works and has seen everything there is.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    /// Counters and gauges in Prometheus' text format.
    #[must_use]
    pub fn metrics(&self) -> String {
        let works = self.works.lock();
        let (requests, now) = works.as_ref().map_or_else(Default::default, |works| {
            let (answering, clusters) = works.targets.count();
            let now = Standing {
                debts: works.world.debts(),
                clusters,
                answering,
            };
            (works.world.requests(), now)
        });
        self.metrics.render(&requests, now)
    }

    /// Works until `stop` resolves, then lets go of the Lease. What was being done is left as it is: the next operator
    /// goes on with it.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let Some(life) = self.settings.lease else {
            self.metrics.set_leader(true);
            future::select(pin!(self.lead()), pin!(stop)).await;
            return;
        };
        let OperatorSettings {
            namespace,
            identity,
            ..
        } = &self.settings;
        let candidate = Candidate::new(self.client.clone(), namespace, identity.clone(), life);
        let working = async {
            loop {
                self.is_ready.store(true, Ordering::Relaxed);
                candidate.win().await;
                tracing::info!(identity, "this operator leads");
                self.metrics.set_leader(true);
                self.is_ready.store(false, Ordering::Relaxed);
                // In a task of its own: the Lease does not wait until work has had its turn.
                let mut renewals = JoinSet::new();
                let holder = candidate.clone();
                renewals.spawn(async move { holder.hold().await });
                future::select(pin!(self.lead()), pin!(renewals.join_next())).await;
                // Nothing is renewed any more when the Lease is stood for again.
                renewals.shutdown().await;
                self.metrics.set_leader(false);
                *self.works.lock() = None;
                tracing::warn!("this operator leads no longer");
            }
        };
        future::select(pin!(working), pin!(stop)).await;
        if self.metrics.is_leader() {
            candidate.release().await;
        }
    }

    /// Does everything, for ever.
    async fn lead(&self) {
        let manager = self.own_uid().await;
        let (sender, receiver) = mpsc::unbounded_channel();
        let world = Arc::new(World::default());
        let targets = Targets::new(
            self.client.clone(),
            Arc::clone(&world),
            manager,
            sender.clone(),
        );
        let _tether = Tether(Arc::clone(&targets));
        *self.works.lock() = Some(Works {
            world: Arc::clone(&world),
            targets: Arc::clone(&targets),
        });
        let debts = Api::<ConfigMap>::namespaced(self.client.clone(), &self.settings.namespace);
        let worker = Arc::new(Worker {
            client: self.client.clone(),
            world: Arc::clone(&world),
            targets: Arc::clone(&targets),
            debts: debts.clone(),
            announcer: Announcer::new(self.client.clone(), &self.settings.identity),
            metrics: Arc::clone(&self.metrics),
            pace: Pace::new(self.settings.rate),
            entropy: self.settings.entropy,
        });
        let eyes = Eyes {
            client: self.client.clone(),
            world,
            targets,
            metrics: Arc::clone(&self.metrics),
            items: sender,
        };
        let items = stream::unfold(receiver, |mut receiver| async move {
            let item: Item = receiver.recv().await?;
            Some(((item.clone(), item), receiver))
        });
        let work = keyed::run(
            items.boxed(),
            self.settings.concurrency.max(1),
            |item: Item| {
                let worker = Arc::clone(&worker);
                async move { worker.work(item).await }
            },
        );
        let seen = || self.is_ready.store(true, Ordering::Relaxed);
        let [k0smotron, cluster_api] = ClusterKind::ALL;
        let follow = future::join5(
            eyes.follow_requests(seen),
            eyes.follow_tokens(),
            eyes.follow_secrets(),
            future::join(
                eyes.follow_clusters(k0smotron),
                eyes.follow_clusters(cluster_api),
            ),
            eyes.follow_debts(debts),
        );
        future::join(work, follow).await;
    }

    /// The uid of our own cluster, which marks tokens as ours.
    async fn own_uid(&self) -> String {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        loop {
            match namespaces.get_metadata("kube-system").await {
                Ok(found) => return found.uid().unwrap_or_default(),
                Err(error) => tracing::warn!(%error, "the API does not answer"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// What looks at the API.
struct Eyes {
    client: Client,
    world: Arc<World>,
    targets: Arc<Targets>,
    metrics: Arc<Metrics>,
    items: mpsc::UnboundedSender<Item>,
}

impl Eyes {
    fn tell(&self, item: Item) {
        // The worker lives as long as we do.
        let _ = self.items.send(item);
    }

    async fn follow_requests(&self, all_are_seen: impl Fn()) {
        follow(self.client.clone(), DEFINITION, &[STORED_VERSION], |seen| match seen {
            Seen::Present(object) => {
                let request = Request::read(&object);
                self.metrics.seen(&request);
                let place = request.place.clone();
                self.world.put_request(request);
                self.tell(Item::Request(place));
            }
            Seen::Gone(former) => {
                let place = Place::new(former.namespace.unwrap_or_default(), former.name);
                self.metrics.gone(&former.uid);
                self.world.drop_request(&place, &former.uid);
                self.tell(Item::Request(place));
            }
            Seen::Listed => all_are_seen(),
            Seen::Unserved => {
                tracing::warn!("{DEFINITION} is not served yet: muster operator manifests prints its definition");
                for request in self.world.requests() {
                    self.world.drop_request(&request.place, &request.uid);
                    self.tell(Item::Request(request.place.clone()));
                }
                all_are_seen();
            }
        })
        .await;
    }

    /// Secrets with tokens, whole: of what is in them a hash is kept.
    async fn follow_tokens(&self) {
        let labelled = watcher::Config::default().labels(REQUEST_LABEL);
        let secrets = Api::<SecretObject>::all(self.client.clone());
        let mut secrets = pin!(changes(secrets, labelled));
        while let Some(change) = secrets.next().await {
            let place = match change {
                Change::Present(secret) => {
                    self.world.put_secret(&secret);
                    Place::of(&secret)
                }
                Change::Gone(former) => {
                    let place = Place::new(former.namespace.unwrap_or_default(), former.name);
                    self.world.drop_secret(&place);
                    place
                }
                Change::Listed => continue,
            };
            self.tell(Item::Request(place));
        }
    }

    /// All Secrets, without what is in them: kubeconfigs that come and change, Secrets that stand in a request's way.
    async fn follow_secrets(&self) {
        let secrets = Api::<PartialObjectMeta<SecretObject>>::all(self.client.clone());
        let events = watcher(secrets, watcher::Config::default()).default_backoff();
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(
                    watcher::Event::Apply(secret)
                    | watcher::Event::Delete(secret)
                    | watcher::Event::InitApply(secret),
                ) => {
                    let place = Place::of(&secret);
                    for cluster in clusters_of_secret(&place.name) {
                        self.targets.poke(&Place::new(&place.namespace, cluster));
                    }
                    if self.world.request(&place).is_some() {
                        self.tell(Item::Request(place));
                    }
                }
                Ok(watcher::Event::InitDone) => self.targets.poke_all(),
                Ok(watcher::Event::Init) => {}
                Err(error) => tracing::debug!(%error, "following Secrets broke off and is resumed"),
            }
        }
    }

    async fn follow_clusters(&self, kind: ClusterKind) {
        let on = |seen| match seen {
            Seen::Present(object) => {
                let place = Place::of(&*object);
                let cluster = read_cluster(kind, &object);
                self.world.put_cluster(kind, place.clone(), cluster);
                self.targets.poke(&place);
            }
            Seen::Gone(former) => {
                let place = Place::new(former.namespace.unwrap_or_default(), former.name);
                self.world.drop_cluster(kind, &place);
                self.targets.poke(&place);
            }
            Seen::Listed => {
                self.world.cluster_kind_is_listed(kind);
                self.targets.poke_all();
            }
            Seen::Unserved => {
                self.world.drop_cluster_kind(kind);
                self.world.cluster_kind_is_listed(kind);
                self.targets.poke_all();
            }
        };
        follow(self.client.clone(), kind.definition(), kind.versions(), on).await;
    }

    async fn follow_debts(&self, debts: Api<ConfigMap>) {
        let labelled = watcher::Config::default().labels(DEBT_LABEL);
        let mut debts = pin!(changes(debts, labelled));
        while let Some(change) = debts.next().await {
            match change {
                Change::Present(object) => match Debt::read(&object) {
                    Some(debt) => {
                        let name = debt.name();
                        self.world.put_debt(debt);
                        self.tell(Item::Debt(name));
                    }
                    None => tracing::warn!(
                        configmap = object.name_any(),
                        "a debt was changed by somebody else and is left alone"
                    ),
                },
                Change::Gone(former) => {
                    self.world.drop_debt(&former.name);
                    self.tell(Item::Debt(former.name));
                }
                Change::Listed => {}
            }
        }
    }
}
