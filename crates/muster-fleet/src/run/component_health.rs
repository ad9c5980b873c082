//! Waiting until components say that they are well: each is asked at its own address, all side by side.

use std::time::Duration;

use futures::future::try_join_all;
use http::Method;
use muster_host::Host;
use muster_identity::Endpoint;
use muster_net::tls::unverified_config;
use muster_net::{ApiClient, ApiError, ApiRequest, RetryPolicy};
use muster_plan::ComponentHealth;
use muster_saga::Failure;
use tokio::time::{Instant, sleep};

use crate::cluster::Administration;

const PAUSE: Duration = Duration::from_millis(100);
const ONE_CALL: RetryPolicy = RetryPolicy::once(Duration::from_secs(5));

/// Waits until all answer that they are well.
pub(super) async fn await_all(
    host: &dyn Host,
    components: &[ComponentHealth],
    limit: Duration,
) -> Result<(), Failure> {
    let each = components
        .iter()
        .map(|component| await_one(host, component, limit));
    try_join_all(each).await.map(drop)
}

async fn await_one(
    host: &dyn Host,
    component: &ComponentHealth,
    limit: Duration,
) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    loop {
        let obstacle = match ask(host, component).await {
            Ok(()) => return Ok(()),
            Err(obstacle) => obstacle,
        };
        if Instant::now() >= deadline {
            return Err(Failure {
                id: "control-plane-unhealthy".into(),
                message: format!(
                    "{} at {} is not healthy after {} s: {obstacle}",
                    component.name,
                    component.url,
                    limit.as_secs()
                ),
                remedy: Some(format!(
                    "Look at its container's log (`crictl ps -a`, /var/log/pods/kube-system_{}*).",
                    component.name
                )),
            });
        }
        sleep(PAUSE).await;
    }
}

async fn ask(host: &dyn Host, component: &ComponentHealth) -> Result<(), String> {
    let rest = component
        .url
        .strip_prefix("https://")
        .unwrap_or(&component.url);
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let endpoint = Endpoint::parse(authority).map_err(|error| error.to_string())?;
    let client = if component.verified {
        let administration = Administration::at(host, &endpoint)
            .await
            .map_err(|failure| failure.message)?;
        administration
            .ok_or("there is no admin.conf on this node")?
            .0
    } else {
        // They make their certificates themselves; nothing is said to them.
        let tls = unverified_config(None).map_err(|error| error.to_string())?;
        ApiClient::with_tls(endpoint, tls, None, None)
    };
    let request = ApiRequest::new(Method::GET, format!("/{path}")).policy(ONE_CALL);
    client
        .send(&request)
        .await
        .map(drop)
        .map_err(|error| words(&error))
}

fn words(error: &ApiError) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
