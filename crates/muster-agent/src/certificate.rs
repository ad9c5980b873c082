//! The node's client certificate on disk: read, and replaced by the next one as the kubelet does:
//! a new dated file, then the link `kubelet-client-current.pem` moved over to it.

use jiff::Timestamp;
use muster_identity::{Certificate, CertificateBundle, CertificateError, NodeName, PrivateKey};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

/// The link to the pair in use.
const CURRENT: &str = "kubelet-client-current.pem";

/// Why the node has no usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum NodeCertificateError {
    /// The file cannot be read or written.
    #[error("{} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds no certificate.
    #[error("{} holds no certificate", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// It is not one of a node.
    #[error("the certificate in {} names {user:?}, which is no node", path.display())]
    NotANode {
        /// The file.
        path: PathBuf,
        /// Its common name.
        user: String,
    },
}

/// The certificate in use under `pki`.
///
/// # Errors
/// [`NodeCertificateError`] when there is none or it cannot be read.
pub fn current(pki: &Path) -> Result<Certificate, NodeCertificateError> {
    let path = pki.join(CURRENT);
    let pem = fs::read(&path).map_err(|source| NodeCertificateError::File {
        path: path.clone(),
        source,
    })?;
    let bundle = CertificateBundle::from_pem(&pem);
    let bundle = bundle.map_err(|source| NodeCertificateError::Certificate {
        path: path.clone(),
        source,
    })?;
    bundle
        .certificates()
        .first()
        .cloned()
        .ok_or_else(|| NodeCertificateError::NotANode {
            path,
            user: String::new(),
        })
}

/// The node that the certificate under `pki` names.
///
/// # Errors
/// [`NodeCertificateError`], also when it names somebody who is no node.
pub fn node_name(pki: &Path) -> Result<NodeName, NodeCertificateError> {
    let certificate = current(pki)?;
    let user = &certificate.subject().common_name;
    let name = user
        .strip_prefix("system:node:")
        .and_then(|name| NodeName::parse(name).ok());
    name.ok_or_else(|| NodeCertificateError::NotANode {
        path: pki.join(CURRENT),
        user: user.clone(),
    })
}

/// Puts a new pair into use. The old file stays, as with the kubelet.
///
/// # Errors
/// [`NodeCertificateError::File`]; the pair in use is then the old one.
pub fn install(
    pki: &Path,
    chain: &CertificateBundle,
    key: &PrivateKey,
    now: Timestamp,
) -> Result<PathBuf, NodeCertificateError> {
    let name = format!("kubelet-client-{}.pem", now.strftime("%Y-%m-%d-%H-%M-%S"));
    let path = pki.join(&name);
    let file = |source| NodeCertificateError::File {
        path: path.clone(),
        source,
    };
    let key = key.to_pem();
    write_secret(&path, &[chain.to_pem().as_bytes(), key.expose().as_bytes()]).map_err(file)?;
    let next = pki.join(".kubelet-client-current.pem.next");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file(error)),
        _ => {}
    }
    symlink(&path, &next).map_err(file)?;
    fs::rename(&next, pki.join(CURRENT)).map_err(file)?;
    fs::File::open(pki)
        .and_then(|folder| folder.sync_all())
        .map_err(file)?;
    Ok(path)
}

/// Writes and syncs a file that only its owner may read, from the first byte on.
fn write_secret(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}
