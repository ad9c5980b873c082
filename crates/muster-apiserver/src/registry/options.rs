//! The options of requests on resources, read from the query and, for deletions, from the body.
//!
//! Refuses to know: what is done with them.

use muster_machinery::{
    apply::manager_name, field_validation::FieldValidation, status::Status, validation::FieldError,
};
use serde_json::Value;

use super::Refusal;
use crate::request::query_pairs;

/// Options of create, update and patch.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteOptions {
    /// Everything but the write itself is done.
    pub(crate) dry_run: bool,
    /// What happens to unknown fields.
    pub(crate) field_validation: FieldValidation,
    /// The writer's name, as owners of fields are called.
    pub(crate) manager: String,
    /// Whether an apply patch may take fields from other managers.
    pub(crate) force: bool,
    /// The kind of write.
    pub(crate) kind: WriteKind,
}

/// The kinds of writes, as far as their options differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum WriteKind {
    /// An object is made, or sent to a subresource that does something with it.
    #[default]
    Create,
    /// An object is replaced.
    Update,
    /// An object is patched.
    Patch,
    /// A configuration is applied.
    Apply,
}

/// The longest name of a writer, in bytes.
const MAX_MANAGER: usize = 128;

/// Options of delete (`v1.DeleteOptions`).
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    /// Seconds the object has for its end.
    pub(crate) grace: Option<i64>,
    /// The uid the object must have.
    pub(crate) uid: Option<String>,
    /// The resource version the object must have.
    pub(crate) resource_version: Option<String>,
    /// What becomes of dependents.
    pub(crate) propagation: Option<Propagation>,
    /// Everything but the deletion itself is done.
    pub(crate) dry_run: bool,
    /// Whether admission has had its say already, as it has on an eviction.
    pub(crate) is_admitted: bool,
}

/// What becomes of an object's dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They stay.
    Orphan,
    /// They go later.
    Background,
    /// They go first.
    Foreground,
}

impl WriteOptions {
    /// Reads the query of a write. A writer without a name for itself is called after its program.
    pub(crate) fn parse(
        query: Option<&str>,
        user_agent: &str,
        kind: WriteKind,
    ) -> Result<Self, Refusal> {
        let mut options = Self::default();
        let (mut name, mut force) = (None, None);
        for (key, value) in query_pairs(query) {
            match key.as_str() {
                "dryRun" => options.dry_run |= dry_run(&value)?,
                "fieldManager" => name = Some(value),
                "force" => force = Some(flag(&value)),
                "fieldValidation" => {
                    options.field_validation = FieldValidation::parse(&value).ok_or_else(|| {
                        Status::bad_request(format!(
                            "fieldValidation: Unsupported value: {value:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
                        ))
                    })?;
                }
                _ => {}
            }
        }
        kind.check(name.as_deref().unwrap_or_default(), force)?;
        options.manager = manager_name(name.as_deref(), user_agent);
        options.force = force.unwrap_or_default();
        options.kind = kind;
        Ok(options)
    }
}

impl WriteKind {
    /// `ValidateFieldManager` and `ValidatePatchOptions` upstream.
    fn check(self, manager: &str, force: Option<bool>) -> Result<(), Refusal> {
        let field = "fieldManager";
        let mut errors = Vec::new();
        match self {
            Self::Apply if manager.is_empty() => {
                errors.push(FieldError::required(field, "is required for apply patch"));
            }
            Self::Patch if force.is_some() => {
                let why = "may not be specified for non-apply patch";
                errors.push(FieldError::forbidden("force", why));
            }
            _ => {}
        }
        if manager.len() > MAX_MANAGER {
            errors.push(FieldError::too_long(field, MAX_MANAGER));
        }
        let unprintable = |c: char| c.is_control() || (c.is_whitespace() && c != ' ');
        if manager.contains(unprintable) {
            let why = "should only contain printable characters";
            errors.push(FieldError::invalid(field, manager.into(), why));
        }
        if errors.is_empty() {
            return Ok(());
        }
        let kind = match self {
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Patch | Self::Apply => "PatchOptions",
        };
        Err(Status::invalid("meta.k8s.io", kind, "", &errors).into())
    }
}

impl DeleteOptions {
    /// Reads the query of a deletion, then its body if there is one; the body wins.
    pub(crate) fn parse(query: Option<&str>, body: Option<&Value>) -> Result<Self, Refusal> {
        let mut options = Self::default();
        for (key, value) in query_pairs(query) {
            match key.as_str() {
                "gracePeriodSeconds" => options.grace = Some(number(&key, &value)?),
                "propagationPolicy" => options.propagation = Some(propagation(&value)?),
                "orphanDependents" => options.propagation = Some(orphaning(flag(&value))),
                "dryRun" => options.dry_run |= dry_run(&value)?,
                _ => {}
            }
        }
        if let Some(body) = body {
            options.read_body(body)?;
        }
        Ok(options)
    }

    fn read_body(&mut self, body: &Value) -> Result<(), Refusal> {
        if let Some(grace) = body.get("gracePeriodSeconds").and_then(Value::as_i64) {
            self.grace = Some(grace);
        }
        if let Some(orphan) = body.get("orphanDependents").and_then(Value::as_bool) {
            self.propagation = Some(orphaning(orphan));
        }
        if let Some(policy) = body.get("propagationPolicy").and_then(Value::as_str) {
            self.propagation = Some(propagation(policy)?);
        }
        for value in body
            .get("dryRun")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            self.dry_run |= dry_run(value.as_str().unwrap_or_default())?;
        }
        let condition = |name: &str| {
            let value = body.pointer(&format!("/preconditions/{name}"))?.as_str()?;
            Some(value.to_owned())
        };
        self.uid = condition("uid");
        self.resource_version = condition("resourceVersion");
        Ok(())
    }
}

const fn orphaning(orphan: bool) -> Propagation {
    if orphan {
        Propagation::Orphan
    } else {
        Propagation::Background
    }
}

fn propagation(text: &str) -> Result<Propagation, Refusal> {
    match text {
        "Orphan" => Ok(Propagation::Orphan),
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        other => Err(Status::bad_request(format!(
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: {other:?}: supported values: \"Background\", \"Foreground\", \"Orphan\""
        ))
        .into()),
    }
}

fn dry_run(value: &str) -> Result<bool, Refusal> {
    match value {
        "All" => Ok(true),
        "" => Ok(false),
        other => Err(Status::bad_request(format!(
            "dryRun: Unsupported value: {other:?}: supported values: \"All\""
        ))
        .into()),
    }
}

fn flag(value: &str) -> bool {
    !matches!(value, "false" | "False" | "FALSE" | "f" | "F" | "0")
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, Refusal> {
    value
        .parse()
        .map_err(|_| Status::bad_request(format!("invalid value {value:?} for {key}")).into())
}
