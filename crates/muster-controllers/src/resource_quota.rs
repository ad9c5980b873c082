//! Counts what the objects of a namespace take, and keeps that in the status of its resource quotas: the API server adds
//! to it with every new object, and this takes off what is gone. It refuses nobody anything.

use crate::events::present;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use muster_machinery::quantity::Quantity;
use muster_machinery::{quota, resources};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often namespaces with quotas are counted.
const COUNT_EVERY: Duration = Duration::from_secs(3);

/// Counts for ever.
pub(crate) async fn run(client: Client) {
    let quotas = present(
        Api::<ResourceQuota>::all(client.clone()),
        watcher::Config::default(),
    );
    let mut quotas = std::pin::pin!(quotas);
    let mut known: BTreeSet<(String, String)> = BTreeSet::new();
    let mut tick = tokio::time::interval(COUNT_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            seen = quotas.next() => {
                let Some((_, seen)) = seen else {
                    return;
                };
                let place = (seen.namespace().unwrap_or_default(), seen.name_any());
                if is_new(&seen) {
                    count(&client, &place).await;
                }
                known.insert(place);
            }
            _ = tick.tick(), if !known.is_empty() => {
                let mut left = BTreeSet::new();
                for place in known {
                    if count(&client, &place).await {
                        left.insert(place);
                    }
                }
                known = left;
            }
        }
    }
}

/// Whether the quota has not been counted as it stands.
fn is_new(quota: &ResourceQuota) -> bool {
    let wanted = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    let known = quota
        .status
        .as_ref()
        .and_then(|status| status.hard.as_ref());
    wanted != known
}

/// Brings the status of one quota up to date. Says whether it is still there.
async fn count(client: &Client, (namespace, name): &(String, String)) -> bool {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ResourceQuota"));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    // Read before what is counted: a charge that comes in between makes the write below a conflict.
    let quota = match api.get_opt(name).await {
        Ok(Some(quota)) => quota,
        Ok(None) => return false,
        Err(error) => {
            tracing::debug!(%error, namespace, name, "a quota cannot be read");
            return true;
        }
    };
    let Ok(value) = serde_json::to_value(&quota) else {
        return true;
    };
    let objects = match objects(client, namespace, &value).await {
        Ok(objects) => objects,
        Err(error) => {
            tracing::debug!(%error, namespace, name, "what a quota limits cannot be counted");
            return true;
        }
    };
    let status = status(&value, &objects, Timestamp::now());
    if value.get("status") == Some(&status) {
        return true;
    }
    let mut changed = quota;
    changed.data["status"] = status;
    match api
        .replace_status(name, &PostParams::default(), &changed)
        .await
    {
        Ok(_) => {}
        // Somebody has charged it meanwhile: it is counted again soon.
        Err(kube::Error::Api(refused)) if matches!(refused.code, 404 | 409) => {}
        Err(error) => tracing::warn!(%error, namespace, name, "a quota's status cannot be written"),
    }
    true
}

/// The objects of each kind that the quota limits.
type Objects = BTreeMap<(String, String), Vec<Value>>;

async fn objects(client: &Client, namespace: &str, quota: &Value) -> Result<Objects, kube::Error> {
    let hard = quota::amounts(quota, &["spec", "hard"]);
    let kinds: BTreeSet<_> = hard
        .keys()
        .filter_map(|name| quota::counted_kind(name))
        .collect();
    let mut found = Objects::new();
    for (group, plural) in kinds {
        let Some(version) = version(client, &group, &plural).await else {
            continue;
        };
        let kind = ApiResource {
            api_version: if group.is_empty() {
                version.clone()
            } else {
                format!("{group}/{version}")
            },
            group: group.clone(),
            version,
            kind: String::new(),
            plural: plural.clone(),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
        let list = api.list(&ListParams::default()).await?;
        let values = list
            .items
            .iter()
            .filter_map(|one| serde_json::to_value(one).ok());
        found.insert((group, plural), values.collect());
    }
    Ok(found)
}

/// The version in which objects of a kind can be listed.
async fn version(client: &Client, group: &str, plural: &str) -> Option<String> {
    if let Some(built_in) = resources::find_preferred(group, plural) {
        return Some(built_in.version.to_string());
    }
    let request = http::Request::get(format!("/apis/{group}"))
        .body(Vec::new())
        .ok()?;
    let known: Value = client.request(request).await.ok()?;
    known
        .pointer("/preferredVersion/version")?
        .as_str()
        .map(str::to_owned)
}

/// What the status is to be.
fn status(quota: &Value, objects: &Objects, now: Timestamp) -> Value {
    let hard = quota
        .pointer("/spec/hard")
        .cloned()
        .unwrap_or_else(|| json!({}));
    let mut used = Map::new();
    for name in hard.as_object().into_iter().flatten().map(|(name, _)| name) {
        let mut sum = Quantity::ZERO;
        if let Some((group, plural)) = quota::counted_kind(name)
            && let Some(objects) = objects.get(&(group.clone(), plural.clone()))
        {
            for object in objects
                .iter()
                .filter(|one| quota::fits(quota, &group, &plural, one))
            {
                let taken = quota::usage(&group, &plural, object, now);
                sum = taken.get(name).map_or(sum, |amount| sum.plus(*amount));
            }
        }
        used.insert(name.clone(), sum.to_string().into());
    }
    json!({"hard": hard, "used": used})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_counted_and_nothing_else() {
        let quota = json!({"spec": {"hard": {
            "pods": "5", "requests.cpu": "2", "configmaps": "3", "count/unknown.example.com": "1",
        }}});
        let pod = |phase: &str| {
            json!({
                "spec": {"containers": [{"resources": {"requests": {"cpu": "250m"}}}]}, "status": {"phase": phase},
            })
        };
        let objects = Objects::from([
            (
                (String::new(), "pods".to_owned()),
                vec![pod("Running"), pod("Pending"), pod("Succeeded")],
            ),
            ((String::new(), "configmaps".to_owned()), vec![json!({})]),
        ]);
        let status = status(&quota, &objects, Timestamp::UNIX_EPOCH);
        assert_eq!(
            status["used"],
            json!({"pods": "2", "requests.cpu": "500m", "configmaps": "1", "count/unknown.example.com": "0"})
        );
        assert_eq!(status["hard"], quota["spec"]["hard"]);
    }
}
