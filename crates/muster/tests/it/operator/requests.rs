//! What becomes of one request: its Secret, its end, and everything that may be done to either.

use super::rig::{
    TestOperator, account, apply, apply_output, condition, management, refer, request, secret_name,
    status, token_of, tokens_in, wait_for_condition, wait_until_ready, whoami,
};
use crate::harness::{MUSTER, TestServer, muster, stdout_of, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

#[test]
fn a_request_becomes_a_token_that_lets_in_until_the_request_is_deleted() {
    let server = TestServer::start();
    apply(&server, &stdout_of(muster(&["operator", "manifests"])));
    refer(&server, &server);
    // The rights in the manifests have to be enough.
    let account = account(&server);
    let flags = ["--namespace", "muster-system"];
    let operator = TestOperator::start_with(&server, &account, &flags);
    apply(&server, &request("my-token", json!({})));
    let status = wait_until_ready(&server, "my-token");
    assert_eq!(status["reconciliationStatus"], "Reconciliation successful");
    assert!(condition(&status, "JoinTokenSecretCreated").unwrap().0 == "True");

    let secret = server.get(&["secret", "my-token"]).unwrap();
    assert_eq!(secret["type"], "Opaque");
    assert_eq!(
        secret["metadata"]["labels"],
        json!({
            "k0smotron.io/cluster": "my-cluster.default", "k0smotron.io/role": "worker",
            "k0smotron.io/token-request": "my-token", "app.kubernetes.io/component": "jointoken",
        })
    );
    assert_eq!(
        secret["metadata"]["ownerReferences"][0]["kind"],
        "JoinTokenRequest"
    );
    let token = token_of(&server, "my-token");
    let me = String::from_utf8(whoami(&server, &token).stdout).unwrap();
    let user = format!("system:bootstrap:{}", status["tokenID"].as_str().unwrap());
    assert!(me.contains(&user), "{me}");

    // A worker joins with nothing but the token.
    let (node, file) = (server.node(), server.folder.path().join("token"));
    fs::write(&file, &token).unwrap();
    let joined = Command::new(MUSTER)
        .args([
            "join",
            "--runtime",
            "hollow",
            "--kubelet",
            "builtin",
            "--wait",
            "ready",
        ])
        .args(["--node-name", &node.name, "--root"])
        .arg(&node.root)
        .arg("--token-file")
        .arg(&file)
        .output()
        .unwrap();
    assert!(joined.status.success(), "{joined:?}");

    let rows = server.kubectl_ok(&["get", "jtr"]);
    let head: Vec<&str> = rows.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["NAME", "ROLE", "CLUSTER", "EXPIRY", "READY", "AGE"]);
    let row: Vec<&str> = rows.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..5], ["my-token", "worker", "my-cluster", "0s", "True"]);
    let events = server.kubectl_ok(&["get", "events"]);
    assert!(events.contains("TokenCreated"), "{events}");

    server.kubectl_ok(&["delete", "jointokenrequest", "my-token"]);
    assert!(tokens_in(&server).is_empty(), "gone before the request is");
    let refused = whoami(&server, &token);
    assert!(!refused.status.success(), "{refused:?}");
    wait_for("the Secret to go with its request", || {
        server
            .get(&["secret", "my-token"])
            .map_or(Ok(()), |_| Err("there".to_owned()))
    });

    let log = fs::read_to_string(&operator.log).unwrap();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(
            event["level"] != "WARN" && event["level"] != "ERROR",
            "{line}"
        );
    }
    let decoded = muster_identity::K0sToken::decode(token.as_bytes()).unwrap();
    assert!(!log.contains(decoded.token().secret().expose()));
    assert!(operator.stop());
    let lease = server
        .get(&["lease", "-n", "muster-system", "muster-operator"])
        .unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "", "let go of");
}

#[test]
fn a_log_that_goes_to_a_file_has_no_colours() {
    let server = management();
    let flags = ["--no-leader-election", "--log-format", "text"];
    let operator = TestOperator::start_with(&server, &server.kubeconfig(), &flags);
    apply(&server, &request("my-token", json!({})));
    wait_for_condition(&server, "my-token", "Ready", ("False", "ClusterNotFound"));
    let log = fs::read_to_string(&operator.log).unwrap();
    assert!(log.contains("INFO") && !log.contains('\u{1b}'), "{log}");
}

#[test]
fn what_cannot_be_meant_is_refused_at_the_door() {
    let server = management();
    for expiry in ["-1h", "1d", "forever", "1h; reboot"] {
        let output = apply_output(&server, &request("bad", json!({"expiry": expiry})));
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && errors.contains("expiry"),
            "{expiry}: {errors}"
        );
    }
    for expiry in ["0s", "1.5h", "2h45m"] {
        apply(&server, &request("good", json!({"expiry": expiry})));
    }
    let both = apply_output(&server, &request("both", json!({"clusterName": "c"})));
    assert!(!both.status.success());
    // What is written in one version is there in the other.
    let get = [
        "get",
        "--raw",
        "/apis/k0smotron.io/v1beta2/namespaces/default/jointokenrequests/good",
    ];
    let object: Value = serde_json::from_str(&server.kubectl_ok(&get)).unwrap();
    assert_eq!(object["spec"]["clusterRef"]["name"], "my-cluster");
}

#[test]
fn a_secret_that_is_edited_or_deleted_is_restored_and_a_removed_token_replaced() {
    let server = management();
    refer(&server, &server);
    let _operator = TestOperator::start(&server);
    apply(&server, &request("my-token", json!({})));
    let first = wait_until_ready(&server, "my-token");
    let token = token_of(&server, "my-token");
    let is_whole = |wanted: &str| {
        wait_for("the Secret as it was", || {
            let secret = server.get(&["secret", "my-token"]);
            let Some(secret) = secret else {
                return Err("there is none".to_owned());
            };
            let role = &secret["metadata"]["labels"]["k0smotron.io/role"];
            let data = secret["data"]["token"].as_str().unwrap_or_default();
            if *role == "worker" && data == wanted {
                Ok(())
            } else {
                Err(secret.to_string())
            }
        });
    };
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.encode(&token);
    for edit in [
        r#"{"data":{"token":"bm9uc2Vuc2U="}}"#,
        r#"{"data":{"token":null}}"#,
    ] {
        server.kubectl_ok(&["patch", "secret", "my-token", "-p", edit]);
        is_whole(&data);
    }
    server.kubectl_ok(&["label", "secret", "my-token", "k0smotron.io/role-"]);
    is_whole(&data);
    server.kubectl_ok(&["delete", "secret", "my-token"]);
    is_whole(&data);
    assert_eq!(tokens_in(&server).len(), 1, "the same token all the time");

    server.kubectl_ok(&[
        "delete",
        "secret",
        "-n",
        "kube-system",
        &secret_name(&first),
    ]);
    wait_for("a fresh token", || {
        let status = status(&server, "my-token");
        let is_fresh = status["tokenID"].is_string() && status["tokenID"] != first["tokenID"];
        let is_ready = condition(&status, "Ready").is_some_and(|(is, _)| is == "True");
        if is_fresh && is_ready {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    assert_ne!(token_of(&server, "my-token"), token);
}

#[test]
fn a_secret_of_somebody_else_is_not_overwritten() {
    let server = management();
    refer(&server, &server);
    server.kubectl_ok(&[
        "create",
        "secret",
        "generic",
        "my-token",
        "--from-literal=token=precious",
    ]);
    let _operator = TestOperator::start(&server);
    apply(&server, &request("my-token", json!({})));
    wait_for_condition(
        &server,
        "my-token",
        "JoinTokenSecretCreated",
        ("False", "SecretExists"),
    );
    assert_eq!(token_of(&server, "my-token"), "precious");
    assert!(tokens_in(&server).is_empty(), "no token for nobody");
    server.kubectl_ok(&["delete", "secret", "my-token"]);
    wait_until_ready(&server, "my-token");
    assert_eq!(tokens_in(&server).len(), 1);
}

#[test]
fn an_expired_token_is_said_to_be_and_renewed_where_that_is_asked_for() {
    let server = management();
    refer(&server, &server);
    let _operator = TestOperator::start(&server);
    apply(&server, &request("short", json!({"expiry": "1s"})));
    wait_for_condition(&server, "short", "Expired", ("True", "Expired"));
    let expired = wait_for_condition(&server, "short", "Ready", ("False", "Expired"));
    wait_for(
        "the expired token to leave the cluster",
        || match tokens_in(&server) {
            tokens if tokens.is_empty() => Ok(()),
            tokens => Err(format!("{tokens:?}")),
        },
    );
    server.kubectl_ok(&["annotate", "jtr", "short", "renew=true"]);
    wait_for("a fresh token", || {
        let status = status(&server, "short");
        if status["tokenID"] == expired["tokenID"] {
            Err(status.to_string())
        } else {
            Ok(())
        }
    });
}

#[test]
fn an_edited_expiry_makes_a_new_token_and_ends_the_old_one() {
    let server = management();
    refer(&server, &server);
    let _operator = TestOperator::start(&server);
    apply(&server, &request("my-token", json!({})));
    let first = wait_until_ready(&server, "my-token");
    assert!(first["expirationTime"].is_null());
    let old = token_of(&server, "my-token");
    apply(&server, &request("my-token", json!({"expiry": "1h"})));
    let second = wait_for("the new token alone", || {
        let status = status(&server, "my-token");
        let is_alone = tokens_in(&server) == BTreeSet::from([secret_name(&status)]);
        if status["tokenID"] != first["tokenID"] && is_alone {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    });
    assert!(second["expirationTime"].is_string());
    let name = secret_name(&second);
    let stored = server.get(&["secret", "-n", "kube-system", &name]).unwrap();
    assert!(stored["data"]["expiration"].is_string());
    assert!(!whoami(&server, &old).status.success());
}

#[test]
fn a_token_is_handed_out_as_the_annotation_says() {
    let server = management();
    refer(&server, &server);
    let _operator = TestOperator::start(&server);
    apply(&server, &request("line", json!({})));
    wait_until_ready(&server, "line");
    for (format, begin) in [("kubeadm", "kubeadm join "), ("muster", "muster join ")] {
        let annotation = format!("muster.dev/token-format={format}");
        server.kubectl_ok(&["annotate", "--overwrite", "jtr", "line", &annotation]);
        let line = wait_for("the join line", || {
            let line = token_of(&server, "line");
            if line.starts_with(begin) {
                Ok(line)
            } else {
                Err(line)
            }
        });
        assert!(
            line.contains(&server.pin()) && line.contains(&server.address),
            "{line}"
        );
    }
    wait_for("the former tokens to go", || match tokens_in(&server) {
        tokens if tokens.len() == 1 => Ok(()),
        tokens => Err(format!("{tokens:?}")),
    });
    server.kubectl_ok(&[
        "patch",
        "jtr",
        "line",
        "--type=merge",
        "-p",
        r#"{"spec":{"role":"controller"}}"#,
    ]);
    wait_for_condition(&server, "line", "Ready", ("False", "FormatInvalid"));
}

#[test]
fn without_a_place_for_the_record_no_token_is_made() {
    let server = TestServer::start();
    let manifests = stdout_of(muster(&[
        "operator",
        "manifests",
        "--crd-only",
        "-o",
        "json",
    ]));
    let mut list: Value = serde_json::from_str(&manifests).unwrap();
    for version in list["items"][0]["spec"]["versions"].as_array_mut().unwrap() {
        let status = &mut version["schema"]["openAPIV3Schema"]["properties"]["status"];
        status["properties"]
            .as_object_mut()
            .unwrap()
            .remove("tokens");
    }
    apply(&server, &list.to_string());
    refer(&server, &server);
    let operator = TestOperator::start(&server);
    apply(&server, &request("my-token", json!({})));
    wait_for("the log to say what to do", || {
        let log = fs::read_to_string(&operator.log).unwrap();
        if log.contains("does not keep the record") {
            Ok(())
        } else {
            Err(log)
        }
    });
    assert!(tokens_in(&server).is_empty());
    server.kubectl_ok(&["delete", "jtr", "my-token", "--timeout=30s"]);
}
