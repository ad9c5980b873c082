//! OpenAPI: the index of v3 and one document for each group and version, and v2; made when they are asked for.
//!
//! Refuses to know: what is in a document.

mod v2;

use http::{HeaderValue, header};
use muster_machinery::{
    crd::Definition,
    gvk::split_api_version,
    openapi::{Custom, Document, Published, index},
    resources::{Resource, find},
    status::Status,
};
use serde_json::Value;
use std::sync::Arc;

pub(crate) use v2::SwaggerInUse;

use super::json_response;
use crate::{
    custom::Entry,
    registry::Refusal,
    request::query_value,
    route::{Authorised, ResourceCatalogue},
    wire::{Response, document},
};

/// The resources of one document.
struct Source {
    api_version: String,
    resources: Vec<Part>,
}

/// One resource, with what a custom one says of itself.
struct Part {
    resource: Arc<Resource>,
    custom: Option<CustomPart>,
}

struct CustomPart {
    entry: Entry,
    tag: String,
    /// The whole definition, where its schema is wanted.
    definition: Option<Value>,
}

impl Source {
    fn of(catalogue: &ResourceCatalogue, api_version: &str) -> Option<Self> {
        let mut resources = catalogue.in_version(api_version)?;
        resources.sort_by(|a, b| a.plural.cmp(&b.plural));
        let index = catalogue.custom();
        let resources = resources.into_iter().map(|resource| {
            let entry = index.entry(&resource.group_resource().to_string());
            let is_custom = find(&resource.group, &resource.version, &resource.plural).is_none();
            let custom = entry.filter(|_| is_custom).map(|entry| CustomPart {
                tag: entry.tag(),
                entry: entry.clone(),
                definition: None,
            });
            Part { resource, custom }
        });
        let resources = resources.collect();
        Some(Self {
            api_version: api_version.to_owned(),
            resources,
        })
    }

    /// Every document's resources, in order.
    fn all(catalogue: &ResourceCatalogue) -> Vec<Self> {
        catalogue
            .versions()
            .iter()
            .filter_map(|version| Self::of(catalogue, version))
            .collect()
    }

    /// Reads the schemas of custom resources; hashes do without.
    fn read_schemas(&mut self) {
        for custom in self
            .resources
            .iter_mut()
            .filter_map(|part| part.custom.as_mut())
        {
            custom.definition = custom.entry.object.value().ok();
        }
    }

    fn document(&self) -> Document<'_> {
        let (group, version) = split_api_version(&self.api_version).unwrap_or(("", "v1"));
        let parts = self.resources.iter();
        let resources = parts.map(|part| part.published(version)).collect();
        Document {
            group,
            version,
            resources,
        }
    }
}

impl Part {
    fn published<'a>(&'a self, version: &str) -> Published<'a> {
        let custom = self.custom.as_ref().map(|custom| Custom {
            schema: custom
                .definition
                .as_ref()
                .and_then(|definition| Definition::schema_in(definition, version)),
            tag: &custom.tag,
        });
        Published {
            resource: &self.resource,
            custom,
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
    let mut source = Source::of(catalogue, &api_version)
        .ok_or_else(|| Refusal::from(Status::unknown_resource()))?;
    source.read_schemas();
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
