//! How an object can belong to a node: the edges of Kubernetes' node graph, asked one at a time.
//!
//! Refuses to know: verbs and users.

use muster_machinery::meta;
use serde_json::Value;

use super::{is_mirror, references};
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

impl Relation {
    /// Whether the named object belongs to `node`.
    pub(super) fn holds(
        self,
        reader: &dyn ObjectReader,
        node: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> bool {
        let view = View { reader, node };
        let by_pod = |refers: fn(&Value, &str) -> bool| {
            namespace.is_some_and(|namespace| view.pod_refers(namespace, name, refers))
        };
        match self {
            Self::Pod => reader
                .get("", "pods", namespace, name)
                .is_some_and(|pod| is_bound_to(&pod, node)),
            Self::Secret => {
                by_pod(references::uses_secret)
                    || namespace.is_some_and(|ns| view.volume_uses_secret(ns, name))
            }
            Self::ConfigMap => by_pod(references::uses_config_map),
            Self::ServiceAccount => by_pod(references::uses_service_account),
            Self::Claim => by_pod(references::uses_claim),
            Self::ResourceClaim => by_pod(references::uses_resource_claim),
            Self::Volume => reader
                .get("", "persistentvolumes", None, name)
                .is_some_and(|volume| view.claims(&volume)),
            Self::VolumeAttachment => reader
                .get("storage.k8s.io", "volumeattachments", None, name)
                .is_some_and(|attachment| is_bound_to(&attachment, node)),
            Self::ResourceSlice => reader
                .get("resource.k8s.io", "resourceslices", None, name)
                .is_some_and(|slice| is_bound_to(&slice, node)),
        }
    }
}

fn is_bound_to(object: &Value, node: &str) -> bool {
    !node.is_empty() && meta::str_at(object, &["spec", "nodeName"]) == Some(node)
}

struct View<'a> {
    reader: &'a dyn ObjectReader,
    node: &'a str,
}

impl View<'_> {
    fn pod_refers(
        &self,
        namespace: &str,
        name: &str,
        refers: impl Fn(&Value, &str) -> bool,
    ) -> bool {
        let pods = self.reader.list("", "pods", Some(namespace));
        pods.iter()
            .any(|pod| is_bound_to(pod, self.node) && !is_mirror(pod) && refers(pod, name))
    }

    /// Whether a volume is bound to a claim that a pod of the node uses.
    fn claims(&self, volume: &Value) -> bool {
        let claim = |field| meta::str_at(volume, &["spec", "claimRef", field]);
        let (Some(namespace), Some(name)) = (claim("namespace"), claim("name")) else {
            return false;
        };
        self.pod_refers(namespace, name, references::uses_claim)
    }

    fn volume_uses_secret(&self, namespace: &str, name: &str) -> bool {
        let volumes = self.reader.list("", "persistentvolumes", None);
        volumes.iter().any(|volume| {
            references::volume_uses_secret(volume, namespace, name) && self.claims(volume)
        })
    }
}
