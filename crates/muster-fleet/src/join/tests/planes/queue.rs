//! Several control-plane nodes at once: one after the other changes etcd, and a turn that nobody renews is adopted.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_turn_of_a_node_that_is_no_more_is_adopted_and_given_back() {
    let kind = Kind::Stacked;
    let ends = ends(kind).await;
    let scene = kind.scene();
    scene.cluster.turn_of("gone");
    let begun = tokio::time::Instant::now();
    scene.join(&kind.options("n1")).await.unwrap();
    assert!(begun.elapsed() >= std::time::Duration::from_secs(15));
    assert_joined(&scene, &ends, "a stale turn");
    let told = scene.told.lock();
    let waited = told.iter().any(|event| {
        matches!(event, Event::Waiting { reason, .. } if reason.contains("node gone is joining"))
    });
    assert!(waited, "nobody was told whom it waits for");
}

#[tokio::test(start_paused = true)]
async fn control_plane_nodes_that_join_at_once_take_turns() {
    let kind = Kind::Stacked;
    let first = kind.scene();
    let host = SimHost::new("n2");
    host.install_system_kubelet(false);
    let mut second = Scene::on(host.clone());
    second.cluster = first.cluster.beside(&host, [10, 0, 0, 8]);
    let (one, two) = (kind.options("n1"), kind.options("n2"));
    // While both join there is never more than one learner, and never one in somebody else's turn.
    let watched = first.cluster.clone();
    let watching = tokio::spawn(async move {
        let mut learners = 0;
        loop {
            let members = watched.state().members;
            let now = members.iter().filter(|(_, _, votes, _)| !votes).count();
            learners = learners.max(now);
            if members.len() == 3 && now == 0 {
                return learners;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    let (a, b) = tokio::join!(first.join(&one), second.join(&two));
    a.unwrap();
    b.unwrap();
    assert!(watching.await.unwrap() <= 1);
    let state = first.cluster.state();
    assert!(
        state
            .members
            .iter()
            .all(|(_, _, votes, well)| *votes && *well)
    );
    assert_eq!(state.nodes.len(), 2);
    assert!(!state.objects.keys().any(|path| path.contains("/leases/")));
    // Each can leave; the other goes on.
    first.reset().await.unwrap();
    second.reset().await.unwrap();
    let names: Vec<String> = first
        .cluster
        .state()
        .members
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    assert_eq!(names, kind.members());
}

#[tokio::test(start_paused = true)]
async fn a_join_that_was_killed_in_its_turn_takes_its_own_turn_up_again_at_once() {
    let kind = Kind::Stacked;
    let ends = ends(kind).await;
    let scene = kind.scene();
    scene.cluster.turn_of("n1");
    let begun = tokio::time::Instant::now();
    scene.join(&kind.options("n1")).await.unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_secs(15));
    assert_joined(&scene, &ends, "its own turn");
}
