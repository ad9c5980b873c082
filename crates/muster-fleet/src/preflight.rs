//! The checks alone: what `muster preflight` runs, and the first half of every join. Changes nothing.

use std::time::Instant;

use muster_host::Host;
use muster_plan::{Facts, Finding, JoinRequest, Phase, Runtime, checks};

use crate::{Event, EventSink, JoinError};

/// Gathers facts and runs every check that needs only the machine; tells each finding.
///
/// # Errors
/// [`JoinError::Host`] when the machine cannot be looked at. Findings are no error here.
pub async fn preflight(
    host: &dyn Host,
    request: &JoinRequest,
    events: &EventSink,
) -> Result<(Facts, Vec<Finding>), JoinError> {
    let started = Instant::now();
    events.tell(Event::PhaseStarted {
        phase: Phase::Preflight,
    });
    let mut facts = host.gather().await.map_err(JoinError::Host)?;
    if let Runtime::Cri {
        endpoint: Some(endpoint),
    } = &request.runtime
    {
        let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
        if !facts.cri_sockets.iter().any(|socket| socket.path == path) {
            facts.cri_sockets.extend(host.cri_socket(path).await);
        }
    }
    let findings = checks::preflight(&facts, request);
    for finding in &findings {
        events.tell(Event::Finding {
            finding: finding.clone(),
        });
    }
    if !findings.iter().any(Finding::is_fatal) {
        events.tell(completed(Phase::Preflight, started));
    }
    Ok((facts, findings))
}

pub(crate) fn completed(phase: Phase, started: Instant) -> Event {
    Event::PhaseCompleted {
        phase,
        elapsed_ms: millis(started),
    }
}

pub(crate) fn millis(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
