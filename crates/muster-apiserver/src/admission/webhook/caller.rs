//! Posting a question to a webhook and reading its answer: one client for each webhook, whose connections are used
//! again, within the webhook's time and a bound on size.
//!
//! Refuses to know: what is asked.

use std::{collections::HashMap, error::Error as _, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio_rustls::TlsConnector;

use super::{
    configuration::{Address, Hook},
    connector::{Connector, Unreachable},
    trust,
};
use crate::request::ObjectReader;

/// The largest answer, in bytes: a patch of the largest object, and room.
const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(90);
/// Clients that are kept.
const MAX_CLIENTS: usize = 64;

type HttpClient = Client<Connector, Full<Bytes>>;

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) why: String,
    /// The code that stands for it in metrics.
    pub(super) code: u16,
}

/// Calls webhooks.
pub(super) struct Caller {
    reader: Arc<dyn ObjectReader>,
    clients: Mutex<HashMap<(Address, Vec<u8>), HttpClient>>,
}

impl Caller {
    pub(super) fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self {
            reader,
            clients: Mutex::default(),
        }
    }

    /// Posts `question` and reads the answer.
    pub(super) async fn call(&self, hook: &Hook, question: &Value) -> Result<Value, Failed> {
        let failed = |why: String, code| Failed { why, code };
        let url = url(hook);
        let client = self
            .client(hook)
            .map_err(|why| failed(format!("could not get REST client: {why}"), 500))?;
        let body = serde_json::to_vec(question).map_err(|error| failed(error.to_string(), 400))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(&url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::USER_AGENT, "kube-apiserver-admission")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| failed(format!("parse {url:?}: {error}"), 503))?;
        let answer = tokio::time::timeout(hook.timeout, exchange(&client, request));
        match answer.await {
            Ok(Ok((code, body))) => read(code, &body),
            Ok(Err(why)) => Err(failed(format!("Post {url:?}: {why}"), 503)),
            Err(_elapsed) => Err(failed(
                format!("Post {url:?}: context deadline exceeded"),
                503,
            )),
        }
    }

    fn client(&self, hook: &Hook) -> Result<HttpClient, String> {
        let key = (hook.address.clone(), hook.authorities.clone());
        let mut clients = self.clients.lock();
        if let Some(known) = clients.get(&key) {
            return Ok(known.clone());
        }
        let connector = Connector {
            tls: TlsConnector::from(trust::config(&hook.authorities)?),
            address: hook.address.clone(),
            reader: Arc::clone(&self.reader),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }
}

async fn exchange(
    client: &HttpClient,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), String> {
    let response = client.request(request).await.map_err(|error| {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(Unreachable(why)) = cause.downcast_ref::<Unreachable>() {
                return why.clone();
            }
            source = cause.source();
        }
        error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string)
    })?;
    let code = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER);
    let body = body.collect().await.map_err(|error| error.to_string())?;
    Ok((code, body.to_bytes()))
}

fn url(hook: &Hook) -> String {
    let seconds = hook.timeout.as_secs();
    match &hook.address {
        Address::Url(url) => {
            let sign = if url.contains('?') { '&' } else { '?' };
            format!("{url}{sign}timeout={seconds}s")
        }
        Address::Service {
            namespace,
            name,
            path,
            port,
        } => {
            let slash = if path.starts_with('/') { "" } else { "/" };
            format!("https://{name}.{namespace}.svc:{port}{slash}{path}?timeout={seconds}s")
        }
    }
}

fn read(code: StatusCode, body: &[u8]) -> Result<Value, Failed> {
    let failed = |why: String| Failed {
        why,
        code: code.as_u16(),
    };
    if code.is_success() {
        return serde_json::from_slice(body).map_err(|error| Failed {
            why: format!("the answer cannot be read as JSON: {error}"),
            code: 503,
        });
    }
    // client-go's words for answers that are no Status.
    Err(failed(match code.as_u16() {
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        409 => "the server reported a conflict".to_owned(),
        422 => "the server rejected our request due to an error in our request".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => "the server was unable to return a response in the time allotted, but may still be processing the request".to_owned(),
        500.. => {
            let text: String = String::from_utf8_lossy(body).trim().chars().take(200).collect();
            let text = if text.is_empty() { "unknown".to_owned() } else { text };
            format!("an error on the server ({text:?}) has prevented the request from succeeding")
        }
        other => format!("the server responded with the status code {other} but did not return more information"),
    }))
}
