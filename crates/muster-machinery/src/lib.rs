//! muster-machinery.

pub mod conversion;
pub mod defaulting;
pub mod discovery;
pub mod duration_text;
pub mod field_validation;
pub mod gvk;
pub mod meta;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod quantity;
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
