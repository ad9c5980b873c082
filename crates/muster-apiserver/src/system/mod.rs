//! Paths that are no resources: health, version, metrics, discovery, OpenAPI, token keys.
//!
//! Refuses to know: resources' objects, and who may read these paths.

mod discovery;
mod health;
mod metrics;
mod openapi;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use muster_machinery::{resources::version_info, status::Status};
use serde_json::{Value, json};

pub(crate) use health::Health;
pub(crate) use metrics::{
    AdmissionMetrics, AuditMetrics, Called, Gauge, Metrics, RequestLabels, WatchTally,
};
pub(crate) use openapi::SwaggerInUse;

use crate::{
    authn::Authenticator,
    registry::Refusal,
    route::{Authorised, ResourceCatalogue},
    wire::{Response, ResponseBody, document},
};

/// What answers system paths.
pub(crate) struct SystemEndpoints {
    /// The state of health.
    pub(crate) health: Arc<Health>,
    /// Counters.
    pub(crate) metrics: Arc<Metrics>,
    /// What is served.
    pub(crate) catalogue: Arc<ResourceCatalogue>,
    /// The issuer of service-account tokens.
    pub(crate) authenticator: Arc<Authenticator>,
    /// The URL of this server, without a closing slash.
    pub(crate) url: String,
    /// Address and port of this server, for `/api`.
    pub(crate) address: String,
    /// The OpenAPI v2 document while it is being sent.
    pub(crate) swagger: SwaggerInUse,
}

/// Paths listed at `/`, besides discovery's.
const PATHS: [&str; 15] = [
    "/.well-known/openid-configuration",
    "/api",
    "/api/v1",
    "/apis",
    "/apis/",
    "/healthz",
    "/healthz/etcd",
    "/healthz/ping",
    "/livez",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/openid/v1/jwks",
    "/readyz",
    "/version",
];

impl SystemEndpoints {
    /// Answers a request on a system path.
    pub(crate) fn serve(&self, request: &Authorised) -> Result<Response, Refusal> {
        let path = request.info.path.as_str();
        let trimmed = path.trim_end_matches('/');
        let segments: Vec<&str> = trimmed.split('/').skip(1).collect();
        // Health is asked for by any method, other documents are read, and only those of the API in no other way.
        let is_health = matches!(segments.as_slice(), ["healthz" | "livez" | "readyz", ..]);
        let is_api = matches!(segments.as_slice(), ["api" | "apis" | "version", ..]);
        let is_read = request.method == Method::GET || (request.method == Method::HEAD && !is_api);
        if !is_read && !is_health {
            return Err(Status::method_not_allowed().into());
        }
        match segments.as_slice() {
            [] => Ok(json_response(&self.paths())),
            ["healthz" | "livez" | "readyz", ..] => Ok(self.health.serve(trimmed, request.query())),
            ["version"] => {
                request.negotiated(false)?;
                Ok(version())
            }
            ["metrics"] => Ok(self.metrics.serve()),
            ["api" | "apis", rest @ ..] => self.discover(request, segments[0], rest),
            ["openapi", rest @ ..] => openapi::serve(&self.swagger, &self.catalogue, request, rest),
            [".well-known", "openid-configuration"] => {
                let document = self.authenticator.issuer().discovery_document(&self.url);
                Ok(for_caches("application/json", document.to_string()))
            }
            ["openid", "v1", "jwks"] => {
                let keys = self.authenticator.issuer().key_set();
                Ok(for_caches("application/jwk-set+json", keys.to_string()))
            }
            _ => Ok(no_page()),
        }
    }

    fn paths(&self) -> Value {
        let documents = self.catalogue.documents();
        let groups = documents
            .group_names()
            .map(|group| format!("/apis/{group}"));
        let mut paths: Vec<String> = PATHS
            .iter()
            .map(|path| (*path).to_owned())
            .chain(groups)
            .collect();
        paths.sort();
        json!({"paths": paths})
    }

    fn discover(
        &self,
        request: &Authorised,
        root: &str,
        rest: &[&str],
    ) -> Result<Response, Refusal> {
        let documents = self.catalogue.documents();
        if rest.is_empty()
            && let Some(aggregated) = discovery::aggregated(&documents, root, &request.headers)
        {
            return Ok(aggregated);
        }
        let negotiated = request.negotiated(false)?;
        let unknown = || Refusal::from(Status::unknown_resource());
        match (root, rest) {
            ("api", []) => document(negotiated, &documents.api_versions(&self.address)),
            ("api", [version]) => document(
                negotiated,
                &documents
                    .api_resource_list("", version)
                    .ok_or_else(unknown)?,
            ),
            ("apis", []) => document(negotiated, &documents.api_group_list()),
            ("apis", [group]) => match documents.api_group(group) {
                Some(found) => document(negotiated, &found),
                None => Ok(no_page()),
            },
            ("apis", [group, version]) => {
                let list = documents
                    .api_resource_list(group, version)
                    .ok_or_else(unknown)?;
                document(negotiated, &list)
            }
            _ => Err(unknown()),
        }
    }
}

/// What there is at a path that is none of ours: Go's page, as upstream has it.
fn no_page() -> Response {
    let mut response = bytes_response("text/plain; charset=utf-8", "404 page not found\n");
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn version() -> Response {
    let text = serde_json::to_string_pretty(&version_info()).unwrap_or_default();
    bytes_response("application/json", text)
}

fn json_response(value: &Value) -> Response {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    bytes_response("application/json", text)
}

/// A document that others may keep for an hour (`k8s.io/kubernetes` `pkg/routes/openidmetadata.go`).
fn for_caches(content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = bytes_response(content_type, body);
    let hour = HeaderValue::from_static("public, max-age=3600");
    response.headers_mut().insert(header::CACHE_CONTROL, hour);
    response
}

fn bytes_response(content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(ResponseBody::full(body));
    *response.status_mut() = StatusCode::OK;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
