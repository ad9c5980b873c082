//! Starts the controllers on one client and stops them. It decides nothing.

use crate::certificates::{self, CertificateSettings};
use crate::node_lifecycle::{self, NodeLifecycleSettings};
use crate::token_secrets::{self, TokenSigner};
use crate::{
    bootstrap_tokens, garbage, namespace, namespace_defaults, resource_quota, role_aggregation,
    storage_protection,
};
use kube::Client;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The pause before a controller that ended is begun again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// What the controllers need to know of the cluster.
#[derive(Clone)]
pub struct Settings {
    /// Approving and signing requests; `None` leaves them to somebody else.
    pub certificates: Option<CertificateSettings>,
    /// Watching nodes.
    pub node_lifecycle: NodeLifecycleSettings,
    /// The cluster's CA certificates (PEM), published in every namespace.
    pub root_ca: String,
    /// Signs tokens that are kept in Secrets; `None` leaves such Secrets to somebody else.
    pub tokens: Option<TokenSigner>,
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
        let of = client.clone();
        if let Some(certificates) = settings.certificates {
            tasks.spawn(keep_running("certificates", move || {
                certificates::run(of.clone(), certificates.clone())
            }));
        }
        let of = client.clone();
        tasks.spawn(keep_running("bootstrap-tokens", move || {
            bootstrap_tokens::run(of.clone())
        }));
        let (of, lifecycle) = (client.clone(), settings.node_lifecycle);
        tasks.spawn(keep_running("node-lifecycle", move || {
            node_lifecycle::run(of.clone(), lifecycle.clone())
        }));
        let of = client.clone();
        tasks.spawn(keep_running("namespace", move || {
            namespace::run(of.clone())
        }));
        let root_ca = Arc::<str>::from(settings.root_ca);
        if let Some(signer) = settings.tokens {
            let (of, root_ca) = (client.clone(), Arc::clone(&root_ca));
            tasks.spawn(keep_running("token-secrets", move || {
                token_secrets::run(of.clone(), Arc::clone(&signer), Arc::clone(&root_ca))
            }));
        }
        let of = client.clone();
        tasks.spawn(keep_running("namespace-defaults", move || {
            namespace_defaults::run(of.clone(), Arc::clone(&root_ca))
        }));
        let of = client.clone();
        tasks.spawn(keep_running("role-aggregation", move || {
            role_aggregation::run(of.clone())
        }));
        let of = client.clone();
        tasks.spawn(keep_running("storage-protection", move || {
            storage_protection::run(of.clone())
        }));
        let of = client.clone();
        tasks.spawn(keep_running("resource-quota", move || {
            resource_quota::run(of.clone())
        }));
        tasks.spawn(keep_running("garbage", move || {
            garbage::run(client.clone())
        }));
        Self { tasks }
    }

    /// Stops all controllers and waits until they have stopped.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Runs a controller for ever: one that ends or panics is begun again after a pause, from a fresh
/// look at the API, and the others do not notice.
async fn keep_running<F>(name: &'static str, start: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let mut controller = JoinSet::new();
        controller.spawn(start());
        match controller.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                tracing::error!(
                    controller = name,
                    "a controller panicked and is begun again"
                );
            }
            _ => tracing::warn!(controller = name, "a controller ended and is begun again"),
        }
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_controller_that_panics_is_begun_again() {
        let starts = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&starts);
        let running = tokio::spawn(keep_running("test", move || {
            let count = Arc::clone(&count);
            async move {
                assert!(
                    count.fetch_add(1, Ordering::SeqCst) >= 2,
                    "the first two panic"
                );
                std::future::pending::<()>().await;
            }
        }));
        tokio::time::sleep(RESTART_PAUSE * 10).await;
        assert_eq!(starts.load(Ordering::SeqCst), 3);
        running.abort();
    }
}
