//! The built-in kubelet: one loop over the events lease, status, certificate and stop.
//!
//! It starts from the files that a join leaves behind and speaks as the node. An API server that is
//! away is waited for. Like the kubelet it registers once: a Node that somebody deletes stays
//! deleted until the kubelet is started again.

use crate::certificate::{self, NodeCertificateError};
use crate::configuration::{Configuration, ConfigurationError};
use crate::cri::{Cri, RuntimeState};
use crate::health;
use crate::machine::{Machine, Usage};
use crate::node::conditions::{Life, conditions, to_json};
use crate::node::object::Registration;
use crate::node::{lease, object};
use crate::options::{KubeletOptions, RuntimeChoice};
use crate::registration::{post_status, register, renew_lease};
use jiff::{SignedDuration, Timestamp};
use muster_handshake::{client_wish, renewal_time};
use muster_identity::{Endpoint, NodeName, PrivateKey};
use muster_net::retry::chance;
use muster_net::{ApiClient, ApiError, ClientConfigError, client_from_file, enrol};
use serde_json::Value;
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Instant;

/// How often the status is looked at, and how often it is sent though nothing changed (KEP-589).
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
const STATUS_REPORT_INTERVAL: Duration = Duration::from_secs(300);
/// The pause after a failed registration: doubling from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(7);
/// How long the last words of a node that stops may take.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long a renewal of the certificate may wait for its approval, and the pause after a failure.
const RENEWAL_PATIENCE: SignedDuration = SignedDuration::from_mins(15);
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// Why the kubelet could not start.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// The machine has not joined, or its files were changed: join it.
    #[error("the node's credentials in {} cannot be used", path.display())]
    Credentials {
        /// The kubeconfig.
        path: PathBuf,
        /// Why.
        #[source]
        source: ClientConfigError,
    },
    /// The certificate is missing or is not a node's.
    #[error("the node's certificate cannot be used")]
    Certificate(#[source] NodeCertificateError),
    /// The configuration file is damaged.
    #[error("the kubelet's configuration cannot be used")]
    Configuration(#[source] ConfigurationError),
    /// `/healthz` cannot be served; another kubelet may be running.
    #[error("cannot listen on {address} for /healthz")]
    Health {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A started kubelet.
struct Kubelet {
    options: KubeletOptions,
    configuration: Configuration,
    client: ApiClient,
    registration: Registration,
    machine: Machine,
    cri: Option<Cri>,
    lease: Option<Value>,
    /// The status that the server last took, with its conditions.
    posted: Value,
    posted_at: Instant,
}

/// Runs the kubelet until `stop` resolves; then it says that the node is shutting down and returns.
///
/// # Errors
/// [`KubeletError`] when it cannot start. Later troubles are logged and outlasted.
pub async fn run(
    options: KubeletOptions,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), KubeletError> {
    let configuration =
        Configuration::read(&options.configuration()).map_err(KubeletError::Configuration)?;
    let listening = match configuration.healthz() {
        None => None,
        Some(address) => Some(
            health::serve(address)
                .await
                .map_err(|source| KubeletError::Health { address, source })?,
        ),
    };
    let health = tokio::spawn(async move {
        match listening {
            Some(listening) => listening.await,
            None => std::future::pending().await,
        }
    });
    let kubelet = Kubelet::start(options, configuration);
    let result = match kubelet {
        Ok(kubelet) => {
            kubelet.live(stop).await;
            Ok(())
        }
        Err(error) => Err(error),
    };
    health.abort();
    result
}

impl Kubelet {
    fn start(options: KubeletOptions, configuration: Configuration) -> Result<Self, KubeletError> {
        let path = options.kubeconfig();
        let client =
            client_from_file(&path).map_err(|source| KubeletError::Credentials { path, source })?;
        let name = match options.name.clone() {
            Some(name) => name,
            None => certificate::node_name(&options.pki()).map_err(KubeletError::Certificate)?,
        };
        let cri = match &options.runtime {
            RuntimeChoice::Hollow => None,
            RuntimeChoice::Cri(socket) => Some(Cri::new(socket)),
        };
        let registration = Registration {
            name,
            addresses: options.node_ip.clone(),
            labels: options.labels.clone(),
            taints: options.taints.clone(),
            kubelet_version: options.version.clone(),
        };
        let machine = Machine::read(&options.root);
        Ok(Self {
            options,
            configuration,
            client,
            registration,
            machine,
            cri,
            lease: None,
            posted: Value::Null,
            posted_at: Instant::now(),
        })
    }

    async fn live(mut self, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        tokio::select! {
            () = self.register_until_done() => self.serve(stop.as_mut()).await,
            // The Node may be there already, and Ready, while its Lease or our answer is still under way.
            () = &mut stop => {}
        }
        let farewell = tokio::time::timeout(FAREWELL, self.report(Life::ShuttingDown, true));
        if farewell.await.is_err() {
            tracing::warn!("the API server did not take the last status in time");
        }
    }

    /// What a registered node does until it is told to stop.
    async fn serve(&mut self, mut stop: Pin<&mut (impl Future<Output = ()> + Send)>) {
        let mut leases = ticks(lease::RENEW_INTERVAL);
        let mut statuses = ticks(STATUS_INTERVAL);
        // It goes on beside everything else: whoever approves it may take his time, and until then the
        // node has to renew its lease, and to stop when it is told to.
        let mut renewal = std::pin::pin!(self.renewal().at(self.next_renewal()));
        loop {
            tokio::select! {
                () = &mut stop => break,
                _ = leases.tick() => self.renew_lease().await,
                _ = statuses.tick() => self.report(Life::Up, false).await,
                renewed = &mut renewal => {
                    let due = self.take_over(renewed);
                    renewal.set(self.renewal().at(due));
                }
            }
        }
    }

    async fn register_until_done(&mut self) {
        let mut pause = FIRST_PAUSE;
        while let Err(error) = self.register().await {
            tracing::warn!(node = %self.registration.name, error = &error as &dyn std::error::Error, "registration is tried again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
        tracing::info!(node = %self.registration.name, "registered");
    }

    /// Node with its whole status first, then the Lease: a node is Ready from its first moment.
    async fn register(&mut self) -> Result<(), ApiError> {
        if self.registration.addresses.is_empty() {
            self.registration
                .addresses
                .extend(outgoing_address(self.client.endpoint()).await);
        }
        let runtime = self.runtime().await;
        let mut node = object::node(&self.registration, &self.machine, &runtime);
        let usage = Usage::read(&self.options.root);
        let now = conditions(&usage, &runtime, Life::Up);
        node["status"]["conditions"] = to_json(&now, &Value::Null, Timestamp::now());
        let node = register(&self.client, &self.registration.name, &node).await?;
        self.posted = node["status"].clone();
        self.posted_at = Instant::now();
        let lease = renew_lease(
            &self.client,
            &self.registration.name,
            None,
            Timestamp::now(),
        )
        .await?;
        self.lease = Some(lease);
        Ok(())
    }

    async fn runtime(&self) -> RuntimeState {
        match &self.cri {
            None => RuntimeState::hollow(),
            Some(cri) => cri
                .state()
                .await
                .unwrap_or_else(|error| RuntimeState::unavailable(&error)),
        }
    }

    async fn renew_lease(&mut self) {
        let known = self.lease.take();
        match renew_lease(
            &self.client,
            &self.registration.name,
            known.clone(),
            Timestamp::now(),
        )
        .await
        {
            Ok(lease) => self.lease = Some(lease),
            Err(error) => {
                self.lease = known;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the lease was not renewed"
                );
            }
        }
    }

    /// Sends the status when it changed, when it is old, or when `always`.
    async fn report(&mut self, life: Life, always: bool) {
        let runtime = self.runtime().await;
        let usage = Usage::read(&self.options.root);
        let current = conditions(&usage, &runtime, life);
        let before = &self.posted["conditions"];
        let unchanged = current.iter().all(|condition| {
            before.as_array().into_iter().flatten().any(|one| {
                one["type"] == condition.kind
                    && one["status"] == condition.status
                    && one["message"] == condition.message.as_str()
            })
        });
        if unchanged && !always && self.posted_at.elapsed() < STATUS_REPORT_INTERVAL {
            return;
        }
        let mut status = object::status(&self.registration, &self.machine, &runtime);
        status["conditions"] = to_json(&current, before, Timestamp::now());
        match post_status(&self.client, &self.registration.name, &status).await {
            Ok(node) => {
                self.posted = node["status"].clone();
                self.posted_at = Instant::now();
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the status was not taken"
                );
            }
        }
    }

    /// When the certificate is due, by a fresh roll of the dice.
    fn next_renewal(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(86_400 * 365);
        if !self.configuration.rotates() {
            return far;
        }
        match certificate::current(&self.options.pki()) {
            Ok(current) => {
                let due = renewal_time(current.not_before(), current.not_after(), chance());
                let wait = due.duration_since(Timestamp::now());
                Instant::now() + Duration::try_from(wait).unwrap_or_default()
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the certificate cannot be read"
                );
                Instant::now() + RENEWAL_PAUSE
            }
        }
    }

    fn renewal(&self) -> Renewal {
        Renewal {
            client: self.client.clone(),
            name: self.registration.name.clone(),
            options: self.options.clone(),
        }
    }

    /// Goes on with the new certificate, or with the old one; answers with when the next is due. A signer
    /// whose certificates are due as soon as they are issued is not asked without a pause.
    fn take_over(&mut self, renewed: Renewed) -> Instant {
        let soonest = Instant::now() + RENEWAL_PAUSE;
        match renewed {
            Ok(client) => {
                self.client = client;
                self.next_renewal().max(soonest)
            }
            Err(error) => {
                tracing::warn!(error = error.as_ref(), "the certificate was not renewed");
                soonest
            }
        }
    }
}

/// The client with the new certificate.
type Renewed = Result<ApiClient, Box<dyn std::error::Error + Send + Sync>>;

/// One renewal of the certificate, from the wait for it to the new client.
struct Renewal {
    client: ApiClient,
    name: NodeName,
    options: KubeletOptions,
}

impl Renewal {
    async fn at(self, due: Instant) -> Renewed {
        tokio::time::sleep_until(due).await;
        let mut entropy = self.options.entropy;
        let key = PrivateKey::generate(&mut entropy)?;
        let deadline = Timestamp::now().checked_add(RENEWAL_PATIENCE)?;
        let mut tell = |progress| tracing::info!(?progress, "renewing the certificate");
        let wish = client_wish(&self.name, &key)?;
        let issued = enrol(&self.client, wish, deadline, &mut tell).await?;
        let path =
            certificate::install(&self.options.pki(), &issued.chain, &key, Timestamp::now())?;
        let client = client_from_file(&self.options.kubeconfig())?;
        tracing::info!(file = %path.display(), until = %issued.not_after, "the certificate is renewed");
        Ok(client)
    }
}

fn ticks(interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

/// The address that packets to `endpoint` leave from. Nothing is sent: connecting a datagram socket
/// only asks the routing table.
async fn outgoing_address(endpoint: &Endpoint) -> Option<IpAddr> {
    let host = endpoint.server_name();
    let target = tokio::net::lookup_host((host.as_str(), endpoint.port()))
        .await
        .ok()?
        .next()?;
    let any: IpAddr = if target.is_ipv4() {
        [0, 0, 0, 0].into()
    } else {
        [0_u16; 8].into()
    };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect(target).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}
