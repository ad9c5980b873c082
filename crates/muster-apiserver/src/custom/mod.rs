//! Custom resources: the versions that CustomResourceDefinitions bring, and the keeper that decides on definitions.
//!
//! Refuses to know: what schemas mean (that is `muster_machinery::crd`), requests, formats.

use muster_machinery::{
    crd::Coerced,
    field_validation::{FieldValidation, Findings, MAX_FINDINGS},
    resources::Resource,
    status::Status,
};

use crate::registry::Refusal;

mod index;
mod keeper;
mod version;

pub(crate) use index::{Entry, Index};
pub(crate) use keeper::Keeper;
pub(crate) use version::CustomVersion;

/// What a client is told of what was taken out of its object: warnings, or, if it is strict, that the object is refused.
pub(crate) fn judge(
    coerced: Coerced,
    resource: &Resource,
    validation: FieldValidation,
) -> Result<Vec<String>, Refusal> {
    if let Some(mismatch) = coerced.mismatch {
        let (kind, version) = (&resource.kind, &resource.version);
        let why =
            format!("{kind} in version {version:?} cannot be handled as a {kind}: {mismatch}");
        return Err(Status::bad_request(why).into());
    }
    let strict = coerced.unknown.iter().take(MAX_FINDINGS);
    let findings = Findings {
        strict: strict
            .map(|path| format!("unknown field {path:?}"))
            .collect(),
        mismatch: None,
    };
    match (validation, findings.strict_error()) {
        (FieldValidation::Ignore, _) => Ok(Vec::new()),
        (FieldValidation::Strict, Some(error)) => Err(Status::bad_request(error).into()),
        _ => Ok(findings.strict),
    }
}

/// The group of definitions.
pub(crate) const GROUP: &str = "apiextensions.k8s.io";
/// The resource of definitions.
pub(crate) const DEFINITIONS: &str = "customresourcedefinitions";
