//! What to tell clients of kinds that Kubernetes means to take away: the warnings of upstream's lifecycle tables.
//!
//! Refuses to know: how a warning reaches people. Of the versions that are served, only these have one in this release.

use crate::request::RequestInfo;

/// The warning for a request on a deprecated kind.
pub(super) fn warning(info: &RequestInfo) -> Option<String> {
    let asked = info.resource.as_ref()?;
    let (kind, since, instead) = match (&*asked.group, &*asked.version, &*asked.resource) {
        ("", "v1", "componentstatuses") => ("ComponentStatus", "1.19", None),
        ("", "v1", "endpoints") => (
            "Endpoints",
            "1.33",
            Some("discovery.k8s.io/v1 EndpointSlice"),
        ),
        _ => return None,
    };
    let mut text = format!("v1 {kind} is deprecated in v{since}+");
    if let Some(instead) = instead {
        text.push_str("; use ");
        text.push_str(instead);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn only_deprecated_kinds_are_warned_of() {
        let of = |path| warning(&RequestInfo::parse(&Method::GET, path, None));
        assert_eq!(
            of("/api/v1/namespaces/default/endpoints/kubernetes").as_deref(),
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        );
        assert_eq!(
            of("/api/v1/componentstatuses").as_deref(),
            Some("v1 ComponentStatus is deprecated in v1.19+")
        );
        assert_eq!(of("/api/v1/pods"), None);
        assert_eq!(of("/apis/discovery.k8s.io/v1/endpointslices"), None);
    }
}
