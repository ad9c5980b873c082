//! Resets and repairs as stories: nodes of other tools, undos that fail, cuts of the power; and the closed list of what
//! is proved of which step.

use muster_host::{Host, Swap};
use muster_plan::{
    ClusterAnswers, NodeIp, PlannedStep, RepairFiles, ResetWishes, Step, foreign_node, repairs,
};
use muster_saga::Residue;

use super::*;
use crate::{repair_with, undo_repairs_with};

/// A worker that kubeadm joined, with what its kubelet and its network plugin made, beside things of somebody else.
fn kubeadms_worker() -> SimHost {
    let host = SimHost::new("n1");
    host.install_system_kubelet(true);
    joined_by_kubeadm(&host);
    host
}

fn joined_by_kubeadm(host: &SimHost) {
    let conf = b"apiVersion: v1\nkind: Config\nusers:\n- name: default-auth\n  user: {}\n";
    for (path, content) in [
        ("/etc/kubernetes/kubelet.conf", &conf[..]),
        ("/etc/kubernetes/pki/ca.crt", b"a certificate"),
        (
            "/var/lib/kubelet/kubeadm-flags.env",
            b"KUBELET_KUBEADM_ARGS=\"\"\n",
        ),
        (
            "/var/lib/kubelet/config.yaml",
            b"kind: KubeletConfiguration\n",
        ),
        ("/var/lib/kubelet/pki/kubelet-client-current.pem", b"a key"),
        ("/var/lib/kubelet/pods/u/volumes/v/data", b"a volume's"),
        ("/var/log/pods/default_p_u/c/0.log", b"a log"),
        ("/var/lib/etcd/member/snap/db", b"somebody's etcd"),
        ("/srv/data", b"somebody's"),
    ] {
        host.put_file(path, 0o600, content);
    }
    host.mount("/var/lib/kubelet/pods/u/volumes/v");
    host.with_world(|world| {
        world.pods.insert("pod".into());
        world.kernel.links.insert("cni0".into());
        world
            .kernel
            .filters
            .insert("iptables chain nat KUBE-SERVICES".into());
    });
}

/// The files that are left, without directories.
fn files(scene: &Scene) -> Vec<String> {
    let tree = scene.host.snapshot().tree.into_iter();
    let files = tree.filter(|(_, entry)| !matches!(entry, Entry::Dir { .. }));
    files.map(|(path, _)| path).collect()
}

async fn reset_with_options(
    scene: &Scene,
    options: &ResetOptions,
) -> Result<ResetOutcome, JoinError> {
    let journal = scene.journal();
    reset_with(
        options,
        &scene.host,
        &scene.cluster,
        &journal,
        &scene.events(),
    )
    .await
}

#[tokio::test(start_paused = true)]
async fn a_node_that_kubeadm_made_after_our_join_goes_by_its_content() {
    let host = SimHost::new("n1");
    host.install_system_kubelet(true);
    let scene = Scene::on(host);
    let mut wanted = options("n1");
    wanted.request.runtime = Runtime::Cri {
        endpoint: Some("unix:///run/containerd/containerd.sock".into()),
    };
    wanted.request.ignore = muster_plan::IgnoreSet::parse(["all"]).unwrap();
    scene.join(&wanted).await.unwrap();
    // kubeadm resets the machine, which it knows by its files, and joins it.
    scene.host.with_world(|world| {
        let theirs = |path: &String| {
            path.starts_with("/etc/kubernetes/") || path.starts_with("/var/lib/kubelet/")
        };
        world.tree.retain(|path, _| !theirs(path));
    });
    joined_by_kubeadm(&scene.host);
    let outcome = scene.reset().await.unwrap();
    assert!(matches!(outcome, ResetOutcome::Clean { .. }), "{outcome:?}");
    assert_eq!(files(&scene), ["/srv/data", "/var/lib/etcd/member/snap/db"]);
    assert!(!scene.host.kubelet_runs());
    // The story of our join is over: another one begins at its beginning.
    let again = scene.reset().await.unwrap();
    assert!(matches!(again, ResetOutcome::Nothing { .. }), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_of_kubeadm_goes_and_what_is_not_its_own_stays() {
    let scene = Scene::on(kubeadms_worker());
    let planned = ResetOptions {
        dry_run: true,
        ..ResetOptions::default()
    };
    let before = scene.host.snapshot();
    let ResetOutcome::Planned { undo, .. } = reset_with_options(&scene, &planned).await.unwrap()
    else {
        panic!("a rehearsal plans");
    };
    assert_eq!(undo[0], "stop service kubelet");
    assert_eq!(scene.host.snapshot(), before, "a rehearsal changes nothing");

    let outcome = scene.reset().await.unwrap();
    let ResetOutcome::Clean { left_behind } = &outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(left_behind[0].what, "node n1 in the cluster");
    assert_eq!(files(&scene), ["/srv/data", "/var/lib/etcd/member/snap/db"]);
    let world = scene.host.snapshot();
    assert!(world.pods.is_empty() && scene.host.mounts().is_empty());
    assert!(!scene.host.kubelet_runs());
    assert!(
        world.kernel.links.contains("cni0"),
        "networks go on request only"
    );
    let again = scene.reset().await.unwrap();
    assert_eq!(
        again,
        ResetOutcome::Nothing {
            left_behind: vec![]
        }
    );

    let thorough = ResetOptions {
        wishes: ResetWishes {
            network_plugins: true,
            firewall: true,
            ..ResetWishes::default()
        },
        ..ResetOptions::default()
    };
    reset_with_options(&scene, &thorough).await.unwrap();
    let kernel = scene.host.snapshot().kernel;
    assert!(
        kernel.links.is_empty() && kernel.filters.is_empty(),
        "{kernel:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_administrators_credentials_take_the_node_object_along() {
    let scene = Scene::on(kubeadms_worker());
    scene.cluster.put_node("n1", true);
    scene.cluster.administrator(true);
    let outcome = scene.reset().await.unwrap();
    assert_eq!(
        outcome,
        ResetOutcome::Clean {
            left_behind: vec![]
        }
    );
    assert_eq!(scene.cluster.nodes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_holds_on_makes_the_reset_unclean_with_numbered_instructions() {
    let host = kubeadms_worker();
    host.mount_is_busy("/var/lib/kubelet/pods/u/volumes/v");
    let scene = Scene::on(host);
    let error = scene.reset().await.unwrap_err();
    assert_eq!((error.id(), error.exit_code()), ("undo-incomplete", 67));
    let remedy = error.remedy().unwrap();
    assert!(
        remedy.contains("umount /var/lib/kubelet/pods/u/volumes/v"),
        "{remedy}"
    );
    assert!(remedy.starts_with("1. "), "{remedy}");
    assert!(files(&scene).contains(&"/var/lib/kubelet/pods/u/volumes/v/data".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_foreign_reset_that_is_cut_off_anywhere_goes_on_where_it_stopped() {
    let counted = Scene::on(kubeadms_worker());
    counted.reset().await.unwrap();
    let end = counted.machine();
    let (records, operations) = (counted.store.writes(), counted.host.operations());
    assert!(records > 5 && operations > 10, "{records} {operations}");
    let cuts = (0..records)
        .flat_map(|n| [Cut::Before(n), Cut::After(n)])
        .map(|cut| (Some(cut), None));
    let places: Vec<_> = cuts
        .chain((0..operations).map(|operation| (None, Some(operation))))
        .collect();
    for (cut, operation) in places {
        let scene = Scene::on(kubeadms_worker());
        scene.store.cut(cut);
        scene.host.lose_power_at(operation);
        let first = scene.reset().await;
        assert!(
            scene.host.is_off() && first.is_err(),
            "{cut:?} {operation:?}: {first:?}"
        );
        scene.store.cut(None);
        scene.host.lose_power_at(None);
        scene
            .reset()
            .await
            .unwrap_or_else(|error| panic!("{cut:?} {operation:?}: {}", error.message()));
        assert_eq!(scene.machine(), end, "{cut:?} {operation:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_join_finishes_a_reset_that_was_cut_off_and_then_joins() {
    let scene = Scene::on(kubeadms_worker());
    scene.store.cut(Some(Cut::After(6)));
    scene.reset().await.unwrap_err();
    scene.store.cut(None);
    scene.host.lose_power_at(None);
    let mut options = options("n1");
    options.request.runtime = Runtime::Cri { endpoint: None };
    scene.join(&options).await.unwrap();
    assert!(scene.host.kubelet_runs());
    assert_eq!(scene.cluster.nodes(), ["n1"]);
}

/// A machine on which a repair has something to do.
fn neglected() -> SimHost {
    let host = SimHost::new("n1");
    host.put_file("/etc/fstab", 0o640, b"/swap none swap sw 0 0\n");
    host.with_facts(|facts| {
        facts.modules.clear();
        facts.sysctls.clear();
    });
    host.with_world(|world| {
        let swap = Swap {
            device: "/swap".into(),
            priority: 3,
        };
        world.kernel.swaps.insert(swap);
        let settings = &mut world.kernel.settings;
        settings.insert("net/ipv4/ip_forward".into(), "0".into());
    });
    host
}

async fn planned_repairs(host: &SimHost) -> Vec<PlannedStep> {
    let facts = host.gather().await.unwrap();
    let mut request = options("n1").request;
    request.runtime = Runtime::Cri { endpoint: None };
    let files = RepairFiles {
        fstab: Some("/swap none swap sw 0 0\n".into()),
        ..RepairFiles::default()
    };
    repairs(&facts, &request, &files)
}

async fn mend(scene: &Scene, steps: &[PlannedStep]) -> Result<(), JoinError> {
    let journal = scene.journal();
    repair_with(
        steps,
        &scene.host,
        &scene.cluster,
        &journal,
        &scene.events(),
    )
    .await
}

async fn unmend(scene: &Scene) -> Result<Option<Vec<Residue>>, JoinError> {
    let journal = scene.journal();
    undo_repairs_with(&scene.host, &scene.cluster, &journal, &scene.events()).await
}

#[tokio::test(start_paused = true)]
async fn a_repair_stands_beside_a_join_and_either_is_taken_back_alone() {
    let scene = Scene::on(neglected());
    let before = scene.machine();
    let steps = planned_repairs(&scene.host).await;
    mend(&scene, &steps).await.unwrap();
    let mended = scene.machine();
    assert!(mended.kernel.modules.contains("br_netfilter") && mended.kernel.swaps.is_empty());
    assert_eq!(mended.kernel.settings["net/ipv4/ip_forward"], "1");
    scene.join(&options("n1")).await.unwrap();
    // The join's own end must not take the repair's backups along.
    scene.join(&options("n1")).await.unwrap();
    assert_eq!(unmend(&scene).await.unwrap(), Some(vec![]));
    assert!(
        scene.host.kubelet_runs(),
        "the node is none of the repair's business"
    );
    assert_eq!(unmend(&scene).await.unwrap(), None);
    scene.reset().await.unwrap();
    assert_eq!(scene.machine(), before);

    mend(&scene, &steps).await.unwrap();
    scene.join(&options("n1")).await.unwrap();
    scene.reset().await.unwrap();
    assert_eq!(scene.machine(), before, "a reset takes both back");
}

#[tokio::test(start_paused = true)]
async fn a_repair_that_is_cut_off_at_any_record_ends_mended_or_as_before() {
    let counted = Scene::on(neglected());
    let before = counted.machine();
    let steps = planned_repairs(&counted.host).await;
    mend(&counted, &steps).await.unwrap();
    let mended = counted.machine();
    for record in 0..counted.store.writes() {
        for cut in [Cut::Before(record), Cut::After(record)] {
            for again in [true, false] {
                let scene = Scene::on(neglected());
                scene.store.cut(Some(cut));
                mend(&scene, &steps).await.unwrap_err();
                scene.store.cut(None);
                scene.host.lose_power_at(None);
                if again {
                    mend(&scene, &steps).await.unwrap();
                    assert_eq!(scene.machine(), mended, "{cut:?}");
                }
                unmend(&scene).await.unwrap();
                assert_eq!(scene.machine(), before, "{cut:?} again {again}");
            }
        }
    }
}

/// The steps of a saga that a machine went through, latest story.
pub(super) async fn steps_of(scene: &Scene) -> Vec<(String, Step)> {
    let told = scene.journal().tell().await.unwrap().unwrap();
    let specs = told
        .last()
        .unwrap()
        .state
        .header()
        .definition
        .steps()
        .to_vec();
    let read =
        |spec: &muster_saga::StepSpec| (spec.id.to_string(), StepContent::of(spec).unwrap().step);
    specs.iter().map(read).collect()
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_fails_is_named_and_the_next_reset_ends_clean() {
    let joined = async || {
        let scene = Scene::on(neglected());
        let before = scene.machine();
        let steps = planned_repairs(&scene.host).await;
        mend(&scene, &steps).await.unwrap();
        let repair = steps_of(&scene).await;
        scene.join(&options("n1")).await.unwrap();
        let join = steps_of(&scene).await;
        (scene, before, [repair, join].concat())
    };
    let (_, _, steps) = joined().await;
    let mut tried = 0;
    for (id, step) in steps {
        if !step.leaves_traces() || step.actor() != muster_plan::Actor::Host {
            continue;
        }
        tried += 1;
        let (scene, before, _) = joined().await;
        // Names of a repair's steps carry the time at which it began: found again by what they do.
        let own = match id.starts_with("fix-") {
            true => all_ids(&scene)
                .await
                .into_iter()
                .find(|own| stem(own) == stem(&id))
                .unwrap(),
            false => id.clone(),
        };
        scene.host.fail_undo(&own, true);
        let error = scene.reset().await.unwrap_err();
        assert_eq!(error.id(), "undo-incomplete", "{id}: {error:?}");
        assert!(error.remedy().unwrap().starts_with("1. "), "{id}");
        scene.host.fail_undo(&own, false);
        scene
            .reset()
            .await
            .unwrap_or_else(|error| panic!("{id}: {}", error.message()));
        assert_eq!(scene.machine(), before, "{id}: not clean after all");
    }
    assert!(tried > 20, "{tried}");
}

fn stem(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(stem, _)| stem)
}

async fn all_ids(scene: &Scene) -> Vec<String> {
    let told = scene.journal().tell().await.unwrap().unwrap();
    let steps = told
        .iter()
        .flat_map(|told| told.state.header().definition.steps());
    steps.map(|spec| spec.id.to_string()).collect()
}

/// Which sagas go through the proofs: fails anywhere, repeated, undone twice, its undo fails, stopped at every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proved {
    /// A worker's join: muster-host/sim, join/tests/crashes, resets.
    Worker,
    /// `muster preflight --fix`: muster-host/sim, resets.
    Repair,
    /// What a reset removes for good: resets.
    Reset,
    /// A control-plane join, with stacked or external etcd or an external authority: planes.
    ControlPlane,
}

macro_rules! every_step {
    ($($kind:ident => $proved:ident),* $(,)?) => {
        /// The kind of a step. It does not compile for one that nobody has said where it is proved.
        fn kind(step: &Step) -> &'static str {
            match step { $(Step::$kind { .. } => stringify!($kind),)* }
        }
        const EVERY: &[(&str, Proved)] = &[$((stringify!($kind), Proved::$proved)),*];
    };
}

every_step! {
    MakeDir => Worker,
    ClaimDir => Worker,
    ClaimPods => Worker,
    WriteFile => Worker,
    WriteSecret => Worker,
    Discard => Worker,
    Symlink => Worker,
    InstallUnit => Worker,
    EnableService => Worker,
    StopService => Reset,
    StartService => Worker,
    SpawnSupervised => Worker,
    AwaitKubelet => Worker,
    RequestCertificate => Worker,
    ClaimNode => Worker,
    MarkNode => Worker,
    AwaitNode => Worker,
    LoadModule => Repair,
    SetSysctl => Repair,
    SwapOff => Repair,
    Purge => Reset,
    WriteMade => ControlPlane,
    PrepareControlPlane => ControlPlane,
    TakeTurn => ControlPlane,
    ReleaseTurn => ControlPlane,
    AwaitEtcd => ControlPlane,
    AddEtcdLearner => ControlPlane,
    PromoteEtcdMember => ControlPlane,
    MarkControlPlane => ControlPlane,
    AwaitComponents => ControlPlane,
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_step_occurs_in_a_saga_that_is_proved() {
    let mut seen: BTreeMap<&'static str, Vec<Proved>> = BTreeMap::new();
    let mut note = |steps: &[Step], proved| {
        for step in steps {
            seen.entry(kind(step)).or_default().push(proved);
        }
    };
    // Workers: bare, with systemd, with a kubelet of its own.
    let own = |systemd: bool, kubelet: bool| {
        let host = SimHost::new("n1");
        if kubelet {
            host.install_system_kubelet(true);
        }
        if systemd {
            host.with_facts(|facts| facts.service_manager = muster_plan::ServiceManager::Systemd);
        }
        host
    };
    for (systemd, kubelet) in [(false, false), (true, false), (true, true)] {
        let facts = own(systemd, kubelet).gather().await.unwrap();
        let mut request = options("n1").request;
        if kubelet {
            request.runtime = Runtime::Cri { endpoint: None };
        }
        request.annotations = vec![("a".into(), "b".into())];
        request.node_ip = NodeIp::Unsaid;
        let answers =
            ClusterAnswers::new("https://10.0.0.1:6443", "a CA", jiff::Timestamp::UNIX_EPOCH);
        let plan = plan(&facts, &request, &answers).unwrap();
        let steps: Vec<Step> = plan.steps.into_iter().map(|step| step.step).collect();
        note(&steps, Proved::Worker);
    }
    let repair = planned_repairs(&neglected()).await;
    let repair: Vec<Step> = repair.into_iter().map(|step| step.step).collect();
    note(&repair, Proved::Repair);
    let scene = Scene::on(kubeadms_worker());
    scene.reset().await.unwrap();
    let reset: Vec<Step> = steps_of(&scene)
        .await
        .into_iter()
        .map(|(_, step)| step)
        .collect();
    note(&reset, Proved::Reset);

    for steps in super::planes::every_step().await {
        note(&steps, Proved::ControlPlane);
    }
    for (kind, proved) in EVERY {
        let sagas = seen.get(kind).map_or(&[][..], Vec::as_slice);
        assert!(
            sagas.contains(proved),
            "{kind} does not occur in {proved:?}: {sagas:?}"
        );
    }
}

#[test]
fn a_plan_of_what_is_foreign_touches_nothing_that_is_not_proved() {
    let facts = muster_plan::Facts::plain("n1", jiff::Timestamp::UNIX_EPOCH);
    let plan = foreign_node(
        &muster_plan::Evidence::default(),
        &facts,
        &Root::new("/"),
        &ResetWishes::default(),
        true,
    );
    assert_eq!((plan.steps.len(), plan.left_behind.len()), (0, 0));
}
