//! Empties namespaces that are being deleted, pods first, then lets them go. What still has finalizers is
//! waited for and named in the namespace's conditions. It never touches a living namespace.

mod conditions;

use crate::events::present;
use crate::failure::outcome_of;
use crate::keyed::{self, Outcome};
use crate::resources::{Deletable, supporting};
use conditions::Left;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PartialObjectMeta, PostParams};
use kube::core::ApiResource;
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use std::time::Duration;

/// The finalizer of `spec.finalizers` that this controller removes (`v1.FinalizerKubernetes`).
const FINALIZER: &str = "kubernetes";
/// How many namespaces are emptied at the same time.
const LIMIT: usize = 8;
/// How soon a namespace is looked at again whose content waits for somebody else's finalizers.
const AGAIN: Duration = Duration::from_millis(500);

/// Empties namespaces for ever.
pub(crate) async fn run(client: Client) {
    let namespaces = present(
        Api::<Namespace>::all(client.clone()),
        watcher::Config::default(),
    );
    let handle = |namespace: Namespace| {
        let client = client.clone();
        async move { settle(&client, namespace).await }
    };
    keyed::run(namespaces, LIMIT, handle).await;
}

/// Whether the namespace waits for its content to be removed.
#[must_use]
pub(crate) fn is_to_be_emptied(namespace: &Namespace) -> bool {
    let finalizers = namespace
        .spec
        .as_ref()
        .and_then(|spec| spec.finalizers.as_ref());
    namespace.metadata.deletion_timestamp.is_some()
        && finalizers.is_some_and(|finalizers| finalizers.iter().any(|one| one == FINALIZER))
}

async fn settle(client: &Client, namespace: Namespace) -> Outcome {
    if !is_to_be_emptied(&namespace) {
        return Outcome::Done;
    }
    let name = namespace.name_any();
    // The event may be an old one; another namespace of the same name is none of its business.
    let now = Api::<Namespace>::all(client.clone()).get_opt(&name).await;
    let namespace = match now {
        Ok(Some(now)) if now.uid() == namespace.uid() && is_to_be_emptied(&now) => now,
        Ok(_) => return Outcome::Done,
        Err(error) => return outcome_of::<()>("reading a namespace", &name, Err(error)),
    };
    let left = empty(client, &name).await;
    if left.is_nothing() {
        let finalized = finalize(client, namespace).await;
        return outcome_of("finalizing a namespace", &name, finalized);
    }
    match report(client, namespace, &left).await {
        Ok(()) => Outcome::Again(AGAIN),
        Err(error) => outcome_of::<()>("a namespace's conditions", &name, Err(error)),
    }
}

/// Deletes everything inside; answers with what is still there. As long as there are pods nothing else is deleted, so
/// that they end with their configuration, their accounts and the policies that bind them in place.
async fn empty(client: &Client, namespace: &str) -> Left {
    let mut left = Left::default();
    let resources = match supporting(client, &["deletecollection", "list"]).await {
        Ok(resources) => resources.into_iter().filter(|one| one.namespaced),
        Err(error) => {
            left.discovery = Some(error.to_string());
            return left;
        }
    };
    let (pods, others): (Vec<_>, Vec<_>) =
        resources.partition(|one| one.resource.group.is_empty() && one.resource.plural == "pods");
    for stage in [pods, others] {
        for Deletable { resource, .. } in stage {
            if let Err(error) = clear(client, namespace, &resource, &mut left).await {
                left.failures.push(format!("{}: {error}", resource.plural));
            }
        }
        if !left.is_nothing() {
            break;
        }
    }
    left
}

/// Deletes the objects of one resource, and counts those that stay.
async fn clear(
    client: &Client,
    namespace: &str,
    resource: &ApiResource,
    left: &mut Left,
) -> Result<(), kube::Error> {
    let page = ListParams::default().limit(500);
    let seen: Api<PartialObjectMeta<DynamicObject>> =
        Api::namespaced_with(client.clone(), namespace, resource);
    let found = match seen.list(&page).await {
        // It was served a moment ago.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405) => return Ok(()),
        found => found?,
    };
    if found.items.is_empty() {
        return Ok(());
    }
    let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    objects
        .delete_collection(&DeleteParams::background(), &ListParams::default())
        .await?;
    let stayed = seen.list(&page).await?;
    left.count(
        format!("{}.{}", resource.plural, resource.group),
        stayed.items.iter().map(ResourceExt::finalizers),
    );
    Ok(())
}

async fn finalize(client: &Client, mut namespace: Namespace) -> Result<(), kube::Error> {
    let name = namespace.name_any();
    if let Some(finalizers) = namespace
        .spec
        .as_mut()
        .and_then(|spec| spec.finalizers.as_mut())
    {
        finalizers.retain(|one| one != FINALIZER);
    }
    let api = Api::<Namespace>::all(client.clone());
    api.replace_subresource("finalize", &name, &PostParams::default(), &namespace)
        .await
        .map(|_| ())
}

/// Writes what is left into the namespace's conditions, if they change.
async fn report(client: &Client, mut namespace: Namespace, left: &Left) -> Result<(), kube::Error> {
    let name = namespace.name_any();
    let conditions = namespace
        .status
        .get_or_insert_default()
        .conditions
        .get_or_insert_default();
    if !conditions::update(conditions, left, Timestamp::now()) {
        return Ok(());
    }
    let api = Api::<Namespace>::all(client.clone());
    api.replace_status(&name, &PostParams::default(), &namespace)
        .await
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::client;
    use serde_json::{Value, json};

    fn namespace(uid: &str, deleted: Option<&str>) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "n", "uid": uid, "deletionTimestamp": deleted},
            "spec": {"finalizers": ["kubernetes"]},
        })
    }

    const THEN: Option<&str> = Some("2026-11-21T08:00:00Z");

    #[tokio::test]
    async fn an_old_event_empties_no_newer_namespace_of_the_same_name() {
        let event = serde_json::from_value(namespace("old", THEN)).expect("a namespace");
        for newer in [
            Some(namespace("new", None)),
            Some(namespace("new", THEN)),
            None,
        ] {
            let (client, asked) =
                client(move |path| newer.clone().filter(|_| path == "/api/v1/namespaces/n"));
            assert_eq!(
                settle(&client, Namespace::clone(&event)).await,
                Outcome::Done
            );
            assert_eq!(*asked.lock(), ["GET /api/v1/namespaces/n"]);
        }
    }
}
