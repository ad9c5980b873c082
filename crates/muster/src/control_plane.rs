//! The embedded control plane as one thing: store, API server, controllers. Started by
//! `muster server` and by the playground.

use crate::exit::{FAILED, Failure, USAGE};
use jiff::SignedDuration;
use kube::Client;
use muster_apiserver::audit::AuditConfig;
use muster_apiserver::authn::service_account::{LegacyGrant, ObjectIdentity};
use muster_apiserver::{ApiServer, Config, RunningServer, UserInfo};
use muster_controllers::{
    CertificateSettings, Controllers, NodeLifecycleSettings, Settings, TokenSigner,
};
use muster_identity::{Endpoint, Host};
use muster_storage::{MemoryStore, SqliteStore, Store};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The user that the controllers act as, and its groups.
const CONTROLLER_USER: &str = "system:kube-controller-manager";
const MASTERS: &str = "system:masters";
/// One year, the default of kube-controller-manager's `--cluster-signing-duration`.
pub(crate) const CERTIFICATE_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Where objects are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Datastore {
    /// In memory; gone when the server ends.
    Memory,
    /// In an SQLite file.
    Sqlite(PathBuf),
}

impl Datastore {
    /// Reads `--datastore-endpoint`.
    pub(crate) fn parse(text: &str, data_dir: &Path) -> Result<Self, Failure> {
        match text {
            "memory" => Ok(Self::Memory),
            "sqlite" => Ok(Self::Sqlite(data_dir.join("state.db"))),
            _ => match text.strip_prefix("sqlite://") {
                Some(path) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
                _ => Err(Failure::usage(format!(
                    "{text:?} is no datastore that this server knows"
                ))
                .cure("use sqlite, sqlite://PATH or memory")),
            },
        }
    }

    fn open(&self) -> Result<Arc<dyn Store>, Failure> {
        match self {
            Self::Memory => Ok(Arc::new(MemoryStore::new())),
            Self::Sqlite(path) => {
                let store = SqliteStore::open(path).map_err(|error| {
                    Failure::new(
                        "datastore-unusable",
                        FAILED,
                        format!("cannot open {}", path.display()),
                    )
                    .because(&error)
                })?;
                Ok(Arc::new(store))
            }
        }
    }
}

/// What a control plane is started with.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) data_dir: PathBuf,
    pub(crate) datastore: Datastore,
    pub(crate) bind: Vec<SocketAddr>,
    pub(crate) advertise: Option<Endpoint>,
    pub(crate) names: Vec<Host>,
    pub(crate) approve_kubelet_serving: bool,
    pub(crate) grace_period: Duration,
    pub(crate) certificate_life: SignedDuration,
    pub(crate) audit: Option<AuditConfig>,
}

/// A control plane that runs.
pub(crate) struct ControlPlane {
    pub(crate) server: RunningServer,
    controllers: Controllers,
    store: Arc<dyn Store>,
}

impl ControlPlane {
    /// Starts store, server and controllers; when it returns, the server is ready.
    pub(crate) async fn start(plan: Plan) -> Result<Self, Failure> {
        let Some(first) = plan.bind.first().copied() else {
            return Err(Failure::usage("there is no address to listen on"));
        };
        prepare_folder(&plan.data_dir)?;
        let datastore = plan.datastore.clone();
        let opened = tokio::task::spawn_blocking(move || datastore.open()).await;
        let store = opened.map_err(|error| {
            Failure::new(
                "datastore-unusable",
                FAILED,
                "the datastore cannot be opened",
            )
            .because(&error)
        })??;
        let mut config = Config::new(&plan.data_dir, first, Arc::clone(&store));
        config.bind.clone_from(&plan.bind);
        config.advertise = plan.advertise.clone().or_else(|| advertised(first));
        for name in &plan.names {
            match name {
                Host::Dns(name) => config.dns_names.push(name.clone()),
                Host::Ip(address) => config.addresses.push(*address),
            }
        }
        config.audit.clone_from(&plan.audit);
        let server = ApiServer::start(config)
            .await
            .map_err(|error| start_failure(&error))?;
        let controllers = start_controllers(&server, &plan);
        Ok(Self {
            server,
            controllers,
            store,
        })
    }

    /// Stops the controllers, lets requests end, and closes the store.
    pub(crate) async fn stop(self) {
        self.controllers.stop().await;
        self.server.shutdown().await;
        if let Err(error) = self.store.close().await {
            tracing::warn!(%error, "the datastore was not closed cleanly");
        }
    }
}

fn start_controllers(server: &RunningServer, plan: &Plan) -> Controllers {
    let user = UserInfo::new(CONTROLLER_USER, [MASTERS]);
    let client = Client::new(server.client(user), "default");
    let settings = Settings {
        certificates: Some(CertificateSettings {
            authority: Arc::new(server.ca().clone()),
            longest_life: plan.certificate_life,
            entropy: crate::entropy::fill,
            approve_kubelet_serving: plan.approve_kubelet_serving,
        }),
        node_lifecycle: NodeLifecycleSettings {
            grace_period: plan.grace_period,
        },
        root_ca: server.ca_bundle().to_pem(),
        tokens: Some(token_signer(server)),
    };
    Controllers::start(client, settings)
}

/// Signs the tokens that are kept in Secrets, with the server's key.
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

/// Makes the data directory, for its owner alone.
fn prepare_folder(folder: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder);
    made.map_err(|error| {
        Failure::new(
            "data-dir-unusable",
            FAILED,
            format!("cannot make {}", folder.display()),
        )
        .because(&error)
        .cure("name another one with --data-dir DIR")
    })
}

/// The address that other machines can use, when the bound one is a wildcard.
fn advertised(bound: SocketAddr) -> Option<Endpoint> {
    if !bound.ip().is_unspecified() {
        return None;
    }
    Some(Endpoint::new(
        Host::Ip(default_route_address(bound.is_ipv6())?),
        bound.port(),
    ))
}

/// The address that packets to far away leave from. Nothing is sent: connecting a datagram socket
/// only asks the routing table. The targets are documentation addresses (RFC 5737, RFC 3849).
fn default_route_address(v6: bool) -> Option<IpAddr> {
    let (from, to) = if v6 {
        ("[::]:0", "[2001:db8::1]:9")
    } else {
        ("0.0.0.0:0", "192.0.2.1:9")
    };
    let socket = std::net::UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn start_failure(error: &muster_apiserver::StartError) -> Failure {
    use muster_apiserver::StartError;
    let failure =
        Failure::new("server-start-failed", FAILED, "the server cannot start").because(error);
    match error {
        StartError::Bind { .. } => {
            failure.cure("stop what listens there, or choose with --bind HOST:PORT")
        }
        StartError::AuditLog { .. } => {
            failure.cure("choose another file with --audit-log-path FILE")
        }
        StartError::NoAddress => Failure::new("usage", USAGE, "there is no address to listen on"),
        _ => failure,
    }
}
