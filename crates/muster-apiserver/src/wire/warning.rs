//! Warnings for people in the headers of an answer (RFC 7234, code 299).
//!
//! Refuses to know: what is warned of.

use http::{HeaderMap, HeaderValue, header::WARNING};

/// Adds warnings to an answer.
pub(crate) fn warn(headers: &mut HeaderMap, warnings: &[String]) {
    for warning in warnings {
        let text: String = warning
            .chars()
            .map(|c| {
                if c.is_ascii_graphic() || c == ' ' {
                    c
                } else {
                    '?'
                }
            })
            .collect();
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::try_from(format!("299 - \"{text}\"")) {
            headers.append(WARNING, value);
        }
    }
}
