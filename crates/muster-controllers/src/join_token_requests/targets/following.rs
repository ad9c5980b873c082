//! The task of one target cluster: finds its kubeconfig, connects, and follows the tokens there that are ours.
//!
//! It ends with its entry among the targets. It refuses to know who wants the cluster, and why.

use super::standing::Standing;
use super::{Item, PATIENCE, Shared, Target, Targets};
use crate::failure::told;
use crate::join_token_requests::decide::{ClusterState, Ready};
use crate::join_token_requests::flavour::Way;
use crate::join_token_requests::names::{
    ENDPOINT_ANNOTATION, MANAGER_LABEL, REQUEST_ANNOTATION, REQUEST_UID_LABEL, fingerprint,
};
use crate::join_token_requests::reference::{Access, ClusterObject, KUBECONFIGS, read_kubeconfig};
use crate::join_token_requests::request::Place;
use crate::join_token_requests::target_client::client_for;
use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{Namespace, Secret as SecretObject};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use muster_identity::token::SECRET_NAMESPACE;
use muster_identity::{Endpoint, TokenId};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Semaphore;

/// The first pause after a cluster did not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How many calls one target cluster gets at the same time.
const CALLS: usize = 16;

/// What was found of a cluster before it was asked.
struct Found {
    access: Access,
    object: Option<ClusterObject>,
    way: Way,
    /// Changes with anything above.
    mark: String,
}

impl Targets {
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
    pub(super) async fn follow(&self, shared: &Shared) {
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
                    for request in self.standing.keep(&shared.place, &listed) {
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
            self.standing.note(request.clone(), token)
        } else {
            self.standing.forget(&request, &shared.place, id.as_str())
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
