//! TLS of the server: its certificate, which can be replaced while it runs, and client certificates, which are
//! asked for and taken as they come. Who showed a wrong one hears so in an answer, not in an alert.
//!
//! Refuses to know: who a client is and which CA is to be believed; what it shows is only handed on, with the proof
//! that it holds the key.

use std::sync::Arc;

use muster_identity::{Certificate, CertificateBundle, PrivateKey};
use parking_lot::RwLock;
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
        verify_tls13_signature,
    },
    server::{
        NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use tokio_rustls::TlsAcceptor;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The serving key or certificate cannot be used, or does not belong together. Replace both.
    #[error("the serving certificate cannot be used")]
    ServingCertificate(#[source] rustls::Error),
    /// The crypto library offers no safe protocol version. A mistake in the build.
    #[error("no TLS version can be offered")]
    Protocol(#[source] rustls::Error),
}

/// What new connections are met with.
pub(crate) struct ServingTls {
    current: RwLock<Arc<ServerConfig>>,
}

impl ServingTls {
    /// Begins with this certificate. `client_cas` are the CAs that clients are told of, so that one with several
    /// certificates can choose.
    pub(crate) fn new(
        certificate: &Certificate,
        key: &PrivateKey,
        client_cas: &[&CertificateBundle],
    ) -> Result<Self, TlsError> {
        let config = server_config(certificate, key, client_cas)?;
        Ok(Self {
            current: RwLock::new(Arc::new(config)),
        })
    }

    /// Meets connections with another certificate from now on; those that are open go on.
    pub(crate) fn replace(
        &self,
        certificate: &Certificate,
        key: &PrivateKey,
        client_cas: &[&CertificateBundle],
    ) -> Result<(), TlsError> {
        let config = server_config(certificate, key, client_cas)?;
        *self.current.write() = Arc::new(config);
        Ok(())
    }

    /// Takes the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read()))
    }
}

fn server_config(
    certificate: &Certificate,
    key: &PrivateKey,
    client_cas: &[&CertificateBundle],
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certified = certified(&provider, certificate, key)?;
    let verifier = AnyClientCertificate {
        hints: hints(client_cas),
        algorithms: provider.signature_verification_algorithms,
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    // A resumed session would carry over who the client was without looking at its certificate again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certified(
    provider: &CryptoProvider,
    certificate: &Certificate,
    key: &PrivateKey,
) -> Result<CertifiedKey, TlsError> {
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8_der().expose().clone()));
    CertifiedKey::from_der(chain, key, provider).map_err(TlsError::ServingCertificate)
}

fn hints(client_cas: &[&CertificateBundle]) -> Vec<DistinguishedName> {
    let mut roots = RootCertStore::empty();
    let certificates = client_cas.iter().flat_map(|bundle| bundle.certificates());
    roots.add_parsable_certificates(
        certificates.map(|certificate| CertificateDer::from(certificate.der().to_vec())),
    );
    roots.subjects()
}

/// Asks for a certificate, takes any or none, and sees that the client holds its key.
#[derive(Debug)]
struct AnyClientCertificate {
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyClientCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
