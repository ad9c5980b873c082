//! Many requests, several operators, and operators that die.

use super::rig::{
    TestOperator, apply, condition, management, refer, request, secret_name, tokens_in,
    wait_until_ready,
};
use crate::harness::{TestServer, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// The tokens of all requests, and those that stand in the cluster.
fn wait_until_all_are_served(server: &TestServer, wanted: usize) -> BTreeSet<String> {
    wait_for("a token for every request", || {
        let requests = server.get(&["jtr"]).unwrap();
        let requests = requests["items"].as_array().unwrap();
        let is_ready = |request: &&Value| {
            condition(&request["status"], "Ready").is_some_and(|(is, _)| is == "True")
        };
        let ready = requests.iter().filter(is_ready).count();
        let ids: BTreeSet<String> = requests
            .iter()
            .filter(is_ready)
            .map(|request| secret_name(&request["status"]))
            .collect();
        let standing = tokens_in(server);
        if ready == wanted && ids == standing {
            Ok(ids)
        } else {
            Err(format!(
                "{ready} of {wanted} are ready, {} stand",
                standing.len()
            ))
        }
    })
}

fn many(count: usize) -> String {
    let requests = (0..count).map(|number| request(&format!("t{number}"), json!({})));
    let items: Vec<Value> = requests
        .map(|request| serde_json::from_str(&request).unwrap())
        .collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

#[test]
fn operators_that_are_killed_leave_no_token_behind() {
    const REQUESTS: usize = 30;
    let server = management();
    refer(&server, &server);
    apply(&server, &many(REQUESTS));
    // Killed earlier and later: before the first write, between them, near the end.
    for after in [120, 160, 200, 260, 340] {
        let operator = TestOperator::start(&server);
        std::thread::sleep(Duration::from_millis(after));
        operator.kill();
    }
    let operator = TestOperator::start(&server);
    let ids = wait_until_all_are_served(&server, REQUESTS);
    assert_eq!(ids.len(), REQUESTS);
    operator.kill();

    server.kubectl_ok(&["delete", "jtr", "--all", "--wait=false"]);
    for after in [120, 160, 200, 260] {
        let operator = TestOperator::start(&server);
        std::thread::sleep(Duration::from_millis(after));
        operator.kill();
    }
    let _operator = TestOperator::start(&server);
    wait_for("all to be gone", || {
        let left = server.get(&["jtr"]).unwrap_or_default();
        let left = left["items"].as_array().map_or(0, Vec::len);
        let tokens = tokens_in(&server).len();
        if left + tokens == 0 {
            Ok(())
        } else {
            Err(format!("{left} requests, {tokens} tokens"))
        }
    });
}

#[test]
fn two_operators_without_a_lease_do_not_mint_twice() {
    let server = management();
    refer(&server, &server);
    let operators = [TestOperator::start(&server), TestOperator::start(&server)];
    apply(&server, &many(20));
    let ids = wait_until_all_are_served(&server, 20);
    for operator in &operators {
        operator.is_ready().unwrap();
    }
    // Nothing moves any more.
    server.kubectl_ok(&["label", "jtr", "--all", "touched=yes"]);
    assert_eq!(wait_until_all_are_served(&server, 20), ids);
}

#[test]
fn the_next_operator_takes_over_when_the_leader_stops() {
    let server = management();
    refer(&server, &server);
    let start =
        || TestOperator::start_with(&server, &server.kubeconfig(), &["--lease-duration=3s"]);
    let leads = |operator: &TestOperator| {
        let (_, metrics) = operator.get("/metrics");
        if metrics.contains("muster_operator_leader 1") {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    };
    let first = start();
    wait_for("a leader", || leads(&first));
    let second = start();
    apply(&server, &request("one", json!({})));
    wait_until_ready(&server, "one");
    assert!(leads(&second).is_err());
    second.is_ready().unwrap();
    assert!(first.stop());
    wait_for("the next leader", || leads(&second));
    apply(&server, &request("two", json!({})));
    wait_until_ready(&server, "two");
    // And after a death, when the Lease has run out.
    second.kill();
    let third = start();
    wait_for("the third leader", || leads(&third));
}
