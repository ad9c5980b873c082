//! What a run comes to: the seed of its behaviour, and what goes wrong.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use muster_identity::BootstrapToken;
use muster_rollout::{Ending, EventKind, Resume, Stuck};

use super::super::driver::Stop;
use super::super::scripted::{Scripted, breaks, says};
use super::super::{GivenCredential, RolloutError};
use super::world::World;
use crate::rollout::access::Api as _;

const JOIN: &str = "join --config";
const RESET: &str = "reset --force";
const PRINTED: &str = "kubeadm join 192.168.60.10:6443 --token new123.fresh4567890abcd --discovery-token-ca-cert-hash sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \n";

fn given(age: SignedDuration) -> GivenCredential {
    GivenCredential {
        token: BootstrapToken::parse("abc123.def4567890123456").unwrap(),
        created: Timestamp::now().checked_sub(age).unwrap(),
        expires: None,
    }
}

fn minting() -> Scripted {
    let machine = Scripted::new("acme-cp-1");
    machine.on("token create", says(0, PRINTED));
    machine.on("token delete", says(0, "bootstrap token deleted\n"));
    machine
}

#[tokio::test]
async fn a_fresh_token_is_used_and_none_is_made() {
    let mut world = World::new(1, "");
    world.given = Some(given(SignedDuration::from_hours(2)));
    let outcome = world.join().await.unwrap();
    assert_eq!(outcome.verdict.ending, Ending::Joined);
    let mints = world
        .api
        .calls()
        .iter()
        .filter(|call| call.starts_with("POST") && call.contains("secrets"))
        .count();
    assert_eq!(mints, 0);
    let calls = world.host("w1").calls();
    assert!(
        calls
            .iter()
            .any(|call| call.stdin.contains("abc123.def4567890123456"))
    );
}

#[tokio::test]
async fn a_stale_token_is_replaced_and_the_address_comes_from_the_printed_command() {
    let mut world = World::new(1, "");
    let cp = minting();
    world.mint_on = Some(cp.clone());
    let outcome = world.join().await.unwrap();
    assert_eq!(
        outcome.verdict.ending,
        Ending::Joined,
        "{:?}",
        outcome.verdict
    );
    assert_eq!(cp.count("token create"), 1);
    let calls = world.host("w1").calls();
    let join = calls.iter().find(|call| call.line.contains(JOIN)).unwrap();
    let configuration: serde_json::Value = serde_json::from_str(&join.stdin).unwrap();
    let discovery = &configuration["discovery"]["bootstrapToken"];
    assert_eq!(discovery["token"], "new123.fresh4567890abcd");
    assert_eq!(discovery["apiServerEndpoint"], "192.168.60.10:6443");
    assert_eq!(configuration["nodeRegistration"]["name"], "w1");
    assert!(join.as_root);
    assert_eq!(
        cp.calls().last().unwrap().line.split(' ').next_back(),
        Some("new123"),
        "it is revoked"
    );
}

#[tokio::test]
async fn a_given_token_that_is_too_old_is_not_used() {
    let mut world = World::new(1, "");
    world.given = Some(given(SignedDuration::from_hours(23)));
    world.join().await.unwrap();
    let calls = world.host("w1").calls();
    assert!(!calls.iter().any(|call| call.stdin.contains("abc123.")));
    assert!(
        world.tokens().is_empty(),
        "and what was made instead is gone"
    );
}

#[tokio::test]
async fn one_failure_takes_every_attempted_worker_back_and_a_retry_works_at_once() {
    let world = World::new(3, "");
    world.host("w1").on(JOIN, says(1, "!error: x"));
    let outcome = world.join().await.unwrap();
    assert_eq!(outcome.verdict.ending, Ending::Undone);
    assert_eq!(world.count(JOIN), 3, "one failure does not stop the others");
    assert_eq!(world.count(RESET), 3, "those that succeeded too");
    assert_eq!(world.nodes(), [""; 0], "their Nodes too");
    assert_eq!(world.tokens(), [""; 0]);
    assert_eq!(world.leases(), [""; 0]);
    let reason = outcome.verdict.reason.unwrap();
    assert!(reason.message.contains("1/3"), "{reason:?}");

    let api = world.api.clone();
    world
        .host("w1")
        .on(JOIN, says(0, "").then(move || api.node("w1", true)));
    let outcome = world.join().await.unwrap();
    assert_eq!(outcome.verdict.ending, Ending::Joined);
    assert_eq!(world.nodes().len(), 3);
    assert_eq!(world.tokens(), [""; 0]);
    assert_eq!(world.leases(), [""; 0]);
}

#[tokio::test]
async fn without_a_token_no_worker_is_touched() {
    let mut world = World::new(2, "");
    let cp = minting();
    cp.on(
        "token create",
        says(1, "!open /etc/kubernetes/admin.conf: permission denied"),
    );
    world.mint_on = Some(cp);
    let outcome = world.join().await.unwrap();
    assert_eq!(outcome.verdict.counts.untouched, 2);
    assert_eq!(world.count(JOIN) + world.count(RESET), 0);
    assert_eq!(outcome.verdict.reason.unwrap().id, "fleet-token-not-minted");
}

#[tokio::test]
async fn every_started_host_has_exactly_one_end_and_the_stream_is_numbered() {
    let world = World::new(6, "policy: {onFailure: keepSuccesses}\n");
    world.host("w4").on(JOIN, says(1, "!error: x"));
    let outcome = world.join().await.unwrap();
    assert_eq!(outcome.verdict.ending, Ending::Kept);
    assert_eq!(world.nodes().len(), 5);
    let seen = world.seen.lock();
    for (number, event) in seen.iter().enumerate() {
        assert_eq!(event.sequence, number as u64);
    }
    for name in ["w1", "w2", "w3", "w4", "w5", "w6"] {
        let of = |wanted: &str| {
            let is = |event: &&muster_rollout::Event| {
                let value = serde_json::to_value(event).unwrap();
                value["name"] == name && value["type"] == wanted
            };
            seen.iter().filter(is).count()
        };
        assert_eq!(of("ClusterNodeJoinStarted"), 1);
        assert_eq!(
            of("ClusterNodeJoinCompleted") + of("ClusterNodeJoinFailed"),
            1
        );
    }
    assert!(matches!(
        seen.last().unwrap().kind,
        EventKind::RunEnded { .. }
    ));
}

#[tokio::test]
async fn no_more_than_the_cap_join_at_once() {
    let world = World::new(9, "k8s: {kubeadm: {join_parallelism: 2}}\n");
    let (now, most) = (
        std::sync::Arc::new(parking_lot::Mutex::new(0)),
        std::sync::Arc::new(parking_lot::Mutex::new(0)),
    );
    // A join holds its place from its Lease until its Node is Ready.
    for host in &world.fleet.hosts {
        let name = host.name.to_string();
        let (now, most, api) = (now.clone(), most.clone(), world.api.clone());
        world.host(&name).on(
            "version -o short",
            says(0, "v1.36.2\n").then({
                let (now, most) = (now.clone(), most.clone());
                move || {
                    *now.lock() += 1;
                    let mut most = most.lock();
                    *most = (*most).max(*now.lock());
                }
            }),
        );
        world.host(&name).on(
            JOIN,
            says(0, "").after(Duration::from_millis(30)).then(move || {
                *now.lock() -= 1;
                api.node(&name, true);
            }),
        );
    }
    assert_eq!(world.join().await.unwrap().verdict.ending, Ending::Joined);
    assert_eq!(*most.lock(), 2);
}

#[tokio::test]
async fn a_broken_connection_is_tried_again_and_a_wrong_credential_is_not() {
    let world = World::new(2, "policy: {onFailure: keepSuccesses}\n");
    world.host("w1").once(JOIN, breaks());
    world.host("w2").on(JOIN, says(1, "!cluster CA found in cluster-info ConfigMap is invalid: none of the public keys \"sha256:aa\" are pinned"));
    let outcome = world.join().await.unwrap();
    assert_eq!(outcome.verdict.ending, Ending::Kept);
    assert_eq!(world.host("w1").count(JOIN), 2);
    assert_eq!(
        world.host("w1").count(RESET),
        1,
        "what an attempt left goes before the next"
    );
    assert_eq!(world.host("w2").count(JOIN), 1);
    let w2 = outcome
        .report
        .hosts
        .iter()
        .find(|host| &*host.name == "w2")
        .unwrap();
    assert_eq!(w2.failure.as_ref().unwrap().id, "pin-mismatch");
}

#[tokio::test]
async fn a_join_that_was_cut_off_after_its_node_registered_is_begun_anew() {
    let world = World::new(1, "");
    let host = world.host("w1");
    let found = std::sync::Arc::new(parking_lot::Mutex::new(None));
    let (api, seen) = (world.api.clone(), std::sync::Arc::clone(&found));
    host.on(
        JOIN,
        says(0, "").then(move || {
            *seen.lock() = Some(api.paths("/api/v1/nodes/").len());
            api.node("w1", true);
        }),
    );
    let api = world.api.clone();
    host.once(JOIN, breaks().then(move || api.node("w1", true)));
    let outcome = world.join().await.unwrap();
    assert_eq!(outcome.verdict.ending, Ending::Joined);
    assert_eq!(host.count(RESET), 1);
    // kubeadm refuses a name whose Node is Ready.
    assert_eq!(*found.lock(), Some(0));
}

#[tokio::test]
async fn a_failed_undo_is_a_named_end_with_instructions_and_can_be_tried_again() {
    let world = World::new(2, "timeouts: {undo: 2s}\n");
    world.host("w1").on(JOIN, says(1, "!error: x"));
    world
        .host("w2")
        .on(RESET, says(1, "!umount: target is busy"));
    let outcome = world.join().await.unwrap();
    assert_eq!(outcome.verdict.ending, Ending::Stuck);
    let [
        Stuck::Host {
            name,
            instructions,
            failure,
            ..
        },
    ] = outcome.verdict.stuck.as_slice()
    else {
        panic!("{:?}", outcome.verdict.stuck)
    };
    assert_eq!(name, "w2");
    assert!(failure.message.contains("busy"));
    assert!(
        instructions
            .iter()
            .any(|line| line.contains("reset --force") && line.contains("kubectl delete node w2")),
        "{instructions:?}"
    );
    assert_eq!(
        world.nodes().len(),
        1,
        "the Node stays while its kubelet may run"
    );

    world.host("w2").on(RESET, says(0, ""));
    let outcome = world.take_up(Resume::Undo).await.unwrap();
    assert_eq!(outcome.verdict.ending, Ending::Undone);
    assert_eq!(world.nodes(), [""; 0]);
}

#[tokio::test]
async fn after_an_interrupt_only_what_was_attempted_is_taken_back() {
    let world = World::new(10, "");
    let (options, stop) = world.options();
    let once = parking_lot::Mutex::new(Some(stop.clone()));
    let api = world.api.clone();
    world.host("w1").on(
        JOIN,
        says(0, "").after(Duration::from_millis(50)).then(move || {
            if let Some(stop) = once.lock().take() {
                stop.send(Stop::Interrupt).unwrap();
            }
            api.node("w1", true);
        }),
    );
    for other in ["w2", "w3"] {
        let api = world.api.clone();
        world.host(other).on(
            JOIN,
            says(0, "")
                .after(Duration::from_millis(150))
                .then(move || api.node(other, true)),
        );
    }
    let outcome = world.join_by(options).await.unwrap();
    assert_eq!(outcome.verdict.ending, Ending::Undone);
    assert_eq!(outcome.verdict.counts.untouched, 7);
    assert_eq!(world.count(RESET), 3);
    assert_eq!(world.nodes(), [""; 0]);
    for untouched in ["w4", "w7", "w10"] {
        assert!(world.host(untouched).calls().is_empty());
    }
}

#[tokio::test]
async fn a_second_interrupt_stops_at_once_and_the_run_can_be_taken_up() {
    let world = World::new(2, "");
    let (options, stop) = world.options();
    let stop_twice = parking_lot::Mutex::new(Some(stop.clone()));
    world.host("w1").on(
        JOIN,
        says(0, "").then(move || {
            if let Some(stop) = stop_twice.lock().take() {
                stop.send(Stop::Interrupt).unwrap();
                stop.send(Stop::Interrupt).unwrap();
            }
        }),
    );
    world.host("w2").on(JOIN, super::super::scripted::hangs());
    let outcome = world.join_by(options).await.unwrap();
    assert_eq!(outcome.verdict.ending, Ending::Stopped);
    assert!(
        matches!(world.join().await, Err(RolloutError::Unfinished { .. })),
        "it is finished first"
    );
    let outcome = world.take_up(Resume::Undo).await.unwrap();
    assert_eq!(outcome.verdict.ending, Ending::Undone);
    assert_eq!(world.tokens(), [""; 0]);
    assert_eq!(world.leases(), [""; 0]);
}

#[tokio::test]
async fn a_host_that_was_a_node_before_is_neither_joined_nor_reset() {
    let world = World::new(2, "");
    world.api.node("w1", true);
    world
        .host("w1")
        .on("version -o short", says(0, "v1.36.2\nnode\n"));
    world.host("w2").on(JOIN, says(1, "!error: x"));
    let outcome = world.join().await.unwrap();
    assert_eq!(outcome.verdict.ending, Ending::Undone);
    assert_eq!(
        world.host("w1").count(JOIN) + world.host("w1").count(RESET),
        0
    );
    assert_eq!(world.nodes(), ["/api/v1/nodes/w1"]);
}

#[tokio::test]
async fn a_ready_node_of_the_name_and_a_node_of_another_cluster_are_refused() {
    let world = World::new(2, "policy: {onFailure: keepSuccesses}\n");
    world.api.node("w1", true);
    world
        .host("w2")
        .on("version -o short", says(0, "v1.36.2\nnode\n"));
    let outcome = world.join().await.unwrap();
    let ids: Vec<&str> = outcome
        .report
        .hosts
        .iter()
        .map(|host| host.failure.as_ref().unwrap().id.as_str())
        .collect();
    assert_eq!(ids, ["node-name-taken", "already-joined-elsewhere"]);
    assert_eq!(world.count(JOIN) + world.count(RESET), 0);
    assert_eq!(world.nodes(), ["/api/v1/nodes/w1"], "another's Node stays");
}

#[tokio::test]
async fn a_host_that_is_never_reached_fails_and_leaves_nothing_to_take_back() {
    let world = World::new(3, "policy: {onFailure: keepSuccesses}\n");
    world.machines.lock().remove("w2");
    let outcome = world.join().await.unwrap();
    assert_eq!(outcome.verdict.ending, Ending::Kept);
    assert_eq!(outcome.verdict.counts.stuck, 0);
    let w2 = &outcome.report.hosts[1];
    assert_eq!(
        (
            w2.standing.as_str(),
            w2.failure.as_ref().unwrap().id.as_str()
        ),
        ("undone", "ssh-unreachable")
    );
}

#[tokio::test]
async fn a_server_that_is_crowded_or_away_for_a_moment_costs_no_host() {
    let world = World::new(2, "");
    world
        .api
        .refuse_next("POST /api/v1/namespaces/kube-system/secrets", 429);
    world.api.refuse_next(
        "POST /apis/coordination.k8s.io/v1/namespaces/kube-system/leases",
        503,
    );
    world.api.refuse_next("GET /api/v1/nodes/w1", 503);
    let outcome = world.join().await.unwrap();
    assert_eq!(outcome.verdict.ending, Ending::Joined);
    assert_eq!(world.count(JOIN), 2);
}

#[tokio::test]
async fn two_runs_do_not_work_on_one_fleet() {
    let world = World::new(1, "");
    let lease = serde_json::json!({
        "metadata": {"name": "muster-fleet-f"},
        "spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 40, "renewTime": Timestamp::now().to_string()},
    });
    world
        .api
        .create(
            "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases",
            &lease,
        )
        .await
        .unwrap();
    let Err(RolloutError::Locked { holder }) = world.join().await else {
        panic!("it was not refused")
    };
    assert_eq!(holder, "somebody");
    assert!(world.host("w1").calls().is_empty());
}

#[tokio::test]
async fn the_tokens_secret_stands_in_no_file_event_or_argument() {
    let world = World::new(3, "");
    world.host("w2").on(JOIN, says(1, "!error: x"));
    let outcome = world.join().await.unwrap();
    let names = ["w1", "w2", "w3"];
    let secret_of = |name: &str| {
        let calls = world.host(name).calls();
        let join = calls.iter().find(|call| call.line.contains(JOIN)).unwrap();
        let configuration: serde_json::Value = serde_json::from_str(&join.stdin).unwrap();
        let token = configuration["discovery"]["bootstrapToken"]["token"]
            .as_str()
            .unwrap();
        token.split_once('.').unwrap().1.to_owned()
    };
    let secret = secret_of("w1");
    assert!(
        names.iter().all(|name| secret_of(name) == secret),
        "one token for the run"
    );
    for name in names {
        assert!(
            !world
                .host(name)
                .calls()
                .iter()
                .any(|call| call.line.contains(&secret))
        );
    }
    for entry in std::fs::read_dir(world.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "{}", path.display());
    }
    let told = serde_json::to_string(&*world.seen.lock()).unwrap() + &format!("{outcome:?}");
    assert!(!told.contains(&secret));
    assert!(told.contains("TokenMinted"));
}

#[tokio::test]
async fn labels_that_a_node_may_not_give_itself_are_set_for_it() {
    let mut world = World::new(1, "");
    let text = "apiVersion: muster.dev/v1alpha1\nkind: FleetConfiguration\nmetadata: {name: f}\ndefaults: {join: kubeadm, labels: {node-role.kubernetes.io/gpu: '', site: east}}\nhosts: [{name: w1}]\n";
    let file = muster_rollout::FleetConfiguration::parse(text).unwrap();
    let ambient = muster_rollout::fleet_file::Ambient {
        name: "f",
        directory: "",
    };
    world.fleet = std::sync::Arc::new(file.resolve(&ambient).unwrap());
    world.join().await.unwrap();
    let node = world.api.get("/api/v1/nodes/w1").await.unwrap();
    assert_eq!(
        node["metadata"]["labels"],
        serde_json::json!({"node-role.kubernetes.io/gpu": ""})
    );
    let calls = world.host("w1").calls();
    let join = calls.iter().find(|call| call.line.contains(JOIN)).unwrap();
    assert!(join.stdin.contains("site=east") && !join.stdin.contains("node-role"));
}
