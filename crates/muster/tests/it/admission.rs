//! What kubectl hears of admission: webhooks of the cluster's own, the Pod Security Standards; and what the audit log
//! keeps of it.

use crate::harness::{TestServer, muster, wait_for};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use muster_identity::pki::{IssueRequest, SubjectAltNames};
use muster_identity::{CertificateAuthority, PrivateKey};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;

/// A webhook that denies ConfigMaps named `bad` and labels all others.
struct Webhook {
    address: SocketAddr,
    authority: CertificateAuthority,
}

impl Webhook {
    fn start() -> Self {
        let entropy = &mut |bytes: &mut [u8]| aws_lc_rs::rand::fill(bytes).unwrap();
        let (now, day) = (Timestamp::now(), SignedDuration::from_hours(24));
        let authority =
            CertificateAuthority::new_self_signed("webhooks", now, day, entropy).unwrap();
        let key = PrivateKey::generate(entropy).unwrap();
        let names = SubjectAltNames {
            ip: vec!["127.0.0.1".parse().unwrap()],
            ..SubjectAltNames::default()
        };
        let request = IssueRequest::server("webhook", names, key.public_key().clone(), day);
        let certificate = authority.issue(&request, now, entropy).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.pkcs8_der().expose().clone());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(certificate.der().to_vec())],
                key.into(),
            )
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // It ends with the test's process; nothing waits for it.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(session, stream);
                let _ = answer(&mut stream);
            }
        });
        Self { address, authority }
    }

    fn configuration(&self) -> Value {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "labels"},
            "webhooks": [{
                "name": "labels.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": {
                    "url": format!("https://{}/label", self.address),
                    "caBundle": STANDARD.encode(self.authority.certificate().to_pem()),
                },
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
                "rules": [{
                    "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
                    "resources": ["configmaps"],
                }],
            }],
        })
    }
}

/// Answers one request and hangs up.
fn answer(stream: &mut (impl Read + Write)) -> std::io::Result<()> {
    let mut reader = BufReader::new(&mut *stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let review: Value = serde_json::from_slice(&body)?;
    let request = &review["request"];
    let mut response = if request["name"] == "bad" {
        json!({"allowed": false, "status": {"message": "bad is bad"}})
    } else {
        let patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}]);
        let patch = STANDARD.encode(patch.to_string());
        json!({"allowed": true, "patchType": "JSONPatch", "patch": patch, "warnings": ["it was seen"]})
    };
    response["uid"] = request["uid"].clone();
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
    });
    let body = review.to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()
}

fn apply(server: &TestServer, name: &str, object: &Value) {
    let file = server.folder.path().join(name);
    fs::write(&file, object.to_string()).unwrap();
    server.kubectl_ok(&["apply", "-f", file.to_str().unwrap()]);
}

#[test]
fn kubectl_hears_what_webhooks_and_standards_say_and_the_audit_log_keeps_it() {
    let files = tempfile::tempdir().unwrap();
    let (policy, log) = (
        files.path().join("policy.yaml"),
        files.path().join("audit.log"),
    );
    fs::write(
        &policy,
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Request\n  users: [kubernetes-admin]\n",
    )
    .unwrap();
    let flags = [
        "--audit-policy-file",
        policy.to_str().unwrap(),
        "--audit-log-path",
        log.to_str().unwrap(),
    ];
    let mut server = TestServer::start_with(&flags);
    let webhook = Webhook::start();
    apply(&server, "webhook.json", &webhook.configuration());

    let refused = server.kubectl(&["create", "configmap", "bad"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains("admission webhook \"labels.example.com\" denied the request: bad is bad"),
        "{told}"
    );
    let made = server.kubectl(&["create", "configmap", "good"]);
    let told = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(
        made.status.success() && told.contains("Warning: it was seen"),
        "{told}"
    );
    let good = server.get(&["configmap", "good"]).unwrap();
    assert_eq!(good["metadata"]["labels"]["seen"], "yes");
    server.kubectl_ok(&["create", "namespace", "strict"]);
    server.kubectl_ok(&["create", "configmap", "bad", "-n", "strict"]);

    let level = "pod-security.kubernetes.io/enforce=restricted";
    server.kubectl_ok(&["label", "namespace", "strict", level]);
    let made = server.kubectl(&["create", "deployment", "d", "--image=i", "-n", "strict"]);
    let told = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(
        made.status.success()
            && told.contains("Warning: would violate PodSecurity \"restricted:latest\""),
        "{told}"
    );
    let refused = server.kubectl(&["run", "p", "--image=i", "-n", "strict"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains(
            "violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false"
        ),
        "{told}"
    );

    let pid = server.pid().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    server.wait();
    let text = fs::read_to_string(&log).unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |verb: &str, name: &str| {
        events.iter().find(|event| {
            event["verb"] == verb
                && event["stage"] == "ResponseComplete"
                && event["objectRef"]["name"] == name
                && event["objectRef"]["namespace"] == "default"
        })
    };
    assert_eq!(of("create", "bad").unwrap()["responseStatus"]["code"], 400);
    let good = of("create", "good").unwrap();
    assert_eq!(good["requestObject"]["kind"], "ConfigMap");
    let remark = &good["annotations"]["mutation.webhook.admission.k8s.io/round_0_index_0"];
    assert!(
        remark.as_str().unwrap().contains("\"mutated\":true"),
        "{good}"
    );
    assert!(
        events
            .iter()
            .all(|event| event["user"]["username"] == "kubernetes-admin")
    );
}

#[test]
fn a_policy_that_cannot_be_meant_is_named_before_anything_starts() {
    let files = tempfile::tempdir().unwrap();
    let policy = files.path().join("policy.yaml");
    fs::write(
        &policy,
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Everything\n",
    )
    .unwrap();
    let data = files.path().join("data");
    let output = muster(&[
        "server",
        "--data-dir",
        data.to_str().unwrap(),
        "--audit-policy-file",
        policy.to_str().unwrap(),
        "--audit-log-path",
        "-",
    ]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("audit-policy") && told.contains("rules[0].level"),
        "{told}"
    );
    assert!(!data.exists());
}

#[test]
fn a_quota_is_counted_used_up_and_given_back() {
    let server = TestServer::start();
    server.kubectl_ok(&["create", "namespace", "small"]);
    let hard = "--hard=configmaps=2,secrets=5";
    server.kubectl_ok(&["create", "quota", "q", hard, "-n", "small"]);
    // The namespace's own root certificates are one of the two.
    let counted = |expected: &str| {
        wait_for("the quota is counted", || {
            let quota = server.get(&["quota", "q", "-n", "small"]).unwrap();
            let used = quota["status"]["used"]["configmaps"].to_string();
            if used == format!("\"{expected}\"") {
                Ok(())
            } else {
                Err(used)
            }
        });
    };
    counted("1");
    server.kubectl_ok(&["create", "configmap", "a", "-n", "small"]);
    let refused = server.kubectl(&["create", "configmap", "b", "-n", "small"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains(
            "exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2"
        ),
        "{told}"
    );
    server.kubectl_ok(&["delete", "configmap", "a", "-n", "small"]);
    counted("1");
    server.kubectl_ok(&["create", "configmap", "b", "-n", "small"]);
}
