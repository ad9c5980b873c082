//! What makes an object acceptable: names, metadata, and per kind the fields that are required, bounded or
//! immutable, with the messages and field paths of kube-apiserver.
//!
//! Pure checks of JSON values: nothing is looked up, so rules that need another object (a namespace that
//! exists, a quota) belong to the API server.

mod error;
mod kinds;
mod metadata;
pub mod names;

pub use error::{FieldError, FieldErrorKind};
pub use kinds::{validate_create, validate_update};
pub use metadata::{
    MAX_ANNOTATION_BYTES, MAX_GENERATED_NAME_BASE, name_problems, validate_metadata,
    validate_metadata_update, without_rules_of_built_in_kinds,
};
