//! A real cluster, over `muster-net`.
//!
//! One connection serves from discovery to the certificate. Afterwards the node's own identity is used, or that of an
//! administrator's kubeconfig where one was given.

mod about;
mod approval;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use muster_handshake::{ExistingNode, HandshakeError, Progress, client_wish};
use muster_identity::{CertificateBundle, Endpoint, Host, NodeName, PrivateKey, Secret};
use muster_kubeadm::shared_certs::SECRET_PATH as SHARED_CERTS_PATH;
use muster_net::request::{MERGE_PATCH, STRATEGIC_MERGE_PATCH};
use muster_net::tls::{ClientCertificate, pinned_config, server_name};
use muster_net::{ApiClient, ApiRequest, DialLimits, RetryPolicy};
use muster_plan::{ClusterAnswers, Wait};
use parking_lot::Mutex;
use serde_json::Value;

use self::about::about;
use self::approval::approve;
use super::{
    Certified, Cluster, Credential, Deletion, Marks, NodeCredentials, NodeSight, Tell, Way,
};

/// What is asked while taking back must not hang: the cluster may be gone.
const BRIEF: RetryPolicy = RetryPolicy::once(Duration::from_secs(5));
/// Reads of the survey together.
const SURVEY_LIMIT: SignedDuration = SignedDuration::from_secs(60);
/// A watch that ends is begun again after this.
const WATCH_PAUSE: Duration = Duration::from_millis(200);

/// A real cluster.
pub struct ApiCluster {
    credential: Option<Credential>,
    admin: Option<PathBuf>,
    introduced: Mutex<Option<ApiClient>>,
}

impl ApiCluster {
    /// The cluster that a credential leads to.
    #[must_use]
    pub fn new(credential: Credential) -> Self {
        Self {
            credential: Some(credential),
            admin: None,
            introduced: Mutex::new(None),
        }
    }

    /// The cluster that a node already belongs to, with an administrator's kubeconfig if there is one.
    #[must_use]
    pub fn of_node(admin: Option<PathBuf>) -> Self {
        Self {
            credential: None,
            admin,
            introduced: Mutex::new(None),
        }
    }

    fn introduced(&self) -> Option<ApiClient> {
        self.introduced.lock().clone()
    }

    /// The administrator first, then the node itself, then the bearer of the token.
    fn identities(&self, credentials: Option<&NodeCredentials>) -> Vec<ApiClient> {
        let admin = self.admin.as_deref().and_then(|path| {
            muster_net::client_from_file(path)
                .inspect_err(|error| tracing::warn!(%error, "the kubeconfig cannot be used"))
                .ok()
        });
        let node = credentials.and_then(|credentials| client(credentials).ok());
        admin
            .into_iter()
            .chain(node)
            .chain(self.introduced())
            .collect()
    }
}

fn nobody(purpose: &str) -> HandshakeError {
    HandshakeError::Unauthorized {
        what: purpose.to_owned(),
        message: "there is no credential at hand".to_owned(),
    }
}

fn unusable(reason: impl ToString) -> HandshakeError {
    HandshakeError::Unauthorized {
        what: "a request as the node".to_owned(),
        message: format!("its credentials cannot be used: {}", reason.to_string()),
    }
}

fn client(credentials: &NodeCredentials) -> Result<ApiClient, HandshakeError> {
    let endpoint = Endpoint::parse(&credentials.server).map_err(unusable)?;
    let ca = CertificateBundle::from_pem(&credentials.ca_pem).map_err(unusable)?;
    let pem = credentials.client_pem.expose();
    let chain = CertificateBundle::from_pem(pem).map_err(unusable)?;
    let key = PrivateKey::from_pem(pem).map_err(unusable)?;
    let certificate = ClientCertificate { chain, key };
    let tls = pinned_config(&ca, Some(&certificate)).map_err(unusable)?;
    let name = credentials.server_name.as_deref().map(Host::parse);
    let name = name.transpose().map_err(unusable)?;
    let name = name.as_ref().map(server_name).transpose();
    Ok(ApiClient::with_tls(
        endpoint,
        tls,
        name.map_err(unusable)?,
        None,
    ))
}

/// Whether the credential is this very node's certificate.
fn certified(credential: &Credential, node: &NodeName) -> Result<bool, HandshakeError> {
    let Some(certified) = credential.certified_node() else {
        return Ok(false);
    };
    if certified == *node {
        return Ok(true);
    }
    let file = match &credential.way {
        Way::Introduction(introduction) => introduction.source.clone(),
        Way::Token { .. } => String::new(),
    };
    let reason = format!("it is the certificate of node {certified}, and this one is to be {node}");
    Err(HandshakeError::DiscoveryFileUnusable { file, reason })
}

fn node_path(node: &str) -> String {
    format!("/api/v1/nodes/{node}")
}

/// Whether the Node is Ready and, if not, what its condition says.
fn seen(node: &Value) -> NodeSight {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    let text = |condition: &Value, field: &str| {
        condition
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| text(condition, "type") == "Ready");
    match ready {
        Some(condition) if text(condition, "status") == "True" => NodeSight::Present {
            ready: true,
            message: String::new(),
        },
        Some(condition) => {
            let message = format!(
                "{}: {}",
                text(condition, "reason"),
                text(condition, "message")
            );
            NodeSight::Present {
                ready: false,
                message,
            }
        }
        None => NodeSight::Present {
            ready: false,
            message: "the kubelet has not reported its status yet".to_owned(),
        },
    }
}

fn has_come(sight: &NodeSight, until: Wait) -> bool {
    match sight {
        NodeSight::Present { ready, .. } => *ready || until != Wait::Ready,
        NodeSight::Absent | NodeSight::Unknown => false,
    }
}

#[async_trait]
impl Cluster for ApiCluster {
    async fn introduce(
        &self,
        node: &NodeName,
        existing: ExistingNode,
        tell: Tell<'_>,
    ) -> Result<ClusterAnswers, HandshakeError> {
        let credential = self
            .credential
            .as_ref()
            .ok_or_else(|| nobody("discovery"))?;
        let mut hear = |progress| tell(progress);
        let certified = certified(credential, node)?;
        let limits = DialLimits::default();
        let (request, identity) = (credential.request(), credential.identity());
        let found = muster_net::discover_as(request, identity, limits, &mut hear).await?;
        let client = found.client;
        let deadline = after(SURVEY_LIMIT);
        // A file may be an administrator's; a token's bearer lists nothing.
        let lists = matches!(credential.way, Way::Introduction(_))
            && !certified
            && credential.worker_profile.is_none();
        let wish = credential.worker_profile.clone();
        let about = about(&client, wish, deadline, lists, tell);
        let mut unless_of_k0s = |progress| {
            // That of a worker profile is told instead.
            let of_kubeadm = matches!(progress, Progress::ClusterConfigRead { .. });
            if credential.worker_profile.is_none() || !of_kubeadm {
                tell(progress);
            }
        };
        let survey = muster_net::survey(
            &client,
            node.clone(),
            existing,
            deadline,
            &mut unless_of_k0s,
        );
        let (surveyed, about) = tokio::join!(survey, about);
        let (surveyed, about) = (surveyed?, about?);
        *self.introduced.lock() = Some(client);
        let of_kubeadm = surveyed.config.kubelet_configuration.text();
        let of_k0s = about.profile.and_then(|found| found.kubelet_configuration);
        Ok(ClusterAnswers {
            kubelet_config: of_k0s.or_else(|| of_kubeadm.map(str::to_owned)),
            version: about.version,
            cluster_configuration: surveyed
                .config
                .cluster_configuration
                .text()
                .map(str::to_owned),
            server_names: found.names,
            tls_server_name: found.trust.server_name.map(|name| name.server_name()),
            local_ip: found.local_ip,
            certified,
            clocks: about.clocks,
            nodes: about.nodes,
            ..ClusterAnswers::new(
                found.trust.endpoint.url(),
                found.trust.ca.to_pem(),
                Timestamp::now(),
            )
        })
    }

    async fn certify(
        &self,
        node: &NodeName,
        key: &PrivateKey,
        tell: Tell<'_>,
    ) -> Result<Certified, HandshakeError> {
        let client = self
            .introduced()
            .ok_or_else(|| nobody("a certificate request"))?;
        let limit = self
            .credential
            .as_ref()
            .map_or(SURVEY_LIMIT, |c| c.approval_limit);
        let wish = client_wish(node, key).map_err(|error| HandshakeError::CsrFailed {
            name: node.to_string(),
            message: error.to_string(),
        })?;
        let (waits, waiting) = tokio::sync::oneshot::channel();
        let mut waits = Some(waits);
        let mut hear = |progress| {
            if let Progress::CsrPending {
                name,
                approved: false,
                ..
            } = &progress
                && let Some(waits) = waits.take()
            {
                // Nobody listens once the certificate is there.
                let _ = waits.send(name.clone());
            }
            tell(progress);
        };
        // Whoever brings a kubeconfig of their own may be the one who is waited for.
        let own = self.credential.as_ref();
        let own = own.filter(|own| matches!(own.way, Way::Introduction(_)));
        let approval = async {
            if let (Some(_), Ok(name)) = (own, waiting.await) {
                approve(&client, &name, node, key).await;
            }
            std::future::pending().await
        };
        // The name was surveyed moments ago; an Enrolment asks for the certificate alone.
        let issued = tokio::select! {
            issued = muster_net::enrol(&client, wish, after(limit), &mut hear) => issued?,
            never = approval => never,
        };
        Ok(Certified {
            csr: issued.csr_name,
            chain: issued.chain.to_pem(),
            not_after: issued.not_after,
        })
    }

    fn certified_pem(&self) -> Option<Secret<Vec<u8>>> {
        self.credential.as_ref()?.certified_pem()
    }

    async fn mark_node(
        &self,
        node: &str,
        marks: &Marks,
        credentials: &NodeCredentials,
    ) -> Result<(), HandshakeError> {
        let patch = |key: &str, pairs: &[(String, String)]| {
            let pairs: BTreeMap<_, _> = pairs.iter().cloned().collect();
            serde_json::json!({"metadata": {key: pairs}})
        };
        let path = node_path(node);
        if !marks.annotations.is_empty() {
            let body = patch("annotations", &marks.annotations);
            let purpose = "annotate the node";
            let client = client(credentials)?;
            let done = client.patch::<Value>(&path, MERGE_PATCH, &body);
            done.await.map_err(|error| error.into_handshake(purpose))?;
        }
        if !marks.admin_labels.is_empty() {
            let body = patch("labels", &marks.admin_labels);
            let purpose = "label the node";
            let client = self.introduced().ok_or_else(|| nobody(purpose))?;
            let done = client.patch::<Value>(&path, MERGE_PATCH, &body);
            done.await.map_err(|error| error.into_handshake(purpose))?;
        }
        Ok(())
    }

    async fn sight(
        &self,
        node: &str,
        credentials: Option<&NodeCredentials>,
    ) -> Result<NodeSight, HandshakeError> {
        let purpose = "read the node of this name";
        let mut last = None;
        for client in self.identities(credentials) {
            let client = client.with_policy(BRIEF);
            match client.get::<Value>(&node_path(node)).await {
                Ok(node) => return Ok(seen(&node)),
                Err(error) if error.is_not_found() => return Ok(NodeSight::Absent),
                Err(error) if error.is_forbidden() => last = Some(Ok(NodeSight::Unknown)),
                Err(error) => last = Some(Err(error.into_handshake(purpose))),
            }
        }
        last.unwrap_or_else(|| Err(nobody(purpose)))
    }

    async fn await_node(
        &self,
        node: &str,
        until: Wait,
        credentials: &NodeCredentials,
    ) -> Result<(), HandshakeError> {
        let client = client(credentials)?;
        // Without a resource version a watch begins with what is there (Kubernetes API concepts).
        let path = format!("/api/v1/nodes?watch=true&fieldSelector=metadata.name%3D{node}");
        loop {
            match client.watch(&path).await {
                Ok(mut watch) => {
                    while let Some(Ok(event)) = watch.next().await {
                        let is_there = !matches!(
                            event,
                            muster_net::WatchEvent::Deleted(_)
                                | muster_net::WatchEvent::Bookmark(_)
                        );
                        if is_there && has_come(&seen(event.object()), until) {
                            return Ok(());
                        }
                    }
                }
                Err(error) if error.is_unauthorized() || error.is_forbidden() => {
                    return Err(error.into_handshake("watch the node of this name"));
                }
                Err(error) => tracing::debug!(%error, "the watch did not begin"),
            }
            tokio::time::sleep(WATCH_PAUSE).await;
        }
    }

    async fn delete_node(
        &self,
        node: &str,
        credentials: Option<&NodeCredentials>,
    ) -> Result<Deletion, HandshakeError> {
        let purpose = "delete the node";
        let mut last = None;
        for client in self.identities(credentials) {
            let request = ApiRequest::new(http::Method::DELETE, node_path(node)).policy(BRIEF);
            match client.send(&request).await {
                Ok(_) => return Ok(Deletion::Gone),
                Err(error) if error.is_not_found() => return Ok(Deletion::Gone),
                Err(error) if error.is_forbidden() => last = Some(Ok(Deletion::Forbidden)),
                Err(error) => last = Some(Err(error.into_handshake(purpose))),
            }
        }
        last.unwrap_or_else(|| Err(nobody(purpose)))
    }

    async fn retire_node(
        &self,
        node: &str,
        credentials: &NodeCredentials,
    ) -> Result<(), HandshakeError> {
        let client = client(credentials)?.with_policy(BRIEF);
        let path = format!("{}/status", node_path(node));
        client
            .patch::<Value>(&path, STRATEGIC_MERGE_PATCH, &retirement(Timestamp::now()))
            .await
            .map(drop)
            .map_err(|error| error.into_handshake("say that the node is no longer Ready"))
    }

    async fn shared_certificates(&self) -> Result<Option<Value>, HandshakeError> {
        let purpose = "read the shared certificates (Secret kube-system/kubeadm-certs)";
        let client = self.introduced().ok_or_else(|| nobody(purpose))?;
        match client.get::<Value>(SHARED_CERTS_PATH).await {
            Ok(secret) => Ok(Some(secret)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into_handshake(purpose)),
        }
    }

    fn has_administrator(&self) -> bool {
        self.admin.is_some()
    }

    async fn admits(&self, credentials: &NodeCredentials) -> Result<bool, HandshakeError> {
        let client = client(credentials)?.with_policy(BRIEF);
        let review = serde_json::json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "SelfSubjectReview",
        });
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        match client.create::<Value>(path, &review).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_unauthorized() => Ok(false),
            // Known, and merely not allowed or not able to be told so.
            Err(error) if error.is_forbidden() || error.is_not_found() => Ok(true),
            Err(error) => Err(error.into_handshake("review the node's credentials")),
        }
    }
}

/// A strategic merge patch of a Node's status: conditions are merged by their type.
fn retirement(now: Timestamp) -> Value {
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = serde_json::json!({
        "type": "Ready",
        "status": "False",
        "reason": "NodeReset",
        "message": "muster reset took this machine out of the cluster",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    });
    serde_json::json!({"status": {"conditions": [condition]}})
}

fn after(limit: SignedDuration) -> Timestamp {
    Timestamp::now()
        .checked_add(limit)
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(status: &str) -> Value {
        let condition = json!({
            "type": "Ready", "status": status, "reason": "KubeletNotReady", "message": "no CNI",
        });
        json!({"status": {"conditions": [{"type": "MemoryPressure", "status": "False"}, condition]}})
    }

    #[test]
    fn a_node_is_ready_when_its_condition_says_so() {
        assert!(has_come(&seen(&node("True")), Wait::Ready));
        let waiting = seen(&node("False"));
        assert!(!has_come(&waiting, Wait::Ready));
        assert!(has_come(&waiting, Wait::Registered));
        let NodeSight::Present { message, .. } = waiting else {
            panic!("it is there")
        };
        assert_eq!(message, "KubeletNotReady: no CNI");
        assert!(has_come(&seen(&json!({})), Wait::Registered));
        assert!(!has_come(&NodeSight::Absent, Wait::Registered));
    }

    #[test]
    fn a_retired_node_is_not_ready_and_its_times_are_those_of_kubernetes() {
        let patch = retirement("2026-11-21T05:50:05.123Z".parse().unwrap());
        assert!(!has_come(&seen(&patch), Wait::Ready));
        let condition = &patch["status"]["conditions"][0];
        assert_eq!(condition["lastTransitionTime"], "2026-11-21T05:50:05Z");
    }

    #[tokio::test]
    async fn without_any_credential_nothing_is_sent_and_the_error_says_why() {
        let cluster = ApiCluster::of_node(None);
        let error = cluster.sight("n1", None).await.unwrap_err();
        assert_eq!(error.id(), "unauthorized");
        assert!(cluster.delete_node("n1", None).await.is_err());
    }
}
