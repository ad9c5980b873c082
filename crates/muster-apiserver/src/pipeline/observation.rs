//! What is told about a request while it passes: to the metrics, and to the audit log if there is one.
//!
//! Refuses to know: how requests are served. Nothing here changes an answer, except that the end of a long one is
//! noticed.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Instant,
};

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use jiff::Timestamp;
use muster_machinery::protobuf;
use serde_json::{Value, json};

use crate::{
    audit::{Arrival, Auditor, Level, Stage, Trail},
    authz::Decision,
    notes::Notes,
    registry::APPLY_PATCH,
    request::{RequestInfo, UserInfo, Verb},
    system::{Gauge, Metrics, RequestLabels},
    wire::{Response, ResponseBody, media_type},
};

/// The headers that an audit event tells of.
const TOLD: [HeaderName; 3] = [
    header::USER_AGENT,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];
/// Requests that are long by nature, besides watches.
const STREAMS: [&str; 5] = ["exec", "attach", "portforward", "log", "proxy"];

/// One request under observation.
pub(super) struct Observation {
    metrics: Arc<Metrics>,
    auditor: Option<Arc<Auditor>>,
    notes: Arc<Notes>,
    labels: RequestLabels,
    info: RequestInfo,
    arrival: Option<Arrived>,
    trail: OnceLock<Arc<Trail>>,
    begun: Instant,
    received: Timestamp,
}

/// What an audit event needs of the request's head.
struct Arrived {
    audit_id: String,
    uri: String,
    headers: HeaderMap,
    from: Option<IpAddr>,
    credentials: &'static str,
}

impl Observation {
    /// Begins with the request's head.
    pub(super) fn begin<B>(
        metrics: &Arc<Metrics>,
        auditor: Option<&Arc<Auditor>>,
        request: &Request<B>,
        info: &RequestInfo,
        (audit_id, from, has_certificate): (&HeaderValue, Option<IpAddr>, bool),
    ) -> Self {
        let mut labels = metrics.labels(info, request.uri().query());
        if info.verb == Verb::Patch && media_type(request.headers()) == APPLY_PATCH {
            labels.is_apply();
        }
        let notes = Arc::new(Notes::default());
        if info.verb == Verb::Watch {
            notes.count_events(metrics.requests.tally(&labels));
        }
        let uri = || {
            let parts = request.uri().path_and_query();
            parts
                .map_or("/", http::uri::PathAndQuery::as_str)
                .to_owned()
        };
        let arrival = auditor.map(|_| Arrived {
            audit_id: audit_id.to_str().unwrap_or_default().to_owned(),
            uri: uri(),
            headers: told(request.headers()),
            from,
            credentials: credentials(request.headers(), has_certificate),
        });
        Self {
            metrics: Arc::clone(metrics),
            auditor: auditor.cloned(),
            notes,
            labels,
            info: info.clone(),
            arrival,
            trail: OnceLock::new(),
            begun: Instant::now(),
            received: Timestamp::now(),
        }
    }

    /// Where stages note what they have to say.
    pub(super) fn notes(&self) -> &Arc<Notes> {
        &self.notes
    }

    /// Who sent it is known.
    pub(super) fn authenticated(&self, user: &UserInfo) {
        let took = self.begun.elapsed();
        let name = Some(user.name.as_str());
        self.metrics.requests.authenticated(name, took);
        if let Some(trail) = self.begin_trail(Some(user)) {
            trail.tell(Stage::RequestReceived);
        }
    }

    /// Nobody believes who sent it.
    pub(super) fn not_authenticated(&self) {
        let took = self.begun.elapsed();
        self.metrics.requests.authenticated(None, took);
        if let (Some(trail), Some(arrival)) = (self.begin_trail(None), &self.arrival) {
            let status = json!({"message": arrival.credentials});
            trail.answered(StatusCode::UNAUTHORIZED.as_u16(), Some(&status));
            trail.tell(Stage::ResponseStarted);
        }
    }

    /// The sender acts as somebody else.
    pub(super) fn impersonates(&self, user: &UserInfo) {
        if let Some(trail) = self.trail.get() {
            trail.impersonates(user);
        }
    }

    /// Whether it may has been decided.
    pub(super) fn decided(&self, decision: &Decision, begun: Instant) {
        let (word, reason) = match decision {
            Decision::Allow => ("allow", ""),
            Decision::Deny { reason } => ("forbid", reason.as_str()),
        };
        let allowed = matches!(decision, Decision::Allow);
        self.metrics.requests.authorized(allowed, begun.elapsed());
        if self.trail.get().is_some() {
            self.notes.annotate("authorization.k8s.io/decision", word);
            self.notes.annotate("authorization.k8s.io/reason", reason);
        }
    }

    /// The server gives it up so that others are served.
    pub(super) fn terminated(&self, code: u16) {
        self.metrics.requests.terminated(&self.labels, code);
    }

    /// The server broke on it.
    pub(super) fn panicked(&self, why: &str) {
        if let Some(trail) = self.trail.get() {
            let status = json!({
                "status": "Failure", "reason": "InternalError",
                "message": format!("APIServer panic'd: {why}"),
            });
            trail.answered(500, Some(&status));
            trail.tell(Stage::Panic);
        }
    }

    fn begin_trail(&self, user: Option<&UserInfo>) -> Option<&Arc<Trail>> {
        let (auditor, arrived) = (self.auditor.as_ref()?, self.arrival.as_ref()?);
        let arrival = Arrival {
            audit_id: &arrived.audit_id,
            uri: &arrived.uri,
            info: &self.info,
            headers: &arrived.headers,
            from: arrived.from,
            received: self.received,
        };
        let trail = auditor.begin(arrival, user, &self.notes)?;
        Some(self.trail.get_or_init(|| trail))
    }

    /// Tells of the answer, and sees to it that the end of a long one is told of.
    pub(super) async fn answered(self, response: Response, panicked: bool) -> Response {
        let code = response.status().as_u16();
        let is_stream = matches!(response.body(), ResponseBody::Stream(_));
        let response = match self.trail.get().filter(|_| !panicked) {
            Some(trail) if !is_stream => self.tell_whole(trail, response).await,
            Some(trail) => {
                trail.answered(code, None);
                trail.tell(Stage::ResponseStarted);
                response
            }
            None => response,
        };
        if is_stream {
            let gauge = self.metrics.requests.long_running(&self.labels);
            gauge.add(1);
            let end = End {
                observation: self,
                gauge,
                code,
            };
            return response.map(|body| until(body, end));
        }
        let bytes = response.body().size_hint().exact();
        self.count(code, bytes);
        response
    }

    fn is_long(&self) -> bool {
        let sub = |info: &RequestInfo| {
            let sub = info.resource.as_ref()?.subresource.clone()?;
            Some(STREAMS.contains(&sub.as_str()))
        };
        self.info.verb == Verb::Watch || sub(&self.info).unwrap_or(false)
    }

    fn count(&self, code: u16, bytes: Option<u64>) {
        let (took, webhooks) = (self.begun.elapsed(), self.notes.waited());
        self.metrics
            .requests
            .answered(&self.labels, code, took, webhooks, bytes);
    }

    /// Tells of an answer that is there as a whole.
    async fn tell_whole(&self, trail: &Arc<Trail>, response: Response) -> Response {
        let code = response.status();
        let is_refusal = code.is_client_error() || code.is_server_error();
        if trail.is_of_nobody() {
            // All has been said when the credential was not believed.
            return response;
        }
        let wants_object = trail.level() == Level::RequestResponse && self.info.resource.is_some();
        let (response, object) = if is_refusal || wants_object {
            read(response).await
        } else {
            (response, None)
        };
        let is_status = object
            .as_ref()
            .is_some_and(|object| object.get("kind") == Some(&Value::from("Status")));
        trail.answered(code.as_u16(), object.as_ref().filter(|_| is_status));
        if let Some(object) = object.filter(|_| wants_object) {
            trail.answer_object(object);
        }
        if self.is_long() {
            trail.tell(Stage::ResponseStarted);
        }
        trail.tell(Stage::ResponseComplete);
        response
    }
}

/// What is told when a long answer ends.
struct End {
    observation: Observation,
    gauge: Arc<Gauge>,
    code: u16,
}

impl Drop for End {
    fn drop(&mut self) {
        self.gauge.add(-1);
        self.observation.count(self.code, None);
        if let Some(trail) = self.observation.trail.get() {
            trail.tell(Stage::ResponseComplete);
        }
    }
}

fn until(body: ResponseBody, end: End) -> ResponseBody {
    match body {
        ResponseBody::Stream(frames) => {
            let frames = frames.map(move |frame| {
                let _end = &end;
                frame
            });
            ResponseBody::Stream(Box::pin(frames))
        }
        whole => whole,
    }
}

/// Reads an answer's object and gives the answer back as it was.
async fn read(response: Response) -> (Response, Option<Value>) {
    let (parts, body) = response.into_parts();
    // What is not a stream is there already: this waits for nothing.
    let bytes = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(never) => match never {},
    };
    let object = decode(&parts.headers, &bytes);
    (
        Response::from_parts(parts, ResponseBody::full(bytes)),
        object,
    )
}

fn decode(headers: &HeaderMap, bytes: &Bytes) -> Option<Value> {
    let media = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    if media.starts_with(protobuf::CONTENT_TYPE) {
        return protobuf::decode(bytes).ok();
    }
    if media.starts_with("application/yaml") {
        return serde_saphyr::from_str(std::str::from_utf8(bytes).ok()?).ok();
    }
    serde_json::from_slice(bytes).ok()
}

fn told(headers: &HeaderMap) -> HeaderMap {
    let mut told = HeaderMap::new();
    for name in TOLD {
        if let Some(value) = headers.get(&name) {
            told.insert(name, value.clone());
        }
    }
    told
}

/// How somebody tried to say who they are, for the audit log (`getAuthMethods` upstream).
fn credentials(headers: &HeaderMap, has_certificate: bool) -> &'static str {
    let scheme = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.trim().split_once(' '))
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    match (scheme.as_deref(), has_certificate) {
        (Some("bearer"), false) => "Authentication failed, attempted: bearer",
        (Some("bearer"), true) => "Authentication failed, attempted: bearer, x509",
        (Some("basic"), false) => "Authentication failed, attempted: basic",
        (Some("basic"), true) => "Authentication failed, attempted: basic, x509",
        (_, true) => "Authentication failed, attempted: x509",
        (_, false) => "Authentication failed, no credentials provided",
    }
}
