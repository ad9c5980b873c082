//! The node graph as an index: which secrets, config maps, accounts and claims the pods of each node refer to, and
//! which volumes are bound to which claims. It follows the changes of pods and volumes, so that a question costs a
//! look-up, however many pods there are.
//!
//! Refuses to know: verbs and users. A reference that several pods share is counted, so that it ends with the last
//! of them.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{is_mirror, references};
use crate::request::{Changes, ObjectReader};

/// What pods refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Secret,
    ConfigMap,
    ServiceAccount,
    Claim,
    ResourceClaim,
}

/// That the pods of a node refer to an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Edge {
    node: Box<str>,
    kind: Kind,
    object: Named,
}

/// Namespace and name.
type Named = (Box<str>, Box<str>);

fn named((namespace, name): (&str, &str)) -> Named {
    (namespace.into(), name.into())
}

/// What a persistent volume is bound to and needs.
#[derive(Debug, Default)]
struct Volume {
    claim: Option<Named>,
    secrets: Vec<Named>,
}

/// The graph, as of some change of pods and of volumes.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pods_at: Option<u64>,
    volumes_at: Option<u64>,
    /// The edges of each pod, by its key.
    pods: HashMap<String, Vec<Edge>>,
    /// How many pods have an edge.
    edges: HashMap<Edge, usize>,
    volumes: HashMap<String, Volume>,
    /// The volumes that need a secret.
    needing: HashMap<Named, HashSet<String>>,
}

impl Graph {
    /// Takes in what has changed since the last question.
    pub(super) fn catch_up(&mut self, reader: &dyn ObjectReader) {
        let pods = reader.changes("", "pods", self.pods_at);
        self.pods_at = Some(pods.until);
        if pods.is_everything {
            self.pods.clear();
            self.edges.clear();
        }
        for (key, pod) in &pods.objects {
            self.forget_pod(key);
            if let Some(pod) = pod {
                self.take_pod(key, pod);
            }
        }
        let Changes {
            is_everything,
            until,
            objects,
        } = reader.changes("", "persistentvolumes", self.volumes_at);
        self.volumes_at = Some(until);
        if is_everything {
            self.volumes.clear();
            self.needing.clear();
        }
        for (key, volume) in &objects {
            self.forget_volume(key);
            if let Some(volume) = volume {
                self.take_volume(key, volume);
            }
        }
    }

    /// Whether a pod of the node refers to the object.
    pub(super) fn refers(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        self.edges.contains_key(&Edge {
            node: node.into(),
            kind,
            object: named((namespace, name)),
        })
    }

    /// Whether the volume is bound to a claim that a pod of the node uses.
    pub(super) fn has_volume(&self, node: &str, volume: &str) -> bool {
        let claim = self.volumes.get(volume).and_then(|own| own.claim.as_ref());
        claim.is_some_and(|(namespace, name)| self.refers(node, Kind::Claim, namespace, name))
    }

    /// Whether a volume that the node has needs the secret.
    pub(super) fn needs_secret(&self, node: &str, namespace: &str, name: &str) -> bool {
        self.needing
            .get(&named((namespace, name)))
            .is_some_and(|volumes| volumes.iter().any(|volume| self.has_volume(node, volume)))
    }

    fn forget_pod(&mut self, key: &str) {
        for edge in self.pods.remove(key).unwrap_or_default() {
            if let Some(count) = self.edges.get_mut(&edge) {
                *count -= 1;
                if *count == 0 {
                    self.edges.remove(&edge);
                }
            }
        }
    }

    fn take_pod(&mut self, key: &str, pod: &Value) {
        let edges = edges_of(pod);
        if edges.is_empty() {
            return;
        }
        for edge in &edges {
            *self.edges.entry(edge.clone()).or_default() += 1;
        }
        self.pods.insert(key.to_owned(), edges);
    }

    fn forget_volume(&mut self, key: &str) {
        for secret in self.volumes.remove(key).unwrap_or_default().secrets {
            if let Some(volumes) = self.needing.get_mut(&secret) {
                volumes.remove(key);
                if volumes.is_empty() {
                    self.needing.remove(&secret);
                }
            }
        }
    }

    fn take_volume(&mut self, key: &str, volume: &Value) {
        let own = Volume {
            claim: references::claim_of_volume(volume).map(named),
            secrets: references::secrets_of_volume(volume).map(named).collect(),
        };
        for secret in &own.secrets {
            let volumes = self.needing.entry(secret.clone()).or_default();
            volumes.insert(key.to_owned());
        }
        self.volumes.insert(key.to_owned(), own);
    }
}

/// What a pod gives its node a right to. A mirror of a static pod gives none: the node itself wrote it.
fn edges_of(pod: &Value) -> Vec<Edge> {
    use muster_machinery::meta;
    let node = meta::str_at(pod, &["spec", "nodeName"]).unwrap_or_default();
    if node.is_empty() || is_mirror(pod) {
        return Vec::new();
    }
    let namespace = meta::namespace(pod);
    let edge = |kind, name: &str| Edge {
        node: node.into(),
        kind,
        object: named((namespace, name)),
    };
    let mut edges: Vec<Edge> = references::secrets(pod)
        .map(|name| edge(Kind::Secret, name))
        .chain(references::config_maps(pod).map(|name| edge(Kind::ConfigMap, name)))
        .chain(references::service_account(pod).map(|name| edge(Kind::ServiceAccount, name)))
        .chain(references::claims(pod).map(|name| edge(Kind::Claim, &name)))
        .chain(references::resource_claims(pod).map(|name| edge(Kind::ResourceClaim, name)))
        .collect();
    // One pod counts once, however often it refers.
    let mut seen = HashSet::new();
    edges.retain(|edge| seen.insert(edge.clone()));
    edges
}
