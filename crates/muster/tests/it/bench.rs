//! `muster bench` joins what it says and cleans up after itself. Times are not judged here.

use crate::harness::{TestServer, muster, stdout_of};
use serde_json::Value;

#[test]
fn simulated_nodes_join_are_counted_and_removed() {
    let server = TestServer::start();
    let kubeconfig = server.kubeconfig();
    let arguments = [
        "bench",
        "-o",
        "json",
        "--nodes",
        "12",
        "--concurrency",
        "4",
        "--clean",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
    ];
    let report: Value = serde_json::from_str(&stdout_of(muster(&arguments))).unwrap();
    assert_eq!(report["nodes"], 12);
    assert!(report["joins_per_second"].as_f64().unwrap() > 0.0);
    assert_eq!(server.kubectl_ok(&["get", "nodes", "-o", "name"]), "");
    let of_type = "type=bootstrap.kubernetes.io/token";
    let tokens = [
        "get",
        "secrets",
        "-n",
        "kube-system",
        "--field-selector",
        of_type,
        "-o",
        "name",
    ];
    assert_eq!(
        server.kubectl_ok(&tokens),
        "",
        "the token of the run stayed"
    );
}
