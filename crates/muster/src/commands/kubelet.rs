//! `muster kubelet` and `muster supervise`: what keeps a node alive on a machine without a kubelet.

use crate::args::kubelet::{Kubelet, Runtime, Supervise};
use crate::exit::{FAILED, Failure};
use crate::signals;
use muster_agent::configuration::Configuration;
use muster_agent::node::object::Taint;
use muster_agent::{KubeletOptions, RuntimeChoice};
use muster_host::supervise;
use muster_identity::NodeName;
use std::collections::BTreeMap;

/// Where containerd listens.
const CONTAINERD: &str = "unix:///run/containerd/containerd.sock";

/// Runs the built-in kubelet until it is told to stop.
pub(crate) async fn run(kubelet: Kubelet) -> Result<(), Failure> {
    let options = options(kubelet)?;
    muster_agent::kubelet::run(options, signals::stopped())
        .await
        .map_err(|error| {
            Failure::new(
                "kubelet-start-failed",
                muster_fleet::exit_code::KUBELET_START_FAILED,
                "the built-in kubelet cannot start",
            )
            .because(&error)
            .cure("join this machine first: muster join ENDPOINT --token TOKEN")
        })
}

fn options(kubelet: Kubelet) -> Result<KubeletOptions, Failure> {
    let wrong = |error: &(dyn std::error::Error + 'static)| {
        Failure::usage("the kubelet's flags cannot be used").because(error)
    };
    let name = kubelet
        .hostname_override
        .as_deref()
        .map(NodeName::parse)
        .transpose();
    let taints: Result<Vec<Taint>, _> = kubelet
        .node
        .register_with_taints
        .iter()
        .map(|text| Taint::parse(text))
        .collect();
    let mut options = KubeletOptions {
        runtime: RuntimeChoice::Hollow,
        name: name.map_err(|error| wrong(&error))?,
        node_ip: kubelet.node.node_ip.clone(),
        labels: labels(&kubelet.node.node_labels)?,
        taints: taints.map_err(|error| wrong(&error))?,
        version: muster_machinery::KUBERNETES_VERSION.to_owned(),
        entropy: crate::entropy::fill,
        root: kubelet.root.clone(),
    };
    let configured =
        Configuration::read(&options.configuration()).map_err(|error| wrong(&error))?;
    options
        .taints
        .extend(configured.taints().map_err(|error| wrong(&error))?);
    options.runtime = runtime(&kubelet, configured.runtime_endpoint());
    Ok(options)
}

fn runtime(kubelet: &Kubelet, configured: Option<&str>) -> RuntimeChoice {
    let named = kubelet.container_runtime_endpoint.as_deref().or(configured);
    match kubelet.runtime {
        Runtime::Hollow => RuntimeChoice::Hollow,
        Runtime::Cri => RuntimeChoice::Cri(named.unwrap_or(CONTAINERD).to_owned()),
    }
}

/// Keeps a process running until it is told to stop.
pub(crate) async fn supervise(flags: Supervise) -> Result<(), Failure> {
    let options = supervise::Options {
        pidfile: flags.pidfile,
        argv: flags.command.into_iter().map(Into::into).collect(),
        backoff: supervise::Backoff::default(),
    };
    supervise::run(options).await.map(|_| ()).map_err(|error| {
        Failure::new("supervisor", FAILED, "the supervisor cannot run").because(&error)
    })
}

/// `key=value` pairs.
pub(crate) fn labels(texts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=')?;
        (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    texts
        .iter()
        .map(|text| {
            pair(text).ok_or_else(|| Failure::usage(format!("{text:?} is not a label (key=value)")))
        })
        .collect()
}
