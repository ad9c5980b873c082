//! `muster node add`: the run of a fleet of one, with making the machine as its first stage.
//!
//! It ends with 0, and the node's status, or with 1, and nothing left behind.

use super::{entry, list};
use crate::args::node::Add;
use crate::cluster;
use crate::commands::fleet::{Driven, open_state, state_dir};
use crate::exit::{FAILED, Failure};
use crate::printer::Printer;
use muster_fleet::rollout::Providers;
use muster_rollout::fleet_file::Provider;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// Carries out `muster node add`.
pub(super) async fn run(add: Add, printer: Printer) -> Result<(), Failure> {
    let one = entry::compose(&add.name, &add.host, host_fields(&add)?, file_fields(&add))?;
    let host = one
        .fleet
        .hosts
        .first()
        .ok_or_else(|| Failure::usage("there is no host"))?;
    let name = host.name.to_string();
    if host.settings.provider == Provider::None
        && (add.host.cpus.is_some() || add.host.memory.is_some())
    {
        printer.note(
            "the machine is there already: --cpus and --memory do nothing without --provider",
        );
    }
    let kubeconfig = add
        .way
        .kubeconfig
        .clone()
        .or_else(|| one.fleet.cluster.kubeconfig.as_ref().map(PathBuf::from));
    let asked_there = kubeconfig.is_none() && one.fleet.cluster.mint_on.is_some();
    let state = state_dir(&add.state, &one.fleet.name)?;
    let run = async {
        let dir = open_state(&state)?;
        let driven = Driven::with(
            one.fleet,
            &add.way,
            &add.listeners,
            Arc::new(Providers::default()),
            printer,
        )?;
        driven.begin(dir, one.source).await
    };
    run.await.map_err(|failure| ended(failure, &state))?;
    if asked_there {
        return Ok(());
    }
    let cluster = cluster::connect(kubeconfig.as_deref()).await?;
    list::show_one(cluster.client, &name, printer).await
}

/// One code for whatever went wrong; the id says what.
fn ended(mut failure: Failure, state: &std::path::Path) -> Failure {
    let named = format!("--state-dir {}", state.display());
    for line in &mut failure.remedy {
        *line = line
            .replace(
                "muster fleet resume",
                &format!("muster fleet resume {named}"),
            )
            .replace("muster fleet undo", &format!("muster fleet undo {named}"));
    }
    failure.code = FAILED;
    failure
}

fn host_fields(add: &Add) -> Result<Map<String, Value>, Failure> {
    let mut fields = Map::new();
    let mut labels = Map::new();
    for label in &add.labels {
        let (key, value) = label.split_once('=').ok_or_else(|| {
            Failure::usage(format!("{label:?} is no label")).cure("write KEY=VALUE")
        })?;
        labels.insert(key.to_owned(), json!(value));
    }
    if !labels.is_empty() {
        fields.insert("labels".to_owned(), Value::Object(labels));
    }
    if add.hollow {
        fields.insert(
            "join".to_owned(),
            json!({"runtime": "hollow", "kubelet": "builtin"}),
        );
    }
    Ok(fields)
}

fn file_fields(add: &Add) -> Value {
    match &add.ready_timeout {
        Some(span) => json!({"timeouts": {"ready": span}}),
        None => json!({}),
    }
}
