//! Who it is that answers: the judgement of a machine's key before anything is said to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use russh::client::{DisconnectReason, Handler};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Certificate, HashAlg, PublicKey, PublicKeyOrCertificate};

use crate::MachineError;
use crate::known_hosts::{KnownHosts, Place, Verdict, append, glob, line_for};
use crate::settings::{Settings, Strict};

/// The largest known_hosts file that is read, in bytes.
const MOST_KNOWN_HOSTS: u64 = 32 << 20;

/// Why a session ended, as far as it is known.
pub(super) type End = Arc<Mutex<Option<String>>>;

/// Checks the key of one machine; listens for the end of its session.
pub(super) struct Guard {
    known: KnownHosts,
    name: String,
    /// Where the host has a port of its own: its name without it. Keys known by that name are good too.
    plain_name: Option<String>,
    principal: String,
    strict: Strict,
    hash: bool,
    file: Option<PathBuf>,
    end: End,
}

/// Why a session came to nothing.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The machine is not who it should be.
    Host(Box<MachineError>),
    /// Something in the protocol.
    Protocol(russh::Error),
}

impl From<russh::Error> for Refusal {
    fn from(error: russh::Error) -> Self {
        Self::Protocol(error)
    }
}

impl Guard {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// When one is there and cannot be read.
    pub(super) fn new(settings: &Settings, end: End) -> Result<Self, MachineError> {
        let mut known = KnownHosts::default();
        for file in settings
            .user_known_hosts
            .iter()
            .chain(&settings.global_known_hosts)
        {
            if let Some(text) = read(file)? {
                known.read(file, &text);
            }
        }
        if let Some(file) = &settings.revoked_host_keys {
            let text = read(file)?
                .ok_or_else(|| unusable(file, "read", std::io::ErrorKind::NotFound.into()))?;
            if text.starts_with("SSHKRL") {
                return Err(MachineError::SettingsUnusable {
                    host: settings.typed.clone(),
                    detail: "RevokedHostKeys names a KRL; only lists of keys are supported"
                        .to_owned(),
                });
            }
            known.read_revoked(file, &text);
        }
        let name = settings.search_name();
        let plain_name = (settings.host_key_alias.is_none() && settings.port != 22)
            .then(|| settings.hostname.to_lowercase());
        Ok(Self {
            known,
            name,
            plain_name,
            principal: settings.principal(),
            strict: settings.strict,
            hash: settings.hash_known_hosts,
            file: settings.user_known_hosts.first().cloned(),
            end,
        })
    }

    /// The algorithms of the keys that are known for the machine.
    pub(super) fn known_algorithms(&self) -> Vec<&str> {
        let mut found = self.known.algorithms(&self.name);
        if let Some(plain) = &self.plain_name
            && found.is_empty()
        {
            found = self.known.algorithms(plain);
        }
        found
    }

    /// Whether the machine may show a certificate.
    pub(super) fn takes_certificates(&self) -> bool {
        self.names().any(|name| self.known.has_authority(name))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.plain_name.as_deref())
    }

    fn judge(&mut self, shown: &PublicKeyOrCertificate) -> Result<(), MachineError> {
        if let Some(certificate) = shown.certificate()
            && self.judge_certificate(certificate)?
        {
            return Ok(());
        }
        let key = shown.public_key();
        let bytes = wire_form(&key, &self.name)?;
        let mut verdict = self.known.judge(&self.name, &bytes);
        if let (Verdict::Unknown, Some(plain)) = (&verdict, &self.plain_name)
            && self.known.judge(plain, &bytes) == Verdict::Known
        {
            verdict = Verdict::Known;
        }
        match verdict {
            Verdict::Known => Ok(()),
            Verdict::Unknown => self.unknown(&key, &bytes),
            Verdict::Changed(Place { file, line }) => Err(MachineError::HostKeyChanged {
                host: self.name.clone(),
                algorithm: key.algorithm().to_string(),
                fingerprint: fingerprint(&key),
                file,
                line,
            }),
            Verdict::Revoked(place) => Err(self.revoked(&key, place)),
        }
    }

    fn revoked(&self, key: &PublicKey, Place { file, line }: Place) -> MachineError {
        MachineError::HostKeyRevoked {
            host: self.name.clone(),
            fingerprint: fingerprint(key),
            file,
            line,
        }
    }

    /// Whether a certificate vouches for the machine; not so when its authority is nobody we know.
    fn judge_certificate(&self, certificate: &Certificate) -> Result<bool, MachineError> {
        let authority = PublicKey::new(certificate.signature_key().clone(), "");
        let signer = wire_form(&authority, &self.name)?;
        let own = PublicKey::new(certificate.public_key().clone(), "");
        for (key, bytes) in [(&authority, &signer), (&own, &wire_form(&own, &self.name)?)] {
            if let Some(place) = self
                .names()
                .find_map(|name| self.known.revocation(name, bytes))
            {
                return Err(self.revoked(key, place));
            }
        }
        if !self
            .names()
            .any(|name| self.known.is_authority(name, &signer))
        {
            return Ok(false);
        }
        let invalid = |detail: String| MachineError::HostCertificateInvalid {
            host: self.principal.clone(),
            detail,
        };
        if certificate.cert_type() != CertType::Host {
            return Err(invalid("it is a user's certificate".to_owned()));
        }
        let principals = certificate.valid_principals();
        if !principals.is_empty()
            && !principals
                .iter()
                .any(|name| glob(&name.to_lowercase(), &self.principal))
        {
            return Err(invalid(format!("it is for {}", principals.join(", "))));
        }
        if let Some((option, _)) = certificate.critical_options().iter().next() {
            return Err(invalid(format!(
                "its critical option {option} is not known"
            )));
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        if now < certificate.valid_after() {
            return Err(invalid("it is not valid yet".to_owned()));
        }
        if now >= certificate.valid_before() {
            return Err(invalid("it has expired".to_owned()));
        }
        let trusted = authority.fingerprint(HashAlg::Sha256);
        certificate
            .validate_at(now, [&trusted])
            .map_err(|error| invalid(error.to_string()))?;
        Ok(true)
    }

    fn unknown(&mut self, key: &PublicKey, bytes: &[u8]) -> Result<(), MachineError> {
        let file = self
            .file
            .clone()
            .unwrap_or_else(|| PathBuf::from("~/.ssh/known_hosts"));
        if self.strict == Strict::Refuse {
            return Err(MachineError::HostKeyUnknown {
                host: self.name.clone(),
                algorithm: key.algorithm().to_string(),
                fingerprint: fingerprint(key),
                line: line_for(&self.name, bytes, None),
                file,
            });
        }
        let mut salt = [0; 20];
        let salted = self.hash && aws_lc_rs::rand::fill(&mut salt).is_ok();
        let line = line_for(&self.name, bytes, salted.then_some(salt.as_slice()));
        if let Some(file) = &self.file {
            append(file, &line).map_err(|error| unusable(file, "written", error))?;
        }
        // The machine shows its key again when the session's keys are renewed.
        self.known.read(&file, &line);
        Ok(())
    }
}

fn wire_form(key: &PublicKey, host: &str) -> Result<Vec<u8>, MachineError> {
    key.to_bytes().map_err(|error| MachineError::Protocol {
        host: host.to_owned(),
        detail: error.to_string(),
    })
}

fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn unusable(file: &Path, action: &'static str, error: std::io::Error) -> MachineError {
    MachineError::KnownHostsUnusable {
        file: file.to_owned(),
        action,
        source: Arc::new(error),
    }
}

/// The text of a file, if it is there.
fn read(file: &Path) -> Result<Option<String>, MachineError> {
    use std::io::{ErrorKind, Read};
    let opened = match std::fs::File::open(file) {
        Ok(opened) => opened,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unusable(file, "read", error)),
    };
    let mut bytes = Vec::new();
    let length = opened.take(MOST_KNOWN_HOSTS + 1).read_to_end(&mut bytes);
    match length {
        Ok(length) if length as u64 <= MOST_KNOWN_HOSTS => {
            Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Ok(_) => Err(unusable(file, "read", ErrorKind::FileTooLarge.into())),
        Err(error) => Err(unusable(file, "read", error)),
    }
}

impl Handler for Guard {
    type Error = Refusal;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        match self.judge(shown) {
            Ok(()) => Ok(true),
            Err(error) => Err(Refusal::Host(Box::new(error))),
        }
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<Self::Error>,
    ) -> Result<(), Self::Error> {
        let text = match &reason {
            DisconnectReason::ReceivedDisconnect(told) => {
                format!("the machine said: {}", told.message.trim())
            }
            DisconnectReason::Error(Refusal::Protocol(error)) => detail(error),
            DisconnectReason::Error(Refusal::Host(error)) => error.to_string(),
        };
        self.end.lock().get_or_insert(text);
        match reason {
            DisconnectReason::ReceivedDisconnect(_) => Ok(()),
            DisconnectReason::Error(error) => Err(error),
        }
    }
}

/// A failure of the protocol in words that do not need its source.
pub(super) fn detail(error: &russh::Error) -> String {
    match error {
        russh::Error::Disconnect | russh::Error::HUP => "the machine closed it".to_owned(),
        russh::Error::KeepaliveTimeout => "the machine gives no sign of life any more".to_owned(),
        russh::Error::IO(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the machine closed it".to_owned()
        }
        russh::Error::IO(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            "the machine takes nothing in any more".to_owned()
        }
        other => other.to_string(),
    }
}
