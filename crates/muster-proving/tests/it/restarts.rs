//! What a cluster on a file is after it was stopped, or cut off, and started again.

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use muster_proving::{Closed, Scenery, World, in_time};
use serde_json::json;
use std::collections::BTreeMap;

type Maps = Api<ConfigMap>;

fn map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"v": value}})).unwrap()
}

async fn make(maps: &Maps, name: &str) -> ConfigMap {
    maps.create(&PostParams::default(), &map(name, "1"))
        .await
        .unwrap()
}

fn on_file() -> Scenery {
    Scenery {
        file: true,
        ..Scenery::default()
    }
}

/// Every key of the store with its revisions and bytes.
async fn content(world: &World) -> BTreeMap<String, (u64, u64, Vec<u8>)> {
    let page = world
        .store()
        .list("/registry/", None, None, 0)
        .await
        .unwrap();
    let entry = |one: muster_storage::KeyValue| {
        (one.key, (one.created.0, one.modified.0, one.value.to_vec()))
    };
    page.items.into_iter().map(entry).collect()
}

async fn listed(client: Client) -> BTreeMap<String, (String, String)> {
    let all = Maps::all(client)
        .list(&ListParams::default())
        .await
        .unwrap();
    let entry = |one: ConfigMap| {
        let key = format!("{}/{}", one.namespace().unwrap(), one.name_any());
        (key, (one.uid().unwrap(), one.resource_version().unwrap()))
    };
    all.items.into_iter().map(entry).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_closed_is_the_same_when_it_is_opened() {
    in_time(async {
        let still = Scenery {
            controllers: false,
            ..on_file()
        };
        let world = World::with(still).await;
        let maps = Maps::namespaced(world.admin(), "default");
        for number in 0..50 {
            make(&maps, &format!("m{number}")).await;
        }
        for number in 0..10 {
            maps.delete(&format!("m{number}"), &DeleteParams::default())
                .await
                .unwrap();
        }
        let revision = world.store().current_revision();
        let (stored, shown) = (content(&world).await, listed(world.admin()).await);
        drop(maps);
        let world = world.close().await.open().await;
        assert_eq!(
            world.store().current_revision(),
            revision,
            "opening writes nothing"
        );
        assert_eq!(content(&world).await, stored);
        assert_eq!(listed(world.admin()).await, shown);
    })
    .await;
}

/// A watcher over TLS knows nothing of the restart but a broken connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_loses_and_repeats_nothing_over_a_restart() {
    in_time(async {
        let world = World::with(on_file()).await;
        let maps = Maps::namespaced(world.admin(), "default");
        make(&maps, "early").await;
        let watched = Maps::namespaced(world.admin_over_tls().await, "default");
        let config = watcher::Config::default().labels("!none");
        let mut events = std::pin::pin!(watcher(watched, config).default_backoff());
        let mut told: Vec<String> = Vec::new();
        let mut lists = 0;
        let mut next = async |until: &str, told: &mut Vec<String>| {
            loop {
                let event = events.next().await.unwrap();
                match event {
                    Ok(watcher::Event::Init) => lists += 1,
                    Ok(watcher::Event::Apply(map) | watcher::Event::InitApply(map)) => {
                        if map.name_any() != "kube-root-ca.crt" {
                            told.push(format!("+{}", map.name_any()));
                        }
                        if map.name_any() == until {
                            return;
                        }
                    }
                    Ok(watcher::Event::Delete(map)) => told.push(format!("-{}", map.name_any())),
                    Ok(watcher::Event::InitDone) => {}
                    Err(_) => {}
                }
            }
        };
        next("early", &mut told).await;
        let mut wanted = vec!["+early".to_owned()];
        let mut world = world;
        for round in 0..3 {
            for number in 0..20 {
                make(
                    &Maps::namespaced(world.admin(), "default"),
                    &format!("a{round}-{number}"),
                )
                .await;
                wanted.push(format!("+a{round}-{number}"));
            }
            // In the middle of the round's events, or before they have been read at all.
            if round == 1 {
                next("a1-9", &mut told).await;
            }
            world = world.close().await.open().await;
            let maps = Maps::namespaced(world.admin(), "default");
            maps.delete(&format!("a{round}-3"), &DeleteParams::default())
                .await
                .unwrap();
            wanted.push(format!("-a{round}-3"));
            make(&maps, &format!("b{round}")).await;
            wanted.push(format!("+b{round}"));
            next(&format!("b{round}"), &mut told).await;
        }
        assert_eq!(told, wanted);
        assert_eq!(lists, 1, "it was never sent back to a list");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_the_cluster_was_cut_off() {
    in_time(async {
        let world = World::with(on_file()).await;
        let maps = Maps::namespaced(world.admin(), "default");
        let made: Vec<ConfigMap> = stream::iter(0..200)
            .map(|number| {
                let maps = &maps;
                async move { make(maps, &format!("m{number}")).await }
            })
            .buffer_unordered(32)
            .collect()
            .await;
        // As after a power cut: the files as they are, while the store has them open.
        let copy = Closed::of_copy(&world);
        drop(maps);
        for closed in [copy, world.abandon()] {
            let world = closed.open().await;
            let maps = Maps::namespaced(world.admin(), "default");
            for one in &made {
                let found = maps.get(&one.name_any()).await.unwrap();
                assert_eq!(&found, one);
            }
            let new = make(&maps, "new").await;
            let newest = |one: &ConfigMap| one.resource_version().unwrap().parse::<u64>().unwrap();
            assert!(newest(&new) > made.iter().map(newest).max().unwrap());
        }
    })
    .await;
}
