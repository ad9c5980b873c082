//! The paths of a document: which operations each resource has, of which kind, and what a request may ask.
//!
//! `kubectl` reads the kind of an operation (`x-kubernetes-group-version-kind`), the `fieldValidation` parameter of
//! patches and the media types that a patch may have; the rest is for people and generators.

use serde_json::{Map, Value, json};

use super::Document;
use super::schemas::{component_of_kind, reference};
use crate::resources::Resource;
use crate::schema;

const LIST: &[&str] = &[
    "labelSelector",
    "fieldSelector",
    "limit",
    "continue",
    "resourceVersion",
    "watch",
];
const CREATE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETE: &[&str] = &["dryRun", "gracePeriodSeconds", "propagationPolicy"];

/// One kind of object in requests and answers.
#[derive(Clone, Copy)]
struct Kind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

impl Kind<'_> {
    fn schema(self) -> Value {
        reference(&component_of_kind(self.group, self.version, self.kind))
    }
}

/// Makes the operations of one resource.
struct Operations<'a> {
    document: &'a Document<'a>,
    resource: &'a Resource,
}

/// Adds the paths of a resource and its subresources.
pub(super) fn add(paths: &mut Map<String, Value>, document: &Document<'_>, resource: &Resource) {
    let operations = Operations { document, resource };
    let root = format!("/{}", document.path());
    let plural = &resource.plural;
    let collection = if resource.namespaced {
        if resource.has_verb("list") {
            paths.insert(format!("{root}/{plural}"), operations.across_namespaces());
        }
        format!("{root}/namespaces/{{namespace}}/{plural}")
    } else {
        format!("{root}/{plural}")
    };
    let item = format!("{collection}/{{name}}");
    for subresource in &resource.subresources {
        let kind = operations.subresource_kind(&subresource.group_version, &subresource.kind);
        let verbs: Vec<&str> = subresource.verbs.iter().map(|verb| &**verb).collect();
        let operations = operations.of_item(kind, &verbs, &subresource.name);
        insert_unless_empty(
            paths,
            format!("{item}/{}", subresource.name),
            operations,
            true,
            resource.namespaced,
        );
    }
    let verbs: Vec<&str> = resource.verbs.iter().map(|verb| &**verb).collect();
    let of_item = operations.of_item(operations.kind(), &verbs, "");
    insert_unless_empty(paths, item, of_item, true, resource.namespaced);
    insert_unless_empty(
        paths,
        collection,
        operations.of_collection(),
        false,
        resource.namespaced,
    );
}

fn insert_unless_empty(
    paths: &mut Map<String, Value>,
    path: String,
    mut operations: Map<String, Value>,
    named: bool,
    namespaced: bool,
) {
    if operations.is_empty() {
        return;
    }
    let names = [(named, "name"), (namespaced, "namespace")];
    let parameters: Vec<Value> = names
        .into_iter()
        .filter(|(applies, _)| *applies)
        .map(|(_, name)| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    if !parameters.is_empty() {
        operations.insert("parameters".to_owned(), Value::Array(parameters));
    }
    paths.insert(path, Value::Object(operations));
}

impl<'a> Operations<'a> {
    fn kind(&self) -> Kind<'a> {
        Kind {
            group: self.document.group,
            version: self.document.version,
            kind: &self.resource.kind,
        }
    }

    fn list_kind(&self) -> Kind<'a> {
        Kind {
            kind: &self.resource.list_kind,
            ..self.kind()
        }
    }

    fn subresource_kind<T: AsRef<str>>(
        &self,
        group_version: &'a Option<(T, T)>,
        kind: &'a str,
    ) -> Kind<'a> {
        match group_version {
            Some((group, version)) => Kind {
                group: group.as_ref(),
                version: version.as_ref(),
                kind,
            },
            None => Kind {
                kind,
                ..self.kind()
            },
        }
    }

    fn across_namespaces(&self) -> Value {
        let list = self.operation(
            "list",
            "ForAllNamespaces",
            self.kind(),
            LIST,
            None,
            Some(self.list_kind()),
        );
        json!({"get": list})
    }

    fn of_collection(&self) -> Map<String, Value> {
        let (kind, list) = (self.kind(), self.list_kind());
        let mut operations = Map::new();
        let mut add = |verb: &str, method: &str, operation: Value| {
            if self.resource.has_verb(verb) {
                operations.insert(method.to_owned(), operation);
            }
        };
        add(
            "list",
            "get",
            self.operation("list", "", kind, LIST, None, Some(list)),
        );
        let body = Some(json!({"*/*": {"schema": kind.schema()}}));
        add(
            "create",
            "post",
            self.operation("post", "", kind, CREATE, body, Some(kind)),
        );
        let parameters = [LIST, DELETE].concat();
        let delete = self.operation(
            "deletecollection",
            "",
            kind,
            &parameters,
            Some(delete_options()),
            None,
        );
        add("deletecollection", "delete", delete);
        operations
    }

    fn of_item(&self, kind: Kind<'_>, verbs: &[&str], subresource: &str) -> Map<String, Value> {
        let mut operations = Map::new();
        let mut add = |verb: &str, method: &str, operation: Value| {
            if verbs.contains(&verb) {
                operations.insert(method.to_owned(), operation);
            }
        };
        add(
            "get",
            "get",
            self.operation("get", subresource, kind, &[], None, Some(kind)),
        );
        let body = || Some(json!({"*/*": {"schema": kind.schema()}}));
        add(
            "update",
            "put",
            self.operation("put", subresource, kind, CREATE, body(), Some(kind)),
        );
        let patch = self.operation(
            "patch",
            subresource,
            kind,
            PATCH,
            Some(patch_body(kind)),
            Some(kind),
        );
        add("patch", "patch", patch);
        add(
            "delete",
            "delete",
            self.operation(
                "delete",
                subresource,
                kind,
                DELETE,
                Some(delete_options()),
                None,
            ),
        );
        if !subresource.is_empty() {
            add(
                "create",
                "post",
                self.operation("post", subresource, kind, CREATE, body(), Some(kind)),
            );
        }
        operations
    }

    fn operation(
        &self,
        action: &str,
        suffix: &str,
        kind: Kind<'_>,
        parameters: &[&str],
        body: Option<Value>,
        answer: Option<Kind<'_>>,
    ) -> Value {
        let Document { group, version, .. } = self.document;
        let answer = answer
            .unwrap_or(Kind {
                group: "",
                version: "v1",
                kind: "Status",
            })
            .schema();
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|name| json!({"name": name, "in": "query", "schema": {"type": parameter_type(name)}}))
            .collect();
        let mut operation = json!({
            "operationId": self.operation_id(action, suffix),
            "tags": [format!("{}_{version}", if group.is_empty() { "core" } else { short_group(group) })],
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": answer}}}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        });
        if !parameters.is_empty() {
            operation["parameters"] = Value::Array(parameters);
        }
        if let Some(content) = body {
            operation["requestBody"] = json!({"content": content});
        }
        operation
    }

    /// Such as `listAppsV1NamespacedDeployment`.
    fn operation_id(&self, action: &str, suffix: &str) -> String {
        let group = match self.document.group {
            "" => "Core".to_owned(),
            group => short_group(group)
                .split(['.', '-'])
                .map(capitalised)
                .collect(),
        };
        let action = match action {
            "post" => "create",
            "put" => "replace",
            "get" => "read",
            other => other,
        };
        let everywhere = suffix == "ForAllNamespaces";
        let scope = if self.resource.namespaced && !everywhere {
            "Namespaced"
        } else {
            ""
        };
        let (version, kind) = (capitalised(self.document.version), &self.resource.kind);
        format!(
            "{action}{group}{version}{scope}{kind}{}",
            suffix.split('/').map(capitalised).collect::<String>()
        )
    }
}

fn short_group(group: &str) -> &str {
    group.strip_suffix(".k8s.io").unwrap_or(group)
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_ascii_uppercase())
        .into_iter()
        .chain(letters)
        .collect()
}

fn parameter_type(name: &str) -> &'static str {
    match name {
        "limit" | "gracePeriodSeconds" => "integer",
        "watch" | "force" => "boolean",
        _ => "string",
    }
}

fn delete_options() -> Value {
    json!({"*/*": {"schema": reference(&component_of_kind("", "v1", "DeleteOptions"))}})
}

/// Custom kinds have no merge rules, so they take no strategic merge patch.
fn patch_body(kind: Kind<'_>) -> Value {
    let patch = json!({"schema": {"type": "object"}});
    let mut body = json!({
        "application/apply-patch+yaml": patch,
        "application/json-patch+json": {"schema": {"type": "array", "items": {"type": "object"}}},
        "application/merge-patch+json": patch,
    });
    if schema::table()
        .by_kind(kind.group, kind.version, kind.kind)
        .is_some()
    {
        body["application/strategic-merge-patch+json"] = patch;
    }
    body
}
