//! The API through the `kubectl` of a control-plane host, with the administrator's kubeconfig that is there: nothing
//! secret leaves that host, and no way to the API server is needed from here.
//!
//! It speaks `kubectl … --raw`, so that answers are those of the API. It refuses to know how the host is reached.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use muster_handshake::HandshakeError;
use muster_identity::Secret;
use muster_net::{ApiError, StatusError, WatchEvent};
use muster_ssh::{Command, Machine, OutputLine, Stream};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use super::{Api, Events};

/// How long one call may take.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// Events of a watch that wait to be read; a reader that lags slows the watch down.
const WAITING_EVENTS: usize = 256;

/// Which `kubectl` a control-plane host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// `kubectl` with kubeadm's `admin.conf`.
    Kubeadm,
    /// `k3s kubectl`.
    K3s,
    /// `k0s kubectl`.
    K0s,
}

/// Where kubeadm leaves the administrator's kubeconfig.
const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";

impl Flavour {
    fn argv(self, kubeconfig: &str) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Kubeadm => &["kubectl", "--kubeconfig", kubeconfig],
            Self::K3s => &["k3s", "kubectl"],
            Self::K0s => &["k0s", "kubectl"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}

/// What a host is asked to find its flavour.
const LOOK: &str = "if [ -e /etc/kubernetes/admin.conf ]; then echo kubeadm; elif command -v k3s >/dev/null 2>&1; then echo k3s; elif command -v k0s >/dev/null 2>&1; then echo k0s; else echo none; fi";

/// An API server behind a control-plane host.
#[derive(Clone, Debug)]
pub(crate) struct Kubectl {
    machine: Arc<dyn Machine>,
    flavour: Flavour,
    kubeconfig: String,
}

impl Kubectl {
    /// With the administrator's kubeconfig at this path of the host; without one, looks which `kubectl` the host has.
    ///
    /// # Errors
    /// [`ApiError`] when it cannot be asked, or has none.
    pub(crate) async fn on(
        machine: Arc<dyn Machine>,
        kubeconfig: Option<&str>,
    ) -> Result<Self, ApiError> {
        if let Some(kubeconfig) = kubeconfig {
            return Ok(Self {
                machine,
                flavour: Flavour::Kubeadm,
                kubeconfig: kubeconfig.to_owned(),
            });
        }
        let look = Command::new(["sh", "-c", LOOK])
            .as_root()
            .time_limit(CALL_LIMIT);
        let output = machine
            .output(look)
            .await
            .map_err(|error| lost(&*machine, &error))?;
        let flavour = match output.stdout.trim() {
            "kubeadm" => Flavour::Kubeadm,
            "k3s" => Flavour::K3s,
            "k0s" => Flavour::K0s,
            _ => {
                let what = format!(
                    "{} has neither {ADMIN_CONF} nor k3s nor k0s: it is no control-plane host",
                    machine.name()
                );
                return Err(refused(404, "NoControlPlane", what));
            }
        };
        Ok(Self {
            machine,
            flavour,
            kubeconfig: ADMIN_CONF.to_owned(),
        })
    }

    /// What it has.
    pub(crate) const fn flavour(&self) -> Flavour {
        self.flavour
    }

    async fn call(&self, verb: &[&str], body: Option<&Value>) -> Result<String, ApiError> {
        let mut argv = self.flavour.argv(&self.kubeconfig);
        argv.extend(verb.iter().map(|word| (*word).to_owned()));
        let mut command = Command::new(argv).as_root().time_limit(CALL_LIMIT);
        if let Some(body) = body {
            command = command.stdin(Secret::new(body.to_string().into_bytes()));
        }
        let output = self.machine.output(command).await;
        let output = output.map_err(|error| lost(&*self.machine, &error))?;
        if output.exit.success() {
            Ok(output.stdout)
        } else {
            Err(self.refusal(&output.stderr))
        }
    }

    async fn object(&self, verb: &[&str], body: Option<&Value>) -> Result<Value, ApiError> {
        let text = self.call(verb, body).await?;
        serde_json::from_str(&text).map_err(|error| ApiError::Decode {
            path: verb.last().copied().unwrap_or_default().to_owned(),
            reason: error.to_string(),
        })
    }

    /// `kubectl` says `Error from server (NotFound): …` when the API refused, and something else when it did not answer.
    fn refusal(&self, stderr: &str) -> ApiError {
        let line = stderr
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default();
        if let Some(rest) = line.trim().strip_prefix("Error from server") {
            let rest = rest.trim_start_matches([' ', ':']);
            let (reason, message) = match rest.strip_prefix('(').and_then(|r| r.split_once("):")) {
                Some((reason, message)) => (reason, message.trim()),
                None => ("", rest),
            };
            return refused(code_of(reason), reason, message.to_owned());
        }
        if line.contains("You must be logged in") || line.contains("Unauthorized") {
            return refused(401, "Unauthorized", line.to_owned());
        }
        ApiError::Transport {
            error: HandshakeError::ConnectionLost {
                endpoint: format!("the API server, as {} sees it", self.machine.name()),
                reason: line.to_owned(),
            },
            unsent: false,
        }
    }
}

fn refused(code: u16, reason: &str, message: String) -> ApiError {
    ApiError::Status(Box::new(StatusError {
        code,
        reason: reason.to_owned(),
        message,
        details: None,
        retry_after: None,
    }))
}

fn code_of(reason: &str) -> u16 {
    match reason {
        "BadRequest" => 400,
        "Unauthorized" => 401,
        "Forbidden" => 403,
        "NotFound" => 404,
        "MethodNotAllowed" => 405,
        "AlreadyExists" | "Conflict" => 409,
        "Gone" | "Expired" => 410,
        "Invalid" => 422,
        "TooManyRequests" => 429,
        "ServiceUnavailable" => 503,
        "Timeout" | "ServerTimeout" => 504,
        _ => 500,
    }
}

fn lost(machine: &dyn Machine, error: &muster_ssh::MachineError) -> ApiError {
    ApiError::Transport {
        error: HandshakeError::ConnectionLost {
            endpoint: machine.name().to_owned(),
            reason: super::super::fault::chain(error),
        },
        unsent: false,
    }
}

/// RFC 7396, as a server would do it: `kubectl` has no raw patch.
fn merge_into(into: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in fields {
        match (value.is_null(), into.as_object_mut()) {
            (true, Some(object)) => drop(object.remove(key)),
            _ => merge_into(&mut into[key], value),
        }
    }
}

#[async_trait]
impl Api for Kubectl {
    async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.object(&["get", "--raw", path], None).await
    }

    async fn text(&self, path: &str) -> Result<Vec<u8>, ApiError> {
        Ok(self.call(&["get", "--raw", path], None).await?.into_bytes())
    }

    async fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.object(&["create", "-f", "-", "--raw", path], Some(object))
            .await
    }

    async fn replace(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.object(&["replace", "-f", "-", "--raw", path], Some(object))
            .await
    }

    async fn merge(&self, path: &str, patch: &Value) -> Result<Value, ApiError> {
        const TRIES: u32 = 5;
        let versioned = patch.pointer("/metadata/resourceVersion").is_some();
        let mut tries = 0;
        loop {
            tries += 1;
            let mut object = self.get(path).await?;
            merge_into(&mut object, patch);
            match self.replace(path, &object).await {
                Err(error) if error.is_conflict() && !versioned && tries < TRIES => {}
                answer => return answer,
            }
        }
    }

    async fn delete(&self, path: &str) -> Result<(), ApiError> {
        self.call(&["delete", "--raw", path], None).await.map(drop)
    }

    async fn watch(&self, path: &str) -> Result<Events, ApiError> {
        let (send, receive) = mpsc::channel(WAITING_EVENTS);
        let mut argv = self.flavour.argv(&self.kubeconfig);
        argv.extend(["get", "--raw", path].map(str::to_owned));
        let machine = Arc::clone(&self.machine);
        let this = self.clone();
        tokio::spawn(async move {
            let mut errors = String::new();
            // A reader that lags loses its place and lists again, as with an API server.
            let lagging = Notify::new();
            let mut take = |line: OutputLine| match line.stream {
                Stream::Stdout => {
                    let event = event(&line.text);
                    if event.is_some_and(|event| send.try_send(event).is_err()) {
                        lagging.notify_one();
                    }
                }
                Stream::Stderr => errors = line.text,
            };
            let watching = machine.run(Command::new(argv).as_root(), &mut take);
            let ended = tokio::select! {
                ended = watching => ended,
                () = send.closed() => return,
                () = lagging.notified() => {
                    let _ = send.send(Err(refused(410, "Expired", "the watch was not read in time".to_owned()))).await;
                    return;
                }
            };
            let error = match ended {
                Ok(exit) if exit.success() => return,
                Ok(_) => this.refusal(&errors),
                Err(error) => lost(&*machine, &error),
            };
            let _ = send.send(Err(error)).await;
        });
        let stream = futures::stream::unfold(receive, |mut receive| async move {
            let next = receive.recv().await?;
            Some((next, receive))
        });
        Ok(stream.boxed())
    }
}

fn event(line: &str) -> Option<Result<WatchEvent, ApiError>> {
    let mut event: Value = serde_json::from_str(line).ok()?;
    let object = event.get_mut("object").map(Value::take).unwrap_or_default();
    Some(match event["type"].as_str()? {
        "ADDED" => Ok(WatchEvent::Added(object)),
        "MODIFIED" => Ok(WatchEvent::Modified(object)),
        "DELETED" => Ok(WatchEvent::Deleted(object)),
        "BOOKMARK" => Ok(WatchEvent::Bookmark(object)),
        _ => Err(refused(410, "Expired", "the watch was ended".to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::scripted::{Scripted, says};
    use super::*;

    async fn on(machine: &Scripted) -> Kubectl {
        machine.on("admin.conf", says(0, "kubeadm\n"));
        Kubectl::on(Arc::new(machine.clone()), None).await.unwrap()
    }

    #[tokio::test]
    async fn what_the_api_refuses_is_told_apart_from_no_answer() {
        let machine = Scripted::new("cp");
        let api = on(&machine).await;
        machine.on(
            "nodes/a",
            says(1, "!Error from server (NotFound): nodes \"a\" not found"),
        );
        assert!(api.get("/api/v1/nodes/a").await.unwrap_err().is_not_found());
        machine.on(
            "leases",
            says(
                1,
                "!Error from server (Conflict): the object has been modified",
            ),
        );
        assert!(
            api.replace("/leases", &json!({}))
                .await
                .unwrap_err()
                .is_conflict()
        );
        machine.on("secrets", says(1, "!The connection to the server cp:6443 was refused - did you specify the right host or port?"));
        let error = api.create("/secrets", &json!({})).await.unwrap_err();
        assert!(matches!(error, ApiError::Transport { .. }));
        machine.on("nodes/b", says(0, "{\"kind\":\"Node\"}\n"));
        assert_eq!(api.get("/api/v1/nodes/b").await.unwrap()["kind"], "Node");
    }

    #[tokio::test]
    async fn objects_go_over_standard_input_and_never_over_the_command_line() {
        let machine = Scripted::new("cp");
        let api = on(&machine).await;
        machine.on("secrets", says(0, "{}"));
        api.create("/secrets", &json!({"token-secret": "canarycanary"}))
            .await
            .unwrap();
        let calls = machine.calls();
        assert!(!calls.iter().any(|call| call.line.contains("canary")));
        assert!(calls.last().unwrap().stdin.contains("canary"));
        assert!(calls.last().unwrap().as_root);
    }

    #[tokio::test]
    async fn a_patch_is_made_here_and_written_onto_the_version_that_was_read() {
        let machine = Scripted::new("cp");
        let api = on(&machine).await;
        machine.on(
            "get --raw /n",
            says(
                0,
                "{\"metadata\":{\"resourceVersion\":\"7\",\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}",
            ),
        );
        machine.on("replace", says(0, "{}"));
        api.merge(
            "/n",
            &json!({"metadata": {"labels": {"a": null, "c": "3"}}}),
        )
        .await
        .unwrap();
        let written: Value = serde_json::from_str(&machine.calls().last().unwrap().stdin).unwrap();
        assert_eq!(
            written,
            json!({"metadata": {"resourceVersion": "7", "labels": {"b": "2", "c": "3"}}})
        );
    }

    #[tokio::test]
    async fn a_watch_gives_events_and_ends_with_the_command() {
        let machine = Scripted::new("cp");
        let api = on(&machine).await;
        let line =
            |kind: &str| format!("{{\"type\":\"{kind}\",\"object\":{{\"kind\":\"Node\"}}}}\n");
        machine.on(
            "watch",
            says(0, &format!("{}{}", line("ADDED"), line("DELETED"))),
        );
        let events: Vec<_> = api
            .watch("/api/v1/nodes?watch=true")
            .await
            .unwrap()
            .collect()
            .await;
        assert_eq!(events.len(), 2);
        assert!(matches!(events[1], Ok(WatchEvent::Deleted(_))));
    }
}
