//! `muster server`: the embedded control plane until it is told to stop.

use super::audit_settings;
use crate::args::server::Server;
use crate::control_plane::{ControlPlane, Datastore, Plan};
use crate::exit::{FAILED, Failure};
use crate::printer::Printer;
use crate::signals;
use jiff::SignedDuration;
use muster_identity::{Endpoint, GoDuration, Host};
use serde_json::json;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Port of the API server, unless another one is named.
const API_PORT: u16 = 6443;

/// Runs the control plane.
pub(crate) async fn run(server: Server, printer: Printer) -> Result<(), Failure> {
    let ready_file = server.ready_file.clone();
    let running = ControlPlane::start(plan(server)?).await?;
    let addresses = running.server.local_addrs();
    let kubeconfig = running.server.admin_kubeconfig_path();
    printer.note(format!(
        "the API server is ready at {}",
        running.server.endpoint().url()
    ));
    printer.note(format!("  export KUBECONFIG={}", kubeconfig.display()));
    if printer.output() == crate::printer::Output::Json {
        printer.json(&json!({
            "type": "server-ready",
            "addresses": addresses,
            "endpoint": running.server.endpoint().to_string(),
            "kubeconfig": kubeconfig,
        }));
    }
    if let Some(path) = ready_file {
        write_ready_file(&path, addresses)?;
    }
    sd_notify_ready();
    signals::stopped().await;
    running.stop().await;
    Ok(())
}

fn sd_notify_ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::debug!(%error, "no service manager waits for us");
    }
}

fn plan(server: Server) -> Result<Plan, Failure> {
    let advertise = server.advertise_address.as_deref().map(|text| {
        Endpoint::parse_with_default_port(
            text,
            server.bind.first().map_or(API_PORT, SocketAddr::port),
        )
        .map_err(|error| Failure::usage("--advertise-address cannot be used").because(&error))
    });
    let names = server.tls_san.iter().map(|text| {
        Host::parse(text)
            .map_err(|error| Failure::usage("--tls-san cannot be used").because(&error))
    });
    let grace = duration(
        "--node-monitor-grace-period",
        &server.node_monitor_grace_period,
    )?;
    let life = duration(
        "--cluster-signing-duration",
        &server.cluster_signing_duration,
    )?;
    let grace = Duration::try_from(grace);
    Ok(Plan {
        datastore: Datastore::parse(&server.datastore_endpoint, &server.data_dir)?,
        advertise: advertise.transpose()?,
        names: names.collect::<Result<_, _>>()?,
        bind: server.bind,
        data_dir: server.data_dir,
        approve_kubelet_serving: !server.no_approve_kubelet_serving,
        grace_period: grace
            .map_err(|_| Failure::usage("--node-monitor-grace-period must not be negative"))?,
        certificate_life: life,
        audit: audit_settings::read(&server.audit)?,
    })
}

fn duration(flag: &str, text: &str) -> Result<SignedDuration, Failure> {
    GoDuration::parse(text)
        .map(GoDuration::to_signed_duration)
        .map_err(|error| Failure::usage(format!("{flag} is not a duration")).because(&error))
}

/// Tells who waits for us where we are. The file appears whole or not at all.
fn write_ready_file(path: &Path, addresses: &[SocketAddr]) -> Result<(), Failure> {
    let text: String = addresses
        .iter()
        .map(|address| format!("{}\n", reachable(*address)))
        .collect();
    let temporary = path.with_extension("part");
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|error| {
            Failure::new(
                "ready-file",
                FAILED,
                format!("cannot write {}", path.display()),
            )
            .because(&error)
        })
}

/// A bound address as one can connect to it from this machine.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}
