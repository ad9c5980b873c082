//! A cluster in this process: store, API server, controllers; and the clients of its people.
//! Closing it leaves a folder from which the same cluster can be opened again.

use crate::credentials::random;
use crate::patience::until;
use jiff::SignedDuration;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use muster_apiserver::authn::service_account::{LegacyGrant, ObjectIdentity};
use muster_apiserver::{ApiServer, Config, RunningServer, UserInfo};
use muster_controllers::{
    CertificateSettings, Controllers, NodeLifecycleSettings, Settings, TokenSigner,
};
use muster_identity::{CertificateAuthority, CertificateBundle, Endpoint};
use muster_net::{ApiClient, Identity};
use muster_storage::{MemoryStore, SqliteStore, Store, StoreError};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// What a cluster is made from.
#[derive(Clone, Debug)]
pub struct Scenery {
    /// Whether objects are kept in a file, or in memory only.
    pub file: bool,
    /// Whether the controllers run.
    pub controllers: bool,
    /// How long a node may be silent.
    pub grace_period: Duration,
    /// Where the serial numbers of certificates come from.
    pub entropy: fn(&mut [u8]),
}

impl Default for Scenery {
    fn default() -> Self {
        Self {
            file: false,
            controllers: true,
            grace_period: Duration::from_secs(50),
            entropy: random,
        }
    }
}

/// A cluster that runs.
pub struct World {
    server: RunningServer,
    controllers: Option<Controllers>,
    store: Arc<dyn Store>,
    folder: TempDir,
    scenery: Scenery,
}

/// What is left of a cluster that was closed: its files and its address.
pub struct Closed {
    folder: TempDir,
    address: SocketAddr,
    scenery: Scenery,
}

impl World {
    /// A cluster in memory with all controllers.
    pub async fn start() -> Self {
        Self::with(Scenery::default()).await
    }

    /// A cluster as described, on a free port.
    pub async fn with(scenery: Scenery) -> Self {
        let fresh = Closed {
            folder: tempfile::tempdir().unwrap(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            scenery,
        };
        fresh.open().await
    }

    /// A client in this process with the rights of `system:masters`.
    pub fn admin(&self) -> Client {
        self.user("admin", &["system:masters"])
    }

    /// A client in this process that acts as somebody who has been authenticated.
    pub fn user(&self, name: &str, groups: &[&str]) -> Client {
        let groups = groups.iter().copied().chain(["system:authenticated"]);
        Client::new(self.server.client(UserInfo::new(name, groups)), "default")
    }

    /// A client in this process that acts as a kubelet.
    pub fn kubelet(&self, node: &str) -> Client {
        self.user(&format!("system:node:{node}"), &["system:nodes"])
    }

    /// A client over TLS.
    pub fn over_tls(&self, identity: Identity) -> ApiClient {
        ApiClient::new(self.endpoint(), &self.ca_bundle(), identity).unwrap()
    }

    /// The administrator over TLS, with the kubeconfig that the server wrote; it finds the cluster
    /// again when that is opened again.
    pub async fn admin_over_tls(&self) -> Client {
        let file = Kubeconfig::read_from(self.server.admin_kubeconfig_path()).unwrap();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(file, &options).await;
        Client::try_from(config.unwrap()).unwrap()
    }

    /// Where it is reached.
    pub fn endpoint(&self) -> Endpoint {
        self.server.endpoint().clone()
    }

    /// The CA with its key.
    pub fn ca(&self) -> &CertificateAuthority {
        self.server.ca()
    }

    /// What clients trust.
    pub fn ca_bundle(&self) -> CertificateBundle {
        self.server.ca_bundle().clone()
    }

    /// The store under the API.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Where its files are.
    pub fn files(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Stops the controllers and starts new ones.
    pub async fn restart_controllers(&mut self) {
        if let Some(controllers) = self.controllers.take() {
            controllers.stop().await;
        }
        self.controllers = Some(start_controllers(&self.server, &self.scenery));
    }

    /// Ends it in order: controllers, requests, store.
    pub async fn close(self) -> Closed {
        let address = self.server.local_addrs()[0];
        if let Some(controllers) = self.controllers {
            controllers.stop().await;
        }
        self.server.shutdown().await;
        self.store.close().await.unwrap();
        Closed {
            folder: self.folder,
            address,
            scenery: self.scenery,
        }
    }

    /// Lets go of everything at once; nothing is closed.
    pub fn abandon(self) -> Closed {
        Closed {
            address: self.server.local_addrs()[0],
            folder: self.folder,
            scenery: self.scenery,
        }
    }
}

impl Closed {
    /// Opens the same cluster again, at the same address.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn open(self) -> World {
        let store: Arc<dyn Store> = if self.scenery.file {
            Arc::new(self.open_file().await)
        } else {
            Arc::new(MemoryStore::new())
        };
        let config = Config::new(self.folder.path(), self.address, Arc::clone(&store));
        let server = ApiServer::start(config).await.unwrap();
        let scenery = self.scenery;
        let controllers = scenery
            .controllers
            .then(|| start_controllers(&server, &scenery));
        World {
            server,
            controllers,
            store,
            folder: self.folder,
            scenery,
        }
    }

    /// The same files in another folder, as a power cut would leave them; opened on a free port.
    ///
    /// # Panics
    /// When the files cannot be copied.
    pub fn of_copy(world: &World) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_files(&world.files(), folder.path());
        Self {
            folder,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            scenery: world.scenery.clone(),
        }
    }

    /// What was abandoned lets go of its file when the last request has ended.
    async fn open_file(&self) -> SqliteStore {
        let path = self.folder.path().join("state.db");
        until("the file is free", async || {
            match SqliteStore::open(&path) {
                Ok(store) => Some(store),
                Err(StoreError::InUse { .. }) => None,
                Err(error) => panic!("{}: {error}", path.display()),
            }
        })
        .await
    }
}

fn copy_files(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, target) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name());
        let target = to.join(target);
        if entry.is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_files(&entry, &target);
        } else {
            std::fs::copy(&entry, &target).unwrap();
        }
    }
}

fn start_controllers(server: &RunningServer, scenery: &Scenery) -> Controllers {
    let user = UserInfo::new("system:kube-controller-manager", ["system:masters"]);
    let settings = Settings {
        certificates: Some(CertificateSettings {
            authority: Arc::new(server.ca().clone()),
            longest_life: SignedDuration::from_hours(365 * 24),
            entropy: scenery.entropy,
            approve_kubelet_serving: true,
        }),
        node_lifecycle: NodeLifecycleSettings {
            grace_period: scenery.grace_period,
        },
        root_ca: server.ca_bundle().to_pem(),
        tokens: Some(token_signer(server)),
    };
    Controllers::start(Client::new(server.client(user), "default"), settings)
}

fn token_signer(server: &RunningServer) -> TokenSigner {
    let issuer = server.token_issuer();
    Arc::new(move |subject| {
        let grant = LegacyGrant {
            namespace: subject.namespace.clone(),
            account: ObjectIdentity {
                name: subject.account.clone(),
                uid: subject.account_uid.clone(),
            },
            secret: subject.secret.clone(),
        };
        issuer.mint_legacy(&grant).ok()
    })
}
