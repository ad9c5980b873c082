//! From a kubeconfig to an [`ApiClient`]: reads the files it points to and refuses what it cannot do.
//!
//! Knows the file system; knows neither where kubeconfigs lie nor which one the user means.

use std::path::{Path, PathBuf};

use muster_identity::kubeconfig::{Material, Resolved};
use muster_identity::{
    CertificateBundle, CertificateError, Endpoint, EndpointError, Host, KeyError, Kubeconfig,
    KubeconfigError, PrivateKey, Secret,
};

use crate::client::ApiClient;
use crate::request::Identity;
use crate::tls::{ClientCertificate, TlsError, pinned_config, server_name, unverified_config};

/// Largest file that is read, in bytes.
const LARGEST_FILE: u64 = 1024 * 1024;

/// Why a kubeconfig gives no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientConfigError {
    /// A file cannot be read: check path and permissions.
    #[error("{} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The kubeconfig itself cannot be used: correct it.
    #[error("the kubeconfig cannot be used")]
    Kubeconfig(#[source] KubeconfigError),
    /// `server` is no address that this client can reach: it knows https without a path.
    #[error("the server {server:?} cannot be used")]
    Server {
        /// As it stands.
        server: String,
        /// What is wrong with it.
        #[source]
        error: EndpointError,
    },
    /// No CA is named; this client knows no public CAs.
    #[error("the kubeconfig names no certificate-authority")]
    NoAuthority,
    /// A certificate cannot be read.
    #[error("{field} cannot be used")]
    Certificate {
        /// Field of the kubeconfig.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        error: CertificateError,
    },
    /// The client key cannot be read.
    #[error("client-key cannot be used")]
    Key(#[source] KeyError),
    /// Certificate without key, or key without certificate.
    #[error("client-certificate and client-key belong together, one is missing")]
    HalfAnIdentity,
    /// The parts do not make a TLS configuration.
    #[error("TLS cannot be configured")]
    Tls(#[source] TlsError),
}

/// A client for the current context of the kubeconfig file at `path`. Relative paths in it are
/// relative to its own folder, as in client-go.
///
/// # Errors
/// [`ClientConfigError`].
pub fn client_from_file(path: &Path) -> Result<ApiClient, ClientConfigError> {
    let text = Secret::new(read(path)?);
    let kubeconfig = Kubeconfig::parse(text.expose()).map_err(ClientConfigError::Kubeconfig)?;
    client_from_kubeconfig(&kubeconfig, path.parent().unwrap_or_else(|| Path::new("")))
}

/// A client for the current context of a kubeconfig; relative paths in it start at `base`.
///
/// # Errors
/// [`ClientConfigError`].
pub fn client_from_kubeconfig(
    kubeconfig: &Kubeconfig,
    base: &Path,
) -> Result<ApiClient, ClientConfigError> {
    let resolved = kubeconfig
        .resolve()
        .map_err(ClientConfigError::Kubeconfig)?;
    client_from_resolved(&resolved, base)
}

/// A client for one context of a kubeconfig; relative paths in it start at `base`.
///
/// # Errors
/// [`ClientConfigError`].
pub fn client_from_resolved(
    resolved: &Resolved,
    base: &Path,
) -> Result<ApiClient, ClientConfigError> {
    let endpoint =
        Endpoint::parse(&resolved.cluster.server).map_err(|error| ClientConfigError::Server {
            server: resolved.cluster.server.clone(),
            error,
        })?;
    let certificate = client_certificate(resolved, base)?;
    let tls = if resolved.cluster.insecure_skip_tls_verify {
        unverified_config(certificate.as_ref())
    } else {
        pinned_config(&authority(resolved, base)?, certificate.as_ref())
    };
    let name = resolved
        .cluster
        .tls_server_name
        .as_deref()
        .map(verified_name)
        .transpose()?;
    let bearer = bearer(resolved, base)?;
    Ok(ApiClient::with_tls(
        endpoint,
        tls.map_err(ClientConfigError::Tls)?,
        name,
        bearer,
    ))
}

/// As whom the user of a kubeconfig speaks. A certificate goes before a token, as it proves more.
pub(crate) fn identity_of(resolved: &Resolved, base: &Path) -> Result<Identity, ClientConfigError> {
    if let Some(ClientCertificate { chain, key }) = client_certificate(resolved, base)? {
        return Ok(Identity::Certificate { chain, key });
    }
    Ok(bearer(resolved, base)?.map_or(Identity::Anonymous, Identity::Bearer))
}

fn bearer(resolved: &Resolved, base: &Path) -> Result<Option<Secret<String>>, ClientConfigError> {
    match &resolved.user.token {
        None => Ok(None),
        Some(Material::Data(token)) => Ok(Some(token.clone())),
        Some(Material::File(path)) => token_from_file(&base.join(path)).map(Some),
    }
}

fn verified_name(name: &str) -> Result<rustls_pki_types::ServerName<'static>, ClientConfigError> {
    let host = Host::parse(name).map_err(|error| ClientConfigError::Server {
        server: name.to_owned(),
        error,
    })?;
    server_name(&host).map_err(ClientConfigError::Tls)
}

pub(crate) fn authority(
    resolved: &Resolved,
    base: &Path,
) -> Result<CertificateBundle, ClientConfigError> {
    let material = resolved.cluster.certificate_authority.as_ref();
    let pem = bytes(material.ok_or(ClientConfigError::NoAuthority)?, base)?;
    CertificateBundle::from_pem(&pem).map_err(|error| ClientConfigError::Certificate {
        field: "certificate-authority",
        error,
    })
}

fn client_certificate(
    resolved: &Resolved,
    base: &Path,
) -> Result<Option<ClientCertificate>, ClientConfigError> {
    let user = &resolved.user;
    let (certificate, key) = match (&user.client_certificate, &user.client_key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        _ => return Err(ClientConfigError::HalfAnIdentity),
    };
    let chain = CertificateBundle::from_pem(&bytes(certificate, base)?).map_err(|error| {
        ClientConfigError::Certificate {
            field: "client-certificate",
            error,
        }
    })?;
    let key = match key {
        Material::Data(pem) => PrivateKey::from_pem(pem.expose()),
        Material::File(path) => {
            let pem = Secret::new(read(&base.join(path))?);
            PrivateKey::from_pem(pem.expose())
        }
    };
    Ok(Some(ClientCertificate {
        chain,
        key: key.map_err(ClientConfigError::Key)?,
    }))
}

fn bytes(material: &Material<Vec<u8>>, base: &Path) -> Result<Vec<u8>, ClientConfigError> {
    match material {
        Material::Data(bytes) => Ok(bytes.clone()),
        Material::File(path) => read(&base.join(path)),
    }
}

fn token_from_file(path: &Path) -> Result<Secret<String>, ClientConfigError> {
    let bytes = Secret::new(read(path)?);
    Ok(Secret::new(
        String::from_utf8_lossy(bytes.expose()).trim().to_owned(),
    ))
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ClientConfigError> {
    use std::io::Read as _;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?
            .take(LARGEST_FILE + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(std::io::Error::new(
                std::io::ErrorKind::FileTooLarge,
                "the file is larger than 1 MiB",
            ));
        }
        Ok(bytes)
    };
    read().map_err(|error| ClientConfigError::File {
        path: path.to_owned(),
        error,
    })
}
