//! The Swagger 2.0 document of everything that is served: what `kubectl` before 1.27 validates, merges and explains by.
//!
//! Made from the same paths and schemas as the v3 documents, one path and one type at a time, so that the whole is never
//! in memory as a tree. It refuses to know HTTP and caching.

mod gnostic;
mod rewrite;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use super::schemas::{Language, Schemas};
use super::{Document, Fnv, paths};
use crate::resources::KUBERNETES_VERSION;

/// One description of several groups and versions.
#[derive(Clone, Debug)]
pub struct Swagger<'a> {
    /// What is described; each group and version once.
    pub documents: Vec<Document<'a>>,
}

impl Swagger<'_> {
    /// Changes whenever the document would.
    pub fn hash(&self) -> String {
        let mut hash = Fnv::new();
        hash.add("swagger");
        for document in &self.documents {
            document.add_to(&mut hash);
        }
        hash.text()
    }

    /// The document as JSON text.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = format!(r#"{{"swagger":"2.0","info":{},"paths":"#, info()).into_bytes();
        members(&mut text, |member| self.paths(member));
        text.extend_from_slice(br#","definitions":"#);
        members(&mut text, |member| self.definitions(member));
        text.push(b'}');
        text
    }

    /// The document as protobuf: a `Document` of `openapi.v2`, as gnostic writes it (google/gnostic,
    /// `openapiv2/OpenAPIv2.proto`).
    pub fn to_protobuf(&self) -> Vec<u8> {
        let mut document = gnostic::Document::new(&info());
        self.paths(&mut |path, item| document.add_path(path, item));
        self.definitions(&mut |name, schema| document.add_definition(name, schema));
        document.finish()
    }

    /// Shows each path and its operations.
    fn paths(&self, show: &mut dyn FnMut(&str, &Value)) {
        for document in &self.documents {
            for published in &document.resources {
                let mut of_resource = Map::new();
                paths::add(&mut of_resource, document, published.resource);
                for (path, item) in of_resource {
                    show(&path, &rewrite::path_item(item));
                }
            }
        }
    }

    /// Shows each type.
    fn definitions(&self, show: &mut dyn FnMut(&str, &Value)) {
        let mut schemas = Schemas::new(Language::V2);
        for document in &self.documents {
            schemas.add(document);
        }
        for (name, schema) in schemas {
            show(&name, &rewrite::schema(schema));
        }
    }
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": KUBERNETES_VERSION})
}

/// Writes a JSON object whose members are shown one by one.
fn members(text: &mut Vec<u8>, all: impl FnOnce(&mut dyn FnMut(&str, &Value))) {
    text.push(b'{');
    let mut first = true;
    all(&mut |name, value| {
        if !std::mem::take(&mut first) {
            text.push(b',');
        }
        text.extend_from_slice(Value::from(name).to_string().as_bytes());
        text.push(b':');
        text.extend_from_slice(value.to_string().as_bytes());
    });
    text.push(b'}');
}
