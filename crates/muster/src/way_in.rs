//! From what somebody typed to the one credential of a join: tokens, pins, files, kubeconfigs.
//!
//! Everything that can be wrong without asking anybody is told here. It knows neither flags nor configuration files:
//! both end in a [`WayIn`].

use crate::exit::Failure;
use crate::handshake_failure;
use jiff::SignedDuration;
use muster_fleet::{Credential, Way};
use muster_handshake::{EndpointChoice, HandshakeError, ProfileWish, Trusting};
use muster_identity::{
    BootstrapToken, CaPin, CertificateBundle, Endpoint, JoinRole, K0sToken, Secret, TokenKind,
};
use muster_net::{Identity, Introduction};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Port of the API server, unless another one is named.
const API_PORT: u16 = 6443;
/// How long a discovery file may take to come over https.
const FETCH_LIMIT: Duration = Duration::from_secs(20);
/// Largest CA file that is read, in bytes.
const LARGEST_AUTHORITY: u64 = 1024 * 1024;

/// Every way to say how a machine gets in. Most are left empty.
#[derive(Debug, Default)]
pub(crate) struct WayIn {
    /// The API server.
    pub(crate) endpoint: Option<String>,
    /// The token for everything that has no token of its own.
    pub(crate) token: Option<Secret<String>>,
    /// The token for discovery.
    pub(crate) discovery_token: Option<Secret<String>>,
    /// The token for the certificate.
    pub(crate) tls_bootstrap_token: Option<Secret<String>>,
    /// Pins.
    pub(crate) pins: Vec<String>,
    /// Go without pins.
    pub(crate) unsafe_skip_ca_verification: bool,
    /// A path, `file://` or `https://`.
    pub(crate) discovery_file: Option<String>,
    /// A CA, PEM.
    pub(crate) certificate_authority: Option<PathBuf>,
    /// An administrator's kubeconfig.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Which endpoint is used.
    pub(crate) choice: EndpointChoice,
    /// How long discovery is tried again.
    pub(crate) patience: SignedDuration,
    /// How long a certificate is waited for.
    pub(crate) approval_limit: SignedDuration,
    /// The worker profile of k0s that was asked for.
    pub(crate) profile: Option<String>,
    /// What the machine is to be.
    pub(crate) role: Option<JoinRole>,
}

impl WayIn {
    /// The credential. Fetches a discovery file over https; asks nobody else.
    ///
    /// # Errors
    /// Whatever is missing, contradictory or malformed.
    pub(crate) async fn resolve(self) -> Result<Credential, Failure> {
        if let Some(text) = self
            .token
            .as_ref()
            .filter(|text| is_no_bootstrap_token(text))
        {
            let decoded = K0sToken::decode(text.expose().as_bytes());
            let decoded = decoded.map_err(|error| handshake_failure(&error.into()))?;
            return self.by_join_token(&decoded);
        }
        if self.profile.is_some() {
            return Err(
                Failure::usage("--profile goes with a join token of k0s only").cure(
                    "give one with --token-file FILE or in $K0S_TOKEN, or leave out --profile",
                ),
            );
        }
        let token = self.token.as_ref().map(read_token).transpose()?;
        let own = |token: &Option<Secret<String>>| token.as_ref().map(read_token).transpose();
        let discovery_token = own(&self.discovery_token)?.or_else(|| token.clone());
        let tls_token = own(&self.tls_bootstrap_token)?;
        let endpoint = self.endpoint.as_deref().map(read_endpoint).transpose()?;
        let mut credential = match (&self.discovery_file, &self.kubeconfig) {
            (Some(file), _) => {
                let ca = self.authority()?;
                let found = muster_net::introduction(file, ca.as_ref(), FETCH_LIMIT).await;
                let found = found.map_err(|error| handshake_failure(&error))?;
                let mut credential = Credential::introduction(at(found, endpoint));
                // As with kubeadm, a token goes before what the file holds.
                credential.tls_bootstrap_token = tls_token.clone().or(token);
                credential
            }
            (None, Some(path)) => {
                let found = muster_net::introduction_from_file(path);
                let found = found.map_err(|error| handshake_failure(&error))?;
                Credential::introduction(at(found, endpoint))
            }
            (None, None) => {
                let endpoint = endpoint.ok_or_else(|| {
                    Failure::usage("a join needs to know the API server").cure(
                        "name it as HOST:PORT, or give a --discovery-file or --kubeconfig that does",
                    )
                })?;
                self.by_token(endpoint, discovery_token)?
            }
        };
        credential.tls_bootstrap_token = credential.tls_bootstrap_token.or(tls_token);
        credential.choice = self.choice;
        credential.patience = self.patience;
        credential.approval_limit = self.approval_limit;
        if matches!(credential.identity(), Identity::Anonymous) {
            return Err(Failure::usage(
                "nothing lets this machine in: the file holds no credential",
            )
            .cure("give a token for the certificate with --tls-bootstrap-token TOKEN"));
        }
        Ok(credential)
    }

    /// A join token of k0s names everything: the server, whom to trust there, and the credential.
    fn by_join_token(self, token: &K0sToken) -> Result<Credential, Failure> {
        let wanted = self.role.unwrap_or(JoinRole::Worker);
        if token.role() != wanted {
            let error = HandshakeError::TokenRoleMismatch {
                of: token.role(),
                wanted,
            };
            return Err(handshake_failure(&error));
        }
        if wanted == JoinRole::Controller {
            return Err(
                Failure::usage("a controller of k0s is joined by k0s itself").cure(
                    "on that machine: k0s install controller --token-file FILE, then k0s start",
                ),
            );
        }
        self.says_nothing_twice()?;
        let profile = match &self.profile {
            Some(name) => ProfileWish::named(name)
                .map_err(|error| Failure::usage("--profile cannot be used").because(&error))?,
            None => ProfileWish::default(),
        };
        let mut credential = Credential::k0s(token, profile);
        let endpoint = self.endpoint.as_deref().map(read_endpoint).transpose()?;
        if let (Some(endpoint), Way::Introduction(introduction)) = (endpoint, &mut credential.way) {
            introduction.endpoint = endpoint;
        }
        credential.choice = self.choice;
        credential.patience = self.patience;
        credential.approval_limit = self.approval_limit;
        Ok(credential)
    }

    /// Beside a join token nothing else may say whom to trust and how to get in.
    fn says_nothing_twice(&self) -> Result<(), Failure> {
        let beside = [
            ("--discovery-file", self.discovery_file.is_some()),
            ("--discovery-token", self.discovery_token.is_some()),
            ("--tls-bootstrap-token", self.tls_bootstrap_token.is_some()),
            ("--discovery-token-ca-cert-hash", !self.pins.is_empty()),
            (
                "--discovery-token-unsafe-skip-ca-verification",
                self.unsafe_skip_ca_verification,
            ),
            (
                "--certificate-authority",
                self.certificate_authority.is_some(),
            ),
        ];
        match beside.iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((flag, _)) => Err(Failure::usage(format!(
                "a join token of k0s says itself whom to trust and how to get in, so {flag} cannot stand beside it"
            ))
            .cure(format!("leave out {flag}, or the join token"))),
        }
    }

    fn by_token(
        &self,
        endpoint: Endpoint,
        token: Option<BootstrapToken>,
    ) -> Result<Credential, Failure> {
        let token = token.ok_or_else(|| {
            Failure::usage("a join needs a token").cure(
                "give it with --token TOKEN, --token-file FILE, in $MUSTER_TOKEN, or as --token - on standard input",
            )
        })?;
        if let Some(ca) = self.authority()? {
            if !self.pins.is_empty() {
                return Err(
                    Failure::usage("the CA and its pins are two ways to say the same")
                        .cure("leave out --discovery-token-ca-cert-hash"),
                );
            }
            return Ok(Credential::introduction(Introduction {
                source: "the CA that was given".to_owned(),
                endpoint,
                server_name: None,
                ca: Some(ca),
                identity: Identity::Bearer(token.to_text()),
            }));
        }
        Ok(Credential::token(endpoint, token, self.trusting()?))
    }

    fn trusting(&self) -> Result<Trusting, Failure> {
        let pins: Result<Vec<CaPin>, _> = self.pins.iter().map(|text| CaPin::parse(text)).collect();
        let pins = pins.map_err(|error| handshake_failure(&HandshakeError::from(error)))?;
        match (pins.is_empty(), self.unsafe_skip_ca_verification) {
            (false, _) => Ok(Trusting::Pins(pins)),
            (true, true) => Ok(Trusting::WhoeverKnowsTheToken),
            (true, false) => Err(Failure::usage("a join needs to know whom to trust").cure(
                "pin the CA with --discovery-token-ca-cert-hash sha256:…; \
                 `muster token create --print-join-command` prints the whole line",
            )),
        }
    }

    fn authority(&self) -> Result<Option<CertificateBundle>, Failure> {
        let Some(path) = &self.certificate_authority else {
            return Ok(None);
        };
        let unusable = |error: &(dyn std::error::Error + 'static)| {
            Failure::usage(format!("the CA in {} cannot be used", path.display())).because(error)
        };
        let pem = read_bounded(path).map_err(|error| unusable(&error))?;
        CertificateBundle::from_pem(&pem)
            .map(Some)
            .map_err(|error| unusable(&error))
    }
}

/// Whether the credential is an administrator's: it may do what a node may not.
pub(crate) fn is_administrator(way_in_kubeconfig: Option<&Path>, credential: &Credential) -> bool {
    way_in_kubeconfig.is_some()
        && matches!(credential.way, Way::Introduction(_))
        && credential.certified_node().is_none()
}

/// A typed endpoint goes before the one in the file; the file's CA has to vouch for it as well.
fn at(mut introduction: Introduction, endpoint: Option<Endpoint>) -> Introduction {
    if let Some(endpoint) = endpoint {
        introduction.endpoint = endpoint;
    }
    introduction
}

fn read_endpoint(text: &str) -> Result<Endpoint, Failure> {
    Endpoint::parse_with_default_port(text, API_PORT)
        .map_err(|error| Failure::usage("the endpoint cannot be used").because(&error))
}

/// Whether a text is to be read as a join token: it looks like another credential, or is far too long for the short one.
fn is_no_bootstrap_token(text: &Secret<String>) -> bool {
    const MUCH_TOO_LONG: usize = 64;
    let text = text.expose().trim();
    match TokenKind::of(text.as_bytes()) {
        Some(kind) => kind != TokenKind::Bootstrap,
        None => text.len() > MUCH_TOO_LONG,
    }
}

fn read_token(text: &Secret<String>) -> Result<BootstrapToken, Failure> {
    BootstrapToken::parse(text.expose().trim())
        .map_err(|error| handshake_failure(&HandshakeError::from(error)))
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    let mut limited = std::io::Read::take(file, LARGEST_AUTHORITY);
    std::io::Read::read_to_end(&mut limited, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "abcdef.0123456789abcdef";

    fn with_token() -> WayIn {
        WayIn {
            endpoint: Some("[fd00::1]".to_owned()),
            token: Some(Secret::new(TOKEN.to_owned())),
            unsafe_skip_ca_verification: true,
            ..WayIn::default()
        }
    }

    fn bearer(credential: &Credential) -> String {
        match credential.identity() {
            Identity::Bearer(token) => token.expose().clone(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_token_fills_only_what_has_none_of_its_own() {
        let credential = with_token().resolve().await.unwrap();
        assert_eq!(credential.endpoint().to_string(), "[fd00::1]:6443");
        assert_eq!(bearer(&credential), TOKEN);
        let other = "zzzzzz.0123456789abcdef";
        let apart = WayIn {
            tls_bootstrap_token: Some(Secret::new(other.to_owned())),
            ..with_token()
        };
        let credential = apart.resolve().await.unwrap();
        assert_eq!(bearer(&credential), other);
        let Way::Token { token, .. } = &credential.way else {
            panic!()
        };
        assert_eq!(token.to_text().expose(), TOKEN);
    }

    #[tokio::test]
    async fn what_is_missing_or_contradictory_is_told_before_anybody_is_asked() {
        let unpinned = WayIn {
            unsafe_skip_ca_verification: false,
            ..with_token()
        };
        for (way, word) in [
            (WayIn::default(), "API server"),
            (unpinned, "whom to trust"),
            (
                WayIn {
                    token: None,
                    ..with_token()
                },
                "needs a token",
            ),
            (
                WayIn {
                    endpoint: Some("http://h:1".to_owned()),
                    ..with_token()
                },
                "endpoint",
            ),
        ] {
            let failure = way.resolve().await.unwrap_err();
            assert!(failure.what.contains(word), "{failure:?}");
        }
    }
}
