//! An API server in memory, for tests: objects by path, versions, merge patches, watches of collections.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use muster_handshake::HandshakeError;
use muster_net::{ApiError, StatusError, WatchEvent};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::{Api, Events};

struct Inside {
    objects: BTreeMap<String, Value>,
    version: u64,
    away: bool,
    refusals: Vec<(String, u16)>,
    unanswered: Option<String>,
    calls: Vec<String>,
}

/// The server. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Memory {
    inside: Arc<Mutex<Inside>>,
    news: broadcast::Sender<(String, WatchEvent)>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            inside: Arc::new(Mutex::new(Inside {
                objects: BTreeMap::new(),
                version: 1,
                away: false,
                refusals: Vec::new(),
                unanswered: None,
                calls: Vec::new(),
            })),
            news: broadcast::Sender::new(1024),
        }
    }
}

pub(crate) fn status(code: u16, reason: &str) -> ApiError {
    ApiError::Status(Box::new(StatusError {
        code,
        reason: reason.to_owned(),
        message: format!("{reason} by the test"),
        details: None,
        retry_after: None,
    }))
}

impl Memory {
    /// Whether it does not answer.
    pub(crate) fn is_away(&self, away: bool) {
        self.inside.lock().away = away;
    }

    /// The next call that begins with `call` (`POST /api/…`) is refused with this status.
    pub(crate) fn refuse_next(&self, call: &str, code: u16) {
        self.inside.lock().refusals.push((call.to_owned(), code));
    }

    /// Changes of this object never have an answer.
    pub(crate) fn never_answer(&self, path: &str) {
        self.inside.lock().unanswered = Some(path.to_owned());
    }

    /// Every call so far, `METHOD path`.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.inside.lock().calls.clone()
    }

    /// The paths of all objects that begin with this.
    pub(crate) fn paths(&self, prefix: &str) -> Vec<String> {
        let inside = self.inside.lock();
        let paths = inside
            .objects
            .keys()
            .filter(|path| path.starts_with(prefix));
        paths.cloned().collect()
    }

    /// Puts a Node there, Ready or not.
    pub(crate) fn node(&self, name: &str, ready: bool) {
        let status = if ready { "True" } else { "False" };
        let node = json!({
            "kind": "Node",
            "metadata": {"name": name},
            "status": {"conditions": [{"type": "Ready", "status": status, "message": "told by the test"}]},
        });
        let mut inside = self.inside.lock();
        self.put(&mut inside, format!("/api/v1/nodes/{name}"), node);
    }

    fn call(
        &self,
        method: &str,
        path: &str,
    ) -> Result<parking_lot::MutexGuard<'_, Inside>, ApiError> {
        let mut inside = self.inside.lock();
        let call = format!("{method} {path}");
        inside.calls.push(call.clone());
        if inside.away {
            return Err(ApiError::Transport {
                error: HandshakeError::ConnectionRefused {
                    endpoint: "memory:1".to_owned(),
                },
                unsent: true,
            });
        }
        if let Some(at) = inside
            .refusals
            .iter()
            .position(|(begin, _)| call.starts_with(begin))
        {
            let (_, code) = inside.refusals.remove(at);
            return Err(status(code, "Refused"));
        }
        Ok(inside)
    }

    fn put(&self, inside: &mut Inside, path: String, mut object: Value) -> Value {
        inside.version += 1;
        object["metadata"]["resourceVersion"] = json!(inside.version.to_string());
        let before = inside.objects.insert(path.clone(), object.clone());
        let event = match before {
            None => WatchEvent::Added(object.clone()),
            Some(_) => WatchEvent::Modified(object.clone()),
        };
        let _ = self.news.send((path, event));
        object
    }
}

fn bare(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}

fn is_in(path: &str, collection: &str) -> bool {
    let name = path
        .strip_prefix(collection)
        .and_then(|rest| rest.strip_prefix('/'));
    name.is_some_and(|name| !name.contains('/'))
}

fn merge(into: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            if let Some(object) = into.as_object_mut() {
                object.remove(key);
            }
        } else {
            merge(&mut into[key], value);
        }
    }
}

fn check_version(found: &Value, given: &Value) -> Result<(), ApiError> {
    let of = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
    match of(given) {
        Some(version) if Some(&version) != of(found).as_ref() => Err(status(409, "Conflict")),
        _ => Ok(()),
    }
}

#[async_trait]
impl Api for Memory {
    async fn get(&self, path: &str) -> Result<Value, ApiError> {
        let inside = self.call("GET", path)?;
        let path = bare(path);
        if let Some(object) = inside.objects.get(path) {
            return Ok(object.clone());
        }
        let last = path.rsplit('/').next().unwrap_or_default();
        if last.ends_with('s') && !last.contains('-') {
            let items: Vec<&Value> = inside
                .objects
                .iter()
                .filter(|(key, _)| is_in(key, path))
                .map(|(_, object)| object)
                .collect();
            return Ok(
                json!({"metadata": {"resourceVersion": inside.version.to_string()}, "items": items}),
            );
        }
        Err(status(404, "NotFound"))
    }

    async fn text(&self, path: &str) -> Result<Vec<u8>, ApiError> {
        Ok(self.get(path).await?.to_string().into_bytes())
    }

    async fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        let mut inside = self.call("POST", path)?;
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{path}/{name}");
        if inside.objects.contains_key(&path) {
            return Err(status(409, "AlreadyExists"));
        }
        Ok(self.put(&mut inside, path, object.clone()))
    }

    async fn replace(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        let mut inside = self.call("PUT", path)?;
        let found = inside
            .objects
            .get(path)
            .ok_or_else(|| status(404, "NotFound"))?;
        check_version(found, object)?;
        Ok(self.put(&mut inside, path.to_owned(), object.clone()))
    }

    async fn merge(&self, path: &str, patch: &Value) -> Result<Value, ApiError> {
        if self.inside.lock().unanswered.as_deref() == Some(path) {
            std::future::pending::<()>().await;
        }
        let mut inside = self.call("PATCH", path)?;
        let found = inside
            .objects
            .get(path)
            .ok_or_else(|| status(404, "NotFound"))?;
        check_version(found, patch)?;
        let mut object = found.clone();
        merge(&mut object, patch);
        Ok(self.put(&mut inside, path.to_owned(), object))
    }

    async fn delete(&self, path: &str) -> Result<(), ApiError> {
        let mut inside = self.call("DELETE", path)?;
        let object = inside
            .objects
            .remove(path)
            .ok_or_else(|| status(404, "NotFound"))?;
        inside.version += 1;
        let _ = self
            .news
            .send((path.to_owned(), WatchEvent::Deleted(object)));
        Ok(())
    }

    async fn watch(&self, path: &str) -> Result<Events, ApiError> {
        let news = self.news.subscribe();
        let inside = self.call("WATCH", path)?;
        let collection = bare(path).to_owned();
        // What happened between the list and this call, as far as a server in memory must: everything there is now.
        let before: Vec<WatchEvent> = inside
            .objects
            .iter()
            .filter(|(key, _)| is_in(key, &collection))
            .map(|(_, object)| WatchEvent::Modified(object.clone()))
            .collect();
        let news = futures::stream::unfold(news, |mut news| async move {
            let next = news.recv().await.ok()?;
            Some((next, news))
        });
        let news = news.filter_map(move |(path, event)| {
            let ours = is_in(&path, &collection);
            async move { ours.then_some(Ok(event)) }
        });
        Ok(futures::stream::iter(before.into_iter().map(Ok))
            .chain(news)
            .boxed())
    }
}
