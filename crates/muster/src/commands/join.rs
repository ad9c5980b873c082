//! `muster join`: this machine into a cluster.

use crate::args::join::{Join, KubeletChoice, KubeletFlags, Prefer, Wait};
use crate::args::kubelet::Runtime;
use crate::commands::{join_config, join_token, serving};
use crate::exit::Failure;
use crate::kubeadm::join::patiently;
use crate::narration;
use crate::printer::{Output, Printer};
use crate::progress::Ticker;
use crate::signals;
use crate::way_in::{WayIn, is_administrator};
use jiff::SignedDuration;
use muster_fleet::{Credential, Event, EventSink, JoinError, JoinOptions, Joined};
use muster_handshake::EndpointChoice;
use muster_host::{Host, LocalHost};
use muster_identity::{GoDuration, JoinRole, NodeName, Secret};
use muster_kubeadm::patches::Patches;
use muster_plan::paths::Root;
use muster_plan::{
    IgnoreSet, JoinRequest, KubeletPreference, NodeIp, Taint, label_command, may_node_set,
    parse_annotations, parse_labels,
};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// Largest patch file that is read, in bytes; a larger one is told as such.
const LARGEST_PATCH: u64 = (1 << 20) + 1;

/// Carries out `muster join`.
pub(crate) async fn run(join: Join, printer: Printer) -> Result<(), Failure> {
    let root = &join.course.root;
    let host = local_host(root);
    let ticker = Ticker::new(printer);
    let events = sink(printer, &ticker);
    let (options, joined) = match &join.config {
        Some(file) => {
            let (options, file) = join_config::options(&join, file, printer).await?;
            let joined = patiently(&file, &options, None, &host, &events).await;
            (options, joined)
        }
        None => {
            let options = options(&join).await?;
            let joined = muster_fleet::join(&options, host, &events).await;
            (options, joined)
        }
    };
    ticker.end();
    let joined = joined.map_err(|error| join_failure(&error))?;
    if !options.dry_run {
        let waits = join.course.wait == Wait::Serving;
        let seconds = options.request.wait_seconds;
        serving::await_certificate(root, waits.then_some(seconds), &options, printer).await?;
    }
    if printer.output() == Output::Text && (joined.already || !options.dry_run) {
        printer.text(closing_words(&joined, root));
    }
    Ok(())
}

/// Everything that can be wrong with the flags is told here, before the cluster is asked anything.
async fn options(join: &Join) -> Result<JoinOptions, Failure> {
    let course = &join.course;
    let seconds = seconds("--timeout", &course.timeout)?;
    let credential = way_in(join, seconds)?.resolve().await?;
    let node_name = node_name(join, &credential)?;
    let admin = is_administrator(join.credential.kubeconfig.as_deref(), &credential);
    let (labels, admin_labels) = labels(join, &node_name, admin)?;
    let ignore = IgnoreSet::parse(course.ignore_preflight_errors.iter().map(String::as_str))
        .map_err(|error| {
            Failure::usage("--ignore-preflight-errors cannot be used").because(&error)
        })?;
    let wrong = |flag: &str, error: &(dyn std::error::Error + 'static)| {
        Failure::usage(format!("{flag} cannot be used")).because(error)
    };
    let taints: Result<Vec<Taint>, _> = join
        .node
        .register_with_taints
        .iter()
        .map(|text| Taint::parse(text))
        .collect();
    let taints = taints.map_err(|error| wrong("--register-with-taints", &error))?;
    let certificate_key = join.plane.key()?;
    let request = JoinRequest {
        control_plane: join.plane.request(certificate_key.is_some(), &taints),
        root: root_of(&course.root),
        kubelet: kubelet_preference(join.kubelet.kubelet),
        executable: executable()?,
        runtime: runtime(&join.kubelet),
        wait: match course.wait {
            Wait::Registered => muster_plan::Wait::Registered,
            Wait::Ready | Wait::Serving => muster_plan::Wait::Ready,
            Wait::None => muster_plan::Wait::None,
        },
        wait_seconds: seconds,
        kubelet_seconds: seconds,
        labels,
        admin_labels,
        annotations: parse_annotations(&join.node.node_annotations)
            .map_err(|error| wrong("--node-annotation", &error))?,
        taints,
        extra_args: arguments(&join.kubelet.kubelet_args)?,
        node_ip: node_ip(&join.node.node_ip)?,
        cluster_dns: join.kubelet.cluster_dns.clone(),
        cluster_domain: join.kubelet.cluster_domain.clone(),
        patches: match &join.kubelet.patches {
            Some(folder) => patches_in(folder)?,
            None => Patches::default(),
        },
        ignore,
        ..JoinRequest::new(credential.endpoint().clone(), node_name)
    };
    Ok(JoinOptions {
        request,
        credential,
        cancel: signals::cancelled_when_stopped(),
        dry_run: course.dry_run,
        keep_on_failure: course.keep_on_failure,
        entropy: crate::entropy::fill,
        certificate_key,
    })
}

fn way_in(join: &Join, approval_seconds: u32) -> Result<WayIn, Failure> {
    let flags = &join.credential;
    let admin_conf = join.plane.admin_conf(&join.course.root);
    let kubeconfig = flags.kubeconfig.clone().or(admin_conf);
    // An administrator's kubeconfig needs no token, also when one happens to be in the environment.
    let token = match kubeconfig {
        Some(_) => None,
        None => join_token::text(flags)?,
    };
    let patience = seconds("--discovery-timeout", &flags.discovery_timeout)?;
    Ok(WayIn {
        endpoint: join.endpoint.clone(),
        token,
        discovery_token: flags.discovery_token.clone().map(Secret::new),
        tls_bootstrap_token: flags.tls_bootstrap_token.clone().map(Secret::new),
        pins: flags.pins.clone(),
        unsafe_skip_ca_verification: flags.unsafe_skip_ca_verification,
        discovery_file: flags.discovery_file.clone(),
        certificate_authority: flags.certificate_authority.clone(),
        kubeconfig,
        choice: match flags.prefer_endpoint {
            Prefer::Typed => EndpointChoice::TypedOrAdvertised,
            Prefer::Advertised => EndpointChoice::Advertised,
        },
        patience: SignedDuration::from_secs(i64::from(patience)),
        approval_limit: SignedDuration::from_secs(i64::from(approval_seconds)),
        profile: join_token::profile(join)?,
        role: Some(if join.plane.control_plane {
            JoinRole::Controller
        } else {
            JoinRole::Worker
        }),
    })
}

type Labels = Vec<(String, String)>;

/// The labels that the node gives itself, and those that an administrator gives it.
fn labels(join: &Join, node: &NodeName, admin: bool) -> Result<(Labels, Labels), Failure> {
    let all = parse_labels(&join.node.node_labels)
        .map_err(|error| Failure::usage("--node-labels cannot be used").because(&error))?;
    let (own, restricted): (Labels, Labels) =
        all.into_iter().partition(|(key, _)| may_node_set(key));
    if restricted.is_empty() || admin {
        return Ok((own, restricted));
    }
    let keys: Vec<&str> = restricted.iter().map(|(key, _)| key.as_str()).collect();
    Err(Failure::usage(format!(
        "a node may not give itself the label {} (NodeRestriction)",
        keys.join(", ")
    ))
    .cure("join without it, then as an administrator:")
    .cure(format!("  {}", label_command(node.as_str(), &restricted)))
    .cure("or join with --kubeconfig FILE of an administrator, who sets it"))
}

fn node_ip(texts: &[String]) -> Result<NodeIp, Failure> {
    let wrong = |what: &str| Err(Failure::usage(format!("--node-ip: {what}")));
    match texts {
        [] => return Ok(NodeIp::Unsaid),
        [one] if one == "auto" => return Ok(NodeIp::ByRoute),
        _ => {}
    }
    let mut addresses: Vec<IpAddr> = Vec::new();
    for text in texts {
        match text.trim().parse() {
            Ok(address) => addresses.push(address),
            Err(_) => return wrong(&format!("{text:?} is neither an IP address nor `auto`")),
        }
    }
    match addresses.as_slice() {
        [_] => Ok(NodeIp::Given(addresses)),
        [a, b] if a.is_ipv4() != b.is_ipv4() => Ok(NodeIp::Given(addresses)),
        [_, _] => wrong("two addresses are one of each family"),
        _ => wrong("there are at most two addresses, one of each family"),
    }
}

/// `name=value`, with or without dashes before the name.
fn arguments(texts: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let pair = |text: &String| {
        let (name, value) = text.trim_start_matches('-').split_once('=')?;
        (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    };
    texts
        .iter()
        .map(|text| {
            pair(text).ok_or_else(|| {
                Failure::usage(format!(
                    "--kubelet-arg: {text:?} is not of the form name=value"
                ))
            })
        })
        .collect()
}

/// The patches in a directory; what lies below it in further directories is not read.
pub(crate) fn patches_in(folder: &Path) -> Result<Patches, Failure> {
    let wrong = |error: &(dyn std::error::Error + 'static)| {
        Failure::usage(format!(
            "the patches in {} cannot be used",
            folder.display()
        ))
        .because(error)
    };
    let mut files = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(|error| wrong(&error))?;
    for entry in entries {
        let entry = entry.map_err(|error| wrong(&error))?;
        let is_file = std::fs::metadata(entry.path()).is_ok_and(|found| found.is_file());
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if is_file {
            let mut content = Vec::new();
            let file = std::fs::File::open(entry.path()).map_err(|error| wrong(&error))?;
            std::io::Read::read_to_end(&mut std::io::Read::take(file, LARGEST_PATCH), &mut content)
                .map_err(|error| wrong(&error))?;
            files.push((name, content));
        }
    }
    Patches::read(files).map_err(|error| wrong(&error))
}

pub(crate) const fn kubelet_preference(choice: KubeletChoice) -> KubeletPreference {
    match choice {
        KubeletChoice::Auto => KubeletPreference::Auto,
        KubeletChoice::System => KubeletPreference::System,
        KubeletChoice::Builtin => KubeletPreference::BuiltIn,
    }
}

fn runtime(flags: &KubeletFlags) -> muster_plan::Runtime {
    match flags.runtime {
        Runtime::Hollow => muster_plan::Runtime::Hollow,
        Runtime::Cri => muster_plan::Runtime::Cri {
            endpoint: flags.cri_socket.clone().map(as_url),
        },
    }
}

/// The name that was given, else that of the certificate where the credential is one, else the machine's.
fn node_name(join: &Join, credential: &Credential) -> Result<NodeName, Failure> {
    if let (None, Some(name)) = (&join.node.node_name, credential.certified_node()) {
        return Ok(name);
    }
    let own = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let name = join.node.node_name.as_deref().unwrap_or(&own);
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

pub(crate) fn as_url(socket: String) -> String {
    if socket.contains("://") {
        socket
    } else {
        format!("unix://{socket}")
    }
}

fn seconds(flag: &str, text: &str) -> Result<u32, Failure> {
    let duration = GoDuration::parse(text)
        .map_err(|error| Failure::usage(format!("{flag} is not a duration")).because(&error))?;
    u32::try_from(duration.to_signed_duration().as_secs())
        .map_err(|_| Failure::usage(format!("{flag} must be between 0s and 136 years")))
}

pub(crate) fn root_of(folder: &Path) -> Root {
    Root::new(&folder.to_string_lossy())
}

pub(crate) fn local_host(root: &Path) -> Arc<dyn Host> {
    Arc::new(LocalHost::new(root_of(root)))
}

/// Shows events: as JSON lines, or in words on standard error. The end is told by the exit.
pub(crate) fn sink(printer: Printer, ticker: &Ticker) -> EventSink {
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

pub(crate) fn join_failure(error: &JoinError) -> Failure {
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
