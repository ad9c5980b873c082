//! Strict decoding: which members of a JSON body the type does not have, which appear twice, and which have a wrong type.
//!
//! Serves the `fieldValidation` parameter of create, update and patch requests, with kube-apiserver's wording. It refuses
//! to know semantic validation (ranges, names, required members) and the schemas of custom resources, for which only
//! repeated members are found.

#[cfg(test)]
mod tests;
mod walk;

use serde::de::DeserializeSeed as _;
use serde_json::Value;

use crate::schema::Message;
use walk::{Expected, Seed};

/// The most findings reported for one body, as upstream.
pub const MAX_FINDINGS: usize = 100;

/// What a request asks to be done about unknown and repeated members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Say nothing.
    Ignore,
    /// Accept the request, with a warning for each finding.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

impl FieldValidation {
    /// Reads the query parameter; an empty one means [`FieldValidation::Warn`]. `None` if the value is not supported.
    pub fn parse(parameter: &str) -> Option<Self> {
        match parameter {
            "Ignore" => Some(Self::Ignore),
            "Warn" | "" => Some(Self::Warn),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// What was found in a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Such as `unknown field "spec.foo"` or `duplicate field "metadata.name"`, in the order of the body, at most
    /// [`MAX_FINDINGS`]. Each is the text of one warning.
    pub strict: Vec<String>,
    /// The first member whose type cannot be decoded, such as `json: cannot unmarshal string into Go struct field
    /// DeploymentSpec.spec.replicas of type int32`. Answer 400 whatever the parameter says.
    pub mismatch: Option<String>,
}

impl Findings {
    /// The message with which a strict request is refused, such as `strict decoding error: unknown field "spec.foo"`.
    pub fn strict_error(&self) -> Option<String> {
        (!self.strict.is_empty())
            .then(|| format!("strict decoding error: {}", self.strict.join(", ")))
    }
}

/// Checks the text of an object against its type; without a type (a custom resource) only repeated members are found.
///
/// # Errors
/// When the body is not one JSON document.
pub fn check(
    body: &[u8],
    message: Option<&'static Message>,
) -> Result<Findings, serde_json::Error> {
    let mut seed = Seed::new(Expected::object(message));
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    seed.by_ref().deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(seed.into_findings())
}

/// Checks an already parsed object, such as the result of a patch; repeated members are no longer to be seen in it.
pub fn check_value(object: &Value, message: &'static Message) -> Findings {
    let mut seed = Seed::new(Expected::object(Some(message)));
    // A parsed value has no syntax left to be wrong about.
    let _ = seed.by_ref().deserialize(object);
    seed.into_findings()
}
