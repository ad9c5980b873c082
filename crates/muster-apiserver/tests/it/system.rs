//! Health, version, metrics, discovery, OpenAPI, token keys, and who may see them.

use muster_apiserver::UserInfo;
use serde_json::json;

use crate::harness::{CONFIG_MAPS, Cluster, config_map};

fn anonymous() -> UserInfo {
    UserInfo::new("system:anonymous", ["system:unauthenticated"])
}

#[tokio::test]
async fn health_and_version_are_open_to_everybody_and_metrics_are_not() {
    let cluster = Cluster::start().await;
    let nobody = cluster.user(anonymous());
    for path in ["/healthz", "/livez", "/readyz"] {
        let answer = nobody.get(path).await;
        assert_eq!(
            (answer.code.as_u16(), answer.text().as_str()),
            (200, "ok"),
            "{path}"
        );
    }
    let verbose = nobody.get("/readyz?verbose").await.text();
    assert!(verbose.contains("[+]etcd ok\n") && verbose.ends_with("readyz check passed\n"));
    let version = nobody.get("/version").await.ok();
    assert_eq!(
        (&version["major"], &version["minor"]),
        (&json!("1"), &json!("36"))
    );
    assert_eq!(cluster.admin().get("/readyz/ping").await.text(), "ok");
    assert_eq!(nobody.get("/metrics").await.code, 403);
    assert_eq!(nobody.get("/nothing").await.code, 403);
    assert_eq!(cluster.admin().get("/nothing").await.code, 404);
}

#[tokio::test]
async fn metrics_count_requests_and_objects() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    admin.get(CONFIG_MAPS).await.ok();
    let mut watch = admin
        .watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion=0"))
        .await;
    watch.tell().await;
    let answer = admin.get("/metrics").await;
    let media = answer.headers["content-type"].to_str().unwrap();
    assert!(media.starts_with("text/plain; version=0.0.4"), "{media}");
    let text = answer.text();
    for expected in [
        r#"apiserver_request_total{verb="POST",dry_run="",group="",version="v1",resource="configmaps",subresource="",scope="resource",component="apiserver",code="201"} 1"#,
        r#"apiserver_request_duration_seconds_count{verb="POST",dry_run="",group="",version="v1",resource="configmaps",subresource="",scope="resource",component="apiserver"} 1"#,
        r#"apiserver_request_sli_duration_seconds_bucket{verb="POST",group="",version="v1",resource="configmaps",subresource="",scope="resource",component="apiserver",le="60"} 1"#,
        r#"apiserver_response_sizes_count{verb="LIST",group="",version="v1",resource="configmaps",subresource="",scope="namespace",component="apiserver"} 1"#,
        r#"apiserver_longrunning_requests{verb="WATCH",group="",version="v1",resource="configmaps",subresource="",scope="namespace",component="apiserver"} 1"#,
        r#"apiserver_watch_events_total{group="",version="v1",resource="configmaps"} 1"#,
        r#"apiserver_admission_step_admission_duration_seconds_count{type="validate",operation="CREATE",rejected="false"}"#,
        r#"apiserver_current_inflight_requests{request_kind="readOnly"} "#,
        r#"apiserver_storage_objects{resource="namespaces"} 4"#,
        r#"authenticated_user_requests{username="admin"} "#,
        r#"kubernetes_build_info{major="1",minor="36","#,
        "# TYPE apiserver_request_total counter\n",
        "process_cpu_seconds_total ",
        "process_open_fds ",
        "process_start_time_seconds ",
        "process_resident_memory_bytes ",
    ] {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
}

#[tokio::test]
async fn discovery_comes_in_both_forms() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    assert_eq!(admin.get("/api").await.ok()["versions"], json!(["v1"]));
    let core = admin.get("/api/v1").await.ok();
    assert_eq!(core["kind"], "APIResourceList");
    assert_eq!(admin.get("/apis").await.ok()["kind"], "APIGroupList");
    assert_eq!(
        admin.get("/apis/apps").await.ok()["preferredVersion"]["version"],
        "v1"
    );
    assert_eq!(
        admin.get("/apis/apps/v1").await.ok()["groupVersion"],
        "apps/v1"
    );
    assert_eq!(admin.get("/apis/nothing").await.code, 404);
    let accept =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let aggregated = admin.get_as("/apis", accept).await;
    assert_eq!(
        aggregated.headers["content-type"],
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    assert_eq!(aggregated.json()["kind"], "APIGroupDiscoveryList");
    let tag = aggregated.headers["etag"].to_str().unwrap().to_owned();
    let again = admin
        .call(
            http::Method::GET,
            "/apis",
            &[("accept", accept), ("if-none-match", &tag)],
            "",
        )
        .await;
    assert_eq!(again.code, 304);
}

#[tokio::test]
async fn openapi_and_token_keys_are_published() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let index = admin.get("/openapi/v3").await.ok();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap()
        .to_owned();
    let document = admin.get(&url).await;
    assert_eq!(document.headers["cache-control"], "public, immutable");
    assert_eq!(document.ok()["openapi"], "3.0.0");
    let discovery = admin.get("/.well-known/openid-configuration").await.ok();
    assert!(
        discovery["jwks_uri"]
            .as_str()
            .unwrap()
            .ends_with("/openid/v1/jwks")
    );
    let keys = admin.get("/openid/v1/jwks").await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    assert_eq!(keys.json()["keys"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn answers_carry_the_headers_of_an_api_server() {
    let cluster = Cluster::start().await;
    let answer = cluster.admin().get("/api/v1/nodes").await;
    assert_eq!(answer.headers["cache-control"], "no-cache, private");
    assert_eq!(answer.headers["audit-id"].len(), 36);
}

#[tokio::test]
async fn cluster_info_is_there_for_strangers_and_nothing_else_is() {
    let cluster = Cluster::start().await;
    let nobody = cluster.user(anonymous());
    let path = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
    assert!(nobody.get(path).await.ok()["data"]["kubeconfig"].is_string());
    assert_eq!(
        nobody
            .get("/api/v1/namespaces/kube-public/configmaps")
            .await
            .code,
        403
    );
    assert_eq!(nobody.get("/api/v1/secrets").await.code, 403);
}
