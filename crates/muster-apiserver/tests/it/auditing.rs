//! The audit log: which requests stand in it, with what, and in which stages.

use std::{path::Path, sync::Arc, time::Duration};

use muster_apiserver::{
    ApiServer, Config, UserInfo,
    audit::{AuditConfig, AuditLog, AuditPolicy},
};
use muster_storage::MemoryStore;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    dial::{connect, get_http1},
    harness::{CONFIG_MAPS, Cluster, config_map},
};

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: None
  users: ["system:apiserver"]
- level: None
  nonResourceURLs: ["/readyz*"]
- level: Metadata
  resources:
  - group: ""
    resources: ["secrets"]
- level: RequestResponse
  omitManagedFields: true
  resources:
  - group: ""
    resources: ["configmaps", "pods"]
- level: Metadata
"#;

/// A server that keeps an audit log.
async fn audited() -> (Cluster, TempDir) {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(MemoryStore::new());
    let address = "127.0.0.1:0".parse().unwrap();
    let mut config = Config::new(folder.path(), address, Arc::clone(&store) as _);
    config.audit = Some(AuditConfig {
        policy: AuditPolicy::parse(POLICY).unwrap(),
        log: AuditLog {
            path: log_path(&folder),
            max_size: 0,
            max_backups: 0,
            max_age: 0,
        },
    });
    let server = ApiServer::start(config).await.unwrap();
    (Cluster::over(server, store), folder)
}

fn log_path(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("audit.log")
}

fn events(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The events of one request, when the last of these stages is there.
async fn trail(folder: &TempDir, id: &str, last: &str) -> Vec<Value> {
    for _ in 0..400 {
        let mut found = events(&log_path(folder));
        found.retain(|event| event["auditID"] == id);
        if found.last().is_some_and(|event| event["stage"] == last) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("no event of {id} in stage {last}");
}

#[tokio::test]
async fn a_write_is_told_of_with_what_was_sent_and_answered() {
    let (cluster, folder) = audited().await;
    let headers = [
        ("content-type", "application/json"),
        ("audit-id", "mine"),
        ("user-agent", "kubectl/v1"),
        ("x-forwarded-for", "192.0.2.1"),
    ];
    let body = config_map("c").to_string();
    let path = format!("{CONFIG_MAPS}?fieldManager=me");
    let made = cluster
        .admin()
        .call(http::Method::POST, &path, &headers, body)
        .await;
    assert_eq!(made.headers["audit-id"], "mine");
    let told = trail(&folder, "mine", "ResponseComplete").await;
    let stages: Vec<_> = told
        .iter()
        .map(|event| event["stage"].as_str().unwrap())
        .collect();
    assert_eq!(stages, ["RequestReceived", "ResponseComplete"]);
    assert_eq!(told[0].get("responseStatus"), None);
    let event = &told[1];
    assert_eq!(
        (&event["kind"], &event["apiVersion"]),
        (&json!("Event"), &json!("audit.k8s.io/v1"))
    );
    assert_eq!(event["level"], "RequestResponse");
    assert_eq!(
        (&event["requestURI"], &event["verb"]),
        (&json!(path), &json!("create"))
    );
    assert_eq!(event["user"]["username"], "admin");
    assert_eq!(event["userAgent"], "kubectl/v1");
    assert_eq!(event["sourceIPs"], json!(["192.0.2.1"]));
    assert_eq!(
        event["objectRef"],
        json!({"resource": "configmaps", "namespace": "default", "name": "c", "apiVersion": "v1"})
    );
    assert_eq!(
        event["responseStatus"],
        json!({"metadata": {}, "code": 201})
    );
    assert_eq!(event["requestObject"]["data"], json!({"a": "1"}));
    assert!(event["responseObject"]["metadata"]["uid"].is_string());
    assert_eq!(
        event["responseObject"]["metadata"].get("managedFields"),
        None
    );
    assert_eq!(
        event["annotations"],
        json!({"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""})
    );
    let time = event["requestReceivedTimestamp"].as_str().unwrap();
    assert_eq!(time.len(), "2026-01-01T00:00:00.000000Z".len());
}

#[tokio::test]
async fn a_secret_stands_in_the_log_by_name_only() {
    let (cluster, folder) = audited().await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"password": "hunter2-in-clear"}});
    let made = cluster
        .admin()
        .post("/api/v1/namespaces/default/secrets", &secret)
        .await;
    let id = made.headers["audit-id"].to_str().unwrap().to_owned();
    let told = trail(&folder, &id, "ResponseComplete").await;
    assert_eq!(told[1]["objectRef"]["name"], "s");
    let text = std::fs::read_to_string(log_path(&folder)).unwrap();
    assert!(
        !text.contains("hunter2") && !text.contains("aHVudGVyMi"),
        "{text}"
    );
}

#[tokio::test]
async fn refusals_are_told_with_their_reason() {
    let (cluster, folder) = audited().await;
    let nobody = cluster.user(UserInfo::new("nobody", ["system:authenticated"]));
    let refused = nobody.get(CONFIG_MAPS).await;
    let id = refused.headers["audit-id"].to_str().unwrap().to_owned();
    let told = trail(&folder, &id, "ResponseComplete").await;
    let event = told.last().unwrap();
    assert_eq!(
        event["annotations"]["authorization.k8s.io/decision"],
        "forbid"
    );
    assert_eq!(event["responseStatus"]["code"], 403);
    assert_eq!(event["responseStatus"]["reason"], "Forbidden");
    assert_eq!(event["responseObject"]["kind"], "Status");
}

#[tokio::test]
async fn a_watch_is_told_of_when_it_begins_and_when_it_ends() {
    let (cluster, folder) = audited().await;
    let request = http::Request::get(format!("{CONFIG_MAPS}?watch=1"))
        .header("audit-id", "watching")
        .body(http_body_util::Full::default())
        .unwrap();
    let answer = cluster.admin().send(request).await;
    let told = trail(&folder, "watching", "ResponseStarted").await;
    assert_eq!(told.len(), 2);
    assert_eq!(told[1].get("responseObject"), None);
    drop(answer);
    let told = trail(&folder, "watching", "ResponseComplete").await;
    assert_eq!((told.len(), &told[2]["verb"]), (3, &json!("watch")));
}

#[tokio::test]
async fn who_acts_as_somebody_else_is_named_beside_them() {
    let (cluster, folder) = audited().await;
    let headers = [("impersonate-user", "alice"), ("audit-id", "acting")];
    let path = format!("{CONFIG_MAPS}/c");
    cluster
        .admin()
        .call(http::Method::GET, &path, &headers, "")
        .await;
    let told = trail(&folder, "acting", "ResponseComplete").await;
    let event = told.last().unwrap();
    assert_eq!(event["user"]["username"], "admin");
    assert_eq!(event["impersonatedUser"]["username"], "alice");
}

#[tokio::test]
async fn a_credential_that_nobody_believes_leaves_a_trace_without_itself() {
    let (cluster, folder) = audited().await;
    let wire = connect(&cluster.server, false, b"http/1.1").await;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(wire))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("/api/v1/nodes")
        .header("host", "x")
        .header("audit-id", "stranger")
        .header("authorization", "Bearer abcdef.0123456789abcdef")
        .body(http_body_util::Full::<bytes::Bytes>::default())
        .unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 401);
    let told = trail(&folder, "stranger", "ResponseStarted").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["user"], json!({}));
    assert_eq!(told[0]["sourceIPs"], json!(["127.0.0.1"]));
    assert_eq!(
        told[0]["responseStatus"],
        json!({"metadata": {}, "code": 401, "message": "Authentication failed, attempted: bearer"})
    );
    let text = std::fs::read_to_string(log_path(&folder)).unwrap();
    assert!(!text.contains("0123456789abcdef"));
}

#[tokio::test]
async fn what_the_policy_leaves_out_is_left_out_and_the_end_loses_nothing() {
    let (cluster, folder) = audited().await;
    let admin = connect(&cluster.server, true, b"http/1.1").await;
    assert_eq!(get_http1(admin, "/readyz").await.status(), 200);
    let before = cluster.admin();
    for n in 0..50 {
        before.get(&format!("/api/v1/nodes/n{n}")).await;
    }
    let text = before.get("/metrics").await.text();
    assert!(
        text.contains(r#"apiserver_audit_level_total{level="Metadata"} "#),
        "{text}"
    );
    assert!(
        text.contains("apiserver_audit_requests_rejected_total 0"),
        "{text}"
    );
    cluster.server.shutdown().await;
    let told = events(&log_path(&folder));
    let of = |uri: &str| {
        told.iter()
            .filter(|event| event["requestURI"] == uri)
            .count()
    };
    assert_eq!((of("/readyz"), of("/api/v1/nodes/n49")), (0, 2));
    let mode = {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(log_path(&folder))
            .unwrap()
            .permissions()
            .mode()
    };
    assert_eq!(mode & 0o777, 0o600);
}
