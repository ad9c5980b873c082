//! Control-plane joins against the embedded server and real etcds.

use crate::harness::{Running, TestNode, failure_id, muster, text_of, wait_for};
use crate::plane::{Plane, StaticPods, address};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Everything below the root but muster's own journal and the logs.
fn traces(node: &TestNode) -> Vec<PathBuf> {
    node.paths()
}

#[test]
fn a_control_plane_node_joins_is_marked_and_is_taken_back_to_nothing() {
    let plane = Plane::start();
    let node = plane.server.node();
    let pods = StaticPods::follow(&node, 2, &plane.server.address);
    let joined = plane.join(&node, 2);
    assert!(joined.status.success(), "{}", text_of(&joined));
    assert_eq!(
        plane.members(),
        [("n1".to_owned(), true), (node.name.clone(), true)]
    );

    let object = plane.server.get(&["node", &node.name]).unwrap();
    let labels = &object["metadata"]["labels"];
    assert_eq!(labels["node-role.kubernetes.io/control-plane"], "");
    assert_eq!(
        object["spec"]["taints"][0]["key"],
        "node-role.kubernetes.io/control-plane"
    );
    let manifest =
        fs::read_to_string(node.root.join("etc/kubernetes/manifests/etcd.yaml")).unwrap();
    let own = format!("{}=https://{}:2380", node.name, address(2));
    assert!(
        manifest.contains("n1=https://") && manifest.contains(&own),
        "{manifest}"
    );
    assert!(manifest.contains("--initial-cluster-state=existing"));
    let lease = [
        "lease",
        "-n",
        "kube-system",
        "muster-control-plane-join",
        "--ignore-not-found",
    ];
    assert_eq!(plane.server.get(&lease), None);

    let journal: Vec<u8> = node
        .files()
        .into_iter()
        .filter(|(path, _)| path.to_str().unwrap().contains("state.db"))
        .flat_map(|(_, content)| content)
        .collect();
    let journal = String::from_utf8_lossy(&journal).into_owned();
    assert!(!journal.contains("PRIVATE KEY") && !journal.contains(&plane.key));

    let reset = muster(&["reset", "--force", "--root", node.root.to_str().unwrap()]);
    assert!(reset.status.success(), "{}", text_of(&reset));
    drop(pods);
    assert_eq!(plane.members(), [("n1".to_owned(), true)]);
    assert_eq!(traces(&node), Vec::<PathBuf>::new());
    assert_eq!(
        plane
            .server
            .get(&["node", &node.name, "--ignore-not-found"]),
        None
    );
}

#[test]
fn a_join_that_is_stopped_after_its_learner_was_added_takes_the_learner_out_again() {
    let plane = Plane::start();
    let node = plane.server.node();
    // Nobody starts the etcd of the manifest: the learner never gets its vote.
    let running = Running::start(&plane.arguments(&node, 2, &["--certificate-key", &plane.key]));
    wait_for("the learner", || {
        let members = plane.members();
        members
            .iter()
            .any(|(_, votes)| !votes)
            .then_some(())
            .ok_or_else(|| format!("{members:?}"))
    });
    running.interrupt();
    let (success, errors) = running.end();
    assert!(!success, "{errors}");
    assert_eq!(plane.members(), [("n1".to_owned(), true)]);
    assert_eq!(traces(&node), Vec::<PathBuf>::new());
    let lease = [
        "lease",
        "-n",
        "kube-system",
        "muster-control-plane-join",
        "--ignore-not-found",
    ];
    assert_eq!(plane.server.get(&lease), None);
}

#[test]
fn a_join_that_is_killed_goes_on_with_its_learner() {
    let plane = Plane::start();
    let node = plane.server.node();
    let running = Running::start(&plane.arguments(&node, 2, &["--certificate-key", &plane.key]));
    wait_for("the learner", || {
        let members = plane.members();
        members
            .iter()
            .any(|(_, votes)| !votes)
            .then_some(())
            .ok_or_else(|| format!("{members:?}"))
    });
    running.kill();
    let pods = StaticPods::follow(&node, 2, &plane.server.address);
    let joined = plane.join(&node, 2);
    assert!(joined.status.success(), "{}", text_of(&joined));
    assert_eq!(
        plane.members(),
        [("n1".to_owned(), true), (node.name.clone(), true)]
    );
    drop(pods);
}

#[test]
fn two_control_plane_nodes_that_join_at_once_take_turns() {
    let plane = Plane::start();
    let (second, third) = (plane.server.node(), plane.server.node());
    let _pods = [
        StaticPods::follow(&second, 2, &plane.server.address),
        StaticPods::follow(&third, 3, &plane.server.address),
    ];
    let key = ["--certificate-key", plane.key.as_str()];
    let joins = [
        Running::start(&plane.arguments(&second, 2, &key)),
        Running::start(&plane.arguments(&third, 3, &key)),
    ];
    for join in joins {
        let (success, errors) = join.end();
        assert!(success, "{errors}");
    }
    let members = plane.members();
    assert_eq!(members.len(), 3, "{members:?}");
    assert!(members.iter().all(|(_, votes)| *votes), "{members:?}");
}

#[test]
fn a_wrong_key_is_told_from_certificates_that_are_gone() {
    let plane = Plane::start();
    let node = plane.server.node();
    let zeros = "0".repeat(64);
    let wrong = muster(&plane.arguments(&node, 2, &["--certificate-key", &zeros, "-o", "json"]));
    assert_eq!(
        failure_id(&wrong).as_deref(),
        Some("certificate-key-wrong"),
        "{}",
        text_of(&wrong)
    );
    plane
        .server
        .kubectl_ok(&["-n", "kube-system", "delete", "secret", "kubeadm-certs"]);
    let gone = muster(&plane.arguments(&node, 2, &["--certificate-key", &plane.key, "-o", "json"]));
    assert_eq!(
        failure_id(&gone).as_deref(),
        Some("shared-certificates-gone"),
        "{}",
        text_of(&gone)
    );
    assert_eq!(traces(&node), Vec::<PathBuf>::new());
    assert_eq!(plane.members(), [("n1".to_owned(), true)]);
}

#[test]
fn with_an_admin_conf_on_the_machine_nothing_is_discovered_under_either_name() {
    let plane = Plane::start();
    let node = plane.server.node();
    // Nobody listens there, and no cluster has that CA.
    let stranger = format!("sha256:{}", "0".repeat(64));
    let words = [
        "join",
        "127.0.0.1:1",
        "--token",
        &plane.token,
        "--discovery-token-ca-cert-hash",
        &stranger,
        "--control-plane",
        "--certificate-key",
        &plane.key,
        "--apiserver-advertise-address",
        "192.0.2.7",
        "--node-name",
        &node.name,
        "--ignore-preflight-errors",
        "all",
        "--dry-run",
    ];
    let native = || {
        let root = node.root.to_str().unwrap();
        let more = [
            "--root",
            root,
            "--runtime",
            "hollow",
            "--kubelet",
            "builtin",
        ];
        // A typed endpoint goes before the file's for our own command: it is left out.
        let words = words.iter().filter(|word| **word != "127.0.0.1:1");
        muster(&words.chain(&more).copied().collect::<Vec<_>>())
    };
    let link = plane.server.folder.path().join("kubeadm");
    std::os::unix::fs::symlink(crate::harness::MUSTER, &link).unwrap();
    let face = || {
        Command::new(&link)
            .args(words)
            .env("MUSTER_ROOT", &node.root)
            .env("MUSTER_RUNTIME", "hollow")
            .env("MUSTER_KUBELET", "builtin")
            .env_remove("KUBECONFIG")
            .output()
            .unwrap()
    };
    let without = native();
    assert!(!without.status.success(), "{}", text_of(&without));
    let kubernetes = node.root.join("etc/kubernetes");
    fs::create_dir_all(&kubernetes).unwrap();
    fs::copy(plane.server.kubeconfig(), kubernetes.join("admin.conf")).unwrap();
    for output in [native(), face()] {
        assert!(output.status.success(), "{}", text_of(&output));
        assert!(text_of(&output).contains("etcd"), "{}", text_of(&output));
    }
}
