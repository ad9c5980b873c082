//! The drivers of the handshake: they do what the state machines of `muster-handshake` ask.
//!
//! One TLS connection serves from the first anonymous request to the certificate: it is opened
//! untrusted, and carries the token only after its recorded chain was verified. Decides nothing:
//! every decision is the machines'. Knows no files.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use futures::stream::{BoxStream, FuturesUnordered, StreamExt as _};
use http::header::{ACCEPT, HOST, HeaderValue};
use jiff::Timestamp;
use muster_handshake::bootstrap::{Call, Effect, Event};
use muster_handshake::discovery::{DiscoveryEffect, DiscoveryEvent};
use muster_handshake::wire::{Answer, Request, Response};
use muster_handshake::{
    Anchors, CertificateWish, ChainFault, Discovery, DiscoveryRequest, Enrolled, Enrolment,
    ErrorKind, ExistingNode, HandshakeError, Issued, ProfileSearch, ProfileWish, Progress, Survey,
    Surveyed, TlsBootstrap, TlsBootstrapRequest, Trust, Vouching, WorkerProfile,
};
use muster_identity::{Certificate, CertificateBundle, Endpoint, Host, NodeName};
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::channel::{Body, Channel, collect, date};
use crate::client::{ApiClient, ApiRequest, Identity};
use crate::connect::{DialLimits, dial, local_ip, secure};
use crate::error::ApiError;
use crate::tls::{
    TlsError, names_of, pinned_config, public_config, recording_config, server_name, verify_chain,
    verify_chain_publicly,
};
use crate::watch::WatchEvent;

/// Largest cluster-info that is read, in bytes: a ConfigMap holds at most 1 MiB.
const LARGEST_CLUSTER_INFO: usize = 2 * 1024 * 1024;
/// Limit of the anonymous request for cluster-info.
const CLUSTER_INFO_LIMIT: Duration = Duration::from_secs(5);
/// Without an answer for so long, whoever watches is told.
const TOLD_AFTER: Duration = Duration::from_millis(800);

/// Takes in what happens, for a screen or a log.
pub type Tell<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// A trusted cluster, with a client that speaks to it.
#[derive(Debug)]
pub struct Discovered {
    /// What discovery proved.
    pub trust: Trust,
    /// On the very connection over which it was proved, where the identity allows that: a client certificate is shown
    /// when a connection begins.
    pub client: ApiClient,
    /// The names and addresses in the server's certificate.
    pub names: Vec<String>,
    /// From where this machine reaches the server; `None` through a proxy.
    pub local_ip: Option<IpAddr>,
}

/// Finds out whether the cluster at an endpoint may be trusted (token discovery).
///
/// # Errors
/// [`HandshakeError`], each wrong input by its own id.
pub async fn discover(
    request: DiscoveryRequest,
    tell: Tell<'_>,
) -> Result<Discovered, HandshakeError> {
    discover_within(request, DialLimits::default(), tell).await
}

/// As [`discover`], with limits of the caller's choice.
///
/// # Errors
/// [`HandshakeError`], each wrong input by its own id.
pub async fn discover_within(
    request: DiscoveryRequest,
    limits: DialLimits,
    tell: Tell<'_>,
) -> Result<Discovered, HandshakeError> {
    let identity = match &request.vouching {
        Vouching::Token { token, .. } => Identity::Bearer(token.to_text()),
        Vouching::Authority { .. } => Identity::Anonymous,
    };
    discover_as(request, identity, limits, tell).await
}

/// Finds out whether a cluster may be trusted, and speaks to it as `identity` afterwards, whatever it was that
/// vouched for the cluster. Nothing of the identity is sent before.
///
/// # Errors
/// [`HandshakeError`], each wrong input by its own id.
pub async fn discover_as(
    request: DiscoveryRequest,
    identity: Identity,
    limits: DialLimits,
    tell: Tell<'_>,
) -> Result<Discovered, HandshakeError> {
    let server_name = match &request.vouching {
        Vouching::Authority { server_name, .. } => server_name.clone(),
        Vouching::Token { .. } => None,
    };
    let (mut machine, effects) = Discovery::start(request, Timestamp::now());
    let mut effects = VecDeque::from(effects);
    let mut wire = Wire {
        limits,
        open: None,
        server_name,
    };
    loop {
        while let Some(effect) = effects.pop_front() {
            let event = match effect {
                DiscoveryEffect::Tell(progress) => {
                    tell(progress);
                    continue;
                }
                DiscoveryEffect::Finished(Err(error)) => return Err(error),
                DiscoveryEffect::Finished(Ok(trust)) => {
                    return trusted(*trust, identity, wire).await;
                }
                DiscoveryEffect::Connect(endpoint) => connect(&mut wire, endpoint, tell).await,
                DiscoveryEffect::Send(request) => {
                    DiscoveryEvent::Answered(wire.send(&request).await)
                }
                DiscoveryEffect::SendTrusted(request) => {
                    DiscoveryEvent::Answered(wire.send_trusted(&request, &identity).await)
                }
                DiscoveryEffect::VerifyChain { host, ca } => wire.verify(&host, &ca),
                DiscoveryEffect::ReadChain => DiscoveryEvent::ChainRead(wire.read_chain()),
            };
            effects.extend(machine.on(event, Timestamp::now()));
        }
        let Some(deadline) = machine.deadline() else {
            // Every state of the machine either asks for something or waits for a time.
            return Err(lost("the handshake came to a halt".to_owned()));
        };
        sleep(until(deadline)).await;
        effects.extend(machine.on(DiscoveryEvent::Tick, Timestamp::now()));
    }
}

/// Connects, and says so when nobody answers within the first second.
async fn connect(wire: &mut Wire, endpoint: Endpoint, tell: Tell<'_>) -> DiscoveryEvent {
    let name = endpoint.to_string();
    if let Ok(Some(proxy)) = crate::proxy::environment().for_target(&endpoint) {
        tell(Progress::Proxied {
            endpoint: name.clone(),
            proxy: proxy.to_string(),
        });
    }
    let mut connecting = std::pin::pin!(wire.connect(endpoint));
    match timeout(TOLD_AFTER, &mut connecting).await {
        Ok(event) => event,
        Err(_) => {
            let hint = format!(
                "Nobody answers at {name} yet; a firewall may drop the packets, or the address is wrong."
            );
            tell(Progress::NoAnswerYet {
                endpoint: name,
                id: ErrorKind::Timeout.id(),
                hint,
            });
            connecting.await
        }
    }
}

/// The untrusted connection of discovery.
struct Wire {
    limits: DialLimits,
    open: Option<Open>,
    /// The name that the server is asked for, when it is not the endpoint's host.
    server_name: Option<Host>,
}

struct Open {
    endpoint: Endpoint,
    channel: Channel,
    chain: Vec<CertificateDer<'static>>,
    local_ip: Option<IpAddr>,
}

impl Wire {
    async fn connect(&mut self, endpoint: Endpoint) -> DiscoveryEvent {
        self.open = None;
        match self.try_connect(endpoint).await {
            Ok(open) => {
                self.open = Some(open);
                DiscoveryEvent::Connected
            }
            Err(error) => DiscoveryEvent::ConnectFailed(error),
        }
    }

    async fn try_connect(&self, endpoint: Endpoint) -> Result<Open, HandshakeError> {
        let config = recording_config().map_err(|error| lost(error.to_string()))?;
        let stream = dial(&endpoint, &self.limits).await?;
        let proxied = crate::proxy::environment().for_target(&endpoint);
        let local_ip = local_ip(&stream).filter(|_| matches!(proxied, Ok(None)));
        let name = verified_name(self.server_name.as_ref(), &endpoint)?;
        let tls = secure(stream, &endpoint, name, config, &self.limits).await?;
        let chain = tls
            .get_ref()
            .1
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        let channel = Channel::open(tls, &endpoint).await?;
        Ok(Open {
            endpoint,
            channel,
            chain,
            local_ip,
        })
    }

    /// Sends a request, which only reads, on the connection or, when the server has closed it, on a
    /// new one: kube-apiserver closes HTTP/2 connections after every anonymous request (feature gate
    /// UnauthenticatedHTTP2DOSMitigation). The chain that is verified later is always that of the
    /// connection which brought the answer.
    async fn send(&mut self, request: &Request) -> Answer {
        if self
            .open
            .as_ref()
            .is_some_and(|open| !open.channel.is_open())
        {
            self.reconnect().await?;
        }
        match self.try_send(request).await {
            Err(HandshakeError::ConnectionLost { .. }) if self.open.is_some() => {
                self.reconnect().await?;
                self.try_send(request).await
            }
            answer => answer,
        }
    }

    async fn reconnect(&mut self) -> Result<(), HandshakeError> {
        let Some(closed) = self.open.take() else {
            return Err(lost("there is no connection".to_owned()));
        };
        self.open = Some(self.try_connect(closed.endpoint).await?);
        Ok(())
    }

    async fn try_send(&mut self, request: &Request) -> Answer {
        let Some(open) = &mut self.open else {
            return Err(lost("there is no connection".to_owned()));
        };
        match timeout(CLUSTER_INFO_LIMIT, open.send(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(HandshakeError::Timeout {
                endpoint: open.endpoint.to_string(),
                doing: "waiting for cluster-info".to_owned(),
                waited: jiff::SignedDuration::try_from(CLUSTER_INFO_LIMIT)
                    .unwrap_or(jiff::SignedDuration::MAX),
            }),
        }
    }

    /// On a connection of its own whose server public CAs vouch for, with whatever identity there is.
    async fn send_trusted(&self, request: &Request, identity: &Identity) -> Answer {
        let Some(open) = &self.open else {
            return Err(lost("there is no connection".to_owned()));
        };
        let (certificate, bearer) = identity.clone().split();
        let config = public_config(certificate.as_ref())
            .map_err(|error| untrusted(&open.endpoint, &error))?;
        let name = verified_name(self.server_name.as_ref(), &open.endpoint)?;
        let client = ApiClient::with_tls(open.endpoint.clone(), config, name, bearer);
        let asked = ApiRequest::new(request.method.clone(), request.path.clone());
        match client.send(&asked).await {
            Ok(response) => Ok(Response {
                status: response.status,
                date: date(&response.headers),
                body: response.body.to_vec(),
            }),
            Err(error) => refused(error, request.purpose),
        }
    }

    fn chain(&self) -> &[CertificateDer<'static>] {
        self.open
            .as_ref()
            .map(|open| open.chain.as_slice())
            .unwrap_or_default()
    }

    fn read_chain(&self) -> CertificateBundle {
        let readable = self.chain().iter();
        let readable = readable.filter_map(|der| Certificate::from_der(der).ok());
        CertificateBundle::from(readable.collect::<Vec<_>>())
    }

    fn verify(&self, host: &Host, ca: &Anchors) -> DiscoveryEvent {
        let now = Timestamp::now();
        let verified = match ca {
            Anchors::Given(ca) => verify_chain(self.chain(), ca, host, now),
            Anchors::Public => verify_chain_publicly(self.chain(), host, now),
        };
        match verified {
            Ok(()) => DiscoveryEvent::ChainVerified,
            Err(fault) => DiscoveryEvent::ChainRefused(fault),
        }
    }
}

/// The name that a server is asked for and verified by; `None` for the endpoint's own host.
fn verified_name(
    name: Option<&Host>,
    endpoint: &Endpoint,
) -> Result<Option<ServerName<'static>>, HandshakeError> {
    name.map(server_name)
        .transpose()
        .map_err(|error| untrusted(endpoint, &error))
}

impl Open {
    /// Without a credential: this connection is not trusted.
    async fn send(&mut self, request: &Request) -> Answer {
        let authority = self.endpoint.to_string();
        let uri = match self.channel {
            Channel::H2(_) => format!("https://{authority}{}", request.path),
            Channel::H1(_) => request.path.clone(),
        };
        let mut outgoing = http::Request::builder()
            .method(request.method.clone())
            .uri(uri)
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        if matches!(self.channel, Channel::H1(_)) {
            outgoing = outgoing.header(HOST, authority);
        }
        let outgoing = outgoing
            .body(Body::default())
            .map_err(|error| lost(error.to_string()))?;
        let head = self
            .channel
            .send(outgoing, &self.endpoint)
            .await
            .map_err(|failure| failure.error)?;
        let (parts, body) = head.into_parts();
        let body = collect(body, LARGEST_CLUSTER_INFO, &self.endpoint).await?;
        Ok(Response {
            status: parts.status,
            date: date(&parts.headers),
            body: body.to_vec(),
        })
    }
}

/// The client for what comes after discovery, on the connection whose chain was verified if that can be.
async fn trusted(
    trust: Trust,
    identity: Identity,
    wire: Wire,
) -> Result<Discovered, HandshakeError> {
    let unusable = |error: TlsError| untrusted(&trust.endpoint, &error);
    let (certificate, bearer) = identity.split();
    let config = pinned_config(&trust.ca, certificate.as_ref()).map_err(unusable)?;
    let name = verified_name(trust.server_name.as_ref(), &trust.endpoint)?;
    let client = ApiClient::with_tls(trust.endpoint.clone(), config, name, bearer);
    let names = wire.read_chain().certificates().first().map(names_of);
    let mut local_ip = None;
    if let Some(open) = wire.open
        && open.endpoint == trust.endpoint
    {
        local_ip = open.local_ip;
        // A certificate is shown in the TLS handshake, and this one went without.
        if certificate.is_none() && open.channel.is_open() {
            client.adopt(open.channel).await;
        }
    }
    Ok(Discovered {
        trust,
        client,
        names: names.unwrap_or_default(),
        local_ip,
    })
}

/// Gets a node's first certificate with a client that bears a token (TLS bootstrap).
///
/// # Errors
/// [`HandshakeError`].
pub async fn bootstrap(
    client: &ApiClient,
    request: TlsBootstrapRequest,
    tell: Tell<'_>,
) -> Result<Enrolled, HandshakeError> {
    let (machine, effects) = TlsBootstrap::start(request);
    run(client, machine, effects, tell)
        .await
        .map(|enrolled| *enrolled)
}

/// Reads what a join must know first and writes nothing: the rehearsal of [`bootstrap`]. It fails
/// with a credential that the server does not accept.
///
/// # Errors
/// [`HandshakeError`], for example `unauthorized` or `node-name-taken`.
pub async fn survey(
    client: &ApiClient,
    node: NodeName,
    existing_node: ExistingNode,
    deadline: Timestamp,
    tell: Tell<'_>,
) -> Result<Surveyed, HandshakeError> {
    let (machine, effects) = Survey::start(node, existing_node, deadline);
    run(client, machine, effects, tell)
        .await
        .map(|surveyed| *surveyed)
}

/// Gets one certificate with whatever identity the client has: a renewal, or a serving certificate.
///
/// # Errors
/// [`HandshakeError`]; `csr-pending` when nobody decided before `deadline`.
pub async fn enrol(
    client: &ApiClient,
    wish: CertificateWish,
    deadline: Timestamp,
    tell: Tell<'_>,
) -> Result<Issued, HandshakeError> {
    let (machine, effects) = Enrolment::start(wish, deadline);
    run(client, machine, effects, tell)
        .await
        .map(|issued| *issued)
}

/// Looks for a worker profile of k0s, with whatever identity the client has. `version` is the API server's.
///
/// # Errors
/// [`HandshakeError`]; `worker-profile-missing` when it was asked for by name and is not there.
pub async fn worker_profile(
    client: &ApiClient,
    wish: ProfileWish,
    version: Option<&str>,
    deadline: Timestamp,
    tell: Tell<'_>,
) -> Result<Option<WorkerProfile>, HandshakeError> {
    let (machine, effects) = ProfileSearch::start(wish, version, deadline);
    run(client, machine, effects, tell).await
}

/// What the machines of TLS bootstrap have in common.
trait Machine<T> {
    fn on(&mut self, event: Event, now: Timestamp) -> Vec<Effect<T>>;
    fn deadline(&self) -> Option<Timestamp>;
}

impl Machine<Box<Enrolled>> for TlsBootstrap {
    fn on(&mut self, event: Event, now: Timestamp) -> Vec<Effect<Box<Enrolled>>> {
        Self::on(self, event, now)
    }

    fn deadline(&self) -> Option<Timestamp> {
        Self::deadline(self)
    }
}

impl Machine<Box<Surveyed>> for Survey {
    fn on(&mut self, event: Event, now: Timestamp) -> Vec<Effect<Box<Surveyed>>> {
        Self::on(self, event, now)
    }

    fn deadline(&self) -> Option<Timestamp> {
        Self::deadline(self)
    }
}

impl Machine<Option<WorkerProfile>> for ProfileSearch {
    fn on(&mut self, event: Event, now: Timestamp) -> Vec<Effect<Option<WorkerProfile>>> {
        Self::on(self, event, now)
    }

    fn deadline(&self) -> Option<Timestamp> {
        Self::deadline(self)
    }
}

impl Machine<Box<Issued>> for Enrolment {
    fn on(&mut self, event: Event, now: Timestamp) -> Vec<Effect<Box<Issued>>> {
        Self::on(self, event, now)
    }

    fn deadline(&self) -> Option<Timestamp> {
        Self::deadline(self)
    }
}

type Sending<'a> = Pin<Box<dyn Future<Output = Event> + Send + 'a>>;

async fn run<T, M: Machine<T>>(
    client: &ApiClient,
    mut machine: M,
    effects: Vec<Effect<T>>,
    tell: Tell<'_>,
) -> Result<T, HandshakeError> {
    let mut effects = VecDeque::from(effects);
    let mut sending: FuturesUnordered<Sending<'_>> = FuturesUnordered::new();
    let mut watching: BoxStream<'_, Event> = futures::stream::pending().boxed();
    loop {
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Tell(progress) => tell(progress),
                Effect::Finished(result) => return result,
                Effect::Send(call, request) => sending.push(Box::pin(send(client, call, request))),
                Effect::Watch(request) => watching = watch(client, request),
            }
        }
        let tick = async {
            match machine.deadline() {
                Some(deadline) => sleep(until(deadline)).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            Some(event) = sending.next() => event,
            Some(event) = watching.next() => event,
            () = tick => Event::Tick,
        };
        if matches!(event, Event::WatchEnded(_)) {
            watching = futures::stream::pending().boxed();
        }
        effects.extend(machine.on(event, Timestamp::now()));
    }
}

async fn send(client: &ApiClient, call: Call, request: Request) -> Event {
    let mut outgoing = ApiRequest::new(request.method.clone(), request.path.clone());
    if let Some(body) = &request.body {
        outgoing = outgoing.body("application/json", body.to_string());
    }
    // A request for a certificate is named after its key: a second one changes nothing.
    let answer = match client.send(&outgoing.repeatable()).await {
        Ok(response) => Ok(Response {
            status: response.status,
            date: date(&response.headers),
            body: response.body.to_vec(),
        }),
        Err(error) => refused(error, request.purpose),
    };
    Event::Answered(call, answer)
}

/// A refusal of the server is an answer to the machine, a failure of the wire is not.
fn refused(error: ApiError, purpose: &str) -> Answer {
    let ApiError::Status(status) = &error else {
        return Err(error.into_handshake(purpose));
    };
    let Ok(code) = http::StatusCode::from_u16(status.code) else {
        return Err(error.into_handshake(purpose));
    };
    let body = json!({
        "kind": "Status", "status": "Failure", "code": status.code,
        "reason": status.reason, "message": status.message,
    });
    Ok(Response {
        status: code,
        date: None,
        body: body.to_string().into_bytes(),
    })
}

fn watch(client: &ApiClient, request: Request) -> BoxStream<'_, Event> {
    let begin = async move {
        match client.watch(&request.path).await {
            Ok(watch) => watch
                .into_stream()
                .map(move |item| match item {
                    Ok(event) => Event::Watched(wire_form(event)),
                    Err(error) => Event::WatchEnded(Some(error.into_handshake(request.purpose))),
                })
                .chain(futures::stream::once(async { Event::WatchEnded(None) }))
                .boxed(),
            Err(error) => {
                let error = error.into_handshake(request.purpose);
                futures::stream::once(async { Event::WatchEnded(Some(error)) }).boxed()
            }
        }
    };
    futures::stream::once(begin).flatten().boxed()
}

fn wire_form(event: WatchEvent) -> serde_json::Value {
    match event {
        WatchEvent::Added(object) => json!({"type": "ADDED", "object": object}),
        WatchEvent::Modified(object) => json!({"type": "MODIFIED", "object": object}),
        WatchEvent::Deleted(object) => json!({"type": "DELETED", "object": object}),
        WatchEvent::Bookmark(object) => json!({"type": "BOOKMARK", "object": object}),
    }
}

fn until(time: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default()
}

fn lost(reason: String) -> HandshakeError {
    HandshakeError::ConnectionLost {
        endpoint: "the API server".to_owned(),
        reason,
    }
}

fn untrusted(endpoint: &Endpoint, error: &TlsError) -> HandshakeError {
    ChainFault::Unusable {
        reason: error.to_string(),
    }
    .into_error(endpoint, None, None, Timestamp::now())
}
