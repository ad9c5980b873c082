//! Labels of requests: those of dashboards, and none of strangers'.

use http::Method;

use super::*;

fn labels(method: &Method, path: &str, query: Option<&str>) -> RequestLabels {
    RequestLabels::of(&RequestInfo::parse(method, path, query), query, true)
}

#[test]
fn strangers_can_invent_no_labels() {
    let strange = Method::from_bytes(b"BREW").unwrap();
    assert_eq!(labels(&strange, "/coffee", None).verb, "other");
    assert_eq!(labels(&Method::GET, "/coffee", None).subresource, "");
    assert_eq!(labels(&Method::GET, "/readyz", None).subresource, "/readyz");
    let query = Some("dryRun=All&dryRun=Some");
    assert_eq!(
        labels(&Method::POST, "/api/v1/nodes", query).dry_run,
        "invalid"
    );
    let info = RequestInfo::parse(&Method::GET, "/apis/x/v9/unicorns/1/horn", None);
    let unknown = RequestLabels::of(&info, None, false);
    assert_eq!(
        (unknown.group.as_str(), unknown.subresource.as_str()),
        ("", "")
    );
    assert_eq!(user_label("alice@example.com"), "email_id");
}

#[test]
fn verbs_and_scopes_are_those_of_dashboards() {
    for (method, path, query, verb, scope) in [
        (
            Method::GET,
            "/api/v1/namespaces/n/pods",
            None,
            "LIST",
            "namespace",
        ),
        (
            Method::GET,
            "/api/v1/pods",
            Some("watch=1"),
            "WATCH",
            "cluster",
        ),
        (
            Method::GET,
            "/api/v1/namespaces/n/pods/p",
            None,
            "GET",
            "resource",
        ),
        (
            Method::POST,
            "/api/v1/namespaces/n/pods",
            None,
            "POST",
            "resource",
        ),
        (
            Method::POST,
            "/api/v1/namespaces/n/pods/p/exec",
            None,
            "CONNECT",
            "resource",
        ),
        (
            Method::DELETE,
            "/api/v1/namespaces/n/pods",
            None,
            "DELETECOLLECTION",
            "namespace",
        ),
        (Method::GET, "/metrics", None, "GET", ""),
    ] {
        let labels = labels(&method, path, query);
        assert_eq!(
            (labels.verb, labels.scope),
            (verb, scope),
            "{method} {path}"
        );
    }
}
