//! One connection, from settings to login, and what it is good for: sessions and ways further on.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use russh::client::{self, Handle, Msg};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Channel, ChannelOpenFailure, cipher};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::dial::{self, Words};
use super::guard::{End, Guard, Refusal, detail};
use super::jump::Key;
use super::wire::{Cuttable, Wire};
use super::{Inner, login};
use crate::settings::{Settings, resolve};
use crate::{MachineError, SshTarget};

/// How many sessions run side by side: OpenSSH allows ten (`MaxSessions`).
const MOST_SESSIONS: usize = 8;
/// How long the end of a connection may take when it is ended in good order.
const TO_CLOSE: Duration = Duration::from_millis(500);
/// After how long the keys of a session are renewed. Idle sessions were seen to die at it.
const REKEY_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// An open connection, logged in. Dropping it ends it.
pub(super) struct Connection {
    label: String,
    user: String,
    handle: Handle<Guard>,
    end: End,
    closed: AtomicBool,
    sessions: Semaphore,
    cut: CancellationToken,
    _cut_when_dropped: DropGuard,
    /// What it runs through; goes when nobody needs it any more.
    through: Option<Arc<Self>>,
}

/// Opens a connection; `own` is what it is among the jump hosts, if it is one.
pub(super) fn open(
    client: Arc<Inner>,
    target: SshTarget,
    own: Option<Key>,
) -> BoxFuture<'static, Result<Arc<Connection>, MachineError>> {
    async move {
        let settings = resolve(&target, &client.options, &client.resolvers).await?;
        let limit = settings
            .connect_timeout
            .unwrap_or(client.options.connect_timeout);
        let mut through = None;
        let mut words = None;
        let wire = if let Some((last, before)) = settings.jumps.split_last() {
            let key = Key::new(last, before, &target);
            let jump = client.jumps.pass(&client, key, own.as_ref()).await?;
            let wire = dial::through(&jump, &settings, limit).await?;
            through = Some(jump);
            wire
        } else if let Some(command) = &settings.proxy_command {
            let (wire, said) = dial::by_command(&settings, command)?;
            words = Some(said);
            wire
        } else {
            dial::straight(&settings, limit).await?
        };
        let opening = Opening {
            client: &client,
            target: &target,
            settings: &settings,
        };
        opening.log_in(wire, through, words).await.map(Arc::new)
    }
    .boxed()
}

struct Opening<'a> {
    client: &'a Inner,
    target: &'a SshTarget,
    settings: &'a Settings,
}

impl Opening<'_> {
    async fn log_in(
        &self,
        wire: Box<dyn Wire>,
        through: Option<Arc<Connection>>,
        words: Option<Words>,
    ) -> Result<Connection, MachineError> {
        let limit = self.client.options.login_timeout;
        let cut = CancellationToken::new();
        let cut_when_dropped = cut.clone().drop_guard();
        let end = End::default();
        let label = self.target.label().to_owned();
        let interval = self
            .settings
            .alive_interval
            .unwrap_or(self.client.options.alive_interval);
        let patience =
            interval.saturating_mul(u32::try_from(self.settings.alive_count).unwrap_or(3).max(1));
        let work = async {
            let settings = self.settings.clone();
            let its_end = Arc::clone(&end);
            // Files may lie on slow disks.
            let guard = tokio::task::spawn_blocking(move || Guard::new(&settings, its_end));
            let guard = guard.await.map_err(|error| {
                MachineError::local("read known_hosts", io::Error::other(error))
            })??;
            let config = Arc::new(self.config(&guard, interval));
            let wire = Cuttable::new(wire, &cut, patience);
            let connected = client::connect_stream(config, wire, guard).await;
            let mut handle = match connected {
                Ok(handle) => handle,
                Err(refusal) => return Err(self.refused(refusal, words).await),
            };
            login::log_in(&mut handle, self.client, self.target, self.settings, &end).await?;
            Ok(handle)
        };
        let handle = timeout(limit, work).await.unwrap_or_else(|_| {
            Err(MachineError::TimedOut {
                host: label.clone(),
                what: "the SSH greeting and login",
                after: limit,
            })
        })?;
        Ok(Connection {
            label,
            user: self.settings.user.clone(),
            handle,
            end,
            closed: AtomicBool::new(false),
            sessions: Semaphore::new(MOST_SESSIONS),
            cut,
            _cut_when_dropped: cut_when_dropped,
            through,
        })
    }

    fn config(&self, guard: &Guard, interval: Duration) -> client::Config {
        let mut config = client::Config::default();
        config.limits.rekey_time_limit = REKEY_AFTER;
        config.keepalive_interval = Some(interval);
        config.keepalive_max = self.settings.alive_count;
        // Both are strong; this one has hardware on nearly every machine.
        let mut ciphers = config.preferred.cipher.to_vec();
        ciphers.sort_by_key(|name| *name != cipher::AES_256_GCM);
        config.preferred.cipher = ciphers.into();
        let kinds = kinds_of_keys();
        if guard.takes_certificates() {
            config.preferred.host_key_certificates = kinds.clone().into();
        }
        let known = guard.known_algorithms();
        let mut keys = kinds;
        keys.sort_by_key(|kind| !known.iter().any(|name| is_of(kind, name)));
        config.preferred.key = keys.into();
        config
    }

    async fn refused(&self, refusal: Refusal, words: Option<Words>) -> MachineError {
        let host = self.target.label().to_owned();
        let error = match refusal {
            Refusal::Host(error) => return *error,
            Refusal::Protocol(error) => error,
        };
        if let Some(words) = words {
            let said = words.last().await;
            let detail = if said.is_empty() {
                detail(&error)
            } else {
                said
            };
            return MachineError::ProxyCommandFailed { host, detail };
        }
        match error {
            russh::Error::Disconnect | russh::Error::HUP | russh::Error::IO(_) => {
                MachineError::ConnectionLost {
                    host,
                    detail: format!("{}, before the login", detail(&error)),
                }
            }
            russh::Error::NoCommonAlgo { kind, theirs, .. } => MachineError::Protocol {
                host,
                detail: format!(
                    "no {kind:?} algorithm in common; it offers {}",
                    theirs.join(", ")
                ),
            },
            other => MachineError::Protocol {
                host,
                detail: other.to_string(),
            },
        }
    }
}

/// The kinds of host keys that we take, best first. SHA-1 is not among them.
fn kinds_of_keys() -> Vec<Algorithm> {
    let curves = [
        EcdsaCurve::NistP256,
        EcdsaCurve::NistP384,
        EcdsaCurve::NistP521,
    ];
    let hashes = [HashAlg::Sha512, HashAlg::Sha256];
    let mut kinds = vec![Algorithm::Ed25519];
    kinds.extend(curves.map(|curve| Algorithm::Ecdsa { curve }));
    kinds.extend(hashes.map(|hash| Algorithm::Rsa { hash: Some(hash) }));
    kinds
}

/// Whether a kind is of the algorithm that a file names; there RSA is `ssh-rsa` with every hash.
fn is_of(kind: &Algorithm, name: &str) -> bool {
    match kind {
        Algorithm::Rsa { .. } => name == "ssh-rsa",
        other => other.as_str() == name,
    }
}

impl Connection {
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// How many machines it runs through.
    pub(super) fn jumps(&self) -> usize {
        self.through.as_ref().map_or(0, |jump| jump.jumps() + 1)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed) || self.handle.is_closed()
    }

    /// Ends it in good order, as far as the machine answers.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        let goodbye = self
            .handle
            .disconnect(russh::Disconnect::ByApplication, "", "en");
        if let Ok(Ok(())) = timeout(TO_CLOSE, goodbye).await {
            let _ = timeout(TO_CLOSE, async {
                while !self.handle.is_closed() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
        }
        self.cut.cancel();
    }

    /// Takes a place for one session; waits until one is free. It must be given back.
    pub(super) async fn take_place(&self) -> Result<(), MachineError> {
        let place = self.sessions.acquire().await.map_err(|_| self.lost())?;
        place.forget();
        Ok(())
    }

    /// Gives the place of a session back.
    pub(super) fn give_back(&self) {
        self.sessions.add_permits(1);
    }

    /// A new channel for a session.
    pub(super) async fn channel(&self) -> Result<Channel<Msg>, MachineError> {
        if self.is_closed() {
            return Err(self.lost());
        }
        match self.handle.channel_open_session().await {
            Ok(channel) => Ok(channel),
            Err(russh::Error::ChannelOpenFailure(reason)) => Err(MachineError::SessionRefused {
                host: self.label.clone(),
                detail: words(&reason).to_owned(),
            }),
            Err(_) => Err(self.lost()),
        }
    }

    /// A way from this machine to a port that it can reach.
    pub(super) async fn forward(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Box<dyn Wire>, MachineError> {
        let opened = self
            .handle
            .channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0);
        match opened.await {
            Ok(channel) => Ok(Box::new(channel.into_stream())),
            Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed)) => {
                let source = io::Error::other(format!("{} cannot connect to it", self.label));
                Err(MachineError::Unreachable {
                    address: format!("{host}:{port}"),
                    source: Arc::new(source),
                })
            }
            Err(russh::Error::ChannelOpenFailure(reason)) => Err(MachineError::JumpFailed {
                jump: self.label.clone(),
                source: Arc::new(MachineError::SessionRefused {
                    host: self.label.clone(),
                    detail: format!("forwarding: {}", words(&reason)),
                }),
            }),
            Err(_) => Err(MachineError::JumpFailed {
                jump: self.label.clone(),
                source: Arc::new(self.lost()),
            }),
        }
    }

    /// That it broke, and how as far as that is known.
    pub(super) fn lost(&self) -> MachineError {
        let told = self.end.lock().clone();
        let detail = if self.closed.load(Ordering::Relaxed) {
            "it was closed here".to_owned()
        } else {
            told.unwrap_or_else(|| "the machine closed it".to_owned())
        };
        MachineError::ConnectionLost {
            host: self.label.clone(),
            detail,
        }
    }
}

const fn words(reason: &ChannelOpenFailure) -> &'static str {
    match reason {
        ChannelOpenFailure::AdministrativelyProhibited => "it is not allowed",
        ChannelOpenFailure::ConnectFailed => "it failed",
        ChannelOpenFailure::UnknownChannelType => "it does not know how",
        ChannelOpenFailure::ResourceShortage => "it has too many already",
        _ => "it gives no reason",
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("label", &self.label)
            .field("user", &self.user)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
