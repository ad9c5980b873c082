//! A control-plane host of a fleet: shared certificates, an etcd member with a vote, and all of it taken back.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::harness::{MUSTER, TestNode, text_of};
use crate::plane::{Plane, StaticPods, address};

/// The name of the variable that holds the key of the shared certificates.
const KEY: &str = "MUSTER_TEST_CERTIFICATE_KEY";

fn fleet_file(plane: &Plane, node: &TestNode) -> PathBuf {
    let file = plane.server.folder.path().join("fleet.yaml");
    let text = format!(
        "apiVersion: muster.dev/v1alpha1\nkind: FleetConfiguration\nmetadata: {{name: planes}}\n\
         cluster: {{kubeconfig: '{}', certificateKey: {{env: {KEY}}}}}\n\
         defaults:\n  local: true\n  role: control-plane\n\
         \x20 join: {{method: muster, root: '{}', kubelet: builtin, runtime: hollow, ignorePreflightErrors: [all], \
         extraArgs: [--apiserver-advertise-address, {}]}}\n\
         hosts: [{{name: {}}}]\n",
        plane.server.kubeconfig().display(),
        node.root.display(),
        address(2),
        node.name,
    );
    fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_control_plane_host_joins_with_its_fleet_and_is_taken_out_again() {
    let plane = Plane::start();
    let node = plane.server.node();
    let pods = StaticPods::follow(&node, 2, &plane.server.address);
    let file = fleet_file(&plane, &node);
    let state = plane.server.folder.path().join("state");
    let fleet = |verb: &str| -> Output {
        Command::new(MUSTER)
            .args(["-o", "json", "fleet", verb, "-f"])
            .arg(&file)
            .arg("--state-dir")
            .arg(&state)
            .env(KEY, &plane.key)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };

    let joined = fleet("join");
    assert!(joined.status.success(), "{}", text_of(&joined));
    assert_eq!(
        plane.members(),
        [("n1".to_owned(), true), (node.name.clone(), true)]
    );
    let object = plane.server.get(&["node", &node.name]).unwrap();
    let labels = &object["metadata"]["labels"];
    assert_eq!(labels["node-role.kubernetes.io/control-plane"], "");
    let mut told = text_of(&joined).into_bytes();
    for file in fs::read_dir(&state).unwrap() {
        told.extend(fs::read(file.unwrap().path()).unwrap_or_default());
    }
    assert!(!String::from_utf8_lossy(&told).contains(&plane.key));

    let undone = fleet("undo");
    assert!(undone.status.success(), "{}", text_of(&undone));
    drop(pods);
    assert_eq!(plane.members(), [("n1".to_owned(), true)]);
    assert_eq!(node.paths(), Vec::<PathBuf>::new());
    let gone = ["node", &node.name, "--ignore-not-found"];
    assert_eq!(plane.server.get(&gone), None);
}
