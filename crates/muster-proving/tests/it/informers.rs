//! Informers: copies of the cluster that stay true while everything changes and watches are lost.

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, ResourceExt};
use muster_proving::{Scenery, World, below, in_time, until};
use muster_storage::Revision;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const OBJECTS: usize = 2000;
const WRITERS: usize = 6;
const WRITES: usize = 250;
/// Longer than a short watch lasts, and than the server remembers at this pace.
const PAUSE: Duration = Duration::from_millis(1200);

type Maps = Api<ConfigMap>;
type Copy = BTreeMap<String, (String, String)>;

/// With a weight, so that the server remembers only some hundred changes.
fn map(name: &str, value: usize) -> ConfigMap {
    let weight = "x".repeat(8 * 1024);
    let data = json!({"value": value.to_string(), "weight": weight});
    serde_json::from_value(json!({"metadata": {"name": name}, "data": data})).unwrap()
}

/// Writes, replaces and deletes objects at random.
async fn scribble(maps: &Maps, writer: usize) {
    for write in 0..WRITES {
        let name = format!("m{}", below(OBJECTS));
        match below(4) {
            0 => drop(maps.delete(&name, &DeleteParams::default()).await),
            1 => drop(
                maps.create(&PostParams::default(), &map(&name, write))
                    .await,
            ),
            _ => {
                let mut next = map(&name, writer * WRITES + write);
                let Some(current) = maps.get_opt(&name).await.unwrap() else {
                    continue;
                };
                next.metadata.resource_version = current.resource_version();
                drop(maps.replace(&name, &PostParams::default(), &next).await);
            }
        }
    }
}

fn entry(map: &ConfigMap) -> (String, (String, String)) {
    let version = map.resource_version().unwrap();
    (map.name_any(), (map.uid().unwrap(), version))
}

struct Informer {
    store: reflector::Store<ConfigMap>,
    lists: Arc<AtomicUsize>,
}

impl Informer {
    fn copy(&self) -> Copy {
        self.store.state().iter().map(|map| entry(map)).collect()
    }
}

/// Follows all ConfigMaps of a namespace; it stops reading now and then while `dawdles`.
fn inform(maps: Maps, config: watcher::Config, dawdles: Arc<AtomicBool>) -> Informer {
    let (store, writer) = reflector::store();
    let lists = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lists);
    tokio::spawn(async move {
        let events = watcher(maps, config).default_backoff();
        let mut events = std::pin::pin!(reflector(writer, events));
        let mut seen = 0;
        while let Some(event) = events.next().await {
            if matches!(event, Ok(watcher::Event::Init)) {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            seen += 1;
            if seen % 100 == 0 && dawdles.load(Ordering::Relaxed) {
                tokio::time::sleep(PAUSE).await;
            }
        }
    });
    Informer { store, lists }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_informer_is_equal_to_the_last_list() {
    in_time(async {
        let scenery = Scenery {
            controllers: false,
            ..Scenery::default()
        };
        let world = World::with(scenery).await;
        let maps = Maps::namespaced(world.admin(), "default");
        stream::iter(0..OBJECTS)
            .for_each_concurrent(32, |number| {
                let maps = &maps;
                async move {
                    let made = map(&format!("m{number}"), 0);
                    maps.create(&PostParams::default(), &made).await.unwrap();
                }
            })
            .await;

        let [busy, lazy] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let short = || watcher::Config::default().timeout(1);
        let far = Maps::namespaced(world.admin_over_tls().await, "default");
        let informers = [
            inform(maps.clone(), watcher::Config::default(), Arc::clone(&busy)),
            inform(maps.clone(), short().page_size(100), Arc::clone(&busy)),
            inform(maps.clone(), short(), Arc::clone(&lazy)),
            inform(
                far.clone(),
                watcher::Config::default().streaming_lists(),
                busy,
            ),
            inform(far, short(), Arc::clone(&lazy)),
        ];
        for informer in &informers {
            informer.store.wait_until_ready().await.unwrap();
        }
        lazy.store(true, Ordering::Relaxed);
        let writing = async {
            let all = (0..WRITERS).map(|writer| scribble(&maps, writer));
            futures::future::join_all(all).await;
        };
        // The store forgets everything all the time: who asks for the past is sent to a new list.
        let forgetting = async {
            loop {
                let Revision(now) = world.store().current_revision();
                world.store().compact(Revision(now)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = writing => {}
            () = forgetting => {}
        }
        lazy.store(false, Ordering::Relaxed);

        let last = maps.list(&ListParams::default()).await.unwrap();
        let wanted: Copy = last.items.iter().map(entry).collect();
        assert!(wanted.len() > OBJECTS / 2);
        for (number, informer) in informers.iter().enumerate() {
            until(&format!("informer {number} to be equal"), async || {
                (informer.copy() == wanted).then_some(())
            })
            .await;
        }
        let lists: Vec<usize> = informers
            .iter()
            .map(|informer| informer.lists.load(Ordering::Relaxed))
            .collect();
        assert!(
            lists[2] + lists[4] > 2,
            "the lazy ones were sent back to a list: {lists:?}"
        );
    })
    .await;
}
