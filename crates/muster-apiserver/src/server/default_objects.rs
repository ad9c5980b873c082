//! The objects that every cluster begins with: made where they are missing, brought up to date where they
//! follow the program, all at once; and those without which nothing works are made again when they go.
//!
//! Refuses to know: which objects these are.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use muster_machinery::{meta, status::Reason};
use serde_json::Value;
use tokio::sync::watch;

use super::StartError;
use crate::{
    authz::MASTERS,
    bootstrap::brought_up_to_date,
    notes::Notes,
    registry::{Call, Owners, Registry, WriteOptions},
    request::{ResourceRequest, UserInfo},
    route::ResourceCatalogue,
};

/// How many are made at once.
const WIDTH: usize = 64;
/// How often those that a cluster cannot do without are looked for.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// Makes the objects that are not there yet: namespaces first, then everything else at once.
pub(super) async fn make_default_objects(
    registry: &Registry,
    catalogue: &ResourceCatalogue,
    objects: Vec<Value>,
) -> Result<(), StartError> {
    let (namespaces, others): (Vec<_>, Vec<_>) = objects
        .into_iter()
        .partition(|object| meta::kind(object) == "Namespace");
    for batch in [namespaces, others] {
        let making = batch
            .into_iter()
            .map(|object| make_default(registry, catalogue, object));
        let mut making = stream::iter(making).buffer_unordered(WIDTH);
        while let Some(made) = making.next().await {
            made?;
        }
    }
    Ok(())
}

/// Makes the first namespaces and the server's own service again whenever somebody has deleted them, and keeps
/// true what the server tells others about whom to trust, as kube-apiserver does (`systemnamespaces`,
/// `kubernetesservice`, `clusterauthenticationtrust`). Other objects may stay deleted until what is `wanted` changes.
pub(super) async fn keep_default_objects(
    registry: Arc<Registry>,
    catalogue: Arc<ResourceCatalogue>,
    mut wanted: watch::Receiver<Arc<Vec<Value>>>,
) {
    loop {
        let is_new = tokio::time::timeout(KEEP_EVERY, wanted.changed()).await;
        let mut objects = wanted.borrow_and_update().to_vec();
        if is_new.is_err() {
            objects.retain(is_kept);
        }
        let made = make_default_objects(&registry, &catalogue, objects).await;
        if let Err(error) = made {
            tracing::warn!(%error, "the cluster's first objects cannot be kept");
        }
        if matches!(is_new, Ok(Err(_))) {
            // Whoever says what is wanted is gone: the server ends.
            return;
        }
    }
}

/// Whether a cluster cannot do without the object.
fn is_kept(object: &Value) -> bool {
    let place = (meta::namespace(object), meta::name(object));
    meta::kind(object) == "Namespace"
        || place == ("default", "kubernetes")
        || place == ("kube-system", "extension-apiserver-authentication")
}

async fn make_default(
    registry: &Registry,
    catalogue: &ResourceCatalogue,
    object: Value,
) -> Result<(), StartError> {
    let label = format!("{} {}", meta::kind(&object), meta::name(&object));
    let failed = |why: String| StartError::DefaultObject {
        object: label.clone(),
        why,
    };
    let resource = catalogue
        .find_kind(meta::api_version(&object), meta::kind(&object))
        .ok_or_else(|| failed("its kind is not served".to_owned()))?;
    let namespace = Some(meta::namespace(&object)).filter(|namespace| !namespace.is_empty());
    let request = ResourceRequest {
        group: resource.group.to_string(),
        version: resource.version.to_string(),
        resource: resource.plural.to_string(),
        namespace: namespace.map(str::to_owned),
        name: Some(meta::name(&object).to_owned()),
        ..ResourceRequest::default()
    };
    let user = UserInfo::new("system:apiserver", [MASTERS]);
    let call = Call {
        user: &user,
        request: &request,
        resource: &resource,
        served: &resource,
        custom: None,
        sub: None,
        now: Timestamp::now(),
        notes: &Notes::default(),
    };
    let options = WriteOptions {
        manager: "muster".to_owned(),
        ..WriteOptions::default()
    };
    let done = if registry.exists(&call) {
        let current = |stored: &Value| Ok(brought_up_to_date(stored, &object));
        registry
            .modify(&call, &options, Owners::Track, current)
            .await
            .map(drop)
    } else {
        registry.create(&call, object, &options).await.map(drop)
    };
    match done {
        // Made or deleted by somebody else in between: the next start looks again.
        Err(refusal) if matches!(refusal.reason(), Reason::AlreadyExists | Reason::NotFound) => {
            Ok(())
        }
        other => other.map_err(|refusal| failed(refusal.to_string())),
    }
}
