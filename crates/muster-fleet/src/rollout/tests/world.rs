//! A small world: an API server in memory, scripted machines whose joins make Nodes, a journal in a folder of its own.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use muster_identity::{CaPin, Endpoint};
use muster_rollout::fleet_file::{Ambient, Fleet, FleetConfiguration, HostSpec};
use muster_rollout::{Event, StageFailure};
use muster_ssh::Machine;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::super::access::memory::Memory;
use super::super::access::{Access, Api};
use super::super::bus::Sink;
use super::super::driver::Stop;
use super::super::machines::{Machines, NoProvisioner};
use super::super::run::{Outcome, RunOptions, begin_by, resume_by};
use super::super::scripted::{Scripted, says};
use super::super::store::{FleetDir, Source};
use super::super::token::{Cluster, KubeadmMint, Mint};
use super::super::{RolloutError, last_run};
use muster_rollout::Resume;

/// Chance that differs from run to run, and need not be good.
pub(crate) fn entropy(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = (muster_net::retry::chance() * 256.0) as u8;
    }
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) api: Memory,
    pub(crate) machines: Arc<Mutex<HashMap<String, Scripted>>>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) dir: Arc<tempfile::TempDir>,
    pub(crate) seen: Arc<Mutex<Vec<Event>>>,
    pub(crate) mint_on: Option<Scripted>,
    pub(crate) given: Option<super::super::GivenCredential>,
}

struct InMemory(Arc<Mutex<HashMap<String, Scripted>>>);

#[async_trait]
impl Machines for InMemory {
    async fn open(
        &self,
        host: &HostSpec,
        _: Option<&str>,
    ) -> Result<Arc<dyn Machine>, StageFailure> {
        let known = self.0.lock().get(host.name.as_str()).cloned();
        let machine = known.ok_or_else(|| {
            StageFailure::terminal(
                "ssh-unreachable",
                format!("{} cannot be reached", host.name),
            )
        })?;
        Ok(Arc::new(machine))
    }
}

struct Seen(Arc<Mutex<Vec<Event>>>);

#[async_trait]
impl Sink for Seen {
    fn name(&self) -> &str {
        "seen"
    }

    async fn take(&mut self, events: &[Arc<Event>]) -> Result<(), String> {
        self.0
            .lock()
            .extend(events.iter().map(|event| (**event).clone()));
        Ok(())
    }
}

/// A fleet of kubeadm hosts w1…wN; `more` comes into the file as it is.
pub(crate) fn fleet(hosts: u32, more: &str) -> Fleet {
    let text = format!(
        "apiVersion: muster.dev/v1alpha1\nkind: FleetConfiguration\nmetadata: {{name: f}}\ndefaults: {{join: kubeadm}}\nhosts: [{{name: 'w[1:{hosts}]'}}]\n{more}"
    );
    let file = FleetConfiguration::parse(&text).unwrap();
    let ambient = Ambient {
        name: "f",
        directory: "",
    };
    file.resolve(&ambient).unwrap()
}

impl World {
    pub(crate) fn new(hosts: u32, more: &str) -> Self {
        let world = Self {
            api: Memory::default(),
            machines: Arc::default(),
            fleet: Arc::new(fleet(hosts, more)),
            dir: Arc::new(tempfile::tempdir().unwrap()),
            seen: Arc::default(),
            mint_on: None,
            given: None,
        };
        for host in &world.fleet.hosts {
            world.machine(host.name.as_str());
        }
        world
    }

    /// A machine on which everything goes well.
    fn machine(&self, name: &str) {
        let machine = Scripted::new(name);
        machine.on("version -o short", says(0, "v1.36.2\n"));
        machine.on("reset --force", says(0, "[reset] done\n"));
        let (api, node) = (self.api.clone(), name.to_owned());
        machine.on(
            "join --config",
            says(0, "[preflight] Running\n[kubelet-start] Starting\n")
                .then(move || api.node(&node, true)),
        );
        self.machines.lock().insert(name.to_owned(), machine);
    }

    pub(crate) fn host(&self, name: &str) -> Scripted {
        self.machines.lock()[name].clone()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn access(&self) -> Access {
        let api: Arc<dyn Api> = Arc::new(self.api.clone());
        let mint = match &self.mint_on {
            Some(machine) => Mint::Kubeadm(KubeadmMint {
                machine: Arc::new(machine.clone()),
                program: "kubeadm".to_owned(),
                kubeconfig: None,
                upload_certificates: false,
            }),
            None => Mint::Api(Arc::clone(&api)),
        };
        let configured = self.mint_on.is_none();
        let cluster = Cluster {
            endpoint: configured.then(|| Endpoint::parse("10.0.0.1:6443").unwrap()),
            pins: if configured {
                vec![CaPin::of_spki(b"key")]
            } else {
                Vec::new()
            },
            ..Cluster::default()
        };
        Access { api, mint, cluster }
    }

    pub(crate) fn options(&self) -> (RunOptions, mpsc::UnboundedSender<Stop>) {
        let (stop, stops) = mpsc::unbounded_channel();
        let options = RunOptions {
            fleet: Arc::clone(&self.fleet),
            kubeconfig: None,
            machines: Arc::new(InMemory(Arc::clone(&self.machines))),
            provisioner: Arc::new(NoProvisioner),
            secrets: Arc::new(|_| Err("there are none".to_owned())),
            program: PathBuf::from("/bin/true"),
            sinks: vec![Box::new(Seen(Arc::clone(&self.seen)))],
            node_events: true,
            stops,
            given: self.given.clone(),
            entropy,
        };
        (options, stop)
    }

    pub(crate) async fn join(&self) -> Result<Outcome, RolloutError> {
        let (options, _stop) = self.options();
        self.join_by(options).await
    }

    pub(crate) async fn join_by(&self, options: RunOptions) -> Result<Outcome, RolloutError> {
        let dir = FleetDir::open(&self.path()).map_err(RolloutError::Store)?;
        let outcome = begin_by(self.access(), options, &dir, Source::default()).await;
        dir.close().await.map_err(RolloutError::Store)?;
        outcome
    }

    pub(crate) async fn take_up(&self, how: Resume) -> Result<Outcome, RolloutError> {
        let dir = FleetDir::open(&self.path()).map_err(RolloutError::Store)?;
        let run = last_run(&dir.journal()).await?;
        let (options, _stop) = self.options();
        let outcome = resume_by(self.access(), options, &dir, &run, how).await;
        dir.close().await.map_err(RolloutError::Store)?;
        outcome
    }

    pub(crate) fn nodes(&self) -> Vec<String> {
        self.api.paths("/api/v1/nodes/")
    }

    pub(crate) fn tokens(&self) -> Vec<String> {
        self.api.paths("/api/v1/namespaces/kube-system/secrets/")
    }

    pub(crate) fn leases(&self) -> Vec<String> {
        self.api.paths("/apis/coordination.k8s.io/v1/")
    }

    /// How many commands with this in them ran on all hosts.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.machines
            .lock()
            .values()
            .map(|machine| machine.count(part))
            .sum()
    }
}
