//! Every step of a control-plane join fails, before its deed and after it; every undo fails; etcd cannot let its member
//! go. What cannot be taken back is named, keeps what it stands on, and is taken back by the next reset.

use super::*;
use crate::join::tests::resets::steps_of;
use crate::testing::Deed;
use muster_host::Host as _;
use muster_plan::Actor;

/// The steps of a join of that kind: id and step.
async fn steps(kind: Kind) -> Vec<(String, Step)> {
    let scene = kind.scene();
    scene.join(&kind.options("n1")).await.unwrap();
    steps_of(&scene).await
}

/// Whether the step finds a file that stays.
fn stands(kind: Kind, step: &Step) -> bool {
    kind == Kind::ExternalCa
        && matches!(step, Step::WriteMade { path, .. } if BROUGHT.contains_key(path))
}

/// What of the cluster a step needs.
fn deed(step: &Step) -> Option<Deed> {
    Some(match step {
        Step::PrepareControlPlane { fetch: true, .. } => Deed::ShareCertificates,
        Step::TakeTurn { .. } => Deed::TakeTurn,
        Step::AwaitEtcd { .. } => Deed::EtcdHealth,
        Step::AddEtcdLearner { .. } => Deed::AddLearner,
        Step::PromoteEtcdMember { .. } => Deed::Promote,
        Step::MarkControlPlane { .. } => Deed::Mark,
        Step::AwaitComponents { .. } => Deed::Components,
        _ => return None,
    })
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_join_that_fails_at_any_step_leaves_machine_and_cluster_as_before() {
    for kind in Kind::ALL {
        let ends = ends(kind).await;
        let mut failed = 0;
        for (id, step) in steps(kind).await {
            for after_deed in [false, true] {
                let scene = kind.scene();
                match (deed(&step), step.actor()) {
                    (Some(deed), _) => scene.cluster.refuse(deed, Some(after_deed)),
                    (None, Actor::Host) if stands(kind, &step) => continue,
                    (None, Actor::Host) => scene.host.fail_step(&id, after_deed),
                    // Proved with the joins of workers.
                    (None, Actor::Cluster) => continue,
                }
                failed += 1;
                let place = format!("{kind:?}: {id} failed, after its deed: {after_deed}");
                let Err(error) = scene.join(&kind.options("n1")).await else {
                    panic!("{place}: it joined")
                };
                let undone = matches!(
                    &error,
                    JoinError::Step { aftermath: Aftermath::Undone { left_behind }, .. } if left_behind.is_empty()
                );
                assert!(undone, "{place}: {error:?}");
                assert_before(&scene, &ends, &place);
            }
        }
        assert!(failed > 40, "{kind:?}: {failed}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_undo_of_a_control_plane_join_that_fails_is_named_and_the_next_reset_ends_clean() {
    for kind in [Kind::Stacked, Kind::ExternalCa] {
        let ends = ends(kind).await;
        let mut tried = 0;
        for (id, step) in steps(kind).await {
            if !step.leaves_traces() || step.actor() != Actor::Host {
                continue;
            }
            tried += 1;
            let scene = kind.scene();
            scene.join(&kind.options("n1")).await.unwrap();
            scene.host.fail_undo(&id, true);
            let error = scene.reset().await.unwrap_err();
            assert_eq!(error.id(), "undo-incomplete", "{id}: {error:?}");
            assert!(error.remedy().unwrap().starts_with("1. "), "{id}");
            scene.host.fail_undo(&id, false);
            let again = scene.reset().await;
            again.unwrap_or_else(|error| panic!("{kind:?} {id}: {}", error.message()));
            assert_before(&scene, &ends, &format!("{kind:?}: the undo of {id} failed"));
        }
        assert!(tried > 20, "{tried}");
    }
}

/// A member that cannot go: with what it runs with, nothing else of it either.
fn assert_etcd_goes_on(scene: &Scene, place: &str) {
    let own = format!("https://{OWN}:2380");
    let members = scene.cluster.state().members;
    let own = members.iter().find(|(_, url, ..)| *url == own);
    assert!(
        matches!(own, Some((_, _, true, true))),
        "{place}: {members:?}"
    );
    let tree = scene.machine().tree;
    for path in [
        "/var/lib/etcd/member",
        "/etc/kubernetes/manifests/etcd.yaml",
        "/etc/kubernetes/pki/etcd/peer.key",
        "/etc/kubernetes/pki/etcd/ca.crt",
    ] {
        assert!(tree.contains_key(path), "{place}: {path} is gone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_leave_goes_on_until_a_later_reset() {
    for kind in [Kind::Stacked, Kind::StackedAmongThree, Kind::ExternalCa] {
        let ends = ends(kind).await;
        for (after_deed, place) in [(false, "refused"), (true, "its answer was lost")] {
            let scene = kind.scene();
            scene.join(&kind.options("n1")).await.unwrap();
            scene.cluster.refuse(Deed::RemoveMember, Some(after_deed));
            let error = scene.reset().await.unwrap_err();
            assert_eq!(error.id(), "undo-incomplete", "{place}: {error:?}");
            if !after_deed {
                assert_etcd_goes_on(&scene, place);
            }
            scene.cluster.refuse(Deed::RemoveMember, None);
            scene.reset().await.unwrap();
            assert_before(&scene, &ends, &format!("{kind:?} {place}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_without_which_the_others_could_not_agree_stays_with_its_data() {
    let kind = Kind::StackedAmongThree;
    let ends = ends(kind).await;
    let scene = kind.scene();
    scene.join(&kind.options("n1")).await.unwrap();
    // Three of four live; without ours only two of three would, so one more may not be missed.
    scene.cluster.etcd_departs("cp3");
    scene.cluster.etcd_lives("cp2", false);
    let error = scene.reset().await.unwrap_err();
    let remedy = error.remedy().unwrap();
    assert!(remedy.contains("--keep-etcd-member"), "{remedy}");
    assert!(
        remedy.contains("only 1 of 2 needed etcd members"),
        "{remedy}"
    );
    assert_etcd_goes_on(&scene, "quorum");
    scene.cluster.etcd_lives("cp2", true);
    scene.reset().await.unwrap();
    assert_eq!(machine(&scene), ends.before.0);
    let names: Vec<String> = scene
        .cluster
        .state()
        .members
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    assert_eq!(names, ["cp1", "cp2"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_member_ends_with_a_reset_but_not_with_a_failed_join() {
    let kind = Kind::Stacked;
    let ends = ends(kind).await;
    let scene = kind.scene();
    scene.join(&kind.options("n1")).await.unwrap();
    scene.cluster.etcd_departs("cp1");
    scene.reset().await.unwrap();
    assert_eq!(machine(&scene), ends.before.0);

    // The others leave while the join waits for its Node; then it fails.
    let scene = kind.scene();
    scene.cluster.never_ready(true);
    let mut options = kind.options("n1");
    options.request.wait = Wait::Ready;
    options.request.wait_seconds = 5;
    let (cluster, watched) = (scene.cluster.clone(), scene.host.clone());
    let leaving = tokio::spawn(async move {
        let manifest = "/etc/kubernetes/manifests/kube-scheduler.yaml";
        while watched.read(manifest).await.unwrap().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        cluster.etcd_departs("cp1");
    });
    let error = scene.join(&options).await.unwrap_err();
    leaving.await.unwrap();
    assert_eq!(error.id(), "undo-incomplete", "{error:?}");
    assert!(
        error.remedy().unwrap().contains("is the only one left"),
        "{error:?}"
    );
    assert_etcd_goes_on(&scene, "last");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_to_be_kept_keeps_its_data_and_nothing_else() {
    let kind = Kind::Stacked;
    let ends = ends(kind).await;
    let scene = kind.scene();
    scene.join(&kind.options("n1")).await.unwrap();
    // Nobody can be asked any more.
    scene.cluster.etcd_departs("cp1");
    scene.cluster.etcd_lives("n1", false);
    let options = ResetOptions {
        keep_etcd_member: true,
        ..ResetOptions::default()
    };
    let (journal, events) = (scene.journal(), scene.events());
    let reset = reset_with(&options, &scene.host, &scene.cluster, &journal, &events);
    let error = reset.await.unwrap_err();
    let JoinError::UndoIncomplete { left_behind, .. } = &error else {
        panic!("{error:?}")
    };
    let left: Vec<&str> = left_behind
        .iter()
        .map(|residue| residue.what.as_str())
        .collect();
    assert_eq!(
        left,
        ["etcd member n1 (https://10.0.0.7:2380)", "/var/lib/etcd"]
    );
    let mut world = machine(&scene);
    assert!(world.remove("/var/lib/etcd/member").is_some());
    assert!(world.remove("/var/lib/etcd").is_some());
    assert_eq!(world, ends.before.0);
}

#[tokio::test(start_paused = true)]
async fn marks_that_cannot_be_taken_away_are_named_and_hold_nothing_up() {
    let kind = Kind::Stacked;
    let ends = ends(kind).await;
    let scene = kind.scene();
    scene.join(&kind.options("n1")).await.unwrap();
    scene.cluster.refuse(Deed::Unmark, Some(false));
    let outcome = scene.reset().await.unwrap();
    let left = &outcome.left_behind()[0];
    assert_eq!(left.what, "labels and taints of node n1 in the cluster");
    assert_before(&scene, &ends, "marks");
}
