//! The marks of a control-plane node: labels and taints, given as the administrator and taken away again as far as the
//! Node did not have them before.

use std::time::Duration;

use muster_net::ApiError;
use muster_plan::Taint;
use muster_saga::{Failure, Residue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::cluster::{Administrator, administration_failure, words};

/// The label of a control-plane node.
const ROLE: &str = "node-role.kubernetes.io/control-plane";
/// Keeps load balancers outside the cluster from sending traffic to it.
const NO_BALANCER: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// How long the API may be unable to answer; kubeadm's `kubernetesAPICall`.
const API_LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(250);

/// What a Node had of the marks before it was marked: these are not taken away again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MarksBefore {
    labels: Vec<String>,
    taints: Vec<Taint>,
    absent: bool,
}

/// The marks that a Node has already.
pub(super) async fn before(
    administrator: &dyn Administrator,
    node: &str,
    taints: &[Taint],
) -> Result<MarksBefore, Failure> {
    match administrator.get(&path(node)).await {
        Ok(object) => Ok(MarksBefore {
            labels: [ROLE, NO_BALANCER]
                .into_iter()
                .filter(|label| {
                    object
                        .pointer("/metadata/labels")
                        .is_some_and(|all| all.get(label).is_some())
                })
                .map(str::to_owned)
                .collect(),
            taints: taints_of(&object)
                .into_iter()
                .filter(|taint| taints.contains(taint))
                .collect(),
            absent: false,
        }),
        Err(error) if error.is_not_found() => Ok(MarksBefore {
            absent: true,
            ..MarksBefore::default()
        }),
        Err(error) => Err(administration_failure("read the node", &error)),
    }
}

/// Labels and taints a Node. Its own taints stay.
pub(super) async fn give(
    administrator: &dyn Administrator,
    node: &str,
    taints: &[Taint],
) -> Result<(), Failure> {
    let deadline = Instant::now() + API_LIMIT;
    loop {
        match try_give(administrator, node, taints).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_forbidden() || Instant::now() >= deadline => {
                return Err(administration_failure("label and taint the node", &error));
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn try_give(
    administrator: &dyn Administrator,
    node: &str,
    taints: &[Taint],
) -> Result<(), ApiError> {
    let path = path(node);
    let object = administrator.get(&path).await?;
    let mut all = taints.to_vec();
    all.extend(
        taints_of(&object)
            .into_iter()
            .filter(|taint| !taints.contains(taint)),
    );
    let patch = json!({
        "metadata": {
            "resourceVersion": object.pointer("/metadata/resourceVersion"),
            "labels": {ROLE: "", NO_BALANCER: ""},
        },
        "spec": {"taints": all},
    });
    administrator.merge(&path, &patch).await.map(drop)
}

/// Takes the marks away again that a Node did not have before. An API that does not answer is no reason to leave the
/// machine as it is: then they are named.
pub(super) async fn take_away(
    administrator: &dyn Administrator,
    node: &str,
    taints: &[Taint],
    before: &MarksBefore,
) -> Vec<Residue> {
    match try_take_away(administrator, node, taints, before).await {
        Ok(()) => Vec::new(),
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => vec![left(node, words(&error))],
    }
}

/// Marks that nobody can take away from here.
pub(super) fn left(node: &str, why: String) -> Residue {
    Residue {
        what: format!("labels and taints of node {node} in the cluster"),
        why,
        remedy: format!("kubectl label node {node} {ROLE}- {NO_BALANCER}-"),
    }
}

async fn try_take_away(
    administrator: &dyn Administrator,
    node: &str,
    taints: &[Taint],
    before: &MarksBefore,
) -> Result<(), ApiError> {
    let path = path(node);
    let object = administrator.get(&path).await?;
    let labels: Map<String, Value> = [ROLE, NO_BALANCER]
        .into_iter()
        .filter(|label| !before.labels.iter().any(|had| had == label))
        .map(|label| (label.to_owned(), Value::Null))
        .collect();
    let ours = |taint: &Taint| taints.contains(taint) && !before.taints.contains(taint);
    let left: Vec<Taint> = taints_of(&object)
        .into_iter()
        .filter(|taint| !ours(taint))
        .collect();
    let patch = json!({"metadata": {"labels": labels}, "spec": {"taints": left}});
    administrator.merge(&path, &patch).await.map(drop)
}

fn path(node: &str) -> String {
    format!("/api/v1/nodes/{node}")
}

fn taints_of(node: &Value) -> Vec<Taint> {
    let taints = node.pointer("/spec/taints").cloned().unwrap_or(Value::Null);
    serde_json::from_value(taints).unwrap_or_default()
}
