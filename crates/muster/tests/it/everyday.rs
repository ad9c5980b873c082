//! The real kubectl, every day: what it prints, and that it warns of nothing.

use crate::harness::{TestServer, wait_for};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[test]
fn a_joined_node_can_be_looked_at_in_every_way() {
    let server = TestServer::start();
    let node = server.join_ready();

    let wide = server.kubectl_ok(&["get", "nodes", "-o", "wide"]);
    let mut lines = wide.lines();
    let head: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(
        &head[..5],
        ["NAME", "STATUS", "ROLES", "AGE", "VERSION"],
        "{wide}"
    );
    let row: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(&row[..3], [node.name.as_str(), "Ready", "<none>"], "{wide}");
    assert!(wide.contains("hollow://"), "{wide}");

    let described = server.kubectl_ok(&["describe", "node", &node.name]);
    for part in [
        "muster.dev/hollow=true",
        "KubeletReady",
        "InternalIP",
        "RenewTime",
        "Non-terminated Pods",
    ] {
        assert!(
            described.contains(part),
            "describe lacks {part}:\n{described}"
        );
    }

    let requests = server.kubectl_ok(&["get", "csr"]);
    assert!(requests.contains("Approved,Issued"), "{requests}");
    assert!(
        requests.contains("kubernetes.io/kube-apiserver-client-kubelet"),
        "{requests}"
    );

    server.kubectl_ok(&["get", "namespaces"]);
    server.kubectl_ok(&["get", "leases", "-n", "kube-node-lease"]);
    server.kubectl_ok(&["get", "all", "-A"]);
    server.kubectl_ok(&["api-resources"]);
    server.kubectl_ok(&["api-versions"]);
    // Warns of nothing but its own age.
    assert!(server.kubectl(&["version"]).status.success());
    server.kubectl_ok(&["get", "--raw", "/readyz?verbose"]);
    server.kubectl_ok(&["get", "--raw", "/metrics"]);
}

#[test]
fn labels_cordons_and_taints_are_written_and_seen() {
    let server = TestServer::start();
    let node = server.join_ready();
    server.kubectl_ok(&["label", "node", &node.name, "rack=r7"]);
    let found = server.kubectl_ok(&["get", "nodes", "-l", "rack in (r7, r8)", "-o", "name"]);
    assert_eq!(found.trim(), format!("node/{}", node.name));
    server.kubectl_ok(&["label", "node", &node.name, "rack-"]);
    server.kubectl_ok(&["annotate", "node", &node.name, "note=hello"]);
    server.kubectl_ok(&["cordon", &node.name]);
    wait_for("the taint of a cordoned node", || {
        let taints = server.get(&["node", &node.name]).unwrap()["spec"]["taints"].to_string();
        if taints.contains("node.kubernetes.io/unschedulable") {
            Ok(())
        } else {
            Err(taints)
        }
    });
    server.kubectl_ok(&["uncordon", &node.name]);
    server.kubectl_ok(&["taint", "node", &node.name, "dedicated=gpu:NoSchedule"]);
    server.kubectl_ok(&["taint", "node", &node.name, "dedicated-"]);
}

#[test]
fn permissions_can_be_asked_for() {
    let server = TestServer::start();
    // kubectl itself remarks, on any cluster, that nodes have no namespace.
    let yes = server.kubectl(&["auth", "can-i", "delete", "nodes"]);
    assert_eq!(String::from_utf8_lossy(&yes.stdout).trim(), "yes");
    let no = server.kubectl(&["auth", "can-i", "delete", "nodes", "--as", "somebody"]);
    assert_eq!(String::from_utf8_lossy(&no.stdout).trim(), "no");
    let me = server.kubectl_ok(&["auth", "whoami"]);
    assert!(me.contains("kubernetes-admin"), "{me}");
}

#[test]
fn a_watch_sees_a_node_come_and_go() {
    let server = TestServer::start();
    let mut watch = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(server.kubeconfig())
        .args([
            "get",
            "nodes",
            "--watch",
            "--output-watch-events",
            "--no-headers",
        ])
        .env("HOME", server.folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let node = server.join_ready();
    let added = lines.next().unwrap().unwrap();
    assert!(
        added.contains("ADDED") && added.contains(&node.name),
        "{added}"
    );
    server.kubectl_ok(&["delete", "node", &node.name]);
    let deleted = lines
        .map(Result::unwrap)
        .find(|line| line.contains("DELETED"));
    assert!(deleted.unwrap().contains(&node.name));
    watch.kill().unwrap();
    watch.wait().unwrap();
    wait_for("the lease to go with its node", || {
        match server.get(&["lease", "-n", "kube-node-lease", &node.name]) {
            None => Ok(()),
            Some(lease) => Err(lease.to_string()),
        }
    });
}

#[test]
fn objects_are_made_changed_and_deleted() {
    let server = TestServer::start();
    server.kubectl_ok(&["create", "namespace", "shop"]);
    server.kubectl_ok(&[
        "create",
        "configmap",
        "prices",
        "-n",
        "shop",
        "--from-literal=tea=3",
    ]);
    server.kubectl_ok(&[
        "create",
        "secret",
        "generic",
        "till",
        "-n",
        "shop",
        "--from-literal=key=s",
    ]);
    server.kubectl_ok(&["create", "serviceaccount", "clerk", "-n", "shop"]);
    server.kubectl_ok(&[
        "create",
        "role",
        "reader",
        "-n",
        "shop",
        "--verb=get",
        "--resource=configmaps",
    ]);
    server.kubectl_ok(&[
        "create",
        "rolebinding",
        "clerk-reads",
        "-n",
        "shop",
        "--role=reader",
        "--serviceaccount=shop:clerk",
    ]);
    let can = [
        "auth",
        "can-i",
        "get",
        "configmaps",
        "-n",
        "shop",
        "--as=system:serviceaccount:shop:clerk",
    ];
    assert_eq!(server.kubectl_ok(&can).trim(), "yes");
    server.kubectl_ok(&[
        "patch",
        "configmap",
        "prices",
        "-n",
        "shop",
        "-p",
        r#"{"data":{"tea":"4"}}"#,
    ]);
    let map = server.get(&["configmap", "prices", "-n", "shop"]).unwrap();
    assert_eq!(map["data"]["tea"], "4");
    server.kubectl_ok(&[
        "delete",
        "namespace",
        "shop",
        "--wait=true",
        "--timeout=50s",
    ]);
    assert_eq!(server.get(&["configmap", "prices", "-n", "shop"]), None);
    assert_eq!(server.get(&["namespace", "shop"]), None);
}

#[test]
fn configurations_are_applied_on_the_server() {
    let server = TestServer::start();
    let file = |name: &str, tea: &str| {
        let path = server.folder.path().join(name);
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: prices, namespace: default}}\ndata: {{tea: \"{tea}\"}}\n"
        );
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (three, four, five) = (
        file("3.yaml", "3"),
        file("4.yaml", "4"),
        file("5.yaml", "5"),
    );
    let map = ["configmap", "prices", "--show-managed-fields"];
    let tea = || server.get(&map).unwrap()["data"]["tea"].clone();
    let operations = || {
        let map = server.get(&map).unwrap();
        let entries = map["metadata"]["managedFields"].as_array().unwrap().iter();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        entries
            .map(|entry| (text(&entry["manager"]), text(&entry["operation"])))
            .collect::<Vec<_>>()
    };
    let pair = |manager: &str, operation: &str| (manager.to_owned(), operation.to_owned());

    // From the client's side to the server's: kubectl takes over what it applied itself.
    server.kubectl_ok(&["apply", "-f", &three]);
    assert_eq!(
        operations(),
        [pair("kubectl-client-side-apply", "Update")],
        "made on the client's side"
    );
    let applied = server.kubectl_ok(&["apply", "--server-side", "-f", &four]);
    assert_eq!(applied.trim(), "configmap/prices serverside-applied");
    assert_eq!(tea(), "4");
    assert!(
        operations().contains(&pair("kubectl", "Apply")),
        "{:?}",
        operations()
    );

    // The difference is shown, and nothing is changed.
    let differs = server.kubectl(&["diff", "--server-side", "-f", &five]);
    let shown = String::from_utf8_lossy(&differs.stdout).into_owned();
    assert_eq!(differs.status.code(), Some(1), "{differs:?}");
    assert!(
        shown.contains("-  tea: \"4\"") && shown.contains("+  tea: \"5\""),
        "{shown}"
    );
    assert_eq!(tea(), "4");
    server.kubectl_ok(&["diff", "--server-side", "-f", &four]);

    // Others are told of the conflict, and may insist.
    let other = ["apply", "--server-side", "--field-manager=other", "-f"];
    let refused = server.kubectl(&[&other[..], &[&five]].concat());
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(
        why.contains("conflict with \"kubectl\": .data.tea"),
        "{why}"
    );
    server.kubectl_ok(&[&other[..], &[&five, "--force-conflicts"]].concat());
    assert_eq!(tea(), "5");
    let refused = server.kubectl(&["apply", "--server-side", "-f", &three]);
    assert!(!refused.status.success(), "other owns it now");

    // What nobody else has is made.
    server.kubectl_ok(&["delete", "configmap", "prices"]);
    server.kubectl_ok(&["apply", "--server-side", "-f", &three]);
    assert_eq!(operations(), [pair("kubectl", "Apply")]);
}
