//! The Common Expression Language as rules of custom resources use it (`x-kubernetes-validations`).
//!
//! * Text becomes a tree: [`parse`], bounded in length and depth.
//! * A tree is judged before anything runs: names, fields, types, and what it may cost at most ([`check()`]).
//! * It is worked out on JSON, by its schema, within a budget ([`evaluate`]).
//!
//! Language and functions are those of cel-go with Kubernetes' libraries, as far as rules use them: what is not known is
//! refused when the rule is judged, never skipped. Refuses to know rules, definitions and clocks.

mod address;
mod ast;
mod check;
mod eval;
mod functions;
mod lexer;
mod library;
mod parser;
mod temporal;
#[cfg(test)]
mod tests;
mod types;
mod value;

pub use ast::{Expr, mentions};
pub use check::{Checked, Composed, check, check_composed};
pub use eval::{Bindings, EvalError, Session, evaluate};
pub use parser::{SyntaxError, parse};
pub use types::{Type, max_elements, min_size};
pub(crate) use value::WORDS;
pub use value::{Val, of_json};

/// The longest expression that is read, in bytes.
pub const MAX_LENGTH: usize = 16 * 1024;
/// Expressions may nest this deep.
pub const MAX_DEPTH: usize = 100;
