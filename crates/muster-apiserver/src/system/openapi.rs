//! OpenAPI: the index of v3 and one document for each group and version, and v2; made when they are asked for.
//!
//! Refuses to know: what is in a document.

mod v2;

use http::{HeaderValue, header};
use muster_machinery::{
    gvk::split_api_version,
    openapi::{Document, Published, index},
    resources::Resource,
    status::Status,
};
use std::sync::Arc;

pub(crate) use v2::SwaggerInUse;

use super::json_response;
use crate::{
    registry::Refusal,
    request::query_value,
    route::{Authorised, ResourceCatalogue},
    wire::{Response, document},
};

/// The resources of one document.
struct Source {
    api_version: String,
    resources: Vec<Arc<Resource>>,
}

impl Source {
    fn of(catalogue: &ResourceCatalogue, api_version: &str) -> Option<Self> {
        let mut resources = catalogue.in_version(api_version)?;
        resources.sort_by(|a, b| a.plural.cmp(&b.plural));
        Some(Self {
            api_version: api_version.to_owned(),
            resources,
        })
    }

    /// Every document's resources, in order.
    fn all(catalogue: &ResourceCatalogue) -> Vec<Self> {
        let mut versions: Vec<&str> = catalogue.versions().collect();
        versions.sort_unstable();
        versions
            .into_iter()
            .filter_map(|version| Self::of(catalogue, version))
            .collect()
    }

    fn document(&self) -> Document<'_> {
        let (group, version) = split_api_version(&self.api_version).unwrap_or(("", "v1"));
        let published = |resource| Published {
            resource,
            schema: None,
        };
        let resources = self
            .resources
            .iter()
            .map(|resource| published(&**resource))
            .collect();
        Document {
            group,
            version,
            resources,
        }
    }
}

/// Answers a path below `/openapi`.
pub(super) fn serve(
    in_use: &SwaggerInUse,
    catalogue: &ResourceCatalogue,
    request: &Authorised,
    rest: &[&str],
) -> Result<Response, Refusal> {
    let api_version = match rest {
        ["v2"] => return v2::serve(in_use, catalogue, request),
        ["v3"] => return Ok(list(catalogue)),
        ["v3", "api", version] => (*version).to_owned(),
        ["v3", "apis", group, version] => format!("{group}/{version}"),
        _ => return Err(Status::unknown_resource().into()),
    };
    let source = Source::of(catalogue, &api_version)
        .ok_or_else(|| Refusal::from(Status::unknown_resource()))?;
    let described = source.document();
    let hash = described.hash();
    let mut response = document(request.negotiated(false)?, &described.to_json())?;
    let headers = response.headers_mut();
    if query_value(request.query(), "hash").is_some_and(|asked| asked == hash) {
        let forever = HeaderValue::from_static("public, immutable");
        headers.insert(header::CACHE_CONTROL, forever);
    }
    if let Ok(tag) = HeaderValue::try_from(format!("\"{hash}\"")) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

fn list(catalogue: &ResourceCatalogue) -> Response {
    let sources = Source::all(catalogue);
    let documents: Vec<Document<'_>> = sources.iter().map(Source::document).collect();
    json_response(&index(&documents))
}
