//! From names to what a client needs: the server, whom to trust, and how to log in.
//!
//! It refuses to read the files that are named.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::document::{Cluster, Hidden, User};
use super::{Kubeconfig, KubeconfigError};
use crate::secret::Secret;

/// Bytes that stand in the file, or a file that has them. Reading it is the caller's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material<T> {
    /// Embedded, decoded.
    Data(T),
    /// A path, as it stands; relative ones are relative to the kubeconfig's own directory.
    File(String),
}

/// The cluster of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedCluster {
    /// Name of the entry.
    pub name: String,
    /// `server`, a URL.
    pub server: String,
    /// `certificate-authority-data` or `certificate-authority`: PEM.
    pub certificate_authority: Option<Material<Vec<u8>>>,
    /// `tls-server-name`: the name to verify instead of the URL's host.
    pub tls_server_name: Option<String>,
    /// `insecure-skip-tls-verify`.
    pub insecure_skip_tls_verify: bool,
}

/// The user of a context.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ResolvedUser {
    /// Name of the entry.
    pub name: String,
    /// `token`, or `tokenFile`.
    pub token: Option<Material<Secret<String>>>,
    /// `client-certificate-data` or `client-certificate`: PEM.
    pub client_certificate: Option<Material<Vec<u8>>>,
    /// `client-key-data` or `client-key`: PEM.
    pub client_key: Option<Material<Secret<Vec<u8>>>>,
    /// Names of further fields, such as `exec` or `auth-provider`: ways to log in that are not resolved here.
    pub other_fields: Vec<String>,
}

/// A context, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Its cluster.
    pub cluster: ResolvedCluster,
    /// Its user; empty for a context without one.
    pub user: ResolvedUser,
    /// Its namespace.
    pub namespace: Option<String>,
}

impl Kubeconfig {
    /// The cluster and user of the current context. A file without a current context that has a cluster with
    /// the empty name (cluster-info) resolves to that cluster and no user.
    ///
    /// # Errors
    /// [`KubeconfigError`] when a name leads nowhere or data is not base64.
    pub fn resolve(&self) -> Result<Resolved, KubeconfigError> {
        let name = self.current_context();
        if name.is_empty() && self.cluster("").is_some() {
            let cluster = self.resolve_cluster("")?;
            return Ok(Resolved {
                cluster,
                user: ResolvedUser::default(),
                namespace: None,
            });
        }
        self.resolve_context(name)
    }

    /// The cluster and user of the context `name`.
    ///
    /// # Errors
    /// As [`Kubeconfig::resolve`].
    pub fn resolve_context(&self, name: &str) -> Result<Resolved, KubeconfigError> {
        let mut contexts = self.0.contexts.iter().flatten();
        let entry = contexts.find(|entry| entry.name == name).ok_or_else(|| {
            KubeconfigError::NoContext {
                name: name.to_owned(),
            }
        })?;
        let context = &entry.context;
        let user = match context.user.as_str() {
            "" => ResolvedUser::default(),
            user => self.resolve_user(user)?,
        };
        let namespace = context
            .namespace
            .clone()
            .filter(|namespace| !namespace.is_empty());
        Ok(Resolved {
            cluster: self.resolve_cluster(&context.cluster)?,
            user,
            namespace,
        })
    }

    fn cluster(&self, name: &str) -> Option<&Cluster> {
        let mut clusters = self.0.clusters.iter().flatten();
        clusters
            .find(|entry| entry.name == name)
            .map(|entry| &entry.cluster)
    }

    fn resolve_cluster(&self, name: &str) -> Result<ResolvedCluster, KubeconfigError> {
        let missing = || KubeconfigError::NoCluster {
            name: name.to_owned(),
        };
        let cluster = self.cluster(name).ok_or_else(missing)?;
        let data = cluster.certificate_authority_data.as_deref();
        Ok(ResolvedCluster {
            name: name.to_owned(),
            server: cluster.server.clone(),
            certificate_authority: material(
                decode(data, "certificate-authority-data")?,
                cluster.certificate_authority.as_ref(),
            ),
            tls_server_name: cluster
                .tls_server_name
                .clone()
                .filter(|name| !name.is_empty()),
            insecure_skip_tls_verify: cluster.insecure_skip_tls_verify.unwrap_or(false),
        })
    }

    fn resolve_user(&self, name: &str) -> Result<ResolvedUser, KubeconfigError> {
        let mut users = self.0.users.iter().flatten();
        let user: &User = users
            .find(|entry| entry.name == name)
            .map(|entry| &entry.user)
            .ok_or_else(|| KubeconfigError::NoUser {
                name: name.to_owned(),
            })?;
        let certificate = user.client_certificate_data.as_deref();
        let key = user
            .client_key_data
            .as_ref()
            .map(|hidden| hidden.0.expose().as_str());
        let token = user.token.as_ref().map(|Hidden(token)| token.clone());
        Ok(ResolvedUser {
            name: name.to_owned(),
            token: material(
                token.filter(|token| !token.expose().is_empty()),
                user.token_file.as_ref(),
            ),
            client_certificate: material(
                decode(certificate, "client-certificate-data")?,
                user.client_certificate.as_ref(),
            ),
            client_key: material(
                decode(key, "client-key-data")?.map(Secret::new),
                user.client_key.as_ref(),
            ),
            other_fields: user.extra.keys().cloned().collect(),
        })
    }
}

/// Embedded data goes before a path, as in client-go; an empty field is none.
fn material<T>(data: Option<T>, path: Option<&String>) -> Option<Material<T>> {
    let file = || {
        path.filter(|path| !path.is_empty())
            .cloned()
            .map(Material::File)
    };
    data.map(Material::Data).or_else(file)
}

fn decode(text: Option<&str>, field: &'static str) -> Result<Option<Vec<u8>>, KubeconfigError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    // Go's decoder skips line ends, and some writers fold the data.
    let joined = Secret::new(text.split_ascii_whitespace().collect::<String>());
    let bytes = STANDARD.decode(joined.expose());
    bytes
        .map(Some)
        .map_err(|_| KubeconfigError::NotBase64 { field })
}
