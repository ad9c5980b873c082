//! The cluster's keys and certificates in `<data>/pki`: loaded where they are good, made or renewed where
//! they are not. Names, subjects, lives and modes are those of kubeadm, so a directory that kubeadm made can
//! be taken over as it is.
//!
//! Refuses to know: TLS configuration and who connects. A CA is never replaced: that would orphan every node.

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use muster_identity::{
    Certificate, CertificateAuthority, CertificateBundle, Endpoint, PrivateKey, Subject,
    SubjectAltNames,
    pki::{AuthorityError, CLUSTER_CA_NAME, CertificateError, IssueRequest, KeyError, PublicKey},
};

use super::{access_files, write};
use crate::{authn::front_proxy, entropy::system_entropy};

/// The common name of the CA of front proxies (kubeadm's).
const FRONT_PROXY_CA_NAME: &str = "front-proxy-ca";

const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);
/// kubeadm's `caCertificateValidityPeriod`: ten years of 365 days.
const CA_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// A certificate with less than this left is renewed at start.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What the certificates are made for.
#[derive(Clone, Debug)]
pub struct PkiSettings {
    /// Where clients reach the API server; goes into the kubeconfigs.
    pub server: Endpoint,
    /// Further DNS names of the serving certificate: this host's name and those asked for.
    pub dns_names: Vec<String>,
    /// Further addresses of the serving certificate: those advertised and those asked for.
    pub addresses: Vec<IpAddr>,
    /// The first address of the service range, under which pods reach the API server.
    pub service_address: IpAddr,
    /// The DNS domain of the cluster, `cluster.local` by default.
    pub dns_domain: String,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The certificate, signed by one of the cluster's CAs.
    pub certificate: Certificate,
    /// Its private key.
    pub key: PrivateKey,
}

/// The keys and certificates of a control plane.
#[derive(Clone, Debug)]
pub struct Pki {
    authority: CertificateAuthority,
    bundle: CertificateBundle,
    server: Credential,
    kubelet_client: Credential,
    front_proxy_bundle: CertificateBundle,
    front_proxy_client: Credential,
    service_account_key: PrivateKey,
    token_keys: Vec<PublicKey>,
    data_dir: PathBuf,
}

/// Why the keys and certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written; see its path and rights.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// There is a CA certificate and no key for it. Bring the key, or start with an empty directory.
    #[error("{certificate} is there but {key} is not: the CA cannot sign")]
    CaKeyMissing {
        /// The certificate's path.
        certificate: PathBuf,
        /// Where the key should be.
        key: PathBuf,
    },
    /// A key file holds no usable key. Replace it by the right one; it is never overwritten.
    #[error("{path} holds no usable key")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: KeyError,
    },
    /// The CA's files cannot be used together. Replace them by the right ones.
    #[error("the CA in {path} cannot be used")]
    Authority {
        /// The certificate's path.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: AuthorityError,
    },
    /// The CA's certificate file cannot be read.
    #[error("{path} holds no usable certificate")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: CertificateError,
    },
    /// A certificate could not be issued: mostly because the CA itself has ended.
    #[error("cannot issue the certificate {name}")]
    Issue {
        /// kubeadm's name of the certificate.
        name: &'static str,
        /// What the CA says.
        #[source]
        source: AuthorityError,
    },
}

impl Pki {
    /// Loads what is in `data_dir`, makes what is missing, renews what misses a name or ends within 30 days,
    /// and writes the administrators' kubeconfigs.
    ///
    /// # Errors
    /// [`PkiError`]; files that hold a secret of the user's are never overwritten to get around one.
    pub fn load_or_create(
        data_dir: &Path,
        settings: &PkiSettings,
        now: Timestamp,
    ) -> Result<Self, PkiError> {
        let folder = data_dir.join("pki");
        for (path, mode) in [(data_dir, 0o700), (folder.as_path(), 0o755)] {
            write::directory(path, mode).map_err(io_error("make the directory", path))?;
        }
        let store = Store { folder, now };
        let (authority, bundle) = store.authority("ca", CLUSTER_CA_NAME)?;
        let (front_proxy, front_proxy_bundle) =
            store.authority("front-proxy-ca", FRONT_PROXY_CA_NAME)?;
        let server = store.credential(&authority, "apiserver", &server_request(settings))?;
        let kubelet_client = store.credential(
            &authority,
            "apiserver-kubelet-client",
            &Wanted::client("kube-apiserver-kubelet-client", []),
        )?;
        let front_proxy_client = store.credential(
            &front_proxy,
            "front-proxy-client",
            &Wanted::client(front_proxy::ALLOWED_NAME, []),
        )?;
        let service_account_key = store.key_or_new(&store.folder.join("sa.key"))?;
        let pki = Self {
            authority,
            bundle,
            server,
            kubelet_client,
            front_proxy_bundle,
            front_proxy_client,
            token_keys: store.token_keys(&service_account_key)?,
            service_account_key,
            data_dir: data_dir.to_owned(),
        };
        access_files::write_all(&pki, settings, now)?;
        Ok(pki)
    }

    /// The CA, with its key.
    pub fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    /// Every certificate in `ca.crt`: what clients are to trust.
    pub fn ca_bundle(&self) -> &CertificateBundle {
        &self.bundle
    }

    /// The serving certificate.
    pub fn server(&self) -> &Credential {
        &self.server
    }

    /// The client certificate with which the API server calls kubelets.
    pub fn kubelet_client(&self) -> &Credential {
        &self.kubelet_client
    }

    /// Every certificate in `front-proxy-ca.crt`: whose clients may say in whose name they ask.
    pub fn front_proxy_bundle(&self) -> &CertificateBundle {
        &self.front_proxy_bundle
    }

    /// The client certificate with which this server stands in front of extension API servers.
    pub fn front_proxy_client(&self) -> &Credential {
        &self.front_proxy_client
    }

    /// Further keys that verify service-account tokens: those in `sa.pub` beside our own.
    pub fn token_keys(&self) -> &[PublicKey] {
        &self.token_keys
    }

    /// The key that signs service-account tokens.
    pub fn service_account_key(&self) -> &PrivateKey {
        &self.service_account_key
    }

    /// The kubeconfig of the administrator, in the group `kubeadm:cluster-admins`.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.data_dir.join(access_files::ADMIN)
    }

    /// The kubeconfig in the group `system:masters`, which no RBAC object can lock out. For emergencies.
    pub fn super_admin_kubeconfig(&self) -> PathBuf {
        self.data_dir.join(access_files::SUPER_ADMIN)
    }
}

/// What a certificate should be.
pub(super) struct Wanted {
    subject: Subject,
    sans: SubjectAltNames,
    is_server: bool,
}

impl Wanted {
    pub(super) fn client<'a>(user: &str, groups: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            subject: Subject::new(user, groups),
            sans: SubjectAltNames::default(),
            is_server: false,
        }
    }

    /// Whether an existing certificate will do.
    pub(super) fn is_met_by(&self, found: &Credential, ca: &Certificate, now: Timestamp) -> bool {
        let Credential { certificate, key } = found;
        let sans = certificate.subject_alt_names();
        let belongs = certificate.spki_der() == key.public_key().spki_der();
        let lives = certificate.is_valid_at(now)
            && certificate.not_after().duration_since(now) > RENEW_BEFORE;
        belongs
            && lives
            && certificate.subject() == &self.subject
            && self.sans.dns.iter().all(|name| sans.dns.contains(name))
            && self.sans.ip.iter().all(|address| sans.ip.contains(address))
            && certificate.verify_signed_by(ca).is_ok()
    }

    pub(super) fn issue(
        &self,
        authority: &CertificateAuthority,
        key: PrivateKey,
        name: &'static str,
        now: Timestamp,
    ) -> Result<Credential, PkiError> {
        let public = key.public_key().clone();
        let request = if self.is_server {
            let name = self.subject.common_name.clone();
            IssueRequest::server(name, self.sans.clone(), public, YEAR)
        } else {
            IssueRequest::client(self.subject.clone(), public, YEAR)
        };
        let certificate = authority
            .issue(&request, now, &mut system_entropy())
            .map_err(|source| PkiError::Issue { name, source })?;
        Ok(Credential { certificate, key })
    }
}

/// kubeadm's names of an API server, and the given ones; each once, in a stable order.
fn server_request(settings: &PkiSettings) -> Wanted {
    let domain = &settings.dns_domain;
    let mut dns: BTreeSet<String> = [
        "kubernetes".to_owned(),
        "kubernetes.default".to_owned(),
        "kubernetes.default.svc".to_owned(),
        format!("kubernetes.default.svc.{domain}"),
        "localhost".to_owned(),
    ]
    .into();
    dns.extend(
        settings
            .dns_names
            .iter()
            .map(|name| name.to_ascii_lowercase()),
    );
    let mut addresses: BTreeSet<IpAddr> = [
        settings.service_address,
        IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
    ]
    .into();
    addresses.extend(&settings.addresses);
    match settings.server.host().ip() {
        Some(address) => addresses.insert(address),
        None => dns.insert(settings.server.server_name()),
    };
    Wanted {
        subject: Subject::new("kube-apiserver", [""; 0]),
        sans: SubjectAltNames::new(dns, addresses),
        is_server: true,
    }
}

/// The folder `pki`, at one moment.
struct Store {
    folder: PathBuf,
    now: Timestamp,
}

impl Store {
    /// The CA `NAME.crt` with `NAME.key`, made when it is not there.
    fn authority(
        &self,
        name: &str,
        common_name: &str,
    ) -> Result<(CertificateAuthority, CertificateBundle), PkiError> {
        let certificate_path = self.folder.join(format!("{name}.crt"));
        let key_path = self.folder.join(format!("{name}.key"));
        let key = read(&key_path)?;
        if let Some(pem) = read(&certificate_path)? {
            let Some(key) = key else {
                return Err(PkiError::CaKeyMissing {
                    certificate: certificate_path,
                    key: key_path,
                });
            };
            let bundle =
                CertificateBundle::from_pem(&pem).map_err(|source| PkiError::Certificate {
                    path: certificate_path.clone(),
                    source,
                })?;
            let authority =
                CertificateAuthority::load(&pem, &key).map_err(|source| PkiError::Authority {
                    path: certificate_path,
                    source,
                })?;
            return Ok((authority, bundle));
        }
        // A key alone is what a crash between the two writes leaves.
        let key = self.key_or_new(&key_path)?;
        let made = CertificateAuthority::self_signed_with(
            key,
            common_name,
            self.now,
            CA_LIFE,
            &mut system_entropy(),
        );
        let authority = made.map_err(|source| PkiError::Authority {
            path: certificate_path.clone(),
            source,
        })?;
        let bundle = CertificateBundle::from(authority.certificate().clone());
        put(&certificate_path, bundle.to_pem().as_bytes(), write::PUBLIC)?;
        Ok((authority, bundle))
    }

    /// The certificate `NAME.crt` with `NAME.key`, reissued for the same key when it will not do any more.
    fn credential(
        &self,
        authority: &CertificateAuthority,
        name: &'static str,
        wanted: &Wanted,
    ) -> Result<Credential, PkiError> {
        let path = self.folder.join(format!("{name}.crt"));
        let key = self.key_or_new(&self.folder.join(format!("{name}.key")))?;
        // A damaged certificate costs nothing: a new one replaces it.
        let found = read(&path)?.and_then(|pem| Certificate::from_pem(&pem).ok());
        if let Some(certificate) = found {
            let found = Credential {
                certificate,
                key: key.clone(),
            };
            if wanted.is_met_by(&found, authority.certificate(), self.now) {
                return Ok(found);
            }
        }
        let issued = wanted.issue(authority, key, name, self.now)?;
        put(&path, issued.certificate.to_pem().as_bytes(), write::PUBLIC)?;
        Ok(issued)
    }

    /// The keys in `sa.pub` that are not our own. It may hold those of other servers, and of our own past: what
    /// is there is left alone.
    fn token_keys(&self, own: &PrivateKey) -> Result<Vec<PublicKey>, PkiError> {
        let path = self.folder.join("sa.pub");
        let Some(text) = read(&path)? else {
            put(&path, own.public_key().to_pem().as_bytes(), write::PUBLIC)?;
            return Ok(Vec::new());
        };
        let mut keys =
            PublicKey::all_from_pem(&text).map_err(|source| PkiError::Key { path, source })?;
        keys.retain(|key| key != own.public_key());
        Ok(keys)
    }

    fn key_or_new(&self, path: &Path) -> Result<PrivateKey, PkiError> {
        let key_error = |source| PkiError::Key {
            path: path.to_owned(),
            source,
        };
        if let Some(pem) = read(path)? {
            return PrivateKey::from_pem(&pem).map_err(key_error);
        }
        let key = PrivateKey::generate(&mut system_entropy()).map_err(key_error)?;
        put(path, key.to_pem().expose().as_bytes(), write::SECRET)?;
        Ok(key)
    }
}

/// The file's bytes; `None` when there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, PkiError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

pub(super) fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PkiError> {
    write::replace(path, bytes, mode).map_err(io_error("write", path))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PkiError {
    move |source| PkiError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
