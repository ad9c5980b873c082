//! A control-plane node whose journal is gone: what its content proves goes, its membership before its data, wherever the
//! reset is cut off.

use super::*;
use crate::testing::Deed;

/// A node that joined, and a journal that knows nothing of it.
async fn forgotten(kind: Kind) -> Scene {
    let joined = kind.scene();
    joined.join(&kind.options("n1")).await.unwrap();
    Scene {
        store: Arc::new(PoweredStore::new(&joined.host)),
        ..joined
    }
}

/// The names of etcd's members.
fn members(scene: &Scene) -> Vec<String> {
    let members = scene.cluster.state().members;
    members.into_iter().map(|(name, ..)| name).collect()
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_control_plane_node_goes_wherever_its_reset_is_cut_off() {
    let kind = Kind::Stacked;
    let counted = forgotten(kind).await;
    let begun = counted.host.operations();
    counted.reset().await.unwrap();
    let end = now(&counted);
    assert_eq!(members(&counted), kind.members());
    assert!(!end.0.contains_key(DATA) && !end.0.contains_key("/etc/kubernetes/admin.conf"));
    let records = counted.store.writes();
    let cuts =
        (0..records).flat_map(|n| [Cut::Before(n), Cut::After(n)].map(|cut| (Some(cut), None)));
    let operations = (begun..counted.host.operations()).map(|n| (None, Some(n)));
    for (cut, operation) in cuts.chain(operations) {
        let place = format!("{cut:?} {operation:?}");
        let scene = forgotten(kind).await;
        scene.store.cut(cut);
        scene.host.lose_power_at(operation);
        scene.reset().await.unwrap_err();
        // At no moment are the data gone while it is a member.
        assert!(
            machine(&scene).contains_key(DATA) || members(&scene) == kind.members(),
            "{place}: data before membership"
        );
        scene.store.cut(None);
        scene.host.lose_power_at(None);
        let again = scene.reset().await;
        again.unwrap_or_else(|error| panic!("{place}: {}", error.message()));
        assert_same(&now(&scene), &end, &place);
    }
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_member_that_the_others_need_is_left_with_all_it_runs_with() {
    let scene = forgotten(Kind::StackedAmongThree).await;
    scene.cluster.etcd_departs("cp3");
    scene.cluster.etcd_lives("cp2", false);
    let before = now(&scene);
    let error = scene.reset().await.unwrap_err();
    assert_eq!(error.id(), "undo-incomplete");
    assert!(error.remedy().unwrap().contains("cp2"), "{error:?}");
    assert_same(&now(&scene), &before, "nothing is begun");
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_member_that_nobody_can_be_asked_about_keeps_its_data() {
    let kind = Kind::Stacked;
    let scene = forgotten(kind).await;
    scene.cluster.refuse(Deed::RemoveMember, Some(false));
    let error = scene.reset().await.unwrap_err();
    let remedy = error.remedy().unwrap();
    assert!(
        remedy.contains("etcd member n1") && remedy.contains("/var/lib/etcd"),
        "{remedy}"
    );
    let end = machine(&scene);
    assert!(end.contains_key(DATA) && !end.contains_key("/etc/kubernetes/admin.conf"));
}
