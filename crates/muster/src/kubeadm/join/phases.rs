//! The phases of a join as kubeadm names them: one of them alone, and a join without some of them.
//!
//! A join is one saga. A phase alone carries it on to where that phase ends; what it began is taken back if it fails, and
//! what earlier calls did stays.

use super::super::line::Parsed;
use super::super::narration::Narrator;
use super::super::refusal::Refusal;
use super::{configuration, everything, failed, local_host, options_of, patiently};
use crate::printer::Printer;
use muster_fleet::{Event, EventSink, JoinOptions, is_join_begun};
use muster_host::Host;
use muster_kubeadm::config::JoinConfiguration;
use muster_plan::{Part, Phase};
use std::sync::Arc;

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

/// The phases to leave out: of the flag, else of the file. A name that is none is refused.
pub(super) fn skipped(
    line: &Parsed,
    join: &JoinConfiguration,
) -> Result<Vec<&'static str>, Refusal> {
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

/// What a join that leaves phases out is not told: without a key nothing is downloaded, and the files must be there.
pub(super) fn leave_to_others(skipped: &[&str], join: &mut JoinConfiguration) {
    let downloads = skips(skipped, "control-plane-prepare/download-certs");
    if let Some(plane) = join.control_plane.as_mut().filter(|_| downloads) {
        plane.certificate_key = String::new().into();
    }
}

/// Whether a phase is left out, by its own name or its group's.
fn skips(skipped: &[&str], name: &str) -> bool {
    let group = name.split('/').next().unwrap_or(name);
    skipped.contains(&name) || skipped.contains(&group)
}

/// kubeadm's phases and what they are of a join here. The others have no steps of their own.
const PARTS: [(&str, Part); 10] = [
    ("control-plane-prepare/certs", Part::OwnCertificates),
    ("control-plane-prepare/kubeconfig", Part::Kubeconfigs),
    (
        "control-plane-prepare/control-plane",
        Part::Phase(Phase::ControlPlane),
    ),
    ("kubelet-start", Part::Phase(Phase::TlsBootstrap)),
    ("kubelet-start", Part::Phase(Phase::KubeletStart)),
    ("etcd-join", Part::Phase(Phase::EtcdJoin)),
    ("kubelet-wait-bootstrap", Part::Phase(Phase::KubeletWait)),
    ("kubelet-wait-bootstrap", Part::Phase(Phase::NodeWait)),
    (
        "control-plane-join/mark-control-plane",
        Part::Phase(Phase::MarkControlPlane),
    ),
    ("wait-control-plane", Part::Phase(Phase::WaitControlPlane)),
];

/// What is not done when phases are left out.
pub(super) fn left_out(skipped: &[&str]) -> Vec<Part> {
    let parts = PARTS.iter().filter(|(name, _)| skips(skipped, name));
    parts.map(|(_, part)| *part).collect()
}

const CERTIFICATE: [Part; 2] = [
    Part::Phase(Phase::TlsBootstrap),
    Part::Phase(Phase::KubeletStart),
];

/// How far a phase carries a join, and whether a join may begin with it.
fn reach(path: &[&str]) -> (Vec<Part>, bool) {
    let prepared = Part::Phase(Phase::ControlPlanePrepare);
    let started: Vec<Part> = std::iter::once(prepared).chain(CERTIFICATE).collect();
    let healthy = |more: &[Phase]| {
        let more = more.iter().map(|phase| Part::Phase(*phase));
        let waits = std::iter::once(Part::Phase(Phase::KubeletWait));
        started.iter().copied().chain(waits).chain(more).collect()
    };
    match path {
        ["control-plane-prepare", "download-certs"] => (vec![Part::SharedCertificates], true),
        ["control-plane-prepare", "certs"] => {
            (vec![Part::SharedCertificates, Part::OwnCertificates], true)
        }
        ["control-plane-prepare", ..] => (vec![prepared], true),
        ["kubelet-start"] => (started, true),
        // An etcd runs only below a kubelet that is well.
        ["etcd-join"] => (healthy(&[Phase::EtcdJoin]), false),
        ["kubelet-wait-bootstrap"] => (healthy(&[Phase::EtcdJoin, Phase::NodeWait]), false),
        // The static pods come when etcd has its vote; with the marks the join is whole.
        _ => (
            healthy(&[
                Phase::EtcdJoin,
                Phase::ControlPlane,
                Phase::MarkControlPlane,
                Phase::WaitControlPlane,
                Phase::NodeWait,
            ]),
            false,
        ),
    }
}

/// Carries out `join phase …`.
pub(in crate::kubeadm) async fn phase(
    path: &[&str],
    line: &Parsed,
    printer: Printer,
) -> Result<(), Refusal> {
    let join = configuration(line, printer)?;
    let of_planes = !["preflight", "kubelet-start", "kubelet-wait-bootstrap"].contains(&path[0]);
    if of_planes && join.control_plane.is_none() {
        // On a worker every phase of control planes does nothing, and wait-control-plane takes no flag by which it could
        // learn that this is none.
        return Ok(());
    }
    let mut options = options_of(line, &join, printer).await?;
    let host = local_host(&options);
    if *path == ["preflight"] {
        return preflight(&join, options, &host, printer).await;
    }
    let (parts, may_begin) = reach(path);
    if !may_begin && !options.dry_run && !begun(&*host).await? {
        let name = path.join("/");
        let first = if join.control_plane.is_some() {
            "control-plane-prepare' and 'kubeadm join phase kubelet-start"
        } else {
            "kubelet-start"
        };
        return Err(Refusal::failed(format!(
            "error execution phase {name}: no join was begun on this machine"
        ))
        .cure(format!("run 'kubeadm join phase {first}' first")));
    }
    // kubeadm checks nothing in single phases.
    options.request.ignore = everything()?;
    let narrator = Narrator::new(printer, true, options.request.kubelet_seconds);
    let parts = (!options.dry_run).then_some(parts);
    let done = patiently(&join, &options, parts.as_deref(), &host, &narrator.sink()).await;
    done.map(|_| ()).map_err(|error| failed(&error, &narrator))
}

async fn begun(host: &dyn Host) -> Result<bool, Refusal> {
    is_join_begun(host)
        .await
        .map_err(|error| Refusal::new(error.id(), error.exit_code(), error.message()))
}

/// Everything but the deeds: what a rehearsal does.
async fn preflight(
    join: &JoinConfiguration,
    mut options: JoinOptions,
    host: &Arc<dyn Host>,
    printer: Printer,
) -> Result<(), Refusal> {
    let narrator = Narrator::new(printer, false, options.request.kubelet_seconds);
    options.dry_run = true;
    let sink = narrator.sink();
    let without_plan = EventSink::new(move |event| {
        if !matches!(event, Event::Planned { .. }) {
            sink.tell(event);
        }
    });
    let looked = patiently(join, &options, None, host, &without_plan).await;
    looked
        .map(|_| ())
        .map_err(|error| failed(&error, &narrator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_left_out_by_its_name_or_its_groups() {
        assert_eq!(
            left_out(&["kubelet-wait-bootstrap"]),
            [
                Part::Phase(Phase::KubeletWait),
                Part::Phase(Phase::NodeWait)
            ]
        );
        assert_eq!(
            left_out(&["control-plane-prepare"]),
            [
                Part::OwnCertificates,
                Part::Kubeconfigs,
                Part::Phase(Phase::ControlPlane)
            ]
        );
        assert_eq!(
            left_out(&["control-plane-join/mark-control-plane", "check-etcd"]),
            [Part::Phase(Phase::MarkControlPlane)]
        );
        assert!(left_out(&["preflight"]).is_empty());
    }

    #[test]
    fn without_the_download_there_is_no_key() {
        let mut join = JoinConfiguration {
            control_plane: Some(muster_kubeadm::config::JoinControlPlane {
                certificate_key: "key".to_owned().into(),
                ..Default::default()
            }),
            ..JoinConfiguration::default()
        };
        leave_to_others(&["etcd-join"], &mut join);
        let key = |join: &JoinConfiguration| {
            let plane = join.control_plane.as_ref().unwrap();
            plane.certificate_key.expose().clone()
        };
        assert_eq!(key(&join), "key");
        leave_to_others(&["control-plane-prepare"], &mut join);
        assert_eq!(key(&join), "");
    }

    #[test]
    fn every_phase_carries_a_join_as_far_as_the_one_before_it_or_farther() {
        let order: [&[&str]; 6] = [
            &["control-plane-prepare", "download-certs"],
            &["control-plane-prepare", "certs"],
            &["control-plane-prepare", "kubeconfig"],
            &["kubelet-start"],
            &["etcd-join"],
            &["control-plane-join", "mark-control-plane"],
        ];
        let steps = [
            ("share-ca.key", Phase::ControlPlanePrepare),
            ("key-apiserver", Phase::ControlPlanePrepare),
            ("conf-admin", Phase::ControlPlanePrepare),
            ("start-kubelet", Phase::KubeletStart),
            ("pod-etcd", Phase::EtcdJoin),
            ("mark-control-plane", Phase::MarkControlPlane),
        ];
        for (at, path) in order.iter().enumerate() {
            let (parts, _) = reach(path);
            for (number, (id, phase)) in steps.iter().enumerate() {
                let within = parts.iter().any(|part| part.holds(id, *phase));
                assert_eq!(within, number <= at, "{path:?} {id}");
            }
        }
    }
}
