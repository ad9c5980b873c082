//! Waiting until components say that they are well: each is asked at its own address, all side by side.

use std::time::Duration;

use futures::future::try_join_all;
use muster_host::Host;
use muster_plan::ComponentHealth;
use muster_saga::Failure;
use tokio::time::{Instant, sleep};

use crate::ControlPlane;

const PAUSE: Duration = Duration::from_millis(100);

/// Waits until all answer that they are well.
pub(super) async fn await_all(
    plane: &dyn ControlPlane,
    host: &dyn Host,
    components: &[ComponentHealth],
    limit: Duration,
) -> Result<(), Failure> {
    let each = components
        .iter()
        .map(|component| await_one(plane, host, component, limit));
    try_join_all(each).await.map(drop)
}

async fn await_one(
    plane: &dyn ControlPlane,
    host: &dyn Host,
    component: &ComponentHealth,
    limit: Duration,
) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    loop {
        let obstacle = match plane.component(host, component).await {
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
