//! Kubernetes' protobuf encoding, read from and written to the same JSON values that everything else uses.
//!
//! Driven by the schema table: one decoder and one encoder serve every built-in kind. It refuses to know HTTP, watch
//! framing (the 4-byte length before each event is the stream's) and kinds that are not in the table.
//!
//! What the wire cannot tell apart: a list or map that is empty, `null` or absent. Decoding prints `null` exactly where
//! Go's JSON does (no `omitempty`), and an empty list only for the `items` of a list kind. A scalar that is not a pointer
//! upstream has no "unset": its zero value is left out of JSON exactly when `omitempty` would. What a sender left off the
//! wire although Go always writes it (non-pointer scalars and structs) stays absent.

mod decode;
mod encode;
mod pieces;
mod time;
mod values;
pub(crate) mod wire;

#[cfg(test)]
mod tests;

pub use decode::{DecodeError, decode, decode_message, decode_watch_event, decode_with_default};
pub use encode::{EncodeError, encode, encode_message, encode_watch_event};
pub use pieces::{ListFrame, encode_bare, envelope};

/// The four bytes before every `runtime.Unknown` envelope.
pub const MAGIC: [u8; 4] = *b"k8s\0";

/// The media type of a body with the envelope.
pub const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// The largest body that is decoded, in bytes; kube-apiserver has the same limit for requests.
pub const MAX_BYTES: usize = 3 * 1024 * 1024;

/// The deepest nesting of messages, in either direction.
pub const MAX_DEPTH: usize = 64;

/// The most values that one decoded body may hold: bounds the memory that a small body can ask for.
pub const MAX_VALUES: usize = 500_000;

/// Whether a body starts as a Kubernetes protobuf body does.
pub fn is_protobuf(body: &[u8]) -> bool {
    body.starts_with(&MAGIC)
}
