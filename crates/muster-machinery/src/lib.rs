//! Kubernetes' data model without a cluster: objects as JSON, and everything that can be said about them
//! without asking anybody.
//!
//! * What there is: [`resources`] (the one table), [`discovery`] (what clients are told of it), [`schema`]
//!   and [`openapi`] (the fields).
//! * What an object is: [`meta`], [`gvk`], [`quantity`], [`protobuf`] (its other form on the wire),
//!   [`conversion`] (its other name).
//! * What becomes of it: [`defaulting`], [`field_validation`], [`validation`], [`patch`], [`apply`].
//! * What others bring along: [`crd`], with rules in a language of their own, [`cel`], and [`policy`], the same about writes.
//! * What is answered: [`status`], [`table`], [`selector`].
//!
//! Refuses to know sockets, clocks, files and randomness: time and names come in as arguments.

pub mod apply;
pub mod cel;
pub mod conversion;
pub mod crd;
pub mod defaulting;
pub mod discovery;
pub mod duration_text;
pub mod field_validation;
mod go_quote;
pub mod gvk;
pub mod meta;
pub mod openapi;
pub mod patch;
pub mod policy;
pub mod protobuf;
pub mod quantity;
pub mod quota;
pub mod resources;
pub mod rfc3339;
pub mod schema;
pub mod selector;
pub mod status;
pub mod table;
pub mod typed_form;
pub mod validation;

pub use meta::Object;
pub use resources::{KUBERNETES_GIT_VERSION, KUBERNETES_VERSION};
pub use status::Status;
