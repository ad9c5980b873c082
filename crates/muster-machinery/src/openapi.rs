//! OpenAPI v3 documents, one per group and version, and their index: what `kubectl explain`, `apply` and `create` read;
//! and the one [`Swagger`] document (v2) that clients before 1.27 read instead.
//!
//! Built from the schema table and the resources that a server publishes; custom resources bring their schema along. It
//! refuses to know HTTP, caching and which groups there are. Only what clients look for is described: no watch paths,
//! no connect verbs, no examples.

mod descriptions;
mod paths;
mod schemas;
#[cfg(test)]
mod tests;
mod v2;

pub use v2::Swagger;

use serde_json::{Map, Value, json};

use crate::resources::{KUBERNETES_VERSION, Resource};
use crate::schema;

/// One resource of a document.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    /// The resource as discovery shows it.
    pub resource: &'a Resource,
    /// What a custom resource's version says of itself; `None` for built-in kinds.
    pub custom: Option<Custom<'a>>,
}

/// A custom resource's part of a document.
#[derive(Clone, Copy, Debug)]
pub struct Custom<'a> {
    /// The `openAPIV3Schema`, if there is one.
    pub schema: Option<&'a Value>,
    /// Changes whenever the schema does; hashes are made of it, so that they need no schema.
    pub tag: &'a str,
}

/// The description of one group and version.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The version, such as `v1`.
    pub version: &'a str,
    /// The resources served under this group and version.
    pub resources: Vec<Published<'a>>,
}

impl Document<'_> {
    /// The name under which the index lists the document, such as `api/v1` or `apis/apps/v1`.
    pub fn path(&self) -> String {
        if self.group.is_empty() {
            format!("api/{}", self.version)
        } else {
            format!("apis/{}/{}", self.group, self.version)
        }
    }

    /// Changes whenever the document would: clients keep what they fetched under the same hash.
    pub fn hash(&self) -> String {
        let mut hash = Fnv::new();
        self.add_to(&mut hash);
        hash.text()
    }

    fn add_to(&self, hash: &mut Fnv) {
        hash.add(schema::table().source());
        hash.add(env!("CARGO_PKG_VERSION"));
        hash.add(&self.path());
        for published in &self.resources {
            hash.add(&format!("{:?}", published.resource));
            if let Some(custom) = published.custom {
                hash.add(custom.tag);
            }
        }
    }

    /// The document itself.
    pub fn to_json(&self) -> Value {
        let mut schemas = schemas::Schemas::new(schemas::Language::V3);
        schemas.add(self);
        let schemas: Map<String, Value> = schemas.collect();
        let mut paths = Map::new();
        for published in &self.resources {
            paths::add(&mut paths, self, published.resource);
        }
        json!({
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": KUBERNETES_VERSION},
            "paths": paths,
            "components": {"schemas": schemas},
        })
    }
}

/// The index that is served at `/openapi/v3`.
pub fn index<'a>(documents: impl IntoIterator<Item = &'a Document<'a>>) -> Value {
    let paths: Map<String, Value> = documents
        .into_iter()
        .map(|document| {
            let path = document.path();
            let url = format!("/openapi/v3/{path}?hash={}", document.hash());
            (path, json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

/// FNV-1a, 64 bits: enough to tell two documents of one server apart.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn text(&self) -> String {
        format!("{:016X}", self.0)
    }

    fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
