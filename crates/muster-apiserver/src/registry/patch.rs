//! Changing an object by a patch.
//!
//! Refuses to know: how the three kinds of patches work; they are applied to the served form of the object,
//! so that a client patches what it sees.

use muster_machinery::{
    field_validation::{FieldValidation, check_value},
    meta,
    patch::{self, PatchError},
    schema,
    status::Status,
    validation::FieldError,
};
use serde_json::Value;

use super::{Call, Conversion, Outcome, Owners, Refusal, Registry, WriteOptions, metadata};
use crate::custom::{self, CustomVersion};

/// The kinds of patches, by their media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKind {
    /// `application/json-patch+json` (RFC 6902).
    Json,
    /// `application/merge-patch+json` (RFC 7386).
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
}

/// The media type of a configuration to apply (server-side apply).
pub(crate) const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// The media types of patches that are understood.
const UNDERSTOOD: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    APPLY_PATCH,
];

impl PatchKind {
    /// Reads a media type without parameters. An apply is none of these.
    pub(crate) fn of_media_type(media_type: &str) -> Result<Self, Refusal> {
        match media_type {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            _ => Err(Status::unsupported_media_type(&UNDERSTOOD).into()),
        }
    }

    /// Applies a patch.
    pub(super) fn apply(self, object: Value, body: &[u8]) -> Result<Value, PatchError> {
        let parsed = || serde_json::from_slice(body).map_err(PatchError::Malformed);
        match self {
            Self::Json => patch::json::apply(object, body),
            Self::Merge => patch::merge::apply(object, &parsed()?),
            Self::Strategic => patch::strategic::apply(object, parsed()?),
        }
    }
}

impl Registry {
    /// Patches an object. The texts are warnings for the client.
    pub(crate) async fn patch(
        &self,
        call: &Call<'_>,
        kind: PatchKind,
        body: &[u8],
        options: &WriteOptions,
    ) -> Result<(Outcome, Vec<String>), Refusal> {
        if call.custom.is_some() && kind == PatchKind::Strategic {
            let understood = [UNDERSTOOD[0], UNDERSTOOD[1], APPLY_PATCH];
            return Err(Status::unsupported_media_type(&understood).into());
        }
        let conversion = Conversion::of(call.served);
        let mut warnings = Vec::new();
        let outcome = self
            .modify(call, options, Owners::Track, |old| {
                let mut object = old.clone();
                conversion.serve(call.served, &mut object);
                let mut object = kind
                    .apply(object, body)
                    .map_err(|error| refuse(call, &error))?;
                warnings = match call.custom {
                    Some(custom) => check_custom(call, custom, &mut object, options)?,
                    None => check_fields(call, &object, options)?,
                };
                check_kind(call, &object)?;
                metadata::place(call, &mut object)?;
                metadata::check_name(call, &mut object)?;
                conversion.store(call.served, &mut object);
                Ok(object)
            })
            .await?;
        Ok((outcome, warnings))
    }
}

fn check_fields(
    call: &Call<'_>,
    object: &Value,
    options: &WriteOptions,
) -> Result<Vec<String>, Refusal> {
    let resource = call.served;
    let message = schema::table().by_kind(&resource.group, &resource.version, &resource.kind);
    let Some(message) = message else {
        return Ok(Vec::new());
    };
    let findings = check_value(object, message);
    if let Some(mismatch) = findings.mismatch {
        return Err(Status::bad_request(mismatch).into());
    }
    match options.field_validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(findings.strict),
        FieldValidation::Strict => match findings.strict_error() {
            Some(error) => Err(Status::bad_request(error).into()),
            None => Ok(Vec::new()),
        },
    }
}

/// Brings a patched custom resource into form; the texts are what its schema does not know.
fn check_custom(
    call: &Call<'_>,
    custom: &CustomVersion,
    object: &mut Value,
    options: &WriteOptions,
) -> Result<Vec<String>, Refusal> {
    if !object.is_object() {
        return Err(Status::bad_request("the patch leaves no object").into());
    }
    custom::judge(custom.coerce(object), call.served, options.field_validation)
}

fn check_kind(call: &Call<'_>, object: &Value) -> Result<(), Refusal> {
    let resource = call.served;
    let kind = meta::kind(object);
    let api_version = meta::api_version(object);
    if kind == resource.kind && api_version == resource.api_version() {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "the patch changes the object to {api_version}, Kind={kind}; it must stay {}, Kind={}",
        resource.api_version(),
        resource.kind
    ))
    .into())
}

pub(super) fn refuse(call: &Call<'_>, error: &PatchError) -> Refusal {
    let message = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match error.http_status() {
        413 => Status::request_entity_too_large(&message).into(),
        415 => Status::unsupported_media_type(&UNDERSTOOD).into(),
        422 => {
            let error = FieldError::invalid("patch", Value::Null, message);
            let (group, kind) = (&call.resource.group, &call.resource.kind);
            Status::invalid(group, kind, call.name(), &[error]).into()
        }
        _ => Status::bad_request(message).into(),
    }
}
