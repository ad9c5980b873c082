//! The checks: alone (what `muster preflight` runs), and as the first half of every join. Changes nothing.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use muster_host::{Host, Subject};
use muster_identity::Endpoint;
use muster_net::{ApiClient, ApiError, ApiRequest, RetryPolicy};
use muster_plan::checks::{self, ApiSight, ControlPlane, NodeOfCluster};
use muster_plan::{Facts, Finding, JoinRequest, Phase, Runtime, control_plane_paths};
use serde_json::Value;

use crate::{Event, EventSink, JoinError};

/// The server is asked once, within this.
const SIGHT: RetryPolicy = RetryPolicy::once(Duration::from_secs(5));
/// More Nodes than this are not compared with.
const MOST_NODES: usize = 5_000;

/// What the checks alone are run for.
#[derive(Clone, Debug)]
pub struct PreflightOptions {
    /// The node that would be joined.
    pub request: JoinRequest,
    /// Whether the API server of the request is to be looked at; otherwise only the machine is.
    pub look_at_server: bool,
    /// The control plane that the node would run.
    pub control_plane: Option<ControlPlane>,
    /// A kubeconfig that may list Nodes.
    pub kubeconfig: Option<PathBuf>,
}

/// What a machine is to be asked for a request.
pub(crate) fn subject(request: &JoinRequest) -> Subject {
    let socket = match &request.runtime {
        Runtime::Cri { endpoint } => endpoint.as_deref(),
        Runtime::Hollow => None,
    };
    let host = match request.endpoint.host() {
        muster_identity::Host::Dns(name) => name.clone(),
        muster_identity::Host::Ip(ip) => ip.to_string(),
    };
    Subject {
        node_name: Some(request.node_name.to_string()),
        api: Some((host, request.endpoint.port())),
        cri_socket: socket.map(|url| url.strip_prefix("unix://").unwrap_or(url).to_owned()),
        paths: request
            .control_plane
            .as_ref()
            .map_or_else(Vec::new, |_| control_plane_paths()),
    }
}

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
    let facts = host
        .gather_for(&subject(request))
        .await
        .map_err(JoinError::Host)?;
    // What a control-plane node needs follows from the cluster's answers: the plan has its findings.
    let findings = match request.control_plane {
        None => checks::preflight(&facts, request),
        Some(_) => Vec::new(),
    };
    tell(&findings, started, events);
    Ok((facts, findings))
}

/// Gathers facts and runs every check of a control-plane node that needs only the machine; tells each finding.
///
/// # Errors
/// [`JoinError::Host`] when the machine cannot be looked at. Findings are no error here.
pub async fn preflight_control_plane(
    host: &dyn Host,
    request: &JoinRequest,
    plane: &ControlPlane,
    events: &EventSink,
) -> Result<(Facts, Vec<Finding>), JoinError> {
    let started = Instant::now();
    events.tell(Event::PhaseStarted {
        phase: Phase::Preflight,
    });
    let mut subject = subject(request);
    subject.paths.extend(plane.paths());
    let facts = host.gather_for(&subject).await.map_err(JoinError::Host)?;
    let findings = checks::preflight_control_plane(&facts, request, plane, None);
    tell(&findings, started, events);
    Ok((facts, findings))
}

/// Every check that can be run before a join, side by side: the machine, the way to the API server, and the other Nodes
/// for whoever may list them.
///
/// # Errors
/// [`JoinError::Host`] when the machine cannot be looked at. Findings are no error here.
pub async fn examine(
    options: &PreflightOptions,
    host: &dyn Host,
    events: &EventSink,
) -> Result<Vec<Finding>, JoinError> {
    let started = Instant::now();
    events.tell(Event::PhaseStarted {
        phase: Phase::Preflight,
    });
    let request = &options.request;
    let mut subject = subject(request);
    if !options.look_at_server {
        subject.api = None;
    }
    if let Some(plane) = &options.control_plane {
        subject.paths.extend(plane.paths());
    }
    let (facts, api, nodes) = tokio::join!(
        host.gather_for(&subject),
        async {
            match options.look_at_server {
                true => Some(sight(&request.endpoint).await),
                false => None,
            }
        },
        nodes(options.kubeconfig.as_deref()),
    );
    let facts = facts.map_err(JoinError::Host)?;
    let mut findings = match &options.control_plane {
        Some(plane) => checks::preflight_control_plane(&facts, request, plane, None),
        None => checks::preflight(&facts, request),
    };
    if let Some(api) = api {
        findings.extend(checks::preflight_sight(request, &api));
        if let Some(version) = api.version {
            let mut told = muster_plan::ClusterAnswers::new(request.endpoint.url(), "", facts.time);
            told.version = Some(version);
            findings.extend(checks::preflight_with_cluster(&facts, request, &told));
        }
    }
    findings.extend(checks::preflight_among(&facts, request, &nodes));
    tell(&findings, started, events);
    Ok(findings)
}

fn tell(findings: &[Finding], started: Instant, events: &EventSink) {
    for finding in findings {
        events.tell(Event::Finding {
            finding: finding.clone(),
        });
    }
    if !findings.iter().any(Finding::is_fatal) {
        events.tell(completed(Phase::Preflight, started));
    }
}

/// What can be seen of an API server without trusting it: whether it speaks TLS, its clock, and its version where anybody
/// may see that. Nothing secret is sent.
async fn sight(endpoint: &Endpoint) -> ApiSight {
    let tls = match muster_net::tls::recording_config() {
        Ok(tls) => tls,
        Err(error) => {
            tracing::warn!(%error, "TLS cannot be used");
            return ApiSight::default();
        }
    };
    let client = ApiClient::with_tls(endpoint.clone(), tls, None, None);
    let asked = ApiRequest::new(http::Method::GET, "/version").policy(SIGHT);
    let answer = client.send(&asked).await;
    let own = Timestamp::now();
    match answer {
        Ok(answer) => {
            let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let server = date(&answer.headers);
            let version = said.get("gitVersion").and_then(Value::as_str);
            ApiSight {
                failure: None,
                clocks: server.map(|server| (server, own)),
                version: version.map(str::to_owned),
            }
        }
        // Not everybody may see the version: it answers, and that is enough.
        Err(ApiError::Status(_)) => ApiSight::default(),
        Err(ApiError::Transport { error, .. }) => ApiSight {
            failure: Some((error.id().to_owned(), error.to_string(), error.remedy())),
            ..ApiSight::default()
        },
        Err(error) => ApiSight {
            failure: Some((
                "not-kubernetes".to_owned(),
                error.to_string(),
                "Check host and port.".to_owned(),
            )),
            ..ApiSight::default()
        },
    }
}

/// When a server answered, by its own clock.
pub(crate) fn date(headers: &http::HeaderMap) -> Option<Timestamp> {
    let date = headers.get(http::header::DATE)?;
    date.to_str().ok().and_then(read_date)
}

/// RFC 9110 writes `GMT` where RFC 2822 readers take it as obsolete but known.
fn read_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// The cluster's Nodes, as far as a kubeconfig may list them.
async fn nodes(kubeconfig: Option<&std::path::Path>) -> Vec<NodeOfCluster> {
    let Some(path) = kubeconfig else {
        return Vec::new();
    };
    let client = match muster_net::client_from_file(path) {
        Ok(client) => client.with_policy(SIGHT),
        Err(error) => {
            tracing::warn!(%error, "the kubeconfig cannot be used");
            return Vec::new();
        }
    };
    match client.get::<Value>("/api/v1/nodes").await {
        Ok(list) => {
            let items = list
                .get("items")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            items.take(MOST_NODES).map(node).collect()
        }
        Err(error) => {
            tracing::warn!(%error, "the Nodes cannot be listed");
            Vec::new()
        }
    }
}

pub(crate) fn node(node: &Value) -> NodeOfCluster {
    let text = |pointer: &str| {
        let text = node.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    let is_ready = |condition: &Value| {
        condition.get("type").and_then(Value::as_str) == Some("Ready")
            && condition.get("status").and_then(Value::as_str) == Some("True")
    };
    NodeOfCluster {
        name: text("/metadata/name"),
        ready: conditions.into_iter().flatten().any(is_ready),
        machine_id: text("/status/nodeInfo/machineID"),
        system_uuid: text("/status/nodeInfo/systemUUID"),
    }
}

/// Pulls images side by side (or one by one) through the container runtime, each up to five times, and says which failed.
pub async fn pull_images(
    host: &dyn Host,
    endpoint: &str,
    images: &[String],
    if_not_present: bool,
    serial: bool,
) -> Vec<(String, String)> {
    let pull = async |image: &String| {
        let mut last = String::new();
        for _ in 0..PULL_TRIES {
            match host.pull_image(endpoint, image, if_not_present).await {
                Ok(()) => return None,
                Err(why) => last = why,
            }
        }
        Some((image.clone(), last))
    };
    let mut failed = Vec::new();
    if serial {
        for image in images {
            failed.extend(pull(image).await);
        }
        return failed;
    }
    let all = futures::future::join_all(images.iter().map(pull)).await;
    all.into_iter().flatten().collect()
}

/// kubeadm's.
const PULL_TRIES: u32 = 5;

pub(crate) fn completed(phase: Phase, started: Instant) -> Event {
    Event::PhaseCompleted {
        phase,
        elapsed_ms: millis(started),
    }
}

pub(crate) fn millis(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_date_is_read_as_http_writes_it() {
        let read = read_date("Sat, 21 Nov 2026 11:10:35 GMT").unwrap();
        assert_eq!(read.to_string(), "2026-11-21T11:10:35Z");
        assert_eq!(read_date("yesterday"), None);
    }

    #[test]
    fn a_node_is_read_as_far_as_it_tells_which_machine_it_is() {
        let object = serde_json::json!({
            "metadata": {"name": "n1"},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "nodeInfo": {"machineID": "m", "systemUUID": "u"},
            },
        });
        let expected = NodeOfCluster {
            name: "n1".into(),
            ready: true,
            machine_id: "m".into(),
            system_uuid: "u".into(),
        };
        assert_eq!(node(&object), expected);
        assert_eq!(node(&Value::Null), NodeOfCluster::default());
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_a_finding_within_its_time() {
        let endpoint = Endpoint::parse("127.0.0.1:1").unwrap();
        let seen = sight(&endpoint).await;
        assert_eq!(seen.failure.unwrap().0, "connection-refused");
    }

    #[tokio::test]
    async fn an_image_that_nobody_has_is_named_and_the_others_are_pulled() {
        let host = muster_host::sim::SimHost::new("n1");
        host.miss_image("bad");
        let images = ["good".to_owned(), "bad".to_owned()];
        for serial in [true, false] {
            let failed = pull_images(&host, "unix:///s", &images, true, serial).await;
            assert_eq!(
                failed,
                [("bad".to_owned(), "there is no such image".to_owned())]
            );
        }
    }
}
