//! A server in a temporary directory and a small JSON client on its in-process service.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use muster_apiserver::{ApiServer, Config, ResponseBody, RunningServer, UserInfo};
use muster_storage::MemoryStore;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

pub(crate) const MASTERS: &str = "system:masters";

pub(crate) struct Cluster {
    pub(crate) server: RunningServer,
    pub(crate) store: Arc<MemoryStore>,
    _data: TempDir,
}

pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The object, if the request was a success.
    pub(crate) fn ok(self) -> Value {
        assert!(self.code.is_success(), "{}: {}", self.code, self.text());
        self.json()
    }

    /// Code and reason of a refusal.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (
            self.code.as_u16(),
            self.json()["reason"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    }
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// A server whose configuration is changed before it starts.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let data = TempDir::new().unwrap();
        let store = Arc::new(MemoryStore::new());
        let address = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(data.path(), address, Arc::clone(&store) as _);
        change(&mut config);
        let server = ApiServer::start(config).await.unwrap();
        let cluster = Self {
            server,
            store,
            _data: data,
        };
        // What the service-account controller does in a whole cluster; pods need it.
        let accounts = "/api/v1/namespaces/default/serviceaccounts";
        let account = json!({"metadata": {"name": "default"}});
        cluster.admin().post(accounts, &account).await.ok();
        cluster
    }

    /// A server that was started elsewhere.
    pub(crate) fn over(server: RunningServer, store: Arc<MemoryStore>) -> Self {
        Self {
            server,
            store,
            _data: TempDir::new().unwrap(),
        }
    }

    pub(crate) fn admin(&self) -> Client<'_> {
        self.user(UserInfo::new("admin", [MASTERS, "system:authenticated"]))
    }

    pub(crate) fn user(&self, user: UserInfo) -> Client<'_> {
        Client {
            server: &self.server,
            user,
        }
    }
}

pub(crate) struct Client<'a> {
    server: &'a RunningServer,
    user: UserInfo,
}

impl Client<'_> {
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Response<ResponseBody> {
        self.server
            .client(self.user.clone())
            .oneshot(request)
            .await
            .unwrap()
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .send(request.body(Full::new(body.into())).unwrap())
            .await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            code: parts.status,
            headers: parts.headers,
            bytes,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], "").await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.call(Method::GET, path, &[("accept", accept)], "")
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(
            Method::POST,
            path,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call(
            Method::PUT,
            path,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
    }

    pub(crate) async fn patch(&self, path: &str, media: &str, body: &Value) -> Answer {
        self.call(
            Method::PATCH,
            path,
            &[("content-type", media)],
            body.to_string(),
        )
        .await
    }

    pub(crate) async fn merge(&self, path: &str, body: &Value) -> Answer {
        self.patch(path, "application/merge-patch+json", body).await
    }

    pub(crate) async fn delete(&self, path: &str, options: &Value) -> Answer {
        let body = if options.is_null() {
            String::new()
        } else {
            options.to_string()
        };
        self.call(
            Method::DELETE,
            path,
            &[("content-type", "application/json")],
            body,
        )
        .await
    }

    /// Opens a watch.
    pub(crate) async fn watch(&self, path: &str) -> Events {
        self.watch_as(path, "application/json").await
    }

    /// Opens a watch in a representation that is written as JSON.
    pub(crate) async fn watch_as(&self, path: &str, accept: &str) -> Events {
        let request = Request::get(path).header("accept", accept);
        let request = request.body(Full::default()).unwrap();
        let response = self.send(request).await;
        assert_eq!(response.status(), 200, "{path}");
        Events {
            body: response.into_body(),
            buffer: Vec::new(),
        }
    }
}

/// The events of a watch.
pub(crate) struct Events {
    body: ResponseBody,
    buffer: Vec<u8>,
}

impl Events {
    /// The next event; `None` at the end of the watch.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame());
            let frame = frame.await.expect("an event within 20 seconds")?.unwrap();
            self.buffer.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// The next event's type and object name.
    pub(crate) async fn tell(&mut self) -> (String, String) {
        let event = self.next().await.expect("another event");
        let text = |pointer| {
            event
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        (
            text("/type").to_owned(),
            text("/object/metadata/name").to_owned(),
        )
    }
}

pub(crate) fn told(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub(crate) fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

pub(crate) fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list");
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}
