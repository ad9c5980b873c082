//! Client certificates: whether a CA that is trusted for clients signed one, and whom it names. The common name
//! is the user, every organisation a group.
//!
//! Refuses to know: connections. A certificate that does not verify is a wrong credential and no reason to end a
//! connection: its requests are answered with 401, as kube-apiserver answers them.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::digest;
use jiff::Timestamp;
use muster_identity::{Certificate, CertificateBundle, Subject};
use parking_lot::{Mutex, RwLock};
use rustls::{
    RootCertStore,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::Unauthenticated;
use crate::request::UserInfo;

/// Kubernetes' attribute that tells credentials of one user apart.
pub(super) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
/// Intermediates that are looked at, beside the client's own certificate.
const MAX_CHAIN: usize = 8;
/// How long the verdict on a certificate is remembered for its connection.
const REMEMBERED: Duration = Duration::from_secs(60);

type Verifier = Arc<dyn ClientCertVerifier>;

/// The certificate that a client showed for its connection, not judged yet.
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    /// The client's own certificate, read once for all requests of the connection.
    leaf: Result<Certificate, String>,
    credential_id: String,
    verdicts: Mutex<Vec<Verdict>>,
}

/// What one verifier said a moment ago.
struct Verdict {
    by: Verifier,
    at: Instant,
    accepted: bool,
}

impl ClientCertificate {
    /// From the chain as the client sent it: its own certificate first. `None` when it sent none.
    pub fn from_chain<'a>(chain: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let chain: Vec<_> = chain
            .into_iter()
            .take(MAX_CHAIN + 1)
            .map(|der| CertificateDer::from(der.to_vec()))
            .collect();
        let first = chain.first()?;
        Some(Self {
            leaf: Certificate::from_der(first).map_err(|error| error.to_string()),
            credential_id: format!("X509SHA256={}", fingerprint(first)),
            chain,
            verdicts: Mutex::default(),
        })
    }

    /// The names in the client's own certificate.
    pub(super) fn subject(&self) -> Result<&Subject, Unauthenticated> {
        self.leaf().map(Certificate::subject)
    }

    fn leaf(&self) -> Result<&Certificate, Unauthenticated> {
        self.leaf
            .as_ref()
            .map_err(|error| unusable(format!("it cannot be read: {error}")))
    }

    fn remembered(&self, verifier: &Verifier) -> Option<bool> {
        let verdicts = self.verdicts.lock();
        let known = verdicts
            .iter()
            .find(|verdict| Arc::ptr_eq(&verdict.by, verifier))?;
        (known.at.elapsed() < REMEMBERED).then_some(known.accepted)
    }

    fn remember(&self, by: &Verifier, accepted: bool) {
        let mut verdicts = self.verdicts.lock();
        // Verifiers of replaced CAs go at the latest when their verdict is old.
        verdicts.retain(|old| !Arc::ptr_eq(&old.by, by) && old.at.elapsed() < REMEMBERED);
        verdicts.push(Verdict {
            by: Arc::clone(by),
            at: Instant::now(),
            accepted,
        });
    }
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("chain", &self.chain.len())
            .finish_non_exhaustive()
    }
}

/// The CAs whose client certificates are believed; they can be replaced at any time.
#[derive(Debug, Default)]
pub(super) struct ClientTrust {
    verifier: RwLock<Option<Verifier>>,
}

impl ClientTrust {
    /// Believes these CAs from now on, and no others.
    pub(super) fn replace(&self, bundle: &CertificateBundle) {
        let verifier = verifier(bundle);
        if verifier.is_none() && !bundle.is_empty() {
            tracing::error!("no certificate of the client CA can be used");
        }
        *self.verifier.write() = verifier;
    }

    /// Whether one of the CAs signed the certificate for client authentication, and it is valid at `now`.
    pub(super) fn verify(
        &self,
        certificate: &ClientCertificate,
        now: Timestamp,
    ) -> Result<(), Unauthenticated> {
        let verifier = self.verifier.read().clone();
        let verifier = verifier.ok_or_else(|| unusable("no CA is trusted".to_owned()))?;
        let leaf = certificate.leaf()?;
        if !leaf.is_valid_at(now) {
            let (from, until) = (leaf.not_before(), leaf.not_after());
            return Err(unusable(format!("it is valid from {from} to {until}")));
        }
        match certificate.remembered(&verifier) {
            Some(true) => return Ok(()),
            Some(false) => return Err(unusable("its chain does not verify".to_owned())),
            None => {}
        }
        let verified = verify_chain(&verifier, &certificate.chain, now);
        certificate.remember(&verifier, verified.is_ok());
        verified.map_err(unusable)
    }
}

fn verifier(bundle: &CertificateBundle) -> Option<Verifier> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(
        bundle
            .certificates()
            .iter()
            .map(|certificate| CertificateDer::from(certificate.der().to_vec())),
    );
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .ok()
}

fn verify_chain(
    verifier: &Verifier,
    chain: &[CertificateDer<'static>],
    now: Timestamp,
) -> Result<(), String> {
    let (leaf, intermediates) = chain.split_first().ok_or("there is none")?;
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    verifier
        .verify_client_cert(leaf, intermediates, now)
        .map(drop)
        .map_err(|error| error.to_string())
}

pub(super) fn unusable(detail: String) -> Unauthenticated {
    Unauthenticated::Certificate { detail }
}

/// The user that a verified certificate names.
pub(super) fn user(certificate: &ClientCertificate) -> Result<UserInfo, Unauthenticated> {
    let subject = certificate.subject()?;
    if subject.common_name.is_empty() {
        return Err(unusable("it has no common name".to_owned()));
    }
    let mut user = UserInfo::new(
        subject.common_name.clone(),
        subject.organizations.iter().map(String::as_str),
    );
    let id = certificate.credential_id.clone();
    user.extra.insert(CREDENTIAL_ID.to_owned(), vec![id]);
    Ok(user)
}

fn fingerprint(der: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, der);
    digest
        .as_ref()
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // Writing into a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}
