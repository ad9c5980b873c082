//! `/openapi/v2`: the one Swagger document, as JSON or protobuf, for clients that know no v3.
//!
//! Refuses to know: what is in the document. It is made when it is asked for and shared by the answers that are under way;
//! nothing is kept for the next client, who mostly asks with the tag of what it has.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use muster_machinery::{openapi::Swagger, status::Status};
use parking_lot::Mutex;

use super::Source;
use crate::{
    registry::Refusal,
    route::{Authorised, ResourceCatalogue},
    wire::{Response, ResponseBody},
};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// What clients ask for; `@` is no letter of media types, so answers carry the other name.
const PROTOBUF_OF_OLD: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Json,
    Protobuf,
}

const OFFERED: [(&str, Encoding); 3] = [
    (JSON, Encoding::Json),
    (PROTOBUF, Encoding::Protobuf),
    (PROTOBUF_OF_OLD, Encoding::Protobuf),
];

/// The document's bytes for as long as somebody reads them.
#[derive(Debug, Default)]
pub(crate) struct SwaggerInUse {
    json: Mutex<Slot>,
    protobuf: Mutex<Slot>,
}

/// The bytes of the document that has this hash.
#[derive(Debug, Default)]
struct Slot {
    hash: String,
    bytes: Weak<Vec<u8>>,
}

/// A reader's share of the document.
struct Share(Arc<Vec<u8>>);

impl AsRef<[u8]> for Share {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl SwaggerInUse {
    /// The lock is held while the document is made: those who ask meanwhile wait for it instead of making their own.
    fn bytes(&self, encoding: Encoding, hash: &str, sources: &mut [Source]) -> Bytes {
        let slot = match encoding {
            Encoding::Json => &self.json,
            Encoding::Protobuf => &self.protobuf,
        };
        let mut slot = slot.lock();
        let shared = slot.bytes.upgrade().filter(|_| slot.hash == hash);
        let whole = shared.unwrap_or_else(|| {
            sources.iter_mut().for_each(Source::read_schemas);
            let swagger = swagger(sources);
            let whole = Arc::new(match encoding {
                Encoding::Json => swagger.to_json(),
                Encoding::Protobuf => swagger.to_protobuf(),
            });
            *slot = Slot {
                hash: hash.to_owned(),
                bytes: Arc::downgrade(&whole),
            };
            whole
        });
        Bytes::from_owner(Share(whole))
    }
}

fn swagger(sources: &[Source]) -> Swagger<'_> {
    Swagger {
        documents: sources.iter().map(Source::document).collect(),
    }
}

/// Answers a request for the document.
pub(super) fn serve(
    in_use: &SwaggerInUse,
    catalogue: &ResourceCatalogue,
    request: &Authorised,
) -> Result<Response, Refusal> {
    let accept = request.headers.get(header::ACCEPT);
    let accept = accept.map(|value| value.to_str().unwrap_or("image/*"));
    let encoding = choose(accept.unwrap_or(""))
        .ok_or_else(|| Refusal::from(Status::not_acceptable(&OFFERED.map(|(name, _)| name))))?;
    let mut sources = Source::all(catalogue);
    let hash = swagger(&sources).hash();
    let (content_type, tag) = match encoding {
        Encoding::Json => (JSON, format!("\"{hash}\"")),
        Encoding::Protobuf => (PROTOBUF, format!("\"{hash}-protobuf\"")),
    };
    let known = is_known(&request.headers, &tag);
    let body = if known {
        ResponseBody::empty()
    } else {
        ResponseBody::full(in_use.bytes(encoding, &hash, &mut sources))
    };
    let mut response = Response::new(body);
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    if !known {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

/// Whether the client has what carries this tag (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// The first of the best-liked media types that there is; without wishes, JSON.
fn choose(accept: &str) -> Option<Encoding> {
    if accept.trim().is_empty() {
        return Some(Encoding::Json);
    }
    let mut wishes: Vec<(f32, &str)> = accept.split(',').take(32).map(wish).collect();
    wishes.retain(|(quality, _)| *quality > 0.0);
    wishes.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    wishes.iter().find_map(|(_, wanted)| {
        let fits = |name: &str| match *wanted {
            "*/*" | "*" | "application/*" => true,
            wanted => wanted.eq_ignore_ascii_case(name),
        };
        OFFERED
            .iter()
            .find(|(name, _)| fits(name))
            .map(|(_, encoding)| *encoding)
    })
}

/// How much a media type is wished for, and the media type.
fn wish(clause: &str) -> (f32, &str) {
    let mut parts = clause.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality = parts
        .find_map(|part| part.strip_prefix("q="))
        .and_then(|quality| quality.parse().ok())
        .filter(|quality: &f32| quality.is_finite());
    (quality.unwrap_or(1.0), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_gets_protobuf_and_people_get_json() {
        assert_eq!(choose(PROTOBUF_OF_OLD), Some(Encoding::Protobuf));
        assert_eq!(choose(PROTOBUF), Some(Encoding::Protobuf));
        for accept in ["", "*/*", "application/*", "text/html, application/json"] {
            assert_eq!(choose(accept), Some(Encoding::Json), "{accept}");
        }
        let prefers = format!("application/json;q=0.5, {PROTOBUF}");
        assert_eq!(choose(&prefers), Some(Encoding::Protobuf));
        assert_eq!(choose("text/html"), None);
        assert_eq!(choose("application/json;q=0"), None);
    }

    #[test]
    fn a_known_tag_is_found_in_a_list_and_behind_a_weakness() {
        let headers = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            HeaderMap::from_iter([(header::IF_NONE_MATCH, value)])
        };
        for known in ["\"a\"", "\"b\", \"a\"", "W/\"a\"", "*"] {
            assert!(is_known(&headers(known), "\"a\""), "{known}");
        }
        assert!(!is_known(&headers("\"ab\""), "\"a\""));
        assert!(!is_known(&HeaderMap::new(), "\"a\""));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]
        #[test]
        fn no_header_makes_it_panic(accept in ".{0,200}") {
            let _ = choose(&accept);
        }
    }
}
