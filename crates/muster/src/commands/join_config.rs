//! `muster join --config FILE`: a JoinConfiguration of kubeadm's, with the few flags that say what it cannot.
//!
//! It reads and checks the file as the command line of kubeadm does, and knows nothing of how a join goes.

use crate::args::join::{Join, Wait};
use crate::commands::join::{kubelet_preference, root_of};
use crate::exit::{Failure, USAGE};
use crate::kubeadm::ambient;
use crate::kubeadm::mapping::{Surroundings, join_options};
use crate::printer::Printer;
use muster_fleet::JoinOptions;
use muster_kubeadm::config::{
    JoinConfiguration, Strictness, is_ip_sloppy, read_join, validate_ignored_checks,
};
use std::path::Path;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 4 << 20;

/// The options of a join by configuration file, and how long a server that cannot be reached is waited for.
pub(crate) async fn options(
    join: &Join,
    file: &Path,
    printer: Printer,
) -> Result<(JoinOptions, JoinConfiguration), Failure> {
    // These two may come from the environment, where they are meant for other joins.
    for (flag, given, variable) in [
        ("--token", &join.credential.token, "MUSTER_TOKEN"),
        (
            "--certificate-key",
            &join.plane.certificate_key,
            "MUSTER_CERTIFICATE_KEY",
        ),
    ] {
        let of_environment = std::env::var(variable).ok();
        if given.is_some() && *given != of_environment {
            return Err(
                Failure::usage(format!("--config cannot be used with {flag}"))
                    .cure("say it in the file, or leave the file out"),
            );
        }
    }
    let configuration = configuration(join, &text(file)?, printer)?;
    let surroundings = Surroundings {
        root: root_of(&join.course.root),
        kubelet: kubelet_preference(join.kubelet.kubelet),
        hollow: join.kubelet.runtime == crate::args::kubelet::Runtime::Hollow,
        wait: match join.course.wait {
            Wait::Registered => muster_plan::Wait::Registered,
            Wait::Ready | Wait::Serving => muster_plan::Wait::Ready,
            Wait::None => muster_plan::Wait::None,
        },
        patient: true,
        dry_run: join.course.dry_run,
        admin_conf: None,
    };
    let mut options = join_options(&configuration, &surroundings).await?;
    options.keep_on_failure = join.course.keep_on_failure;
    Ok((options, configuration))
}

fn text(file: &Path) -> Result<String, Failure> {
    let unreadable = |error: &std::io::Error| {
        Failure::usage(format!("cannot read {}", file.display())).because(error)
    };
    let mut text = String::new();
    let read = if file == Path::new("-") {
        let input = std::io::stdin();
        std::io::Read::read_to_string(&mut std::io::Read::take(input, LARGEST), &mut text)
    } else {
        std::fs::File::open(file).and_then(|input| {
            std::io::Read::read_to_string(&mut std::io::Read::take(input, LARGEST), &mut text)
        })
    };
    read.map_err(|error| unreadable(&error))?;
    Ok(text)
}

fn configuration(join: &Join, text: &str, printer: Printer) -> Result<JoinConfiguration, Failure> {
    let invalid = |text: String| Failure::new("configuration-invalid", USAGE, text);
    let mut ambient = ambient::gather();
    if join.kubelet.runtime == crate::args::kubelet::Runtime::Hollow {
        // A simulated node needs no socket, so several of them are no question.
        ambient.cri_sockets.truncate(1);
    }
    let reading = read_join(text, &ambient, Strictness::Lenient)
        .map_err(|unusable| invalid(unusable.error.to_string()))?;
    for warning in &reading.warnings {
        printer.note(format!("warning: {warning}"));
    }
    let mut configuration = reading.value;
    let node = &mut configuration.node_registration;
    let names = node.ignore_preflight_errors.iter();
    let names = names.chain(&join.course.ignore_preflight_errors);
    node.ignore_preflight_errors = validate_ignored_checks(names.map(String::as_str))
        .map_err(|error| invalid(error.to_string()))?;
    if let Some(name) = &join.node.node_name {
        node.name = name.trim().to_lowercase();
    }
    if let Some(plane) = &configuration.control_plane {
        let address = &plane.local_api_endpoint.advertise_address;
        if !is_ip_sloppy(address) || address == "0.0.0.0" || address == "::" {
            return Err(invalid(format!(
                "cannot use {address:?} as the bind address for the API Server"
            )));
        }
    }
    if !configuration.skip_phases.is_empty() {
        return Err(
            Failure::usage("skipPhases of the file cannot be followed by muster join").cure(
                "start the program under the name kubeadm, which leaves phases out; or leave skipPhases out",
            ),
        );
    }
    Ok(configuration)
}
