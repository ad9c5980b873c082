//! `muster bench`: joins simulated nodes to any cluster with the whole protocol, each over TLS
//! connections of its own, and says how long it took. It measures; it does not judge.

mod measure;

use crate::args::bench::Bench;
use crate::cluster::{self, Cluster};
use crate::commands::token::{create_short_lived, delete_token};
use crate::exit::{CLUSTER, Failure};
use crate::handshake_failure;
use crate::printer::{Output, Printer};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DeleteParams};
use measure::Samples;
use muster_agent::cri::RuntimeState;
use muster_agent::machine::{Machine, Usage};
use muster_agent::node::conditions::{Life, conditions, to_json};
use muster_agent::node::object::{Registration, node};
use muster_agent::registration::{register, renew_lease};
use muster_handshake::discovery::Trusting;
use muster_handshake::{
    DiscoveryRequest, ErrorClass, ExistingNode, HandshakeError, TlsBootstrapRequest, client_wish,
};
use muster_identity::{BootstrapToken, CaPin, CertificateBundle, Endpoint, NodeName, PrivateKey};
use muster_net::{ApiClient, ApiError, Identity, TlsError, bootstrap, discover};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one join may take.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);
const GIVE_UP: Duration = Duration::from_secs(120);
/// The pause before something is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the token lives that the joins use.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// What all joins share.
struct Target {
    endpoint: Endpoint,
    token: BootstrapToken,
    pins: Vec<CaPin>,
    machine: Machine,
}

/// Why one join failed.
#[derive(Debug, thiserror::Error)]
enum JoinError {
    #[error("the handshake failed")]
    Handshake(#[from] HandshakeError),
    #[error("the API refused")]
    Api(#[from] ApiError),
    #[error("the node's identity cannot be used")]
    Tls(#[from] TlsError),
    #[error("the node's name or key cannot be made: {0}")]
    Name(String),
}

/// Times of one join.
struct Joined {
    protocol: Duration,
    whole: Duration,
}

/// Carries out `muster bench`.
pub(crate) async fn run(bench: Bench, printer: Printer) -> Result<(), Failure> {
    let cluster = cluster::connect(bench.kubeconfig.as_deref()).await?;
    let token = create_short_lived(&cluster, TOKEN_LIFE, "muster bench").await?;
    let target = Arc::new(target(&cluster, &token)?);
    let result = join_all(&bench, &target, printer).await;
    delete_token(&cluster, token.id()).await?;
    let (samples, elapsed) = result?;
    if bench.clean {
        remove_nodes(&cluster, &bench).await?;
    }
    show(&bench, &samples, elapsed, printer);
    Ok(())
}

fn target(cluster: &Cluster, token: &BootstrapToken) -> Result<Target, Failure> {
    let bundle = CertificateBundle::from_pem(&cluster.authorities).map_err(|error| {
        Failure::usage("the kubeconfig names no CA certificate to pin").because(&error)
    })?;
    let endpoint = Endpoint::parse(&cluster.endpoint).map_err(|error| {
        Failure::usage("the kubeconfig's server cannot be used").because(&error)
    })?;
    Ok(Target {
        endpoint,
        token: token.clone(),
        pins: bundle.certificates().iter().map(CaPin::of).collect(),
        machine: Machine::read(Path::new("/")),
    })
}

async fn join_all(
    bench: &Bench,
    target: &Arc<Target>,
    printer: Printer,
) -> Result<(Samples, Duration), Failure> {
    let bar = crate::progress::bar(bench.nodes as u64, "joining simulated nodes", printer);
    let begin = Instant::now();
    let mut joins = stream::iter(0..bench.nodes)
        .map(|number| {
            let name = format!("{}-{number}", bench.name_prefix);
            let target = Arc::clone(target);
            // A task each, so that the joins use all cores.
            async move {
                match tokio::spawn(async move { join_one(&name, &target).await }).await {
                    Ok(result) => result,
                    Err(error) => Err(JoinError::Name(error.to_string())),
                }
            }
        })
        .buffer_unordered(usize::from(bench.concurrency));
    let mut samples = Samples::default();
    while let Some(result) = joins.next().await {
        bar.inc(1);
        match result {
            Ok(joined) => samples.add(joined.protocol, joined.whole),
            Err(error) => {
                bar.finish_and_clear();
                return Err(failure(error));
            }
        }
    }
    bar.finish_and_clear();
    Ok((samples, begin.elapsed()))
}

fn failure(error: JoinError) -> Failure {
    match error {
        JoinError::Handshake(error) => handshake_failure(&error),
        other => {
            Failure::new("bench-failed", CLUSTER, "a simulated node could not join").because(&other)
        }
    }
}

/// One join: discovery, certificate, Node, Lease.
async fn join_one(name: &str, target: &Target) -> Result<Joined, JoinError> {
    let begin = Instant::now();
    let name = NodeName::parse(name).map_err(|error| JoinError::Name(error.to_string()))?;
    let (client, protocol) = loop {
        match enrol(&name, target, begin).await {
            Err(JoinError::Handshake(error))
                if error.class() == ErrorClass::Transient && begin.elapsed() < GIVE_UP =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            result => break result?,
        }
    };
    let registration = Registration {
        name: name.clone(),
        addresses: vec![[127, 0, 0, 1].into()],
        labels: std::collections::BTreeMap::new(),
        taints: Vec::new(),
        kubelet_version: muster_machinery::KUBERNETES_VERSION.to_owned(),
    };
    let runtime = RuntimeState::hollow();
    let mut object = node(&registration, &target.machine, &runtime);
    let now = conditions(&Usage::read(Path::new("/")), &runtime, Life::Up);
    object["status"]["conditions"] = to_json(&now, &Value::Null, Timestamp::now());
    // As a kubelet does: an API server that is away for a moment is waited for.
    while let Err(error) = announce(&client, &name, &object).await {
        if !may_pass(&error) || begin.elapsed() > GIVE_UP {
            return Err(error.into());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Joined {
        protocol,
        whole: begin.elapsed(),
    })
}

/// The Node and its Lease.
async fn announce(client: &ApiClient, name: &NodeName, node: &Value) -> Result<(), ApiError> {
    register(client, name, node).await?;
    renew_lease(client, name, None, Timestamp::now()).await?;
    Ok(())
}

/// Whether the same request can go well later.
fn may_pass(error: &ApiError) -> bool {
    match error.code() {
        Some(code) => code == 429 || code >= 500,
        None => matches!(error, ApiError::Transport { .. }),
    }
}

/// From nothing to a client that speaks as the node, and how long that took.
async fn enrol(
    name: &NodeName,
    target: &Target,
    begin: Instant,
) -> Result<(ApiClient, Duration), JoinError> {
    let key = PrivateKey::generate(&mut crate::entropy::fill)
        .map_err(|error| JoinError::Name(error.to_string()))?;
    let wish = client_wish(name, &key).map_err(|error| JoinError::Name(error.to_string()))?;
    let pins = Trusting::Pins(target.pins.clone());
    let mut request = DiscoveryRequest::new(target.endpoint.clone(), target.token.clone(), pins);
    request.patience = PATIENCE;
    let mut silent = |_| {};
    let discovered = discover(request, &mut silent).await?;
    let deadline = Timestamp::now()
        .saturating_add(PATIENCE)
        .unwrap_or(Timestamp::MAX);
    let request = TlsBootstrapRequest {
        node: name.clone(),
        wish,
        existing_node: ExistingNode::TakeOver,
        deadline,
    };
    let enrolled = bootstrap(&discovered.client, request, &mut silent).await?;
    let protocol = begin.elapsed();
    let identity = Identity::Certificate {
        chain: enrolled.issued.chain,
        key,
    };
    let client = ApiClient::new(discovered.trust.endpoint, &discovered.trust.ca, identity)?;
    Ok((client, protocol))
}

async fn remove_nodes(cluster: &Cluster, bench: &Bench) -> Result<(), Failure> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    for number in 0..bench.nodes {
        let name = format!("{}-{number}", bench.name_prefix);
        nodes
            .delete(&name, &DeleteParams::default())
            .await
            .map_err(|error| cluster::api_failure("a simulated node was not deleted", &error))?;
    }
    Ok(())
}

fn show(bench: &Bench, samples: &Samples, elapsed: Duration, printer: Printer) {
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
    let report = json!({
        "nodes": bench.nodes,
        "concurrency": bench.concurrency,
        "seconds": elapsed.as_secs_f64(),
        "joins_per_second": bench.nodes as f64 / elapsed.as_secs_f64(),
        "join_p50_ms": milliseconds(samples.whole(50)),
        "join_p99_ms": milliseconds(samples.whole(99)),
        "protocol_p50_ms": milliseconds(samples.protocol(50)),
        "protocol_p99_ms": milliseconds(samples.protocol(99)),
    });
    if printer.output() == Output::Json {
        printer.json(&report);
        return;
    }
    let number = |key: &str| report[key].as_f64().unwrap_or_default();
    printer.line(format!(
        "{} nodes joined in {:.2} s, {} at a time: {:.0} joins/s",
        bench.nodes,
        elapsed.as_secs_f64(),
        bench.concurrency,
        number("joins_per_second")
    ));
    printer.line(format!(
        "one join                 p50 {:7.1} ms   p99 {:7.1} ms",
        number("join_p50_ms"),
        number("join_p99_ms")
    ));
    printer.line(format!(
        "discovery to certificate p50 {:7.1} ms   p99 {:7.1} ms",
        number("protocol_p50_ms"),
        number("protocol_p99_ms")
    ));
}
