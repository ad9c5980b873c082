//! Label and field selectors: which objects a list or watch is about.
//!
//! Parses what k8s.io/apimachinery parses (`labels.Parse`, `fields.ParseSelector`) and refuses the same,
//! in the same words. A parsed selector is matched against JSON objects. Which fields a kind offers is in
//! [`FieldSelector::check`].

mod field;
mod label;
mod lexer;
mod supported;

pub use field::{FieldRequirement, FieldSelector, FieldSelectorError};
pub use label::{LabelSelector, LabelSelectorError, Operator, Requirement};
pub use supported::{UnsupportedField, field_value, is_supported, selectable_fields};
