//! `muster join` and `muster reset`: this machine into a cluster, and out of it again.

use crate::args::join::{Join, KubeletChoice, Reset, Wait};
use crate::args::kubelet::Runtime;
use crate::commands::kubelet::labels;
use crate::exit::Failure;
use crate::narration;
use crate::printer::{Output, Printer};
use crate::progress::Ticker;
use crate::{handshake_failure, signals};
use jiff::SignedDuration;
use muster_fleet::{
    Credential, Event, EventSink, JoinError, JoinOptions, Joined, ResetOptions, ResetOutcome,
};
use muster_handshake::HandshakeError;
use muster_handshake::discovery::Trusting;
use muster_host::{Host, LocalHost};
use muster_identity::{BootstrapToken, CaPin, Endpoint, GoDuration, NodeName};
use muster_plan::paths::Root;
use muster_plan::{IgnoreSet, JoinRequest, KubeletPreference, Taint};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Port of the API server, unless another one is named.
const API_PORT: u16 = 6443;

/// Carries out `muster join`.
pub(crate) async fn run(join: Join, printer: Printer) -> Result<(), Failure> {
    let dry_run = join.dry_run;
    let options = options(&join)?;
    let host = local_host(&join.root);
    let ticker = Ticker::new(printer);
    let joined = muster_fleet::join(&options, host, &sink(printer, &ticker)).await;
    ticker.end();
    let joined = joined.map_err(|error| join_failure(&error))?;
    if printer.output() == Output::Text && (joined.already || !dry_run) {
        printer.text(closing_words(&joined, &join.root));
    }
    Ok(())
}

/// Everything that can be wrong with the flags is told here, before anybody is asked anything.
fn options(join: &Join) -> Result<JoinOptions, Failure> {
    let endpoint = Endpoint::parse_with_default_port(&join.endpoint, API_PORT)
        .map_err(|error| Failure::usage("the endpoint cannot be used").because(&error))?;
    let token = token(join)?;
    let seconds = seconds(&join.timeout)?;
    let taints: Result<Vec<Taint>, _> = join
        .node
        .register_with_taints
        .iter()
        .map(|text| Taint::parse(text))
        .collect();
    let ignore = IgnoreSet::parse(join.ignore_preflight_errors.iter().map(String::as_str))
        .map_err(|error| {
            Failure::usage("--ignore-preflight-errors cannot be used").because(&error)
        })?;
    let node_ip = join
        .node
        .node_ip
        .map(|address| ("node-ip".to_owned(), address.to_string()));
    let request = JoinRequest {
        root: Root::new(&join.root.to_string_lossy()),
        kubelet: match join.kubelet {
            KubeletChoice::Auto => KubeletPreference::Auto,
            KubeletChoice::System => KubeletPreference::System,
            KubeletChoice::Builtin => KubeletPreference::BuiltIn,
        },
        executable: executable()?,
        runtime: match join.runtime {
            Runtime::Hollow => muster_plan::Runtime::Hollow,
            Runtime::Cri => muster_plan::Runtime::Cri {
                endpoint: join.cri_socket.clone().map(as_url),
            },
        },
        wait: match join.wait {
            Wait::Registered => muster_plan::Wait::Registered,
            Wait::Ready => muster_plan::Wait::Ready,
            Wait::None => muster_plan::Wait::None,
        },
        wait_seconds: seconds,
        kubelet_seconds: seconds,
        labels: labels(&join.node.node_labels)?.into_iter().collect(),
        taints: taints.map_err(|error| {
            Failure::usage("--register-with-taints cannot be used").because(&error)
        })?,
        extra_args: node_ip.into_iter().collect(),
        ignore,
        ..JoinRequest::new(endpoint, node_name(join)?)
    };
    let mut credential = Credential::token(request.endpoint.clone(), token, trusting(join)?);
    credential.approval_limit = SignedDuration::from_secs(i64::from(seconds));
    Ok(JoinOptions {
        request,
        credential,
        cancel: cancelled_by_signal(),
        dry_run: join.dry_run,
        keep_on_failure: join.keep_on_failure,
        entropy: crate::entropy::fill,
    })
}

fn token(join: &Join) -> Result<BootstrapToken, Failure> {
    let text = match (&join.token, &join.token_file) {
        (Some(text), _) if text == "-" => crate::entropy::line_of_standard_input()?,
        (Some(text), _) => text.clone(),
        (None, Some(path)) => crate::entropy::first_line_of(path)?,
        (None, None) => {
            return Err(Failure::usage("a join needs a token").cure(
                "give it with --token TOKEN, --token-file FILE, in $MUSTER_TOKEN, or as --token - on standard input",
            ));
        }
    };
    BootstrapToken::parse(text.trim())
        .map_err(|error| handshake_failure(&HandshakeError::from(error)))
}

fn trusting(join: &Join) -> Result<Trusting, Failure> {
    let pins: Result<Vec<CaPin>, _> = join.pins.iter().map(|text| CaPin::parse(text)).collect();
    let pins = pins.map_err(|error| handshake_failure(&HandshakeError::from(error)))?;
    match (pins.is_empty(), join.unsafe_skip_ca_verification) {
        (false, _) => Ok(Trusting::Pins(pins)),
        (true, true) => Ok(Trusting::WhoeverKnowsTheToken),
        (true, false) => Err(Failure::usage("a join needs to know whom to trust").cure(
            "pin the CA with --discovery-token-ca-cert-hash sha256:…; \
             `muster token create --print-join-command` prints the whole line",
        )),
    }
}

fn node_name(join: &Join) -> Result<NodeName, Failure> {
    let own = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let name = join.node_name.as_deref().unwrap_or(&own);
    NodeName::parse(name).map_err(|error| {
        Failure::usage("the node's name cannot be used")
            .because(&error)
            .cure("name it with --node-name NAME")
    })
}

/// This program, as the kubelet's unit and supervisor will start it.
fn executable() -> Result<String, Failure> {
    let path = std::env::current_exe()
        .map_err(|error| Failure::usage("this program's own path is unknown").because(&error))?;
    Ok(path.to_string_lossy().into_owned())
}

fn as_url(socket: String) -> String {
    if socket.contains("://") {
        socket
    } else {
        format!("unix://{socket}")
    }
}

fn seconds(text: &str) -> Result<u32, Failure> {
    let duration = GoDuration::parse(text)
        .map_err(|error| Failure::usage("--timeout is not a duration").because(&error))?;
    u32::try_from(duration.to_signed_duration().as_secs())
        .map_err(|_| Failure::usage("--timeout must be between 0s and 136 years"))
}

fn local_host(root: &Path) -> Arc<dyn Host> {
    Arc::new(LocalHost::new(Root::new(&root.to_string_lossy())))
}

/// Cancelled at the first SIGINT or SIGTERM.
fn cancelled_by_signal() -> CancellationToken {
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        signals::stopped().await;
        cancel.cancel();
    });
    token
}

/// Shows events: as JSON lines, or in words on standard error. The end is told by the exit.
fn sink(printer: Printer, ticker: &Ticker) -> EventSink {
    let ticker = ticker.clone();
    EventSink::new(move |event: Event| match (&event, printer.output()) {
        (Event::Failed { .. }, _) => {}
        (_, Output::Json | Output::Yaml) => printer.json(&event),
        (Event::Planned { page, .. }, _) => printer.text(page),
        (Event::PhaseStarted { phase }, _) => ticker.going_on(narration::doing(*phase)),
        _ => {
            if let Some(sentence) = narration::sentence(&event) {
                ticker.line(&sentence);
            }
        }
    })
}

fn join_failure(error: &JoinError) -> Failure {
    let mut failure = Failure::new(error.id(), error.exit_code(), error.message());
    let remedy = error.remedy().unwrap_or_default();
    failure.remedy.extend(remedy.lines().map(str::to_owned));
    failure
}

fn closing_words(joined: &Joined, root: &Path) -> String {
    let root = if root == Path::new("/") {
        String::new()
    } else {
        format!(" --root {}", root.display())
    };
    if joined.already {
        return format!(
            "{} is already a node of {}: nothing was changed\n",
            joined.node_name, joined.server
        );
    }
    format!(
        "\n{} has joined {}.\n\n  see it:       kubectl get nodes\n  take it back: muster reset{root}\n",
        joined.node_name, joined.server
    )
}

/// Carries out `muster reset`.
pub(crate) async fn reset(reset: Reset, printer: Printer) -> Result<(), Failure> {
    if !reset.force && !reset.dry_run && !confirmed(&reset, printer)? {
        return Err(Failure::usage("nothing was reset").cure("answer y, or use --force"));
    }
    let options = ResetOptions {
        admin_kubeconfig: reset.kubeconfig.clone(),
        dry_run: reset.dry_run,
    };
    let ticker = Ticker::new(printer);
    let host = local_host(&reset.root);
    let outcome = muster_fleet::reset(&options, host, &sink(printer, &ticker)).await;
    ticker.end();
    let outcome = outcome.map_err(|error| join_failure(&error))?;
    if printer.output() == Output::Text {
        printer.text(after_reset(&outcome));
    }
    Ok(())
}

/// Asks on the terminal, as kubeadm does.
fn confirmed(reset: &Reset, printer: Printer) -> Result<bool, Failure> {
    printer.note(format!(
        "This takes back what a join did below {}. Go on? [y/N]",
        reset.root.display()
    ));
    let answer = crate::entropy::line_of_standard_input()?;
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}

fn after_reset(outcome: &ResetOutcome) -> String {
    let (mut text, left_behind) = match outcome {
        ResetOutcome::Nothing { left_behind } => (
            "there is nothing of a join to take back\n".to_owned(),
            left_behind,
        ),
        ResetOutcome::Clean { left_behind } => (
            if left_behind.is_empty() {
                "this machine is as it was before the join\n".to_owned()
            } else {
                "the join is taken back as far as it goes\n".to_owned()
            },
            left_behind,
        ),
        ResetOutcome::Planned { undo } => {
            let mut text = String::from("a reset would\n");
            let lines = undo
                .iter()
                .filter(|line| !line.starts_with("nothing to do"));
            for (number, line) in lines.enumerate() {
                let _ = writeln!(text, "  {:2}. {line}", number + 1);
            }
            return text;
        }
    };
    for (number, residue) in left_behind.iter().enumerate() {
        if number == 0 {
            text.push_str("left for you:\n");
        }
        let _ = writeln!(
            text,
            "  {:2}. {} ({}): {}",
            number + 1,
            residue.what,
            residue.why,
            residue.remedy
        );
    }
    text
}
