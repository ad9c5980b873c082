//! TLS of the server: its certificate, which can be replaced while it runs, and client certificates, which
//! are optional and, when shown, must come from the cluster's CA.
//!
//! Refuses to know: who a client is; the verified certificate is only handed on.

use std::sync::Arc;

use muster_identity::{Certificate, CertificateBundle, PrivateKey};
use parking_lot::RwLock;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError,
        WebPkiClientVerifier,
    },
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The serving key or certificate cannot be used, or does not belong together. Replace both.
    #[error("the serving certificate cannot be used")]
    ServingCertificate(#[source] rustls::Error),
    /// The client CA is no usable certificate. Replace it.
    #[error("the client CA cannot be used")]
    ClientCa(#[source] VerifierBuilderError),
    /// The crypto library offers no safe protocol version. A mistake in the build.
    #[error("no TLS version can be offered")]
    Protocol(#[source] rustls::Error),
}

/// The certificate that new connections are shown.
#[derive(Debug)]
pub(crate) struct ServingCertificate {
    current: RwLock<Arc<CertifiedKey>>,
    provider: Arc<CryptoProvider>,
}

impl ServingCertificate {
    /// Begins with this certificate.
    pub(crate) fn new(certificate: &Certificate, key: &PrivateKey) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let current = RwLock::new(Arc::new(certified(&provider, certificate, key)?));
        Ok(Self { current, provider })
    }

    /// Shows another certificate to connections from now on.
    pub(crate) fn replace(
        &self,
        certificate: &Certificate,
        key: &PrivateKey,
    ) -> Result<(), TlsError> {
        *self.current.write() = Arc::new(certified(&self.provider, certificate, key)?);
        Ok(())
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
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

/// The TLS settings of the server.
pub(crate) fn server_config(
    certificate: Arc<ServingCertificate>,
    client_ca: &CertificateBundle,
) -> Result<ServerConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(
        client_ca
            .certificates()
            .iter()
            .map(|certificate| CertificateDer::from(certificate.der().to_vec())),
    );
    let provider = Arc::clone(&certificate.provider);
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(TlsError::ClientCa)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    // A resumed session would carry over who the client was without looking at its certificate again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
