//! One story for each way a join can go.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_machine_becomes_a_node_with_the_files_of_one() {
    let scene = Scene::new();
    let joined = scene.join(&options("n1")).await.unwrap();
    assert!(!joined.already);
    assert_eq!(joined.server, "https://10.0.0.1:6443");
    assert_eq!(scene.cluster.nodes(), ["n1"]);
    let tree = scene.machine().tree;
    for path in [
        "/etc/kubernetes/kubelet.conf",
        "/etc/kubernetes/pki/ca.crt",
        "/etc/kubernetes/manifests",
        "/var/lib/kubelet/config.yaml",
        "/var/lib/kubelet/kubeadm-flags.env",
        "/var/lib/kubelet/pki/kubelet-client-1970-01-01-00-00-00.pem",
    ] {
        assert!(tree.contains_key(path), "{path}");
    }
    assert_eq!(
        tree["/var/lib/kubelet/pki/kubelet-client-current.pem"],
        Entry::Link {
            target: "/var/lib/kubelet/pki/kubelet-client-1970-01-01-00-00-00.pem".into()
        }
    );
    assert!(!tree.contains_key("/var/lib/kubelet/pki/kubelet-client.key.tmp"));
    let Entry::File {
        content,
        attributes,
    } = &tree["/var/lib/kubelet/pki/kubelet-client-1970-01-01-00-00-00.pem"]
    else {
        panic!("no file")
    };
    let pem = String::from_utf8_lossy(content);
    assert!(pem.starts_with("a certificate for node-csr-") && pem.contains("PRIVATE KEY"));
    assert_eq!(attributes.mode, 0o600);
    let told = scene.told.lock();
    assert!(
        matches!(told.last(), Some(Event::Joined { already: false, .. })),
        "{told:?}"
    );
    let phases: Vec<Phase> = told
        .iter()
        .filter_map(|event| match event {
            Event::PhaseCompleted { phase, .. } => Some(*phase),
            _ => None,
        })
        .collect();
    assert!(phases.ends_with(&[
        Phase::TlsBootstrap,
        Phase::KubeletStart,
        Phase::KubeletWait,
        Phase::NodeWait
    ]));
}

#[tokio::test]
async fn neither_token_nor_key_stands_in_the_journal_in_events_or_in_open_files() {
    let scene = Scene::new();
    scene.join(&options("n1")).await.unwrap();
    let mut seen: Vec<String> = scene
        .store
        .everything()
        .await
        .values()
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect();
    assert!(seen.len() > 20);
    seen.extend(
        scene
            .told
            .lock()
            .iter()
            .map(|event| format!("{event:?} {}", serde_json::to_string(event).unwrap())),
    );
    seen.push(format!("{:?}", options("n1")));
    for (path, entry) in &scene.machine().tree {
        if let Entry::File {
            content,
            attributes,
        } = entry
        {
            let text = String::from_utf8_lossy(content).into_owned();
            assert!(!text.contains("0123456789abcdef"), "{path} holds the token");
            if attributes.mode & 0o077 != 0 {
                seen.push(text);
            }
        }
    }
    for text in seen {
        assert!(!text.contains("0123456789abcdef"), "the token: {text}");
        assert!(!text.contains("PRIVATE KEY"), "the key: {text}");
    }
}

#[tokio::test]
async fn joining_again_says_so_changes_nothing_and_needs_no_token() {
    let scene = Scene::new();
    scene.join(&options("n1")).await.unwrap();
    let before = scene.machine();
    scene.cluster.wrong_token(true);
    let again = scene.join(&options("n1")).await.unwrap();
    assert!(again.already);
    assert_eq!(scene.machine(), before);
    let mut rehearsal = options("n1");
    rehearsal.dry_run = true;
    assert_eq!(
        scene.join(&rehearsal).await.unwrap_err().id(),
        "unauthorized"
    );
    scene.cluster.wrong_token(false);
    assert!(scene.join(&rehearsal).await.unwrap().already);
    assert_eq!(scene.machine(), before);
}

#[tokio::test]
async fn a_supervised_kubelet_that_is_gone_after_a_reboot_is_started_again() {
    let scene = Scene::new();
    scene.join(&options("n1")).await.unwrap();
    scene.host.with_world(|world| world.running.clear());
    assert!(!scene.host.kubelet_runs());
    assert!(scene.join(&options("n1")).await.unwrap().already);
    assert!(scene.host.kubelet_runs());
}

#[tokio::test]
async fn a_node_of_another_cluster_or_name_must_be_reset_first() {
    let scene = Scene::new();
    scene.join(&options("n1")).await.unwrap();
    let before = scene.machine();
    let error = scene.join(&options("n2")).await.unwrap_err();
    assert_eq!(error.id(), "already-joined-elsewhere");
    assert!(error.to_string().contains("n1") && error.to_string().contains("10.0.0.1:6443"));
    assert_eq!(scene.machine(), before);
}

#[tokio::test]
async fn a_node_that_its_cluster_no_longer_knows_is_taken_back_and_joined_anew() {
    let scene = Scene::new();
    scene.join(&options("n1")).await.unwrap();
    scene.cluster.forgot(true);
    let joined = scene.join(&options("n1")).await.unwrap();
    assert!(!joined.already);
    assert_eq!(
        scene.journal().tell().await.unwrap().unwrap().len(),
        1,
        "the former is forgotten"
    );
}

#[tokio::test]
async fn a_wrong_token_changes_nothing_not_even_in_a_rehearsal() {
    let scene = Scene::new();
    let before = scene.machine();
    scene.cluster.wrong_token(true);
    for dry_run in [true, false] {
        let options = JoinOptions {
            dry_run,
            ..options("n1")
        };
        let error = scene.join(&options).await.unwrap_err();
        assert_eq!(error.id(), "unauthorized");
        assert_eq!(scene.machine(), before);
        assert_eq!(scene.store.writes(), 0);
    }
}

#[tokio::test]
async fn a_rehearsal_shows_the_plan_and_changes_nothing() {
    let scene = Scene::new();
    let before = scene.machine();
    let options = JoinOptions {
        dry_run: true,
        ..options("n1")
    };
    let joined = scene.join(&options).await.unwrap();
    let planned = joined.planned.unwrap();
    assert!(planned.steps.len() > 15);
    assert_eq!(scene.machine(), before);
    assert_eq!((scene.store.writes(), scene.cluster.requests()), (0, 0));
    assert!(matches!(
        scene.told.lock().last(),
        Some(Event::Planned { .. })
    ));
}

#[tokio::test]
async fn a_machine_that_is_not_fit_is_refused_with_every_finding() {
    let scene = Scene::new();
    scene.host.with_facts(|facts| facts.uid = 1000);
    scene
        .host
        .put_file("/etc/kubernetes/kubelet.conf", 0o600, b"somebody's");
    let before = scene.machine();
    let error = scene.join(&options("n1")).await.unwrap_err();
    assert_eq!(error.id(), "preflight-failed");
    let text = error.to_string();
    assert!(text.contains("IsPrivilegedUser"), "{text}");
    assert!(
        text.contains("FileAvailable--etc-kubernetes-kubelet.conf"),
        "{text}"
    );
    assert_eq!(scene.machine(), before);
}

#[tokio::test]
async fn a_taken_name_is_refused_before_anything_is_written() {
    let scene = Scene::new();
    scene.cluster.put_node("n1", true);
    assert_eq!(
        scene.join(&options("n1")).await.unwrap_err().id(),
        "node-name-taken"
    );
    assert_eq!(scene.store.writes(), 0);
}

#[tokio::test]
async fn a_denied_certificate_takes_everything_back() {
    let scene = Scene::new();
    let before = scene.machine();
    scene.cluster.denies(true);
    let error = scene.join(&options("n1")).await.unwrap_err();
    assert_eq!(error.id(), "csr-denied");
    assert!(matches!(
        error,
        JoinError::Step {
            aftermath: Aftermath::Undone { .. },
            ..
        }
    ));
    assert_eq!(scene.machine(), before);
    // The next attempt starts afresh.
    scene.cluster.denies(false);
    scene.join(&options("n1")).await.unwrap();
}

#[tokio::test]
async fn a_kept_failure_goes_on_with_the_same_key() {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let scene = Scene::new();
    scene.cluster.denies(true);
    let options = JoinOptions {
        keep_on_failure: true,
        // Every key is another one.
        entropy: |bytes| bytes.fill(NEXT.fetch_add(1, Ordering::Relaxed)),
        ..options("n1")
    };
    let error = scene.join(&options).await.unwrap_err();
    assert!(
        matches!(
            error,
            JoinError::Step {
                aftermath: Aftermath::Kept,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        scene
            .machine()
            .tree
            .contains_key("/var/lib/kubelet/pki/kubelet-client.key.tmp")
    );
    scene.cluster.denies(false);
    scene.join(&options).await.unwrap();
    assert_eq!(scene.cluster.requests(), 1, "the same request was taken up");
    let resumed = scene
        .told
        .lock()
        .iter()
        .any(|event| matches!(event, Event::Resuming { .. }));
    assert!(resumed);
}

#[tokio::test]
async fn an_unfinished_join_to_something_else_is_taken_back_first() {
    let scene = Scene::new();
    scene.cluster.denies(true);
    let first = JoinOptions {
        keep_on_failure: true,
        ..options("n1")
    };
    scene.join(&first).await.unwrap_err();
    scene.cluster.denies(false);
    scene.join(&options("n2")).await.unwrap();
    assert_eq!(scene.cluster.nodes(), ["n2"]);
    let undoing = scene
        .told
        .lock()
        .iter()
        .any(|event| matches!(event, Event::Undoing { .. }));
    assert!(undoing);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_come_is_told_apart_from_one_that_is_not_ready() {
    let scene = Scene::new();
    let before = scene.machine();
    scene.cluster.never_registers(true);
    assert_eq!(
        scene.join(&options("n1")).await.unwrap_err().id(),
        "node-not-registered"
    );
    assert_eq!(scene.machine(), before);

    scene.cluster.never_registers(false);
    scene.cluster.never_ready(true);
    let mut ready = options("n1");
    ready.request.wait = Wait::Ready;
    let error = scene.join(&ready).await.unwrap_err();
    assert_eq!(error.id(), "node-not-ready");
    assert!(error.to_string().contains("no CNI"), "{error}");
    assert_eq!(scene.machine(), before);
    assert_eq!(
        scene.cluster.nodes(),
        Vec::<String>::new(),
        "its Node is deleted too"
    );
}

#[tokio::test]
async fn a_kubelet_that_does_not_come_up_is_told_with_its_log() {
    let scene = Scene::new();
    let before = scene.machine();
    scene.host.kubelet_ends(true);
    let error = scene.join(&options("n1")).await.unwrap_err();
    assert_eq!(error.id(), "kubelet-start-failed");
    assert_eq!(error.exit_code(), crate::exit_code::KUBELET_START_FAILED);
    assert!(error.to_string().contains("the simulated log"), "{error}");
    assert_eq!(scene.machine(), before);
}

#[tokio::test]
async fn a_request_to_stop_takes_everything_back() {
    let scene = Scene::new();
    let before = scene.machine();
    scene.cluster.never_registers(true);
    let options = options("n1");
    let cancel = options.cancel.clone();
    let (result, ()) = tokio::join!(scene.join(&options), async {
        while !scene.host.kubelet_runs() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cancel.cancel();
    });
    let error = result.unwrap_err();
    assert_eq!(error.id(), "interrupted");
    assert_eq!(scene.machine(), before);
}

#[tokio::test]
async fn a_reset_leaves_the_machine_as_it_was_and_the_cluster_without_the_node() {
    let host = SimHost::new("n1");
    host.put_file("/var/lib/kubelet/config.yaml", 0o644, b"somebody's");
    let scene = Scene::on(host);
    let before = scene.machine();
    scene.join(&options("n1")).await.unwrap();
    assert_ne!(scene.machine(), before);
    let outcome = scene.reset().await.unwrap();
    assert_eq!(
        outcome,
        ResetOutcome::Clean {
            left_behind: vec![]
        }
    );
    assert_eq!(scene.machine(), before);
    assert_eq!(scene.cluster.nodes(), Vec::<String>::new());
    assert_eq!(
        scene.reset().await.unwrap(),
        ResetOutcome::Nothing {
            left_behind: vec![]
        }
    );
}

#[tokio::test]
async fn a_node_object_that_may_not_be_deleted_is_named_with_the_command() {
    let scene = Scene::new();
    let before = scene.machine();
    scene.join(&options("n1")).await.unwrap();
    scene.cluster.may_delete(false);
    let ResetOutcome::Clean { left_behind } = scene.reset().await.unwrap() else {
        panic!("the machine itself is clean")
    };
    assert_eq!(left_behind[0].remedy, "kubectl delete node n1");
    assert_eq!(scene.machine(), before);
    // It no longer looks Ready, and so its name can be taken again at once.
    scene.join(&options("n1")).await.unwrap();
    assert_eq!(scene.cluster.nodes(), ["n1"]);
}

#[tokio::test]
async fn a_node_that_was_there_before_is_not_deleted() {
    let scene = Scene::new();
    scene.cluster.put_node("n1", false);
    scene.join(&options("n1")).await.unwrap();
    let outcome = scene.reset().await.unwrap();
    assert_eq!(outcome.left_behind().len(), 1, "it is named");
    assert_eq!(scene.cluster.nodes(), ["n1"]);
    // An administrator who asks for it gets rid of it.
    scene.cluster.put_node("n1", false);
    scene.cluster.administrator(true);
    scene.join(&options("n1")).await.unwrap();
    scene.reset().await.unwrap();
    assert_eq!(scene.cluster.nodes(), Vec::<String>::new());
}

#[tokio::test]
async fn an_undo_that_gets_stuck_names_what_is_left_and_ends_when_tried_again() {
    let scene = Scene::new();
    let before = scene.machine();
    scene.join(&options("n1")).await.unwrap();
    // Something stands where the undo must remove a file.
    let conf = "/etc/kubernetes/kubelet.conf";
    scene.host.with_world(|world| {
        world.tree.insert(conf.into(), Entry::Dir { mode: 0o755 });
    });
    let error = scene.reset().await.unwrap_err();
    assert_eq!(error.id(), "undo-incomplete");
    assert!(
        error.remedy().unwrap().starts_with("1. "),
        "{:?}",
        error.remedy()
    );
    scene.host.with_world(|world| world.tree.remove(conf));
    assert!(matches!(
        scene.reset().await.unwrap(),
        ResetOutcome::Clean { .. }
    ));
    assert_eq!(scene.machine(), before);
}

#[tokio::test]
async fn a_node_that_brings_its_certificate_along_asks_for_none() {
    let scene = Scene::new();
    scene.cluster.certified(b"certificate and key");
    scene.join(&options("n1")).await.unwrap();
    assert_eq!(scene.cluster.requests(), 0);
    let tree = scene.host.snapshot();
    let kept = tree.tree.iter().any(|(path, entry)| {
        path.starts_with("/var/lib/kubelet/pki/kubelet-client-")
            && matches!(entry, Entry::File { content, .. } if content == b"certificate and key")
    });
    assert!(kept, "{:?}", tree.tree.keys().collect::<Vec<_>>());
}

#[tokio::test]
async fn labels_of_an_administrator_and_annotations_come_after_the_registration() {
    let scene = Scene::new();
    scene.cluster.administrator(true);
    let mut options = options("n1");
    options.request.admin_labels = vec![("node-role.kubernetes.io/worker".into(), String::new())];
    options.request.annotations = vec![("a/note".into(), "text".into())];
    scene.join(&options).await.unwrap();
    let marks = scene.cluster.marks();
    assert_eq!(marks.admin_labels, options.request.admin_labels);
    assert_eq!(marks.annotations, options.request.annotations);
}

#[tokio::test]
async fn labels_that_nobody_may_set_take_the_join_back() {
    let scene = Scene::new();
    let mut options = options("n1");
    options.request.admin_labels = vec![("node-role.kubernetes.io/worker".into(), String::new())];
    let error = scene.join(&options).await.unwrap_err();
    assert_eq!(error.id(), "forbidden");
    assert!(scene.cluster.nodes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_here_is_told_though_the_cluster_says_nothing() {
    let scene = Scene::new();
    scene
        .host
        .put_file("/etc/kubernetes/pki/ca.crt", 0o644, b"another cluster's");
    let before = scene.machine();
    scene.cluster.silent(true);
    let asked = options("n1");
    let waited = tokio::time::timeout(Duration::from_secs(5), scene.join(&asked));
    let JoinError::Preflight { findings } = waited.await.unwrap().unwrap_err() else {
        panic!("not for what is wrong here");
    };
    let stands_there = |finding: &Finding| finding.id == "FileAvailable--etc-kubernetes-pki-ca.crt";
    assert!(findings.iter().any(stands_there), "{findings:?}");
    assert_eq!(scene.machine(), before);
    // What the cluster says at once still comes first: with a wrong token nothing here needs mending yet.
    scene.cluster.silent(false);
    scene.cluster.wrong_token(true);
    let error = scene.join(&options("n1")).await.unwrap_err();
    assert_eq!(error.id(), "unauthorized");
}
