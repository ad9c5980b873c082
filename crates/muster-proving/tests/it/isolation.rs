//! What one node may do to another: nothing. Over TLS, with certificates.

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use kube::Api;
use kube::api::PostParams;
use muster_net::request::MERGE_PATCH;
use muster_net::{ApiClient, ApiError};
use muster_proving::{World, in_time, node, node_credential, until};
use serde_json::{Value, json};

const NODES: &str = "/api/v1/nodes";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

fn read<T: k8s_openapi::serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn manifest(name: &str) -> Value {
    let mut manifest = json!(node(name, &[], "True"));
    manifest["apiVersion"] = json!("v1");
    manifest["kind"] = json!("Node");
    manifest
}

fn lease(name: &str) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40}})
}

type Answer<'a> = BoxFuture<'a, Result<Value, ApiError>>;

/// Boxed: thirty requests in one story would not fit on its stack.
fn get<'a>(client: &'a ApiClient, path: &'a str) -> Answer<'a> {
    client.get(path).boxed()
}

fn create<'a>(client: &'a ApiClient, path: &'a str, body: Value) -> Answer<'a> {
    async move { client.create(path, &body).await }.boxed()
}

fn patch<'a>(client: &'a ApiClient, path: &'a str, body: &'a Value) -> Answer<'a> {
    client.patch(path, MERGE_PATCH, body).boxed()
}

fn delete<'a>(client: &'a ApiClient, path: &'a str) -> Answer<'a> {
    client.delete(path, None).boxed()
}

async fn forbidden(what: &str, answer: Answer<'_>) {
    match answer.await {
        Err(error) => assert!(error.is_forbidden(), "{what}: {error}"),
        Ok(_) => panic!("{what} was allowed"),
    }
}

/// A secret, and a pod on `node` that mounts it.
async fn place_secret(world: &World, node: &str) {
    let secrets = Api::<Secret>::namespaced(world.admin(), "default");
    let name = format!("of-{node}");
    let secret = json!({"metadata": {"name": name}, "stringData": {"key": node}});
    secrets
        .create(&PostParams::default(), &read(secret))
        .await
        .unwrap();
    let pod = json!({"metadata": {"name": format!("pod-{node}")}, "spec": {
        "nodeName": node,
        "containers": [{"name": "c", "image": "example.com/c"}],
        "volumes": [{"name": "v", "secret": {"secretName": name}}],
    }});
    let pods = Api::<Pod>::namespaced(world.admin(), "default");
    pods.create(&PostParams::default(), &read(pod))
        .await
        .unwrap();
}

fn status_patch() -> Value {
    json!({"status": {"nodeInfo": {"kubeletVersion": "v1.36.2"}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_reaches_its_own_things_and_no_others() {
    in_time(async {
        let world = World::start().await;
        let accounts = Api::<ServiceAccount>::namespaced(world.admin(), "default");
        until("the default service account", async || {
            accounts.get_opt("default").await.unwrap()
        })
        .await;
        let [a, b] = ["a", "b"].map(|name| world.over_tls(node_credential(world.ca(), name)));
        for (name, client, other) in [("a", &a, "b"), ("b", &b, "a")] {
            forbidden("another's Node", create(client, NODES, manifest(other))).await;
            create(client, NODES, manifest(name)).await.unwrap();
            forbidden("another's lease", create(client, LEASES, lease(other))).await;
            create(client, LEASES, lease(name)).await.unwrap();
            place_secret(&world, name).await;
        }
        for (name, client, other) in [("a", &a, "b"), ("b", &b, "a")] {
            reads(client, name, other).await;
            writes(client, name, other).await;
        }

        // The right ends with the pod that gave it.
        let pods = Api::<Pod>::namespaced(world.admin(), "default");
        let at_once = kube::api::DeleteParams::default().grace_period(0);
        pods.delete("pod-a", &at_once).await.unwrap();
        until("the end of the right", async || {
            let answer = get(&a, &format!("{SECRETS}/of-a")).await;
            answer
                .is_err_and(|error| error.is_forbidden())
                .then_some(())
        })
        .await;
    })
    .await;
}

async fn reads(client: &ApiClient, name: &str, other: &str) {
    let own = format!("{SECRETS}/of-{name}");
    let own = until("the node's own secret", async || {
        get(client, &own).await.ok()
    })
    .await;
    assert_eq!(own["metadata"]["name"], format!("of-{name}"));
    let foreign = format!("{SECRETS}/of-{other}");
    forbidden("another's secret", get(client, &foreign)).await;
    forbidden("all secrets", get(client, SECRETS)).await;
    let everywhere = "/api/v1/secrets";
    forbidden("the secrets of all", get(client, everywhere)).await;
}

async fn writes(client: &ApiClient, name: &str, other: &str) {
    let [own, foreign] = [name, other].map(|name| format!("{NODES}/{name}"));
    let [own_status, foreign_status] = [name, other].map(|name| format!("{NODES}/{name}/status"));
    patch(client, &own_status, &status_patch()).await.unwrap();
    forbidden(
        "another's status",
        patch(client, &foreign_status, &status_patch()),
    )
    .await;
    let label = json!({"metadata": {"labels": {"x": "y"}}});
    forbidden("another's labels", patch(client, &foreign, &label)).await;
    patch(client, &own, &label).await.unwrap();
    // A node does not choose which work comes to it.
    let restricted = json!({"metadata": {"labels": {"node-restriction.kubernetes.io/x": "y"}}});
    forbidden("a protected label", patch(client, &own, &restricted)).await;
    let taint = json!({"spec": {"taints": [{"key": "x", "effect": "NoSchedule"}]}});
    forbidden("its own taints", patch(client, &own, &taint)).await;
    forbidden("another's end", delete(client, &foreign)).await;

    let renewed = json!({"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}});
    let [own, foreign] = [name, other].map(|name| format!("{LEASES}/{name}"));
    patch(client, &own, &renewed).await.unwrap();
    forbidden("another's lease", patch(client, &foreign, &renewed)).await;
    let pod = format!("/api/v1/namespaces/default/pods/pod-{other}");
    forbidden("another's pod", delete(client, &pod)).await;
}
