//! Every refusal becomes an answer here, and nowhere else: a `Status` in the client's format.
//!
//! Refuses to know: why it was refused.

use http::{HeaderValue, StatusCode, header};
use muster_machinery::{protobuf, status::Status};

use super::{Format, Negotiated, Response, ResponseBody};

/// The answer for a refused request.
pub(crate) fn refusal_response(status: &Status, negotiated: Negotiated) -> Response {
    let (content_type, body) = match negotiated.format {
        Format::Protobuf => match protobuf::encode(&status.to_value()) {
            Ok(body) => (protobuf::CONTENT_TYPE, body),
            Err(_) => ("application/json", json(status, negotiated.pretty)),
        },
        Format::Json | Format::Yaml => ("application/json", json(status, negotiated.pretty)),
    };
    let mut response = Response::new(ResponseBody::full(body));
    *response.status_mut() =
        StatusCode::from_u16(status.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(seconds) = status.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn json(status: &Status, pretty: bool) -> Vec<u8> {
    let mut text = if pretty {
        status.to_json_pretty()
    } else {
        status.to_json()
    };
    text.push('\n');
    text.into_bytes()
}
