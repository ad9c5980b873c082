//! The wire: which representation a client wants, reading bodies, writing answers.
//!
//! Refuses to know: what requests mean. It turns objects into bytes and back.

mod body;
mod compress;
mod decode;
mod encode;
mod list_body;
mod negotiate;
mod refusal;
mod warning;
mod watch_stream;

pub use body::ResponseBody;
pub(crate) use compress::{compressed, takes_gzip};
pub(crate) use decode::{Decoded, Expected, decode, decode_config, media_type};
pub(crate) use encode::{Encoder, document};
pub(crate) use list_body::ListBody;
pub(crate) use negotiate::{Format, Negotiated, Transform, negotiate};
pub(crate) use refusal::refusal_response;
pub(crate) use warning::warn;

use crate::registry::Refusal;

/// An answer.
pub(crate) type Response = http::Response<ResponseBody>;
