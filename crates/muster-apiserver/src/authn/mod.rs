//! Who is asking? Somebody a front proxy vouches for, a client certificate, a bootstrap token, a service-account
//! token, or nobody.
//!
//! Refuses to know: what the user may do. A credential that is wrong is an error and never turns into an
//! anonymous request; all the client learns is that it is unauthorised.

mod bearer;
mod certificate;
pub mod front_proxy;
mod jwt;
pub mod service_account;
pub mod signing_key;

use std::sync::Arc;

use http::{HeaderMap, header::AUTHORIZATION};
use jiff::Timestamp;
use muster_identity::{CertificateBundle, Secret};

pub use self::certificate::ClientCertificate;
use self::{
    certificate::ClientTrust,
    front_proxy::FrontProxies,
    service_account::TokenIssuer,
    signing_key::{SigningKey, VerificationKey},
};
use crate::request::{ObjectReader, UserInfo};

/// The user of a request without any credential.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of everyone without a credential.
pub const UNAUTHENTICATED_GROUP: &str = "system:unauthenticated";
/// The group of everyone with one.
pub const AUTHENTICATED_GROUP: &str = "system:authenticated";

/// Longest `Authorization` header that is looked at, in bytes; a service-account token has about 1,200.
const MAX_AUTHORIZATION: usize = 16 * 1024;

/// What authentication goes by.
#[derive(Clone, Debug)]
pub struct AuthenticationConfig {
    /// The issuer of service-account tokens: a URL, also the audience of the API server itself.
    pub issuer: String,
    /// Further audiences under which this server accepts tokens.
    pub further_audiences: Vec<String>,
    /// The key that signs and verifies service-account tokens.
    pub service_account_key: SigningKey,
    /// Further keys that verify service-account tokens: those of earlier days or of other servers.
    pub further_keys: Vec<VerificationKey>,
    /// Whether requests without a credential are served as `system:anonymous`.
    pub allow_anonymous: bool,
}

/// Why a request's credential was not accepted. It is for logs: clients are only told `Unauthorized`, so
/// that nobody can probe for tokens by the difference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// There is no credential, and anonymous requests are switched off.
    #[error("no credential was given")]
    Missing,
    /// The `Authorization` header is too long, repeated, no text, or of another scheme than `Bearer`.
    #[error("the authorization header cannot be read: {detail}")]
    Header {
        /// What is wrong with it; nothing of its content.
        detail: &'static str,
    },
    /// The client certificate is of no trusted CA, names nobody, or is out of its validity.
    #[error("the client certificate is not usable: {detail}")]
    Certificate {
        /// What is wrong with it.
        detail: String,
    },
    /// The bootstrap token is not one of this cluster's, or not any more.
    #[error("bootstrap token {id}: {detail}")]
    BootstrapToken {
        /// The public half of the token.
        id: String,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The service-account token is not one of this cluster's, or not any more.
    #[error("service account token: {detail}")]
    ServiceAccountToken {
        /// What is wrong with it; nothing of its signature.
        detail: String,
    },
    /// A bearer token of no known form.
    #[error("the bearer token is of no known kind")]
    UnknownToken,
}

/// Finds out who is asking. Cheap to share.
pub struct Authenticator {
    reader: Arc<dyn ObjectReader>,
    issuer: TokenIssuer,
    clients: ClientTrust,
    proxies: FrontProxies,
    allow_anonymous: bool,
}

impl Authenticator {
    /// An authenticator that looks tokens and accounts up through `reader`.
    pub fn new(config: AuthenticationConfig, reader: Arc<dyn ObjectReader>) -> Self {
        let allow_anonymous = config.allow_anonymous;
        Self {
            reader,
            issuer: TokenIssuer::new(config),
            clients: ClientTrust::default(),
            proxies: FrontProxies::default(),
            allow_anonymous,
        }
    }

    /// Believes client certificates of these CAs from now on. A server believes none before.
    pub fn trust_clients(&self, bundle: &CertificateBundle) {
        self.clients.replace(bundle);
    }

    /// Believes front proxies with certificates of these CAs from now on. A server believes none before.
    pub fn trust_front_proxies(&self, bundle: &CertificateBundle) {
        self.proxies.trust(bundle);
    }

    /// Who sent a request with these headers. What a front proxy says counts before the client's certificate,
    /// and that before a token; a good credential counts whatever is wrong with another one, as upstream's.
    ///
    /// # Errors
    /// [`Unauthenticated`] when there are credentials and none is good; answer with 401.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        certificate: Option<&ClientCertificate>,
        now: Timestamp,
    ) -> Result<UserInfo, Unauthenticated> {
        let mut refused = None;
        if let Some(shown) = certificate {
            if let Ok(Some(user)) = self.proxies.user(shown, headers, now) {
                return Ok(authenticated(user));
            }
            let verified = self.clients.verify(shown, now);
            match verified.and_then(|()| certificate::user(shown)) {
                Ok(user) => return Ok(authenticated(user)),
                Err(reason) => refused = Some(reason),
            }
        }
        let Some(token) = bearer_token(headers)? else {
            return refused.map_or_else(|| self.anonymous(), Err);
        };
        let accepted = self.issuer.audiences();
        let (user, _) = self.authenticate_token(&token, accepted, now)?;
        Ok(user)
    }

    /// Whose token this is, and for which of the wanted `audiences` it is good (at least one).
    ///
    /// # Errors
    /// [`Unauthenticated`] when it is nobody's, or for other audiences only.
    pub fn authenticate_token(
        &self,
        token: &Secret<String>,
        audiences: &[String],
        now: Timestamp,
    ) -> Result<(UserInfo, Vec<String>), Unauthenticated> {
        if jwt::looks_like_one(token.expose()) {
            let reader = self.reader.as_ref();
            let (user, good_for) = self.issuer.verify(token, audiences, reader, now)?;
            return Ok((authenticated(user), good_for));
        }
        let user = bearer::bootstrap_user(token, self.reader.as_ref(), now)?;
        // A bootstrap token speaks to this server alone.
        let own = self.issuer.audiences();
        let good_for: Vec<String> = audiences
            .iter()
            .filter(|wanted| own.contains(wanted))
            .cloned()
            .collect();
        if good_for.is_empty() {
            return Err(Unauthenticated::UnknownToken);
        }
        Ok((authenticated(user), good_for))
    }

    /// The issuer and verifier of service-account tokens.
    pub fn issuer(&self) -> &TokenIssuer {
        &self.issuer
    }

    fn anonymous(&self) -> Result<UserInfo, Unauthenticated> {
        if self.allow_anonymous {
            return Ok(UserInfo::new(ANONYMOUS, [UNAUTHENTICATED_GROUP]));
        }
        Err(Unauthenticated::Missing)
    }
}

fn authenticated(mut user: UserInfo) -> UserInfo {
    // A front proxy may hand on somebody who is nobody.
    let is_nobody = user.name == ANONYMOUS || user.is_in(UNAUTHENTICATED_GROUP);
    if !is_nobody && !user.is_in(AUTHENTICATED_GROUP) {
        user.groups.push(AUTHENTICATED_GROUP.to_owned());
    }
    user
}

fn bearer_token(headers: &HeaderMap) -> Result<Option<Secret<String>>, Unauthenticated> {
    let refused = |detail| Err(Unauthenticated::Header { detail });
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return refused("there are several");
    }
    if value.len() > MAX_AUTHORIZATION {
        return refused("it is too long");
    }
    let Ok(text) = value.to_str() else {
        return refused("it is not plain text");
    };
    match text.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim();
            if token.is_empty() || token.contains(' ') {
                return refused("the token is empty or has spaces");
            }
            Ok(Some(Secret::new(token.to_owned())))
        }
        _ => refused("only bearer tokens are supported"),
    }
}

#[cfg(test)]
mod tests;
