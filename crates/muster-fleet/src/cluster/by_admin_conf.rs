//! A real control plane, with what lies on the machine: `admin.conf`, and the certificate for etcd's health checks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use muster_host::Host;
use muster_identity::kubeconfig::Material;
use muster_identity::{CertificateBundle, Endpoint, Kubeconfig, PrivateKey, Secret};
use muster_net::etcd::{Added, Departure, Member, MemberHealth};
use muster_net::request::MERGE_PATCH;
use muster_net::tls::{ClientCertificate, pinned_config, unverified_config};
use muster_net::{ApiClient, ApiError, ApiRequest, EtcdClient, EtcdError, RetryPolicy};
use muster_plan::ComponentHealth;
use muster_saga::Failure;
use serde_json::Value;

use super::control_plane::{Administrator, ControlPlane, EtcdAccess, Etcds};

/// Where a control-plane node keeps it.
const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";
/// A component is asked once, within this.
const ONE_CALL: RetryPolicy = RetryPolicy::once(Duration::from_secs(5));

/// A real control plane.
#[derive(Debug)]
pub(crate) struct ByAdminConf;

fn unusable(path: &str, reason: &dyn std::error::Error) -> Failure {
    Failure {
        id: "certificate-unusable".into(),
        message: format!("{path} cannot be used: {reason}"),
        remedy: Some("Remove it, or replace it by that of another control-plane node.".into()),
    }
}

async fn admin_conf(host: &dyn Host) -> Result<Option<Kubeconfig>, Failure> {
    let text = host.read(ADMIN_CONF).await;
    let Some(text) = text.map_err(|error| error.to_failure())? else {
        return Ok(None);
    };
    let conf = Kubeconfig::parse(text.expose()).map_err(|error| unusable(ADMIN_CONF, &error))?;
    Ok(Some(conf))
}

/// The server that `admin.conf` names.
pub(super) async fn server_of_admin_conf(host: &dyn Host) -> Option<String> {
    let conf = admin_conf(host).await.ok()??;
    Some(conf.resolve().ok()?.cluster.server)
}

fn client(conf: &Kubeconfig) -> Result<ApiClient, Failure> {
    muster_net::client_from_kubeconfig(conf, Path::new("/etc/kubernetes"))
        .map_err(|error| unusable(ADMIN_CONF, &error))
}

/// The same administrator at another API server of the cluster.
fn client_at(conf: &Kubeconfig, endpoint: Endpoint) -> Result<ApiClient, Failure> {
    let unusable = |error: &dyn std::error::Error| unusable(ADMIN_CONF, error);
    let resolved = conf.resolve().map_err(|error| unusable(&error))?;
    let (Some(Material::Data(ca)), Some(Material::Data(chain)), Some(Material::Data(key))) = (
        resolved.cluster.certificate_authority,
        resolved.user.client_certificate,
        resolved.user.client_key,
    ) else {
        // Its parts are elsewhere: it is taken as it is.
        return client(conf);
    };
    let ca = CertificateBundle::from_pem(&ca).map_err(|error| unusable(&error))?;
    let identity = ClientCertificate {
        chain: CertificateBundle::from_pem(&chain).map_err(|error| unusable(&error))?,
        key: PrivateKey::from_pem(key.expose().as_ref()).map_err(|error| unusable(&error))?,
    };
    let tls = pinned_config(&ca, Some(&identity)).map_err(|error| unusable(&error))?;
    Ok(ApiClient::with_tls(endpoint, tls, None, None))
}

#[async_trait]
impl ControlPlane for ByAdminConf {
    async fn administrator(
        &self,
        host: &dyn Host,
    ) -> Result<Option<Arc<dyn Administrator>>, Failure> {
        let Some(conf) = admin_conf(host).await? else {
            return Ok(None);
        };
        Ok(Some(Arc::new(client(&conf)?)))
    }

    async fn etcds(&self, host: &dyn Host, access: &EtcdAccess) -> Result<Box<dyn Etcds>, Failure> {
        let ca = file(host, &access.ca).await?;
        let chain = file(host, &access.certificate).await?;
        let key = file(host, &access.key).await?;
        let ca = CertificateBundle::from_pem(ca.expose())
            .map_err(|error| unusable(&access.ca, &error))?;
        let identity = ClientCertificate {
            chain: CertificateBundle::from_pem(chain.expose())
                .map_err(|error| unusable(&access.certificate, &error))?,
            key: PrivateKey::from_pem(key.expose())
                .map_err(|error| unusable(&access.key, &error))?,
        };
        let client = EtcdClient::new(access.endpoints.clone(), &ca, &identity);
        match client {
            Ok(client) => Ok(Box::new(client)),
            Err(error) => Err(super::etcd_failure(&error)),
        }
    }

    async fn component(&self, host: &dyn Host, component: &ComponentHealth) -> Result<(), String> {
        let url = component.url.as_str();
        let rest = url.strip_prefix("https://").unwrap_or(url);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let endpoint = Endpoint::parse(authority).map_err(|error| error.to_string())?;
        let client = if component.verified {
            let conf = admin_conf(host).await.map_err(|failure| failure.message)?;
            let conf = conf.ok_or("there is no admin.conf on this node")?;
            client_at(&conf, endpoint).map_err(|failure| failure.message)?
        } else {
            // They make their certificates themselves; nothing is said to them.
            let tls = unverified_config(None).map_err(|error| error.to_string())?;
            ApiClient::with_tls(endpoint, tls, None, None)
        };
        let request = ApiRequest::new(Method::GET, format!("/{path}")).policy(ONE_CALL);
        let answer = client.send(&request).await;
        answer.map(drop).map_err(|error| super::words(&error))
    }
}

async fn file(host: &dyn Host, path: &str) -> Result<Secret<Vec<u8>>, Failure> {
    let found = host.read(path).await.map_err(|error| error.to_failure())?;
    found.ok_or_else(|| super::missing_file(path))
}

#[async_trait]
impl Administrator for ApiClient {
    async fn get(&self, path: &str) -> Result<Value, ApiError> {
        Self::get(self, path).await
    }

    async fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        Self::create(self, path, object).await
    }

    async fn replace(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        Self::replace(self, path, object).await
    }

    async fn merge(&self, path: &str, patch: &Value) -> Result<Value, ApiError> {
        self.patch(path, MERGE_PATCH, patch).await
    }

    async fn delete(&self, path: &str, options: Option<&Value>) -> Result<(), ApiError> {
        Self::delete(self, path, options).await.map(drop)
    }
}

#[async_trait]
impl Etcds for EtcdClient {
    async fn members(&mut self, limit: Duration) -> Result<Vec<Member>, EtcdError> {
        self.members_within(limit).await
    }

    async fn await_health(
        &mut self,
        peer_url: Option<&str>,
        limit: Duration,
    ) -> Result<Vec<MemberHealth>, EtcdError> {
        Self::await_health(self, peer_url, limit).await
    }

    async fn add_learner(&mut self, peer_url: &str, limit: Duration) -> Result<Added, EtcdError> {
        Self::add_learner(self, peer_url, limit).await
    }

    async fn promote(&mut self, id: u64, limit: Duration) -> Result<(), EtcdError> {
        Self::promote(self, id, limit).await
    }

    async fn remove(&mut self, peer_url: &str, limit: Duration) -> Result<Departure, EtcdError> {
        Self::remove(self, peer_url, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_host::sim::SimHost;

    #[tokio::test]
    async fn without_admin_conf_there_is_no_administrator_and_a_strange_one_is_named() {
        let host = SimHost::new("n1");
        assert!(ByAdminConf.administrator(&host).await.unwrap().is_none());
        host.put_file(ADMIN_CONF, 0o600, b"[");
        let failure = ByAdminConf.administrator(&host).await.unwrap_err();
        assert_eq!(failure.id, "certificate-unusable");
        assert!(failure.message.contains(ADMIN_CONF), "{}", failure.message);
    }

    #[tokio::test]
    async fn a_certificate_for_etcd_that_is_not_there_is_named() {
        let host = SimHost::new("n1");
        let access = EtcdAccess {
            endpoints: vec!["https://10.0.0.1:2379".into()],
            ca: "/pki/etcd/ca.crt".into(),
            certificate: "/c".into(),
            key: "/k".into(),
        };
        let failure = ByAdminConf.etcds(&host, &access).await.err().unwrap();
        assert_eq!(failure.message, "/pki/etcd/ca.crt is not on this node");
    }
}
