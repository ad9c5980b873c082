//! The suite itself: one function per promise.

use std::collections::BTreeMap;

use muster_identity::Secret;
use muster_plan::{SecretBag, SecretName, Step};

use super::Bench;
use crate::{Host, HostError, Prior};

fn file(path: &str, mode: u32, content: &str) -> Step {
    Step::WriteFile {
        path: path.into(),
        mode,
        content: content.into(),
    }
}

fn dir(path: &str) -> Step {
    Step::MakeDir {
        path: path.into(),
        mode: 0o750,
    }
}

fn link(path: &str, target: &str) -> Step {
    Step::Symlink {
        path: path.into(),
        target: target.into(),
    }
}

fn claim(path: &str) -> Step {
    Step::ClaimDir {
        path: path.into(),
        mode: 0o700,
    }
}

fn secrets() -> SecretBag {
    let mut bag = SecretBag::new();
    bag.put(SecretName::KubeletKey, Secret::new(b"a key".to_vec()));
    bag
}

fn good<T>(result: Result<T, HostError>, what: &str) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {}", error.to_failure().message))
}

/// Runs every promise on fresh machines.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn conformance<B: Bench>(fresh: impl Fn() -> B) {
    steps_have_their_effect_and_leave_no_trace_when_undone(&fresh()).await;
    what_was_there_comes_back(&fresh()).await;
    an_undo_without_a_deed_changes_nothing(&fresh()).await;
    secrets_are_closed_and_come_from_the_bag(&fresh()).await;
    a_claimed_directory_is_swept_and_nothing_more(&fresh()).await;
    a_directory_with_foreign_content_stays_and_is_named(&fresh()).await;
    a_half_made_deed_can_be_repeated_or_undone(&fresh()).await;
    what_does_not_belong_to_a_host_is_refused(&fresh()).await;
}

async fn twice(host: &dyn Host, bench: &impl Bench, id: &str, step: &Step) -> Prior {
    let prior = good(host.observe(step).await, id);
    good(host.perform(id, step, &prior, &secrets()).await, id);
    let once = bench.tree();
    good(host.perform(id, step, &prior, &secrets()).await, id);
    assert_eq!(bench.tree(), once, "{id}: doing it again changed something");
    prior
}

async fn undo_twice(host: &dyn Host, bench: &impl Bench, id: &str, step: &Step, prior: &Prior) {
    let left = good(host.undo(id, step, prior).await, id);
    assert_eq!(left, [], "{id}: left something behind");
    let once = bench.tree();
    good(host.undo(id, step, prior).await, id);
    assert_eq!(
        bench.tree(),
        once,
        "{id}: undoing it again changed something"
    );
}

async fn run_all(bench: &impl Bench, steps: &[Step]) -> BTreeMap<String, String> {
    let host = bench.host();
    let before = bench.tree();
    let mut priors = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        priors.push(twice(&*host, bench, &format!("step-{number}"), step).await);
    }
    let done = bench.tree();
    for (number, step) in steps.iter().enumerate().rev() {
        let id = format!("step-{number}");
        undo_twice(&*host, bench, &id, step, &priors[number]).await;
    }
    assert_eq!(bench.tree(), before, "the tree is not as it was");
    done
}

async fn steps_have_their_effect_and_leave_no_trace_when_undone(bench: &impl Bench) {
    let steps = [
        dir("/etc/a/b"),
        file("/etc/a/b/f", 0o644, "text"),
        link("/etc/a/l", "b/f"),
        file("/etc/a/open", 0o600, ""),
        Step::Discard {
            path: "/etc/a/open".into(),
        },
    ];
    let done = run_all(bench, &steps).await;
    let shows = |path: &str| done.get(path).map_or("", String::as_str);
    assert_eq!(shows("/etc/a"), "dir 0755");
    assert_eq!(shows("/etc/a/b"), "dir 0750");
    assert_eq!(shows("/etc/a/b/f"), "file 0644 text");
    assert_eq!(shows("/etc/a/l"), "link b/f");
    assert!(!done.contains_key("/etc/a/open"));
}

async fn what_was_there_comes_back(bench: &impl Bench) {
    bench.put_file("/etc/k/theirs", 0o640, b"their text");
    bench.put_file("/etc/k/linked", 0o600, b"their other text");
    let steps = [
        dir("/etc/k"),
        file("/etc/k/theirs", 0o600, "ours"),
        link("/etc/k/linked", "/somewhere"),
        // A second step over the same path keeps its own backup.
        file("/etc/k/theirs", 0o644, "ours again"),
        file("/etc/k/linked", 0o644, "over a link"),
    ];
    let done = run_all(bench, &steps).await;
    assert_eq!(done["/etc/k/theirs"], "file 0644 ours again");
    assert_eq!(done["/etc/k/linked"], "file 0644 over a link");
}

async fn an_undo_without_a_deed_changes_nothing(bench: &impl Bench) {
    bench.put_file("/etc/k/theirs", 0o640, b"their text");
    let host = bench.host();
    let before = bench.tree();
    for (number, step) in [
        file("/etc/k/theirs", 0o600, "ours"),
        file("/etc/k/new", 0o600, "ours"),
        link("/etc/k/theirs", "x"),
        dir("/etc/k/d/e"),
        claim("/etc/k"),
    ]
    .iter()
    .enumerate()
    {
        let id = format!("step-{number}");
        let prior = good(host.observe(step).await, &id);
        undo_twice(&*host, bench, &id, step, &prior).await;
        assert_eq!(bench.tree(), before, "{step:?}");
    }
}

async fn secrets_are_closed_and_come_from_the_bag(bench: &impl Bench) {
    let step = Step::WriteSecret {
        path: "/etc/key".into(),
        secret: SecretName::KubeletKey,
    };
    let host = bench.host();
    let prior = good(host.observe(&step).await, "observe");
    let without = host.perform("key", &step, &prior, &SecretBag::new()).await;
    assert!(
        matches!(without, Err(HostError::MissingSecret { .. })),
        "{without:?}"
    );
    let done = run_all(bench, std::slice::from_ref(&step)).await;
    assert_eq!(done["/etc/key"], "file 0600 a key");

    let none = good(host.read("/etc/key").await, "read");
    assert!(none.is_none(), "it was undone");
    good(
        host.perform("key", &step, &prior, &secrets()).await,
        "perform",
    );
    let read = good(host.read("/etc/key").await, "read");
    assert_eq!(
        read.map(|secret| secret.expose().clone()),
        Some(b"a key".to_vec())
    );
}

async fn a_claimed_directory_is_swept_and_nothing_more(bench: &impl Bench) {
    bench.put_file("/var/lib/theirs/kept/f", 0o644, b"kept");
    let host = bench.host();
    let before = bench.tree();
    for (id, path) in [("old", "/var/lib/theirs"), ("new", "/var/lib/new")] {
        let step = claim(path);
        let prior = twice(&*host, bench, id, &step).await;
        bench.put_file(&format!("{path}/state"), 0o600, b"droppings");
        bench.put_file(&format!("{path}/kept/more"), 0o600, b"droppings");
        bench.put_file(&format!("{path}/deep/er/f"), 0o600, b"droppings");
        undo_twice(&*host, bench, id, &step, &prior).await;
        assert_eq!(bench.tree(), before, "{path}");
    }
}

async fn a_directory_with_foreign_content_stays_and_is_named(bench: &impl Bench) {
    let host = bench.host();
    let step = dir("/etc/mine");
    let prior = twice(&*host, bench, "dir", &step).await;
    bench.put_file("/etc/mine/theirs", 0o644, b"put there by somebody");
    let left = good(host.undo("dir", &step, &prior).await, "undo");
    assert_eq!(left.len(), 1);
    assert!(left[0].what.contains("/etc/mine"), "{left:?}");
    assert!(bench.tree().contains_key("/etc/mine/theirs"));
}

async fn a_half_made_deed_can_be_repeated_or_undone(bench: &impl Bench) {
    // What a power cut leaves of a write: the temporary file beside it.
    let host = bench.host();
    let before = bench.tree();
    let step = file("/etc/f", 0o644, "whole");
    let prior = good(host.observe(&step).await, "observe");
    bench.put_file("/etc/.muster-half.tmp", 0o600, b"wh");
    good(
        host.perform("half", &step, &prior, &secrets()).await,
        "perform",
    );
    let done = bench.tree();
    assert_eq!(done["/etc/f"], "file 0644 whole");
    assert!(!done.contains_key("/etc/.muster-half.tmp"));
    bench.put_file("/etc/.muster-half.tmp", 0o600, b"wh");
    undo_twice(&*host, bench, "half", &step, &prior).await;
    assert_eq!(bench.tree(), before);
}

async fn what_does_not_belong_to_a_host_is_refused(bench: &impl Bench) {
    let host = bench.host();
    let before = bench.tree();
    for path in ["etc/f", "/etc/../f", "/etc//f", "/", "", "/etc/f\0"] {
        let refused = host.observe(&file(path, 0o600, "")).await;
        assert!(
            matches!(refused, Err(HostError::BadPath { .. })),
            "{path:?}: {refused:?}"
        );
    }
    let step = Step::RequestCertificate {
        node_name: "n1".into(),
    };
    assert!(matches!(
        host.observe(&step).await,
        Err(HostError::NotAHostStep { .. })
    ));
    let refused = host
        .perform("csr", &step, &Prior::Nothing, &secrets())
        .await;
    assert!(matches!(refused, Err(HostError::NotAHostStep { .. })));
    bench.put_file("/etc/plain", 0o644, b"");
    let under_a_file = host.observe(&dir("/etc/plain/below")).await;
    assert!(
        matches!(under_a_file, Err(HostError::WrongKind { .. })),
        "{under_a_file:?}"
    );
    let before_file = bench.tree();
    assert_eq!(before_file.len(), before.len() + 1);
}
