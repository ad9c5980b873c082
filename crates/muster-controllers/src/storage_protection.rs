//! Lets claims and volumes go that nobody uses: the API server holds each back with a finalizer, and this removes it
//! when a deletion has been asked for and no pod, or no claim, is left that uses it.

use crate::events::present;
use crate::failure::outcome_of;
use crate::keyed::{self, Outcome};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{Api, ListParams, PostParams};
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::time::Duration;

const OF_CLAIMS: &str = "kubernetes.io/pvc-protection";
const OF_VOLUMES: &str = "kubernetes.io/pv-protection";
/// How many are looked at at the same time.
const LIMIT: usize = 8;
/// How soon one is looked at again that is still in use.
const AGAIN: Duration = Duration::from_millis(500);

/// Watches over claims and volumes for ever.
pub(crate) async fn run(client: Client) {
    let claims = present(
        Api::<PersistentVolumeClaim>::all(client.clone()),
        watcher::Config::default(),
    );
    let claims = futures::StreamExt::map(claims, |(_, claim)| {
        let key = format!(
            "{}/{}",
            claim.namespace().unwrap_or_default(),
            claim.name_any()
        );
        (key, claim)
    });
    let volumes = present(
        Api::<PersistentVolume>::all(client.clone()),
        watcher::Config::default(),
    );
    let of_claims = |claim: PersistentVolumeClaim| {
        let client = client.clone();
        async move { settle_claim(&client, claim).await }
    };
    let of_volumes = |volume: PersistentVolume| {
        let client = client.clone();
        async move { settle_volume(&client, volume).await }
    };
    tokio::select! {
        () = keyed::run(claims, LIMIT, of_claims) => {}
        () = keyed::run(volumes, LIMIT, of_volumes) => {}
    }
}

/// Whether an object waits for us to let it go.
fn waits(object: &impl ResourceExt, finalizer: &str) -> bool {
    object.meta().deletion_timestamp.is_some()
        && object.finalizers().iter().any(|one| one == finalizer)
}

async fn settle_claim(client: &Client, claim: PersistentVolumeClaim) -> Outcome {
    if !waits(&claim, OF_CLAIMS) {
        return Outcome::Done;
    }
    let (namespace, name) = (claim.namespace().unwrap_or_default(), claim.name_any());
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let pods = match pods.list(&ListParams::default()).await {
        Ok(pods) => pods,
        Err(error) => return outcome_of::<()>("looking for pods of a claim", &name, Err(error)),
    };
    if pods.iter().any(|pod| uses(pod, &claim)) {
        return Outcome::Again(AGAIN);
    }
    let claims = Api::namespaced(client.clone(), &namespace);
    let released = release(&claims, claim, OF_CLAIMS).await;
    outcome_of("releasing a claim", &name, released)
}

async fn settle_volume(client: &Client, volume: PersistentVolume) -> Outcome {
    if !waits(&volume, OF_VOLUMES) {
        return Outcome::Done;
    }
    if is_bound(&volume) {
        return Outcome::Again(AGAIN);
    }
    let name = volume.name_any();
    let released = release(&Api::all(client.clone()), volume, OF_VOLUMES).await;
    outcome_of("releasing a volume", &name, released)
}

/// Removes the finalizer from the object as it was judged; another state of it comes as another event.
async fn release<K>(api: &Api<K>, mut object: K, finalizer: &str) -> Result<(), kube::Error>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug,
{
    object.finalizers_mut().retain(|one| one != finalizer);
    let name = object.name_any();
    match api.replace(&name, &PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(refused)) if refused.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a pod uses a claim. One that is on no node yet will not be started with a claim that ends.
fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let Some(spec) = &pod.spec else {
        return false;
    };
    let on_a_node = spec.node_name.as_ref().is_some_and(|node| !node.is_empty());
    let (pod_name, name) = (pod.name_any(), claim.name_any());
    let own = |owner: &str| pod.uid().as_deref() == Some(owner);
    let is_the_pods = claim.owner_references().iter().any(|owner| own(&owner.uid));
    let mut volumes = spec.volumes.iter().flatten();
    on_a_node
        && volumes.any(|volume| {
            let named = volume.persistent_volume_claim.as_ref();
            named.is_some_and(|named| named.claim_name == name)
                || volume.ephemeral.is_some()
                    && is_the_pods
                    && format!("{pod_name}-{}", volume.name) == name
        })
}

fn is_bound(volume: &PersistentVolume) -> bool {
    let phase = volume
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase == Some("Bound")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claim(metadata: Value) -> PersistentVolumeClaim {
        let claim = json!({"metadata": metadata, "spec": {}});
        serde_json::from_value(claim).expect("a claim")
    }

    fn pod(node: &str, volumes: Value) -> Pod {
        let spec = json!({"nodeName": node, "containers": [], "volumes": volumes});
        let metadata = json!({"name": "p", "uid": "u"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a pod")
    }

    #[test]
    fn a_claim_is_in_use_by_pods_on_nodes_only() {
        let mine = claim(json!({"name": "data"}));
        let named = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
        assert!(uses(&pod("n", named.clone()), &mine));
        assert!(!uses(&pod("", named), &mine));
        let other = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "other"}}]);
        assert!(!uses(&pod("n", other), &mine));
    }

    #[test]
    fn a_claim_made_for_a_pod_is_that_pods_and_no_others() {
        let ephemeral = json!([{"name": "v", "ephemeral": {}}]);
        let owner =
            |uid: &str| json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}]);
        let own = claim(json!({"name": "p-v", "ownerReferences": owner("u")}));
        assert!(uses(&pod("n", ephemeral.clone()), &own));
        let foreign = claim(json!({"name": "p-v", "ownerReferences": owner("x")}));
        assert!(!uses(&pod("n", ephemeral), &foreign));
    }

    #[test]
    fn only_what_is_being_deleted_waits_for_us() {
        let held = |since: Value| {
            claim(json!({
                "name": "c", "finalizers": [OF_CLAIMS], "deletionTimestamp": since,
            }))
        };
        assert!(waits(&held(json!("2026-01-01T00:00:00Z")), OF_CLAIMS));
        assert!(!waits(&held(Value::Null), OF_CLAIMS));
        assert!(!waits(&held(json!("2026-01-01T00:00:00Z")), OF_VOLUMES));
    }
}
