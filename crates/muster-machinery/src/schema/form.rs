//! How a message looks in JSON when that is not an object of its fields.
//!
//! Only names the forms; the protobuf codec and the OpenAPI documents give them meaning.

/// The JSON form of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An object with the message's fields.
    Object,
    /// `meta.v1.Time`: RFC 3339 with seconds, `null` when zero.
    Time,
    /// `meta.v1.MicroTime`: RFC 3339 with six fractional digits, `null` when zero.
    MicroTime,
    /// `resource.Quantity`: a decimal string with an optional suffix, such as `100m` or `2Gi`.
    Quantity,
    /// `intstr.IntOrString`: a 32-bit number or a string.
    IntOrString,
    /// Arbitrary JSON that protobuf carries as bytes: `FieldsV1`, `RawExtension`, the `JSON` of CRD schemas.
    Raw,
    /// A named list of strings: its JSON is the list in field `items`.
    Items,
    /// `JSONSchemaPropsOrBool`: a schema or a boolean.
    SchemaOrBool,
    /// `JSONSchemaPropsOrArray`: a schema or a list of schemas.
    SchemaOrArray,
    /// `JSONSchemaPropsOrStringArray`: a schema or a list of strings.
    SchemaOrStrings,
}

impl Form {
    /// The form by its name in the data file.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "" => Self::Object,
            "time" => Self::Time,
            "micro-time" => Self::MicroTime,
            "quantity" => Self::Quantity,
            "int-or-string" => Self::IntOrString,
            "raw" => Self::Raw,
            "items" => Self::Items,
            "schema-or-bool" => Self::SchemaOrBool,
            "schema-or-array" => Self::SchemaOrArray,
            "schema-or-strings" => Self::SchemaOrStrings,
            _ => return None,
        })
    }
}
