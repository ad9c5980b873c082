//! Custom resources: what a CustomResourceDefinition says, whether it may say so, and what becomes of objects by it.
//!
//! * A definition: [`Definition`] reads one, [`validate_definition`] and [`validate_definition_update`] judge it,
//!   `default_definition` fills it in, [`naming`] decides its conditions.
//! * A schema: [`Schema`] is one version's structural schema. Objects are brought into its form by [`coerce`] (metadata,
//!   [`prune()`], [`fill_defaults`]) and judged by [`validate_custom`].
//! * What is shown of objects: [`columns`], [`json_path`], [`scale`].
//!
//! Rules and texts are those of k8s.io/apiextensions-apiserver. Refuses to know storage, HTTP, clocks, and how versions are
//! converted by somebody else.

mod approval;
mod coerce;
pub mod columns;
mod defaults;
mod definition;
mod embedded;
mod format;
mod go_float;
pub mod json_path;
mod judge;
mod list_type;
pub mod naming;
mod pattern;
mod prune;
mod published;
mod rules;
pub mod scale;
mod schema;
#[cfg(test)]
mod tests;
mod validation;
mod value;

pub use approval::{APPROVED_ANNOTATION, Approval, approval_of, is_protected_group};
pub use coerce::{Coerced, coerce};
pub use defaults::{drop_nulls, fill_defaults};
pub use definition::{CLEANUP_FINALIZER, Definition, DefinitionVersion, Names};
pub use judge::{Judged, validate_custom, validate_custom_status};
pub use pattern::compile as compile_pattern;
pub use prune::prune;
pub use published::{for_openapi_v2, for_openapi_v3};
pub use schema::{Additional, Checks, ListType, Rule, Schema, SchemaError, Type};
pub use validation::{
    definition_warnings, prepare_definition, prepare_definition_update, validate_definition,
    validate_definition_status, validate_definition_update,
};
