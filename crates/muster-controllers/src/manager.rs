//! Starts the controllers on one client and stops them. It decides nothing.

use crate::certificates::{self, CertificateSettings};
use crate::node_lifecycle::{self, NodeLifecycleSettings};
use crate::{bootstrap_tokens, garbage, namespace, namespace_defaults};
use kube::Client;
use std::sync::Arc;
use tokio::task::JoinSet;

/// What the controllers need to know of the cluster.
#[derive(Clone)]
pub struct Settings {
    /// Approving and signing requests; `None` leaves them to somebody else.
    pub certificates: Option<CertificateSettings>,
    /// Watching nodes.
    pub node_lifecycle: NodeLifecycleSettings,
    /// The cluster's CA certificates (PEM), published in every namespace.
    pub root_ca: String,
}

/// Running controllers. Dropping it stops them.
pub struct Controllers {
    tasks: JoinSet<()>,
}

impl Controllers {
    /// Starts all controllers. They connect, list and watch by themselves, and never give up:
    /// an API that is away is waited for.
    ///
    /// `client` needs the rights of kube-controller-manager's controllers.
    #[must_use]
    pub fn start(client: Client, settings: Settings) -> Self {
        let mut tasks = JoinSet::new();
        if let Some(certificates) = settings.certificates {
            tasks.spawn(certificates::run(client.clone(), certificates));
        }
        tasks.spawn(bootstrap_tokens::run(client.clone()));
        tasks.spawn(node_lifecycle::run(client.clone(), settings.node_lifecycle));
        tasks.spawn(namespace::run(client.clone()));
        tasks.spawn(namespace_defaults::run(
            client.clone(),
            Arc::from(settings.root_ca),
        ));
        tasks.spawn(garbage::run(client));
        Self { tasks }
    }

    /// Stops all controllers and waits until they have stopped.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
