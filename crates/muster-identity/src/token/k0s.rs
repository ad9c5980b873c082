//! The join token of k0s: a kubeconfig with one bearer token, gzipped, in base64 on one line.
//!
//! It refuses to know files and the time, and whether a cluster knows the token inside. A token is foreign bytes until
//! it has been decoded: every layer has a bound.

use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::kind::TokenKind;
use super::kubeadm::{BootstrapToken, TokenError};
use super::role::JoinRole;
use crate::endpoint::{Endpoint, EndpointError};
use crate::kubeconfig::{Kubeconfig, KubeconfigError, MAX_LEN, Material, Resolved};
use crate::pki::{CertificateBundle, CertificateError};
use crate::secret::Secret;

/// Largest token that is looked at, in bytes of its text. One of k0s has about two thousand.
const MAX_TEXT: usize = 512 * 1024;
/// Largest kubeconfig that is unpacked from a token, in bytes.
const MAX_UNPACKED: usize = MAX_LEN;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A join token of k0s, decoded: where to go, whom to trust there, and with what to log in.
/// Its `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct K0sToken {
    role: JoinRole,
    server: Endpoint,
    ca: CertificateBundle,
    token: BootstrapToken,
}

/// Why a text is not a join token of k0s. No text repeats what stands in the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum K0sTokenError {
    /// There is nothing in it; the file was probably emptied or never written.
    #[error("the token is empty")]
    Empty,
    /// It is a credential of another kind; use it where that kind is taken.
    #[error("this is {0}, not a join token of k0s")]
    OtherKind(TokenKind),
    /// The text is longer than 512 KiB.
    #[error("the token has {length} characters, more than 512 KiB")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It ends too early; copy it again, whole.
    #[error("the token is cut off")]
    Truncated,
    /// It has a character that standard base64 does not have; copy it again.
    #[error("the token is not standard base64, see character {position}")]
    NotBase64 {
        /// Where, counted from 1, without white space.
        position: usize,
    },
    /// It was put into base64 once more, as `data` of a Secret is; decode that layer first.
    #[error("the token is in base64 twice, as in the data of a Secret")]
    EncodedTwice,
    /// Good base64 of something else.
    #[error("what stands in the token's base64 is not gzip")]
    NotGzip,
    /// The checksum or the compression does not hold; copy it again.
    #[error("the token is damaged: its gzip cannot be unpacked")]
    Damaged,
    /// It unpacks to more than 1 MiB, which no kubeconfig does: do not trust where it came from.
    #[error("the token unpacks to more than 1 MiB")]
    TooLarge,
    /// What is inside is no kubeconfig, or leads nowhere.
    #[error("what the token contains is not a usable kubeconfig")]
    Kubeconfig(#[source] KubeconfigError),
    /// The user's name is neither `kubelet-bootstrap` nor `controller-bootstrap`.
    #[error("the token's user is {user:?}, neither kubelet-bootstrap nor controller-bootstrap")]
    NoRole {
        /// The name found; empty when the context has no user.
        user: String,
    },
    /// It has contexts of both roles; ask for a token with one.
    #[error("the token has contexts for a worker and for a controller")]
    AmbiguousRole,
    /// The server is not `https://HOST:PORT`.
    #[error("the token's server cannot be used")]
    Server(#[source] EndpointError),
    /// No CA stands in it, so that it says nobody to trust.
    #[error("the token contains no certificate authority")]
    NoCa,
    /// The CA inside is damaged.
    #[error("the token's certificate authority cannot be read")]
    Ca(#[source] CertificateError),
    /// The user has no bearer token.
    #[error("the token contains no bearer token")]
    NoToken,
    /// The bearer token is not of the form `abcdef.0123456789abcdef`.
    #[error("the token's bearer token is not a bootstrap token")]
    Token(#[source] TokenError),
}

impl K0sToken {
    /// Puts a token together. `server` is kube-apiserver for a worker and the join API for a controller.
    pub const fn new(
        role: JoinRole,
        server: Endpoint,
        ca: CertificateBundle,
        token: BootstrapToken,
    ) -> Self {
        Self {
            role,
            server,
            ca,
            token,
        }
    }

    /// Whom it lets in.
    pub const fn role(&self) -> JoinRole {
        self.role
    }

    /// Where it leads.
    pub const fn server(&self) -> &Endpoint {
        &self.server
    }

    /// Whom to trust there.
    pub const fn ca(&self) -> &CertificateBundle {
        &self.ca
    }

    /// With what to log in.
    pub const fn token(&self) -> &BootstrapToken {
        &self.token
    }

    /// The same token for another address of the same cluster, such as an ingress.
    #[must_use]
    pub fn with_server(mut self, server: Endpoint) -> Self {
        self.server = server;
        self
    }

    /// The kubeconfig inside, as client-go writes it: cluster, context and current context are `k0s`.
    pub fn to_kubeconfig(&self) -> Kubeconfig {
        Kubeconfig::for_k0s_token(
            &self.server.url(),
            &self.ca,
            self.role.user_name(),
            &self.token,
        )
    }

    /// The token's text: the kubeconfig, gzipped at the best level, in padded base64 on one line, without a line end.
    pub fn encode(&self) -> Secret<String> {
        let yaml = self.to_kubeconfig().to_yaml();
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        let packed = packer
            .write_all(yaml.expose().as_bytes())
            .and_then(|()| packer.finish());
        let packed = Secret::new(packed.expect("writing into memory does not fail"));
        Secret::new(STANDARD.encode(packed.expose()))
    }

    /// Reads a token's text. White space around it and line ends in it are no part of it.
    ///
    /// # Errors
    /// [`K0sTokenError`] says at which layer it went wrong, and never repeats what stands there.
    pub fn decode(text: &[u8]) -> Result<Self, K0sTokenError> {
        let yaml = unpack(&from_base64(text)?)?;
        Self::from_kubeconfig(yaml.expose())
    }

    /// Reads the kubeconfig of a token, as `base64 -d | gunzip` shows it.
    ///
    /// # Errors
    /// [`K0sTokenError`], for everything inside the compression.
    pub fn from_kubeconfig(yaml: &[u8]) -> Result<Self, K0sTokenError> {
        let config = Kubeconfig::parse(yaml).map_err(K0sTokenError::Kubeconfig)?;
        let role = role_of(&config)?;
        let Resolved { cluster, user, .. } = config.resolve().map_err(K0sTokenError::Kubeconfig)?;
        let server = Endpoint::parse(&cluster.server).map_err(K0sTokenError::Server)?;
        let Some(Material::Data(ca)) = cluster.certificate_authority else {
            return Err(K0sTokenError::NoCa);
        };
        let ca = CertificateBundle::from_pem(&ca).map_err(K0sTokenError::Ca)?;
        let Some(Material::Data(bearer)) = user.token else {
            return Err(K0sTokenError::NoToken);
        };
        let token = BootstrapToken::parse(bearer.expose()).map_err(K0sTokenError::Token)?;
        Ok(Self::new(role, server, ca, token))
    }
}

/// The role that all contexts agree on. k0s itself looks at any one of them, so two roles would mean either.
fn role_of(config: &Kubeconfig) -> Result<JoinRole, K0sTokenError> {
    let mut found = None;
    for (_, user) in config.users_of_contexts() {
        let role = JoinRole::from_user_name(user).ok_or_else(|| K0sTokenError::NoRole {
            user: user.chars().take(64).collect(),
        })?;
        if found.is_some_and(|found| found != role) {
            return Err(K0sTokenError::AmbiguousRole);
        }
        found = Some(role);
    }
    found.ok_or_else(|| K0sTokenError::NoRole {
        user: String::new(),
    })
}

fn from_base64(text: &[u8]) -> Result<Secret<Vec<u8>>, K0sTokenError> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(K0sTokenError::Empty);
    }
    if text.len() > MAX_TEXT {
        return Err(K0sTokenError::TooLong { length: text.len() });
    }
    if let Some(other) = TokenKind::of(text).filter(|kind| *kind != TokenKind::K0s) {
        return Err(K0sTokenError::OtherKind(other));
    }
    // Go's decoder skips line ends, and terminals fold what is long.
    let joined: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let joined = Secret::new(joined);
    let bytes = STANDARD.decode(joined.expose()).map_err(|error| {
        use base64::DecodeError;
        match error {
            DecodeError::InvalidByte(at, _) => K0sTokenError::NotBase64 { position: at + 1 },
            DecodeError::InvalidLastSymbol(..)
            | DecodeError::InvalidLength(_)
            | DecodeError::InvalidPadding => K0sTokenError::Truncated,
        }
    })?;
    Ok(Secret::new(bytes))
}

fn unpack(packed: &Secret<Vec<u8>>) -> Result<Secret<Vec<u8>>, K0sTokenError> {
    let bytes = packed.expose();
    if !GZIP_MAGIC.starts_with(&bytes[..bytes.len().min(2)]) {
        return Err(match TokenKind::of(bytes) {
            Some(TokenKind::K0s) => K0sTokenError::EncodedTwice,
            _ => K0sTokenError::NotGzip,
        });
    }
    let mut yaml = Secret::new(Vec::new());
    let limit = u64::try_from(MAX_UNPACKED).unwrap_or(u64::MAX);
    let unpacked = MultiGzDecoder::new(bytes.as_slice())
        .take(limit + 1)
        .read_to_end(yaml.expose_mut());
    match unpacked {
        Ok(_) if yaml.expose().len() > MAX_UNPACKED => Err(K0sTokenError::TooLarge),
        Ok(_) => Ok(yaml),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(K0sTokenError::Truncated),
        Err(_) => Err(K0sTokenError::Damaged),
    }
}

impl fmt::Display for K0sToken {
    /// What may be shown of it: role, server and the id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            role,
            server,
            token,
            ..
        } = self;
        write!(f, "{role} token {}.**** for {}", token.id(), server.url())
    }
}

#[cfg(test)]
mod tests;
