//! `muster token`, in kubeadm's formats, on a real API.

use crate::harness::{TestServer, failure_id, muster, stdout_of};
use serde_json::Value;

#[test]
fn a_token_is_generated_without_a_cluster() {
    let token = stdout_of(muster(&["token", "generate"]));
    assert!(
        muster_identity::BootstrapToken::parse(&token).is_ok(),
        "{token}"
    );
}

#[test]
fn tokens_are_created_listed_and_deleted_as_with_kubeadm() {
    let server = TestServer::start();
    let kubeconfig = server.kubeconfig();
    let kubeconfig = kubeconfig.to_str().unwrap();
    let given = "abcdef.0123456789abcdef";
    assert_eq!(
        server.token(&[given, "--description", "for a test", "--ttl", "0"]),
        given
    );

    let list = stdout_of(muster(&["token", "list", "--kubeconfig", kubeconfig]));
    let mut lines = list.lines();
    let head: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(
        head,
        [
            "TOKEN",
            "TTL",
            "EXPIRES",
            "USAGES",
            "DESCRIPTION",
            "EXTRA",
            "GROUPS"
        ]
    );
    let row = lines.find(|line| line.starts_with(given)).unwrap();
    for part in [
        "<forever>",
        "<never>",
        "authentication,signing",
        "for a test",
        "default-node-token",
    ] {
        assert!(row.contains(part), "{row} lacks {part}");
    }

    let json = stdout_of(muster(&[
        "token",
        "list",
        "-o",
        "json",
        "--kubeconfig",
        kubeconfig,
    ]));
    let objects = serde_json::Deserializer::from_str(&json).into_iter::<Value>();
    let objects: Vec<Value> = objects.map(Result::unwrap).collect();
    let object = objects
        .iter()
        .find(|object| object["token"] == given)
        .unwrap();
    assert_eq!(object["kind"], "BootstrapToken");
    assert_eq!(object["apiVersion"], "output.kubeadm.k8s.io/v1alpha3");

    let again = muster(&[
        "token",
        "create",
        given,
        "-o",
        "json",
        "--kubeconfig",
        kubeconfig,
    ]);
    assert_eq!(failure_id(&again).as_deref(), Some("token-exists"));

    let deleted = stdout_of(muster(&[
        "token",
        "delete",
        "abcdef",
        "--kubeconfig",
        kubeconfig,
    ]));
    assert_eq!(deleted, "bootstrap token \"abcdef\" deleted");
    let missing = muster(&[
        "token",
        "delete",
        "abcdef",
        "-o",
        "json",
        "--kubeconfig",
        kubeconfig,
    ]);
    assert_eq!(failure_id(&missing).as_deref(), Some("not-found"));
}

#[test]
fn wrong_flags_are_refused_before_anything_is_created() {
    for (flags, id) in [
        (vec!["no-token"], "token-malformed"),
        (vec!["--ttl", "soon"], "usage"),
        (vec!["--ttl", "-1h"], "usage"),
        (vec!["--usages", "cooking"], "usage"),
        (vec!["--groups", "system:masters"], "usage"),
    ] {
        // The kubeconfig does not exist: the flags must be refused before it is looked at.
        let mut arguments = vec!["token", "create", "-o", "json", "--kubeconfig", "/nowhere"];
        arguments.extend(
            flags
                .iter()
                .map(|flag| if *flag == "-1h" { "=-1h" } else { *flag }),
        );
        let arguments: Vec<String> = join_values(&arguments);
        let output = muster(&arguments);
        assert_eq!(failure_id(&output).as_deref(), Some(id), "{flags:?}");
    }
}

/// `--ttl =-1h` becomes `--ttl=-1h`: a value that starts with a dash needs its flag's equals sign.
fn join_values(arguments: &[&str]) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for argument in arguments {
        match (argument.strip_prefix('='), joined.last_mut()) {
            (Some(value), Some(flag)) => *flag = format!("{flag}={value}"),
            _ => joined.push((*argument).to_owned()),
        }
    }
    joined
}
