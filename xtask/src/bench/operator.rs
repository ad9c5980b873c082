//! `cargo xtask bench operator`: from JoinTokenRequests to Secrets, one after the other and many at once, on a server
//! that has requests and tokens.
//!
//! It knows the limits that the project owes for them (the table in ARCHITECTURE.md).

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::{
    process::{Running, Server, binary, resident_mb},
    report::{Better, compare, percentile},
    target::{Connection, JSON, Target},
};

const REQUESTS: &str = "/apis/k0smotron.io/v1beta2/namespaces/default/jointokenrequests";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const TOKENS: &str =
    "/api/v1/namespaces/kube-system/secrets?labelSelector=muster.dev/token-manager";
/// How long anything may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(300);

/// Join token requests: how long one takes, and a thousand.
#[derive(Args)]
pub(crate) struct Operator {
    /// How many requests are made at once.
    #[arg(long, default_value_t = 1000)]
    requests: usize,
    /// How many are made one after the other before.
    #[arg(long, default_value_t = 50)]
    single: usize,
    /// The program to measure; else a release build.
    #[arg(long)]
    muster: Option<PathBuf>,
}

impl Operator {
    /// Whether the program to measure is there already.
    pub(super) fn is_given_a_build(&self) -> bool {
        self.muster.is_some()
    }
}

/// Runs the benchmark.
pub(super) fn run(operator: &Operator) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(operator))
}

async fn measure(asked: &Operator) -> Result<()> {
    let muster = asked.muster.clone().unwrap_or_else(binary);
    let (server, _) = Server::start_program(&muster)?;
    let kubeconfig = server.kubeconfig();
    let target = Target::from_kubeconfig(&kubeconfig, None)?;
    let connection = target.connect().await?;
    prepare(&connection, &muster, &kubeconfig).await?;
    let mut command = Command::new(&muster);
    command
        .args(["operator", "--no-leader-election", "--bind", "127.0.0.1:0"])
        .arg("--kubeconfig")
        .arg(&kubeconfig);
    let operator = Running::start(command, &kubeconfig.with_file_name("operator.log"))?;

    let mut took = Vec::new();
    for number in 0..=asked.single {
        let begin = Instant::now();
        let name = format!("single-{number}");
        create(&connection, &name).await?;
        wait_for_secret(&connection, &name).await?;
        // The first one also waits for the operator to start.
        if number > 0 {
            took.push(begin.elapsed().as_secs_f64() * 1e3);
        }
    }
    took.sort_by(f64::total_cmp);
    let p50 = percentile(&took, 0.5);
    compare("one request (p50)", p50, "ms", 100.0, Better::Less);

    let begin = Instant::now();
    let creations = (0..asked.requests).map(|number| {
        let connection = &connection;
        async move { create(connection, &format!("many-{number}")).await }
    });
    for created in futures_in_turn(creations).await {
        created?;
    }
    let wanted = asked.requests + asked.single + 1;
    let labelled = format!("{SECRETS}?labelSelector=k0smotron.io/token-request");
    while count(&connection, &labelled).await? < wanted {
        if begin.elapsed() > PATIENCE {
            bail!("not all requests have their Secrets");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let all = begin.elapsed().as_secs_f64();
    let what = format!("{} requests at once", asked.requests);
    compare(&what, all, "s", 10.0, Better::Less);
    let tokens = count(&connection, TOKENS).await?;
    println!("tokens in the cluster: {tokens} for {wanted} requests");
    println!(
        "memory of the operator: {:.1} MB",
        resident_mb(operator.pid())?
    );
    if tokens != wanted {
        bail!("tokens were leaked or lost");
    }
    Ok(())
}

/// Starts all, then waits for all: one connection carries them side by side.
async fn futures_in_turn<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done = Vec::with_capacity(all.len());
    std::future::poll_fn(|context| {
        all.retain_mut(|one| match one.as_mut().poll(context) {
            std::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done
}

/// The definition of requests, and where the cluster is that they name.
async fn prepare(connection: &Connection, muster: &Path, kubeconfig: &Path) -> Result<()> {
    let printed = Command::new(muster)
        .args(["operator", "manifests", "--crd-only", "-o", "json"])
        .output()?;
    let list: Value = serde_json::from_slice(&printed.stdout).context("the definition")?;
    let definition = list["items"][0].to_string();
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    connection
        .ask(Method::POST, definitions, JSON, definition.into())
        .await?;
    let secret = json!({
        "metadata": {"name": "my-cluster-kubeconfig"},
        "data": {"value": STANDARD.encode(std::fs::read(kubeconfig)?)},
    });
    connection
        .ask(Method::POST, SECRETS, JSON, secret.to_string().into())
        .await?;
    Ok(())
}

async fn create(connection: &Connection, name: &str) -> Result<()> {
    let request = json!({
        "apiVersion": "k0smotron.io/v1beta2", "kind": "JoinTokenRequest",
        "metadata": {"name": name}, "spec": {"clusterName": "my-cluster"},
    });
    connection
        .ask(Method::POST, REQUESTS, JSON, request.to_string().into())
        .await
        .map(drop)
}

async fn wait_for_secret(connection: &Connection, name: &str) -> Result<()> {
    let begin = Instant::now();
    let path = format!("{SECRETS}/{name}");
    while begin.elapsed() < PATIENCE {
        let answer = connection
            .send(Method::GET, &path, JSON, bytes::Bytes::new())
            .await?;
        if answer.status().is_success() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bail!("{name} got no Secret")
}

async fn count(connection: &Connection, path: &str) -> Result<usize> {
    let list = connection
        .ask(Method::GET, path, JSON, bytes::Bytes::new())
        .await?;
    let list: Value = serde_json::from_slice(&list)?;
    Ok(list["items"].as_array().map_or(0, Vec::len))
}
