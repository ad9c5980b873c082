//! How an object can belong to a node: the edges of Kubernetes' node graph, asked one at a time.
//!
//! Refuses to know: verbs and users.

use std::sync::Arc;

use muster_machinery::meta;
use parking_lot::Mutex;
use serde_json::Value;

use super::graph::{Graph, Kind};
use crate::request::ObjectReader;

/// The kinds of objects that a node may reach through its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Pod,
    Secret,
    ConfigMap,
    ServiceAccount,
    Claim,
    Volume,
    ResourceClaim,
    VolumeAttachment,
    ResourceSlice,
}

/// Answers which objects belong to which nodes.
pub(super) struct Relations {
    reader: Arc<dyn ObjectReader>,
    graph: Mutex<Graph>,
}

impl Relations {
    pub(super) fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self {
            reader,
            graph: Mutex::default(),
        }
    }

    /// Whether the named object belongs to `node`.
    pub(super) fn holds(
        &self,
        relation: Relation,
        node: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> bool {
        let named_by = |group: &str, resource: &str, namespace: Option<&str>| {
            let found = self.reader.get(group, resource, namespace, name);
            found.is_some_and(|object| is_bound_to(&object, node))
        };
        let kind = match relation {
            Relation::Pod => return named_by("", "pods", namespace),
            Relation::VolumeAttachment => {
                return named_by("storage.k8s.io", "volumeattachments", None);
            }
            Relation::ResourceSlice => return named_by("resource.k8s.io", "resourceslices", None),
            Relation::Volume => return self.graph(|graph| graph.has_volume(node, name)),
            Relation::Secret => Kind::Secret,
            Relation::ConfigMap => Kind::ConfigMap,
            Relation::ServiceAccount => Kind::ServiceAccount,
            Relation::Claim => Kind::Claim,
            Relation::ResourceClaim => Kind::ResourceClaim,
        };
        let Some(namespace) = namespace else {
            return false;
        };
        self.graph(|graph| {
            graph.refers(node, kind, namespace, name)
                || (kind == Kind::Secret && graph.needs_secret(node, namespace, name))
        })
    }

    fn graph(&self, question: impl FnOnce(&Graph) -> bool) -> bool {
        let mut graph = self.graph.lock();
        graph.catch_up(self.reader.as_ref());
        question(&graph)
    }
}

fn is_bound_to(object: &Value, node: &str) -> bool {
    !node.is_empty() && meta::str_at(object, &["spec", "nodeName"]) == Some(node)
}
