//! What may be asked of a node beyond being Ready: that its serving certificate is issued, that a pod runs there.

use std::time::Duration;

use muster_rollout::StageFailure;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::access::{Api, delete_if_there};
use super::fault::{self, ids};

/// How often the API is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// The namespace of probe pods.
const NAMESPACE: &str = "kube-system";

/// Resolves once a serving certificate was issued to the node's kubelet.
pub(crate) async fn serving_certificate(
    api: &dyn Api,
    node: &str,
    waits: &(dyn Fn(&str) + Send + Sync),
) {
    const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests?fieldSelector=spec.signerName%3Dkubernetes.io%2Fkubelet-serving";
    let user = format!("system:node:{node}");
    loop {
        let reason = match api.get(REQUESTS).await {
            Ok(list) => match standing(&list, &user) {
                None => return,
                Some(reason) => reason,
            },
            Err(error) => format!("the certificate requests cannot be listed: {error}"),
        };
        waits(&reason);
        sleep(PAUSE).await;
    }
}

/// What is still missing; `None` once a certificate is there.
fn standing(list: &Value, user: &str) -> Option<String> {
    let items = list["items"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let of_node = |request: &&Value| {
        request["spec"]["username"] == user
            && request["spec"]["signerName"] == "kubernetes.io/kubelet-serving"
    };
    let mut requests = items.iter().filter(of_node).peekable();
    if requests.peek().is_none() {
        return Some("its kubelet has asked for no serving certificate".to_owned());
    }
    let mut name = String::new();
    for request in requests {
        if request["status"]["certificate"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
        {
            return None;
        }
        request["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut name);
    }
    Some(format!(
        "the request {name} for its serving certificate is not approved and issued"
    ))
}

/// Runs a pod of `image` on the node and removes it again.
///
/// # Errors
/// When the pod failed by itself, or the API refuses it.
pub(crate) async fn probe_pod(
    api: &dyn Api,
    run: &str,
    node: &str,
    image: &str,
    waits: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), StageFailure> {
    let collection = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    let name = format!("muster-probe-{node}");
    let path = format!("{collection}/{name}");
    match api.create(&collection, &pod(&name, run, node, image)).await {
        Ok(_) => {}
        Err(error) if error.is_already_exists() => {}
        Err(error) => return Err(fault::of_api("create the probe pod", &error)),
    }
    let ended = watch_over(api, &path, waits).await;
    let _ = delete_if_there(api, &path).await;
    ended
}

async fn watch_over(
    api: &dyn Api,
    path: &str,
    waits: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), StageFailure> {
    loop {
        match api.get(path).await {
            Ok(pod) => match pod["status"]["phase"].as_str() {
                Some("Running" | "Succeeded") => return Ok(()),
                Some("Failed") => {
                    let message = format!("the probe pod failed: {}", reason_of(&pod));
                    return Err(StageFailure::terminal(ids::NODE_NOT_READY, message)
                        .with_cure("see why pods do not run there: kubectl describe node"));
                }
                _ => waits(&format!("the probe pod does not run: {}", reason_of(&pod))),
            },
            Err(error) => waits(&format!("the probe pod cannot be read: {error}")),
        }
        sleep(PAUSE).await;
    }
}

fn reason_of(pod: &Value) -> String {
    let waiting = pod.pointer("/status/containerStatuses/0/state/waiting");
    let of = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    match waiting {
        Some(waiting) => format!("{} {}", of(waiting, "reason"), of(waiting, "message"))
            .trim()
            .to_owned(),
        None => {
            let status = &pod["status"];
            let text = format!("{} {}", of(status, "reason"), of(status, "message"));
            if text.trim().is_empty() {
                "pending".to_owned()
            } else {
                text.trim().to_owned()
            }
        }
    }
}

fn pod(name: &str, run: &str, node: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/managed-by": "muster", "app.kubernetes.io/instance": run},
        },
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "probe", "image": image}],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::access::memory::Memory;
    use super::*;
    use tokio::time::timeout;

    #[test]
    fn a_certificate_of_this_node_for_serving_is_what_counts() {
        let request = |user: &str, signer: &str, certificate: &str| {
            json!({
                "metadata": {"name": "csr-1"},
                "spec": {"username": user, "signerName": signer},
                "status": {"certificate": certificate},
            })
        };
        let serving = "kubernetes.io/kubelet-serving";
        let list = |items: Vec<Value>| json!({"items": items});
        let node = "system:node:w";
        assert!(standing(&list(vec![]), node).is_some());
        assert!(standing(&list(vec![request("system:node:x", serving, "pem")]), node).is_some());
        assert!(
            standing(
                &list(vec![request(
                    node,
                    "kubernetes.io/kube-apiserver-client-kubelet",
                    "pem"
                )]),
                node
            )
            .is_some()
        );
        assert!(
            standing(&list(vec![request(node, serving, "")]), node)
                .unwrap()
                .contains("csr-1")
        );
        assert!(
            standing(
                &list(vec![
                    request(node, serving, ""),
                    request(node, serving, "pem")
                ]),
                node
            )
            .is_none()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_pod_runs_on_its_node_and_is_gone_afterwards() {
        let api = Memory::default();
        let run = async {
            let waits = |_: &str| {};
            timeout(
                Duration::from_secs(60),
                probe_pod(&api, "r", "w", "pause", &waits),
            )
            .await
            .unwrap()
        };
        let start = async {
            let path = "/api/v1/namespaces/kube-system/pods/muster-probe-w";
            loop {
                if let Ok(pod) = api.get(path).await {
                    assert_eq!(pod["spec"]["nodeName"], "w");
                    api.merge(path, &json!({"status": {"phase": "Running"}}))
                        .await
                        .unwrap();
                    std::future::pending::<()>().await;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            result = run => result.unwrap(),
            () = start => unreachable!(),
        }
        assert!(api.paths("/api/v1/namespaces/kube-system/pods").is_empty());
    }
}
