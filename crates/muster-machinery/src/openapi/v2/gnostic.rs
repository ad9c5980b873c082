//! A Swagger document as protobuf: the messages of package `openapi.v2`.
//!
//! Source of names and numbers: google/gnostic, `openapiv2/OpenAPIv2.proto`. Only the fields that a Kubernetes document
//! uses are known; other members are left out. Extensions (`x-…`) are kept as YAML text, for which JSON will do.

use serde_json::Value;

use crate::protobuf::wire::{put_bytes, put_double, put_number};

/// How one member of a JSON object is written.
enum Form {
    Text,
    Texts,
    Bool,
    Integer,
    Double,
    /// `Any`, with the value as YAML.
    Yaml,
    /// `Any`, repeated.
    Yamls,
    Message(&'static Message),
    /// A message whose only field, 1, is another form; `TypeItem`, `ItemsItem` and `SchemaItem` are such.
    Within(&'static Self),
    /// A message with a repeated field of names and values.
    Named(u32, &'static Self),
    /// `AdditionalPropertiesItem`: a schema or a truth value.
    SchemaOrBool,
    /// `ParametersItem`, repeated: one message for each place where parameters stand.
    Parameters,
}

/// The fields of a message.
struct Message {
    fields: &'static [(&'static str, u32, Form)],
    /// The number of `vendor_extension`; 0 where there is none.
    extensions: u32,
}

static INFO: Message = Message {
    fields: &[("title", 1, Form::Text), ("version", 2, Form::Text)],
    extensions: 7,
};

static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 2, Form::Message(&OPERATION)),
        ("put", 3, Form::Message(&OPERATION)),
        ("post", 4, Form::Message(&OPERATION)),
        ("delete", 5, Form::Message(&OPERATION)),
        ("patch", 8, Form::Message(&OPERATION)),
        ("parameters", 9, Form::Parameters),
    ],
    extensions: 10,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Form::Texts),
        ("description", 3, Form::Text),
        ("operationId", 5, Form::Text),
        ("produces", 6, Form::Texts),
        ("consumes", 7, Form::Texts),
        ("parameters", 8, Form::Parameters),
        (
            "responses",
            9,
            Form::Named(1, &Form::Within(&Form::Message(&RESPONSE))),
        ),
    ],
    extensions: 13,
};

static RESPONSE: Message = Message {
    fields: &[
        ("description", 1, Form::Text),
        ("schema", 2, Form::Within(&Form::Message(&SCHEMA))),
    ],
    extensions: 5,
};

static BODY_PARAMETER: Message = Message {
    fields: &[
        ("description", 1, Form::Text),
        ("name", 2, Form::Text),
        ("in", 3, Form::Text),
        ("required", 4, Form::Bool),
        ("schema", 5, Form::Message(&SCHEMA)),
    ],
    extensions: 6,
};

static QUERY_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Form::Bool),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("type", 6, Form::Text),
    ],
    extensions: 23,
};

static PATH_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Form::Bool),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("type", 5, Form::Text),
    ],
    extensions: 22,
};

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Form::Text),
        ("format", 2, Form::Text),
        ("title", 3, Form::Text),
        ("description", 4, Form::Text),
        ("default", 5, Form::Yaml),
        ("multipleOf", 6, Form::Double),
        ("maximum", 7, Form::Double),
        ("exclusiveMaximum", 8, Form::Bool),
        ("minimum", 9, Form::Double),
        ("exclusiveMinimum", 10, Form::Bool),
        ("maxLength", 11, Form::Integer),
        ("minLength", 12, Form::Integer),
        ("pattern", 13, Form::Text),
        ("maxItems", 14, Form::Integer),
        ("minItems", 15, Form::Integer),
        ("uniqueItems", 16, Form::Bool),
        ("maxProperties", 17, Form::Integer),
        ("minProperties", 18, Form::Integer),
        ("required", 19, Form::Texts),
        ("enum", 20, Form::Yamls),
        ("additionalProperties", 21, Form::SchemaOrBool),
        ("type", 22, Form::Within(&Form::Text)),
        ("items", 23, Form::Within(&Form::Message(&SCHEMA))),
        ("properties", 25, Form::Named(1, &Form::Message(&SCHEMA))),
    ],
    extensions: 31,
};

/// A `Document` that grows.
pub(super) struct Document {
    head: Vec<u8>,
    paths: Vec<u8>,
    definitions: Vec<u8>,
}

impl Document {
    pub(super) fn new(info: &Value) -> Self {
        let mut head = Vec::new();
        put_bytes(&mut head, 1, b"2.0");
        put(&mut head, 2, &Form::Message(&INFO), info);
        Self {
            head,
            paths: Vec::new(),
            definitions: Vec::new(),
        }
    }

    pub(super) fn add_path(&mut self, path: &str, item: &Value) {
        put_named(&mut self.paths, 2, path, &Form::Message(&PATH_ITEM), item);
    }

    pub(super) fn add_definition(&mut self, name: &str, schema: &Value) {
        put_named(
            &mut self.definitions,
            1,
            name,
            &Form::Message(&SCHEMA),
            schema,
        );
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut document = self.head;
        document.reserve_exact(self.paths.len() + self.definitions.len() + 16);
        put_bytes(&mut document, 8, &self.paths);
        drop(self.paths);
        put_bytes(&mut document, 9, &self.definitions);
        document
    }
}

/// Writes a value as field `number`; one of another form is left out.
fn put(out: &mut Vec<u8>, number: u32, form: &Form, value: &Value) {
    match (form, value) {
        (Form::Text, Value::String(text)) => put_bytes(out, number, text.as_bytes()),
        (Form::Bool, Value::Bool(truth)) => put_number(out, number, u64::from(*truth)),
        (Form::Integer, Value::Number(count)) => {
            put_number(out, number, count.as_u64().unwrap_or(0));
        }
        (Form::Double, Value::Number(bound)) => {
            put_double(out, number, bound.as_f64().unwrap_or(0.0));
        }
        (Form::Yaml, value) => put_yaml(out, number, value),
        (Form::Texts, Value::Array(list)) => put_all(out, number, &Form::Text, list),
        (Form::Yamls, Value::Array(list)) => put_all(out, number, &Form::Yaml, list),
        (Form::Message(message), value) => put_bytes(out, number, &encoded(message, value)),
        (Form::Within(inner), value) => put_wrapped(out, number, 1, inner, value),
        (Form::Named(field, form), Value::Object(members)) => {
            let mut named = Vec::new();
            for (name, value) in members {
                put_named(&mut named, *field, name, form, value);
            }
            put_bytes(out, number, &named);
        }
        (Form::SchemaOrBool, Value::Bool(_)) => put_wrapped(out, number, 2, &Form::Bool, value),
        (Form::SchemaOrBool, value) => {
            put_wrapped(out, number, 1, &Form::Message(&SCHEMA), value);
        }
        (Form::Parameters, Value::Array(list)) => {
            for parameter in list {
                put_parameter(out, number, parameter);
            }
        }
        _ => {}
    }
}

fn put_all(out: &mut Vec<u8>, number: u32, form: &Form, list: &[Value]) {
    for value in list {
        put(out, number, form, value);
    }
}

fn encoded(message: &Message, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, number, form) in message.fields {
        if let Some(value) = value.get(name) {
            put(&mut out, *number, form, value);
        }
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        if name.starts_with("x-") {
            put_named(&mut out, message.extensions, name, &Form::Yaml, value);
        }
    }
    out
}

/// A message around one field.
fn put_wrapped(out: &mut Vec<u8>, number: u32, inner: u32, form: &Form, value: &Value) {
    let mut wrapped = Vec::new();
    put(&mut wrapped, inner, form, value);
    put_bytes(out, number, &wrapped);
}

/// `NamedAny`, `NamedSchema` and their like.
fn put_named(out: &mut Vec<u8>, number: u32, name: &str, form: &Form, value: &Value) {
    let mut named = Vec::new();
    put_bytes(&mut named, 1, name.as_bytes());
    put(&mut named, 2, form, value);
    put_bytes(out, number, &named);
}

fn put_yaml(out: &mut Vec<u8>, number: u32, value: &Value) {
    let mut any = Vec::new();
    put_bytes(&mut any, 2, value.to_string().as_bytes());
    put_bytes(out, number, &any);
}

/// `ParametersItem{parameter: Parameter{body_parameter | non_body_parameter{query… | path…}}}`.
fn put_parameter(out: &mut Vec<u8>, number: u32, parameter: &Value) {
    let mut inner = Vec::new();
    match parameter["in"].as_str() {
        Some("body") => put(&mut inner, 1, &Form::Message(&BODY_PARAMETER), parameter),
        Some("query") => put_wrapped(
            &mut inner,
            2,
            3,
            &Form::Message(&QUERY_PARAMETER),
            parameter,
        ),
        Some("path") => put_wrapped(&mut inner, 2, 4, &Form::Message(&PATH_PARAMETER), parameter),
        _ => return,
    }
    let mut item = Vec::new();
    put_bytes(&mut item, 1, &inner);
    put_bytes(out, number, &item);
}
