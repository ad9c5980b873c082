//! The joining half of discovery, as a state machine: token and pins in, a trusted cluster out.
//!
//! Order (kubeadm 1.36's token discovery, on one connection): connect and record the certificate
//! chain; read cluster-info anonymously; check its signature with the token; keep only the CA
//! certificates whose key is pinned; demand that the recorded chain was issued by one of those and
//! is valid for the typed host. Only then is the connection trusted, and only then may it carry
//! the token. Deviations from kubeadm: the typed endpoint is used (the advertised one only on
//! request, and only when the certificate is not valid for the typed one), and a pin vouches for
//! no other certificate of the bundle. Knows no socket, clock or TLS library.

use std::mem;

use jiff::{SignedDuration, Timestamp};
use muster_identity::{
    CertificateBundle, Endpoint, Host, Kubeconfig, jws,
    kubeconfig::Material,
    pin::{pinned_only, pins_for},
};

use super::CLUSTER_INFO_PATH;
use super::document::Document;
use super::trust::{ChainFault, DiscoveryRequest, EndpointChoice, Trust, Trusting};
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
        ca: CertificateBundle,
    },
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
    /// A connection to the advertised endpoint is being made for a candidate.
    Rerouting {
        candidate: Box<Trust>,
        date: Option<Timestamp>,
        dropped: usize,
    },
    /// The chain is being verified for a candidate.
    Verifying {
        candidate: Box<Trust>,
        date: Option<Timestamp>,
        dropped: usize,
    },
    /// Over.
    Finished,
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
        let effects = vec![
            DiscoveryEffect::Tell(Progress::DiscoveryStarted {
                endpoint: request.endpoint.to_string(),
            }),
            DiscoveryEffect::Connect(request.endpoint.clone()),
        ];
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
            (
                State::Verifying {
                    candidate, dropped, ..
                },
                DiscoveryEvent::ChainVerified,
            ) => trusted(candidate, dropped),
            (
                State::Verifying {
                    candidate,
                    date,
                    dropped,
                },
                DiscoveryEvent::ChainRefused(fault),
            ) => {
                if self.may_reroute(&candidate, &fault) {
                    self.reroute(candidate, date, dropped)
                } else {
                    finished(Err(self.judge(&candidate, fault, date, now)))
                }
            }
            (
                State::Rerouting {
                    candidate,
                    date,
                    dropped,
                },
                DiscoveryEvent::Connected,
            ) => self.verify(candidate, date, dropped),
            (State::Rerouting { .. }, DiscoveryEvent::ConnectFailed(error)) => finished(Err(error)),
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
        let document = match Document::read(&self.request.endpoint.to_string(), response) {
            Ok(document) => document,
            Err(error) => return self.failed(error, now),
        };
        match document.signature(self.request.token.id().as_str()) {
            None => self.unsigned(&document, date, now),
            Some(signature) => match self.candidate(&document, signature) {
                Err(error) => finished(Err(error)),
                Ok((candidate, dropped)) => self.verify(candidate, date, dropped),
            },
        }
    }

    /// cluster-info is not signed for this token: expired, unknown, or not signed yet.
    fn unsigned(
        &mut self,
        document: &Document,
        date: Option<Timestamp>,
        now: Timestamp,
    ) -> Vec<DiscoveryEffect> {
        let id = self.request.token.id().to_string();
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

    /// A signed cluster-info becomes a candidate: signature, kubeconfig, pins. Also says how many
    /// certificates no pin vouches for.
    fn candidate(
        &self,
        document: &Document,
        signature: &str,
    ) -> Result<(Box<Trust>, usize), HandshakeError> {
        let token = &self.request.token;
        let invalid = |reason: String| HandshakeError::SignatureInvalid {
            id: token.id().to_string(),
            reason,
        };
        jws::verify_detached(signature, document.kubeconfig.as_bytes(), token)
            .map_err(|error| invalid(error.to_string()))?;
        // From here on the text is the word of somebody who knows the token.
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
        let kept = self.keep(&bundle)?;
        let dropped = bundle.len() - kept.len();
        Ok((
            Box::new(Trust {
                ca: kept,
                endpoint: self.request.endpoint.clone(),
                advertised: Endpoint::parse(&cluster.server)
                    .unwrap_or_else(|_| self.request.endpoint.clone()),
                cluster_name: Some(cluster.name)
                    .filter(|name| !name.is_empty())
                    .unwrap_or_else(|| DEFAULT_CLUSTER_NAME.to_owned()),
            }),
            dropped,
        ))
    }

    fn keep(&self, bundle: &CertificateBundle) -> Result<CertificateBundle, HandshakeError> {
        let Trusting::Pins(pins) = &self.request.trusting else {
            return Ok(bundle.clone());
        };
        let kept = pinned_only(bundle, pins);
        if kept.is_empty() {
            return Err(HandshakeError::PinMismatch {
                expected: pins.clone(),
                seen: pins_for(bundle),
            });
        }
        Ok(kept)
    }

    fn verify(
        &mut self,
        candidate: Box<Trust>,
        date: Option<Timestamp>,
        dropped: usize,
    ) -> Vec<DiscoveryEffect> {
        let host = candidate.endpoint.host().clone();
        let ca = candidate.ca.clone();
        self.state = State::Verifying {
            candidate,
            date,
            dropped,
        };
        vec![DiscoveryEffect::VerifyChain { host, ca }]
    }

    fn may_reroute(&self, candidate: &Trust, fault: &ChainFault) -> bool {
        self.request.choice == EndpointChoice::TypedOrAdvertised
            && matches!(fault, ChainFault::NameMismatch { .. })
            && candidate.endpoint != candidate.advertised
    }

    fn reroute(
        &mut self,
        mut candidate: Box<Trust>,
        date: Option<Timestamp>,
        dropped: usize,
    ) -> Vec<DiscoveryEffect> {
        let told = Progress::Rerouted {
            from: candidate.endpoint.to_string(),
            to: candidate.advertised.to_string(),
        };
        candidate.endpoint = candidate.advertised.clone();
        let connect = DiscoveryEffect::Connect(candidate.endpoint.clone());
        self.state = State::Rerouting {
            candidate,
            date,
            dropped,
        };
        vec![DiscoveryEffect::Tell(told), connect]
    }

    /// Why the recorded chain is refused, in the terms of the user.
    fn judge(
        &self,
        candidate: &Trust,
        fault: ChainFault,
        date: Option<Timestamp>,
        now: Timestamp,
    ) -> HandshakeError {
        let advertised = Some(&candidate.advertised)
            .filter(|advertised| **advertised != candidate.endpoint)
            .map(ToString::to_string);
        fault.into_error(&candidate.endpoint, advertised, date, now)
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

fn trusted(trust: Box<Trust>, dropped: usize) -> Vec<DiscoveryEffect> {
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
        DiscoveryEffect::Finished(Ok(trust)),
    ]
}

fn finished(result: Result<Box<Trust>, HandshakeError>) -> Vec<DiscoveryEffect> {
    vec![DiscoveryEffect::Finished(result)]
}

fn add(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}
