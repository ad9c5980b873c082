//! Server-side apply: who owns which field of an object, and what an applied configuration does to it.
//!
//! [`FieldManager`] is one write by one manager. [`FieldManager::track`] keeps `metadata.managedFields` for creates,
//! updates and patches; [`FieldManager::apply`] merges a configuration by the schema and refuses to change what others
//! own. Rules and messages are those of sigs.k8s.io/structured-merge-diff and k8s.io/apimachinery
//! `pkg/util/managedfields`. Refuses to know storage, defaults, validation and clocks: the time is an argument.

mod applying;
mod compare;
mod conflict;
mod element;
mod extract;
mod field_set;
mod fields_v1;
mod last_applied;
mod managed;
mod merge;
mod reset;
pub mod scale;
mod structural;
#[cfg(test)]
mod tests;
mod tracking;
mod typing;
mod versions;

use jiff::Timestamp;

pub use conflict::{ApplyError, Conflict, Conflicts};
pub use element::{ElementError, Literal, Path, PathElement};
pub use field_set::FieldSet;
pub use fields_v1::FieldsError;
pub use last_applied::LAST_APPLIED_ANNOTATION;
pub use managed::{ManagedError, Manager, Operation};
pub use tracking::keep_times_when_unchanged;
pub use versions::{CustomVersion, Typing};

/// Objects and field sets may nest this deep; the JSON reader allows no more either.
pub const MAX_DEPTH: usize = 128;

/// The longest name of a manager that is made from a user agent, in bytes.
const MAX_AGENT_NAME: usize = 128;

/// One write to one object by one manager.
#[derive(Debug, Clone, Copy)]
pub struct FieldManager<'a> {
    /// Where the types come from.
    pub typing: Typing<'a>,
    /// Group and version of the request and of the objects passed in, such as `apps/v1`.
    pub api_version: &'a str,
    /// The kind of the object.
    pub kind: &'a str,
    /// The writer's name; see [`manager_name`]. Empty becomes `unknown`.
    pub manager: &'a str,
    /// The subresource that is written to; empty for the object itself.
    pub subresource: &'a str,
    /// Fields that this endpoint does not let clients write, with all below them; see
    /// [`Typing::reset_fields`].
    pub ignored: Option<&'a FieldSet>,
    /// The time of the write.
    pub now: Timestamp,
}

/// The name of a writer: the request's `fieldManager`, else the user agent up to its first slash.
#[must_use]
pub fn manager_name(field_manager: Option<&str>, user_agent: &str) -> String {
    if let Some(name) = field_manager.filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    let product = user_agent.split('/').next().unwrap_or_default();
    let mut name = String::new();
    for c in product.chars().filter(|c| !c.is_control()) {
        if name.len() + c.len_utf8() > MAX_AGENT_NAME {
            break;
        }
        name.push(c);
    }
    name
}
