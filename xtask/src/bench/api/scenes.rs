//! What is measured, scene by scene, on one server.
//!
//! Refuses to know: which server it is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};

use super::{say, shapes};
use crate::bench::{
    load::{Timing, closed_loop, millis, open_loop},
    process::{cpu_seconds, resident_mb},
    report::{Better, Figure},
    target::{JSON, MERGE_PATCH, PROTOBUF, Target},
};

/// How much of everything.
pub(super) struct Sizes {
    pub(super) objects: usize,
    pub(super) watchers: usize,
    pub(super) nodes: usize,
    pub(super) lease_seconds: u64,
    pub(super) connections: usize,
}

/// The benchmark on one server.
pub(super) struct Bench {
    name: String,
    target: Target,
    /// Whose memory and time count; empty if the server is not ours.
    pids: Vec<u32>,
    sizes: Sizes,
}

/// How many requests are under way at the same time, over how many connections.
const AT_ONCE: usize = 64;
const CONNECTIONS: usize = 8;
/// How many watches one connection carries: fewer than servers allow streams.
const WATCHES_PER_CONNECTION: usize = 50;
/// How many changes the watchers are told of, and how far they are apart.
const CHANGES: usize = 200;
const CHANGE_EVERY: Duration = Duration::from_millis(50);
/// How often a node renews its lease.
const RENEW_EVERY: Duration = Duration::from_secs(10);

const NAMESPACE: &str = "/api/v1/namespaces/bench";
const MAPS: &str = "/api/v1/namespaces/bench/configmaps";

impl Bench {
    pub(super) fn new(name: &str, target: &Target, pids: Vec<u32>, sizes: Sizes) -> Self {
        Self {
            name: name.to_owned(),
            target: target.clone(),
            pids,
            sizes,
        }
    }

    /// Plays the scenes whose name contains `only`.
    pub(super) async fn run(&self, only: &str) -> Result<Vec<Figure>> {
        let mut figures = Vec::new();
        if "leases".contains(only) {
            figures.extend(self.leases().await.context("leases")?);
        }
        if "objects".contains(only) || "watches".contains(only) {
            self.make_namespace().await?;
        }
        if "objects".contains(only) {
            figures.extend(self.objects().await.context("objects")?);
        }
        if "watches".contains(only) {
            figures.extend(self.watches().await.context("watches")?);
        }
        if "nodes".contains(only) {
            figures.extend(self.nodes().await.context("nodes")?);
        }
        Ok(figures)
    }

    fn say(&self, what: &str) {
        say(&format!("{}: {what}", self.name));
    }

    async fn make_namespace(&self) -> Result<()> {
        let namespace = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"bench"}}"#;
        let connection = self.target.connect().await?;
        let body = Bytes::from_static(namespace.as_bytes());
        connection
            .ask(Method::POST, "/api/v1/namespaces", JSON, body)
            .await?;
        // Some servers need a moment until objects can be made in it.
        for _ in 0..100 {
            let made = connection.ask(Method::GET, NAMESPACE, JSON, Bytes::new());
            if made.await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the namespace does not come")
    }

    async fn leases(&self) -> Result<Vec<Figure>> {
        let nodes = self.sizes.nodes;
        self.say(&format!("{nodes} leases are created"));
        let path = format!(
            "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
            shapes::LEASES
        );
        self.make_lease_namespace().await?;
        let connections = self.target.connect_many(self.sizes.connections).await?;
        let versions: Arc<Vec<Mutex<String>>> =
            Arc::new((0..nodes).map(|_| Mutex::default()).collect());
        let (at, known) = (path.clone(), Arc::clone(&versions));
        closed_loop(&connections, nodes, AT_ONCE, move |connection, number| {
            let (path, versions) = (at.clone(), Arc::clone(&known));
            async move {
                let lease = shapes::lease(&format!("node-{number:05}"), None, 0);
                let made = connection.ask(Method::POST, &path, JSON, lease).await?;
                *versions[number].lock().await = version(&made)?;
                Ok(())
            }
        })
        .await?;
        let seconds = self.sizes.lease_seconds;
        self.say(&format!("they are renewed every 10 s, for {seconds} s"));
        let duration = Duration::from_secs(seconds);
        let before = self.cpu()?;
        let begin = Instant::now();
        let timing = open_loop(
            &connections,
            nodes,
            RENEW_EVERY,
            duration,
            move |connection, number| {
                let (path, versions) = (path.clone(), Arc::clone(&versions));
                async move {
                    let name = format!("node-{number:05}");
                    let mut known = versions[number].lock().await;
                    let lease =
                        shapes::lease(&name, Some(&known), begin.elapsed().as_secs() as usize + 1);
                    let path = format!("{path}/{name}");
                    let renewed = connection.ask(Method::PUT, &path, JSON, lease).await;
                    let newest = match &renewed {
                        Ok(renewed) => version(renewed)?,
                        // It may have happened or not: look.
                        Err(_) => version(
                            &connection
                                .ask(Method::GET, &path, JSON, Bytes::new())
                                .await?,
                        )?,
                    };
                    *known = newest;
                    renewed.map(drop)
                }
            },
        )
        .await?;
        let share = (self.cpu()? - before) / begin.elapsed().as_secs_f64() * 100.0;
        let mut figures = timing.figures("lease renewal");
        #[expect(clippy::cast_precision_loss, reason = "a count for people")]
        let failed = timing.failed as f64;
        let name = "lease renewals that failed";
        figures.push(Figure::new(name, failed, "", Better::Less).at_most(0.0));
        if !self.pids.is_empty() {
            let cores = Figure::new(
                "processor time for leases, of one core",
                share,
                "%",
                Better::Less,
            );
            figures.push(cores.at_most(60.0));
            let memory = Figure::new(
                "memory (RSS) with the leases",
                self.memory()?,
                "MB",
                Better::Less,
            );
            figures.push(memory.at_most(250.0));
        }
        Ok(figures)
    }

    async fn make_lease_namespace(&self) -> Result<()> {
        let connection = self.target.connect().await?;
        let path = format!("/api/v1/namespaces/{}", shapes::LEASES);
        for _ in 0..100 {
            if connection
                .ask(Method::GET, &path, JSON, Bytes::new())
                .await
                .is_ok()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("there is no namespace for leases")
    }

    async fn objects(&self) -> Result<Vec<Figure>> {
        let count = self.sizes.objects;
        let connections = self.target.connect_many(CONNECTIONS).await?;
        let mut figures = Vec::new();
        self.say(&format!("{count} objects are created"));
        let timing = closed_loop(
            &connections,
            count,
            AT_ONCE,
            |connection, number| async move {
                let map = shapes::config_map(&format!("map-{number:05}"), "0");
                connection
                    .ask(Method::POST, MAPS, JSON, map)
                    .await
                    .map(drop)
            },
        );
        figures.extend(timing.await?.figures("create"));
        self.say("they are read");
        let timing = closed_loop(
            &connections,
            count,
            AT_ONCE,
            |connection, number| async move {
                let path = format!("{MAPS}/map-{number:05}");
                connection
                    .ask(Method::GET, &path, JSON, Bytes::new())
                    .await
                    .map(drop)
            },
        );
        figures.extend(timing.await?.figures("get"));
        self.say("they are patched");
        let timing = closed_loop(
            &connections,
            count,
            AT_ONCE,
            |connection, number| async move {
                let path = format!("{MAPS}/map-{number:05}");
                let patch = shapes::patch("1");
                connection
                    .ask(Method::PATCH, &path, MERGE_PATCH, patch)
                    .await
                    .map(drop)
            },
        );
        figures.extend(timing.await?.figures("merge patch"));
        self.say("pages of 500 are listed");
        let page = format!("{MAPS}?limit=500");
        let timing = closed_loop(&connections, 100, 4, move |connection, _| {
            let page = page.clone();
            async move {
                connection
                    .ask(Method::GET, &page, JSON, Bytes::new())
                    .await
                    .map(drop)
            }
        });
        figures.extend(timing.await?.figures("list of 500"));
        Ok(figures)
    }

    async fn watches(&self) -> Result<Vec<Figure>> {
        let watchers = self.sizes.watchers;
        self.say(&format!(
            "{watchers} watch, {CHANGES} changes are told to each"
        ));
        let connections = watchers.div_ceil(WATCHES_PER_CONNECTION).max(1);
        let connections = self.target.connect_many(connections).await?;
        let writer = self.target.connect().await?;
        let path = format!("{MAPS}/told");
        let made = writer
            .ask(
                Method::POST,
                MAPS,
                JSON,
                shapes::config_map("told", "begin"),
            )
            .await?;
        let query = format!("{MAPS}?watch=1&resourceVersion={}", version(&made)?);
        let origin = Instant::now();
        let (told, mut heard) = mpsc::unbounded_channel();
        for number in 0..watchers {
            let connection = connections[number % connections.len()].clone();
            let answer = connection
                .send(Method::GET, &query, JSON, Bytes::new())
                .await?;
            if !answer.status().is_success() {
                bail!("a watch is refused: {}", answer.status());
            }
            tokio::spawn(listen(answer.into_body(), origin, told.clone()));
        }
        drop(told);
        let begin = Instant::now();
        for _ in 0..CHANGES {
            let stamp = format!("at:{};", origin.elapsed().as_nanos());
            let patch = shapes::patch(&stamp);
            writer.ask(Method::PATCH, &path, MERGE_PATCH, patch).await?;
            tokio::time::sleep(CHANGE_EVERY).await;
        }
        let expected = watchers * CHANGES;
        let mut all = Vec::with_capacity(expected);
        let listening = async {
            while all.len() < expected
                && let Some(late) = heard.recv().await
            {
                all.push(late);
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), listening)
            .await
            .is_err()
            || all.len() < expected
        {
            bail!("{} of {expected} changes were heard of", all.len());
        }
        let timing = Timing::new(all, begin.elapsed());
        let name = format!("write to event at {watchers} watchers");
        let mut figures = vec![
            Figure::new(&format!("{name}, p50"), timing.at(0.5), "ms", Better::Less),
            Figure::new(&format!("{name}, p99"), timing.at(0.99), "ms", Better::Less),
        ];
        if !self.pids.is_empty() {
            let name = "memory (RSS) with the watchers";
            figures.push(Figure::new(name, self.memory()?, "MB", Better::Less));
        }
        Ok(figures)
    }

    async fn nodes(&self) -> Result<Vec<Figure>> {
        let nodes = self.sizes.nodes;
        self.say(&format!("{nodes} Nodes are created"));
        let connections = self.target.connect_many(CONNECTIONS).await?;
        let timing = closed_loop(
            &connections,
            nodes,
            AT_ONCE,
            |connection, number| async move {
                let path = "/api/v1/nodes";
                let node = shapes::node(number);
                connection
                    .ask(Method::POST, path, JSON, node)
                    .await
                    .map(drop)
            },
        );
        let mut figures = vec![Figure::new(
            "create Nodes, per second",
            timing.await?.per_second(),
            "/s",
            Better::More,
        )];
        for (name, media) in [("JSON", JSON), ("protobuf", PROTOBUF)] {
            self.say(&format!("they are listed in {name}"));
            let mut took = Vec::new();
            let mut bytes = 0;
            for _ in 0..5 {
                let begin = Instant::now();
                let path = "/api/v1/nodes?resourceVersion=0";
                let list = connections[0]
                    .ask(Method::GET, path, media, Bytes::new())
                    .await?;
                took.push(millis(begin));
                bytes = list.len();
            }
            let list = format!("list of {nodes} Nodes in {name}");
            figures.push(Figure::new(
                &format!("{list}, first"),
                took[0],
                "ms",
                Better::Less,
            ));
            let timing = Timing::new(took.split_off(1), Duration::from_secs(1));
            figures.push(Figure::new(
                &format!("{list}, p50"),
                timing.at(0.5),
                "ms",
                Better::Less,
            ));
            #[expect(clippy::cast_precision_loss, reason = "a size for people")]
            let size = bytes as f64 / 1e6;
            figures.push(Figure::new(
                &format!("{list}, size"),
                size,
                "MB",
                Better::Less,
            ));
        }
        if !self.pids.is_empty() {
            let name = "memory (RSS) with the Nodes";
            figures.push(Figure::new(name, self.memory()?, "MB", Better::Less));
        }
        Ok(figures)
    }

    fn cpu(&self) -> Result<f64> {
        self.pids.iter().map(|pid| cpu_seconds(*pid)).sum()
    }

    fn memory(&self) -> Result<f64> {
        self.pids.iter().map(|pid| resident_mb(*pid)).sum()
    }
}

/// Tells how late each stamp comes, in milliseconds.
async fn listen(mut body: Incoming, origin: Instant, told: mpsc::UnboundedSender<f64>) {
    let mut rest = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        rest.extend_from_slice(&data);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if let Some(sent) = stamp(&line)
                && told
                    .send(origin.elapsed().as_secs_f64() * 1e3 - sent)
                    .is_err()
            {
                return;
            }
        }
    }
}

/// When a change was made, in milliseconds since the origin.
fn stamp(line: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(line).ok()?;
    let (_, behind) = text.split_once("at:")?;
    let (nanos, _) = behind.split_once(';')?;
    nanos.parse::<f64>().ok().map(|nanos| nanos / 1e6)
}

fn version(object: &[u8]) -> Result<String> {
    let object: Value = serde_json::from_slice(object)?;
    let version = object["metadata"]["resourceVersion"].as_str();
    version.map(str::to_owned).context("no resourceVersion")
}
