//! The schemas of documents: every type that its kinds reach.
//!
//! Knows the JSON form of each message and the extensions that clients read: kinds, list types and patch rules.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::descriptions::Descriptions;
use super::{Document, Published};
use crate::crd::{for_openapi_v2, for_openapi_v3};
use crate::schema::{self, Field, Form, Kind, ListType, MergeRules, Message, Shape};

const DELETE_OPTIONS: &str = "k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const LIST_META: &str = "k8s.io.apimachinery.pkg.apis.meta.v1.ListMeta";
const OBJECT_META: &str = "k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const STATUS: &str = "k8s.io.apimachinery.pkg.apis.meta.v1.Status";

/// The component name of a message: upstream's, with the domain reversed.
pub(super) fn component(message: &Message) -> String {
    let name = message.name().replace('_', "-");
    let rest = name.strip_prefix("k8s.io.").unwrap_or(&name);
    format!("io.k8s.{rest}")
}

/// The component name of a kind; custom kinds get one made of their group.
pub(super) fn component_of_kind(group: &str, version: &str, kind: &str) -> String {
    match schema::table().by_kind(group, version, kind) {
        Some(message) => component(message),
        None => {
            let reversed: Vec<&str> = group.rsplit('.').collect();
            format!("{}.{version}.{kind}", reversed.join("."))
        }
    }
}

/// A reference to a component.
pub(super) fn reference(component: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{component}")})
}

/// Which readers custom kinds are described for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    /// Those of the one document.
    V2,
    /// Those of the documents per group and version.
    V3,
}

/// Makes the schemas of what is published, until nothing new is referred to.
pub(super) struct Schemas {
    language: Language,
    descriptions: Descriptions,
    seen: HashSet<String>,
    ready: Vec<(String, Value)>,
    waiting: Vec<&'static Message>,
}

impl Schemas {
    pub(super) fn new(language: Language) -> Self {
        let table = schema::table();
        let always = [DELETE_OPTIONS, STATUS];
        Self {
            language,
            descriptions: Descriptions::read(table),
            seen: HashSet::new(),
            ready: Vec::new(),
            waiting: always
                .iter()
                .filter_map(|name| table.message(name))
                .collect(),
        }
    }

    /// Asks for the schemas of the document's kinds.
    pub(super) fn add(&mut self, document: &Document<'_>) {
        for published in &document.resources {
            self.add_resource(document, published);
        }
    }

    fn add_resource(&mut self, document: &Document<'_>, published: &Published<'_>) {
        let table = schema::table();
        let (group, version) = (document.group, document.version);
        let resource = published.resource;
        let kinds = [&*resource.kind, &*resource.list_kind];
        let builtin = kinds
            .iter()
            .filter_map(|kind| table.by_kind(group, version, kind));
        self.waiting.extend(builtin);
        for subresource in &resource.subresources {
            let (group, version) = match &subresource.group_version {
                Some((group, version)) => (&**group, &**version),
                None => (group, version),
            };
            self.waiting
                .extend(table.by_kind(group, version, &subresource.kind));
        }
        if table.by_kind(group, version, &resource.kind).is_none() {
            self.add_custom(document, published);
        }
    }

    /// A custom kind's own schema, completed by what every object has.
    fn add_custom(&mut self, document: &Document<'_>, published: &Published<'_>) {
        let table = schema::table();
        let (group, version) = (document.group, document.version);
        let kind = &*published.resource.kind;
        let list_kind = &*published.resource.list_kind;
        let metas = [OBJECT_META, LIST_META].map(|name| table.message(name));
        let [object_meta, list_meta] =
            metas.map(|meta| reference(&meta.map(component).unwrap_or_default()));
        self.waiting.extend(metas.into_iter().flatten());
        let schema = published.custom.and_then(|custom| custom.schema);
        let mut object = match self.language {
            Language::V2 => for_openapi_v2(schema, &object_meta),
            Language::V3 => for_openapi_v3(schema, &object_meta),
        };
        add_kind(&mut object, (group, version, kind));
        let selectable = &published.resource.selectable;
        if !selectable.is_empty() {
            let fields = selectable.iter().map(|field| json!({"fieldPath": field}));
            object.insert(
                "x-kubernetes-selectable-fields".to_owned(),
                fields.collect(),
            );
        }
        let name = component_of_kind(group, version, kind);
        let mut list = Map::new();
        list.insert("type".to_owned(), "object".into());
        list.insert("required".to_owned(), json!(["items"]));
        list.insert(
            "properties".to_owned(),
            json!({"items": {"type": "array", "items": reference(&name)}}),
        );
        complete(&mut list, list_meta, (group, version, list_kind));
        let list_name = component_of_kind(group, version, list_kind);
        for (name, schema) in [
            (list_name, Value::Object(list)),
            (name, Value::Object(object)),
        ] {
            if self.seen.insert(name.clone()) {
                self.ready.push((name, schema));
            }
        }
    }

    fn of_message(&mut self, message: &'static Message) -> Value {
        let mut schema = match message.form() {
            Form::Object => self.of_struct(message),
            Form::Time | Form::MicroTime => {
                object(json!({"type": "string", "format": "date-time"}))
            }
            Form::Quantity => object(json!({"oneOf": [{"type": "string"}, {"type": "number"}]})),
            Form::IntOrString => object(
                json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
            ),
            Form::Raw if message.short_name() == "JSON" => Map::new(),
            Form::Raw => object(json!({"type": "object"})),
            Form::Items => object(json!({"type": "array", "items": {"type": "string"}})),
            Form::SchemaOrBool | Form::SchemaOrArray | Form::SchemaOrStrings => Map::new(),
        };
        describe(&mut schema, self.descriptions.of_message(message));
        if message.is_atomic() {
            schema.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
        }
        if let Some(kind) = message.kind() {
            add_kind(&mut schema, (kind.group, kind.version, kind.kind));
        }
        Value::Object(schema)
    }

    fn of_struct(&mut self, message: &'static Message) -> Map<String, Value> {
        let mut properties = Map::new();
        let mut required = Vec::new();
        if message.kind().is_some() {
            add_type_meta(&mut properties);
        }
        self.add_properties(message, &mut properties, &mut required);
        let mut schema = object(json!({"type": "object"}));
        if !properties.is_empty() {
            schema.insert("properties".to_owned(), Value::Object(properties));
        }
        if !required.is_empty() {
            schema.insert("required".to_owned(), Value::Array(required));
        }
        schema
    }

    fn add_properties(
        &mut self,
        message: &'static Message,
        properties: &mut Map<String, Value>,
        required: &mut Vec<Value>,
    ) {
        for field in message.fields() {
            if let (true, Some(inner)) = (field.is_inline(), schema::table().message_of(field)) {
                self.add_properties(inner, properties, required);
                continue;
            }
            let mut property = self.of_field(field);
            describe(&mut property, self.descriptions.of_field(message, field));
            properties.insert(field.name().to_owned(), Value::Object(property));
            if field.is_required() {
                required.push(field.name().into());
            }
        }
    }

    fn of_field(&mut self, field: &'static Field) -> Map<String, Value> {
        let value = match field.kind() {
            Kind::String => json!({"type": "string"}),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Int32 => json!({"type": "integer", "format": "int32"}),
            Kind::Int64 => json!({"type": "integer", "format": "int64"}),
            Kind::Double => json!({"type": "number", "format": "double"}),
            Kind::Bytes => json!({"type": "string", "format": "byte"}),
            Kind::Message(id) => {
                let message = schema::table().get(id);
                self.waiting.push(message);
                reference(&component(message))
            }
        };
        let is_reference = matches!(field.kind(), Kind::Message(_));
        let mut property = match field.shape() {
            // What stands beside a `$ref` is ignored by readers, so the reference steps aside.
            Shape::One if is_reference => object(json!({"allOf": [value]})),
            Shape::One => object(value),
            Shape::List => object(json!({"type": "array", "items": value})),
            Shape::Map => object(json!({"type": "object", "additionalProperties": value})),
        };
        add_rules(&mut property, field.rules());
        property
    }
}

/// One component after the other, each once; only what is asked for is in memory.
impl Iterator for Schemas {
    type Item = (String, Value);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(ready) = self.ready.pop() {
            return Some(ready);
        }
        while let Some(message) = self.waiting.pop() {
            let name = component(message);
            if self.seen.insert(name.clone()) {
                return Some((name, self.of_message(message)));
            }
        }
        None
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn describe(schema: &mut Map<String, Value>, text: &str) {
    if !text.is_empty() {
        schema.insert("description".to_owned(), text.into());
    }
}

fn add_rules(property: &mut Map<String, Value>, rules: &MergeRules) {
    let list_type = rules.list_type.map(|list_type| match list_type {
        ListType::Atomic => "atomic",
        ListType::Set => "set",
        ListType::Map => "map",
    });
    let mut add = |name: &str, value: Value| property.insert(format!("x-kubernetes-{name}"), value);
    if let Some(list_type) = list_type {
        add("list-type", list_type.into());
    }
    if !rules.list_keys.is_empty() {
        add("list-map-keys", json!(rules.list_keys));
    }
    if !rules.patch_strategy.is_empty() {
        add("patch-strategy", rules.patch_strategy.into());
    }
    if !rules.patch_merge_key.is_empty() {
        add("patch-merge-key", rules.patch_merge_key.into());
    }
    if !rules.map_type.is_empty() {
        add("map-type", rules.map_type.into());
    }
}

fn add_kind(schema: &mut Map<String, Value>, (group, version, kind): (&str, &str, &str)) {
    let kinds = json!([{"group": group, "version": version, "kind": kind}]);
    schema.insert("x-kubernetes-group-version-kind".to_owned(), kinds);
}

fn add_type_meta(properties: &mut Map<String, Value>) {
    let api_version =
        "APIVersion defines the versioned schema of this representation of an object.";
    let kind = "Kind is a string value representing the REST resource this object represents.";
    properties.insert(
        "apiVersion".to_owned(),
        json!({"type": "string", "description": api_version}),
    );
    properties.insert(
        "kind".to_owned(),
        json!({"type": "string", "description": kind}),
    );
}

/// Gives the schema of a custom kind what every object has.
fn complete(schema: &mut Map<String, Value>, metadata: Value, kind: (&str, &str, &str)) {
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        add_type_meta(properties);
        properties.insert("metadata".to_owned(), json!({"allOf": [metadata]}));
    }
    add_kind(schema, kind);
}
