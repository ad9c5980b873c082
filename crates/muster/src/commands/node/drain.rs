//! Emptying a node by evictions, so that disruption budgets count; and saying what blocks.
//!
//! Pods of DaemonSets and of the kubelet itself stay: they go with the node. It refuses to know what becomes of the node.

use crate::cluster::api_failure;
use crate::exit::{FAILED, Failure};
use crate::printer::Printer;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, EvictParams, ListParams};
use kube::{Client, ResourceExt as _};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// Pause between two looks, and between two attempts that a budget refused.
const PAUSE: Duration = Duration::from_millis(500);
const REFUSED_PAUSE: Duration = Duration::from_secs(2);
/// What the kubelet says of pods that it runs from files.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What may be lost.
#[derive(Clone, Copy)]
pub(super) struct Consent {
    pub(super) unmanaged: bool,
    pub(super) empty_dir: bool,
}

/// Evicts what runs on a node and waits until it is gone.
///
/// # Errors
/// Before anything is evicted: pods that are not evicted without consent. Later: what is left, and what keeps it.
pub(super) async fn drain(
    client: &Client,
    node: &str,
    consent: Consent,
    patience: Duration,
    printer: Printer,
) -> Result<(), Failure> {
    let until = Instant::now() + patience;
    let all: Api<Pod> = Api::all(client.clone());
    let params = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let pods = all
        .list(&params)
        .await
        .map_err(|error| api_failure(&format!("the pods of {node} could not be listed"), &error))?;
    let leaving: Vec<&Pod> = pods.items.iter().filter(|pod| leaves(pod)).collect();
    refuse(&leaving, consent)?;
    if leaving.len() < pods.items.len() {
        let stay = pods.items.len() - leaving.len();
        printer.note(format!(
            "{stay} pods of DaemonSets or static pods stay until the node is gone"
        ));
    }
    let results = join_all(leaving.iter().map(|pod| leave(client, pod, until, printer))).await;
    let left: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    if left.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::new(
        "node-drain-blocked",
        FAILED,
        format!(
            "{} of {} pods did not leave {node}",
            left.len(),
            leaving.len()
        ),
    );
    failure.causes = left;
    Err(failure
        .cure("wait until what is named has enough healthy pods elsewhere, or change its disruption budget")
        .cure("then run the same command again, if needed with a longer --drain-timeout"))
}

fn owner(pod: &Pod) -> Option<&str> {
    let owners = pod.metadata.owner_references.as_ref()?;
    owners
        .iter()
        .find(|owner| owner.controller == Some(true))
        .map(|owner| owner.kind.as_str())
}

fn leaves(pod: &Pod) -> bool {
    owner(pod) != Some("DaemonSet") && !pod.annotations().contains_key(MIRROR)
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed"))
}

fn has_empty_dir(pod: &Pod) -> bool {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    volumes
        .into_iter()
        .flatten()
        .any(|volume| volume.empty_dir.is_some())
}

fn title(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

fn refuse(pods: &[&Pod], consent: Consent) -> Result<(), Failure> {
    let alive = || pods.iter().filter(|pod| !is_over(pod));
    let unmanaged = alive().filter(|pod| !consent.unmanaged && owner(pod).is_none());
    let unmanaged: Vec<String> = unmanaged
        .map(|pod| format!("{} is made again by no controller", title(pod)))
        .collect();
    let losing = alive().filter(|pod| !consent.empty_dir && has_empty_dir(pod));
    let losing: Vec<String> = losing
        .map(|pod| format!("{} has data in an emptyDir", title(pod)))
        .collect();
    if unmanaged.is_empty() && losing.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::new(
        "node-drain-refused",
        FAILED,
        "something would be lost; nothing was evicted",
    );
    if !unmanaged.is_empty() {
        failure = failure.cure("--force evicts pods that no controller makes again");
    }
    if !losing.is_empty() {
        failure = failure.cure("--delete-emptydir-data evicts pods whose emptyDir is lost");
    }
    failure.causes = unmanaged.into_iter().chain(losing).collect();
    Err(failure)
}

/// Asks one pod to leave until it has left. The error says what kept it.
async fn leave(client: &Client, pod: &Pod, until: Instant, printer: Printer) -> Result<(), String> {
    let namespace = pod.namespace().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let mut reason = "its eviction was not answered".to_owned();
    let going = async {
        if pod.metadata.deletion_timestamp.is_none() {
            evicted(&pods, pod, &mut reason, printer).await?;
        }
        "it is asked to leave and still there: its processes take their time"
            .clone_into(&mut reason);
        while is_there(&pods, pod).await? {
            sleep(PAUSE).await;
        }
        Ok(())
    };
    let result = match timeout_at(until, going).await {
        Ok(result) => result,
        Err(_) => Err(reason),
    };
    result.map_err(|reason| format!("{}: {reason}", title(pod)))
}

async fn evicted(
    pods: &Api<Pod>,
    pod: &Pod,
    reason: &mut String,
    printer: Printer,
) -> Result<(), String> {
    loop {
        match pods.evict(&pod.name_any(), &EvictParams::default()).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) => match status.code {
                404 => return Ok(()),
                429 | 500..=599 => {
                    let causes = status.details.iter().flat_map(|details| &details.causes);
                    let said: Vec<&str> = causes
                        .map(|cause| cause.message.as_str())
                        .filter(|text| !text.is_empty())
                        .collect();
                    let said = if said.is_empty() {
                        status.message.clone()
                    } else {
                        said.join("; ")
                    };
                    if *reason != said {
                        printer.note(format!("{} stays for now: {said}", title(pod)));
                        *reason = said;
                    }
                }
                _ => return Err(status.message.clone()),
            },
            Err(error) => *reason = error.to_string(),
        }
        sleep(REFUSED_PAUSE).await;
    }
}

/// Another pod of the same name is another pod.
async fn is_there(pods: &Api<Pod>, pod: &Pod) -> Result<bool, String> {
    match pods.get_opt(&pod.name_any()).await {
        Ok(found) => Ok(found.is_some_and(|found| found.metadata.uid == pod.metadata.uid)),
        // A server that is away for a moment: the time-out ends it.
        Err(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => {
            Err(status.message.clone())
        }
        Err(_) => Ok(true),
    }
}
