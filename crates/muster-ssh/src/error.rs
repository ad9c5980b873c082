//! Why a machine could not be reached, or did not do what it was asked: one closed list with stable ids.
//!
//! Each value says what happened and why (`Display`) and what to do now ([`MachineError::cure`]). No value holds a secret.
//! What a command itself says by its exit status is no error here.

mod cure;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $exit:literal, $transient:literal;)+) => {
        /// The kind of a [`MachineError`], without its values: what scripts match on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum MachineErrorKind { $($(#[$doc])* $name,)+ }

        impl MachineErrorKind {
            /// Every kind, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable kebab-case id.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)+ }
            }

            /// The process exit code of a command that ends for this reason alone: 100s the way to a machine,
            /// 110s who it is and who we are, 120s what it was asked to do. Never reused.
            pub const fn exit_code(self) -> u8 {
                match self { $(Self::$name => $exit,)+ }
            }

            /// Whether trying the same again can help without anybody changing anything.
            pub const fn is_transient(self) -> bool {
                match self { $(Self::$name => $transient,)+ }
            }
        }
    };
}

kinds! {
    /// The name has no address.
    NameUnknown = "ssh-name-unknown", 100, false;
    /// No packet comes back: no route, or nobody answers in time.
    Unreachable = "ssh-unreachable", 101, true;
    /// The machine answers and nothing listens on the port.
    Refused = "ssh-refused", 102, true;
    /// It answered once and then not in time.
    TimedOut = "ssh-timed-out", 103, true;
    /// An established connection broke.
    ConnectionLost = "ssh-connection-lost", 104, true;
    /// What answers does not speak SSH, or nothing that we speak.
    Protocol = "ssh-protocol", 105, false;
    /// A machine on the way could not be passed.
    JumpFailed = "ssh-jump-failed", 106, false;
    /// The `ProxyCommand` of the settings ended or could not be started.
    ProxyCommandFailed = "ssh-proxy-command-failed", 107, false;
    /// The settings cannot be read, or ask for what only the program `ssh` can do.
    SettingsUnusable = "ssh-settings-unusable", 108, false;
    /// No known_hosts file names a key of this machine.
    HostKeyUnknown = "ssh-host-key-unknown", 110, false;
    /// A known_hosts file names another key for this machine.
    HostKeyChanged = "ssh-host-key-changed", 111, false;
    /// A known_hosts file says that this key must not be trusted any more.
    HostKeyRevoked = "ssh-host-key-revoked", 112, false;
    /// The machine's certificate is not valid here or now.
    HostCertificateInvalid = "ssh-host-certificate-invalid", 113, false;
    /// A known_hosts file cannot be read or written.
    KnownHostsUnusable = "ssh-known-hosts-unusable", 114, false;
    /// The machine accepted none of our credentials.
    AuthenticationFailed = "ssh-authentication-failed", 115, false;
    /// sudo wants a password and none was given.
    SudoPasswordNeeded = "ssh-sudo-password-needed", 116, false;
    /// sudo did not accept the password.
    SudoPasswordWrong = "ssh-sudo-password-wrong", 117, false;
    /// sudo does not let this user become root.
    SudoNotAllowed = "ssh-sudo-not-allowed", 118, false;
    /// sudo is not there, or failed in another way.
    SudoFailed = "ssh-sudo-failed", 119, false;
    /// The machine has no such program.
    CommandNotFound = "ssh-command-not-found", 120, false;
    /// The machine opens no further session.
    SessionRefused = "ssh-session-refused", 121, true;
    /// A file could not be brought there.
    UploadFailed = "ssh-upload-failed", 122, false;
    /// What arrived is not what was sent.
    UploadCorrupt = "ssh-upload-corrupt", 123, true;
    /// This machine could not start the command or read the file.
    LocalFailed = "ssh-local-failed", 124, false;
}

/// Why a machine could not be reached, or could not begin or finish what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MachineError {
    /// The name has no address. Check the spelling and the resolver.
    #[error("{host} has no address")]
    NameUnknown {
        /// The name that was looked up.
        host: String,
        /// What the resolver said.
        #[source]
        source: Arc<io::Error>,
    },
    /// No packet comes back. Check address, routes and firewalls.
    #[error("{address} cannot be reached")]
    Unreachable {
        /// Address and port.
        address: String,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Nothing listens on the port. Check the port and that sshd runs.
    #[error("{address} refuses connections")]
    Refused {
        /// Address and port.
        address: String,
    },
    /// The machine fell silent. It is overloaded, or something on the way drops packets.
    #[error("{host} did not answer within {} s: {what}", after.as_secs_f32())]
    TimedOut {
        /// The machine.
        host: String,
        /// What was waited for, as a noun phrase.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// An established connection broke. Try again.
    #[error("the connection to {host} broke: {detail}")]
    ConnectionLost {
        /// The machine.
        host: String,
        /// How it ended.
        detail: String,
    },
    /// What answers does not speak SSH as we do. Check host and port.
    #[error("{host} does not speak SSH as expected: {detail}")]
    Protocol {
        /// The machine.
        host: String,
        /// What was wrong.
        detail: String,
    },
    /// A machine on the way could not be passed; the source says why.
    #[error("the jump host {jump} cannot be passed")]
    JumpFailed {
        /// The jump host.
        jump: String,
        /// Why.
        #[source]
        source: Arc<Self>,
    },
    /// The `ProxyCommand` did not lead to the machine. Run it by hand.
    #[error("the ProxyCommand for {host} failed: {detail}")]
    ProxyCommandFailed {
        /// The machine.
        host: String,
        /// Its end, with the last words of its standard error.
        detail: String,
    },
    /// The SSH settings cannot be used. Mend the named setting.
    #[error("the SSH settings for {host} cannot be used: {detail}")]
    SettingsUnusable {
        /// The machine.
        host: String,
        /// Which, and why.
        detail: String,
    },
    /// Nobody vouches for the machine's key yet. Verify the fingerprint, then add it.
    #[error("the host key of {host} is not known: {algorithm} {fingerprint}")]
    HostKeyUnknown {
        /// The name that known_hosts files were searched for (`[name]:port` for other ports than 22).
        host: String,
        /// The key's algorithm.
        algorithm: String,
        /// `SHA256:…`
        fingerprint: String,
        /// The file that a new line would go to.
        file: PathBuf,
        /// The line that would make it known.
        line: String,
    },
    /// The machine shows another key than the known one. Somebody may be in between: find out before anything else.
    #[error("the host key of {host} has changed: it shows {algorithm} {fingerprint}, and {}:{line} names another", file.display())]
    HostKeyChanged {
        /// The name that known_hosts files were searched for.
        host: String,
        /// The offered key's algorithm.
        algorithm: String,
        /// The offered key, `SHA256:…`.
        fingerprint: String,
        /// Where the known key stands.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
    /// The key is marked `@revoked`. Do not connect; the machine needs a new key.
    #[error("the host key of {host}, {fingerprint}, is revoked by {}:{line}", file.display())]
    HostKeyRevoked {
        /// The name that known_hosts files were searched for.
        host: String,
        /// The offered key, `SHA256:…`.
        fingerprint: String,
        /// Where it is revoked.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
    /// The machine's certificate does not hold. Have a new one issued.
    #[error("the host certificate of {host} is not valid: {detail}")]
    HostCertificateInvalid {
        /// The name that it should be for.
        host: String,
        /// Why.
        detail: String,
    },
    /// A known_hosts file cannot be read or written.
    #[error("{} cannot be {action}", file.display())]
    KnownHostsUnusable {
        /// Which.
        file: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// None of our credentials was accepted. The text lists each that was tried, and each that could not be.
    #[error("{host} lets nobody in as {user}: {}", if tried.is_empty() { "there was no credential to try".to_owned() } else { tried.join("; ") })]
    AuthenticationFailed {
        /// The machine.
        host: String,
        /// The user there.
        user: String,
        /// What was tried, or why it could not be, in order.
        tried: Vec<String>,
        /// What the machine would still accept.
        accepted: Vec<String>,
    },
    /// sudo asks for a password and none was given.
    #[error("sudo on {host} asks for the password of {user}")]
    SudoPasswordNeeded {
        /// The machine.
        host: String,
        /// The user there.
        user: String,
    },
    /// sudo did not accept the given password.
    #[error("sudo on {host} does not accept the password that was given for {user}")]
    SudoPasswordWrong {
        /// The machine.
        host: String,
        /// The user there.
        user: String,
    },
    /// The user may not become root there.
    #[error("sudo on {host} does not let {user} become root: {detail}")]
    SudoNotAllowed {
        /// The machine.
        host: String,
        /// The user there.
        user: String,
        /// sudo's own words.
        detail: String,
    },
    /// sudo is missing or broken there.
    #[error("sudo on {host} failed: {detail}")]
    SudoFailed {
        /// The machine.
        host: String,
        /// Its own words.
        detail: String,
    },
    /// The machine has no such program.
    #[error("{host} has no {program}")]
    CommandNotFound {
        /// The machine.
        host: String,
        /// The program.
        program: String,
    },
    /// The machine opens no further session on this connection, or none at all.
    #[error("{host} opens no session: {detail}")]
    SessionRefused {
        /// The machine.
        host: String,
        /// Its reason.
        detail: String,
    },
    /// The file could not be written there: rights, room, a missing tool.
    #[error("{path} could not be written on {host}: {detail}")]
    UploadFailed {
        /// The machine.
        host: String,
        /// Where.
        path: String,
        /// What the machine said.
        detail: String,
    },
    /// The checksum of what arrived differs. Try again.
    #[error("{path} arrived damaged on {host}")]
    UploadCorrupt {
        /// The machine.
        host: String,
        /// Where.
        path: String,
    },
    /// Something on this machine: a program that cannot be started, a file that cannot be read.
    #[error("cannot {action}")]
    LocalFailed {
        /// What was tried, as a verb with its object.
        action: String,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
}

impl MachineError {
    /// The kind: id, exit code and whether trying again can help, without the values.
    pub const fn kind(&self) -> MachineErrorKind {
        match self {
            Self::NameUnknown { .. } => MachineErrorKind::NameUnknown,
            Self::Unreachable { .. } => MachineErrorKind::Unreachable,
            Self::Refused { .. } => MachineErrorKind::Refused,
            Self::TimedOut { .. } => MachineErrorKind::TimedOut,
            Self::ConnectionLost { .. } => MachineErrorKind::ConnectionLost,
            Self::Protocol { .. } => MachineErrorKind::Protocol,
            Self::JumpFailed { .. } => MachineErrorKind::JumpFailed,
            Self::ProxyCommandFailed { .. } => MachineErrorKind::ProxyCommandFailed,
            Self::SettingsUnusable { .. } => MachineErrorKind::SettingsUnusable,
            Self::HostKeyUnknown { .. } => MachineErrorKind::HostKeyUnknown,
            Self::HostKeyChanged { .. } => MachineErrorKind::HostKeyChanged,
            Self::HostKeyRevoked { .. } => MachineErrorKind::HostKeyRevoked,
            Self::HostCertificateInvalid { .. } => MachineErrorKind::HostCertificateInvalid,
            Self::KnownHostsUnusable { .. } => MachineErrorKind::KnownHostsUnusable,
            Self::AuthenticationFailed { .. } => MachineErrorKind::AuthenticationFailed,
            Self::SudoPasswordNeeded { .. } => MachineErrorKind::SudoPasswordNeeded,
            Self::SudoPasswordWrong { .. } => MachineErrorKind::SudoPasswordWrong,
            Self::SudoNotAllowed { .. } => MachineErrorKind::SudoNotAllowed,
            Self::SudoFailed { .. } => MachineErrorKind::SudoFailed,
            Self::CommandNotFound { .. } => MachineErrorKind::CommandNotFound,
            Self::SessionRefused { .. } => MachineErrorKind::SessionRefused,
            Self::UploadFailed { .. } => MachineErrorKind::UploadFailed,
            Self::UploadCorrupt { .. } => MachineErrorKind::UploadCorrupt,
            Self::LocalFailed { .. } => MachineErrorKind::LocalFailed,
        }
    }

    /// The stable id, as it stands in events and documentation.
    pub const fn id(&self) -> &'static str {
        self.kind().id()
    }

    /// Whether trying the same again can help. A jump host's failure is as transient as its cause.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::JumpFailed { source, .. } => source.is_transient(),
            other => other.kind().is_transient(),
        }
    }

    /// A failure of this machine itself.
    pub(crate) fn local(action: impl Into<String>, source: io::Error) -> Self {
        Self::LocalFailed {
            action: action.into(),
            source: Arc::new(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_and_exit_codes_are_unique_and_leave_the_shells_own_range_alone() {
        let ids: BTreeSet<_> = MachineErrorKind::ALL.iter().map(|kind| kind.id()).collect();
        let codes: BTreeSet<_> = MachineErrorKind::ALL
            .iter()
            .map(|kind| kind.exit_code())
            .collect();
        assert_eq!(ids.len(), MachineErrorKind::ALL.len());
        assert_eq!(codes.len(), MachineErrorKind::ALL.len());
        assert!(codes.iter().all(|code| (100..=125).contains(code)));
        for id in ids {
            assert!(id.starts_with("ssh-"), "{id}");
            assert!(id.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
        }
    }

    #[test]
    fn a_jump_hosts_failure_is_as_transient_as_its_cause() {
        let wrap = |source| MachineError::JumpFailed {
            jump: "bastion".to_owned(),
            source: Arc::new(source),
        };
        let refused = MachineError::Refused {
            address: "10.0.0.1:22".to_owned(),
        };
        assert!(wrap(refused).is_transient());
        let wrong = MachineError::SudoPasswordWrong {
            host: "a".to_owned(),
            user: "b".to_owned(),
        };
        assert!(!wrap(wrong).is_transient());
    }
}
