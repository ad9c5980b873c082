//! The server as a whole: what it is made from, how it starts, what can be asked of it while it runs.
//!
//! Refuses to know: which store keeps the objects, and who runs the process.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use muster_identity::{CertificateAuthority, CertificateBundle, Endpoint};
use muster_machinery::{meta, status::Reason};
use muster_storage::{Store, StoreError};
use serde_json::Value;
use tokio_rustls::TlsAcceptor;
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use crate::{
    admission::Admission,
    authn::{
        AuthenticationConfig, Authenticator,
        signing_key::{SigningKey, SigningKeyError},
    },
    authz::{Authorizer, MASTERS},
    background,
    bootstrap::{
        BootstrapSettings, Pki, PkiError, PkiSettings, brought_up_to_date, default_objects,
    },
    pipeline::{InflightLimits, Pipeline},
    registry::{Call, Registry, WriteOptions},
    request::{ObjectReader, ResourceRequest, UserInfo},
    route::{ResourceCatalogue, Router},
    serve::{self, LocalService, ServingCertificate, TlsError},
    system::{Health, Metrics, SystemEndpoints},
    watch::WatchCache,
};

/// How many default objects are made at once.
const BOOTSTRAP_WIDTH: usize = 64;
/// How long connections may finish when the server stops.
const SHUTDOWN: Duration = Duration::from_secs(10);
/// How often the serving certificate is looked at.
const RENEW_EVERY: Duration = Duration::from_secs(12 * 3600);

/// What a server is made from.
#[derive(Clone)]
pub struct Config {
    /// Where keys, certificates and kubeconfigs are kept.
    pub data_dir: PathBuf,
    /// Addresses to listen on; port 0 lets the system choose.
    pub bind: Vec<SocketAddr>,
    /// Where the objects are kept.
    pub store: Arc<dyn Store>,
    /// Where nodes reach this server; goes into cluster-info and the kubeconfigs. Port 0 stands for the bound
    /// port. Without it: the first bound address, or the loopback address if that is a wildcard.
    pub advertise: Option<Endpoint>,
    /// Further DNS names of the serving certificate.
    pub dns_names: Vec<String>,
    /// Further addresses of the serving certificate.
    pub addresses: Vec<IpAddr>,
    /// The cluster's name.
    pub cluster_name: String,
    /// The DNS domain of the cluster.
    pub dns_domain: String,
    /// Whether requests without a credential are served as `system:anonymous`; kubeadm's discovery needs it.
    pub allow_anonymous: bool,
}

impl Config {
    /// A cluster `kubernetes` with kubeadm's defaults, on one address.
    pub fn new(data_dir: impl Into<PathBuf>, bind: SocketAddr, store: Arc<dyn Store>) -> Self {
        Self {
            data_dir: data_dir.into(),
            bind: vec![bind],
            store,
            advertise: None,
            dns_names: Vec::new(),
            addresses: Vec::new(),
            cluster_name: "kubernetes".to_owned(),
            dns_domain: "cluster.local".to_owned(),
            allow_anonymous: true,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("data_dir", &self.data_dir)
            .field("bind", &self.bind)
            .field("advertise", &self.advertise)
            .finish_non_exhaustive()
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No address to listen on was given.
    #[error("no address to listen on")]
    NoAddress,
    /// An address cannot be listened on; see whether another process has it.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Keys and certificates cannot be loaded or made.
    #[error("the keys and certificates cannot be used")]
    Pki(#[source] PkiError),
    /// The key for service-account tokens cannot be used.
    #[error("the service-account key cannot be used")]
    SigningKey(#[source] SigningKeyError),
    /// The TLS settings do not fit together.
    #[error("TLS cannot be set up")]
    Tls(#[source] TlsError),
    /// The store does not answer.
    #[error("the store cannot be read")]
    Store(#[source] StoreError),
    /// A default object was refused by our own rules.
    #[error("the default object {object} cannot be made: {why}")]
    DefaultObject {
        /// Kind and name.
        object: String,
        /// The refusal.
        why: String,
    },
}

/// The API server.
#[derive(Debug)]
pub struct ApiServer;

/// A server that runs. Dropping it ends it at once; [`RunningServer::shutdown`] lets it finish.
pub struct RunningServer {
    addresses: Vec<SocketAddr>,
    endpoint: Endpoint,
    pki: Pki,
    pipeline: Arc<Pipeline>,
    cache: Arc<WatchCache>,
    health: Arc<Health>,
    stop: CancellationToken,
    tracker: TaskTracker,
    _feed: AbortOnDropHandle<()>,
}

impl ApiServer {
    /// Starts a server: binds, loads or makes keys and certificates, loads the store, makes the default
    /// objects. When it returns, `/readyz` says ok.
    ///
    /// # Errors
    /// [`StartError`]; nothing keeps running then.
    pub async fn start(config: Config) -> Result<RunningServer, StartError> {
        let listeners = serve::bind(&config.bind)
            .await
            .map_err(|(address, source)| StartError::Bind { address, source })?;
        let addresses: Vec<SocketAddr> = listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect();
        let reached = reachable(*addresses.first().ok_or(StartError::NoAddress)?);
        let endpoint = endpoint_of(config.advertise.as_ref(), reached);

        let settings = pki_settings(&config, &endpoint, &addresses);
        let data_dir = config.data_dir.clone();
        let made = tokio::task::spawn_blocking({
            let settings = settings.clone();
            move || Pki::load_or_create(&data_dir, &settings, Timestamp::now())
        });
        let loaded = WatchCache::start(Arc::clone(&config.store));
        let (made, loaded) = tokio::join!(made, loaded);
        let pki = match made {
            Ok(pki) => pki.map_err(StartError::Pki)?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let (cache, feed) = loaded.map_err(StartError::Store)?;

        let certificate = ServingCertificate::new(&pki.server().certificate, &pki.server().key)
            .map_err(StartError::Tls)?;
        let certificate = Arc::new(certificate);
        let tls = serve::server_config(Arc::clone(&certificate), pki.ca_bundle())
            .map_err(StartError::Tls)?;

        let stop = CancellationToken::new();
        let tracker = TaskTracker::new();
        let parts = Parts::assemble(&config, &endpoint, reached, &pki, &cache, &stop)?;
        serve::serve(
            listeners,
            TlsAcceptor::from(Arc::new(tls)),
            Arc::clone(&parts.pipeline),
            stop.clone(),
            &tracker,
        );
        let running = RunningServer {
            addresses,
            endpoint,
            pki,
            pipeline: parts.pipeline,
            cache,
            health: parts.health,
            stop,
            tracker,
            _feed: feed,
        };
        let objects = default_objects(&running.bootstrap_settings(&config, reached));
        make_default_objects(&parts.registry, &parts.catalogue, objects).await?;
        running.health.set_bootstrapped();
        background::start(
            &config.store,
            &running.cache,
            &running.health,
            &running.stop,
            &running.tracker,
        );
        running.renew_certificate(config.data_dir, settings, certificate);
        Ok(running)
    }
}

/// What a server consists of besides its sockets.
struct Parts {
    pipeline: Arc<Pipeline>,
    registry: Arc<Registry>,
    catalogue: Arc<ResourceCatalogue>,
    health: Arc<Health>,
}

impl Parts {
    fn assemble(
        config: &Config,
        endpoint: &Endpoint,
        reached: SocketAddr,
        pki: &Pki,
        cache: &Arc<WatchCache>,
        stop: &CancellationToken,
    ) -> Result<Self, StartError> {
        let reader: Arc<dyn ObjectReader> = Arc::clone(cache) as _;
        let issuer = format!("https://kubernetes.default.svc.{}", config.dns_domain);
        let authentication = AuthenticationConfig {
            issuer,
            further_audiences: Vec::new(),
            service_account_key: SigningKey::new(pki.service_account_key())
                .map_err(StartError::SigningKey)?,
            allow_anonymous: config.allow_anonymous,
        };
        let authenticator = Arc::new(Authenticator::new(authentication, Arc::clone(&reader)));
        let authorizer = Arc::new(Authorizer::new(Arc::clone(&reader)));
        let admission = Arc::new(Admission::new(reader, Arc::clone(&authorizer)));
        let registry = Arc::new(Registry::new(
            Arc::clone(&config.store),
            Arc::clone(cache),
            admission,
            Arc::clone(&authenticator),
            stop.clone(),
        ));
        let catalogue = Arc::new(ResourceCatalogue::builtin());
        let health = Arc::new(Health::new());
        let known = Arc::clone(&catalogue);
        let metrics = Arc::new(Metrics::new(
            Arc::clone(cache),
            Box::new(move |info| {
                info.resource.as_ref().is_some_and(|resource| {
                    known
                        .find(&resource.group, &resource.version, &resource.resource)
                        .is_some()
                })
            }),
        ));
        let system = SystemEndpoints {
            health: Arc::clone(&health),
            metrics: Arc::clone(&metrics),
            catalogue: Arc::clone(&catalogue),
            authenticator: Arc::clone(&authenticator),
            url: endpoint.url(),
            address: reached.to_string(),
        };
        let router = Router {
            registry: Arc::clone(&registry),
            catalogue: Arc::clone(&catalogue),
            authenticator: Arc::clone(&authenticator),
            authorizer: Arc::clone(&authorizer),
            system,
        };
        let limits = InflightLimits::new();
        let pipeline = Arc::new(Pipeline {
            authenticator,
            authorizer,
            limits,
            router,
            metrics,
        });
        let weak = Arc::downgrade(&pipeline);
        pipeline.metrics.read_inflight(Box::new(move || {
            weak.upgrade()
                .map_or((0, 0), |pipeline| pipeline.limits.inflight())
        }));
        Ok(Self {
            pipeline,
            registry,
            catalogue,
            health,
        })
    }
}

impl RunningServer {
    /// The addresses it listens on.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where nodes reach it.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The cluster's CA, with its key.
    pub fn ca(&self) -> &CertificateAuthority {
        self.pki.authority()
    }

    /// What clients are to trust.
    pub fn ca_bundle(&self) -> &CertificateBundle {
        self.pki.ca_bundle()
    }

    /// The administrator's kubeconfig.
    pub fn admin_kubeconfig_path(&self) -> PathBuf {
        self.pki.admin_kubeconfig()
    }

    /// A client in this process that acts as `user`, for `kube::Client::new(service, "default")`.
    pub fn client(&self, user: UserInfo) -> LocalService {
        LocalService::new(Arc::clone(&self.pipeline), user)
    }

    /// Stops: no new requests, watches end, connections finish within ten seconds. The store stays open.
    pub async fn shutdown(self) {
        self.health.set_stopping();
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(SHUTDOWN, self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!("connections were cut off at the end");
        }
    }

    fn bootstrap_settings(&self, config: &Config, reached: SocketAddr) -> BootstrapSettings {
        BootstrapSettings {
            cluster_name: config.cluster_name.clone(),
            dns_domain: config.dns_domain.clone(),
            service_subnet: "10.96.0.0/12".to_owned(),
            pod_subnet: "10.244.0.0/16".to_owned(),
            service_address: SERVICE_ADDRESS,
            dns_address: IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)),
            server: self.endpoint.clone(),
            advertised: vec![reached],
            ca: self.pki.ca_bundle().clone(),
        }
    }

    /// Looks at the serving certificate now and then and shows a renewed one to new connections.
    fn renew_certificate(
        &self,
        data_dir: PathBuf,
        settings: PkiSettings,
        certificate: Arc<ServingCertificate>,
    ) {
        let renewal = async move {
            loop {
                tokio::time::sleep(RENEW_EVERY).await;
                if let Err(error) = renew(&data_dir, &settings, &certificate).await {
                    tracing::error!(error, "the serving certificate cannot be renewed");
                }
            }
        };
        self.tracker
            .spawn(self.stop.clone().run_until_cancelled_owned(renewal));
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl std::fmt::Debug for RunningServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningServer")
            .field("addresses", &self.addresses)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// The address of the service `default/kubernetes`.
const SERVICE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1));

async fn renew(
    data_dir: &Path,
    settings: &PkiSettings,
    certificate: &ServingCertificate,
) -> Result<(), String> {
    let (data_dir, settings) = (data_dir.to_owned(), settings.clone());
    let load = move || Pki::load_or_create(&data_dir, &settings, Timestamp::now());
    let pki = tokio::task::spawn_blocking(load)
        .await
        .map_err(|error| error.to_string())?;
    let pki = pki.map_err(|error| error.to_string())?;
    let server = pki.server();
    certificate
        .replace(&server.certificate, &server.key)
        .map_err(|error| error.to_string())
}

/// The address under which a bound one can be reached from this machine.
fn reachable(bound: SocketAddr) -> SocketAddr {
    match bound.ip() {
        ip if ip.is_unspecified() => match ip {
            IpAddr::V4(_) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), bound.port()),
            IpAddr::V6(_) => SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), bound.port()),
        },
        _ => bound,
    }
}

/// Where nodes reach the server: as configured, or where it is bound.
fn endpoint_of(advertise: Option<&Endpoint>, bound: SocketAddr) -> Endpoint {
    match advertise {
        Some(endpoint) if endpoint.port() != 0 => endpoint.clone(),
        Some(endpoint) => Endpoint::new(endpoint.host().clone(), bound.port()),
        None => Endpoint::new(bound.ip().into(), bound.port()),
    }
}

fn pki_settings(config: &Config, endpoint: &Endpoint, bound: &[SocketAddr]) -> PkiSettings {
    let mut addresses: Vec<IpAddr> = config.addresses.clone();
    addresses.extend(bound.iter().map(|address| reachable(*address).ip()));
    addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let mut dns_names = config.dns_names.clone();
    dns_names.push("localhost".to_owned());
    PkiSettings {
        server: endpoint.clone(),
        dns_names,
        addresses,
        service_address: SERVICE_ADDRESS,
        dns_domain: config.dns_domain.clone(),
    }
}

/// Makes the objects that are not there yet: namespaces first, then everything else at once.
async fn make_default_objects(
    registry: &Registry,
    catalogue: &ResourceCatalogue,
    objects: Vec<Value>,
) -> Result<(), StartError> {
    let (namespaces, others): (Vec<_>, Vec<_>) = objects
        .into_iter()
        .partition(|object| meta::kind(object) == "Namespace");
    for batch in [namespaces, others] {
        let making = batch
            .into_iter()
            .map(|object| make_default(registry, catalogue, object));
        let mut making = stream::iter(making).buffer_unordered(BOOTSTRAP_WIDTH);
        while let Some(made) = making.next().await {
            made?;
        }
    }
    Ok(())
}

async fn make_default(
    registry: &Registry,
    catalogue: &ResourceCatalogue,
    object: Value,
) -> Result<(), StartError> {
    let label = format!("{} {}", meta::kind(&object), meta::name(&object));
    let failed = |why: String| StartError::DefaultObject {
        object: label.clone(),
        why,
    };
    let resource = catalogue
        .find_kind(meta::api_version(&object), meta::kind(&object))
        .ok_or_else(|| failed("its kind is not served".to_owned()))?;
    let namespace = Some(meta::namespace(&object)).filter(|namespace| !namespace.is_empty());
    let request = ResourceRequest {
        group: resource.group.to_string(),
        version: resource.version.to_string(),
        resource: resource.plural.to_string(),
        namespace: namespace.map(str::to_owned),
        name: Some(meta::name(&object).to_owned()),
        ..ResourceRequest::default()
    };
    let user = UserInfo::new("system:apiserver", [MASTERS]);
    let call = Call {
        user: &user,
        request: &request,
        resource: &resource,
        served: &resource,
        sub: None,
        now: Timestamp::now(),
    };
    let options = WriteOptions::default();
    let done = if registry.exists(&call) {
        let current = |stored: &Value| Ok(brought_up_to_date(stored, &object));
        registry.modify(&call, &options, current).await.map(drop)
    } else {
        registry.create(&call, object, &options).await.map(drop)
    };
    match done {
        // Made or deleted by somebody else in between: the next start looks again.
        Err(refusal) if matches!(refusal.reason(), Reason::AlreadyExists | Reason::NotFound) => {
            Ok(())
        }
        other => other.map_err(|refusal| failed(refusal.to_string())),
    }
}
