//! What flags or a file ask of a join, as kubeadm's own kind: flags go before the file where both may say it.
//!
//! It refuses to know what a join does.

use super::super::line::Parsed;
use super::super::refusal::{Refusal, warning};
use super::super::{ambient, config};
use super::{ADMIN_CONF, root};
use crate::printer::Printer;
use muster_kubeadm::config::{
    Ambient, BootstrapTokenDiscovery, DEFAULT_CRI_SOCKET, FileDiscovery, JoinConfiguration,
    JoinControlPlane, Patches, Strictness, is_ip_sloppy, read_join, resolve_join,
    validate_ignored_checks,
};
use std::path::Path;

/// The configuration that flags or a file ask for; flags go before the file where both may say it.
pub(super) fn configuration(line: &Parsed, printer: Printer) -> Result<JoinConfiguration, Refusal> {
    line.check_mixture()?;
    let mut ambient = ambient::gather();
    if !line.knows("cri-socket") {
        ambient = Ambient {
            cri_sockets: vec![DEFAULT_CRI_SOCKET.to_owned()],
            ..ambient
        };
    }
    if !line.knows("discovery-file")
        && !journal_tells(line)
        && !Path::new(&root().real(ADMIN_CONF)).exists()
    {
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
            kube_config_path: root().real(ADMIN_CONF),
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

/// Whether a join was begun here, so that a later phase can be taken up from its journal.
fn journal_tells(line: &Parsed) -> bool {
    let waits = line
        .path
        .last()
        .is_some_and(|phase| phase == "kubelet-wait-bootstrap");
    waits && line.is_given("config") && muster_fleet::StateDir::exists(&root())
}
