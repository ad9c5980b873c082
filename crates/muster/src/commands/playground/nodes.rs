//! The nodes of a playground: each is joined by this very program, as a person would join a
//! machine, and reset by it at the end.

use super::network::Network;
use super::screen::Screen;
use crate::exit::{FAILED, Failure};
use crate::printer::Printer;
use futures::future::join_all;
use muster_identity::{BootstrapToken, Endpoint};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// One node: its name, its folder, where it runs.
struct PlaygroundNode {
    name: String,
    root: PathBuf,
    namespace: Option<String>,
}

/// All nodes of a playground.
pub(super) struct Nodes {
    nodes: Vec<PlaygroundNode>,
    screen: Screen,
}

impl Nodes {
    /// Nodes that have not joined yet.
    pub(super) fn new(
        folder: &Path,
        count: u16,
        network: Option<&Network>,
        printer: Printer,
    ) -> Self {
        inherit();
        let nodes: Vec<PlaygroundNode> = (1..=count)
            .map(|number| PlaygroundNode {
                name: format!("node-{number}"),
                root: folder.join(format!("node-{number}")),
                namespace: network.map(|network| network.namespace(number)),
            })
            .collect();
        let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
        Self {
            screen: Screen::new(&names, printer),
            nodes,
        }
    }

    /// Joins all nodes side by side; every one is Ready when this returns well.
    pub(super) async fn join(
        &mut self,
        endpoint: &Endpoint,
        token: &BootstrapToken,
        pin: &str,
    ) -> Result<(), Failure> {
        let joins = self
            .nodes
            .iter()
            .map(|node| self.join_one(node, endpoint, token, pin));
        join_all(joins).await.into_iter().collect()
    }

    async fn join_one(
        &self,
        node: &PlaygroundNode,
        endpoint: &Endpoint,
        token: &BootstrapToken,
        pin: &str,
    ) -> Result<(), Failure> {
        let begin = Instant::now();
        let failed = |error: &std::io::Error| {
            Failure::new(
                "playground-join",
                FAILED,
                format!("{} cannot be joined", node.name),
            )
            .because(error)
        };
        std::fs::create_dir(&node.root).map_err(|error| failed(&error))?;
        let mut child = node
            .command(&["join", &endpoint.to_string(), "-o", "json", "--token", "-"])
            .args([
                "--discovery-token-ca-cert-hash",
                pin,
                "--node-name",
                &node.name,
            ])
            .args([
                "--kubelet",
                "builtin",
                "--runtime",
                "hollow",
                "--wait",
                "ready",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(&error))?;
        if let Some(mut input) = child.stdin.take() {
            let line = format!("{}\n", token.to_text().expose());
            input
                .write_all(line.as_bytes())
                .await
                .map_err(|error| failed(&error))?;
        }
        let failure = self.follow(node, &mut child).await;
        let status = child.wait().await.map_err(|error| failed(&error))?;
        if status.success() {
            self.screen.done(
                &node.name,
                &format!("Ready after {} ms", begin.elapsed().as_millis()),
            );
            return Ok(());
        }
        self.screen.done(&node.name, "failed");
        Err(failure.unwrap_or_else(|| {
            Failure::new(
                "playground-join",
                FAILED,
                format!("the join of {} ended with {status}", node.name),
            )
        }))
    }

    /// Shows the events of a join until it ends; answers with its failure, if it told one.
    async fn follow(&self, node: &PlaygroundNode, child: &mut Child) -> Option<Failure> {
        let output = child.stdout.take()?;
        let mut lines = BufReader::new(output).lines();
        let mut failure = None;
        while let Ok(Some(line)) = lines.next_line().await {
            let event: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
            if event["type"] == "failed" {
                failure = Some(failure_of(node, &event));
            }
            self.screen
                .event(&node.name, &event, words(&event).as_deref());
        }
        let mut errors = String::new();
        if let Some(mut stderr) = child.stderr.take()
            && stderr.read_to_string(&mut errors).await.is_ok()
            && !errors.is_empty()
        {
            tracing::warn!(node = node.name, "{}", errors.trim_end());
        }
        failure
    }

    /// Resets all nodes side by side: their kubelets stop, their files go.
    pub(super) async fn stop(&self) {
        join_all(self.nodes.iter().map(reset)).await;
        reap();
    }
}

/// Makes this process the one that inherits what the joins leave running, instead of the machine's
/// first process, which may not care for the dead (as in many containers).
fn inherit() {
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        tracing::debug!(%error, "the supervisors of the kubelets go to the machine's first process");
    }
}

/// Takes leave of the inherited processes that have ended. Only called when no child of our own is
/// waited for.
fn reap() {
    while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
}

async fn reset(node: &PlaygroundNode) {
    if !node.root.exists() {
        return;
    }
    let output = node
        .command(&["reset", "--force"])
        .stdin(Stdio::null())
        .output()
        .await;
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            tracing::warn!(
                node = node.name,
                "the reset was not clean: {}",
                errors.trim_end()
            );
        }
        Err(error) => tracing::warn!(node = node.name, %error, "the reset cannot be started"),
    }
}

impl PlaygroundNode {
    /// This program, in the node's namespace and on its folder.
    fn command(&self, arguments: &[&str]) -> Command {
        // The file that runs, also when its name was given to another one meanwhile.
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("muster"));
        let mut command = match &self.namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.args(arguments).arg("--root").arg(&self.root);
        command
    }
}

fn failure_of(node: &PlaygroundNode, event: &Value) -> Failure {
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let mut failure = Failure::new(
        &text("id"),
        FAILED,
        format!("{}: {}", node.name, text("message")),
    );
    let remedies = event["remedy"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    failure.remedy.extend(remedies.map(str::to_owned));
    failure
}

/// The event in words; phases and waits only, since a line is all there is.
fn words(event: &Value) -> Option<String> {
    let phase = |event: &Value| event["phase"].as_str().unwrap_or_default().to_owned();
    Some(match event["type"].as_str()? {
        "phase-started" => phase(event),
        "phase-completed" => format!("{} ✓ {} ms", phase(event), event["elapsed_ms"]),
        "csr-pending" => format!("request {} waits for approval", event["name"].as_str()?),
        "resuming" => "going on where it was cut off".to_owned(),
        "undoing" => format!("taking everything back: {}", event["reason"].as_str()?),
        _ => return None,
    })
}
