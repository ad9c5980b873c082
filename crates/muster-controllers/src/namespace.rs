//! Empties namespaces that are being deleted, then lets them go. What still has finalizers is
//! waited for and named in the namespace's conditions. It never touches a living namespace.

use crate::events::present;
use crate::failure::outcome_of;
use crate::keyed::{self, Outcome};
use crate::resources::{Deletable, supporting};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PartialObjectMeta, PostParams};
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
    match empty(client, &name).await {
        Ok(remaining) if remaining.is_empty() => outcome_of(
            "finalizing a namespace",
            &name,
            finalize(client, namespace).await,
        ),
        Ok(remaining) => match report(client, namespace, &remaining).await {
            Ok(()) => Outcome::Again(AGAIN),
            Err(error) => outcome_of::<()>("a namespace's conditions", &name, Err(error)),
        },
        Err(error) => outcome_of::<()>("emptying a namespace", &name, Err(error)),
    }
}

/// Deletes everything inside; answers with what is still there, as `count plural.group`.
async fn empty(client: &Client, namespace: &str) -> Result<Vec<String>, kube::Error> {
    let mut remaining = Vec::new();
    for Deletable { resource, .. } in supporting(client, &["deletecollection", "list"])
        .await?
        .into_iter()
        .filter(|one| one.namespaced)
    {
        let api: Api<PartialObjectMeta<DynamicObject>> =
            Api::namespaced_with(client.clone(), namespace, &resource);
        let found = api.list(&ListParams::default().limit(500)).await?;
        if found.items.is_empty() {
            continue;
        }
        let objects: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), namespace, &resource);
        objects
            .delete_collection(&DeleteParams::background(), &ListParams::default())
            .await?;
        let left = api
            .list(&ListParams::default().limit(500))
            .await?
            .items
            .len();
        if left > 0 {
            let dot = if resource.group.is_empty() { "" } else { "." };
            remaining.push(format!("{left} {}{dot}{}", resource.plural, resource.group));
        }
    }
    Ok(remaining)
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

/// Writes what is left into the condition `NamespaceContentRemaining`, if it changed.
async fn report(
    client: &Client,
    mut namespace: Namespace,
    remaining: &[String],
) -> Result<(), kube::Error> {
    let name = namespace.name_any();
    let message = format!("Some resources are remaining: {}", remaining.join(", "));
    let conditions = namespace
        .status
        .get_or_insert_default()
        .conditions
        .get_or_insert_default();
    let before = conditions
        .iter()
        .find(|condition| condition.type_ == "NamespaceContentRemaining");
    if before.is_some_and(|condition| condition.message.as_deref() == Some(&message)) {
        return Ok(());
    }
    conditions.retain(|condition| condition.type_ != "NamespaceContentRemaining");
    conditions.push(NamespaceCondition {
        type_: "NamespaceContentRemaining".to_owned(),
        status: "True".to_owned(),
        reason: Some("SomeResourcesRemain".to_owned()),
        message: Some(message),
        last_transition_time: Some(Time(Timestamp::now())),
    });
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
