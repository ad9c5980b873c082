//! `kill -9` of a join at every event that it tells, and of the server during many joins.

use crate::harness::{Running, TestServer, text_of, wait_for};

/// More events than a join has; the loop ends at the first join that is not killed any more.
const MOST_EVENTS: usize = 200;

#[test]
fn a_join_killed_at_any_event_ends_joined_or_clean() {
    let server = TestServer::start();
    let pin = server.pin();
    for (killed, after) in (1..MOST_EVENTS).enumerate() {
        let node = server.node();
        let mut first = node.start_join(&server, &pin, &server.token(&[]));
        let ended = (0..after).any(|_| first.line().is_none());
        if ended {
            assert!(killed > 5, "only {killed} joins were killed half-way");
            return;
        }
        first.kill();
        // The next run, with a fresh token, ends joined: it resumes, or undoes and begins again.
        let again = node.join(&server.address, &["--token", &server.token(&[])], &pin);
        assert!(
            again.status.success(),
            "killed after event {after}: {}",
            text_of(&again)
        );
        let object = server.get(&["node", &node.name]);
        assert!(
            object.is_some(),
            "killed after event {after}: no Node\n{}",
            text_of(&again)
        );
        let reset = node.reset(&server);
        assert!(
            reset.status.success(),
            "killed after event {after}: {}",
            text_of(&reset)
        );
        assert_eq!(
            node.processes(),
            Vec::<String>::new(),
            "killed after event {after}"
        );
    }
    panic!("a join told more than {MOST_EVENTS} events");
}

#[test]
fn a_join_killed_at_any_event_can_be_undone_instead() {
    let server = TestServer::start();
    let pin = server.pin();
    // A sample of the places; every place is covered by the simulated hosts.
    for after in [2, 5, 9, 14, 20] {
        let node = server.node();
        let mut join = node.start_join(&server, &pin, &server.token(&[]));
        let _ended = (0..after).any(|_| join.line().is_none());
        join.kill();
        let reset = node.reset(&server);
        assert!(
            reset.status.success(),
            "killed after event {after}: {}",
            text_of(&reset)
        );
        let left = node.paths();
        assert!(
            left.is_empty(),
            "killed after event {after}, reset left {left:?}"
        );
        assert_eq!(
            node.processes(),
            Vec::<String>::new(),
            "killed after event {after}"
        );
    }
}

#[test]
fn a_server_killed_during_many_joins_loses_nothing_that_it_acknowledged() {
    let mut server = TestServer::start();
    let kubeconfig = server.kubeconfig();
    let nodes = 200;
    let arguments: Vec<String> = [
        "bench",
        "-o",
        "json",
        "--nodes",
        &nodes.to_string(),
        "--concurrency",
        "8",
        "--kubeconfig",
    ]
    .iter()
    .map(|part| (*part).to_owned())
    .chain([kubeconfig.to_str().unwrap().to_owned()])
    .collect();
    let joins = Running::start(&arguments);
    let mut seen = 0;
    for target in [20, 80, 140] {
        let before = wait_for("some nodes", || {
            let count = server
                .kubectl_ok(&["get", "nodes", "-o", "name"])
                .lines()
                .count();
            if count >= target {
                Ok(count)
            } else {
                Err(format!("{count} nodes"))
            }
        });
        server.kill();
        server.resume();
        let after = server
            .kubectl_ok(&["get", "nodes", "-o", "name"])
            .lines()
            .count();
        assert!(
            after >= before,
            "{before} nodes were acknowledged, {after} are there"
        );
        seen = seen.max(after);
    }
    let (success, errors) = joins.end();
    assert!(success, "{errors}");
    let list = server.get(&["nodes"]).unwrap();
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), nodes);
    for node in items {
        let conditions = node["status"]["conditions"].as_array().unwrap();
        let ready = conditions
            .iter()
            .find(|one| one["type"] == "Ready")
            .unwrap();
        assert_eq!(ready["status"], "True", "{node}");
    }
    assert!(seen >= 140);
}
