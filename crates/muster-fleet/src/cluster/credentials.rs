//! The node's own credentials, read back from the files that the join wrote.

use muster_host::{Host, HostError};
use muster_identity::kubeconfig::Material;
use muster_identity::{Kubeconfig, Secret};
use muster_plan::paths;

use super::by_admin_conf::server_of_admin_conf;

/// Who the node is to its cluster.
#[derive(Clone, Debug)]
pub struct NodeCredentials {
    /// The API server, `https://HOST:PORT`.
    pub server: String,
    /// The name that its certificate is verified for, when it is not the URL's host.
    pub server_name: Option<String>,
    /// The CA certificates to trust, PEM.
    pub ca_pem: Vec<u8>,
    /// The client certificate chain and its key, PEM.
    pub client_pem: Secret<Vec<u8>>,
}

impl NodeCredentials {
    /// Reads them from the node's files; `None` when they are not there or no longer of that form.
    ///
    /// # Errors
    /// [`HostError`] when the files cannot be read.
    pub async fn read(host: &dyn Host) -> Result<Option<Self>, HostError> {
        let Some(conf) = host.read(paths::KUBELET_CONF).await? else {
            return Ok(None);
        };
        let Some(client_pem) = host.read(paths::KUBELET_CLIENT_CURRENT).await? else {
            return Ok(None);
        };
        let resolved = Kubeconfig::parse(conf.expose()).and_then(|conf| conf.resolve());
        let Ok(resolved) = resolved else {
            return Ok(None);
        };
        let Some(Material::Data(ca_pem)) = resolved.cluster.certificate_authority else {
            return Ok(None);
        };
        // On a control-plane node the kubelet asks the API server beside it, which may not be up yet, or no longer.
        let (server, server_name) = match server_of_admin_conf(host).await {
            Some(server) => (server, None),
            None => (resolved.cluster.server, resolved.cluster.tls_server_name),
        };
        Ok(Some(Self {
            server,
            server_name,
            ca_pem,
            client_pem,
        }))
    }
}
