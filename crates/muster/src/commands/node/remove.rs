//! `muster node remove`: cordon, drain, delete, reset; in an order in which a failure leaves the node as it was for as long
//! as that can be.

use super::drain::{Consent, drain};
use super::entry;
use crate::args::node::Remove;
use crate::cluster::{self, api_failure};
use crate::commands::fleet::finder;
use crate::exit::{FAILED, Failure};
use crate::printer::{Output, Printer};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use muster_fleet::rollout::{Machines as _, Providers, Provisioner as _, Reach, take_out};
use muster_identity::GoDuration;
use muster_rollout::fleet_file::{HostSpec, Provider};
use muster_rollout::{Fleet, StageFailure};
use serde_json::{Map, json};
use std::path::PathBuf;
use std::time::Duration;

/// Carries out `muster node remove`.
pub(super) async fn run(remove: Remove, printer: Printer) -> Result<(), Failure> {
    let patience = patience(&remove.drain_timeout)?;
    let one = entry::compose(&remove.name, &remove.host, Map::new(), json!({}))?;
    let fleet = one.fleet;
    let host = fleet
        .hosts
        .first()
        .ok_or_else(|| Failure::usage("there is no host"))?;
    let kubeconfig = remove
        .way
        .kubeconfig
        .clone()
        .or_else(|| fleet.cluster.kubeconfig.as_ref().map(PathBuf::from));
    let cluster = cluster::connect_and_hear_refusals(kubeconfig.as_deref()).await?;
    let client = cluster.client;
    let nodes: Api<Node> = Api::all(client.clone());
    let name = host.name.as_str();
    let machine = TheMachine::new(&fleet, host, &remove)?;
    // Whether the end can be reached is asked before the beginning.
    machine.check().await?;
    let node = nodes
        .get_opt(name)
        .await
        .map_err(|error| api_failure(&format!("node {name} cannot be read"), &error))?;
    match &node {
        None => printer.note(format!("there is no node {name} in the cluster")),
        Some(node) => {
            let was_cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
            step(printer, name, "cordoned");
            cordon(&nodes, name, true).await?;
            let consent = Consent {
                unmanaged: remove.force,
                empty_dir: remove.delete_emptydir_data,
            };
            if let Err(failure) = drain(&client, name, consent, patience, printer).await {
                return Err(open_again(&nodes, name, was_cordoned, failure).await);
            }
            step(printer, name, "drained");
            delete(&nodes, name).await?;
            step(printer, name, "deleted");
        }
    }
    machine.away().await?;
    // A kubelet that still ran may have registered it again.
    delete(&nodes, name).await?;
    step(printer, name, machine.done());
    Ok(())
}

fn step(printer: Printer, name: &str, done: &str) {
    match printer.output() {
        Output::Text => printer.line(format!("node {name} {done}")),
        Output::Json | Output::Yaml => printer.json(&json!({"node": name, "done": done})),
    }
}

fn patience(text: &str) -> Result<Duration, Failure> {
    let span = GoDuration::parse(text)
        .map_err(|error| Failure::usage("--drain-timeout is wrong").because(&error))?;
    u64::try_from(span.as_nanos())
        .map(Duration::from_nanos)
        .map_err(|_| Failure::usage("--drain-timeout is negative"))
}

async fn cordon(nodes: &Api<Node>, name: &str, shut: bool) -> Result<(), Failure> {
    let value = if shut { json!(true) } else { json!(null) };
    let patch = Patch::Merge(json!({"spec": {"unschedulable": value}}));
    let done = nodes.patch(name, &PatchParams::default(), &patch).await;
    done.map(drop)
        .map_err(|error| api_failure(&format!("node {name} was not cordoned"), &error))
}

/// A node that could not be emptied takes pods again, unless it took none before.
async fn open_again(
    nodes: &Api<Node>,
    name: &str,
    was_cordoned: bool,
    failure: Failure,
) -> Failure {
    if was_cordoned {
        return failure;
    }
    match cordon(nodes, name, false).await {
        Ok(()) => failure.cure("the node takes pods again meanwhile"),
        Err(_) => failure.cure(format!(
            "the node is still cordoned: kubectl uncordon {name}"
        )),
    }
}

async fn delete(nodes: &Api<Node>, name: &str) -> Result<(), Failure> {
    match nodes.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(api_failure(&format!("node {name} was not deleted"), &error)),
    }
}

/// What becomes of the machine at the end.
struct TheMachine<'a> {
    host: &'a HostSpec,
    reach: Reach,
    program: PathBuf,
    stays: bool,
}

impl<'a> TheMachine<'a> {
    fn new(fleet: &Fleet, host: &'a HostSpec, remove: &Remove) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|error| {
            Failure::usage("this program's own path is unknown").because(&error)
        })?;
        Ok(Self {
            host,
            reach: Reach::new(
                fleet.timeouts.connect,
                remove.way.accept_new_host_keys,
                finder(),
            ),
            program,
            stays: remove.no_reset,
        })
    }

    fn is_made(&self) -> bool {
        self.host.settings.provider != Provider::None
    }

    async fn check(&self) -> Result<(), Failure> {
        if self.stays || self.is_made() {
            return Ok(());
        }
        match self.reach.open(self.host, None).await {
            Ok(machine) => {
                machine.close().await;
                Ok(())
            }
            Err(failure) => {
                let failure = of_stage(
                    "the machine cannot be reached; nothing was changed",
                    &failure,
                );
                Err(failure.cure("or, if the machine is gone for good: --no-reset"))
            }
        }
    }

    async fn away(&self) -> Result<(), Failure> {
        if self.stays {
            return Ok(());
        }
        if self.is_made() {
            let destroyed = Providers::default().destroy(self.host).await;
            return destroyed.map_err(|failure| {
                of_stage(
                    "the node is out of the cluster; its machine is not unmade",
                    &failure,
                )
            });
        }
        let reset = take_out(&self.reach, self.host, self.program.clone()).await;
        reset.map_err(|failure| {
            of_stage("the node is out of the cluster; its machine is not reset", &failure)
                .cure("mend that and run the same command again, or run on the machine: muster reset --force")
        })
    }

    fn done(&self) -> &'static str {
        match (self.stays, self.is_made()) {
            (true, _) => "removed; its machine is left as it was",
            (false, true) => "removed, and its machine unmade",
            (false, false) => "removed, and its machine reset",
        }
    }
}

fn of_stage(what: &str, failure: &StageFailure) -> Failure {
    let mut told = Failure::new(&failure.id, FAILED, what);
    told.causes.push(failure.message.clone());
    for line in failure.cure.iter().flat_map(|cure| cure.lines()) {
        told = told.cure(line);
    }
    told
}
