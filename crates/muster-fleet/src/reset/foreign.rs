//! A node of another tool, or one whose journal is gone: looked at, and taken apart in the order that its proof allows.

use muster_host::{Host, Prior, Subject};
use muster_plan::{Evidence, ForeignPlan, SecretBag, StackedMember, Step, foreign_node, paths};
use muster_saga::Residue;

use super::etcd::Leaving;
use super::{Reset, ResetOptions, etcd};
use crate::cluster::NodeCredentials;
use crate::{Deletion, JoinError, Journal};

/// What was found.
pub(super) struct Found {
    pub(super) plan: ForeignPlan,
    /// The etcd member that runs here.
    pub(super) member: Option<StackedMember>,
    pub(super) node_name: Option<String>,
}

/// How the etcd member here parted from its cluster.
#[derive(Default)]
pub(super) struct Parting {
    over: bool,
    left_behind: Option<Residue>,
}

/// Looks at a machine without changing it. `etcd_is_over` assumes that its etcd member leaves.
pub(super) async fn look(
    host: &dyn Host,
    options: &ResetOptions,
    etcd_is_over: bool,
) -> Result<Found, JoinError> {
    let wishes = &options.wishes;
    let evidence = evidence(host, &wishes.cert_dir).await?;
    let socket = wishes.cri_socket.as_deref();
    let subject = Subject {
        cri_socket: socket.map(|socket| socket.trim_start_matches("unix://").to_owned()),
        ..Subject::default()
    };
    let facts = host.gather_for(&subject).await.map_err(JoinError::Host)?;
    let member = evidence.stacked_member(&wishes.cert_dir);
    let plan = if wishes.cleanup {
        foreign_node(&evidence, &facts, host.root(), wishes, etcd_is_over)
    } else {
        ForeignPlan::default()
    };
    let is_node = !plan.steps.is_empty();
    Ok(Found {
        plan,
        // An etcd that kubeadm makes has the node's name.
        node_name: evidence
            .node_name()
            .or_else(|| member.as_ref().map(|member| member.name.clone()))
            .or_else(|| is_node.then(|| facts.hostname.clone())),
        member,
    })
}

/// Reads what can prove something.
async fn evidence(host: &dyn Host, cert_dir: &str) -> Result<Evidence, JoinError> {
    let mut evidence = Evidence::default();
    let etcd = format!("{cert_dir}/etcd");
    for dir in Evidence::wanted_dirs().into_iter().chain([cert_dir, &etcd]) {
        if let Some(names) = host.list(dir).await.map_err(JoinError::Host)? {
            evidence.listings.insert(dir.to_owned(), names);
        }
    }
    let manifests = evidence.listings.get(paths::MANIFESTS_DIR);
    let manifests = manifests
        .into_iter()
        .flatten()
        .map(|name| format!("{}/{name}", paths::MANIFESTS_DIR));
    let wanted = Evidence::wanted_files().into_iter().map(str::to_owned);
    for path in wanted.chain(manifests).collect::<Vec<_>>() {
        // What cannot be read proves nothing.
        if let Ok(Some(content)) = host.read(&path).await {
            evidence.files.insert(path, content);
        }
    }
    Ok(evidence)
}

impl Reset<'_> {
    /// The etcd member here leaves its cluster, while it still runs: it is asked, and its own vote may be needed to let it
    /// go. Says whether its membership is over, and what stays.
    ///
    /// This and what is done to the Node are no steps of a saga: both change nothing when they are repeated, and until the
    /// saga of the removal has begun, the files that led here lead here again.
    pub(super) async fn part_from_etcd(&self) -> Result<Parting, JoinError> {
        let found = look(self.host, self.options, false).await?;
        let Some(member) = found.member.filter(|_| !self.options.keep_etcd_member) else {
            return Ok(Parting::default());
        };
        match etcd::leave(self.cluster.control_plane(), self.host, &member).await {
            Leaving::Over => Ok(Parting {
                over: true,
                left_behind: None,
            }),
            Leaving::Stays(residue) => Ok(Parting {
                over: false,
                left_behind: Some(residue),
            }),
            // Whatever else went, its etcd would go with it.
            Leaving::Held(residue) => Err(JoinError::UndoIncomplete {
                left_behind: vec![residue],
                cause: None,
            }),
        }
    }

    /// Removes what is proved; says whether there was anything, and what is left.
    pub(super) async fn remove_foreign(
        &self,
        journal: &Journal,
        parting: Parting,
    ) -> Result<(bool, Vec<Residue>), JoinError> {
        let over = parting.over;
        let mut left_behind: Vec<Residue> = parting.left_behind.into_iter().collect();
        let Found {
            plan, node_name, ..
        } = look(self.host, self.options, over).await?;
        left_behind.extend(plan.left_behind);
        if plan.steps.is_empty() {
            return Ok((over, left_behind));
        }
        if let Some(node_name) = node_name {
            self.stop_kubelet().await?;
            left_behind.extend(self.forget_node(&node_name).await?);
        }
        left_behind.extend(self.remove_for_good(journal, plan.steps).await?);
        Ok((true, left_behind))
    }

    /// A kubelet that runs would make its Node again.
    async fn stop_kubelet(&self) -> Result<(), JoinError> {
        let step = Step::StopService {
            unit: paths::KUBELET_UNIT.into(),
        };
        let prior = self.host.observe(&step).await.map_err(JoinError::Host)?;
        if matches!(prior, Prior::Service { active: true, .. }) {
            let secrets = SecretBag::new();
            let stopped = self.host.perform("reset", &step, &prior, &secrets).await;
            stopped.map_err(JoinError::Host)?;
        }
        Ok(())
    }

    /// Deletes the Node as an administrator; without one it is named.
    async fn forget_node(&self, node_name: &str) -> Result<Option<Residue>, JoinError> {
        let remains = |why: String| Residue {
            what: format!("node {node_name} in the cluster"),
            why,
            remedy: format!("kubectl delete node {node_name}"),
        };
        let credentials = NodeCredentials::read(self.host)
            .await
            .map_err(JoinError::Host)?;
        if !self.cluster.has_administrator() {
            if let Some(credentials) = &credentials
                && let Err(error) = self.cluster.retire_node(node_name, credentials).await
            {
                tracing::warn!(node_name, %error, "the node still looks Ready");
            }
            return Ok(Some(remains("a node may not delete itself".into())));
        }
        let deleted = self
            .cluster
            .delete_node(node_name, credentials.as_ref())
            .await;
        Ok(match deleted {
            Ok(Deletion::Gone) => None,
            Ok(Deletion::Forbidden) => Some(remains("these credentials may not delete it".into())),
            Err(error) => Some(remains(error.to_string())),
        })
    }
}
