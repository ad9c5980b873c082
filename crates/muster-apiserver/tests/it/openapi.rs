//! The OpenAPI v2 document as clients ask for it.

use http::Method;

use crate::harness::Cluster;

const PATH: &str = "/openapi/v2";
const OF_OLD: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

#[tokio::test]
async fn swagger_is_served_in_the_form_that_is_asked_for() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let json = admin.get(PATH).await;
    assert_eq!(json.headers["content-type"], "application/json");
    assert_eq!(json.headers["vary"], "Accept");
    let tag = json.headers["etag"].clone();
    let document = json.ok();
    assert_eq!(document["swagger"], "2.0");
    assert!(document["paths"]["/api/v1/nodes/{name}"]["patch"].is_object());
    assert!(document["definitions"]["io.k8s.api.core.v1.Node"].is_object());

    let accept = [("accept", OF_OLD)];
    let binary = admin.call(Method::GET, PATH, &accept, "").await;
    assert_eq!(
        binary.headers["content-type"],
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    );
    assert!(binary.bytes.starts_with(b"\x0a\x032.0"), "field 1: swagger");
    assert_ne!(binary.headers["etag"], tag);

    let picture = [("accept", "image/png")];
    let refused = admin.call(Method::GET, PATH, &picture, "").await;
    assert_eq!(refused.code, 406);
}

#[tokio::test]
async fn swagger_is_not_sent_to_whom_has_it() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let accept = ("accept", OF_OLD);
    let first = admin.call(Method::GET, PATH, &[accept], "").await;
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    let known = [accept, ("if-none-match", &*tag)];
    let again = admin.call(Method::GET, PATH, &known, "").await;
    assert_eq!((again.code.as_u16(), again.bytes.len()), (304, 0));
    assert_eq!(again.headers["etag"], *tag);
    let as_json = [("if-none-match", &*tag)];
    let other = admin.call(Method::GET, PATH, &as_json, "").await;
    assert_eq!(other.code, 200, "the tag of another form is no match");
}
