//! Aggregated discovery: the whole of `/api` or `/apis` in one document, for clients that ask for it.
//!
//! Refuses to know: what is in the documents.

use aws_lc_rs::digest::{SHA512, digest};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use muster_machinery::discovery::{
    AGGREGATED_V2, AGGREGATED_V2BETA1, AggregatedVersion, Catalogue, GroupDiscoveryList,
};

use crate::wire::{Response, ResponseBody};

/// The aggregated document, if the first thing the client accepts is one.
pub(super) fn aggregated(
    documents: &Catalogue,
    root: &str,
    headers: &HeaderMap,
) -> Option<Response> {
    let accept = headers.get(header::ACCEPT)?.to_str().ok()?;
    let version = wanted(accept)?;
    let list = if root == "api" {
        documents.aggregated_core(version)
    } else {
        documents.aggregated_groups(version)
    };
    let content_type = match version {
        AggregatedVersion::V2 => AGGREGATED_V2,
        AggregatedVersion::V2Beta1 => AGGREGATED_V2BETA1,
    };
    Some(tagged(&list, content_type, headers))
}

/// An answer that a client need not fetch again while its tag holds.
fn tagged(list: &GroupDiscoveryList, content_type: &'static str, headers: &HeaderMap) -> Response {
    let body = serde_json::to_vec(list).unwrap_or_default();
    let hash: String = digest(&SHA512, &body)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    let tag = format!("\"{hash}\"");
    let unchanged = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known == tag.as_str());
    let mut response = if unchanged {
        let mut response = Response::new(ResponseBody::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(ResponseBody::full(body))
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn wanted(accept: &str) -> Option<AggregatedVersion> {
    for clause in accept.split(',').take(32) {
        let mut parts = clause.split(';').map(str::trim);
        if !matches!(
            parts.next(),
            Some("application/json" | "*/*" | "application/*")
        ) {
            continue;
        }
        let parameters: Vec<&str> = parts.collect();
        if !parameters.contains(&"as=APIGroupDiscoveryList") {
            return None;
        }
        if !parameters.contains(&"g=apidiscovery.k8s.io") {
            continue;
        }
        if parameters.contains(&"v=v2") {
            return Some(AggregatedVersion::V2);
        }
        if parameters.contains(&"v=v2beta1") {
            return Some(AggregatedVersion::V2Beta1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_the_newest_form_they_know() {
        let kubectl = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
            application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(wanted(kubectl), Some(AggregatedVersion::V2));
        let old = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        assert_eq!(wanted(old), Some(AggregatedVersion::V2Beta1));
        assert_eq!(wanted("application/json"), None);
        assert_eq!(wanted("*/*"), None);
    }
}
