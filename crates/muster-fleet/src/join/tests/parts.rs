//! Joins that are carried out part by part, each in a call of its own.

use muster_plan::Part;

use super::*;
use crate::join::parts_with;

const CERTIFICATE: &[Part] = &[Part::Phase(Phase::TlsBootstrap)];
const WHOLE: &[Part] = &[
    Part::Phase(Phase::TlsBootstrap),
    Part::Phase(Phase::KubeletStart),
    Part::Phase(Phase::KubeletWait),
    Part::Phase(Phase::NodeWait),
];

async fn part(scene: &Scene, options: &JoinOptions, parts: &[Part]) -> Result<Joined, JoinError> {
    let (journal, events) = (scene.journal(), scene.events());
    parts_with(
        options,
        parts,
        &scene.host,
        &scene.cluster,
        &journal,
        &events,
    )
    .await
}

#[tokio::test(start_paused = true)]
async fn a_part_that_fails_takes_back_itself_and_what_was_before_it_stays() {
    let scene = Scene::new();
    part(&scene, &options("n1"), CERTIFICATE).await.unwrap();
    let certified = scene.machine();
    assert!(
        certified
            .tree
            .contains_key("/var/lib/kubelet/pki/kubelet-client-current.pem")
    );
    scene.cluster.never_registers(true);
    let error = part(&scene, &options("n1"), WHOLE).await.unwrap_err();
    assert_eq!(error.id(), "node-not-registered");
    assert!(matches!(
        error,
        JoinError::Step {
            aftermath: Aftermath::Undone { .. },
            ..
        }
    ));
    let mut left = scene.machine();
    // The kubelet's own traces are in a directory that the first part answers for, and go with that.
    left.tree.remove("/var/lib/kubelet/cpu_manager_state");
    assert_eq!(left, certified);
    // The next call goes on with the same certificate.
    scene.cluster.never_registers(false);
    part(&scene, &options("n1"), WHOLE).await.unwrap();
    assert_eq!(scene.cluster.nodes(), ["n1"]);
    assert_eq!(scene.cluster.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_whole_join_goes_on_after_a_part_and_so_does_a_reset() {
    let scene = Scene::new();
    let before = scene.machine();
    part(&scene, &options("n1"), CERTIFICATE).await.unwrap();
    scene.cluster.never_registers(true);
    part(&scene, &options("n1"), WHOLE).await.unwrap_err();
    scene.reset().await.unwrap();
    assert_eq!(scene.machine(), before);
    scene.cluster.never_registers(false);
    part(&scene, &options("n1"), CERTIFICATE).await.unwrap();
    scene.join(&options("n1")).await.unwrap();
    assert_eq!(scene.cluster.nodes(), ["n1"]);
}

#[tokio::test]
async fn a_later_part_may_know_the_cluster_by_another_endpoint() {
    let scene = Scene::new();
    part(&scene, &options("n1"), CERTIFICATE).await.unwrap();
    let elsewhere = options("n1");
    let endpoint = Endpoint::parse("10.0.0.7:6443").unwrap();
    let request = JoinRequest {
        endpoint,
        ..elsewhere.request.clone()
    };
    let elsewhere = JoinOptions {
        request,
        ..elsewhere
    };
    part(&scene, &elsewhere, WHOLE).await.unwrap();
    assert_eq!(scene.cluster.requests(), 1);
}

#[tokio::test]
async fn a_part_by_another_name_takes_nothing_back() {
    let scene = Scene::new();
    part(&scene, &options("n1"), CERTIFICATE).await.unwrap();
    let begun = scene.machine();
    let error = part(&scene, &options("n2"), WHOLE).await.unwrap_err();
    assert_eq!(error.id(), "already-joined-elsewhere");
    assert!(error.to_string().contains("n1"), "{error}");
    assert_eq!(scene.machine(), begun);
    part(&scene, &options("n1"), WHOLE).await.unwrap();
    assert_eq!(scene.cluster.nodes(), ["n1"]);
}
