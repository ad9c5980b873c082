//! TLS from a pin: client configurations, the check of a recorded chain, and the one provider.
//!
//! Every configuration names its provider (aws-lc-rs) itself and relies on no process default. The
//! recording configuration checks that the server holds its certificate's key and trusts nothing;
//! who may be trusted is decided elsewhere and checked here with [`verify_chain`]. Knows neither
//! sockets nor Kubernetes.

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use jiff::Timestamp;
use muster_handshake::ChainFault;
use muster_identity::{Certificate, CertificateBundle, Host, PrivateKey};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, SignatureScheme};
use rustls_pki_types::{
    CertificateDer, IpAddr, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, TrustAnchor, UnixTime,
};
use webpki::{EndEntityCert, KeyUsage};

/// TLS sessions that one configuration remembers. A client talks to one server; more would cost
/// memory in every one of thousands of clients.
const REMEMBERED_SESSIONS: usize = 2;

/// The protocols that are offered, best first (RFC 7301).
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a TLS configuration cannot be made: the given certificates or key are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is no certificate to trust; nothing could ever be verified.
    #[error("no CA certificate is given")]
    NoAnchor,
    /// A CA certificate cannot serve as a trust anchor; correct the bundle.
    #[error("the certificate of {subject:?} cannot be trusted as a CA: {detail}")]
    Anchor {
        /// Its common name.
        subject: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Client certificate and key cannot be used together; both have to be replaced.
    #[error("the client certificate and its key cannot be used")]
    ClientIdentity(#[source] rustls::Error),
    /// A host name that TLS cannot name.
    #[error("{host:?} cannot be verified as a server name")]
    ServerName {
        /// The name.
        host: String,
    },
    /// The provider lacks the TLS versions; the build is broken.
    #[error("the cryptography provider cannot do TLS")]
    Provider(#[source] rustls::Error),
}

/// The one cryptography provider of this program.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// Whose certificate a client connection shows, if any.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// Leaf first.
    pub chain: CertificateBundle,
    /// The leaf's key.
    pub key: PrivateKey,
}

/// A configuration that checks the handshake's signatures with the server's own key, records the
/// chain and trusts nothing: nothing secret may be sent until [`verify_chain`] accepts the chain
/// (`ClientConnection::peer_certificates`). Sessions are never resumed, so every connection shows
/// its chain.
///
/// # Errors
/// [`TlsError::Provider`] in a broken build only.
pub fn recording_config() -> Result<Arc<ClientConfig>, TlsError> {
    // It keeps nothing of a connection, so one serves all.
    static SHARED: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = SHARED.get() {
        return Ok(Arc::clone(config));
    }
    let config = unverified_config(None)?;
    Ok(Arc::clone(SHARED.get_or_init(|| config)))
}

/// A configuration that trusts servers whose chain leads to one of `ca` and that are valid for the
/// name they are connected by, and nobody else.
///
/// # Errors
/// [`TlsError`] when the CA certificates or the client's own cannot be used.
pub fn pinned_config(
    ca: &CertificateBundle,
    client: Option<&ClientCertificate>,
) -> Result<Arc<ClientConfig>, TlsError> {
    trusting(anchors(ca)?, client)
}

/// As [`pinned_config`], for the public CAs that this machine trusts.
///
/// # Errors
/// [`TlsError::NoAnchor`] when it trusts none.
pub fn public_config(client: Option<&ClientCertificate>) -> Result<Arc<ClientConfig>, TlsError> {
    trusting(public_anchors()?, client)
}

fn trusting(
    anchors: Vec<TrustAnchor<'static>>,
    client: Option<&ClientCertificate>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = Arc::new(Pinned {
        provider: provider(),
        anchors,
    });
    let builder = builder()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => builder
            .with_client_auth_cert(ders(&client.chain), key_der(&client.key))
            .map_err(TlsError::ClientIdentity)?,
    };
    config.resumption = Resumption::in_memory_sessions(REMEMBERED_SESSIONS);
    Ok(finish(config))
}

/// As [`recording_config`], with a client certificate: for kubeconfigs that say
/// `insecure-skip-tls-verify`, at their own risk.
///
/// # Errors
/// [`TlsError`] when the client's certificate cannot be used.
pub fn unverified_config(
    client: Option<&ClientCertificate>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = Arc::new(Recorder {
        provider: provider(),
    });
    let builder = builder()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => builder
            .with_client_auth_cert(ders(&client.chain), key_der(&client.key))
            .map_err(TlsError::ClientIdentity)?,
    };
    config.resumption = Resumption::disabled();
    Ok(finish(config))
}

/// The name under which TLS asks for and verifies a host.
///
/// # Errors
/// [`TlsError::ServerName`] when the name is none that a certificate could hold.
pub fn server_name(host: &Host) -> Result<ServerName<'static>, TlsError> {
    match host {
        Host::Ip(ip) => Ok(ServerName::IpAddress(IpAddr::from(*ip))),
        Host::Dns(name) => ServerName::try_from(name.clone())
            .map_err(|_| TlsError::ServerName { host: name.clone() }),
    }
}

fn public_anchors() -> Result<Vec<TrustAnchor<'static>>, TlsError> {
    let anchors = crate::public::anchors();
    if anchors.is_empty() {
        return Err(TlsError::NoAnchor);
    }
    Ok(anchors)
}

/// Whether `chain` (leaf first, DER) leads to a public CA that this machine trusts, at `now`, and its leaf is for
/// `host`.
///
/// # Errors
/// As [`verify_chain`].
pub fn verify_chain_publicly(
    chain: &[CertificateDer<'_>],
    host: &Host,
    now: Timestamp,
) -> Result<(), ChainFault> {
    let unusable = |error: TlsError| ChainFault::Unusable {
        reason: error.to_string(),
    };
    let name = server_name(host).map_err(unusable)?;
    let anchors = public_anchors().map_err(unusable)?;
    verify(&provider(), chain, &anchors, &name, now)
}

/// Whether `chain` (leaf first, DER) leads to one of `ca`, at `now`, and its leaf is for `host`.
///
/// # Errors
/// [`ChainFault`] tells an unknown issuer, a wrong name and a wrong time apart. A chain that is
/// both foreign and out of its validity counts as foreign.
pub fn verify_chain(
    chain: &[CertificateDer<'_>],
    ca: &CertificateBundle,
    host: &Host,
    now: Timestamp,
) -> Result<(), ChainFault> {
    let unusable = |error: TlsError| ChainFault::Unusable {
        reason: error.to_string(),
    };
    let name = server_name(host).map_err(unusable)?;
    let anchors = anchors(ca).map_err(unusable)?;
    verify(&provider(), chain, &anchors, &name, now)
}

fn verify(
    provider: &CryptoProvider,
    chain: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    name: &ServerName<'_>,
    now: Timestamp,
) -> Result<(), ChainFault> {
    let unusable = |reason: String| ChainFault::Unusable { reason };
    let (leaf, intermediates) = chain
        .split_first()
        .ok_or_else(|| unusable("it shows no certificate".to_owned()))?;
    let parsed = Certificate::from_der(leaf).map_err(|error| unusable(error.to_string()))?;
    let end_entity = EndEntityCert::try_from(leaf).map_err(|error| unusable(error.to_string()))?;
    let path = |time: Timestamp| {
        end_entity
            .verify_for_usage(
                provider.signature_verification_algorithms.all,
                anchors,
                intermediates,
                unix_time(time),
                KeyUsage::server_auth(),
                None,
                None,
            )
            .map(|_| ())
    };
    path(now).map_err(|error| path_fault(&error, &parsed, now, path))?;
    end_entity
        .verify_is_valid_for_subject_name(name)
        .map_err(|_| ChainFault::NameMismatch {
            names: names_of(&parsed),
        })
}

/// Sorts a path error. Time is looked at last: a foreign chain is foreign at any time.
fn path_fault(
    error: &webpki::Error,
    leaf: &Certificate,
    now: Timestamp,
    path: impl Fn(Timestamp) -> Result<(), webpki::Error>,
) -> ChainFault {
    let timely = |error: &webpki::Error| {
        matches!(
            error,
            webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. }
        )
    };
    if timely(error) {
        let (not_before, not_after) = (leaf.not_before(), leaf.not_after());
        let in_validity = leaf.is_valid_at(now);
        return match path(not_before).and_then(|()| path(not_after)) {
            Ok(()) if !in_validity => ChainFault::OutOfValidity {
                not_before,
                not_after,
            },
            Err(other) if !timely(&other) => path_fault(&other, leaf, now, path),
            _ if !in_validity => ChainFault::OutOfValidity {
                not_before,
                not_after,
            },
            _ => ChainFault::Unusable {
                reason: "an intermediate certificate is out of its validity".to_owned(),
            },
        };
    }
    match error {
        // A CA of the same name with another key signs nothing that verifies.
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            ChainFault::UnknownIssuer
        }
        other => ChainFault::Unusable {
            reason: other.to_string(),
        },
    }
}

/// The DNS names and addresses that a certificate is for.
pub(crate) fn names_of(certificate: &Certificate) -> Vec<String> {
    let names = certificate.subject_alt_names();
    names
        .dns
        .iter()
        .cloned()
        .chain(names.ip.iter().map(ToString::to_string))
        .collect()
}

fn unix_time(time: Timestamp) -> UnixTime {
    let seconds = u64::try_from(time.as_second()).unwrap_or_default();
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

fn anchors(ca: &CertificateBundle) -> Result<Vec<TrustAnchor<'static>>, TlsError> {
    if ca.is_empty() {
        return Err(TlsError::NoAnchor);
    }
    ca.certificates()
        .iter()
        .map(|certificate| {
            let der = CertificateDer::from(certificate.der());
            webpki::anchor_from_trusted_cert(&der)
                .map(|anchor| anchor.to_owned())
                .map_err(|error| TlsError::Anchor {
                    subject: certificate.subject().common_name.clone(),
                    detail: error.to_string(),
                })
        })
        .collect()
}

fn ders(bundle: &CertificateBundle) -> Vec<CertificateDer<'static>> {
    bundle
        .certificates()
        .iter()
        .map(|c| CertificateDer::from(c.der().to_vec()))
        .collect()
}

fn key_der(key: &PrivateKey) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.pkcs8_der().expose().clone()))
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)
}

fn finish(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// Accepts any certificate whose key signs the handshake.
struct Recorder {
    provider: Arc<CryptoProvider>,
}

/// Accepts chains to its anchors only.
struct Pinned {
    provider: Arc<CryptoProvider>,
    anchors: Vec<TrustAnchor<'static>>,
}

/// A [`ChainFault`] on its way through rustls.
#[derive(Debug)]
pub(crate) struct CarriedFault(pub(crate) ChainFault);

impl fmt::Display for CarriedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for CarriedFault {}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pinned({} anchors)", self.anchors.len())
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut chain = Vec::with_capacity(intermediates.len() + 1);
        chain.push(end_entity.clone());
        chain.extend_from_slice(intermediates);
        let now = i64::try_from(now.as_secs())
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .unwrap_or(Timestamp::MAX);
        match verify(&self.provider, &chain, &self.anchors, server_name, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(fault) => Err(rustls::Error::InvalidCertificate(CertificateError::Other(
                OtherError(Arc::new(CarriedFault(fault))),
            ))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
