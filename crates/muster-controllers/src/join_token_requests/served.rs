//! Follows objects of a kind that a definition brings, for as long as the cluster serves it.
//!
//! Asking for a kind that is not there would be answered with 404 again and again; its definition is followed instead.
//! It refuses to know what the objects are for.

use crate::events::{Change, Former, changes};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::watcher;
use kube::{Api, Client};
use std::pin::pin;

/// What is seen of a kind.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// An object exists and looks like this.
    Present(Box<DynamicObject>),
    /// It is gone.
    Gone(Former),
    /// Every object has been told of.
    Listed,
    /// The kind is not served: there are no objects.
    Unserved,
}

impl From<Change<DynamicObject>> for Seen {
    fn from(change: Change<DynamicObject>) -> Self {
        match change {
            Change::Present(object) => Self::Present(Box::new(object)),
            Change::Gone(former) => Self::Gone(former),
            Change::Listed => Self::Listed,
        }
    }
}

/// Tells `on` of every change, for ever. Of the `versions` that are served the first is used.
pub(crate) async fn follow(
    client: Client,
    definition: &str,
    versions: &[&str],
    mut on: impl FnMut(Seen),
) {
    let named = watcher::Config::default().fields(&format!("metadata.name={definition}"));
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let mut definitions = pin!(changes(definitions, named));
    let mut followed: Option<ApiResource> = None;
    let mut objects: BoxStream<'_, Change<DynamicObject>> = stream::pending().boxed();
    loop {
        tokio::select! {
            change = definitions.next() => {
                let resource = match change {
                    Some(Change::Present(found)) => served_resource(&found, versions),
                    Some(Change::Gone(_)) => None,
                    Some(Change::Listed) if followed.is_none() => None,
                    Some(Change::Listed) => continue,
                    None => return,
                };
                match resource {
                    Some(resource) if followed.as_ref() == Some(&resource) => {}
                    Some(resource) => {
                        let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
                        objects = changes(api, watcher::Config::default()).boxed();
                        followed = Some(resource);
                    }
                    None => {
                        objects = stream::pending().boxed();
                        followed = None;
                        on(Seen::Unserved);
                    }
                }
            }
            Some(change) = objects.next() => on(change.into()),
        }
    }
}

/// The resource in the best version that is served; `None` before the names are accepted.
fn served_resource(
    definition: &CustomResourceDefinition,
    versions: &[&str],
) -> Option<ApiResource> {
    let conditions = definition.status.as_ref()?.conditions.as_ref()?;
    if !conditions
        .iter()
        .any(|one| one.type_ == "Established" && one.status == "True")
    {
        return None;
    }
    let spec = &definition.spec;
    let is_served = |name: &&&str| {
        spec.versions
            .iter()
            .any(|version| version.served && version.name == **name)
    };
    let version = versions.iter().find(is_served)?;
    Some(ApiResource {
        group: spec.group.clone(),
        version: (*version).to_owned(),
        api_version: format!("{}/{version}", spec.group),
        kind: spec.names.kind.clone(),
        plural: spec.names.plural.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(established: &str, versions: &[(&str, bool)]) -> CustomResourceDefinition {
        let version = |(name, served): &(&str, bool)| json!({"name": name, "served": served, "storage": false});
        serde_json::from_value(json!({
            "metadata": {"name": "clusters.k0smotron.io"},
            "spec": {
                "group": "k0smotron.io", "scope": "Namespaced",
                "names": {"kind": "Cluster", "plural": "clusters"},
                "versions": versions.iter().map(version).collect::<Vec<_>>(),
            },
            "status": {"conditions": [{"type": "Established", "status": established}]},
        }))
        .expect("a definition")
    }

    #[test]
    fn the_best_version_that_is_served_is_followed() {
        let known = ["v1beta2", "v1beta1"];
        let version = |definition: &CustomResourceDefinition| {
            served_resource(definition, &known).map(|resource| resource.version)
        };
        let both = [("v1beta1", true), ("v1beta2", true)];
        assert_eq!(
            version(&definition("True", &both)).as_deref(),
            Some("v1beta2")
        );
        let old = [("v1beta1", true), ("v1beta2", false)];
        assert_eq!(
            version(&definition("True", &old)).as_deref(),
            Some("v1beta1")
        );
        assert_eq!(version(&definition("False", &both)), None);
        assert_eq!(version(&definition("True", &[("v1alpha1", true)])), None);
    }
}
