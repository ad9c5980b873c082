//! OpenTelemetry spans (OTLP/HTTP, JSON): one for the run, one for each host below it, one for each stage below that.
//!
//! Ids follow from the run, the host and the stage, so that nothing has to be remembered but when things began.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use jiff::Timestamp;
use muster_net::{PostError, PostTarget};
use muster_rollout::{Event, EventKind, HostName, Stage, StageFailure};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::rollout::bus::Sink;

/// Where collectors take spans.
const PATH: &str = "/v1/traces";
const LIMIT: Duration = Duration::from_secs(5);
/// How often one batch is tried.
const TRIES: u32 = 3;
/// `SPAN_KIND_INTERNAL` and `STATUS_CODE_ERROR`.
const INTERNAL: u32 = 1;
const ERROR: u32 = 2;

struct OfHost {
    began: Timestamp,
    stage: Option<(Stage, u32, Timestamp)>,
}

/// Sends spans to a collector as they end.
pub struct Spans {
    target: PostTarget,
    run: Option<Timestamp>,
    hosts: HashMap<u32, OfHost>,
    ended: Vec<Value>,
}

impl Spans {
    /// A collector at `http://HOST:4318` or the whole address.
    ///
    /// # Errors
    /// [`PostError::Address`].
    pub fn new(url: &str) -> Result<Self, PostError> {
        Ok(Self {
            target: PostTarget::parse(url)?.or_path(PATH),
            run: None,
            hosts: HashMap::new(),
            ended: Vec::new(),
        })
    }

    fn learn(&mut self, event: &Event) {
        match &event.kind {
            EventKind::RunStarted { .. } | EventKind::RunResumed { .. } => {
                self.run = Some(event.at)
            }
            EventKind::ClusterNodeJoinStarted { host } => {
                let of_host = OfHost {
                    began: event.at,
                    stage: None,
                };
                self.hosts.insert(host.host.0, of_host);
            }
            EventKind::StageStarted {
                host,
                stage,
                attempt,
            } => {
                self.end_stage(event, host, None);
                if let Some(of_host) = self.hosts.get_mut(&host.host.0) {
                    of_host.stage = Some((*stage, *attempt, event.at));
                }
            }
            EventKind::RetryScheduled {
                host,
                failure,
                undo: false,
                ..
            } => {
                self.end_stage(event, host, Some(failure));
            }
            EventKind::ClusterNodeJoinCompleted { host, .. } => {
                self.end_stage(event, host, None);
                self.end_host(event, host, None);
            }
            EventKind::ClusterNodeJoinFailed { host, failure, .. } => {
                self.end_stage(event, host, Some(failure));
                self.end_host(event, host, Some(failure));
            }
            EventKind::RunEnded { verdict } => {
                if let Some(began) = self.run.take() {
                    let mut span = span(
                        event,
                        &root(event),
                        None,
                        "fleet run",
                        began,
                        verdict.reason.as_ref(),
                    );
                    attribute(
                        &mut span,
                        "muster.ending",
                        json!(verdict.ending).as_str().unwrap_or_default(),
                    );
                    self.ended.push(span);
                }
            }
            _ => {}
        }
    }

    fn end_stage(&mut self, event: &Event, host: &HostName, failure: Option<&StageFailure>) {
        let stage = self
            .hosts
            .get_mut(&host.host.0)
            .and_then(|of_host| of_host.stage.take());
        if let Some((stage, attempt, began)) = stage {
            let key = format!("{}/{stage}/{attempt}", of(event, host));
            let parent = of(event, host);
            let mut span = span(event, &key, Some(&parent), stage.as_str(), began, failure);
            attribute(&mut span, "k8s.node.name", &host.name);
            attribute(&mut span, "muster.attempt", &attempt.to_string());
            self.ended.push(span);
        }
    }

    fn end_host(&mut self, event: &Event, host: &HostName, failure: Option<&StageFailure>) {
        if let Some(of_host) = self.hosts.remove(&host.host.0) {
            let mut span = span(
                event,
                &of(event, host),
                Some(&root(event)),
                "join",
                of_host.began,
                failure,
            );
            attribute(&mut span, "k8s.node.name", &host.name);
            self.ended.push(span);
        }
    }
}

fn root(event: &Event) -> String {
    format!("{}/{}", event.run, event.incarnation)
}

fn of(event: &Event, host: &HostName) -> String {
    format!("{}/{}", root(event), host.name)
}

/// FNV-1a, 64 bits: spread well enough for ids that need not be secret.
fn hash(text: &str, salt: u64) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325 ^ salt, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

fn span(
    event: &Event,
    key: &str,
    parent: Option<&str>,
    name: &str,
    began: Timestamp,
    failure: Option<&StageFailure>,
) -> Value {
    let trace = root(event);
    let mut span = json!({
        "traceId": format!("{:016x}{:016x}", hash(&trace, 0), hash(&trace, 1)),
        "spanId": format!("{:016x}", hash(key, 2)),
        "name": name,
        "kind": INTERNAL,
        "startTimeUnixNano": began.as_nanosecond().to_string(),
        "endTimeUnixNano": event.at.as_nanosecond().to_string(),
        "attributes": [],
    });
    if let Some(parent) = parent {
        span["parentSpanId"] = json!(format!("{:016x}", hash(parent, 2)));
    }
    attribute(&mut span, "muster.run", &event.run.0);
    if let Some(failure) = failure {
        span["status"] = json!({"code": ERROR, "message": failure.message});
        attribute(&mut span, "error.type", &failure.id);
    }
    span
}

fn attribute(span: &mut Value, key: &str, value: &str) {
    if let Some(attributes) = span["attributes"].as_array_mut() {
        attributes.push(json!({"key": key, "value": {"stringValue": value}}));
    }
}

#[async_trait]
impl Sink for Spans {
    fn name(&self) -> &str {
        "OpenTelemetry"
    }

    async fn take(&mut self, events: &[Arc<Event>]) -> Result<(), String> {
        for event in events {
            self.learn(event);
        }
        if self.ended.is_empty() {
            return Ok(());
        }
        let spans = std::mem::take(&mut self.ended);
        let body = json!({"resourceSpans": [{
            "resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "muster"}},
                {"key": "service.version", "value": {"stringValue": env!("CARGO_PKG_VERSION")}},
            ]},
            "scopeSpans": [{"scope": {"name": "muster.fleet"}, "spans": spans}],
        }]});
        let body = body.to_string();
        let mut last = String::new();
        for attempt in 1..=TRIES {
            let posted = self
                .target
                .post("application/json", &HeaderMap::new(), body.clone(), LIMIT)
                .await;
            match posted {
                Ok(()) => return Ok(()),
                Err(error) => last = error.to_string(),
            }
            if attempt < TRIES {
                sleep(Duration::from_millis(200) * attempt).await;
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_rollout::{HostIndex, RunId};

    fn event(second: i64, kind: EventKind) -> Event {
        Event {
            run: RunId("r".into()),
            incarnation: 0,
            sequence: 0,
            at: Timestamp::from_second(second).unwrap(),
            kind,
        }
    }

    #[test]
    fn stages_hang_below_their_host_and_hosts_below_the_run() {
        let host = || HostName {
            host: HostIndex(0),
            name: "w1".into(),
        };
        let mut spans = Spans::new("http://127.0.0.1:4318").unwrap();
        let stage = |stage, attempt| EventKind::StageStarted {
            host: host(),
            stage,
            attempt,
        };
        let failure = StageFailure::terminal("pin-mismatch", "another CA");
        for (second, kind) in [
            (0, EventKind::RunStarted { hosts: 1 }),
            (1, EventKind::ClusterNodeJoinStarted { host: host() }),
            (1, stage(Stage::Prepare, 1)),
            (3, stage(Stage::Join, 1)),
            (
                7,
                EventKind::ClusterNodeJoinFailed {
                    host: host(),
                    stage: Stage::Join,
                    failure,
                },
            ),
        ] {
            spans.learn(&event(second, kind));
        }
        let names: Vec<&str> = spans
            .ended
            .iter()
            .map(|span| span["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["prepare", "join", "join"]);
        let (prepare, join, host) = (&spans.ended[0], &spans.ended[1], &spans.ended[2]);
        assert_eq!(prepare["endTimeUnixNano"], "3000000000");
        assert_eq!(join["parentSpanId"], host["spanId"]);
        assert_eq!(join["traceId"], host["traceId"]);
        assert_eq!(join["status"]["code"], ERROR);
        assert_ne!(prepare["spanId"], join["spanId"]);
    }
}
