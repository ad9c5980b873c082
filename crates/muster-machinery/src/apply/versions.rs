//! The types of one kind in all its versions, and an object in each of them.
//!
//! Entries of `managedFields` mean paths in their own version, so a change is looked at in each.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::typing::Type;
use crate::gvk::split_api_version;
use crate::schema::{self, Form, Kind, Message, Shape};
use crate::{conversion, meta, resources};

/// One served version of a custom resource.
#[derive(Debug, Clone, Copy)]
pub struct CustomVersion<'a> {
    /// Group and version, such as `stable.example.com/v1`.
    pub api_version: &'a str,
    /// `openAPIV3Schema`; without one, maps are granular and lists atomic.
    pub schema: Option<&'a Value>,
}

/// Where the types of a kind come from.
#[derive(Debug, Clone, Copy)]
pub enum Typing<'a> {
    /// The schema table. A kind that is not in it has granular maps and atomic lists.
    BuiltIn,
    /// The versions of a custom resource; between them only `apiVersion` differs.
    Custom(&'a [CustomVersion<'a>]),
}

impl<'a> Typing<'a> {
    /// The type of a kind in one version; `None` when there is no such version.
    pub(super) fn root(&self, api_version: &str, kind: &str) -> Option<Type<'a>> {
        match self {
            Self::BuiltIn => match schema::table().by_api_version(api_version, kind) {
                Some(message) => Some(Type::built_in(message)),
                None => (!is_built_in(kind)).then(|| Type::custom(None)),
            },
            Self::Custom(versions) => versions
                .iter()
                .find(|version| version.api_version == api_version)
                .map(|version| Type::custom(version.schema)),
        }
    }

    /// The object in another version; `None` when there is no such version.
    pub(super) fn convert<'o>(
        &self,
        object: &'o Value,
        kind: &str,
        from: &str,
        to: &str,
    ) -> Option<Cow<'o, Value>> {
        if from == to {
            return Some(Cow::Borrowed(object));
        }
        self.root(to, kind)?;
        let mut converted = object.clone();
        if let (Self::BuiltIn, Some(from), Some(to)) =
            (self, resource(from, kind), resource(to, kind))
        {
            if from.storage_api_version() != to.storage_api_version() {
                return None;
            }
            conversion::to_storage(from, &mut converted);
            conversion::from_storage(to, &mut converted);
        }
        meta::set_gvk(&mut converted, to, kind);
        Some(Cow::Owned(converted))
    }

    /// What a create starts from: an object of the kind on which nothing is set.
    pub(super) fn blank(&self, api_version: &str, kind: &str) -> Value {
        let message = match self {
            Self::BuiltIn => schema::table().by_api_version(api_version, kind),
            Self::Custom(_) => None,
        };
        let mut object = message.map_or_else(
            || Value::Object(Map::new()),
            |message| blank_struct(message, MAX_BLANK_DEPTH),
        );
        meta::set_gvk(&mut object, api_version, kind);
        object
    }
}

fn resource(api_version: &str, kind: &str) -> Option<&'static resources::Resource> {
    let (group, version) = split_api_version(api_version)?;
    resources::find_kind(group, version, kind)
}

fn is_built_in(kind: &str) -> bool {
    schema::table().kinds().any(|(name, _)| name.kind == kind)
}

/// Structs held by value cannot nest in a circle; this is for tables that are wrong.
const MAX_BLANK_DEPTH: usize = 16;

/// The members that a Go struct prints when nothing is set. On a create they count as being there before, so that
/// nobody owns `spec` itself, as with kube-apiserver.
fn blank_struct(message: &'static Message, depth: usize) -> Value {
    let members = schema::table().json_fields(message).filter_map(|field| {
        let by_value = field.shape() == Shape::One && !field.is_pointer();
        let value = match (field.kind(), schema::table().message_of(field)) {
            // A struct is never empty to Go's `omitempty`.
            (_, Some(_)) if by_value && field.omits_zero() => None,
            (_, Some(inner)) if by_value => match inner.form() {
                Form::Object => Some(blank_struct(inner, depth.checked_sub(1)?)),
                Form::Quantity => Some("0".into()),
                Form::IntOrString => Some(0.into()),
                Form::Items if field.omits_empty() => None,
                _ => Some(Value::Null),
            },
            _ if field.omits_empty() => None,
            (Kind::String, _) if by_value => Some("".into()),
            (Kind::Bool, _) if by_value => Some(false.into()),
            (Kind::Int32 | Kind::Int64 | Kind::Double, _) if by_value => Some(0.into()),
            _ => Some(Value::Null),
        };
        Some((field.name().to_owned(), value?))
    });
    Value::Object(members.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_blank_object_has_what_a_go_struct_prints() {
        let blank = Typing::BuiltIn.blank("apps/v1", "Deployment");
        assert_eq!(blank["kind"], "Deployment");
        assert_eq!(
            blank["spec"]["template"]["spec"],
            json!({"containers": null})
        );
        assert_eq!(blank["spec"]["strategy"], json!({}));
        assert_eq!(blank["spec"]["selector"], Value::Null);
        assert!(blank["spec"].get("replicas").is_none());
        assert_eq!(
            Typing::BuiltIn.blank("example.com/v1", "Widget"),
            json!({"apiVersion": "example.com/v1", "kind": "Widget"})
        );
    }

    #[test]
    fn every_kind_has_a_blank_object() {
        for (name, _) in schema::table().kinds() {
            let version = crate::gvk::join_api_version(name.group, name.version);
            assert!(Typing::BuiltIn.blank(&version, name.kind).is_object());
        }
    }

    #[test]
    fn an_object_is_converted_where_the_version_exists() {
        let event = json!({"apiVersion": "v1", "kind": "Event", "message": "m"});
        let convert = |to| Typing::BuiltIn.convert(&event, "Event", "v1", to);
        assert_eq!(convert("events.k8s.io/v1").unwrap()["note"], "m");
        assert!(convert("events.k8s.io/v1beta1").is_none());
        assert!(matches!(convert("v1"), Some(Cow::Borrowed(_))));
        let versions = [CustomVersion {
            api_version: "e.com/v1",
            schema: None,
        }];
        let widget = json!({"apiVersion": "e.com/v2", "kind": "Widget"});
        let custom = Typing::Custom(&versions);
        let converted = custom.convert(&widget, "Widget", "e.com/v2", "e.com/v1");
        assert_eq!(converted.unwrap()["apiVersion"], "e.com/v1");
        assert!(
            custom
                .convert(&widget, "Widget", "e.com/v2", "e.com/v3")
                .is_none()
        );
    }
}
