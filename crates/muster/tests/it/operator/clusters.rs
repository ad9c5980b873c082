//! Clusters that come late, are silent, say where their machines go, or are made anew.

use super::rig::{
    TestOperator, apply, management, refer, request, secret_name, status, token_of, tokens_in,
    wait_for_condition, wait_until_ready,
};
use crate::harness::{TestServer, wait_for};
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn a_cluster_that_comes_later_gets_its_token_then() {
    let server = management();
    let operator = TestOperator::start(&server);
    apply(&server, &request("early", json!({})));
    wait_for_condition(&server, "early", "Ready", ("False", "ClusterNotFound"));
    assert!(tokens_in(&server).is_empty());
    refer(&server, &server);
    let ready = wait_until_ready(&server, "early");
    assert_eq!(tokens_in(&server), BTreeSet::from([secret_name(&ready)]));
    let (code, metrics) = operator.get("/metrics");
    assert_eq!(code, 200);
    for line in [
        "muster_operator_requests{state=\"ready\"} 1",
        "muster_operator_tokens_minted_total 1",
        "muster_operator_clusters{answers=\"true\"} 1",
        "muster_operator_request_duration_seconds_count 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    operator.is_ready().unwrap();
    assert_eq!(operator.get("/healthz").0, 200);
    assert_eq!(operator.get("/secrets").0, 404);
}

#[test]
fn what_is_owed_to_a_silent_cluster_is_paid_when_it_returns() {
    let (server, mut target) = (management(), TestServer::start());
    refer(&server, &target);
    let operator = TestOperator::start(&server);
    for name in ["one", "two"] {
        apply(&server, &request(name, json!({})));
        wait_until_ready(&server, name);
    }
    assert_eq!(tokens_in(&target).len(), 2);
    target.kill();
    wait_for_condition(
        &server,
        "two",
        "ClusterAvailable",
        ("False", "ClusterUnreachable"),
    );
    let deleted = server.kubectl_ok(&["delete", "jtr", "one", "--timeout=30s"]);
    assert!(deleted.contains("deleted"), "{deleted}");
    let select = [
        "configmaps",
        "-n",
        "kube-system",
        "-l",
        "muster.dev/join-token-debt",
    ];
    let debts = server.get(&select).unwrap();
    assert_eq!(debts["items"].as_array().unwrap().len(), 1, "{debts}");
    // Debts outlive the operator.
    operator.kill();
    let _operator = TestOperator::start(&server);
    target.resume();
    let status = wait_for_condition(&server, "two", "ClusterAvailable", ("True", "Connected"));
    wait_for("the debt to be paid", || {
        let (debts, tokens) = (server.get(&select).unwrap_or_default(), tokens_in(&target));
        let is_paid = debts["items"].as_array().is_none_or(Vec::is_empty);
        if is_paid && tokens == BTreeSet::from([secret_name(&status)]) {
            Ok(())
        } else {
            Err(format!("{debts} {tokens:?}"))
        }
    });
}

/// k0smotron's Cluster, as far as it matters.
fn cluster_definition() -> String {
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "clusters.k0smotron.io"},
        "spec": {
            "group": "k0smotron.io", "scope": "Namespaced",
            "names": {"kind": "Cluster", "plural": "clusters", "singular": "cluster"},
            "versions": [version("v1beta1", true), version("v1beta2", false)],
        },
    })
    .to_string()
}

#[test]
fn a_cluster_object_says_where_machines_go_and_made_anew_gets_a_fresh_token() {
    let server = management();
    let operator = TestOperator::start(&server);
    let cluster = json!({
        "apiVersion": "k0smotron.io/v1beta1", "kind": "Cluster",
        "metadata": {"name": "my-cluster", "namespace": "default"},
        "spec": {"ingress": {"apiHost": "api.example.com"}},
    })
    .to_string();
    // The definition of clusters may come after the operator.
    apply(&server, &cluster_definition());
    server.kubectl_ok(&[
        "wait",
        "--for=condition=Established",
        "crd/clusters.k0smotron.io",
    ]);
    apply(&server, &cluster);
    apply(&server, &request("my-token", json!({"role": "controller"})));
    wait_for_condition(&server, "my-token", "Ready", ("False", "ClusterNotReady"));
    refer(&server, &server);
    let first = wait_until_ready(&server, "my-token");
    let uid = server
        .get(&["clusters.k0smotron.io", "my-cluster"])
        .unwrap()["metadata"]["uid"]
        .clone();
    assert_eq!(first["clusterUID"], uid);
    let token = token_of(&server, "my-token");
    let read = muster_identity::K0sToken::decode(token.as_bytes()).unwrap();
    assert_eq!(read.server().url(), "https://api.example.com:443");
    assert_eq!(read.role(), muster_identity::JoinRole::Controller);

    server.kubectl_ok(&["delete", "clusters.k0smotron.io", "my-cluster"]);
    apply(&server, &cluster);
    wait_for("a token for the new cluster", || {
        let status = status(&server, "my-token");
        let is_fresh = status["clusterUID"] != uid && status["tokenID"] != first["tokenID"];
        if is_fresh && status["tokenID"].is_string() {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    drop(operator);
}
