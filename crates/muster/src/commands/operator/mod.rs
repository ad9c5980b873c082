//! `muster operator`: JoinTokenRequests become join tokens until it is told to stop.

mod health;

use crate::args::operator::{Manifests, Operator, Verb};
use crate::cluster;
use crate::exit::{FAILED, Failure};
use crate::printer::{Output, Printer};
use crate::signals;
use muster_controllers::join_token_requests as requests;
use muster_identity::GoDuration;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Where the Lease is outside of pods.
const NAMESPACE: &str = "kube-system";
/// The shortest life of a Lease: it is renewed several times in it.
const SHORTEST_LEASE: Duration = Duration::from_secs(3);

/// Carries out `muster operator …`.
pub(crate) async fn run(operator: Operator, printer: Printer) -> Result<(), Failure> {
    match operator.verb {
        Some(Verb::Manifests(flags)) => print_manifests(flags, printer),
        None => operate(operator, printer).await,
    }
}

async fn operate(flags: Operator, printer: Printer) -> Result<(), Failure> {
    let lease = lease_duration(&flags)?;
    let pod = match flags.kubeconfig {
        Some(_) => None,
        None => cluster::of_this_pod()?,
    };
    let (cluster, namespace) = match pod {
        Some((cluster, namespace)) => (cluster, namespace),
        None => {
            let cluster = cluster::connect(flags.kubeconfig.as_deref()).await?;
            (cluster, NAMESPACE.to_owned())
        }
    };
    let settings = requests::OperatorSettings {
        namespace: flags.namespace.unwrap_or(namespace),
        identity: flags.identity.unwrap_or_else(random_identity),
        lease,
        concurrency: usize::from(flags.concurrency),
        rate: flags.rate,
        entropy: crate::entropy::fill,
    };
    let cannot_listen = |error: std::io::Error| {
        Failure::new(
            "operator-start-failed",
            FAILED,
            format!("cannot listen on {}", flags.bind),
        )
        .because(&error)
        .cure("choose another address with --bind HOST:PORT; port 0 takes a free one")
    };
    let listener = TcpListener::bind(flags.bind).await.map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    printer.note(format!("health and metrics at http://{address}"));
    if printer.output() == Output::Json {
        printer.json(
            &json!({"type": "operator-started", "address": address, "identity": settings.identity}),
        );
    }
    let operator = requests::Operator::new(cluster.client, settings);
    let health = tokio::spawn(health::serve(listener, Arc::clone(&operator)));
    operator.run(signals::stopped()).await;
    health.abort();
    Ok(())
}

fn lease_duration(flags: &Operator) -> Result<Option<Duration>, Failure> {
    if flags.no_leader_election {
        return Ok(None);
    }
    let unusable = || Failure::usage("--lease-duration cannot be used");
    let life = GoDuration::parse(&flags.lease_duration)
        .map_err(|error| unusable().because(&error))?
        .to_signed_duration();
    let life = Duration::try_from(life).map_err(|error| unusable().because(&error))?;
    if life < SHORTEST_LEASE {
        return Err(unusable().cure("3s is the shortest"));
    }
    Ok(Some(life))
}

fn random_identity() -> String {
    let mut bytes = [0; 6];
    crate::entropy::fill(&mut bytes);
    bytes
        .iter()
        .fold("muster-operator-".to_owned(), |name, byte| {
            format!("{name}{byte:02x}")
        })
}

fn print_manifests(flags: Manifests, printer: Printer) -> Result<(), Failure> {
    let all = if flags.crd_only {
        vec![requests::definition()]
    } else {
        requests::manifests(&requests::Deployed {
            namespace: flags.namespace,
            image: flags.image,
            replicas: flags.replicas,
        })
    };
    if printer.output() == Output::Json {
        printer.json(&json!({"apiVersion": "v1", "kind": "List", "items": all}));
        return Ok(());
    }
    for one in all {
        printer.text(document(&one)?);
    }
    Ok(())
}

fn document(object: &Value) -> Result<String, Failure> {
    let text = serde_saphyr::to_string(object).map_err(|error| {
        Failure::new("failed", FAILED, "a manifest cannot be written").because(&error)
    })?;
    Ok(format!("---\n{text}"))
}
