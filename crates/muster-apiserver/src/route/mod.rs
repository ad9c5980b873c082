//! From an authorised request to the part of the server that answers it.
//!
//! Refuses to know: connections, users' credentials, how refusals are written.

mod catalogue;
mod found;
mod resource;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, header};
use http_body_util::BodyExt;
use jiff::Timestamp;
use muster_machinery::status::Status;

pub(crate) use catalogue::ResourceCatalogue;

use crate::{
    authn::Authenticator,
    authz::Authorizer,
    custom::Keeper,
    notes::Notes,
    registry::{Refusal, Registry},
    request::{RequestInfo, UserInfo, query_value},
    system::SystemEndpoints,
    wire::{Negotiated, Response, negotiate},
};

/// The largest body that is read, in bytes (kube-apiserver's default).
const MAX_BODY: usize = 3 * 1024 * 1024;

/// A body on its way in.
pub(crate) type RequestBody =
    http_body_util::combinators::UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// One request that may be answered.
pub(crate) struct Authorised {
    /// Who asks.
    pub(crate) user: UserInfo,
    /// What is asked.
    pub(crate) info: RequestInfo,
    /// The HTTP method.
    pub(crate) method: Method,
    /// The raw query.
    pub(crate) query: Option<String>,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, not read yet.
    pub(crate) body: RequestBody,
    /// When the request came in.
    pub(crate) now: Timestamp,
    /// What is noted on the way.
    pub(crate) notes: Arc<Notes>,
}

impl Authorised {
    /// The raw query.
    pub(crate) fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The representation that the client wants.
    pub(crate) fn negotiated(&self, transformable: bool) -> Result<Negotiated, Refusal> {
        negotiated(&self.headers, self.query(), transformable)
    }

    /// Reads the body, up to the limit.
    pub(crate) async fn read_body(&mut self) -> Result<Bytes, Refusal> {
        let body = collect(std::mem::take(&mut self.body)).await?;
        self.notes.saw_body(&body);
        Ok(body)
    }
}

async fn collect(mut body: RequestBody) -> Result<Bytes, Refusal> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Status::bad_request("the body of the request broke off").into());
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > MAX_BODY {
            return Err(Status::request_entity_too_large(&format!("limit is {MAX_BODY}")).into());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// The representation that these headers ask for.
pub(crate) fn negotiated(
    headers: &HeaderMap,
    query: Option<&str>,
    transformable: bool,
) -> Result<Negotiated, Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let pretty = match query_value(query, "pretty").as_deref() {
        Some(asked) => !matches!(asked, "false" | "0"),
        None => text(header::USER_AGENT).is_some_and(reads_with_own_eyes),
    };
    // A header that is no text accepts nothing we know; `image/*` stands for that.
    let accept = headers
        .get(header::ACCEPT)
        .map(|value| value.to_str().unwrap_or("image/*"));
    negotiate(accept, transformable, pretty)
}

/// Programs whose output people read (`k8s.io/apiserver` `isPrettyPrint`).
fn reads_with_own_eyes(user_agent: &str) -> bool {
    ["curl", "Wget", "Mozilla/5.0"]
        .iter()
        .any(|program| user_agent.starts_with(program))
}

/// Everything that answers.
pub(crate) struct Router {
    pub(crate) registry: Arc<Registry>,
    pub(crate) catalogue: Arc<ResourceCatalogue>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) system: SystemEndpoints,
}

impl Router {
    /// Answers a request.
    pub(crate) async fn route(&self, request: Authorised) -> Result<Response, Refusal> {
        if request.info.resource.is_some() {
            // No route upstream takes this method, though its right is that of `get`.
            if request.method == Method::HEAD {
                return Err(Status::method_not_allowed().into());
            }
            return self.resource(request).await;
        }
        self.system.serve(&request)
    }
}
