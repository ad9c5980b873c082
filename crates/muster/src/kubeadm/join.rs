//! `join` and `join phase …`: kubeadm's flags and files become a join of ours; its words tell how it goes.

mod configuration;
mod phases;

use super::line::Parsed;
use super::mapping::{Surroundings, join_options};
use super::narration::Narrator;
use super::refusal::Refusal;
use crate::exit::Failure;
use crate::printer::Printer;
use configuration::configuration;
use muster_fleet::{EventSink, JoinError, JoinOptions, Joined};
use muster_handshake::ErrorClass;
use muster_host::{Host, LocalHost};
use muster_kubeadm::config::{JoinConfiguration, Span};
use muster_plan::paths::Root;
use muster_plan::{IgnoreSet, KubeletPreference, Part, Step, Wait};
pub(super) use phases::phase;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two tries to reach a server.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Where kubeadm writes what a rehearsal would have written.
const DRY_RUN_DIR: &str = "KUBEADM_JOIN_DRYRUN_DIR";
/// The administrator's kubeconfig.
const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";
/// The static pod of a stacked etcd.
const ETCD_MANIFEST: &str = "/etc/kubernetes/manifests/etcd.yaml";
const WORKER_DONE: &str = "
This node has joined the cluster:
* Certificate signing request was sent to apiserver and a response was received.
* The Kubelet was informed of the new secure connection details.

Run 'kubectl get nodes' on the control-plane to see this node join the cluster.

";

/// Carries out `join`.
pub(super) async fn run(line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let join = configuration(line, printer)?;
    let skipped = phases::skipped(line, &join)?;
    let mut join = join;
    phases::leave_to_others(&skipped, &mut join);
    let mut options = options_of(line, &join, printer).await?;
    options.request.left_out = phases::left_out(&skipped);
    let checks = !skipped.contains(&"preflight");
    if !checks {
        options.request.ignore = everything()?;
    }
    let narrator = Narrator::new(printer, !checks, options.request.kubelet_seconds);
    let host = local_host(&options);
    let joined = patiently(&join, &options, None, &host, &narrator.sink())
        .await
        .map_err(|error| failed(&error, &narrator))?;
    if options.dry_run {
        return rehearsed(&joined, printer);
    }
    if joined.already {
        printer.line(format!(
            "[join] This node is already node {:?} of {}: nothing was changed",
            joined.node_name, joined.server
        ));
    }
    printer.text(closing(&join, &options.request.root));
    Ok(())
}

/// As kubeadm, a join waits for a server that cannot be reached yet, for as long as the configuration says; unlike
/// kubeadm it stops at once at what will not pass by itself.
pub(crate) async fn patiently(
    join: &JoinConfiguration,
    options: &JoinOptions,
    parts: Option<&[Part]>,
    host: &Arc<dyn Host>,
    sink: &EventSink,
) -> Result<Joined, JoinError> {
    let limit = join.timeouts.discovery.map_or(300, Span::as_secs);
    let limit = Duration::from_secs(u64::try_from(limit).unwrap_or_default());
    let started = Instant::now();
    loop {
        let done = match parts {
            None => muster_fleet::join(options, Arc::clone(host), sink).await,
            Some(parts) => muster_fleet::join_phases(options, parts, Arc::clone(host), sink).await,
        };
        match done {
            Err(JoinError::Handshake(error))
                if error.class() == ErrorClass::Transient
                    && started.elapsed() < limit
                    && !options.cancel.is_cancelled() =>
            {
                tokio::time::sleep(TRY_AGAIN).await;
            }
            done => return done,
        }
    }
}

fn closing(join: &JoinConfiguration, root: &Root) -> String {
    if join.control_plane.is_none() {
        return WORKER_DONE.to_owned();
    }
    // With an etcd elsewhere none was added here.
    let etcd = if Path::new(&root.real(ETCD_MANIFEST)).exists() {
        "* A new etcd member was added to the local/stacked etcd cluster.\n"
    } else {
        ""
    };
    format!(
        "
This node has joined the cluster and a new control plane instance was created:

* Certificate signing request was sent to apiserver and approval was received.
* The Kubelet was informed of the new secure connection details.
* Control plane label and taint were applied to the new node.
* The Kubernetes control plane instances scaled up.
{etcd}
To start administering your cluster from this node, you need to run the following as a regular user:

	mkdir -p $HOME/.kube
	sudo cp -i {ADMIN_CONF} $HOME/.kube/config
	sudo chown $(id -u):$(id -g) $HOME/.kube/config

Run 'kubectl get nodes' to see this node join the cluster.

"
    )
}

fn everything() -> Result<IgnoreSet, Refusal> {
    IgnoreSet::parse(["all"]).map_err(|error| Refusal::failed(error.to_string()))
}

/// What stands for `/`.
fn root() -> Root {
    let root = std::env::var("MUSTER_ROOT").unwrap_or_default();
    Root::new(if root.is_empty() { "/" } else { &root })
}

/// Where the machine is: `MUSTER_ROOT` stands for `/`, `MUSTER_RUNTIME=hollow` for a machine that runs no containers,
/// `MUSTER_KUBELET` for which kubelet. kubeadm's command line has no flags for them.
pub(super) fn surroundings(dry_run: bool) -> Result<Surroundings, Refusal> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let wrong = |name: &str, value: &str| Refusal::usage(format!("{name}={value} is not known"));
    Ok(Surroundings {
        root: root(),
        kubelet: match variable("MUSTER_KUBELET").as_str() {
            "" | "auto" => KubeletPreference::Auto,
            "system" => KubeletPreference::System,
            "builtin" => KubeletPreference::BuiltIn,
            other => return Err(wrong("MUSTER_KUBELET", other)),
        },
        hollow: match variable("MUSTER_RUNTIME").as_str() {
            "" | "cri" => false,
            "hollow" => true,
            other => return Err(wrong("MUSTER_RUNTIME", other)),
        },
        wait: Wait::Registered,
        patient: true,
        dry_run,
        admin_conf: None,
    })
}

async fn options_of(
    line: &Parsed,
    join: &JoinConfiguration,
    printer: Printer,
) -> Result<JoinOptions, Refusal> {
    let mut surroundings = surroundings(join.dry_run)?;
    if line.is_on("control-plane") {
        surroundings.admin_conf =
            Some(PathBuf::from(surroundings.root.real(ADMIN_CONF))).filter(|path| path.is_file());
    }
    let options = join_options(join, &surroundings).await?;
    for ignored in options.request.patches.ignored() {
        printer.note(format!("[patches] Ignoring file {ignored:?}"));
    }
    tracing::debug!(command = ?line.path, "the join is resolved");
    Ok(options)
}

pub(super) fn local_host(options: &JoinOptions) -> Arc<dyn Host> {
    Arc::new(LocalHost::new(options.request.root.clone()))
}

/// An error as kubeadm tells it: with its phase.
fn failed(error: &JoinError, narrator: &Narrator) -> Refusal {
    if let JoinError::Preflight { findings } = error {
        narrator.fatal(findings);
        return Refusal::new(error.id(), error.exit_code(), "preflight checks failed")
            .in_front("error execution phase preflight");
    }
    let mut failure = Failure::new(error.id(), error.exit_code(), error.message());
    let remedy = error.remedy().unwrap_or_default();
    failure.remedy.extend(remedy.lines().map(str::to_owned));
    let refusal = Refusal::from(failure);
    match error {
        JoinError::Handshake(_) => refusal
            .in_front("couldn't validate the identity of the API Server")
            .in_front("error execution phase preflight"),
        JoinError::Step { .. } => {
            refusal.in_front(&format!("error execution phase {}", narrator.phase()))
        }
        _ => refusal,
    }
}

/// What a rehearsal would have written, where somebody wants to see it. Nothing else is written anywhere.
fn rehearsed(joined: &Joined, printer: Printer) -> Result<(), Refusal> {
    let Some(folder) = std::env::var_os(DRY_RUN_DIR).filter(|folder| !folder.is_empty()) else {
        return Ok(());
    };
    let folder = Path::new(&folder);
    let steps = joined.planned.iter().flat_map(|plan| &plan.steps);
    for planned in steps {
        if let Step::WriteFile {
            path,
            mode,
            content,
        } = &planned.step
        {
            let name = Path::new(path).file_name().unwrap_or_default();
            let target = folder.join(name);
            super::files::write(&target.to_string_lossy(), content.as_bytes(), *mode)?;
            printer.line(format!("[dryrun] Wrote {} to {}", path, target.display()));
        }
    }
    Ok(())
}
