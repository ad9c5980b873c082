//! The cluster as its administrator, by the `admin.conf` of a control-plane node: what a control-plane join asks of the
//! API besides what every join asks.

use std::path::Path;
use std::time::Duration;

use http::Method;
use muster_host::Host;
use muster_identity::kubeconfig::Material;
use muster_identity::{CertificateBundle, Endpoint, Kubeconfig, PrivateKey};
use muster_net::request::{MERGE_PATCH, STRATEGIC_MERGE_PATCH};
use muster_net::tls::{ClientCertificate, pinned_config};
use muster_net::{ApiClient, ApiError, ApiRequest};
use muster_plan::Taint;
use muster_saga::Failure;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

/// Where a control-plane node keeps it.
const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";
/// The label of a control-plane node.
const ROLE: &str = "node-role.kubernetes.io/control-plane";
/// Keeps load balancers outside the cluster from sending traffic to it.
const NO_BALANCER: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// Where a pod of etcd says how its clients reach it.
const ETCD_ANNOTATION: &str = "kubeadm.kubernetes.io/etcd.advertise-client-urls";
/// How long the API may be unable to answer; kubeadm's `kubernetesAPICall`.
const API_LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(250);

/// An administrator of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Administration(pub(crate) ApiClient);

/// What a Node had of the marks before it was marked: these are not taken away again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MarksBefore {
    labels: Vec<String>,
    taints: Vec<Taint>,
    absent: bool,
}

fn failure(what: &str, error: &ApiError) -> Failure {
    let mut message = format!("cannot {what}: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    let remedy = if error.is_forbidden() {
        "The cluster must grant cluster-admin to the group kubeadm:cluster-admins, as kubeadm init does."
    } else {
        "See that the control plane's endpoint answers, then join again."
    };
    Failure {
        id: "control-plane-unhealthy".into(),
        message,
        remedy: Some(remedy.into()),
    }
}

fn unusable(reason: &dyn std::error::Error) -> Failure {
    Failure {
        id: "certificate-unusable".into(),
        message: format!("{ADMIN_CONF} cannot be used: {reason}"),
        remedy: Some("Remove it, or replace it by that of another control-plane node.".into()),
    }
}

impl Administration {
    /// By the `admin.conf` on the node; `None` when it has none.
    pub(crate) async fn of(host: &dyn Host) -> Result<Option<Self>, Failure> {
        let text = host
            .read(ADMIN_CONF)
            .await
            .map_err(|error| error.to_failure())?;
        let Some(text) = text else {
            return Ok(None);
        };
        let conf = Kubeconfig::parse(text.expose()).map_err(|error| unusable(&error))?;
        let client = muster_net::client_from_kubeconfig(&conf, Path::new("/etc/kubernetes"));
        client
            .map(|client| Some(Self(client)))
            .map_err(|error| unusable(&error))
    }

    /// The same administrator at another API server of the cluster.
    pub(crate) async fn at(host: &dyn Host, endpoint: &Endpoint) -> Result<Option<Self>, Failure> {
        let text = host
            .read(ADMIN_CONF)
            .await
            .map_err(|error| error.to_failure())?;
        let Some(text) = text else {
            return Ok(None);
        };
        let conf = Kubeconfig::parse(text.expose()).map_err(|error| unusable(&error))?;
        let resolved = conf.resolve().map_err(|error| unusable(&error))?;
        let conf = match (
            resolved.cluster.certificate_authority,
            resolved.user.client_certificate,
            resolved.user.client_key,
        ) {
            (Some(Material::Data(ca)), Some(Material::Data(chain)), Some(Material::Data(key))) => {
                (ca, chain, key)
            }
            // Its parts are elsewhere: it is taken as it is.
            _ => return Self::of(host).await,
        };
        let (ca, chain, key) = conf;
        let ca = CertificateBundle::from_pem(&ca).map_err(|error| unusable(&error))?;
        let identity = ClientCertificate {
            chain: CertificateBundle::from_pem(&chain).map_err(|error| unusable(&error))?,
            key: PrivateKey::from_pem(key.expose().as_ref()).map_err(|error| unusable(&error))?,
        };
        let tls = pinned_config(&ca, Some(&identity)).map_err(|error| unusable(&error))?;
        Ok(Some(Self(ApiClient::with_tls(
            endpoint.clone(),
            tls,
            None,
            None,
        ))))
    }

    /// The server that `admin.conf` names.
    pub(crate) async fn server(host: &dyn Host) -> Option<String> {
        let text = host.read(ADMIN_CONF).await.ok()??;
        let conf = Kubeconfig::parse(text.expose()).ok()?;
        Some(conf.resolve().ok()?.cluster.server)
    }

    /// Where the etcds are reached, as their static pods tell. Pods that were just made may not tell it yet: it is
    /// asked again until all do.
    pub(crate) async fn etcd_endpoints(&self) -> Result<Vec<String>, Failure> {
        let path = "/api/v1/namespaces/kube-system/pods?labelSelector=component%3Detcd%2Ctier%3Dcontrol-plane";
        let deadline = Instant::now() + API_LIMIT;
        let mut told = Vec::new();
        loop {
            match self.0.get::<Value>(path).await {
                Ok(list) => {
                    let pods = list
                        .get("items")
                        .and_then(Value::as_array)
                        .cloned()
                        .unwrap_or_default();
                    told = pods.iter().filter_map(client_url).collect();
                    if !told.is_empty() && told.len() == pods.len() {
                        return Ok(told);
                    }
                }
                Err(error) if error.is_forbidden() || Instant::now() >= deadline => {
                    return Err(failure("list the pods of etcd", &error));
                }
                Err(_) => {}
            }
            if Instant::now() >= deadline {
                break;
            }
            sleep(PAUSE).await;
        }
        if told.is_empty() {
            return Err(Failure {
                id: "etcd-unhealthy".into(),
                message: format!("no pod of etcd in kube-system has the annotation {ETCD_ANNOTATION}"),
                remedy: Some("See that the etcds of the other control-plane nodes run as static pods that kubeadm or muster made.".into()),
            });
        }
        Ok(told)
    }

    /// The marks that a Node has already.
    pub(crate) async fn marks_before(
        &self,
        node: &str,
        taints: &[Taint],
    ) -> Result<MarksBefore, Failure> {
        match self.0.get::<Value>(&node_path(node)).await {
            Ok(object) => Ok(MarksBefore {
                labels: [ROLE, NO_BALANCER]
                    .into_iter()
                    .filter(|label| {
                        object
                            .pointer("/metadata/labels")
                            .is_some_and(|all| all.get(label).is_some())
                    })
                    .map(str::to_owned)
                    .collect(),
                taints: taints_of(&object)
                    .into_iter()
                    .filter(|taint| taints.contains(taint))
                    .collect(),
                absent: false,
            }),
            Err(error) if error.is_not_found() => Ok(MarksBefore {
                absent: true,
                ..MarksBefore::default()
            }),
            Err(error) => Err(failure("read the node", &error)),
        }
    }

    /// Labels and taints a Node. Its own taints stay.
    pub(crate) async fn mark(&self, node: &str, taints: &[Taint]) -> Result<(), Failure> {
        let deadline = Instant::now() + API_LIMIT;
        loop {
            match self.try_mark(node, taints).await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_forbidden() || Instant::now() >= deadline => {
                    return Err(failure("label and taint the node", &error));
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn try_mark(&self, node: &str, taints: &[Taint]) -> Result<(), ApiError> {
        let path = node_path(node);
        let object: Value = self.0.get(&path).await?;
        let mut all = taints.to_vec();
        all.extend(
            taints_of(&object)
                .into_iter()
                .filter(|taint| !taints.contains(taint)),
        );
        let patch = json!({
            "metadata": {
                "resourceVersion": object.pointer("/metadata/resourceVersion"),
                "labels": {ROLE: "", NO_BALANCER: ""},
            },
            "spec": {"taints": all},
        });
        self.0
            .patch::<Value>(&path, MERGE_PATCH, &patch)
            .await
            .map(drop)
    }

    /// Takes the marks away again that a Node did not have before.
    pub(crate) async fn unmark(
        &self,
        node: &str,
        taints: &[Taint],
        before: &MarksBefore,
    ) -> Result<(), Failure> {
        let path = node_path(node);
        let object: Value = match self.0.get(&path).await {
            Ok(object) => object,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(failure("read the node", &error)),
        };
        let labels: Map<String, Value> = [ROLE, NO_BALANCER]
            .into_iter()
            .filter(|label| !before.labels.iter().any(|had| had == label))
            .map(|label| (label.to_owned(), Value::Null))
            .collect();
        let ours = |taint: &Taint| taints.contains(taint) && !before.taints.contains(taint);
        let left: Vec<Taint> = taints_of(&object)
            .into_iter()
            .filter(|taint| !ours(taint))
            .collect();
        let patch = json!({"metadata": {"labels": labels}, "spec": {"taints": left}});
        let done = self.0.patch::<Value>(&path, MERGE_PATCH, &patch).await;
        done.map(drop)
            .map_err(|error| failure("take the marks from the node", &error))
    }

    /// A request whose answer does not matter beyond its status.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ApiError> {
        match (method, body) {
            (Method::POST, Some(body)) => self.0.create(path, body).await,
            (Method::PUT, Some(body)) => self.0.replace(path, body).await,
            (Method::PATCH, Some(body)) => self.0.patch(path, STRATEGIC_MERGE_PATCH, body).await,
            (method, _) => self.0.call(&ApiRequest::new(method, path)).await,
        }
    }
}

fn node_path(node: &str) -> String {
    format!("/api/v1/nodes/{node}")
}

fn client_url(pod: &Value) -> Option<String> {
    let annotations = pod.pointer("/metadata/annotations")?;
    annotations
        .get(ETCD_ANNOTATION)?
        .as_str()
        .map(str::to_owned)
}

fn taints_of(node: &Value) -> Vec<Taint> {
    let taints = node.pointer("/spec/taints").cloned().unwrap_or(Value::Null);
    serde_json::from_value(taints).unwrap_or_default()
}
