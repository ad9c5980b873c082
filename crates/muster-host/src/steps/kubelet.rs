//! Waiting for a kubelet: healthy, or the first real reason why not.

use std::time::Duration;

use muster_plan::Process;
use tokio::time::Instant;

use super::{MAX_RESTARTS, Machine};
use crate::HostError;
use crate::disk::Disk;
use crate::process::Processes;
use crate::services::Services;

const POLL: Duration = Duration::from_millis(20);
/// A service manager is asked by a command, and so less often.
const SERVICE_POLL: Duration = Duration::from_millis(500);
/// Without a health port: how long it must stay alive to count as started. A later end is noticed while its Node is
/// waited for.
const SETTLE: Duration = Duration::from_millis(50);

impl<D: Disk, S: Services, P: Processes> Machine<D, S, P> {
    pub(super) async fn await_kubelet(
        &self,
        healthz_port: Option<u16>,
        process: &Process,
        seconds: u32,
    ) -> Result<(), HostError> {
        let deadline = Instant::now() + Duration::from_secs(seconds.into());
        let ask_every = match process {
            Process::Service { .. } => SERVICE_POLL,
            Process::Supervised { .. } => POLL,
        };
        // A service that tells its health by itself is not asked after in its first moments: it has better to do.
        let unasked = match (process, healthz_port) {
            (Process::Service { .. }, Some(_)) => Some((Instant::now(), true)),
            _ => None,
        };
        let mut asked: Option<(Instant, bool)> = unasked;
        let mut alive_since = None;
        loop {
            let healthz = match healthz_port {
                Some(port) => self.processes.healthz(port).await.map_err(Some),
                None => Err(None),
            };
            let Err(said) = healthz else { return Ok(()) };
            if asked.is_none_or(|(when, _)| when.elapsed() >= ask_every) {
                let (running, restarts) = self.vitals(process).await?;
                asked = Some((Instant::now(), running));
                if restarts >= MAX_RESTARTS {
                    return Err(self
                        .unhealthy(process, format!("it ended {restarts} times"))
                        .await);
                }
            }
            let running = asked.is_some_and(|(_, running)| running);
            if !running {
                alive_since = None;
            } else if healthz_port.is_none()
                && alive_since.get_or_insert_with(Instant::now).elapsed() >= SETTLE
            {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let reason = if running {
                    said
                } else {
                    Some("it is not running".into())
                };
                let reason = reason.unwrap_or_else(|| "it has only just started".into());
                return Err(self.unhealthy(process, reason).await);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn unhealthy(&self, process: &Process, reason: String) -> HostError {
        HostError::KubeletUnhealthy {
            reason,
            log: self.log_tail(process).await,
        }
    }
}
