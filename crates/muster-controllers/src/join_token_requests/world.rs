//! What the operator has seen: requests, their Secrets, Cluster objects, debts. An index, fed by watches.
//!
//! It holds no token: of a Secret it keeps a hash. It refuses to know the API and to decide anything.

use super::debt::Debt;
use super::names::{REQUEST_LABEL, TOKEN_KEY, fingerprint};
use super::reference::{ClusterKind, ClusterObject};
use super::request::{Place, Request, is_older};
use k8s_openapi::api::core::v1::Secret as SecretObject;
use kube::ResourceExt;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What is remembered of a Secret with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenSecret {
    /// The uid of the object that controls it.
    pub(crate) owner: Option<String>,
    /// SHA-256 of the token.
    pub(crate) digest: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) type_: String,
    resource_version: String,
}

impl SeenSecret {
    pub(crate) fn of(secret: &SecretObject) -> Self {
        let token = secret.data.as_ref().and_then(|data| data.get(TOKEN_KEY));
        let owner = secret
            .owner_references()
            .iter()
            .find(|owner| owner.controller == Some(true))
            .map(|owner| owner.uid.clone());
        Self {
            owner,
            digest: token.map_or_else(String::new, |token| fingerprint(&token.0)),
            labels: secret.labels().clone(),
            type_: secret.type_.clone().unwrap_or_default(),
            resource_version: secret.resource_version().unwrap_or_default(),
        }
    }
}

#[derive(Default)]
struct Inner {
    requests: HashMap<Place, Arc<Request>>,
    secrets: HashMap<Place, SeenSecret>,
    clusters: HashMap<Place, BTreeMap<ClusterKind, ClusterObject>>,
    /// Kinds of clusters of which everything was told.
    listed: Vec<ClusterKind>,
    debts: HashMap<String, Arc<Debt>>,
}

/// The index.
#[derive(Default)]
pub(crate) struct World(Mutex<Inner>);

impl World {
    /// Takes a request in, unless a newer one is known.
    pub(crate) fn put_request(&self, request: Request) -> Arc<Request> {
        let mut inner = self.0.lock();
        if let Some(known) = inner.requests.get(&request.place)
            && !request.is_newer_than(known)
        {
            return Arc::clone(known);
        }
        let request = Arc::new(request);
        inner
            .requests
            .insert(request.place.clone(), Arc::clone(&request));
        request
    }

    pub(crate) fn request(&self, place: &Place) -> Option<Arc<Request>> {
        self.0.lock().requests.get(place).cloned()
    }

    /// Forgets a request; of another uid it stays.
    pub(crate) fn drop_request(&self, place: &Place, uid: &str) {
        let mut inner = self.0.lock();
        if inner
            .requests
            .get(place)
            .is_some_and(|known| known.uid == uid)
        {
            inner.requests.remove(place);
        }
    }

    /// All requests.
    pub(crate) fn requests(&self) -> Vec<Arc<Request>> {
        self.0.lock().requests.values().cloned().collect()
    }

    pub(crate) fn put_secret(&self, secret: &SecretObject) {
        let mut inner = self.0.lock();
        let place = Place::of(secret);
        if secret.labels().contains_key(REQUEST_LABEL) {
            let seen = SeenSecret::of(secret);
            let known = inner.secrets.get(&place);
            if known.is_none_or(|known| !is_older(&seen.resource_version, &known.resource_version))
            {
                inner.secrets.insert(place, seen);
            }
        } else {
            inner.secrets.remove(&place);
        }
    }

    pub(crate) fn drop_secret(&self, place: &Place) {
        self.0.lock().secrets.remove(place);
    }

    pub(crate) fn secret(&self, place: &Place) -> Option<SeenSecret> {
        self.0.lock().secrets.get(place).cloned()
    }

    pub(crate) fn put_cluster(&self, kind: ClusterKind, place: Place, object: ClusterObject) {
        let mut inner = self.0.lock();
        inner
            .clusters
            .entry(place)
            .or_default()
            .insert(kind, object);
    }

    pub(crate) fn drop_cluster(&self, kind: ClusterKind, place: &Place) {
        let mut inner = self.0.lock();
        if let Some(objects) = inner.clusters.get_mut(place) {
            objects.remove(&kind);
            if objects.is_empty() {
                inner.clusters.remove(place);
            }
        }
    }

    /// Everything of this kind is known now.
    pub(crate) fn cluster_kind_is_listed(&self, kind: ClusterKind) {
        let mut inner = self.0.lock();
        if !inner.listed.contains(&kind) {
            inner.listed.push(kind);
        }
    }

    /// The kind is no longer served.
    pub(crate) fn drop_cluster_kind(&self, kind: ClusterKind) {
        let mut inner = self.0.lock();
        inner.clusters.retain(|_, objects| {
            objects.remove(&kind);
            !objects.is_empty()
        });
    }

    /// The object of a cluster; `None` while it is not known whether there is one, `Some(None)` when there is none.
    pub(crate) fn cluster(&self, place: &Place) -> Option<Option<ClusterObject>> {
        let inner = self.0.lock();
        if inner.listed.len() < ClusterKind::ALL.len() {
            return None;
        }
        let objects = inner.clusters.get(place);
        Some(objects.and_then(|objects| objects.values().next().cloned()))
    }

    pub(crate) fn put_debt(&self, debt: Debt) {
        let mut inner = self.0.lock();
        inner.debts.insert(debt.name(), Arc::new(debt));
    }

    pub(crate) fn drop_debt(&self, name: &str) {
        self.0.lock().debts.remove(name);
    }

    pub(crate) fn debt(&self, name: &str) -> Option<Arc<Debt>> {
        self.0.lock().debts.get(name).cloned()
    }

    /// Whether a token is owed for.
    pub(crate) fn owes(&self, cluster: &Place, id: &str) -> bool {
        let inner = self.0.lock();
        inner
            .debts
            .values()
            .any(|debt| debt.id == id && debt.cluster == *cluster)
    }

    /// How many debts there are.
    pub(crate) fn debts(&self) -> usize {
        self.0.lock().debts.len()
    }
}
