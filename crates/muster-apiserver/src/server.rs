//! The server as a whole: what it is made from, how it starts, what can be asked of it while it runs.
//!
//! Refuses to know: which store keeps the objects, and who runs the process.

mod config;
mod credentials;
mod default_objects;
mod limits;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use muster_identity::{CertificateAuthority, CertificateBundle, Endpoint};
use tokio::sync::watch;
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use crate::{
    admission::Admission,
    audit::Auditor,
    authn::{
        AuthenticationConfig, Authenticator,
        service_account::TokenIssuer,
        signing_key::{SigningKey, SigningKeyError, VerificationKey},
    },
    authz::Authorizer,
    background,
    bootstrap::{BootstrapSettings, Pki, PkiSettings, default_objects},
    custom::Keeper,
    pipeline::{InflightLimits, Pipeline},
    registry::Registry,
    request::{ObjectReader, UserInfo},
    route::{ResourceCatalogue, Router},
    serve::{self, LocalService, ServingTls},
    system::{Health, Metrics, SwaggerInUse, SystemEndpoints},
    watch::WatchCache,
};

pub use config::{Config, StartError};
use credentials::Credentials;
use default_objects::{keep_default_objects, make_default_objects};
pub use limits::Limits;

/// How long connections may finish when the server stops.
const SHUTDOWN: Duration = Duration::from_secs(10);

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

        let server = pki.server();
        let client_cas = [pki.ca_bundle(), pki.front_proxy_bundle()];
        let tls = ServingTls::new(&server.certificate, &server.key, &client_cas);
        let tls = Arc::new(tls.map_err(StartError::Tls)?);

        let stop = CancellationToken::new();
        let tracker = TaskTracker::new();
        let parts = Parts::assemble(&config, &endpoint, reached, &pki, &cache, &stop)?;
        serve::serve(
            listeners,
            Arc::clone(&tls),
            Arc::clone(&parts.pipeline),
            config.limits,
            stop.clone(),
            &tracker,
        );
        let running = RunningServer {
            addresses,
            endpoint,
            pki,
            pipeline: Arc::clone(&parts.pipeline),
            cache,
            health: parts.health,
            stop,
            tracker,
            _feed: feed,
        };
        let object_settings = running.bootstrap_settings(&config, reached);
        let objects = default_objects(&object_settings);
        make_default_objects(&parts.registry, &parts.catalogue, objects.clone()).await?;
        let keeper = Arc::clone(&parts.keeper);
        let working = keeper.work(running.tracker.clone());
        let stop = running.stop.clone();
        running
            .tracker
            .spawn(stop.run_until_cancelled_owned(working));
        parts.keeper.catch_up().await;
        running.health.set_bootstrapped();
        background::start(
            &config.store,
            &running.cache,
            &running.health,
            &running.stop,
            &running.tracker,
        );
        let authenticator = Arc::clone(&parts.pipeline.authenticator);
        let (objects, wanted) = watch::channel(Arc::new(objects));
        let credentials = Credentials {
            data_dir: config.data_dir,
            settings,
            tls,
            authenticator,
            objects,
            object_settings,
        };
        let keeping = keep_default_objects(parts.registry, parts.catalogue, wanted);
        let stop = &running.stop;
        running
            .tracker
            .spawn(stop.clone().run_until_cancelled_owned(keeping));
        let keeping = credentials.keep();
        running
            .tracker
            .spawn(stop.clone().run_until_cancelled_owned(keeping));
        Ok(running)
    }
}

/// What a server consists of besides its sockets.
struct Parts {
    pipeline: Arc<Pipeline>,
    registry: Arc<Registry>,
    catalogue: Arc<ResourceCatalogue>,
    keeper: Arc<Keeper>,
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
            further_keys: further_keys(pki).map_err(StartError::SigningKey)?,
            allow_anonymous: config.allow_anonymous,
        };
        let authenticator = Arc::new(Authenticator::new(authentication, Arc::clone(&reader)));
        authenticator.trust_clients(pki.ca_bundle());
        authenticator.trust_front_proxies(pki.front_proxy_bundle());
        let authorizer = Arc::new(Authorizer::new(Arc::clone(&reader)));
        let catalogue = Arc::new(ResourceCatalogue::new(cache, stop.clone()));
        let health = Arc::new(Health::new());
        let known = Arc::clone(&catalogue);
        let metrics = Arc::new(Metrics::new(
            Arc::clone(cache),
            Box::new(move |info| {
                info.resource.as_ref().is_some_and(|asked| {
                    let found = known.find(&asked.group, &asked.version, &asked.resource);
                    let sub = asked.subresource.as_deref();
                    found
                        .is_some_and(|found| sub.is_none_or(|sub| found.subresource(sub).is_some()))
                })
            }),
        ));
        let auditor = open_audit_log(config, &metrics)?;
        let measured = Arc::clone(&metrics.admission);
        let admission = Arc::new(Admission::new(reader, Arc::clone(&authorizer), measured));
        let registry = Arc::new(Registry::new(
            Arc::clone(&config.store),
            Arc::clone(cache),
            admission,
            Arc::clone(&authenticator),
            stop.clone(),
        ));
        let system = SystemEndpoints {
            health: Arc::clone(&health),
            metrics: Arc::clone(&metrics),
            catalogue: Arc::clone(&catalogue),
            authenticator: Arc::clone(&authenticator),
            url: endpoint.url(),
            address: reached.to_string(),
            swagger: SwaggerInUse::default(),
        };
        let keeper = Keeper::new(Arc::clone(&registry), Arc::clone(&catalogue), cache);
        let router = Router {
            registry: Arc::clone(&registry),
            catalogue: Arc::clone(&catalogue),
            keeper: Arc::clone(&keeper),
            authenticator: Arc::clone(&authenticator),
            authorizer: Arc::clone(&authorizer),
            system,
        };
        let limits = InflightLimits::new(&config.limits);
        let pipeline = Arc::new(Pipeline {
            authenticator,
            authorizer,
            limits,
            longest: config.limits.request,
            router,
            metrics,
            auditor,
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
            keeper,
            health,
        })
    }
}

fn open_audit_log(config: &Config, metrics: &Metrics) -> Result<Option<Arc<Auditor>>, StartError> {
    let Some(audit) = &config.audit else {
        return Ok(None);
    };
    let opened = Auditor::open(audit, &metrics.audit);
    let opened = opened.map_err(|source| StartError::AuditLog {
        path: audit.log.path.clone(),
        source,
    })?;
    Ok(Some(Arc::new(opened)))
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

    /// What signs service-account tokens.
    pub fn token_issuer(&self) -> TokenIssuer {
        self.pipeline.authenticator.issuer().clone()
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
        if let Some(auditor) = self.pipeline.auditor.clone() {
            let closing = tokio::task::spawn_blocking(move || auditor.close());
            if closing.await.is_err() {
                tracing::warn!("the audit log was not closed");
            }
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
            front_proxy_ca: self.pki.front_proxy_bundle().clone(),
            today: Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date(),
        }
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

/// The keys beside our own that verify service-account tokens.
fn further_keys(pki: &Pki) -> Result<Vec<VerificationKey>, SigningKeyError> {
    pki.token_keys().iter().map(VerificationKey::new).collect()
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
