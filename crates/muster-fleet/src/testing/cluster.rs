//! The simulated cluster. It can be told to refuse, to fail, and to forget.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use muster_handshake::{ExistingNode, HandshakeError, Progress, csr_name};
use muster_host::sim::SimHost;
use muster_identity::{NodeName, PrivateKey, Secret};
use muster_plan::{ClusterAnswers, Wait};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::control_plane::Deed;
use super::etcds::SimEtcds;
use super::objects::Objects;
use crate::cluster::ControlPlane;
use crate::run::CONFIGURATION;
use crate::{Certified, Cluster, Deletion, Marks, NodeCredentials, NodeSight, Tell};

#[derive(Default)]
pub(super) struct Inside {
    /// Nodes by name, and whether they are Ready.
    pub(super) nodes: BTreeMap<String, bool>,
    /// The machines that it knows.
    machines: Vec<SimHost>,
    pub(super) objects: Objects,
    pub(super) etcds: SimEtcds,
    /// The Secret with the certificates that control-plane nodes share.
    pub(super) shared: Option<Value>,
    /// What is refused, and whether only after the deed.
    pub(super) refused: BTreeMap<Deed, bool>,
    /// Requests by name, so that the same key finds the same request.
    requests: BTreeMap<String, u32>,
    wrong_token: bool,
    silent: bool,
    denies: bool,
    never_registers: bool,
    never_ready: bool,
    may_delete: bool,
    forgot: bool,
    administrator: bool,
    introductions: u32,
    marks: Marks,
    certified: Option<Vec<u8>>,
}

impl Inside {
    /// Has the kubelets of all machines run what their manifests say.
    pub(super) fn run_pods(&mut self) {
        let machines = self.machines.clone();
        self.etcds.run_pods(&machines);
    }

    fn put_node(&mut self, name: &str, ready: bool) {
        if self.nodes.insert(name.to_owned(), ready).is_none() {
            let object = json!({"metadata": {"name": name, "labels": {}}, "spec": {}});
            self.objects.put(&node_path(name), object);
        }
    }

    fn remove_node(&mut self, name: &str) {
        if self.nodes.remove(name).is_some() {
            // It was there, as the two go together.
            let _ = self.objects.delete(&node_path(name), None);
        }
    }
}

fn node_path(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}

/// A simulated cluster as one simulated machine sees it. Clones are the same cluster.
#[derive(Clone)]
pub struct SimCluster {
    pub(super) host: SimHost,
    /// From which address the machine reaches it.
    address: IpAddr,
    pub(super) inside: Arc<Mutex<Inside>>,
}

macro_rules! told {
    ($($(#[$doc:meta])* $name:ident => $field:ident;)+) => {
        $($(#[$doc])*
        pub fn $name(&self, yes: bool) {
            self.inside.lock().$field = yes;
        })+
    };
}

impl SimCluster {
    /// A cluster in which the machine's kubelet registers.
    #[must_use]
    pub fn new(host: &SimHost) -> Self {
        let inside = Inside {
            may_delete: true,
            machines: vec![host.clone()],
            ..Inside::default()
        };
        Self {
            host: host.clone(),
            address: IpAddr::from([10, 0, 0, 7]),
            inside: Arc::new(Mutex::new(inside)),
        }
    }

    /// The same cluster as another machine at another address sees it.
    #[must_use]
    pub fn beside(&self, host: &SimHost, address: [u8; 4]) -> Self {
        self.inside.lock().machines.push(host.clone());
        Self {
            host: host.clone(),
            address: IpAddr::from(address),
            inside: Arc::clone(&self.inside),
        }
    }

    told! {
        /// It does not know the token.
        wrong_token => wrong_token;
        /// It takes connections and never answers.
        silent => silent;
        /// It denies certificate requests.
        denies => denies;
        /// Kubelets do not get as far as registering.
        never_registers => never_registers;
        /// Nodes stay NotReady.
        never_ready => never_ready;
        /// A node may delete itself.
        may_delete => may_delete;
        /// Somebody gave an administrator's credentials.
        administrator => administrator;
        /// It no longer accepts the node's credentials.
        forgot => forgot;
    }

    /// Puts a Node there.
    pub fn put_node(&self, name: &str, ready: bool) {
        self.inside.lock().put_node(name, ready);
    }

    /// The names of all Nodes.
    #[must_use]
    pub fn nodes(&self) -> Vec<String> {
        self.inside.lock().nodes.keys().cloned().collect()
    }

    /// How many different certificate requests were made.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.inside.lock().requests.len()
    }

    /// What was put on the Node.
    #[must_use]
    pub fn marks(&self) -> Marks {
        self.inside.lock().marks.clone()
    }

    /// The credential is the node's own certificate.
    pub fn certified(&self, pem: &[u8]) {
        self.inside.lock().certified = Some(pem.to_vec());
    }

    /// How often somebody was introduced.
    #[must_use]
    pub fn introductions(&self) -> u32 {
        self.inside.lock().introductions
    }

    fn register(&self, node: &str) -> NodeSight {
        let mut inside = self.inside.lock();
        if self.host.kubelet_runs() && !inside.never_registers {
            let ready = !inside.never_ready;
            inside.put_node(node, ready);
        }
        match inside.nodes.get(node) {
            None => NodeSight::Absent,
            Some(true) => NodeSight::Present {
                ready: true,
                message: String::new(),
            },
            Some(false) => NodeSight::Present {
                ready: false,
                message: "no CNI".into(),
            },
        }
    }
}

fn configuration(inside: &Inside) -> Option<String> {
    let object = inside.objects.get(CONFIGURATION).ok()?;
    let text = object.pointer("/data/ClusterConfiguration")?;
    text.as_str().map(str::to_owned)
}

#[async_trait]
impl Cluster for SimCluster {
    async fn introduce(
        &self,
        node: &NodeName,
        existing: ExistingNode,
        tell: Tell<'_>,
    ) -> Result<ClusterAnswers, HandshakeError> {
        tell(Progress::Connected {
            endpoint: "10.0.0.1:6443".into(),
        });
        if self.inside.lock().silent {
            return std::future::pending().await;
        }
        let mut inside = self.inside.lock();
        inside.introductions += 1;
        if inside.wrong_token {
            return Err(HandshakeError::Unauthorized {
                what: "a request".into(),
                message: "Unauthorized".into(),
            });
        }
        let taken = inside.nodes.get(node.as_str()) == Some(&true);
        if taken && existing == ExistingNode::Refuse {
            return Err(HandshakeError::NodeNameTaken {
                name: node.to_string(),
            });
        }
        Ok(ClusterAnswers {
            version: Some("v1.36.2".into()),
            certified: inside.certified.is_some(),
            cluster_configuration: configuration(&inside),
            local_ip: Some(self.address),
            ..ClusterAnswers::new(
                "https://10.0.0.1:6443",
                "a CA certificate",
                Timestamp::UNIX_EPOCH,
            )
        })
    }

    async fn certify(
        &self,
        _node: &NodeName,
        key: &PrivateKey,
        _tell: Tell<'_>,
    ) -> Result<Certified, HandshakeError> {
        let name = csr_name(key.public_key().spki_der());
        let mut inside = self.inside.lock();
        *inside.requests.entry(name.clone()).or_default() += 1;
        if inside.denies {
            return Err(HandshakeError::CsrDenied {
                name,
                message: "not you".into(),
            });
        }
        let chain = format!("a certificate for {name}\n");
        Ok(Certified {
            csr: name,
            chain,
            not_after: Timestamp::MAX,
        })
    }

    fn certified_pem(&self) -> Option<Secret<Vec<u8>>> {
        self.inside.lock().certified.clone().map(Secret::new)
    }

    async fn mark_node(
        &self,
        node: &str,
        marks: &Marks,
        _credentials: &NodeCredentials,
    ) -> Result<(), HandshakeError> {
        let mut inside = self.inside.lock();
        if !inside.nodes.contains_key(node) {
            return Err(HandshakeError::ServerError {
                what: "label the node".into(),
                status: 404,
                reason: "NotFound".into(),
                message: format!("nodes {node:?} not found"),
            });
        }
        if !marks.admin_labels.is_empty() && !inside.administrator {
            return Err(HandshakeError::Forbidden {
                what: "label the node".into(),
                message: "not you".into(),
            });
        }
        inside.marks = marks.clone();
        Ok(())
    }

    async fn sight(
        &self,
        node: &str,
        _credentials: Option<&NodeCredentials>,
    ) -> Result<NodeSight, HandshakeError> {
        Ok(self.register(node))
    }

    async fn await_node(
        &self,
        node: &str,
        until: Wait,
        _credentials: &NodeCredentials,
    ) -> Result<(), HandshakeError> {
        loop {
            if let NodeSight::Present { ready, .. } = self.register(node)
                && (ready || until != Wait::Ready)
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn delete_node(
        &self,
        node: &str,
        _credentials: Option<&NodeCredentials>,
    ) -> Result<Deletion, HandshakeError> {
        let mut inside = self.inside.lock();
        if !inside.may_delete {
            return Ok(Deletion::Forbidden);
        }
        inside.remove_node(node);
        Ok(Deletion::Gone)
    }

    async fn retire_node(
        &self,
        node: &str,
        _credentials: &NodeCredentials,
    ) -> Result<(), HandshakeError> {
        if let Some(ready) = self.inside.lock().nodes.get_mut(node) {
            *ready = false;
        }
        Ok(())
    }

    async fn shared_certificates(&self) -> Result<Option<Value>, HandshakeError> {
        let inside = self.inside.lock();
        if inside.refused.contains_key(&Deed::ShareCertificates) || self.host.is_off() {
            return Err(HandshakeError::Forbidden {
                what: "read the shared certificates".into(),
                message: "made to fail".into(),
            });
        }
        Ok(inside.shared.clone())
    }

    fn control_plane(&self) -> &dyn ControlPlane {
        self
    }

    fn has_administrator(&self) -> bool {
        self.inside.lock().administrator
    }

    async fn admits(&self, _credentials: &NodeCredentials) -> Result<bool, HandshakeError> {
        Ok(!self.inside.lock().forgot)
    }
}
