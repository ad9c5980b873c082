//! Owners and dependents: what goes with its owner, what stays, and in which order.

use futures::future::join_all;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::serde::de::DeserializeOwned;
use k8s_openapi::{NamespaceResourceScope, serde::Serialize};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use muster_proving::{World, below, in_time, node, owner, until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

fn api<K>(world: &World) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(world.admin(), "default")
}

async fn make<K>(api: &Api<K>, name: &str, body: Value, owners: &[OwnerReference]) -> K
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    let mut body = body;
    body["metadata"] = json!({"name": name, "ownerReferences": owners});
    let object: K = serde_json::from_value(body).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap()
}

async fn map(world: &World, name: &str, owners: &[OwnerReference]) -> ConfigMap {
    make(&api(world), name, json!({}), owners).await
}

fn workload() -> Value {
    json!({"spec": {
        "selector": {"matchLabels": {"app": "a"}},
        "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": "example.com/c"}]},
        },
    }})
}

async fn gone<K>(api: &Api<K>, name: &str)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let what = format!("the end of {} {name}", K::kind(&()));
    until(&what, async || {
        api.get_opt(name).await.unwrap().is_none().then_some(())
    })
    .await;
}

/// When this returns, the collector has looked at everything that was done before.
async fn collected(world: &World, round: &str) {
    let name = format!("sentinel-{round}");
    let stranger = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        name: "never-was".to_owned(),
        uid: "00000000-0000-0000-0000-000000000000".to_owned(),
        ..OwnerReference::default()
    };
    map(world, &name, &[stranger]).await;
    gone(&api::<ConfigMap>(world), &name).await;
}

/// A deployment with two replica sets, each with a ConfigMap, and a free ConfigMap.
async fn family(world: &World, blocks: bool) -> Deployment {
    let top: Deployment = make(&api(world), "top", workload(), &[]).await;
    for middle in ["left", "right"] {
        let set: ReplicaSet = make(&api(world), middle, workload(), &[owner(&top, blocks)]).await;
        map(world, &format!("{middle}-leaf"), &[owner(&set, blocks)]).await;
    }
    map(world, "free", &[]).await;
    top
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_background_the_owner_goes_first_and_its_whole_family_follows() {
    in_time(async {
        let world = World::start().await;
        let maps = api::<ConfigMap>(&world);
        family(&world, false).await;
        collected(&world, "before").await;
        for name in ["left-leaf", "right-leaf", "free"] {
            maps.get(name)
                .await
                .expect("nothing goes while its owner exists");
        }
        let deployments = api::<Deployment>(&world);
        deployments
            .delete("top", &DeleteParams::background())
            .await
            .unwrap();
        assert!(deployments.get_opt("top").await.unwrap().is_none());
        for name in ["left", "right"] {
            gone(&api::<ReplicaSet>(&world), name).await;
            gone(&maps, &format!("{name}-leaf")).await;
        }
        collected(&world, "after").await;
        maps.get("free").await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_foreground_the_owner_goes_last() {
    in_time(async {
        let world = World::start().await;
        let (maps, sets) = (api::<ConfigMap>(&world), api::<ReplicaSet>(&world));
        let deployments = api::<Deployment>(&world);
        let top = family(&world, true).await;
        let free = maps.get("free").await.unwrap();
        map(&world, "shared", &[owner(&top, true), owner(&free, false)]).await;
        let hold = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold"]}}));
        let parameters = PatchParams::default();
        maps.patch("right-leaf", &parameters, &hold).await.unwrap();
        collected(&world, "before").await;

        deployments
            .delete("top", &DeleteParams::foreground())
            .await
            .unwrap();
        gone(&sets, "left").await;
        gone(&maps, "left-leaf").await;
        until("the mark on the held leaf", async || {
            maps.get("right-leaf")
                .await
                .unwrap()
                .metadata
                .deletion_timestamp
        })
        .await;
        collected(&world, "held").await;
        for waiting in [
            deployments.get("top").await.unwrap().metadata,
            sets.get("right").await.unwrap().metadata,
        ] {
            assert!(waiting.deletion_timestamp.is_some());
            assert_eq!(waiting.finalizers.unwrap(), ["foregroundDeletion"]);
        }

        let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        maps.patch("right-leaf", &parameters, &release)
            .await
            .unwrap();
        gone(&deployments, "top").await;
        assert!(sets.get_opt("right").await.unwrap().is_none());
        assert!(maps.get_opt("right-leaf").await.unwrap().is_none());
        // It had another owner, and stays with that one.
        let shared = maps.get("shared").await.unwrap();
        assert!(shared.metadata.deletion_timestamp.is_none());
        let owners: Vec<_> = shared
            .owner_references()
            .iter()
            .map(|one| &one.name)
            .collect();
        assert_eq!(owners, ["free"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_stay_and_name_no_owner_any_more() {
    in_time(async {
        let world = World::start().await;
        let (maps, sets) = (api::<ConfigMap>(&world), api::<ReplicaSet>(&world));
        let deployments = api::<Deployment>(&world);
        family(&world, true).await;
        collected(&world, "before").await;
        deployments
            .delete("top", &DeleteParams::orphan())
            .await
            .unwrap();
        gone(&deployments, "top").await;
        collected(&world, "after").await;
        for name in ["left", "right"] {
            let set = sets.get(name).await.unwrap();
            assert!(set.owner_references().is_empty(), "{name}");
            assert!(set.metadata.deletion_timestamp.is_none());
            let leaf = maps.get(&format!("{name}-leaf")).await.unwrap();
            assert_eq!(
                leaf.owner_references().len(),
                1,
                "only one level is orphaned"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_without_namespace_own_across_all_of_them_and_never_the_other_way_round() {
    in_time(async {
        let world = World::start().await;
        let nodes = Api::<Node>::all(world.admin());
        let made = nodes
            .create(&PostParams::default(), &node("n1", &[], "True"))
            .await
            .unwrap();
        let leases = Api::<Lease>::namespaced(world.admin(), "kube-node-lease");
        let lease = json!({"spec": {"holderIdentity": "n1"}});
        make(&leases, "n1", lease, &[owner(&made, false)]).await;
        map(&world, "of-node", &[owner(&made, false)]).await;
        // Right name, wrong uid: the owner that was meant is gone.
        let mistaken = OwnerReference {
            uid: "11111111-1111-1111-1111-111111111111".to_owned(),
            ..owner(&made, false)
        };
        map(&world, "of-former-node", std::slice::from_ref(&mistaken)).await;
        map(&world, "of-both", &[mistaken, owner(&made, false)]).await;
        // A kind that nobody serves may have any number of objects.
        let unserved = OwnerReference {
            api_version: "example.com/v1".to_owned(),
            kind: "Thing".to_owned(),
            name: "thing".to_owned(),
            uid: "22222222-2222-2222-2222-222222222222".to_owned(),
            ..OwnerReference::default()
        };
        map(&world, "of-thing", &[unserved]).await;
        // What lives in no namespace cannot be owned by what does.
        let free = map(&world, "free", &[]).await;
        let roles = Api::<ClusterRole>::all(world.admin());
        make(
            &roles,
            "of-map",
            json!({"rules": []}),
            &[owner(&free, false)],
        )
        .await;

        let maps = api::<ConfigMap>(&world);
        gone(&maps, "of-former-node").await;
        collected(&world, "before").await;
        for name in ["of-node", "of-both", "of-thing"] {
            maps.get(name).await.unwrap();
        }
        roles
            .get("of-map")
            .await
            .expect("its owner cannot be looked up");
        leases.get("n1").await.unwrap();

        nodes.delete("n1", &DeleteParams::default()).await.unwrap();
        gone(&leases, "n1").await;
        gone(&maps, "of-node").await;
        gone(&maps, "of-both").await;
        collected(&world, "after").await;
        maps.get("of-thing").await.unwrap();
        roles.get("of-map").await.unwrap();
    })
    .await;
}

/// New controllers find what happened while there were none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_left_behind_is_found_at_the_next_start() {
    in_time(async {
        let mut world = World::start().await;
        collected(&world, "awake").await;
        let maps = api::<ConfigMap>(&world);
        let top = map(&world, "top", &[]).await;
        let next = map(&world, "next", &[owner(&top, false)]).await;
        map(&world, "last", &[owner(&next, true)]).await;
        // The deletion reaches the collector in the middle of its stop, or never.
        let background = DeleteParams::background();
        let delete = maps.delete("top", &background);
        let (deleted, ()) = tokio::join!(delete, world.restart_controllers());
        deleted.unwrap();
        gone(&maps, "next").await;
        gone(&maps, "last").await;
    })
    .await;
}

/// Who should exist, and with which owners: name → names of owners.
type Forest = BTreeMap<String, BTreeSet<String>>;

/// Takes the doomed out, and everything all of whose owners are gone.
fn fell(forest: &mut Forest, mut doomed: BTreeSet<String>) {
    while !doomed.is_empty() {
        forest.retain(|name, _| !doomed.contains(name));
        let mut next = BTreeSet::new();
        for (name, owners) in forest.iter_mut() {
            let owned = !owners.is_empty();
            owners.retain(|owner| !doomed.contains(owner));
            if owned && owners.is_empty() {
                next.insert(name.clone());
            }
        }
        doomed = next;
    }
}

async fn forest_of(world: &World) -> Forest {
    let all = api::<ConfigMap>(world).list(&ListParams::default()).await;
    let trees = all.unwrap().items.into_iter();
    let trees = trees.filter(|map| map.name_any().starts_with("tree"));
    let owners = |map: &ConfigMap| {
        let owners = map.owner_references().iter();
        owners.map(|owner| owner.name.clone()).collect()
    };
    trees.map(|map| (map.name_any(), owners(&map))).collect()
}

fn pick(forest: &Forest, number: usize) -> BTreeSet<String> {
    let names: Vec<_> = forest.keys().collect();
    (0..number.min(names.len()))
        .map(|_| names[below(names.len())].clone())
        .collect()
}

/// Random families with up to three parents each; random ones are deleted, several at once in the
/// background and the foreground, or one with its dependents orphaned. What is left is what a simple
/// model leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_deleted_exactly_those_go_who_have_no_owner_left() {
    in_time(async {
        let world = World::start().await;
        let maps = &api::<ConfigMap>(&world);
        let (mut forest, mut made) = (Forest::new(), BTreeMap::new());
        for round in 0..12 {
            for number in 0..12 {
                let name = format!("tree-{round}-{number}");
                let parents = pick(&forest, below(4));
                let owners: Vec<_> = parents
                    .iter()
                    .map(|parent| owner(&made[parent], below(2) == 0))
                    .collect();
                made.insert(name.clone(), map(&world, &name, &owners).await);
                forest.insert(name, parents);
            }
            collected(&world, &format!("planted-{round}")).await;
            let asked = if round % 3 == 2 {
                let orphaned = pick(&forest, 1);
                for name in &orphaned {
                    maps.delete(name, &DeleteParams::orphan()).await.unwrap();
                    forest.remove(name);
                    for owners in forest.values_mut() {
                        owners.remove(name);
                    }
                }
                format!("orphaning {orphaned:?}")
            } else {
                let doomed = pick(&forest, 4);
                let deletions = doomed.iter().enumerate().map(|(number, name)| async move {
                    let how = [DeleteParams::background(), DeleteParams::foreground()];
                    // One of them may have gone with another one already.
                    drop(maps.delete(name, &how[number % 2]).await);
                });
                join_all(deletions).await;
                fell(&mut forest, doomed.clone());
                format!("deleting {doomed:?}")
            };
            until(&format!("the right forest after {asked}"), async || {
                (forest_of(&world).await == forest).then_some(())
            })
            .await;
            collected(&world, &format!("felled-{round}")).await;
            assert_eq!(forest_of(&world).await, forest, "{asked}");
        }
    })
    .await;
}
