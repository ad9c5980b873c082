//! Informers of another project's making follow thousands of objects while the server is stopped, killed and started
//! again: no event is lost, and none comes twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    pin::pin,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{WatchStreamExt, watcher},
};
use muster_storage::{SqliteStore, Store};
use parking_lot::Mutex;
use serde_json::json;

use crate::harness::{PATIENCE, TestServer};

const OBJECTS: usize = 10_000;
const WRITERS: usize = 8;
/// How many writes are acknowledged between one restart and the next.
const WRITES_BETWEEN: usize = 150;

type Maps = Api<ConfigMap>;

/// What one informer has heard.
#[derive(Default)]
struct Heard {
    /// Name and version of every object that there is, as far as it knows.
    state: BTreeMap<String, u64>,
    /// Versions that it was told of after its list.
    versions: BTreeSet<u64>,
    lists: usize,
    last: u64,
    faults: Vec<String>,
}

impl Heard {
    fn take(&mut self, event: watcher::Event<ConfigMap>) {
        match event {
            watcher::Event::Init => {
                self.lists += 1;
                self.state.clear();
            }
            watcher::Event::InitApply(map) => {
                self.state.insert(map.name_any(), version(&map));
            }
            watcher::Event::InitDone => {}
            watcher::Event::Apply(map) => {
                self.tell(&map);
                self.state.insert(map.name_any(), version(&map));
            }
            watcher::Event::Delete(map) => {
                self.tell(&map);
                if self.state.remove(&map.name_any()).is_none() {
                    self.faults.push(format!("{} goes twice", map.name_any()));
                }
            }
        }
    }

    fn tell(&mut self, map: &ConfigMap) {
        let version = version(map);
        if version <= self.last {
            let fault = format!("{} at {version} after {}", map.name_any(), self.last);
            self.faults.push(fault);
        }
        self.last = version;
        self.versions.insert(version);
    }
}

fn version(map: &ConfigMap) -> u64 {
    map.resource_version().unwrap().parse().unwrap()
}

async fn client(server: &TestServer) -> Client {
    let config = Kubeconfig::read_from(server.kubeconfig()).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(config, &options).await;
    Client::try_from(config.unwrap()).unwrap()
}

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"value": "0"}})).unwrap()
}

/// Puts all objects into the store of a server that is not running: quicker than to ask one for each.
async fn fill(data: &Path) {
    let store = SqliteStore::open(data.join("state.db")).unwrap();
    let creations = (0..OBJECTS).map(|number| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("m{number}"), "namespace": "default",
                "uid": format!("00000000-0000-4000-8000-{number:012}"),
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "data": {"value": "0"}});
        let key = format!("/registry/core/configmaps/default/m{number}");
        let store = &store;
        async move { store.create(&key, object.to_string().into()).await }
    });
    for made in futures::future::join_all(creations).await {
        made.unwrap();
    }
    store.close().await.unwrap();
}

/// Changes, deletes and makes objects until told to stop; keeps the versions of acknowledged writes. While the server
/// is away it tries again; whether a write that was cut off has happened is then not known, and not counted.
async fn scribble(maps: Maps, writer: usize, written: Arc<Written>) {
    let mut step = writer;
    while !written.enough.load(Ordering::Relaxed) {
        step += WRITERS;
        let name = format!("m{}", step * 7919 % OBJECTS);
        let done = match step / WRITERS % 10 {
            0 => maps
                .delete(&name, &DeleteParams::default())
                .await
                .map(|_| None),
            1 => maps
                .create(&PostParams::default(), &map(&format!("n{step}")))
                .await
                .map(Some),
            _ => {
                let change = Patch::Merge(json!({"data": {"value": step.to_string()}}));
                maps.patch(&name, &PatchParams::default(), &change)
                    .await
                    .map(Some)
            }
        };
        match done {
            Ok(made) => {
                if let Some(made) = made {
                    written.versions.lock().insert(version(&made));
                }
                written.count.fetch_add(1, Ordering::Relaxed);
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[derive(Default)]
struct Written {
    versions: Mutex<BTreeSet<u64>>,
    count: AtomicUsize,
    enough: AtomicBool,
}

fn inform(maps: Maps, config: watcher::Config) -> Arc<Mutex<Heard>> {
    let heard = Arc::new(Mutex::new(Heard::default()));
    let told = Arc::clone(&heard);
    tokio::spawn(async move {
        let mut events = pin!(watcher(maps, config).default_backoff());
        while let Some(event) = events.next().await {
            // An error is a connection that broke: the watcher goes on by itself.
            if let Ok(event) = event {
                told.lock().take(event);
            }
        }
    });
    heard
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(in_time.is_ok(), "not in time: {what}");
}

fn terminate(server: &mut TestServer) {
    let pid = server.pid().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(sent.unwrap().success());
    server.wait();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn informers_lose_and_repeat_nothing_while_the_server_is_stopped_and_killed() {
    let mut server = TestServer::start();
    terminate(&mut server);
    fill(&server.data()).await;
    server.resume();
    let client = client(&server).await;
    let maps: Maps = Api::namespaced(client, "default");
    let informers = [
        inform(maps.clone(), watcher::Config::default()),
        inform(maps.clone(), watcher::Config::default().streaming_lists()),
        inform(maps.clone(), watcher::Config::default().labels("!none")),
    ];
    for informer in &informers {
        until("the informers have all objects", || {
            informer.lock().state.len() >= OBJECTS
        })
        .await;
    }

    let written = Arc::new(Written::default());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(scribble(maps.clone(), writer, Arc::clone(&written))))
        .collect();
    for restart in 0..4 {
        let begin = written.count.load(Ordering::Relaxed);
        until("writes go on", || {
            written.count.load(Ordering::Relaxed) >= begin + WRITES_BETWEEN
        })
        .await;
        if restart % 2 == 0 {
            server.kill();
        } else {
            terminate(&mut server);
        }
        server.resume();
    }
    let begin = written.count.load(Ordering::Relaxed);
    until("writes go on at the end", || {
        written.count.load(Ordering::Relaxed) >= begin + WRITES_BETWEEN
    })
    .await;
    written.enough.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }

    let listed = maps.list(&ListParams::default()).await.unwrap();
    let there: BTreeMap<_, _> = listed
        .items
        .iter()
        .map(|map| (map.name_any(), version(map)))
        .collect();
    for informer in &informers {
        until("the informers are where the list is", || {
            informer.lock().state == there
        })
        .await;
        let heard = informer.lock();
        assert_eq!(heard.faults, Vec::<String>::new());
        assert_eq!(heard.lists, 1, "nobody had to list anew");
        let missed: Vec<_> = written
            .versions
            .lock()
            .difference(&heard.versions)
            .copied()
            .collect();
        assert_eq!(missed, Vec::<u64>::new(), "acknowledged and not told");
    }
}
