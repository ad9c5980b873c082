//! Resets of control-plane nodes without a journal, against real etcds: membership before data, never the quorum, and
//! nothing of anybody else.

use crate::harness::{TestNode, muster, text_of, wait_for};
use crate::plane::{Plane, StaticPods};
use std::fs;
use std::path::PathBuf;
use std::process::Output;

/// A node below its root that joined, and whose journal is gone since.
fn without_journal(plane: &Plane, number: u8) -> (TestNode, StaticPods) {
    let node = plane.server.node();
    let pods = StaticPods::follow(&node, number, &plane.server.address);
    let joined = plane.join(&node, number);
    assert!(joined.status.success(), "{}", text_of(&joined));
    fs::remove_dir_all(node.root.join("var/lib/muster")).unwrap();
    (node, pods)
}

fn reset(node: &TestNode) -> Output {
    muster(&["reset", "--force", "--root", node.root.to_str().unwrap()])
}

fn data(node: &TestNode) -> PathBuf {
    node.root.join("var/lib/etcd/member")
}

#[test]
fn without_a_journal_membership_ends_before_data_and_no_quorum_is_lost() {
    let mut plane = Plane::start();
    let (second, _pods) = without_journal(&plane, 2);
    let (third, _others) = without_journal(&plane, 3);
    assert_eq!(plane.members().len(), 3);
    let first = plane.etcds.peer_url("n1");

    // One of three is dead: without another the last could decide nothing.
    plane.etcds.kill("n1");
    let before = third.files();
    let refused = reset(&third);
    assert_eq!(refused.status.code(), Some(67), "{}", text_of(&refused));
    let text = text_of(&refused);
    assert!(
        text.contains("only 1 of 2 needed etcd members") && text.contains("n1"),
        "{text}"
    );
    for (path, content) in before {
        let path = third.root.join(&path);
        // A data base that runs writes.
        if !path.starts_with(data(&third)) && !path.ends_with("kubelet.log") {
            assert_eq!(
                fs::read(&path).ok().as_ref(),
                Some(&content),
                "{}",
                path.display()
            );
        }
    }
    assert_eq!(plane.members().len(), 3);

    plane.bury(&first);
    let (watched, mut client) = (data(&third), plane.etcd(&[2]));
    let members_then = std::thread::spawn(move || {
        wait_for("the data to go", || match watched.exists() {
            true => Err("they are there".to_owned()),
            false => Ok(()),
        });
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let members = client.members_within(std::time::Duration::from_secs(20));
        runtime.block_on(members).unwrap().len()
    });
    let done = reset(&third);
    assert_eq!(members_then.join().unwrap(), 1, "data before membership");
    assert_eq!(plane.members(), [(second.name.clone(), true)]);
    let text = text_of(&done);
    assert!(done.status.success(), "{text}");
    assert!(
        !third
            .root
            .join("etc/kubernetes/manifests/etcd.yaml")
            .exists()
    );

    // The last one: its cluster is over, and its data go.
    assert!(data(&second).exists());
    let done = reset(&second);
    assert!(done.status.success(), "{}", text_of(&done));
    assert!(!data(&second).exists());
}

#[test]
fn data_of_an_etcd_that_no_manifest_names_are_never_touched() {
    let plane = Plane::start();
    let (node, _pods) = without_journal(&plane, 2);
    let theirs = plane.server.node();
    for root in [&node.root, &theirs.root] {
        let foreign = root.join("srv/etcd/member/snap");
        fs::create_dir_all(&foreign).unwrap();
        fs::write(foreign.join("db"), "somebody's").unwrap();
    }
    // At the usual place, but with nothing that says whose they are.
    let usual = theirs.root.join("var/lib/etcd/member/snap");
    fs::create_dir_all(&usual).unwrap();
    fs::write(usual.join("db"), "somebody's").unwrap();
    for one in [&node, &theirs] {
        let done = reset(one);
        assert!(done.status.success(), "{}", text_of(&done));
    }
    assert!(!data(&node).exists());
    assert_eq!(fs::read(usual.join("db")).unwrap(), b"somebody's");
    for root in [&node.root, &theirs.root] {
        let kept = fs::read(root.join("srv/etcd/member/snap/db")).unwrap();
        assert_eq!(kept, b"somebody's");
    }
    assert_eq!(plane.members(), [("n1".to_owned(), true)]);
}

#[test]
fn with_a_journal_a_reset_that_would_cost_the_quorum_leaves_etcd_running() {
    let mut plane = Plane::start();
    let nodes = [plane.server.node(), plane.server.node()];
    let mut pods = Vec::new();
    for (node, number) in nodes.iter().zip([2, 3]) {
        pods.push(StaticPods::follow(node, number, &plane.server.address));
        let joined = plane.join(node, number);
        assert!(joined.status.success(), "{}", text_of(&joined));
    }
    let first = plane.etcds.peer_url("n1");
    plane.etcds.kill("n1");
    let [_, third] = &nodes;
    let refused = reset(third);
    assert_eq!(refused.status.code(), Some(67), "{}", text_of(&refused));
    assert!(
        text_of(&refused).contains("--keep-etcd-member"),
        "{}",
        text_of(&refused)
    );
    assert_eq!(plane.members().len(), 3);
    assert!(data(third).exists());

    plane.bury(&first);
    let done = reset(third);
    assert!(done.status.success(), "{}", text_of(&done));
    assert_eq!(plane.members().len(), 1);
    assert_eq!(third.paths(), Vec::<PathBuf>::new());
}
