//! `config`: examples of configuration files, old ones into new ones, files that are only checked, and the images.

use super::line::Parsed;
use super::output::Format;
use super::refusal::{Refusal, go_words, warning};
use super::{ambient, init};
use crate::printer::Printer;
use muster_host::{Host as _, LocalHost};
use muster_kubeadm::config::{
    ClusterConfiguration, ComponentConfig, Images, InitConfiguration, Strictness, migrate,
    print_init_defaults, print_join_defaults, print_reset_defaults, print_upgrade_defaults,
    read_init, resolve_init, validate,
};
use muster_plan::paths::Root;
use serde_json::json;
use std::os::unix::fs::OpenOptionsExt as _;

/// Carries out `config …`.
pub(super) async fn run(path: &[&str], line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    match path {
        ["print", what] => print(what, line, printer),
        ["migrate"] => migrate_file(line, printer),
        ["validate"] => validate_file(line, printer),
        ["images", "list"] => list_images(line, printer),
        ["images", "pull"] => pull_images(line, printer).await,
        _ => Err(Refusal::usage("subcommand is required")),
    }
}

fn print(what: &str, line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let mut components = Vec::new();
    for kind in line.list("component-configs") {
        let component = ComponentConfig::of_kind(&kind).ok_or_else(|| {
            Refusal::usage(
                "--component-configs needs to contain some of [KubeProxyConfiguration KubeletConfiguration]",
            )
        })?;
        components.push(component);
    }
    printer.text(match what {
        "init-defaults" => print_init_defaults(&components),
        "join-defaults" => print_join_defaults(&ambient::gather()),
        "reset-defaults" => print_reset_defaults(),
        _ => print_upgrade_defaults(),
    });
    Ok(())
}

/// Reads a configuration file; `-` is standard input.
pub(super) fn read_file(path: &str) -> Result<String, Refusal> {
    let text = if path == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|error| {
        Refusal::usage(format!(
            "unable to read config from {path:?} : open {path}: {}",
            go_words(&error)
        ))
    })
}

/// Shows what is to be told besides a result.
pub(super) fn tell(warnings: &[String], printer: Printer) {
    for text in warnings {
        printer.note(warning(text));
    }
}

fn migrate_file(line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let Some(old) = line.text("old-config").filter(|path| !path.is_empty()) else {
        return Err(Refusal::usage("the --old-config flag is mandatory"));
    };
    let text = std::fs::read_to_string(old)
        .map_err(|error| Refusal::usage(format!("open {old}: {}", go_words(&error))))?;
    let migrated = migrate(&text, &ambient::gather())?;
    tell(&migrated.warnings, printer);
    let Some(new) = line.text("new-config").filter(|path| !path.is_empty()) else {
        printer.text(&migrated.value);
        return Ok(());
    };
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        // As kubeadm does. Whoever keeps a token in it may want to narrow it down.
        .mode(0o644)
        .open(new)
        .and_then(|mut file| std::io::Write::write_all(&mut file, migrated.value.as_bytes()));
    written.map_err(|error| {
        Refusal::file(
            &format!("failed to write the new configuration to the file {new:?}"),
            "open",
            new,
            &error,
        )
    })
}

fn validate_file(line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let Some(path) = line.text("config").filter(|path| !path.is_empty()) else {
        return Err(Refusal::usage("the --config flag is mandatory"));
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Refusal::usage(format!("open {path}: {}", go_words(&error))))?;
    let checked = validate(
        &text,
        &ambient::gather(),
        line.is_on("allow-deprecated-api"),
    )?;
    tell(&checked.warnings, printer);
    printer.line("ok");
    Ok(())
}

/// The cluster configuration that images are chosen by: of a file, and then flags beside it say nothing, else of flags.
fn cluster_configuration(
    line: &Parsed,
    printer: Printer,
) -> Result<(ClusterConfiguration, String), Refusal> {
    let ambient = ambient::gather();
    let initial = match line.text("config").filter(|path| !path.is_empty()) {
        Some(path) => read_init(&read_file(path)?, &ambient, Strictness::Lenient)?,
        None => {
            let cluster = ClusterConfiguration {
                kubernetes_version: line.text_or_default("kubernetes-version").to_owned(),
                image_repository: line.text_or_default("image-repository").to_owned(),
                feature_gates: init::feature_gates(line)?,
                ..ClusterConfiguration::default()
            };
            let mut init = InitConfiguration::default();
            let socket = line.text("cri-socket").unwrap_or_default();
            init.node_registration.cri_socket = if socket.is_empty() && !line.knows("cri-socket") {
                muster_kubeadm::config::DEFAULT_CRI_SOCKET.to_owned()
            } else {
                socket.to_owned()
            };
            resolve_init(init, cluster, &ambient)?
        }
    };
    tell(&initial.warnings, printer);
    let value = initial.value;
    Ok((value.cluster, value.init.node_registration.cri_socket))
}

fn list_images(line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let format = Format::of(line)?;
    let (cluster, _) = cluster_configuration(line, printer)
        .map_err(|error| error.in_front("could not convert cfg to an internal cfg"))?;
    let images = Images::of(&cluster)?.all();
    if format.is_text() {
        images.iter().for_each(|image| printer.line(image));
        return Ok(());
    }
    let fields = [
        ("kind", json!("Images")),
        ("apiVersion", json!("output.kubeadm.k8s.io/v1alpha3")),
        ("images", json!(images)),
    ];
    format.print(&fields, true, printer)
}

async fn pull_images(line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let (cluster, socket) = cluster_configuration(line, printer)?;
    let host = LocalHost::new(Root::new("/"));
    for image in Images::of(&cluster)?.all() {
        host.pull_image(&socket, &image, true)
            .await
            .map_err(|error| Refusal::failed(format!("failed to pull image {image:?}: {error}")))?;
        printer.line(format!("[config/images] Pulled {image}"));
    }
    Ok(())
}
