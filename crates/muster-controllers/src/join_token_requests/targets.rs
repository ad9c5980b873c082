//! The clusters that tokens are made in: one client each, kept while a request or a debt has to do with it.
//!
//! A task per cluster finds its kubeconfig, connects, and follows the tokens there that are ours. So a cluster that
//! comes, goes or returns is noticed without asking again and again. It refuses to know what requests want.

use super::decide::{ClusterState, Ready};
use super::flavour::Way;
use super::names::{
    ENDPOINT_ANNOTATION, MANAGER_LABEL, REQUEST_ANNOTATION, REQUEST_UID_LABEL, fingerprint,
};
use super::reference::{Access, ClusterObject, KUBECONFIGS, read_kubeconfig};
use super::request::Place;
use super::target_client::client_for;
use super::world::World;
use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{Namespace, Secret as SecretObject};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use muster_identity::token::SECRET_NAMESPACE;
use muster_identity::{Endpoint, TokenId};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// How long one call to a target cluster may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The first pause after a cluster did not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How long a cluster is kept that nobody has to do with.
const LINGER: Duration = Duration::from_secs(300);
/// How many calls one target cluster gets at the same time.
const CALLS: usize = 16;

/// Who has to do with a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    /// A request.
    Request(Place),
    /// A debt, by the name of its ConfigMap.
    Debt(String),
}

/// A cluster that answers.
pub(crate) struct Target {
    pub(crate) secrets: Api<SecretObject>,
    pub(crate) way: Way,
    pub(crate) ready: Ready,
    pub(crate) calls: Semaphore,
}

/// A token of ours in a target cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Standing {
    /// The target cluster.
    pub(crate) cluster: Place,
    pub(crate) id: String,
    pub(crate) request_uid: String,
}

struct Entry {
    shared: Arc<Shared>,
    wanted_by: HashSet<Item>,
    /// Since when nobody has to do with the cluster.
    idle: Option<Instant>,
    task: AbortHandle,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the task of a cluster has in common with everybody else.
struct Shared {
    place: Place,
    state: Mutex<(ClusterState, Option<Arc<Target>>)>,
    /// Look again.
    poke: Notify,
    /// A call failed: look whether the cluster still answers.
    is_suspect: AtomicBool,
}

/// All target clusters.
pub(crate) struct Targets {
    client: Client,
    world: Arc<World>,
    /// The uid of `kube-system` where the requests are.
    pub(crate) manager: String,
    items: mpsc::UnboundedSender<Item>,
    entries: Mutex<HashMap<Place, Entry>>,
    wants: Mutex<HashMap<Item, HashSet<Place>>>,
    standing: Mutex<HashMap<Place, HashSet<Standing>>>,
    /// When it was last looked for clusters that nobody has to do with.
    looked: Mutex<Instant>,
}

/// Lets all clusters go when it is dropped: their tasks hold on to what they work for.
pub(crate) struct Tether(pub(crate) Arc<Targets>);

impl Drop for Tether {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What was found of a cluster before it was asked.
struct Found {
    access: Access,
    object: Option<ClusterObject>,
    way: Way,
    /// Changes with anything above.
    mark: String,
}

impl Targets {
    /// No clusters yet. Whoever has to be looked at again is sent to `items`.
    pub(crate) fn new(
        client: Client,
        world: Arc<World>,
        manager: String,
        items: mpsc::UnboundedSender<Item>,
    ) -> Arc<Self> {
        Arc::new(Self {
            client,
            world,
            manager,
            items,
            entries: Mutex::default(),
            wants: Mutex::default(),
            standing: Mutex::default(),
            looked: Mutex::new(Instant::now()),
        })
    }

    /// Says with which clusters an item has to do from now on.
    pub(crate) fn set_wants(self: &Arc<Self>, item: &Item, places: HashSet<Place>) {
        let mut wants = self.wants.lock();
        let before = if places.is_empty() {
            wants.remove(item).unwrap_or_default()
        } else {
            wants
                .insert(item.clone(), places.clone())
                .unwrap_or_default()
        };
        let mut entries = self.entries.lock();
        for place in places.difference(&before) {
            let entry = entries
                .entry(place.clone())
                .or_insert_with(|| self.begin(place.clone()));
            entry.wanted_by.insert(item.clone());
            entry.idle = None;
        }
        for place in before.difference(&places) {
            let Some(entry) = entries.get_mut(place) else {
                continue;
            };
            entry.wanted_by.remove(item);
            if entry.wanted_by.is_empty() {
                entry.idle = Some(Instant::now());
            }
        }
        let mut looked = self.looked.lock();
        if looked.elapsed() > LINGER / 10 {
            *looked = Instant::now();
            self.let_go(&mut entries);
        }
    }

    /// Ends what nobody has had to do with for a while. The next request often comes soon after the last one.
    fn let_go(&self, entries: &mut HashMap<Place, Entry>) {
        entries.retain(|place, entry| {
            let keeps = entry.idle.is_none_or(|since| since.elapsed() < LINGER);
            if !keeps {
                self.keep_standing(place, &HashSet::new());
            }
            keeps
        });
    }

    fn begin(self: &Arc<Self>, place: Place) -> Entry {
        let shared = Arc::new(Shared {
            place,
            state: Mutex::new((ClusterState::Connecting, None)),
            poke: Notify::new(),
            is_suspect: AtomicBool::new(false),
        });
        let (targets, of) = (Arc::clone(self), Arc::clone(&shared));
        let task = tokio::spawn(async move { targets.follow(&of).await });
        Entry {
            shared,
            wanted_by: HashSet::new(),
            idle: None,
            task: task.abort_handle(),
        }
    }

    /// What is known of a cluster.
    pub(crate) fn state(&self, place: &Place) -> ClusterState {
        let entries = self.entries.lock();
        let state = entries
            .get(place)
            .map(|entry| entry.shared.state.lock().0.clone());
        state.unwrap_or(ClusterState::Connecting)
    }

    /// The cluster, if it answers.
    pub(crate) fn target(&self, place: &Place) -> Option<Arc<Target>> {
        let entries = self.entries.lock();
        entries.get(place)?.shared.state.lock().1.clone()
    }

    /// Has a cluster looked at again: its object or a Secret changed.
    pub(crate) fn poke(&self, place: &Place) {
        if let Some(entry) = self.entries.lock().get(place) {
            entry.shared.poke.notify_one();
        }
    }

    /// As [`Targets::poke`], for all clusters.
    pub(crate) fn poke_all(&self) {
        for entry in self.entries.lock().values() {
            entry.shared.poke.notify_one();
        }
    }

    /// A call failed in a way that says something of the cluster.
    pub(crate) fn suspect(&self, place: &Place) {
        if let Some(entry) = self.entries.lock().get(place) {
            entry.shared.is_suspect.store(true, Ordering::Relaxed);
            entry.shared.poke.notify_one();
        }
    }

    /// How many clusters answer, and how many there are.
    pub(crate) fn count(&self) -> (usize, usize) {
        let entries = self.entries.lock();
        let answers = |entry: &&Entry| entry.shared.state.lock().1.is_some();
        (entries.values().filter(answers).count(), entries.len())
    }

    /// The tokens of a request that stand in target clusters, as far as known.
    pub(crate) fn standing(&self, request: &Place) -> Vec<Standing> {
        let standing = self.standing.lock();
        standing
            .get(request)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// A token stands in a cluster; whether that is news.
    pub(crate) fn note(&self, request: Place, token: Standing) -> bool {
        self.standing
            .lock()
            .entry(request)
            .or_default()
            .insert(token)
    }

    /// A token does not stand there any more; whether that is news.
    pub(crate) fn forget(&self, request: &Place, cluster: &Place, id: &str) -> bool {
        let mut standing = self.standing.lock();
        let Some(tokens) = standing.get_mut(request) else {
            return false;
        };
        let before = tokens.len();
        tokens.retain(|token| token.id != id || token.cluster != *cluster);
        let is_news = tokens.len() < before;
        if tokens.is_empty() {
            standing.remove(request);
        }
        is_news
    }

    /// Of the tokens in a cluster only these are left. Answers with the requests of the others.
    fn keep_standing(&self, cluster: &Place, ids: &HashSet<String>) -> Vec<Place> {
        let mut changed = Vec::new();
        self.standing.lock().retain(|request, tokens| {
            let before = tokens.len();
            tokens.retain(|token| token.cluster != *cluster || ids.contains(&token.id));
            if tokens.len() < before {
                changed.push(request.clone());
            }
            !tokens.is_empty()
        });
        changed
    }

    /// Lets all clusters go.
    fn end(&self) {
        self.wants.lock().clear();
        self.entries.lock().clear();
    }

    fn tell(&self, item: Item) {
        // The receiver is gone only when everything ends.
        let _ = self.items.send(item);
    }

    fn publish(&self, shared: &Shared, state: ClusterState, target: Option<Arc<Target>>) {
        {
            let mut known = shared.state.lock();
            if known.0 == state && known.1.is_some() == target.is_some() {
                known.1 = target;
                return;
            }
            *known = (state.clone(), target);
        }
        match &state {
            ClusterState::Unreachable(why) | ClusterState::Unusable(why) => {
                tracing::warn!(cluster = %shared.place, why, "a target cluster cannot be used");
            }
            state => tracing::info!(cluster = %shared.place, ?state, "a target cluster"),
        }
        let entries = self.entries.lock();
        let wanted_by = entries
            .get(&shared.place)
            .map(|entry| entry.wanted_by.clone());
        drop(entries);
        for item in wanted_by.into_iter().flatten() {
            self.tell(item);
        }
    }

    /// Follows one cluster for ever.
    async fn follow(&self, shared: &Shared) {
        let mut pause = FIRST_PAUSE;
        loop {
            let found = match self.find(&shared.place).await {
                Ok(found) => found,
                Err(Some(state)) => {
                    self.publish(shared, state, None);
                    pause = FIRST_PAUSE;
                    shared.poke.notified().await;
                    continue;
                }
                // Not known yet, or our own API did not answer.
                Err(None) => {
                    rest(shared, &mut pause).await;
                    continue;
                }
            };
            match self.serve(shared, found, &mut pause).await {
                Ok(()) => {}
                Err(why) => {
                    self.publish(shared, ClusterState::Unreachable(why), None);
                    rest(shared, &mut pause).await;
                }
            }
        }
    }

    /// Connects and follows the tokens. Ends well when something about the way there changed, else with a reason.
    async fn serve(
        &self,
        shared: &Shared,
        found: Found,
        pause: &mut Duration,
    ) -> Result<(), String> {
        shared.is_suspect.store(false, Ordering::Relaxed);
        let client = client_for(&found.access)?;
        let uid = match &found.object {
            Some(object) => object.uid.clone(),
            None => uid_of(&client).await?,
        };
        let target = Arc::new(Target {
            secrets: Api::namespaced(client.clone(), SECRET_NAMESPACE),
            ready: Ready {
                uid,
                has_object: found.object.is_some(),
                way: found.way.fingerprint(),
            },
            way: found.way,
            calls: Semaphore::new(CALLS),
        });
        let of_ours =
            watcher::Config::default().labels(&format!("{MANAGER_LABEL}={}", self.manager));
        let metadata = Api::<PartialObjectMeta<SecretObject>>::namespaced(client, SECRET_NAMESPACE);
        let mut tokens = watcher(metadata, of_ours).boxed();
        let first = tokio::time::timeout(PATIENCE, self.list(shared, &mut tokens)).await;
        first.map_err(|_| "it does not answer in time".to_owned())??;
        *pause = FIRST_PAUSE;
        let ready = ClusterState::Ready(target.ready.clone());
        self.publish(shared, ready, Some(Arc::clone(&target)));
        loop {
            tokio::select! {
                event = tokens.next() => match event {
                    Some(Ok(event)) => self.on_token(shared, event),
                    // Whether it still answers is found out by connecting again.
                    Some(Err(error)) => {
                        tracing::debug!(cluster = %shared.place, %error, "following tokens broke off");
                        tokio::time::sleep(FIRST_PAUSE).await;
                        return Ok(());
                    }
                    None => return Ok(()),
                },
                () = shared.poke.notified() => {
                    if shared.is_suspect.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    match self.find(&shared.place).await {
                        Ok(now) if now.mark == found.mark => {}
                        Err(None) => {}
                        _ => return Ok(()),
                    }
                }
            }
        }
    }

    /// Takes in all tokens that are there now.
    async fn list(&self, shared: &Shared, tokens: &mut TokenEvents) -> Result<(), String> {
        let mut listed = HashSet::new();
        while let Some(event) = tokens.next().await {
            match event.map_err(|error| told(&error))? {
                watcher::Event::Init => {}
                watcher::Event::InitApply(secret) => {
                    listed.extend(
                        TokenId::from_secret_name(&secret.name_any()).map(|id| id.to_string()),
                    );
                    self.on_token(shared, watcher::Event::InitApply(secret));
                }
                watcher::Event::InitDone => {
                    for request in self.keep_standing(&shared.place, &listed) {
                        self.tell(Item::Request(request));
                    }
                    return Ok(());
                }
                other => self.on_token(shared, other),
            }
        }
        Err("the list of tokens ended early".to_owned())
    }

    fn on_token(&self, shared: &Shared, event: watcher::Event<PartialObjectMeta<SecretObject>>) {
        let (secret, is_there) = match event {
            watcher::Event::Apply(secret) | watcher::Event::InitApply(secret) => (secret, true),
            watcher::Event::Delete(secret) => (secret, false),
            watcher::Event::Init | watcher::Event::InitDone => return,
        };
        let request = secret.annotations().get(REQUEST_ANNOTATION);
        let request = request.and_then(|text| Place::parse(text));
        let id = TokenId::from_secret_name(&secret.name_any());
        let (Some(request), Some(id)) = (request, id) else {
            return;
        };
        let uid = secret.labels().get(REQUEST_UID_LABEL);
        let is_news = if is_there {
            let token = Standing {
                cluster: shared.place.clone(),
                id: id.to_string(),
                request_uid: uid.cloned().unwrap_or_default(),
            };
            self.note(request.clone(), token)
        } else {
            self.forget(&request, &shared.place, id.as_str())
        };
        if is_news {
            self.tell(Item::Request(request));
        }
    }

    /// What leads to a cluster. `Err(None)` when that cannot be said now.
    async fn find(&self, place: &Place) -> Result<Found, Option<ClusterState>> {
        let object = self.world.cluster(place).ok_or(None)?;
        let secrets = Api::<SecretObject>::namespaced(self.client.clone(), &place.namespace);
        for (before, after, key) in KUBECONFIGS {
            let name = format!("{before}{}{after}", place.name);
            let secret = secrets.get_opt(&name).await.map_err(|error| {
                tracing::warn!(cluster = %place, %error, "a kubeconfig could not be read");
                None
            })?;
            let data = secret
                .as_ref()
                .and_then(|secret| secret.data.as_ref()?.get(key));
            let (Some(secret), Some(kubeconfig)) = (&secret, data) else {
                continue;
            };
            return Found::of(object, secret, &kubeconfig.0)
                .map_err(|why| Some(ClusterState::Unusable(format!("Secret {name}: {why}"))));
        }
        Err(Some(match object {
            Some(_) => ClusterState::NoKubeconfig,
            None => ClusterState::Missing,
        }))
    }
}

type TokenEvents =
    BoxStream<'static, Result<watcher::Event<PartialObjectMeta<SecretObject>>, watcher::Error>>;

impl Found {
    fn of(
        object: Option<ClusterObject>,
        secret: &SecretObject,
        kubeconfig: &[u8],
    ) -> Result<Self, String> {
        let access = read_kubeconfig(kubeconfig)?;
        let annotated = secret.annotations().get(ENDPOINT_ANNOTATION);
        let annotated = annotated
            .map(|text| {
                Endpoint::parse(text).map_err(|error| format!("{ENDPOINT_ANNOTATION}: {error}"))
            })
            .transpose()?;
        let said = object.as_ref().and_then(|object| object.endpoint.clone());
        let is_rewritten = annotated.is_some()
            || object
                .as_ref()
                .is_some_and(|object| object.is_ingress && object.endpoint.is_some());
        let way = Way {
            endpoint: annotated
                .or(said)
                .unwrap_or_else(|| access.endpoint.clone()),
            is_rewritten,
            ca: access.ca.clone(),
        };
        let uid = object.as_ref().map_or("", |object| &object.uid);
        let mark = format!("{uid} {} {}", way.fingerprint(), fingerprint(kubeconfig));
        Ok(Self {
            access,
            object,
            way,
            mark,
        })
    }
}

/// The uid of `kube-system`, by which clusters are told apart.
async fn uid_of(client: &Client) -> Result<String, String> {
    let namespaces = Api::<Namespace>::all(client.clone());
    let asked = tokio::time::timeout(PATIENCE, namespaces.get_metadata(SECRET_NAMESPACE));
    let found = asked
        .await
        .map_err(|_| "it does not answer in time".to_owned())?;
    let found = found.map_err(|error| told(&error))?;
    Ok(found.uid().unwrap_or_default())
}

/// Waits until somebody pokes, at most for a pause that doubles; a quarter of it varies.
async fn rest(shared: &Shared, pause: &mut Duration) {
    let jitter = crate::jitter::spread(*pause, &shared.place.to_string());
    *pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    let _ = tokio::time::timeout(jitter, shared.poke.notified()).await;
}

/// An error with what caused it. Of what an API answered its message is enough.
pub(crate) fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = words_of(error);
    let mut next = error.source();
    while let Some(cause) = next {
        let more = words_of(cause);
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}

fn words_of(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => status.message.clone(),
        _ => error.to_string(),
    }
}
