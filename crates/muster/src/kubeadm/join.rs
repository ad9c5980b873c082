//! `join` and `join phase …`: kubeadm's flags and files become a join of ours; its words tell how it goes.

use super::line::Parsed;
use super::mapping::{Surroundings, join_options};
use super::narration::Narrator;
use super::refusal::{Refusal, warning};
use super::{ambient, config};
use crate::exit::Failure;
use crate::printer::Printer;
use muster_fleet::{Event, EventSink, JoinError, JoinOptions, Joined};
use muster_handshake::ErrorClass;
use muster_host::{Host, LocalHost};
use muster_kubeadm::config::{
    Ambient, BootstrapTokenDiscovery, DEFAULT_CRI_SOCKET, FileDiscovery, JoinConfiguration,
    JoinControlPlane, Patches, Span, Strictness, is_ip_sloppy, read_join, resolve_join,
    validate_ignored_checks,
};
use muster_plan::paths::Root;
use muster_plan::{IgnoreSet, KubeletPreference, Phase, Step, Wait};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two tries to reach a server.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Where kubeadm writes what a rehearsal would have written.
const DRY_RUN_DIR: &str = "KUBEADM_JOIN_DRYRUN_DIR";
/// The administrator's kubeconfig.
const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";
/// Every phase that kubeadm's join knows, by its path.
const PHASES: [&str; 13] = [
    "preflight",
    "control-plane-prepare",
    "control-plane-prepare/download-certs",
    "control-plane-prepare/certs",
    "control-plane-prepare/kubeconfig",
    "control-plane-prepare/control-plane",
    "check-etcd",
    "kubelet-start",
    "etcd-join",
    "kubelet-wait-bootstrap",
    "control-plane-join",
    "control-plane-join/mark-control-plane",
    "wait-control-plane",
];

const WORKER_DONE: &str = "
This node has joined the cluster:
* Certificate signing request was sent to apiserver and a response was received.
* The Kubelet was informed of the new secure connection details.

Run 'kubectl get nodes' on the control-plane to see this node join the cluster.

";

/// Carries out `join`.
pub(super) async fn run(line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let join = configuration(line, printer)?;
    let skipped = skipped(line, &join)?;
    let mut options = options_of(line, &join, printer).await?;
    let checks = !skipped.contains(&"preflight");
    if !checks {
        options.request.ignore = everything()?;
    }
    let narrator = Narrator::new(printer, !checks, options.request.kubelet_seconds);
    let host = local_host(&options);
    let whole = |phase: &&str| ["preflight", "check-etcd"].contains(phase);
    let phases = if options.dry_run || skipped.iter().all(whole) {
        None
    } else {
        Some(phases_without(&skipped, join.control_plane.is_some())?)
    };
    let joined = patiently(&join, &options, phases.as_deref(), &host, &narrator.sink())
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
    printer.text(closing(&join));
    Ok(())
}

/// As kubeadm, a join waits for a server that cannot be reached yet, for as long as the configuration says; unlike
/// kubeadm it stops at once at what will not pass by itself.
pub(crate) async fn patiently(
    join: &JoinConfiguration,
    options: &JoinOptions,
    phases: Option<&[Phase]>,
    host: &Arc<dyn Host>,
    sink: &EventSink,
) -> Result<Joined, JoinError> {
    let limit = join.timeouts.discovery.map_or(300, Span::as_secs);
    let limit = Duration::from_secs(u64::try_from(limit).unwrap_or_default());
    let started = Instant::now();
    loop {
        let done = match phases {
            None => muster_fleet::join(options, Arc::clone(host), sink).await,
            Some(phases) => {
                muster_fleet::join_phases(options, phases, Arc::clone(host), sink).await
            }
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

fn closing(join: &JoinConfiguration) -> String {
    if join.control_plane.is_none() {
        return WORKER_DONE.to_owned();
    }
    format!(
        "
This node has joined the cluster and a new control plane instance was created:

* Certificate signing request was sent to apiserver and approval was received.
* The Kubelet was informed of the new secure connection details.
* Control plane label and taint were applied to the new node.
* The Kubernetes control plane instances scaled up.
* A new etcd member was added to the local/stacked etcd cluster.

To start administering your cluster from this node, you need to run the following as a regular user:

	mkdir -p $HOME/.kube
	sudo cp -i {ADMIN_CONF} $HOME/.kube/config
	sudo chown $(id -u):$(id -g) $HOME/.kube/config

Run 'kubectl get nodes' to see this node join the cluster.

"
    )
}

/// The configuration that flags or a file ask for; flags go before the file where both may say it.
fn configuration(line: &Parsed, printer: Printer) -> Result<JoinConfiguration, Refusal> {
    line.check_mixture()?;
    let mut ambient = ambient::gather();
    if !line.knows("cri-socket") {
        ambient = Ambient {
            cri_sockets: vec![DEFAULT_CRI_SOCKET.to_owned()],
            ..ambient
        };
    }
    if !line.knows("discovery-file") && !Path::new(ADMIN_CONF).exists() && !journal_tells(line) {
        return Err(Refusal::usage(format!(
            "File {ADMIN_CONF} does not exists. Please use 'kubeadm join phase control-plane-prepare' subcommands to generate it."
        )));
    }
    let mut reading = match line.text("config").filter(|path| !path.is_empty()) {
        Some(path) => read_join(&config::read_file(path)?, &ambient, Strictness::Lenient)?,
        None => resolve_join(of_flags(line, printer), &ambient)?,
    };
    config::tell(&reading.warnings, printer);
    let join = &mut reading.value;
    let node = &mut join.node_registration;
    let given = line.list("ignore-preflight-errors");
    let ignored = node
        .ignore_preflight_errors
        .iter()
        .chain(&given)
        .map(String::as_str);
    node.ignore_preflight_errors =
        validate_ignored_checks(ignored).map_err(|error| Refusal::usage(error.to_string()))?;
    if let Some(name) = line.text("node-name").filter(|name| !name.is_empty()) {
        // Node names are lower case; with the name as typed the checks would look for a Node that cannot be.
        node.name = name.trim().to_lowercase();
    }
    if line.is_given("dry-run") {
        join.dry_run = line.is_on("dry-run");
    }
    if let Some(directory) = line
        .text("patches")
        .filter(|directory| !directory.is_empty())
    {
        join.patches = Some(Patches {
            directory: directory.to_owned(),
        });
    }
    if let Some(control_plane) = &join.control_plane {
        let address = &control_plane.local_api_endpoint.advertise_address;
        if !is_ip_sloppy(address) || address.as_str() == "0.0.0.0" || address.as_str() == "::" {
            return Err(Refusal::usage(format!(
                "cannot use {address:?} as the bind address for the API Server"
            )));
        }
    }
    Ok(reading.value)
}

fn of_flags(line: &Parsed, printer: Printer) -> JoinConfiguration {
    let text = |name: &str| line.text(name).unwrap_or_default().to_owned();
    let mut join = JoinConfiguration::default();
    let node = &mut join.node_registration;
    node.name = text("node-name");
    node.cri_socket = text("cri-socket");
    let or_token = |own: String| if own.is_empty() { text("token") } else { own };
    let discovery = &mut join.discovery;
    // The token for the request is its own flag's, else `--token`, else that of discovery: kubeadm lets the last go
    // before the second.
    discovery.tls_bootstrap_token = or_token(text("tls-bootstrap-token")).into();
    if let Some(endpoint) = line.arguments.first() {
        discovery.bootstrap_token = Some(BootstrapTokenDiscovery {
            token: or_token(text("discovery-token")).into(),
            api_server_endpoint: endpoint.clone(),
            ca_cert_hashes: line.list("discovery-token-ca-cert-hash"),
            unsafe_skip_ca_verification: line.is_on("discovery-token-unsafe-skip-ca-verification"),
        });
    }
    let file = text("discovery-file");
    if !file.is_empty() {
        discovery.file = Some(FileDiscovery {
            kube_config_path: file,
        });
    } else if !line.knows("discovery-file") {
        discovery.file = Some(FileDiscovery {
            kube_config_path: ADMIN_CONF.to_owned(),
        });
    }
    let own_flags = [
        "certificate-key",
        "apiserver-advertise-address",
        "apiserver-bind-port",
    ];
    if line.is_on("control-plane") {
        let mut control_plane = JoinControlPlane {
            certificate_key: text("certificate-key").into(),
            ..JoinControlPlane::default()
        };
        control_plane.local_api_endpoint.advertise_address = text("apiserver-advertise-address");
        control_plane.local_api_endpoint.bind_port =
            line.number("apiserver-bind-port").unwrap_or(0);
        join.control_plane = Some(control_plane);
    } else if own_flags.iter().any(|flag| line.is_given(flag)) {
        printer.note(warning(&format!(
            "[preflight] WARNING: --control-plane is also required when passing control-plane related flags such as [{}]",
            own_flags.join(", ")
        )));
    }
    join
}

/// The phases to leave out: of the flag, else of the file. A name that is none is refused.
fn skipped(line: &Parsed, join: &JoinConfiguration) -> Result<Vec<&'static str>, Refusal> {
    let given = line.list("skip-phases");
    let names = if given.is_empty() {
        &join.skip_phases
    } else {
        &given
    };
    names
        .iter()
        .map(|name| {
            let known = PHASES
                .iter()
                .copied()
                .find(|phase| *phase == name.to_lowercase());
            known.ok_or_else(|| Refusal::usage(format!("invalid phase name: {name}")))
        })
        .collect()
}

/// The phases of ours that stay when some of kubeadm's are left out. A join is one saga, each step of which stands on
/// the ones before it: so phases can be left out at its end, and those that a worker does not have.
fn phases_without(skipped: &[&str], control_plane: bool) -> Result<Vec<Phase>, Refusal> {
    let worker = [
        ("kubelet-start", Phase::TlsBootstrap),
        ("kubelet-start", Phase::KubeletStart),
        ("kubelet-wait-bootstrap", Phase::KubeletWait),
        ("kubelet-wait-bootstrap", Phase::NodeWait),
    ];
    let plane = [
        ("etcd-join", Phase::EtcdJoin),
        ("control-plane-prepare/control-plane", Phase::ControlPlane),
        (
            "control-plane-join/mark-control-plane",
            Phase::MarkControlPlane,
        ),
        ("wait-control-plane", Phase::WaitControlPlane),
    ];
    let mut all = vec![("control-plane-prepare", Phase::ControlPlanePrepare)];
    all.extend(worker);
    all.extend(plane);
    all.retain(|(_, phase)| control_plane || worker.iter().any(|(_, of)| of == phase));
    let left_out = |name: &str| {
        let group = name.split('/').next().unwrap_or(name);
        skipped
            .iter()
            .any(|skip| *skip == name || *skip == group || skip.starts_with(&format!("{name}/")))
    };
    let stay: Vec<Phase> = all
        .iter()
        .take_while(|(name, _)| !left_out(name))
        .map(|(_, phase)| *phase)
        .collect();
    match all
        .iter()
        .skip(stay.len())
        .find(|(name, _)| !left_out(name))
    {
        None if !stay.is_empty() => Ok(stay),
        _ => {
            let names: Vec<&str> = all
                .iter()
                .map(|(name, _)| *name)
                .filter(|name| left_out(name))
                .collect();
            Err(Refusal::usage(format!(
                "phase {} cannot be skipped: what comes after it stands on it",
                names.first().unwrap_or(&"kubelet-start")
            ))
            .cure("phases at the end of a join can be skipped, and preflight"))
        }
    }
}

fn everything() -> Result<IgnoreSet, Refusal> {
    IgnoreSet::parse(["all"]).map_err(|error| Refusal::failed(error.to_string()))
}

/// Where the machine is: `MUSTER_ROOT` stands for `/`, `MUSTER_RUNTIME=hollow` for a machine that runs no containers,
/// `MUSTER_KUBELET` for which kubelet. kubeadm's command line has no flags for them.
pub(super) fn surroundings(dry_run: bool) -> Result<Surroundings, Refusal> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let root = variable("MUSTER_ROOT");
    let wrong = |name: &str, value: &str| Refusal::usage(format!("{name}={value} is not known"));
    Ok(Surroundings {
        root: Root::new(if root.is_empty() { "/" } else { &root }),
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

/// Whether a join was begun here, so that a later phase can be taken up from its journal.
fn journal_tells(line: &Parsed) -> bool {
    let waits = line
        .path
        .last()
        .is_some_and(|phase| phase == "kubelet-wait-bootstrap");
    let root = std::env::var("MUSTER_ROOT").unwrap_or_default();
    waits
        && line.is_given("config")
        && muster_fleet::StateDir::exists(&Root::new(if root.is_empty() { "/" } else { &root }))
}

/// Carries out `join phase …`.
pub(super) async fn phase(path: &[&str], line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    if *path == ["wait-control-plane"] {
        // It takes no flag by which it could learn that this is a control plane.
        return Ok(());
    }
    let join = configuration(line, printer)?;
    let mut options = options_of(line, &join, printer).await?;
    let host = local_host(&options);
    match path {
        ["preflight"] => {
            let narrator = Narrator::new(printer, false, options.request.kubelet_seconds);
            // Everything but the deeds: what a rehearsal does.
            options.dry_run = true;
            let sink = narrator.sink();
            let without_plan = EventSink::new(move |event| {
                if !matches!(event, Event::Planned { .. }) {
                    sink.tell(event);
                }
            });
            let looked = patiently(&join, &options, None, &host, &without_plan).await;
            looked
                .map(|_| ())
                .map_err(|error| failed(&error, &narrator))
        }
        ["kubelet-start"] => {
            options.request.ignore = everything()?;
            one_phase(
                &join,
                &options,
                &[Phase::TlsBootstrap, Phase::KubeletStart],
                host,
                printer,
            )
            .await
        }
        ["kubelet-wait-bootstrap"] => {
            let begun = muster_fleet::StateDir::exists(&options.request.root);
            if !begun && !options.dry_run {
                return Err(Refusal::failed(
                    "error execution phase kubelet-wait-bootstrap: no join was begun on this machine",
                )
                .cure("run 'kubeadm join phase kubelet-start' first"));
            }
            let all = [
                Phase::TlsBootstrap,
                Phase::KubeletStart,
                Phase::KubeletWait,
                Phase::NodeWait,
            ];
            one_phase(&join, &options, &all, host, printer).await
        }
        other => control_plane_phase(other, &join),
    }
}

/// On a worker every phase of control planes does nothing.
fn control_plane_phase(path: &[&str], join: &JoinConfiguration) -> Result<(), Refusal> {
    if join.control_plane.is_none() {
        return Ok(());
    }
    let name = path.join("/");
    Err(Refusal::usage(format!(
        "phase {name} cannot be run alone: muster carries out the phases of a control plane as one join that can be taken back"
    ))
    .cure("run 'kubeadm join --control-plane' as a whole"))
}

async fn one_phase(
    join: &JoinConfiguration,
    options: &JoinOptions,
    phases: &[Phase],
    host: Arc<dyn Host>,
    printer: Printer,
) -> Result<(), Refusal> {
    let narrator = Narrator::new(printer, true, options.request.kubelet_seconds);
    let sink = narrator.sink();
    let phases = (!options.dry_run).then_some(phases);
    let done = patiently(join, options, phases, &host, &sink).await;
    done.map(|_| ()).map_err(|error| failed(&error, &narrator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_left_out_at_the_end_only() {
        let worker = phases_without(&["kubelet-wait-bootstrap"], false).unwrap();
        assert_eq!(worker, [Phase::TlsBootstrap, Phase::KubeletStart]);
        // What a worker does not have is left out of it anyway.
        assert_eq!(
            phases_without(&["etcd-join", "control-plane-prepare/certs"], false)
                .unwrap()
                .len(),
            4
        );
        assert!(phases_without(&["kubelet-start"], false).is_err());
        let plane = phases_without(&["wait-control-plane"], true).unwrap();
        assert_eq!(plane.last(), Some(&Phase::MarkControlPlane));
        assert!(phases_without(&["control-plane-prepare/certs"], true).is_err());
        assert!(phases_without(&["etcd-join"], true).is_err());
        assert_eq!(
            phases_without(&["control-plane-join", "wait-control-plane"], true)
                .unwrap()
                .last(),
            Some(&Phase::ControlPlane)
        );
    }
}
