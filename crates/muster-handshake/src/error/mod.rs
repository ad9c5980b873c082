//! Why a stranger did not become a node: one closed list of reasons with stable ids.
//!
//! Each reason answers three questions: what happened and why (`Display`), and what to do now
//! ([`HandshakeError::remedy`]). The class decides once, for every caller, whether trying again
//! can help. This file knows nothing of sockets: whoever drives the handshake classifies the
//! failures of its own wires into these values.

mod remedy;
mod text;

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use muster_identity::{CaPin, JoinRole, K0sTokenError, PinError, TokenError, TokenKind};

pub use remedy::approve_cure;
use text::{closed, looked_for, pins, seconds, skew_text, unknown_token, waiting_for};

/// Whether trying the same thing again can succeed without anybody changing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The network or the server may recover by itself: try again within the deadline.
    Transient,
    /// The same input will fail the same way: stop and tell.
    Terminal,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $exit:literal, $class:ident;)+) => {
        /// The kind of a [`HandshakeError`], without its values: what scripts match on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorKind { $($(#[$doc])* $name,)+ }

        impl ErrorKind {
            /// Every kind, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable kebab-case id, as it stands in JSON events and documentation.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)+ }
            }

            /// The documented process exit code of this kind, for callers who asked for distinct
            /// codes. Codes are never reused: 10s the credential, 20s the way to the host,
            /// 30s what answered there, 40s what the cluster decided, 50 the server itself.
            pub const fn exit_code(self) -> u8 {
                match self { $(Self::$name => $exit,)+ }
            }

            /// Whether trying again can help.
            pub const fn class(self) -> ErrorClass {
                match self { $(Self::$name => ErrorClass::$class,)+ }
            }
        }
    };
}

kinds! {
    /// The token does not have the form `[a-z0-9]{6}.[a-z0-9]{16}`.
    TokenMalformed = "token-malformed", 10, Terminal;
    /// The cluster signed for other tokens, not for this one.
    TokenUnknown = "token-unknown", 11, Terminal;
    /// The cluster says that this token has expired.
    TokenExpired = "token-expired", 12, Terminal;
    /// A CA pin does not have the form `sha256:<64 hex>`.
    PinMalformed = "pin-malformed", 13, Terminal;
    /// No certificate of the cluster has a pinned key.
    PinMismatch = "pin-mismatch", 14, Terminal;
    /// The signature over cluster-info was not made with this token.
    SignatureInvalid = "signature-invalid", 15, Terminal;
    /// The discovery file or kubeconfig cannot be fetched, read or used.
    DiscoveryFileUnusable = "discovery-file-unusable", 16, Terminal;
    /// A join token of k0s cannot be decoded.
    JoinTokenUnusable = "join-token-unusable", 17, Terminal;
    /// The token is for the other role: a controller's for a worker, or a worker's for a controller.
    TokenRoleMismatch = "token-role-mismatch", 18, Terminal;
    /// The text is a credential of another kind than can be used here.
    TokenKindMismatch = "token-kind-mismatch", 19, Terminal;
    /// The host name has no address.
    HostUnresolvable = "host-unresolvable", 20, Terminal;
    /// No route leads to the host.
    HostUnreachable = "host-unreachable", 21, Transient;
    /// The host answers, but nothing listens on the port.
    ConnectionRefused = "connection-refused", 22, Transient;
    /// Nobody answered in time.
    Timeout = "timeout", 23, Transient;
    /// An established connection broke.
    ConnectionLost = "connection-lost", 24, Transient;
    /// The proxy on the way did not let the connection through.
    ProxyFailed = "proxy-failed", 25, Transient;
    /// The port does not speak TLS.
    NotTls = "not-tls", 30, Terminal;
    /// What answers is not a Kubernetes API server.
    NotKubernetes = "not-kubernetes", 31, Terminal;
    /// The server's certificate is not for the name or address that was asked for.
    TlsNameMismatch = "tls-name-mismatch", 32, Terminal;
    /// The server's certificate was not issued by a trusted CA.
    TlsUntrusted = "tls-untrusted", 33, Terminal;
    /// The clocks of this machine and of the cluster are too far apart.
    ClockSkew = "clock-skew", 34, Terminal;
    /// The cluster publishes no cluster-info.
    ClusterInfoMissing = "cluster-info-missing", 35, Terminal;
    /// The cluster does not show its cluster-info to strangers.
    DiscoveryClosed = "discovery-closed", 36, Terminal;
    /// The server does not accept the credential.
    Unauthorized = "unauthorized", 40, Terminal;
    /// The server knows the credential and does not permit the request.
    Forbidden = "forbidden", 41, Terminal;
    /// A Ready node of this name is already in the cluster.
    NodeNameTaken = "node-name-taken", 42, Terminal;
    /// Somebody denied the certificate signing request.
    CsrDenied = "csr-denied", 43, Terminal;
    /// The signer could not issue, or what it issued cannot be used.
    CsrFailed = "csr-failed", 44, Terminal;
    /// Nobody decided on the certificate signing request before the deadline.
    CsrPending = "csr-pending", 45, Transient;
    /// The cluster has no worker profile of the name that was asked for.
    WorkerProfileMissing = "worker-profile-missing", 46, Terminal;
    /// The server answered with an error of its own.
    ServerError = "server-error", 50, Transient;
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// Why discovery or TLS bootstrap ended without a trusted cluster or a certificate.
///
/// `Display` says what happened and why; [`HandshakeError::remedy`] says what to do now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The token could not be parsed: correct it; nothing was sent.
    #[error("the token is malformed: {reason}")]
    TokenMalformed {
        /// What is wrong with it; never the token itself.
        reason: String,
    },
    /// cluster-info carries no signature of this token: make a new token.
    #[error("{}", unknown_token(id, *others, *may_have_expired))]
    TokenUnknown {
        /// The public half of the token.
        id: String,
        /// How many other tokens the cluster signs for.
        others: usize,
        /// The cluster does not publish which tokens expired, so this one may have.
        may_have_expired: bool,
    },
    /// The cluster published that this token expired: make a new token.
    #[error("token {id} expired at {at}")]
    TokenExpired {
        /// The public half of the token.
        id: String,
        /// When it expired.
        at: Timestamp,
    },
    /// A pin could not be parsed: correct it; nothing was sent.
    #[error("the CA pin is malformed: {reason}")]
    PinMalformed {
        /// What is wrong with it.
        reason: String,
    },
    /// The cluster is not the pinned one, or its CA was replaced: compare the pins out of band.
    #[error(
        "the cluster's CA has none of the pinned keys: it shows {}, the pin given is {}",
        pins(seen),
        pins(expected)
    )]
    PinMismatch {
        /// The pins that were given.
        expected: Vec<CaPin>,
        /// The pins of the certificates in cluster-info.
        seen: Vec<CaPin>,
    },
    /// cluster-info was changed, or the secret half of the token is wrong.
    #[error("the signature of cluster-info does not fit token {id}: {reason}")]
    SignatureInvalid {
        /// The public half of the token.
        id: String,
        /// What does not fit.
        reason: String,
    },
    /// The file that introduces the cluster is of no use: correct it, or get another one.
    #[error("the discovery file {file} cannot be used: {reason}")]
    DiscoveryFileUnusable {
        /// Its path or URL.
        file: String,
        /// What is wrong with it; never a value of it.
        reason: String,
    },
    /// The join token is broken: copy it again, or make a new one.
    #[error("{reason}")]
    JoinTokenUnusable {
        /// At which layer it went wrong; never the token itself.
        reason: String,
    },
    /// The token lets in the other role: ask for one of the role that this machine is to have.
    #[error("this is a join token for a {of}, and this machine is to be a {wanted}")]
    TokenRoleMismatch {
        /// Whom the token lets in.
        of: JoinRole,
        /// What this machine is to be.
        wanted: JoinRole,
    },
    /// The credential is of another kind: use it as what it is.
    #[error("this is {found}, which lets no machine in here")]
    TokenKindMismatch {
        /// What it is.
        found: TokenKind,
    },
    /// Name resolution failed: check the name and the resolver.
    #[error("the host name {host} cannot be resolved: {reason}")]
    HostUnresolvable {
        /// The name that was looked up.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// The kernel knows no way to the host: check routes and firewalls.
    #[error("{endpoint} cannot be reached: {reason}")]
    HostUnreachable {
        /// `host:port` as it was given.
        endpoint: String,
        /// What the kernel said.
        reason: String,
    },
    /// Nothing listens there: check the port and that the API server runs.
    #[error("{endpoint} refused the connection: nothing listens on that port")]
    ConnectionRefused {
        /// `host:port` as it was given.
        endpoint: String,
    },
    /// Nobody answered in time: packets are probably dropped on the way.
    #[error("{endpoint} did not answer within {} while {doing}", seconds(*waited))]
    Timeout {
        /// `host:port` as it was given.
        endpoint: String,
        /// What was being waited for, as a gerund phrase.
        doing: String,
        /// How long it was waited.
        waited: SignedDuration,
    },
    /// The connection broke in the middle: try again.
    #[error("the connection to {endpoint} broke: {reason}")]
    ConnectionLost {
        /// `host:port` as it was given.
        endpoint: String,
        /// What the wire said.
        reason: String,
    },
    /// The proxy did not let the connection through: exempt the host in `NO_PROXY`, or ask who runs the proxy.
    #[error("the proxy {proxy} does not lead to {endpoint}: {reason}")]
    ProxyFailed {
        /// `host:port` as it was given.
        endpoint: String,
        /// The proxy, without user and password.
        proxy: String,
        /// What it said, or why it could not be asked.
        reason: String,
        /// It refused, and will refuse again.
        refused: bool,
    },
    /// The port speaks something else than TLS: check the port.
    #[error("{endpoint} does not speak TLS: {seen}")]
    NotTls {
        /// `host:port` as it was given.
        endpoint: String,
        /// What came instead.
        seen: String,
    },
    /// Something else answers there: check host and port.
    #[error("{endpoint} is not a Kubernetes API server: {seen}")]
    NotKubernetes {
        /// `host:port` as it was given.
        endpoint: String,
        /// What came instead.
        seen: String,
    },
    /// The certificate is the cluster's, but not for this name: use one of its names.
    #[error(
        "the certificate of {endpoint} is not valid for {host}; it is valid for {}",
        if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") }
    )]
    TlsNameMismatch {
        /// `host:port` as it was given.
        endpoint: String,
        /// The name or address that was asked for.
        host: String,
        /// The names and addresses in the certificate.
        names: Vec<String>,
        /// The endpoint that cluster-info advertises, when it is another one.
        advertised: Option<String>,
    },
    /// The server is not the cluster that signed cluster-info, or somebody sits between.
    #[error("the certificate of {endpoint} is not to be trusted: {reason}")]
    TlsUntrusted {
        /// `host:port` as it was given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate is out of its validity only by this machine's clock: set the clock.
    #[error("{}", skew_text(what, *local, *server, *not_before, *not_after))]
    ClockSkew {
        /// Whose certificate is out of its validity, for example `the certificate of h:6443`.
        what: String,
        /// The time by this machine's clock.
        local: Timestamp,
        /// The time by the server's clock (its HTTP `Date`), when it said one.
        server: Option<Timestamp>,
        /// Start of the certificate's validity.
        not_before: Timestamp,
        /// End of the certificate's validity.
        not_after: Timestamp,
    },
    /// The cluster publishes no cluster-info: it is not prepared for token discovery.
    #[error("{endpoint} has no ConfigMap kube-public/cluster-info")]
    ClusterInfoMissing {
        /// `host:port` as it was given.
        endpoint: String,
    },
    /// Public discovery is closed: join with a discovery file or the cluster's CA.
    #[error("{}", closed(endpoint, *anonymous_refused, message))]
    DiscoveryClosed {
        /// `host:port` as it was given.
        endpoint: String,
        /// Strangers are not even let in (401), rather than not permitted to read it (403).
        anonymous_refused: bool,
        /// The server's message.
        message: String,
    },
    /// The credential is not accepted: make a new one.
    #[error("the server does not accept the credential for {what}: {message}")]
    Unauthorized {
        /// The request, in words.
        what: String,
        /// The server's message.
        message: String,
    },
    /// The credential lacks a permission: an administrator must grant it.
    #[error("the server does not permit to {what}: {message}")]
    Forbidden {
        /// The request, in words.
        what: String,
        /// The server's message.
        message: String,
    },
    /// Choose another name, or remove the old node.
    #[error("a Ready node named {name} is already in the cluster")]
    NodeNameTaken {
        /// The name.
        name: String,
    },
    /// An administrator or approver said no: ask why.
    #[error("certificate signing request {name} was denied: {message}")]
    CsrDenied {
        /// Name of the CertificateSigningRequest.
        name: String,
        /// Reason and message of the Denied condition.
        message: String,
    },
    /// The signer could not issue, or issued something unusable.
    #[error("certificate signing request {name} failed: {message}")]
    CsrFailed {
        /// Name of the CertificateSigningRequest.
        name: String,
        /// What went wrong.
        message: String,
    },
    /// The deadline passed while the request waited for a decision.
    #[error("certificate signing request {name} is still {}", waiting_for(*approved))]
    CsrPending {
        /// Name of the CertificateSigningRequest.
        name: String,
        /// It was approved, but nobody signed it.
        approved: bool,
    },
    /// The cluster was asked for a worker profile by name and has none.
    #[error("the cluster has no worker profile {profile}{}", looked_for(tried))]
    WorkerProfileMissing {
        /// The profile.
        profile: String,
        /// The ConfigMaps in kube-system that were asked for; none when the cluster's version is unknown.
        tried: Vec<String>,
    },
    /// The server answered with an error: look into its log, or try again later.
    #[error("the server could not {what}: {status} {reason}: {message}")]
    ServerError {
        /// The request, in words.
        what: String,
        /// HTTP status code.
        status: u16,
        /// The Kubernetes `Status` reason, or empty.
        reason: String,
        /// The server's message.
        message: String,
    },
}

impl HandshakeError {
    /// The kind: id, class and exit code without the values.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TokenMalformed { .. } => ErrorKind::TokenMalformed,
            Self::TokenUnknown { .. } => ErrorKind::TokenUnknown,
            Self::TokenExpired { .. } => ErrorKind::TokenExpired,
            Self::PinMalformed { .. } => ErrorKind::PinMalformed,
            Self::PinMismatch { .. } => ErrorKind::PinMismatch,
            Self::SignatureInvalid { .. } => ErrorKind::SignatureInvalid,
            Self::DiscoveryFileUnusable { .. } => ErrorKind::DiscoveryFileUnusable,
            Self::JoinTokenUnusable { .. } => ErrorKind::JoinTokenUnusable,
            Self::TokenRoleMismatch { .. } => ErrorKind::TokenRoleMismatch,
            Self::TokenKindMismatch { .. } => ErrorKind::TokenKindMismatch,
            Self::WorkerProfileMissing { .. } => ErrorKind::WorkerProfileMissing,
            Self::ProxyFailed { .. } => ErrorKind::ProxyFailed,
            Self::DiscoveryClosed { .. } => ErrorKind::DiscoveryClosed,
            Self::HostUnresolvable { .. } => ErrorKind::HostUnresolvable,
            Self::HostUnreachable { .. } => ErrorKind::HostUnreachable,
            Self::ConnectionRefused { .. } => ErrorKind::ConnectionRefused,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::ConnectionLost { .. } => ErrorKind::ConnectionLost,
            Self::NotTls { .. } => ErrorKind::NotTls,
            Self::NotKubernetes { .. } => ErrorKind::NotKubernetes,
            Self::TlsNameMismatch { .. } => ErrorKind::TlsNameMismatch,
            Self::TlsUntrusted { .. } => ErrorKind::TlsUntrusted,
            Self::ClockSkew { .. } => ErrorKind::ClockSkew,
            Self::ClusterInfoMissing { .. } => ErrorKind::ClusterInfoMissing,
            Self::Unauthorized { .. } => ErrorKind::Unauthorized,
            Self::Forbidden { .. } => ErrorKind::Forbidden,
            Self::NodeNameTaken { .. } => ErrorKind::NodeNameTaken,
            Self::CsrDenied { .. } => ErrorKind::CsrDenied,
            Self::CsrFailed { .. } => ErrorKind::CsrFailed,
            Self::CsrPending { .. } => ErrorKind::CsrPending,
            Self::ServerError { .. } => ErrorKind::ServerError,
        }
    }

    /// The stable kebab-case id.
    pub const fn id(&self) -> &'static str {
        self.kind().id()
    }

    /// The documented process exit code.
    pub const fn exit_code(&self) -> u8 {
        self.kind().exit_code()
    }

    /// Whether trying again can help. A server error counts as transient only when its status
    /// says so (429 and 5xx other than 501).
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::ServerError { status, .. } if !is_transient_status(*status) => {
                ErrorClass::Terminal
            }
            Self::ProxyFailed { refused: true, .. } => ErrorClass::Terminal,
            _ => self.kind().class(),
        }
    }
}

impl From<TokenError> for HandshakeError {
    fn from(error: TokenError) -> Self {
        Self::TokenMalformed {
            reason: error.to_string(),
        }
    }
}

impl From<K0sTokenError> for HandshakeError {
    fn from(error: K0sTokenError) -> Self {
        match error {
            K0sTokenError::OtherKind(found) => Self::TokenKindMismatch { found },
            error => {
                // The causes are short and hold no value of the token.
                let mut reason = error.to_string();
                let mut cause = std::error::Error::source(&error);
                while let Some(error) = cause {
                    reason = format!("{reason}: {error}");
                    cause = error.source();
                }
                Self::JoinTokenUnusable { reason }
            }
        }
    }
}

impl From<PinError> for HandshakeError {
    fn from(error: PinError) -> Self {
        Self::PinMalformed {
            reason: error.to_string(),
        }
    }
}

/// Statuses that a server may recover from by itself: 408, 429 and 5xx except 501 and 505.
pub const fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=504 | 506..=599)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_and_exit_codes_are_unique_and_outside_the_shells_own_range() {
        let ids: BTreeSet<_> = ErrorKind::ALL.iter().map(|kind| kind.id()).collect();
        let codes: BTreeSet<_> = ErrorKind::ALL.iter().map(|kind| kind.exit_code()).collect();
        assert_eq!(ids.len(), ErrorKind::ALL.len());
        assert_eq!(codes.len(), ErrorKind::ALL.len());
        assert!(codes.iter().all(|code| (10..=99).contains(code)));
        for id in ids {
            assert!(
                id.chars().all(|c| c.is_ascii_lowercase() || c == '-'),
                "{id}"
            );
        }
    }

    #[test]
    fn a_skewed_clock_is_named_with_its_direction_and_amount() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let error = HandshakeError::ClockSkew {
            what: "the certificate of cp:6443".into(),
            local: at("2020-01-01T00:00:00.123Z"),
            server: Some(at("2020-01-03T00:00:00Z")),
            not_before: at("2020-01-02T00:00:00Z"),
            not_after: at("2030-01-02T00:00:00Z"),
        };
        let text = error.to_string();
        assert!(
            text.contains("valid only from 2020-01-02T00:00:00Z"),
            "{text}"
        );
        assert!(
            text.contains("behind the server's (2020-01-03T00:00:00Z)"),
            "{text}"
        );
        assert!(text.contains("47h 59m 59s"), "{text}");
    }

    #[test]
    fn a_server_error_is_transient_only_when_its_status_says_so() {
        let with = |status| HandshakeError::ServerError {
            what: "read the node".into(),
            status,
            reason: String::new(),
            message: String::new(),
        };
        assert_eq!(with(503).class(), ErrorClass::Transient);
        assert_eq!(with(429).class(), ErrorClass::Transient);
        assert_eq!(with(422).class(), ErrorClass::Terminal);
        assert_eq!(with(501).class(), ErrorClass::Terminal);
    }

    #[test]
    fn the_name_remedy_points_to_the_advertised_endpoint() {
        let error = HandshakeError::TlsNameMismatch {
            endpoint: "lb:6443".into(),
            host: "lb".into(),
            names: vec!["cp".into()],
            advertised: Some("cp:6443".into()),
        };
        assert!(error.remedy().contains("cp:6443"));
    }
}
