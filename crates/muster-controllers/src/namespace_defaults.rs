//! What every namespace gets: the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`.
//! Edited or deleted ones come back. It deletes nothing.

use crate::events::{Change, changes, present};
use crate::failure::{is_outdated, outcome_of};
use crate::keyed::{self, Outcome};
use futures::{Stream, StreamExt, future, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The name of the ConfigMap with the cluster's CA certificates (`RootCACertConfigMapName`).
const ROOT_CA: &str = "kube-root-ca.crt";
/// How many namespaces are furnished at the same time.
const LIMIT: usize = 8;

/// Furnishes namespaces for ever. `root_ca` is PEM.
pub(crate) async fn run(client: Client, root_ca: Arc<str>) {
    let handle = |namespace: String| {
        let client = client.clone();
        let root_ca = Arc::clone(&root_ca);
        async move { furnish(&client, &namespace, &root_ca).await }
    };
    keyed::run(namespaces_to_furnish(client.clone()), LIMIT, handle).await;
}

/// Names of namespaces that are new, or of which one of our objects changed.
fn namespaces_to_furnish(client: Client) -> impl Stream<Item = (String, String)> {
    let namespaces = present(
        Api::<Namespace>::all(client.clone()),
        watcher::Config::default(),
    )
    .filter_map(|(name, namespace)| {
        future::ready(
            namespace
                .metadata
                .deletion_timestamp
                .is_none()
                .then_some(name),
        )
    })
    .boxed();
    let accounts = watcher::Config::default().fields("metadata.name=default");
    let accounts = changes(Api::<ServiceAccount>::all(client.clone()), accounts)
        .filter_map(|change| {
            future::ready(match change {
                Change::Gone(account) => account.namespace,
                Change::Present(_) | Change::Listed => None,
            })
        })
        .boxed();
    let maps = watcher::Config::default().fields(&format!("metadata.name={ROOT_CA}"));
    let maps = changes(Api::<ConfigMap>::all(client), maps)
        .filter_map(|change| {
            future::ready(match change {
                Change::Gone(map) => map.namespace,
                Change::Present(map) => map.namespace(),
                Change::Listed => None,
            })
        })
        .boxed();
    stream::select_all([namespaces, accounts, maps]).map(|name| (name.clone(), name))
}

async fn furnish(client: &Client, namespace: &str, root_ca: &str) -> Outcome {
    match publish_root_ca(client, namespace, root_ca).await {
        Ok(()) => {}
        Err(error) if is_terminating(&error) => return Outcome::Done,
        Err(error) => return outcome_of::<()>("publishing the root CA", namespace, Err(error)),
    }
    match create_default_account(client, namespace).await {
        Err(error) if is_terminating(&error) => Outcome::Done,
        result => outcome_of("creating the default service account", namespace, result),
    }
}

async fn publish_root_ca(
    client: &Client,
    namespace: &str,
    root_ca: &str,
) -> Result<(), kube::Error> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let Some(map) = maps.get_opt(ROOT_CA).await? else {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(ROOT_CA.to_owned()),
                annotations: Some(BTreeMap::from([(
                    "kubernetes.io/description".to_owned(),
                    "Contains a CA bundle that can be used to verify the kube-apiserver when using \
                     internal endpoints such as the internal service IP or kubernetes.default.svc. \
                     No other usage is guaranteed across distributions of Kubernetes clusters."
                        .to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([("ca.crt".to_owned(), root_ca.to_owned())])),
            ..ConfigMap::default()
        };
        return ignore_existing(maps.create(&PostParams::default(), &map).await);
    };
    if map
        .data
        .as_ref()
        .and_then(|data| data.get("ca.crt"))
        .map(String::as_str)
        == Some(root_ca)
    {
        return Ok(());
    }
    let patch = Patch::Merge(json!({ "data": { "ca.crt": root_ca } }));
    maps.patch(ROOT_CA, &PatchParams::default(), &patch)
        .await
        .map(|_| ())
}

async fn create_default_account(client: &Client, namespace: &str) -> Result<(), kube::Error> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    if accounts.get_opt("default").await?.is_some() {
        return Ok(());
    }
    let account = ServiceAccount {
        metadata: ObjectMeta {
            name: Some("default".to_owned()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    };
    ignore_existing(accounts.create(&PostParams::default(), &account).await)
}

fn ignore_existing<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if is_outdated(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A namespace that is going away takes nothing new.
fn is_terminating(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403 && status.message.contains("terminated"))
}
