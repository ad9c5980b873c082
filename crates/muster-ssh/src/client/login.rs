//! Logging in: every credential that the settings allow, in the order of OpenSSH, each named when it does not serve.

use std::collections::VecDeque;
use std::path::Path;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::{Certificate, HashAlg, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, MethodSet};

use super::Inner;
use super::agent::Agent;
use super::credentials::{self, Identity, Private};
use super::guard::{End, Guard};
use crate::settings::Settings;
use crate::{MachineError, SshTarget};

/// How many rounds of questions a machine may ask.
const MOST_ROUNDS: usize = 8;

/// Logs in.
///
/// # Errors
/// When nothing serves; the error says what was tried.
pub(super) async fn log_in(
    handle: &mut Handle<Guard>,
    client: &Inner,
    target: &SshTarget,
    settings: &Settings,
    end: &End,
) -> Result<(), MachineError> {
    let mut login = Login {
        handle,
        settings,
        tried: Vec::new(),
        methods: Vec::new(),
        rsa_hash: None,
        done: false,
    };
    let result = login.try_all(client, target).await;
    if login.done {
        return Ok(());
    }
    if let Err(Gone) = result {
        let told = end
            .lock()
            .clone()
            .unwrap_or_else(|| "the machine closed it".to_owned());
        if login.tried.is_empty() {
            return Err(MachineError::ConnectionLost {
                host: target.label().to_owned(),
                detail: format!("{told}, during the login"),
            });
        }
        login
            .tried
            .push(format!("then the connection ended: {told}"));
    }
    Err(MachineError::AuthenticationFailed {
        host: target.label().to_owned(),
        user: settings.user.clone(),
        tried: login.tried,
        accepted: login.methods.iter().map(String::from).collect(),
    })
}

/// The connection ended.
struct Gone;

struct Login<'a> {
    handle: &'a mut Handle<Guard>,
    settings: &'a Settings,
    tried: Vec<String>,
    /// What the machine still accepts.
    methods: Vec<MethodKind>,
    /// The best hash for RSA signatures that the machine knows; asked for once.
    rsa_hash: Option<Option<HashAlg>>,
    done: bool,
}

impl Login<'_> {
    async fn try_all(&mut self, client: &Inner, target: &SshTarget) -> Result<(), Gone> {
        let user = self.settings.user.clone();
        let answer = self.handle.authenticate_none(&user).await;
        self.take(answer, None)?;
        if !self.done && self.accepts(MethodKind::PublicKey) {
            if self.settings.pubkey {
                self.keys(client).await?;
            } else {
                self.tried.push("keys: the settings forbid them".to_owned());
            }
        }
        let Some(password) = target.password.as_ref().filter(|_| !self.done) else {
            if !self.done && !self.accepts(MethodKind::PublicKey) {
                self.tried.push("no password was given".to_owned());
            }
            return Ok(());
        };
        if self.settings.keyboard_interactive && self.accepts(MethodKind::KeyboardInteractive) {
            self.questions(&user, password.expose()).await?;
        }
        if !self.done && self.settings.password && self.accepts(MethodKind::Password) {
            let answer = self
                .handle
                .authenticate_password(&user, password.expose())
                .await;
            self.take(answer, Some("the password".to_owned()))?;
        }
        Ok(())
    }

    fn accepts(&self, method: MethodKind) -> bool {
        self.methods.contains(&method)
    }

    /// Notes an answer. `what` is nothing for the question which methods there are.
    fn take(
        &mut self,
        answer: Result<AuthResult, russh::Error>,
        what: Option<String>,
    ) -> Result<(), Gone> {
        match answer {
            Ok(AuthResult::Success) => {
                self.done = true;
                Ok(())
            }
            Ok(AuthResult::Failure {
                remaining_methods,
                partial_success,
            }) => {
                self.failed(&remaining_methods, partial_success, what);
                if self.handle.is_closed() {
                    Err(Gone)
                } else {
                    Ok(())
                }
            }
            Err(error) => {
                self.tried
                    .extend(what.map(|what| format!("{what}: {error}")));
                if self.handle.is_closed() {
                    Err(Gone)
                } else {
                    Ok(())
                }
            }
        }
    }

    fn failed(&mut self, remaining: &MethodSet, partial: bool, what: Option<String>) {
        if !remaining.is_empty() {
            self.methods = remaining.to_vec();
        }
        let outcome = if partial {
            "accepted, but not enough"
        } else {
            "not accepted"
        };
        self.tried
            .extend(what.map(|what| format!("{what}: {outcome}")));
    }

    async fn keys(&mut self, client: &Inner) -> Result<(), Gone> {
        let settings = self.settings.clone();
        let read = tokio::task::spawn_blocking(move || credentials::read(&settings)).await;
        let (identities, certificates, problems) = read.unwrap_or_default();
        self.tried.extend(problems);
        // One at a time at the agent: its place is kept until the end of the login.
        let _place = client.agent_talks.acquire().await;
        let mut agent = None;
        match &self.settings.agent {
            Some(socket) => match Agent::open(socket, self.handle.agent_session_binding()).await {
                Ok(open) => agent = Some(open),
                Err(problem) => self.tried.push(problem),
            },
            None => self
                .tried
                .push("there is no agent (SSH_AUTH_SOCK)".to_owned()),
        }
        let held = agent
            .as_ref()
            .map_or_else(Vec::new, |agent| agent.identities.clone());
        let mut tries = order(
            &held,
            identities,
            certificates,
            self.settings.identities_only,
        );
        while let Some(one) = tries.pop_front() {
            if self.done || !self.accepts(MethodKind::PublicKey) {
                break;
            }
            self.try_key(one, agent.as_mut()).await?;
        }
        Ok(())
    }

    async fn try_key(&mut self, one: Try, agent: Option<&mut Agent>) -> Result<(), Gone> {
        let user = self.settings.user.clone();
        let label = one.label();
        let answer = match one {
            Try::Skip(_, _) => {
                self.tried.push(label);
                return Ok(());
            }
            Try::File(_, key, None) => {
                let hash = self.hash_for(key.public_key()).await;
                let key = PrivateKeyWithHashAlg::new(key, hash);
                self.handle.authenticate_publickey(&user, key).await
            }
            Try::File(_, key, Some(certificate)) => {
                self.handle
                    .authenticate_openssh_cert(&user, key, certificate)
                    .await
            }
            Try::Agent(identity) => {
                let Some(agent) = agent else { return Ok(()) };
                let hash = self.hash_for(&identity.public_key()).await;
                let signed = match identity {
                    AgentIdentity::PublicKey { key, .. } => {
                        let signer = &mut agent.client;
                        self.handle
                            .authenticate_publickey_with(&user, key, hash, signer)
                            .await
                    }
                    AgentIdentity::Certificate { certificate, .. } => {
                        let signer = &mut agent.client;
                        self.handle
                            .authenticate_certificate_with(&user, certificate, hash, signer)
                            .await
                    }
                };
                match signed {
                    Ok(answer) => Ok(answer),
                    Err(error) => {
                        self.tried
                            .push(format!("{label}: the agent does not sign: {error}"));
                        return if self.handle.is_closed() {
                            Err(Gone)
                        } else {
                            Ok(())
                        };
                    }
                }
            }
        };
        self.take(answer, Some(label))
    }

    /// The hash for an RSA key; others have their own.
    async fn hash_for(&mut self, key: &PublicKey) -> Option<HashAlg> {
        if !key.algorithm().is_rsa() {
            return None;
        }
        if self.rsa_hash.is_none() {
            let told = self.handle.best_supported_rsa_hash().await.ok().flatten();
            self.rsa_hash = Some(told.unwrap_or(Some(HashAlg::Sha512)));
        }
        self.rsa_hash.flatten()
    }

    /// Answers each hidden question with the password: what machines ask in place of a plain password.
    async fn questions(&mut self, user: &str, password: &str) -> Result<(), Gone> {
        let what = "the password, asked for interactively";
        let mut answer = self
            .handle
            .authenticate_keyboard_interactive_start(user, None)
            .await;
        for round in 0..MOST_ROUNDS {
            let prompts = match answer {
                Ok(KeyboardInteractiveAuthResponse::Success) => {
                    self.done = true;
                    return Ok(());
                }
                Ok(KeyboardInteractiveAuthResponse::Failure {
                    remaining_methods,
                    partial_success,
                }) => {
                    self.failed(&remaining_methods, partial_success, Some(what.to_owned()));
                    break;
                }
                Ok(KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. }) => prompts,
                Err(error) => {
                    self.tried.push(format!("{what}: {error}"));
                    break;
                }
            };
            if round > 0 && prompts.iter().any(|prompt| !prompt.echo) {
                // It asks again: the first answer was wrong, or it wants something that we do not have.
                self.tried.push(format!("{what}: it was not enough"));
                return Err(Gone);
            }
            let answers = prompts.iter().map(|prompt| {
                if prompt.echo {
                    String::new()
                } else {
                    password.to_owned()
                }
            });
            let answers = answers.collect();
            answer = self
                .handle
                .authenticate_keyboard_interactive_respond(answers)
                .await;
        }
        if self.handle.is_closed() {
            Err(Gone)
        } else {
            Ok(())
        }
    }
}

/// One credential to try.
enum Try {
    Agent(AgentIdentity),
    File(
        std::path::PathBuf,
        std::sync::Arc<russh::keys::PrivateKey>,
        Option<Certificate>,
    ),
    /// Something that cannot be tried, and why.
    Skip(std::path::PathBuf, String),
}

impl Try {
    fn label(&self) -> String {
        match self {
            Self::Agent(identity) => {
                let key = identity.public_key();
                let kind = match identity {
                    AgentIdentity::PublicKey { .. } => "key",
                    AgentIdentity::Certificate { .. } => "certificate",
                };
                let fingerprint = key.fingerprint(HashAlg::Sha256);
                format!("{kind} {fingerprint} ({}) of the agent", identity.comment())
            }
            Self::File(file, _, None) => format!("key {}", file.display()),
            Self::File(file, _, Some(_)) => format!("certificate for {}", file.display()),
            Self::Skip(file, why) => format!("key {}: {why}", file.display()),
        }
    }
}

fn same(one: &PublicKey, other: &PublicKey) -> bool {
    one.key_data() == other.key_data()
}

/// The order of OpenSSH: what the settings name and the agent holds, then what else the agent holds, then files.
fn order(
    held: &[AgentIdentity],
    identities: Vec<Identity>,
    certificates: Vec<Certificate>,
    only_named: bool,
) -> VecDeque<Try> {
    let is_named = |key: &PublicKey| {
        let by_file = identities
            .iter()
            .any(|one| one.public.as_ref().is_some_and(|public| same(public, key)));
        by_file
            || certificates
                .iter()
                .any(|one| one.public_key() == key.key_data())
    };
    let (named, others): (Vec<_>, Vec<_>) = held
        .iter()
        .cloned()
        .partition(|one| is_named(&one.public_key()));
    let mut tries: VecDeque<Try> = VecDeque::new();
    // A certificate file may belong to a key of the agent.
    for certificate in &certificates {
        let of = |one: &&AgentIdentity| one.public_key().key_data() == certificate.public_key();
        if let Some(one) = held.iter().find(of) {
            tries.push_back(Try::Agent(AgentIdentity::Certificate {
                certificate: certificate.clone(),
                comment: one.comment().to_owned(),
            }));
        }
    }
    tries.extend(named.into_iter().map(Try::Agent));
    if !only_named {
        tries.extend(others.into_iter().map(Try::Agent));
    }
    for identity in identities {
        let in_agent = identity
            .public
            .as_ref()
            .is_some_and(|key| held.iter().any(|one| same(&one.public_key(), key)));
        let own = identity.certificate;
        match identity.private {
            Private::Key(key) => {
                let of = |one: &&Certificate| one.public_key() == key.public_key().key_data();
                let fitting = certificates.iter().find(of).cloned().or(own);
                if let Some(certificate) = fitting {
                    tries.push_back(Try::File(
                        identity.file.clone(),
                        key.clone(),
                        Some(certificate),
                    ));
                }
                if !in_agent {
                    tries.push_back(Try::File(identity.file, key, None));
                }
            }
            Private::Unusable(why) if !in_agent => tries.push_back(Try::Skip(identity.file, why)),
            Private::Absent if !in_agent && !is_private_missing(&identity.file) => {}
            Private::Absent if !in_agent => {
                tries.push_back(Try::Skip(
                    identity.file,
                    "the agent does not hold it".to_owned(),
                ));
            }
            _ => {
                if let Some(certificate) = own {
                    let comment = identity.file.display().to_string();
                    tries.push_front(Try::Agent(AgentIdentity::Certificate {
                        certificate,
                        comment,
                    }));
                }
            }
        }
    }
    tries
}

/// Whether only a public half is there.
fn is_private_missing(file: &Path) -> bool {
    let is_there = file.exists();
    !is_there
        || std::fs::read_to_string(file)
            .is_ok_and(|text| PublicKey::from_openssh(text.trim()).is_ok())
}
