//! Joins as stories, on a simulated machine beside a simulated cluster.

mod crashes;
mod parts;
mod planes;
mod real_disk;
mod resets;
mod stories;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use muster_handshake::Trusting;
use muster_host::sim::{Entry, SimHost, World};
use muster_identity::{BootstrapToken, Endpoint, NodeName};
use muster_plan::paths::Root;
use muster_plan::{Runtime, Wait};
use muster_storage::{MemoryStore, Page, Revision, Store, StoreError, Watch};
use parking_lot::Mutex;

use super::*;
use crate::testing::SimCluster;
use crate::{ResetOptions, ResetOutcome, reset_with};

pub(super) const TOKEN: &str = "abcdef.0123456789abcdef";

pub(super) fn options(node: &str) -> JoinOptions {
    let endpoint = Endpoint::parse("10.0.0.1:6443").unwrap();
    JoinOptions {
        request: JoinRequest {
            executable: "/usr/bin/muster".into(),
            runtime: Runtime::Hollow,
            wait_seconds: 30,
            kubelet_seconds: 30,
            ..JoinRequest::new(endpoint.clone(), NodeName::parse(node).unwrap())
        },
        credential: Credential::token(
            endpoint,
            BootstrapToken::parse(TOKEN).unwrap(),
            Trusting::WhoeverKnowsTheToken,
        ),
        dry_run: false,
        keep_on_failure: false,
        cancel: CancellationToken::new(),
        entropy: |bytes| bytes.fill(7),
        certificate_key: None,
    }
}

/// A machine, its cluster, its journal, and what was told.
pub(super) struct Scene {
    pub(super) host: SimHost,
    pub(super) cluster: SimCluster,
    pub(super) store: Arc<PoweredStore>,
    pub(super) told: Arc<Mutex<Vec<Event>>>,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self::on(SimHost::new("n1"))
    }

    pub(super) fn on(host: SimHost) -> Self {
        host.on_kubelet(|tree| {
            let attributes = muster_host_attributes();
            let content = b"dropped".to_vec();
            tree.insert(
                "/var/lib/kubelet/cpu_manager_state".into(),
                Entry::File {
                    content,
                    attributes,
                },
            );
        });
        Self {
            cluster: SimCluster::new(&host),
            store: Arc::new(PoweredStore::new(&host)),
            told: Arc::default(),
            host,
        }
    }

    fn events(&self) -> EventSink {
        let told = Arc::clone(&self.told);
        EventSink::new(move |event| told.lock().push(event))
    }

    pub(super) fn journal(&self) -> Journal {
        Journal::new(Arc::clone(&self.store) as Arc<dyn Store>)
    }

    pub(super) async fn join(&self, options: &JoinOptions) -> Result<Joined, JoinError> {
        let journal = self.journal();
        join_with(options, &self.host, &self.cluster, &journal, &self.events()).await
    }

    pub(super) async fn reset(&self) -> Result<ResetOutcome, JoinError> {
        let options = ResetOptions::default();
        let journal = self.journal();
        reset_with(
            &options,
            &self.host,
            &self.cluster,
            &journal,
            &self.events(),
        )
        .await
    }

    /// The machine without the times of change, which differ between runs.
    pub(super) fn machine(&self) -> World {
        let mut world = self.host.snapshot();
        for entry in world.tree.values_mut() {
            if let Entry::File { attributes, .. } = entry
                && attributes.uid == 0
            {
                attributes.modified = 0;
            }
        }
        world
    }
}

fn muster_host_attributes() -> muster_host::sim::Attributes {
    muster_host::sim::Attributes {
        mode: 0o600,
        uid: 0,
        gid: 0,
        modified: 0,
        modified_nanos: 0,
    }
}

/// When the machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Before entry number n is durable.
    Before(u64),
    /// As soon as entry number n is durable.
    After(u64),
}

/// A store on the simulated machine: without power nothing is written, and a write may be the moment it goes.
pub(super) struct PoweredStore {
    inner: MemoryStore,
    host: SimHost,
    writes: Mutex<u64>,
    cut: Mutex<Option<Cut>>,
}

impl PoweredStore {
    fn new(host: &SimHost) -> Self {
        Self {
            inner: MemoryStore::new(),
            host: host.clone(),
            writes: Mutex::new(0),
            cut: Mutex::new(None),
        }
    }

    pub(super) fn cut(&self, cut: Option<Cut>) {
        *self.cut.lock() = cut;
    }

    pub(super) fn writes(&self) -> u64 {
        *self.writes.lock()
    }

    pub(super) async fn everything(&self) -> BTreeMap<String, Bytes> {
        let page = self.inner.list("/", None, None, 0).await.unwrap();
        page.items
            .into_iter()
            .map(|pair| (pair.key, pair.value))
            .collect()
    }
}

#[async_trait]
impl Store for PoweredStore {
    async fn create(&self, key: &str, value: Bytes) -> Result<Revision, StoreError> {
        if self.host.is_off() {
            return Err(StoreError::Closed);
        }
        let number = *self.writes.lock();
        let cut = *self.cut.lock();
        if cut == Some(Cut::Before(number)) {
            self.host.cut_power();
            return Err(StoreError::Closed);
        }
        let revision = self.inner.create(key, value).await?;
        *self.writes.lock() += 1;
        if cut == Some(Cut::After(number)) {
            self.host.cut_power();
            return Err(StoreError::Closed);
        }
        Ok(revision)
    }

    async fn update(&self, key: &str, value: Bytes, at: Revision) -> Result<Revision, StoreError> {
        self.inner.update(key, value, at).await
    }

    async fn delete(&self, key: &str, at: Revision) -> Result<Revision, StoreError> {
        if self.host.is_off() {
            return Err(StoreError::Closed);
        }
        self.inner.delete(key, at).await
    }

    async fn get(
        &self,
        key: &str,
    ) -> Result<(Option<muster_storage::KeyValue>, Revision), StoreError> {
        self.inner.get(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        at: Option<Revision>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.inner.list(prefix, at, after, limit).await
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        self.inner.watch(prefix, after)
    }

    async fn compact(&self, up_to: Revision) -> Result<(), StoreError> {
        self.inner.compact(up_to).await
    }

    fn current_revision(&self) -> Revision {
        self.inner.current_revision()
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_takes_the_kubelets_pods_and_volumes_along_and_leaves_those_that_were_there() {
    let host = SimHost::new("n1");
    host.install_system_kubelet(false);
    host.with_world(|world| world.pods.insert("older".into()));
    host.mount("/var/lib/kubelet-data");
    host.kubelet_runs_pod("new", "/var/lib/kubelet/pods/u/volumes/v");
    let scene = Scene::on(host.clone());
    // As the kubelet does: its serving certificate lies beside the client certificate.
    host.on_kubelet(|tree| {
        let entry = Entry::File {
            content: b"serving".to_vec(),
            attributes: muster_host_attributes(),
        };
        tree.insert("/var/lib/kubelet/pki/kubelet.crt".into(), entry);
    });
    let before = host.snapshot();
    let mut options = options("n1");
    options.request.runtime = Runtime::Cri { endpoint: None };
    scene.join(&options).await.unwrap();
    assert!(host.snapshot().pods.contains("new"));
    let outcome = scene.reset().await.unwrap();
    assert_eq!(host.snapshot(), before);
    assert!(!host.mounts().contains("/var/lib/kubelet/pods/u/volumes/v"));
    assert!(host.mounts().contains("/var/lib/kubelet-data"));
    let of_machine = outcome
        .left_behind()
        .iter()
        .find(|residue| residue.what.contains('/'));
    assert_eq!(of_machine, None);
}
