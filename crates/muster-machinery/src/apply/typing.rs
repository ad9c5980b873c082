//! How each value of an object is owned: as one piece, by member, by key. From the schema table, or from a custom
//! resource's structural schema; what has no schema has granular maps and atomic lists.
//!
//! Never fails: a value of another shape than its type counts as one piece. Refusing such values is `check`'s work.

use serde_json::Value;

use super::element::PathElement;
use super::structural;
use crate::schema::{self, Field, Form, Kind, ListType, Message, Shape};

/// The type of one value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type<'a>(Node<'a>);

#[derive(Clone, Copy, Debug)]
enum Node<'a> {
    /// A built-in object, with `apiVersion` and `kind`.
    Root(&'static Message),
    /// A field as a whole: a list or map, or its one value.
    Field(&'static Field),
    /// One value of a field.
    Element(&'static Field),
    /// An object of a custom resource, with its schema if it has one.
    Custom(Option<&'a Value>),
    /// A value with an OpenAPI schema.
    Structural(&'a Value),
    Scalar(Scalar),
    /// Whatever the value is, with granular maps.
    Deduced,
    /// Whatever the value is, in one piece.
    Opaque,
}

/// What a scalar must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Text,
    Number,
    Bool,
    Any,
}

/// What a type says without looking at a value.
pub(super) enum Declared<'a> {
    Scalar(Scalar),
    List(List<'a>),
    Map(MapType<'a>),
    Any,
}

/// What a value is, under its type.
pub(super) enum Atom<'a> {
    Leaf,
    List(List<'a>),
    Map(MapType<'a>),
}

impl Atom<'_> {
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// A list and what identifies its elements.
pub(super) struct List<'a> {
    pub(super) relation: Relation<'a>,
    pub(super) element: Type<'a>,
}

/// What identifies the elements of a list.
pub(super) enum Relation<'a> {
    /// Nothing: the list is one piece.
    Atomic,
    /// Their value.
    Set,
    /// Key fields.
    Keys(Vec<&'a str>),
}

/// A map or struct.
pub(super) struct MapType<'a> {
    pub(super) atomic: bool,
    members: Members<'a>,
}

enum Members<'a> {
    Message(&'static Message, bool),
    Each(Type<'a>),
    Custom(Option<&'a Value>),
    Structural(&'a Value),
}

impl<'a> Type<'a> {
    /// Whatever the value is, with granular maps and atomic lists.
    pub(super) const fn deduced() -> Self {
        Self(Node::Deduced)
    }

    pub(super) const fn built_in(message: &'static Message) -> Self {
        Self(Node::Root(message))
    }

    pub(super) const fn custom(schema: Option<&'a Value>) -> Self {
        Self(Node::Custom(schema))
    }

    pub(super) const fn structural(schema: &'a Value) -> Self {
        Self(Node::Structural(schema))
    }

    /// What the type says of itself.
    pub(super) fn declared(self) -> Declared<'a> {
        match self.0 {
            Node::Root(message) => Declared::Map(MapType {
                atomic: false,
                members: Members::Message(message, true),
            }),
            Node::Field(field) => declared_field(field),
            Node::Element(field) => declared_value(field),
            Node::Custom(schema) => Declared::Map(MapType {
                atomic: false,
                members: Members::Custom(schema),
            }),
            Node::Structural(schema) => declared_structural(schema),
            Node::Scalar(scalar) => Declared::Scalar(scalar),
            Node::Deduced | Node::Opaque => Declared::Any,
        }
    }

    /// Whether a value of this type is owned as one piece although it has parts.
    pub(super) fn is_atomic(self) -> bool {
        match self.declared() {
            Declared::List(list) => matches!(list.relation, Relation::Atomic),
            Declared::Map(map) => map.atomic,
            _ => false,
        }
    }

    /// What the value is under this type. Null is an empty list or map where the type is one.
    pub(super) fn atom(self, value: &Value) -> Atom<'a> {
        match (self.declared(), value) {
            (Declared::List(list), Value::Array(_) | Value::Null) => Atom::List(list),
            (Declared::Map(map), Value::Object(_) | Value::Null) => Atom::Map(map),
            (Declared::Any, Value::Array(_)) => Atom::List(List {
                relation: Relation::Atomic,
                element: Self(Node::Opaque),
            }),
            (Declared::Any, Value::Object(_) | Value::Null) => Atom::Map(MapType {
                atomic: matches!(self.0, Node::Opaque),
                members: Members::Each(self),
            }),
            _ => Atom::Leaf,
        }
    }

    /// What an absent key field of an element stands for.
    fn key_default(self, key: &str) -> Option<Value> {
        match self.0 {
            Node::Element(field) => {
                let message = schema::table().message_of(field)?;
                table_default(message, schema::table().field(message, key)?)
            }
            Node::Structural(schema) => schema.get("properties")?.get(key)?.get("default").cloned(),
            _ => None,
        }
    }
}

/// The published schema's default of a key field: the zero value of fields that are always sent, and what upstream's
/// `+default` markers say of the others.
fn table_default(message: &Message, field: &Field) -> Option<Value> {
    if field.name() == "protocol" {
        return Some("TCP".into());
    }
    if message.short_name() == "LocalObjectReference" {
        return Some("".into());
    }
    if field.is_pointer() || field.omits_empty() || field.shape() != Shape::One {
        return None;
    }
    match field.kind() {
        Kind::String => Some("".into()),
        Kind::Bool => Some(false.into()),
        Kind::Int32 | Kind::Int64 | Kind::Double => Some(0.into()),
        Kind::Bytes | Kind::Message(_) => None,
    }
}

fn declared_field<'a>(field: &'static Field) -> Declared<'a> {
    let element = Type(Node::Element(field));
    let rules = field.rules();
    match field.shape() {
        Shape::One => declared_value(field),
        Shape::Map => Declared::Map(MapType {
            atomic: rules.map_type == "atomic",
            members: Members::Each(element),
        }),
        Shape::List => Declared::List(List {
            relation: match rules.list_type {
                Some(ListType::Set) => Relation::Set,
                Some(ListType::Map) => Relation::Keys(rules.list_keys.clone()),
                Some(ListType::Atomic) | None => Relation::Atomic,
            },
            element,
        }),
    }
}

fn declared_value<'a>(field: &'static Field) -> Declared<'a> {
    let Some(message) = schema::table().message_of(field) else {
        return Declared::Scalar(match field.kind() {
            Kind::Bool => Scalar::Bool,
            Kind::Int32 | Kind::Int64 | Kind::Double => Scalar::Number,
            Kind::String | Kind::Bytes => Scalar::Text,
            Kind::Message(_) => Scalar::Any,
        });
    };
    match message.form() {
        Form::Object => Declared::Map(MapType {
            atomic: match (field.shape(), field.rules().map_type) {
                (Shape::One, "granular") => false,
                (Shape::One, "atomic") => true,
                _ => message.is_atomic(),
            },
            members: Members::Message(message, false),
        }),
        Form::Time | Form::MicroTime | Form::Quantity | Form::IntOrString => {
            Declared::Scalar(Scalar::Any)
        }
        Form::Items => Declared::List(List {
            relation: Relation::Atomic,
            element: Type(Node::Scalar(Scalar::Text)),
        }),
        Form::Raw | Form::SchemaOrBool | Form::SchemaOrArray | Form::SchemaOrStrings => {
            Declared::Any
        }
    }
}

fn declared_structural(schema: &Value) -> Declared<'_> {
    use structural::Shape;
    match structural::shape(schema) {
        Shape::Text => Declared::Scalar(Scalar::Text),
        Shape::Number => Declared::Scalar(Scalar::Number),
        Shape::Bool => Declared::Scalar(Scalar::Bool),
        Shape::IntOrString => Declared::Scalar(Scalar::Any),
        Shape::Any => Declared::Any,
        Shape::List { relation, items } => Declared::List(List {
            relation,
            element: items.map_or(Type::deduced(), Type::structural),
        }),
        Shape::Map { atomic } => Declared::Map(MapType {
            atomic,
            members: Members::Structural(schema),
        }),
        Shape::Resource => Declared::Map(MapType {
            atomic: false,
            members: Members::Custom(Some(schema)),
        }),
    }
}

fn object_meta() -> Type<'static> {
    let field = schema::table()
        .by_kind("", "v1", "Pod")
        .and_then(|pod| schema::table().field(pod, "metadata"));
    field.map_or(Type::deduced(), |field| Type(Node::Field(field)))
}

impl<'a> MapType<'a> {
    /// The type of a member, and whether the schema names it.
    pub(super) fn member(&self, name: &str) -> (Type<'a>, bool) {
        let text = Type(Node::Scalar(Scalar::Text));
        match self.members {
            Members::Each(ty) => (ty, false),
            Members::Message(_, true) if matches!(name, "apiVersion" | "kind") => (text, true),
            Members::Message(message, _) => match schema::table().field(message, name) {
                Some(field) => (Type(Node::Field(field)), true),
                None => (Type::deduced(), false),
            },
            Members::Custom(_) if matches!(name, "apiVersion" | "kind") => (text, true),
            Members::Custom(_) if name == "metadata" => (object_meta(), true),
            Members::Custom(schema) => schema.map_or((Type::deduced(), false), |schema| {
                structural::member(schema, name)
            }),
            Members::Structural(schema) => structural::member(schema, name),
        }
    }

    /// Whether the type can have such a member at all.
    pub(super) fn allows(&self, name: &str) -> bool {
        match self.members {
            Members::Each(_) | Members::Custom(None) => true,
            Members::Message(..) => self.member(name).1,
            Members::Custom(Some(schema)) => {
                self.member(name).1 || structural::allows(schema, name)
            }
            Members::Structural(schema) => structural::allows(schema, name),
        }
    }
}

impl List<'_> {
    /// What identifies an element.
    pub(super) fn identify(&self, item: &Value) -> Result<PathElement, String> {
        match (&self.relation, item) {
            (Relation::Atomic, _) => Err("invalid indexing of non-associative list".into()),
            (Relation::Set, Value::Object(_)) => {
                Err("associative list without keys has an element that's a map type".into())
            }
            (Relation::Set, Value::Array(_)) => {
                Err("not supported: associative list with lists as elements".into())
            }
            (Relation::Set, Value::Null) => {
                Err("associative list without keys has an element that's an explicit null".into())
            }
            (Relation::Set, scalar) => {
                Ok(PathElement::Value(super::element::Literal(scalar.clone())))
            }
            (Relation::Keys(_), Value::Null) => {
                Err("associative list with keys may not have a null element".into())
            }
            (Relation::Keys(keys), Value::Object(members)) => {
                let present: Vec<_> = keys
                    .iter()
                    .filter_map(|key| {
                        let value = members.get(*key).cloned();
                        Some((*key, value.or_else(|| self.element.key_default(key))?))
                    })
                    .collect();
                if present.is_empty() && !keys.is_empty() {
                    return Err(format!(
                        "associative list with keys has an element that omits all key fields {keys:?} (and doesn't have default values for any key fields)"
                    ));
                }
                Ok(PathElement::key(present))
            }
            (Relation::Keys(_), _) => {
                Err("associative list with keys may not have non-map elements".into())
            }
        }
    }

    /// What identifies each element; `None` when the list is one piece, or an element cannot be identified.
    pub(super) fn identify_all(&self, items: &[Value]) -> Option<Vec<PathElement>> {
        items.iter().map(|item| self.identify(item).ok()).collect()
    }
}
