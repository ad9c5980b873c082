//! The joining half of discovery, as a state machine: a credential in, a trusted cluster out.
//!
//! Order (kubeadm 1.36's token discovery, on one connection): connect and record the certificate
//! chain; read cluster-info anonymously; check its signature with the token; keep only the CA
//! certificates whose key is pinned; demand that the recorded chain was issued by one of those and
//! is valid for the typed host. Only then is the connection trusted, and only then may it carry
//! the token. Deviations from kubeadm: the typed endpoint is used (the advertised one only on
//! request, or when the certificate is not valid for the typed one), and a pin vouches for
//! no other certificate of the bundle. Where cluster-info is not shown, a pinned CA in the server's own
//! chain serves as well; and a CA that is known beforehand needs no cluster-info at all. Knows no
//! socket, clock or TLS library.

use std::mem;

use jiff::{SignedDuration, Timestamp};
use muster_identity::{
    BootstrapToken, CaPin, CertificateBundle, Endpoint, Host, Kubeconfig, jws,
    kubeconfig::Material,
    pin::{pinned_only, pins_for},
};

use super::CLUSTER_INFO_PATH;
use super::document::Document;
use super::trust::{
    Anchors, ChainFault, DiscoveryRequest, EndpointChoice, Trust, Trusting, Vouching,
};
use crate::error::{ErrorClass, HandshakeError};
use crate::progress::Progress;
use crate::wire::{Answer, Request, Response};

/// Kubernetes' usual cluster name, for a cluster-info that names none (kubeadm's default).
const DEFAULT_CLUSTER_NAME: &str = "kubernetes";
/// How long a missing signature is waited for when no token is signed, or cluster-info is new: the
/// signer may not have run yet.
const SIGNER_PATIENCE: SignedDuration = SignedDuration::from_millis(800);
/// The same when other tokens are signed: only enough for a token made this very moment.
const FRESH_TOKEN_PATIENCE: SignedDuration = SignedDuration::from_millis(400);
/// A cluster-info younger than this counts as new.
const YOUNG: SignedDuration = SignedDuration::from_secs(30);
/// First pause before another attempt; later ones grow by half.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_millis(100);
/// Longest pause.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(2);

/// What the driver must do for discovery.
#[derive(Debug)]
pub enum DiscoveryEffect {
    /// Open a TLS connection whose handshake is checked, whose chain is recorded and which is not
    /// trusted. A former connection is dropped. Answer with `Connected` or `ConnectFailed`.
    Connect(Endpoint),
    /// Send on that connection. Answer with `Answered`.
    Send(Request),
    /// Verify the recorded chain for `host` against these CAs and nothing else, at the local time.
    /// Answer with `ChainVerified` or `ChainRefused`.
    VerifyChain {
        /// Name or address the leaf must be valid for.
        host: Host,
        /// The only trust anchors.
        ca: Anchors,
    },
    /// Show the recorded chain. Answer with `ChainRead`.
    ReadChain,
    /// The connection's server is verified now: send, with the holder's credential. Answer with `Answered`.
    SendTrusted(Request),
    /// Tell whoever watches.
    Tell(Progress),
    /// Discovery is over.
    Finished(Result<Box<Trust>, HandshakeError>),
}

/// What happened, for discovery.
#[derive(Debug)]
pub enum DiscoveryEvent {
    /// The connection stands.
    Connected,
    /// There is no connection, classified by the driver.
    ConnectFailed(HandshakeError),
    /// The request was answered, or its connection failed.
    Answered(Answer),
    /// The recorded chain is good.
    ChainVerified,
    /// The recorded chain is not good.
    ChainRefused(ChainFault),
    /// The recorded chain, leaf first, as far as it can be read. Nobody vouches for it yet.
    ChainRead(CertificateBundle),
    /// The time of [`Discovery::deadline`] has come.
    Tick,
}

#[derive(Debug)]
enum State {
    /// A connection is being made.
    Connecting,
    /// cluster-info was asked for on a connection.
    Reading,
    /// Waiting before cluster-info is asked for again on the same connection.
    AwaitingSignature { until: Timestamp },
    /// Waiting before everything is tried again.
    AwaitingNetwork { until: Timestamp },
    /// The recorded chain is asked for, because cluster-info is not shown.
    ReadingChain {
        instead_of: HandshakeError,
        date: Option<Timestamp>,
    },
    /// A connection to the advertised endpoint is being made for a candidate.
    Rerouting {
        candidate: Box<Candidate>,
        /// Why the typed endpoint is not used, unless the advertised one was asked for: said when neither can be.
        instead_of: Option<Box<HandshakeError>>,
    },
    /// The chain is being verified for a candidate.
    Verifying(Box<Candidate>),
    /// The chain is being verified against public CAs, before the cluster's own is taken from cluster-info.
    VerifyingPublicly {
        seen: Option<Box<Document>>,
        date: Option<Timestamp>,
    },
    /// cluster-info was asked for with the credential.
    ReadingTrusted { date: Option<Timestamp> },
    /// Over.
    Finished,
}

/// What becomes trust once the recorded chain is verified.
#[derive(Debug)]
struct Candidate {
    trust: Trust,
    /// The server's clock.
    date: Option<Timestamp>,
    /// Certificates that no pin vouches for.
    dropped: usize,
}

/// The state machine of the joining half of discovery.
#[derive(Debug)]
pub struct Discovery {
    request: DiscoveryRequest,
    state: State,
    started: Timestamp,
    unsigned_since: Option<Timestamp>,
    pauses: u32,
}

impl Discovery {
    /// Begins, at `now`.
    pub fn start(request: DiscoveryRequest, now: Timestamp) -> (Self, Vec<DiscoveryEffect>) {
        let mut effects = vec![DiscoveryEffect::Tell(Progress::DiscoveryStarted {
            endpoint: request.endpoint.to_string(),
        })];
        if let Vouching::Token {
            trusting: Trusting::WhoeverKnowsTheToken,
            ..
        } = &request.vouching
        {
            effects.push(DiscoveryEffect::Tell(Progress::Unsafe {
                reason: "No CA is pinned: whoever knows the token can pose as the cluster."
                    .to_owned(),
            }));
        }
        effects.push(DiscoveryEffect::Connect(request.endpoint.clone()));
        let machine = Self {
            request,
            state: State::Connecting,
            started: now,
            unsigned_since: None,
            pauses: 0,
        };
        (machine, effects)
    }

    /// When [`DiscoveryEvent::Tick`] is wanted, if nothing else happens before.
    pub const fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::AwaitingSignature { until } | State::AwaitingNetwork { until } => Some(*until),
            _ => None,
        }
    }

    /// Takes in what happened. An event that the state does not wait for changes nothing.
    pub fn on(&mut self, event: DiscoveryEvent, now: Timestamp) -> Vec<DiscoveryEffect> {
        match (mem::replace(&mut self.state, State::Finished), event) {
            (State::Connecting, DiscoveryEvent::Connected) => {
                let mut effects = vec![DiscoveryEffect::Tell(Progress::Connected {
                    endpoint: self.request.endpoint.to_string(),
                })];
                effects.extend(self.read_cluster_info());
                effects
            }
            (State::Connecting, DiscoveryEvent::ConnectFailed(error))
            | (State::Reading, DiscoveryEvent::Answered(Err(error))) => self.failed(error, now),
            (State::Reading, DiscoveryEvent::Answered(Ok(response))) => {
                self.answered(response, now)
            }
            (State::AwaitingSignature { until }, DiscoveryEvent::Tick) if now >= until => {
                self.read_cluster_info()
            }
            (State::AwaitingNetwork { until }, DiscoveryEvent::Tick) if now >= until => {
                self.state = State::Connecting;
                vec![DiscoveryEffect::Connect(self.request.endpoint.clone())]
            }
            (State::ReadingChain { instead_of, date }, DiscoveryEvent::ChainRead(chain)) => {
                self.vouched_by_chain(instead_of, &chain, date)
            }
            (State::Verifying(candidate), DiscoveryEvent::ChainVerified) => trusted(*candidate),
            (State::Verifying(candidate), DiscoveryEvent::ChainRefused(fault)) => {
                if self.may_reroute(&candidate, &fault) {
                    let typed = &candidate.trust.endpoint;
                    let error = fault.into_error(typed, None, candidate.date, now);
                    self.reroute(candidate, Some(Box::new(error)))
                } else {
                    finished(Err(self.judge(&candidate, fault, now)))
                }
            }
            (State::Rerouting { candidate, .. }, DiscoveryEvent::Connected) => {
                self.verify(candidate)
            }
            (State::Rerouting { instead_of, .. }, DiscoveryEvent::ConnectFailed(error)) => {
                finished(Err(instead_of.map_or(error, |typed| *typed)))
            }
            (State::VerifyingPublicly { seen, date }, DiscoveryEvent::ChainVerified) => {
                self.publicly_verified(seen, date)
            }
            (State::VerifyingPublicly { date, .. }, DiscoveryEvent::ChainRefused(fault)) => {
                let error = fault.into_error(&self.request.endpoint, None, date, now);
                finished(Err(error))
            }
            (State::ReadingTrusted { date }, DiscoveryEvent::Answered(answer)) => {
                self.refreshed(answer, date)
            }
            (state, _) => {
                self.state = state;
                Vec::new()
            }
        }
    }

    fn read_cluster_info(&mut self) -> Vec<DiscoveryEffect> {
        self.state = State::Reading;
        vec![DiscoveryEffect::Send(Request::get_anonymously(
            CLUSTER_INFO_PATH,
            "read kube-public/cluster-info",
        ))]
    }

    fn answered(&mut self, response: Response, now: Timestamp) -> Vec<DiscoveryEffect> {
        let date = response.date;
        let read = Document::read(&self.request.endpoint.to_string(), response);
        match self.request.vouching.clone() {
            Vouching::Token { token, trusting } => {
                self.answered_to_token(&token, &trusting, read, date, now)
            }
            Vouching::Authority { ca, .. } => {
                let seen = match read {
                    Ok(document) => Some(document),
                    // It need not be shown: the certificate proves the server.
                    Err(error) if is_withheld(&error) => None,
                    Err(error) => return self.failed(error, now),
                };
                self.introduced(ca, seen, date)
            }
        }
    }

    fn answered_to_token(
        &mut self,
        token: &BootstrapToken,
        trusting: &Trusting,
        read: Result<Document, HandshakeError>,
        date: Option<Timestamp>,
        now: Timestamp,
    ) -> Vec<DiscoveryEffect> {
        let document = match read {
            Ok(document) => document,
            Err(instead_of)
                if is_withheld(&instead_of) && matches!(trusting, Trusting::Pins(_)) =>
            {
                self.state = State::ReadingChain { instead_of, date };
                return vec![DiscoveryEffect::ReadChain];
            }
            Err(error) => return self.failed(error, now),
        };
        match document.signature(token.id().as_str()) {
            None => self.unsigned(token, &document, date, now),
            Some(signature) => match self.signed(token, trusting, &document, signature, date) {
                Err(error) => finished(Err(error)),
                Ok(candidate) => self.settle(Box::new(candidate)),
            },
        }
    }

    /// A candidate goes on at the endpoint that was chosen.
    fn settle(&mut self, candidate: Box<Candidate>) -> Vec<DiscoveryEffect> {
        let elsewhere = candidate.trust.endpoint != candidate.trust.advertised;
        if self.request.choice == EndpointChoice::Advertised && elsewhere {
            self.reroute(candidate, None)
        } else {
            self.verify(candidate)
        }
    }

    /// The CA is known beforehand, or public ones are believed first.
    fn introduced(
        &mut self,
        ca: Option<CertificateBundle>,
        seen: Option<Document>,
        date: Option<Timestamp>,
    ) -> Vec<DiscoveryEffect> {
        let Some(ca) = ca else {
            self.state = State::VerifyingPublicly {
                seen: seen.map(Box::new),
                date,
            };
            return vec![DiscoveryEffect::VerifyChain {
                host: self.host(&self.request.endpoint),
                ca: Anchors::Public,
            }];
        };
        // What an unproven server says of itself is worth telling only if it can be read.
        let advertised = seen.and_then(|document| {
            let kubeconfig = Kubeconfig::parse(document.kubeconfig.as_bytes()).ok()?;
            let cluster = kubeconfig.resolve().ok()?.cluster;
            Some((Endpoint::parse(&cluster.server).ok()?, cluster.name))
        });
        let (advertised, name) = match advertised {
            Some((endpoint, name)) => (endpoint, name),
            None => (self.request.endpoint.clone(), String::new()),
        };
        let trust = self.trust(ca, advertised, name);
        self.verify(Box::new(Candidate {
            trust,
            date,
            dropped: 0,
        }))
    }

    fn publicly_verified(
        &mut self,
        seen: Option<Box<Document>>,
        date: Option<Timestamp>,
    ) -> Vec<DiscoveryEffect> {
        match seen {
            Some(document) => match self.of_document(&document) {
                Ok(trust) => self.verify(Box::new(Candidate {
                    trust,
                    date,
                    dropped: 0,
                })),
                Err(error) => finished(Err(error)),
            },
            None => {
                self.state = State::ReadingTrusted { date };
                let purpose = "read kube-public/cluster-info";
                vec![DiscoveryEffect::SendTrusted(Request::get(
                    CLUSTER_INFO_PATH,
                    purpose,
                ))]
            }
        }
    }

    fn refreshed(&mut self, answer: Answer, date: Option<Timestamp>) -> Vec<DiscoveryEffect> {
        let endpoint = self.request.endpoint.to_string();
        let document = answer.and_then(|response| Document::read(&endpoint, response));
        match document.and_then(|document| self.of_document(&document)) {
            Ok(trust) => self.verify(Box::new(Candidate {
                trust,
                date,
                dropped: 0,
            })),
            Err(error) => finished(Err(error)),
        }
    }

    /// A pinned CA that stands in the server's own chain needs no cluster-info.
    fn vouched_by_chain(
        &mut self,
        instead_of: HandshakeError,
        chain: &CertificateBundle,
        date: Option<Timestamp>,
    ) -> Vec<DiscoveryEffect> {
        let Vouching::Token {
            trusting: Trusting::Pins(pins),
            ..
        } = &self.request.vouching
        else {
            return finished(Err(instead_of));
        };
        let kept = pinned_only(chain, pins);
        if kept.is_empty() {
            return finished(Err(instead_of));
        }
        let told = Progress::WithoutClusterInfo {
            endpoint: self.request.endpoint.to_string(),
            id: instead_of.id(),
            reason: instead_of.to_string(),
        };
        let trust = self.trust(kept, self.request.endpoint.clone(), String::new());
        let mut effects = vec![DiscoveryEffect::Tell(told)];
        effects.extend(self.verify(Box::new(Candidate {
            trust,
            date,
            dropped: 0,
        })));
        effects
    }

    fn trust(&self, ca: CertificateBundle, advertised: Endpoint, name: String) -> Trust {
        let server_name = match &self.request.vouching {
            Vouching::Authority { server_name, .. } => server_name.clone(),
            Vouching::Token { .. } => None,
        };
        Trust {
            ca,
            endpoint: self.request.endpoint.clone(),
            advertised,
            cluster_name: Some(name)
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| DEFAULT_CLUSTER_NAME.to_owned()),
            server_name,
        }
    }

    fn host(&self, endpoint: &Endpoint) -> Host {
        match &self.request.vouching {
            Vouching::Authority {
                server_name: Some(name),
                ..
            } => name.clone(),
            _ => endpoint.host().clone(),
        }
    }

    /// cluster-info is not signed for this token: expired, unknown, or not signed yet.
    fn unsigned(
        &mut self,
        token: &BootstrapToken,
        document: &Document,
        date: Option<Timestamp>,
        now: Timestamp,
    ) -> Vec<DiscoveryEffect> {
        let id = token.id().to_string();
        if let Some(at) = document
            .expired
            .as_ref()
            .and_then(|expired| expired.get(&id))
        {
            return finished(Err(HandshakeError::TokenExpired { id, at }));
        }
        let young = document
            .created
            .is_some_and(|created| date.unwrap_or(now).duration_since(created) < YOUNG);
        let patience = if document.signers() == 0 || young {
            SIGNER_PATIENCE
        } else {
            FRESH_TOKEN_PATIENCE
        };
        let patience = patience.max(self.request.patience);
        let first_seen = self.unsigned_since.is_none();
        let since = *self.unsigned_since.get_or_insert(now);
        let until = add(now, self.next_pause());
        if until.duration_since(since) > patience {
            return finished(Err(HandshakeError::TokenUnknown {
                id,
                others: document.signers(),
                may_have_expired: document.expired.is_none(),
            }));
        }
        self.state = State::AwaitingSignature { until };
        if first_seen {
            vec![DiscoveryEffect::Tell(Progress::SignatureAwaited {
                token_id: id,
            })]
        } else {
            Vec::new()
        }
    }

    /// A signed cluster-info becomes a candidate: signature, kubeconfig, pins.
    fn signed(
        &self,
        token: &BootstrapToken,
        trusting: &Trusting,
        document: &Document,
        signature: &str,
        date: Option<Timestamp>,
    ) -> Result<Candidate, HandshakeError> {
        let invalid = |reason: String| HandshakeError::SignatureInvalid {
            id: token.id().to_string(),
            reason,
        };
        jws::verify_detached(signature, document.kubeconfig.as_bytes(), token)
            .map_err(|error| invalid(error.to_string()))?;
        // From here on the text is the word of somebody who knows the token.
        let mut trust = self.of_document(document)?;
        let shown = trust.ca.len();
        if let Trusting::Pins(pins) = trusting {
            trust.ca = keep(&trust.ca, pins)?;
        }
        Ok(Candidate {
            dropped: shown - trust.ca.len(),
            trust,
            date,
        })
    }

    /// What a cluster-info that somebody vouches for says.
    fn of_document(&self, document: &Document) -> Result<Trust, HandshakeError> {
        let unusable = |seen: String| HandshakeError::NotKubernetes {
            endpoint: self.request.endpoint.to_string(),
            seen: format!("the kubeconfig in cluster-info cannot be used: {seen}"),
        };
        let cluster = Kubeconfig::parse(document.kubeconfig.as_bytes())
            .and_then(|kubeconfig| kubeconfig.resolve())
            .map_err(|error| unusable(error.to_string()))?
            .cluster;
        // A path would lead to a file of this machine: only embedded certificates count.
        let Some(Material::Data(pem)) = &cluster.certificate_authority else {
            return Err(unusable("it holds no CA certificate".to_owned()));
        };
        let bundle =
            CertificateBundle::from_pem(pem).map_err(|error| unusable(error.to_string()))?;
        let advertised =
            Endpoint::parse(&cluster.server).unwrap_or_else(|_| self.request.endpoint.clone());
        Ok(self.trust(bundle, advertised, cluster.name))
    }

    fn verify(&mut self, candidate: Box<Candidate>) -> Vec<DiscoveryEffect> {
        let host = self.host(&candidate.trust.endpoint);
        let ca = Anchors::Given(candidate.trust.ca.clone());
        self.state = State::Verifying(candidate);
        vec![DiscoveryEffect::VerifyChain { host, ca }]
    }

    fn may_reroute(&self, candidate: &Candidate, fault: &ChainFault) -> bool {
        self.request.choice == EndpointChoice::TypedOrAdvertised
            && matches!(fault, ChainFault::NameMismatch { .. })
            && candidate.trust.endpoint != candidate.trust.advertised
    }

    fn reroute(
        &mut self,
        mut candidate: Box<Candidate>,
        instead_of: Option<Box<HandshakeError>>,
    ) -> Vec<DiscoveryEffect> {
        let trust = &mut candidate.trust;
        let told = Progress::Rerouted {
            from: trust.endpoint.to_string(),
            to: trust.advertised.to_string(),
        };
        trust.endpoint = trust.advertised.clone();
        let connect = DiscoveryEffect::Connect(trust.endpoint.clone());
        self.state = State::Rerouting {
            candidate,
            instead_of,
        };
        vec![DiscoveryEffect::Tell(told), connect]
    }

    /// Why the recorded chain is refused, in the terms of the user.
    fn judge(&self, candidate: &Candidate, fault: ChainFault, now: Timestamp) -> HandshakeError {
        let trust = &candidate.trust;
        let advertised = Some(&trust.advertised)
            .filter(|advertised| **advertised != trust.endpoint)
            .map(ToString::to_string);
        fault.into_error(&trust.endpoint, advertised, candidate.date, now)
    }

    /// Something failed: try again within the patience if that can help, else end.
    fn failed(&mut self, error: HandshakeError, now: Timestamp) -> Vec<DiscoveryEffect> {
        let until = add(now, self.next_pause());
        let patient = until.duration_since(self.started) <= self.request.patience;
        if error.class() == ErrorClass::Terminal || !patient {
            return finished(Err(error));
        }
        self.state = State::AwaitingNetwork { until };
        vec![DiscoveryEffect::Tell(Progress::Retrying {
            id: error.id(),
            reason: error.to_string(),
            at: until,
        })]
    }

    fn next_pause(&mut self) -> SignedDuration {
        let pause = FIRST_PAUSE.as_millis_f64() * 1.5f64.powi(self.pauses.min(16) as i32);
        self.pauses += 1;
        SignedDuration::from_millis(pause as i64).min(LONGEST_PAUSE)
    }
}

/// cluster-info is not to be had here, and that alone.
const fn is_withheld(error: &HandshakeError) -> bool {
    matches!(
        error,
        HandshakeError::DiscoveryClosed { .. } | HandshakeError::ClusterInfoMissing { .. }
    )
}

fn keep(bundle: &CertificateBundle, pins: &[CaPin]) -> Result<CertificateBundle, HandshakeError> {
    let kept = pinned_only(bundle, pins);
    if kept.is_empty() {
        return Err(HandshakeError::PinMismatch {
            expected: pins.to_vec(),
            seen: pins_for(bundle),
        });
    }
    Ok(kept)
}

fn trusted(candidate: Candidate) -> Vec<DiscoveryEffect> {
    let Candidate { trust, dropped, .. } = candidate;
    let told = Progress::Trusted {
        endpoint: trust.endpoint.to_string(),
        advertised: trust.advertised.to_string(),
        ca_pins: pins_for(&trust.ca)
            .iter()
            .map(ToString::to_string)
            .collect(),
        dropped_certificates: dropped,
    };
    vec![
        DiscoveryEffect::Tell(told),
        DiscoveryEffect::Finished(Ok(Box::new(trust))),
    ]
}

fn finished(result: Result<Box<Trust>, HandshakeError>) -> Vec<DiscoveryEffect> {
    vec![DiscoveryEffect::Finished(result)]
}

fn add(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}
