//! `reset` and its phases: kubeadm's flags and questions; what is removed is what is provably ours.

use super::line::Parsed;
use super::refusal::{Refusal, warning};
use super::{ambient, config, join};
use crate::printer::Printer;
use muster_fleet::{Event, EventSink, Membership, ResetOptions, ResetOutcome};
use muster_host::{Host, LocalHost};
use muster_kubeadm::config::{
    Ambient, DEFAULT_CRI_SOCKET, ResetConfiguration, Strictness, read_reset, resolve_reset,
    validate_ignored_checks,
};
use muster_plan::ResetWishes;
use std::path::PathBuf;
use std::sync::Arc;

const PHASES: [&str; 3] = ["preflight", "remove-etcd-member", "cleanup-node"];

const INSTRUCTIONS: &str = "
The reset process does not perform cleanup of CNI plugin configuration,
network filtering rules and kubeconfig files.

For information on how to perform this cleanup manually, please see:
    https://k8s.io/docs/reference/setup-tools/kubeadm/kubeadm-reset/

";

/// Carries out `reset`.
pub(super) async fn run(line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let reset = configuration(line, printer)?;
    let given = line.list("skip-phases");
    let skipped = if given.is_empty() {
        &reset.skip_phases
    } else {
        &given
    };
    for name in skipped {
        if !PHASES.contains(&name.to_lowercase().as_str()) {
            return Err(Refusal::usage(format!("invalid phase name: {name}")));
        }
    }
    let skips = |phase: &str| skipped.iter().any(|name| name.eq_ignore_ascii_case(phase));
    if !skips("preflight") {
        preflight(&reset, printer)?;
    }
    let keeps_member = skips("remove-etcd-member");
    if !skips("cleanup-node") {
        clean_up(&reset, keeps_member, line, printer).await?;
    } else if !keeps_member {
        remove_member(&reset, line, printer).await?;
    }
    printer.text(INSTRUCTIONS);
    Ok(())
}

/// Carries out `reset phase …`.
pub(super) async fn phase(name: &str, line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let reset = configuration(line, printer)?;
    match name {
        "preflight" => preflight(&reset, printer),
        "cleanup-node" => clean_up(&reset, false, line, printer).await,
        _ => remove_member(&reset, line, printer).await,
    }
}

/// Ends the membership of the etcd here. Its data goes with cleanup-node: until then its process may still use it.
async fn remove_member(
    reset: &ResetConfiguration,
    line: &Parsed,
    printer: Printer,
) -> Result<(), Refusal> {
    let host: Arc<dyn Host> = Arc::new(LocalHost::new(join::surroundings(reset.dry_run)?.root));
    let done = muster_fleet::remove_etcd_member(&options(reset, false, line), host)
        .await
        .map_err(|error| {
            Refusal::new(error.id(), error.exit_code(), error.message())
                .in_front("error execution phase remove-etcd-member")
        })?;
    match done {
        // As kubeadm where no etcd of its making runs.
        Membership::None => {}
        Membership::Planned(_) => {
            printer
                .line("[dryrun] Would remove the etcd member on this node from the etcd cluster");
        }
        Membership::Over(name) => printer.line(format!(
            "[reset] etcd member {name} is no member of its cluster any more; phase cleanup-node removes its data"
        )),
        Membership::Stays(residue) => printer.note(warning(&format!(
            "[reset] Failed to remove etcd member: {}, please manually remove this etcd member using etcdctl ({})",
            residue.why, residue.remedy
        ))),
    }
    Ok(())
}

fn options(reset: &ResetConfiguration, keeps_member: bool, line: &Parsed) -> ResetOptions {
    // kubeadm names the administrator's kubeconfig by default, and does without it where there is none.
    let kubeconfig = PathBuf::from(line.text_or_default("kubeconfig"));
    ResetOptions {
        admin_kubeconfig: Some(kubeconfig).filter(|path| path.exists()),
        dry_run: reset.dry_run,
        wishes: ResetWishes {
            cleanup: true,
            cert_dir: reset.certificates_dir.trim_end_matches('/').to_owned(),
            cri_socket: Some(reset.cri_socket.clone()),
            cleanup_tmp_dir: reset.cleanup_tmp_dir,
            network_plugins: false,
            firewall: false,
        },
        keep_etcd_member: keeps_member,
    }
}

fn configuration(line: &Parsed, printer: Printer) -> Result<ResetConfiguration, Refusal> {
    line.check_mixture()?;
    let mut ambient = ambient::gather();
    if !line.knows("cri-socket") {
        ambient = Ambient {
            cri_sockets: vec![DEFAULT_CRI_SOCKET.to_owned()],
            ..ambient
        };
    }
    let mut reading = match line.text("config").filter(|path| !path.is_empty()) {
        Some(path) => read_reset(&config::read_file(path)?, &ambient, Strictness::Lenient)?,
        None => {
            let flags = ResetConfiguration {
                cleanup_tmp_dir: line.is_on("cleanup-tmp-dir"),
                certificates_dir: line.text_or_default("cert-dir").to_owned(),
                cri_socket: line.text("cri-socket").unwrap_or_default().to_owned(),
                force: line.is_on("force"),
                ..ResetConfiguration::default()
            };
            resolve_reset(flags, &ambient)?
        }
    };
    config::tell(&reading.warnings, printer);
    let reset = &mut reading.value;
    if line.is_given("dry-run") {
        reset.dry_run = line.is_on("dry-run");
    }
    let given = line.list("ignore-preflight-errors");
    let all = reset
        .ignore_preflight_errors
        .iter()
        .chain(&given)
        .map(String::as_str);
    reset.ignore_preflight_errors =
        validate_ignored_checks(all).map_err(|error| Refusal::usage(error.to_string()))?;
    Ok(reading.value)
}

fn preflight(reset: &ResetConfiguration, printer: Printer) -> Result<(), Refusal> {
    if !reset.force && !reset.dry_run {
        printer.note(warning(
            "[reset] WARNING: Changes made to this host by 'kubeadm init' or 'kubeadm join' will be reverted.",
        ));
        printer.text("[reset] Are you sure you want to proceed? [y/N]: ");
        let answer = crate::entropy::line_of_standard_input().map_err(|failure| {
            Refusal::from(failure).in_front("error execution phase preflight")
        })?;
        if !matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
            return Err(Refusal::failed(
                "error execution phase preflight: won't proceed; the user didn't answer (Y|y) in order to continue",
            ));
        }
    }
    printer.line("[preflight] Running pre-flight checks");
    let ignored = |name: &str| {
        reset
            .ignore_preflight_errors
            .iter()
            .any(|check| check == "all" || check.eq_ignore_ascii_case(name))
    };
    if !rustix::process::geteuid().is_root() {
        let text = "user is not running as root";
        if ignored("IsPrivilegedUser") {
            printer.note(format!("\t[WARNING IsPrivilegedUser]: {text}"));
        } else {
            printer.note(format!(
                "[preflight] Some fatal errors occurred:\n\t[ERROR IsPrivilegedUser]: {text}\n[preflight] If you know what you are doing, you can make a check non-fatal with `--ignore-preflight-errors=...`"
            ));
            return Err(Refusal::failed(
                "error execution phase preflight: preflight checks failed",
            ));
        }
    }
    Ok(())
}

/// `keeps_member` leaves etcd's member and its data: phase remove-etcd-member was left out.
async fn clean_up(
    reset: &ResetConfiguration,
    keeps_member: bool,
    line: &Parsed,
    printer: Printer,
) -> Result<(), Refusal> {
    let surroundings = join::surroundings(reset.dry_run)?;
    let options = options(reset, keeps_member, line);
    let host: Arc<dyn Host> = Arc::new(LocalHost::new(surroundings.root));
    let events = EventSink::new(move |event| match event {
        Event::StepUndone { description, .. } if !description.starts_with("nothing to do") => {
            printer.line(format!("[reset] {description}"));
        }
        Event::UndoFailed { step, failure } => {
            printer.note(warning(&format!("[reset] {step}: {}", failure.message)));
        }
        _ => {}
    });
    let outcome = muster_fleet::reset(&options, host, &events)
        .await
        .map_err(|error| {
            let mut refusal = Refusal::new(error.id(), error.exit_code(), error.message());
            for line in error.remedy().unwrap_or_default().lines() {
                refusal = refusal.cure(line);
            }
            refusal.in_front("error execution phase cleanup-node")
        })?;
    if let ResetOutcome::Planned { undo, .. } = &outcome {
        for line in undo
            .iter()
            .filter(|line| !line.starts_with("nothing to do"))
        {
            printer.line(format!("[dryrun] Would {line}"));
        }
    }
    if matches!(outcome, ResetOutcome::Nothing { .. }) {
        printer.line("[reset] There is nothing of a join to take back");
    }
    for residue in outcome.left_behind() {
        printer.note(warning(&format!(
            "[reset] Left: {} ({}): {}",
            residue.what, residue.why, residue.remedy
        )));
    }
    Ok(())
}
