//! The steps that are done to a cluster: the certificate, the Node's name, the Node.

use std::time::Duration;

use muster_handshake::HandshakeError;
use muster_identity::NodeName;
use muster_plan::{Step, StepContent, Wait};
use muster_saga::{Driver, Failure, Residue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Run, damaged, kubelet_process, to_value};
use crate::{Deletion, Marks, NodeCredentials, NodeSight};

/// How often the kubelet is looked at while its Node is waited for.
const VITALS_POLL: Duration = Duration::from_secs(1);
/// A supervised kubelet that was started again this often will not register.
const MAX_RESTARTS: u32 = 3;

/// What was seen of the Node's name before it was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "node", rename_all = "kebab-case")]
enum NodeBefore {
    Absent,
    Present,
    Unknown,
}

pub(crate) fn handshake_failure(error: &HandshakeError) -> Failure {
    Failure {
        id: error.id().to_owned(),
        message: error.to_string(),
        remedy: Some(error.remedy()),
    }
}

impl Run<'_> {
    pub(super) async fn observe_cluster(
        &self,
        driver: &Driver,
        step: &Step,
    ) -> Result<Value, Failure> {
        let Step::ClaimNode { node_name } = step else {
            return self.observe_control_plane(driver, step).await;
        };
        let credentials = self.credentials().await?;
        let before = match self.cluster.sight(node_name, credentials.as_ref()).await {
            Ok(NodeSight::Absent) => NodeBefore::Absent,
            Ok(NodeSight::Present { .. }) => NodeBefore::Present,
            Ok(NodeSight::Unknown) => NodeBefore::Unknown,
            Err(error) => return Err(handshake_failure(&error)),
        };
        to_value(&before)
    }

    pub(super) async fn perform_on_cluster(
        &self,
        driver: &Driver,
        step: &Step,
    ) -> Result<Value, Failure> {
        match step {
            Step::RequestCertificate { node_name } => {
                let node = NodeName::parse(node_name).map_err(|error| Failure {
                    id: "plan-unusable".into(),
                    message: error.to_string(),
                    remedy: None,
                })?;
                let key = self.key().await?;
                let tell = |progress| self.events.tell_progress(progress);
                let certified = self.cluster.certify(&node, &key, &tell).await;
                to_value(&certified.map_err(|error| handshake_failure(&error))?)
            }
            Step::AwaitNode {
                node_name,
                until,
                seconds,
            } => {
                self.await_node(driver, node_name, *until, *seconds).await?;
                Ok(Value::Null)
            }
            Step::MarkNode {
                node_name,
                admin_labels,
                annotations,
            } => {
                let gone = || Failure {
                    id: "node-not-registered".into(),
                    message: "the node's credentials are no longer on disk".into(),
                    remedy: None,
                };
                let credentials = self.credentials().await?.ok_or_else(gone)?;
                let marks = Marks {
                    admin_labels: admin_labels.clone(),
                    annotations: annotations.clone(),
                };
                let marked = self
                    .cluster
                    .mark_node(node_name, &marks, &credentials)
                    .await;
                marked.map_err(|error| handshake_failure(&error))?;
                Ok(Value::Null)
            }
            // The name is claimed by the record itself; the kubelet makes the object.
            Step::ClaimNode { .. } => Ok(Value::Null),
            _ => self.perform_on_control_plane(driver, step).await,
        }
    }

    async fn await_node(
        &self,
        driver: &Driver,
        node: &str,
        until: Wait,
        seconds: u32,
    ) -> Result<(), Failure> {
        let no_credentials = || Failure {
            id: "node-not-registered".into(),
            message: "the node's credentials are no longer on disk".into(),
            remedy: None,
        };
        let credentials = self.credentials().await?.ok_or_else(no_credentials)?;
        let limit = Duration::from_secs(seconds.into());
        tokio::select! {
            come = self.cluster.await_node(node, until, &credentials) => {
                come.map_err(|error| handshake_failure(&error))
            }
            failure = self.kubelet_dies(driver) => Err(failure),
            () = tokio::time::sleep(limit) => {
                Err(self.did_not_come(node, until, seconds, &credentials).await)
            }
        }
    }

    /// Ends only when the kubelet will not come up any more.
    async fn kubelet_dies(&self, driver: &Driver) -> Failure {
        let Some(process) = kubelet_process(driver) else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(VITALS_POLL).await;
            if let Ok(health) = self.host.health(&process).await
                && health.restarts >= MAX_RESTARTS
            {
                return Failure {
                    id: "kubelet-start-failed".into(),
                    message: format!(
                        "the kubelet ended {} times; the end of its log:\n{}",
                        health.restarts, health.log_tail
                    ),
                    remedy: Some("Mend what its log names and join again.".into()),
                };
            }
        }
    }

    async fn did_not_come(
        &self,
        node: &str,
        until: Wait,
        seconds: u32,
        credentials: &NodeCredentials,
    ) -> Failure {
        let sight = self.cluster.sight(node, Some(credentials)).await;
        if let (Wait::Ready, Ok(NodeSight::Present { message, .. })) = (until, &sight) {
            return Failure {
                id: "node-not-ready".into(),
                message: format!("node {node} is not Ready after {seconds} s: {message}"),
                remedy: Some(
                    "Most often the network plugin is missing. Join with --wait registered to go on without it.".into(),
                ),
            };
        }
        Failure {
            id: "node-not-registered".into(),
            message: format!("node {node} did not appear in the cluster within {seconds} s"),
            remedy: Some("Look into the kubelet's log for why it cannot register.".into()),
        }
    }

    pub(super) async fn undo_on_cluster(
        &self,
        driver: &Driver,
        step: &Step,
        prior: &Value,
    ) -> Result<Vec<Residue>, Failure> {
        let Step::ClaimNode { node_name } = step else {
            return self.undo_on_control_plane(driver, step, prior).await;
        };
        let before: NodeBefore =
            serde_json::from_value(prior.clone()).map_err(|error| damaged(&error))?;
        // Without a kubelet of ours nothing was made.
        if !kubelet_was_begun(driver) {
            return Ok(Vec::new());
        }
        let remains = |why: String| {
            vec![Residue {
                what: format!("node {node_name} in the cluster"),
                why,
                remedy: format!("kubectl delete node {node_name}"),
            }]
        };
        let credentials = self.credentials().await?;
        if before == NodeBefore::Present && !self.cluster.has_administrator() {
            self.retire(node_name, credentials.as_ref()).await;
            return Ok(remains("it was there before this machine joined".into()));
        }
        if let Ok(NodeSight::Absent) = self.cluster.sight(node_name, credentials.as_ref()).await {
            return Ok(Vec::new());
        }
        if before != NodeBefore::Present && self.deleted_by_administrator(node_name).await {
            return Ok(Vec::new());
        }
        match self
            .cluster
            .delete_node(node_name, credentials.as_ref())
            .await
        {
            Ok(Deletion::Gone) => Ok(Vec::new()),
            Ok(Deletion::Forbidden) => {
                self.retire(node_name, credentials.as_ref()).await;
                Ok(remains("a node may not delete itself".into()))
            }
            Err(error) => Ok(remains(error.to_string())),
        }
    }

    /// A Node that stays must not look Ready: its kubelet has stopped. The cluster would notice by itself later, so
    /// a refusal is no reason to stop.
    async fn retire(&self, node: &str, credentials: Option<&NodeCredentials>) {
        if let Some(credentials) = credentials
            && let Err(error) = self.cluster.retire_node(node, credentials).await
        {
            tracing::warn!(node, %error, "the node still looks Ready");
        }
    }

    async fn credentials(&self) -> Result<Option<NodeCredentials>, Failure> {
        NodeCredentials::read(self.host)
            .await
            .map_err(|error| error.to_failure())
    }
}

/// Whether a kubelet of this saga may have run.
pub(crate) fn kubelet_was_begun(driver: &Driver) -> bool {
    let Some(state) = driver.state() else {
        return false;
    };
    state.header().definition.steps().iter().any(|spec| {
        let starts = StepContent::of(spec).is_ok_and(|content| {
            matches!(
                content.step,
                Step::StartService { .. } | Step::SpawnSupervised { .. }
            )
        });
        starts
            && state
                .step(&spec.id)
                .is_some_and(|step| step.begun.is_some())
    })
}
