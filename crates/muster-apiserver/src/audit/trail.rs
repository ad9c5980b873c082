//! What is written down about one request, from its arrival to the end of its answer (`audit.k8s.io/v1` `Event`).
//!
//! Refuses to know: the log. Dropping the last holder of a trail ends it.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, header::USER_AGENT};
use jiff::Timestamp;
use muster_machinery::meta;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::{Auditor, Level, Scope, Stage};
use crate::{
    notes::Notes,
    request::{RequestInfo, UserInfo},
};

/// The longest user agent that is written down, in bytes.
const MAX_USER_AGENT: usize = 1024;

/// One request that the policy wants to know of.
pub(crate) struct Trail {
    auditor: Arc<Auditor>,
    scope: Scope,
    notes: Arc<Notes>,
    is_of_nobody: bool,
    event: Mutex<Map<String, Value>>,
}

/// A request as it arrived.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) audit_id: &'a str,
    pub(crate) uri: &'a str,
    pub(crate) info: &'a RequestInfo,
    pub(crate) headers: &'a HeaderMap,
    /// Where the connection comes from; `None` within the process.
    pub(crate) from: Option<IpAddr>,
    pub(crate) received: Timestamp,
}

impl Trail {
    pub(super) fn begin(
        auditor: Arc<Auditor>,
        scope: Scope,
        notes: Arc<Notes>,
        arrival: Arrival<'_>,
        user: Option<&UserInfo>,
    ) -> Arc<Self> {
        if scope.level >= Level::Metadata {
            notes.keep_object();
        }
        if scope.level >= Level::Request {
            notes.keep_body();
        }
        let mut event = Map::new();
        let mut put = |field: &str, value: Value| event.insert(field.to_owned(), value);
        put("kind", "Event".into());
        put("apiVersion", "audit.k8s.io/v1".into());
        put("level", scope.level.as_str().into());
        put("auditID", arrival.audit_id.into());
        put("stage", Value::Null);
        put("requestURI", arrival.uri.into());
        put("verb", arrival.info.verb.as_str().into());
        put("user", user.map(user_value).unwrap_or_else(|| json!({})));
        let ips = source_ips(arrival.headers, arrival.from);
        if !ips.is_empty() {
            put("sourceIPs", json!(ips));
        }
        if let Some(agent) = user_agent(arrival.headers) {
            put("userAgent", agent.into());
        }
        if let Some(object) = object_reference(arrival.info) {
            put("objectRef", object);
        }
        put(
            "requestReceivedTimestamp",
            meta::format_micro_time(arrival.received).into(),
        );
        Arc::new(Self {
            auditor,
            scope,
            notes,
            is_of_nobody: user.is_none(),
            event: Mutex::new(event),
        })
    }

    /// Whether nobody was believed to have sent the request.
    pub(crate) fn is_of_nobody(&self) -> bool {
        self.is_of_nobody
    }

    /// How much is wanted.
    pub(crate) fn level(&self) -> Level {
        self.scope.level
    }

    /// Somebody acts as somebody else.
    pub(crate) fn impersonates(&self, user: &UserInfo) {
        let value = user_value(user);
        self.event
            .lock()
            .insert("impersonatedUser".to_owned(), value);
    }

    /// How the request was answered. `status` is the answer where it is a `Status`.
    pub(crate) fn answered(&self, code: u16, status: Option<&Value>) {
        let mut answered = json!({"metadata": {}});
        for field in ["status", "message", "reason", "details"] {
            if let Some(value) = status.and_then(|status| status.get(field)) {
                answered[field] = value.clone();
            }
        }
        answered["code"] = code.into();
        self.event
            .lock()
            .insert("responseStatus".to_owned(), answered);
    }

    /// The object of the answer, where that is wanted.
    pub(crate) fn answer_object(&self, mut object: Value) {
        if self.scope.omit_managed_fields {
            without_owners(&mut object);
        }
        self.event
            .lock()
            .insert("responseObject".to_owned(), object);
    }

    /// Makes the event of a stage, unless the policy leaves it out.
    pub(crate) fn tell(&self, stage: Stage) {
        if self.scope.omit_stages.contains(&stage) {
            return;
        }
        let mut event = self.event.lock().clone();
        let mut put = |field: &str, value: Value| event.insert(field.to_owned(), value);
        put("stage", stage.as_str().into());
        put(
            "stageTimestamp",
            meta::format_micro_time(Timestamp::now()).into(),
        );
        let remarks = self.notes.annotations();
        if !remarks.is_empty() {
            put("annotations", json!(remarks));
        }
        if stage != Stage::RequestReceived {
            self.add_request(&mut event);
        }
        self.auditor.write(&ordered(event));
    }

    /// What the request's body says: of every write its name, of some all of it.
    fn add_request(&self, event: &mut Map<String, Value>) {
        let body = self.notes.object();
        if let (Some(reference), Some(body)) = (event.get_mut("objectRef"), &body) {
            for (field, of_object) in [
                ("namespace", "namespace"),
                ("name", "name"),
                ("uid", "uid"),
                ("resourceVersion", "resourceVersion"),
            ] {
                let text = meta::str_at(body, &["metadata", of_object]).unwrap_or_default();
                if reference.get(field).is_none() && !text.is_empty() {
                    reference[field] = text.into();
                }
            }
        }
        if self.scope.level < Level::Request {
            return;
        }
        let sent = body.or_else(|| self.notes.body().as_ref().and_then(read));
        if let Some(mut sent) = sent {
            if self.scope.omit_managed_fields {
                without_owners(&mut sent);
            }
            event.insert("requestObject".to_owned(), sent);
        }
    }
}

/// A body that was not decoded, as a patch's is not.
fn read(body: &Bytes) -> Option<Value> {
    if body.is_empty() {
        return None;
    }
    serde_json::from_slice(body).ok().or_else(|| {
        let text = std::str::from_utf8(body).ok()?;
        serde_saphyr::from_str(text).ok()
    })
}

/// Upstream's order of fields, so that a line reads the same.
fn ordered(mut event: Map<String, Value>) -> Map<String, Value> {
    const ORDER: [&str; 19] = [
        "kind",
        "apiVersion",
        "level",
        "auditID",
        "stage",
        "requestURI",
        "verb",
        "user",
        "impersonatedUser",
        "sourceIPs",
        "userAgent",
        "objectRef",
        "responseStatus",
        "requestObject",
        "responseObject",
        "requestReceivedTimestamp",
        "stageTimestamp",
        "annotations",
        "",
    ];
    let mut sorted = Map::new();
    for field in ORDER {
        if let Some(value) = event.remove(field) {
            sorted.insert(field.to_owned(), value);
        }
    }
    sorted
}

fn user_value(user: &UserInfo) -> Value {
    let mut value = Map::new();
    if !user.name.is_empty() {
        value.insert("username".to_owned(), user.name.as_str().into());
    }
    if !user.uid.is_empty() {
        value.insert("uid".to_owned(), user.uid.as_str().into());
    }
    if !user.groups.is_empty() {
        value.insert("groups".to_owned(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        value.insert("extra".to_owned(), json!(user.extra));
    }
    Value::Object(value)
}

fn user_agent(headers: &HeaderMap) -> Option<String> {
    let agent = headers.get(USER_AGENT)?;
    let agent = String::from_utf8_lossy(agent.as_bytes());
    if agent.len() <= MAX_USER_AGENT {
        return Some(agent.into_owned());
    }
    let mut end = MAX_USER_AGENT;
    while !agent.is_char_boundary(end) {
        end -= 1;
    }
    Some(format!("{}...TRUNCATED", &agent[..end]))
}

fn object_reference(info: &RequestInfo) -> Option<Value> {
    let resource = info.resource.as_ref()?;
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let fields = [
        ("resource", resource.resource.clone()),
        ("namespace", text(&resource.namespace)),
        ("name", text(&resource.name)),
        ("apiGroup", resource.group.clone()),
        ("apiVersion", resource.version.clone()),
        ("subresource", text(&resource.subresource)),
    ];
    let fields = fields.into_iter().filter(|(_, text)| !text.is_empty());
    Some(Value::Object(
        fields
            .map(|(field, text)| (field.to_owned(), Value::String(text)))
            .collect(),
    ))
}

/// Everybody who claims to have passed the request on, and who it comes from (`utilnet.SourceIPs`).
fn source_ips(headers: &HeaderMap, from: Option<IpAddr>) -> Vec<IpAddr> {
    let mut ips = Vec::new();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let forwarded = text("x-forwarded-for").unwrap_or_default();
    ips.extend(
        forwarded
            .split(',')
            .filter_map(|part| part.trim().parse::<IpAddr>().ok())
            .take(32),
    );
    if let Some(real) = text("x-real-ip").and_then(|part| part.trim().parse().ok())
        && !ips.contains(&real)
    {
        ips.push(real);
    }
    if let Some(from) = from.map(|from| from.to_canonical())
        && ips.last() != Some(&from)
    {
        ips.push(from);
    }
    ips
}

/// Removes owners of fields, also from lists and tables.
fn without_owners(object: &mut Value) {
    let strip = |object: &mut Value| {
        if let Some(metadata) = meta::metadata_mut(object) {
            metadata.remove("managedFields");
        }
    };
    strip(object);
    for list in ["items", "rows"] {
        let items = object.get_mut(list).and_then(Value::as_array_mut);
        for item in items.into_iter().flatten() {
            match item.get_mut("object") {
                Some(object) if list == "rows" => strip(object),
                _ => strip(item),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn every_station_of_a_request_is_named_once() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-forwarded-for",
            HeaderValue::from_static("10.0.0.1, nonsense, 10.0.0.2"),
        );
        headers.insert("x-real-ip", HeaderValue::from_static("10.0.0.1"));
        let from = Some("10.0.0.2".parse().unwrap());
        let told: Vec<String> = source_ips(&headers, from)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(told, ["10.0.0.1", "10.0.0.2"]);
    }

    #[test]
    fn owners_are_left_out_of_objects_lists_and_tables() {
        let owned = || json!({"metadata": {"name": "n", "managedFields": [{}]}});
        let mut all = json!({
            "metadata": {"managedFields": []}, "items": [owned()], "rows": [{"cells": [], "object": owned()}],
        });
        without_owners(&mut all);
        assert!(!all.to_string().contains("managedFields"), "{all}");
        assert_eq!(all["rows"][0]["object"]["metadata"]["name"], "n");
    }

    #[test]
    fn a_long_user_agent_is_cut() {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::try_from("x".repeat(2000)).unwrap());
        let agent = user_agent(&headers).unwrap();
        assert_eq!(agent.len(), 1024 + "...TRUNCATED".len());
    }
}
