//! Our own binary: copied to the host unless the same file is there, run with the token on standard input, and taken
//! away again when the host is taken back and it was not there before.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_identity::Secret;
use muster_rollout::StageFailure;
use muster_rollout::fleet_file::{Connection, MusterMethod, Role};
use muster_ssh::{Command, OutputLine, Payload, Stream, Upload};
use serde_json::Value;
use tokio::sync::Mutex;

use super::{Join, SHORT, Seen, Site, Words};
use crate::rollout::fault::{self, ids};

/// Where binaries are put. Programs may be started from there also where a security policy labels files by their place.
pub(super) const DIR: &str = "/opt/muster/bin";
/// `$1` the binary, `$2` the run, `$3` the kubelet's credentials. The mark says that the run brought the file.
const LOOK: &str = r#"set -eu
uname -m
if [ ! -e "$1" ]; then mkdir -p "${1%/*}"; : >"$1.placed-by-$2"; fi
if [ -e "$3" ]; then echo node; fi"#;
/// `$1` the kubelet's credentials.
const GLANCE: &str = r#"uname -m; if [ -e "$1" ]; then echo node; fi"#;
/// `$1` the directory, `$2` the run: only what the run brought.
const REMOVE: &str = r#"for mark in "$1"/*.placed-by-"$2"; do
  [ -e "$mark" ] || continue
  rm -f "${mark%.placed-by-*}" "$mark" || exit 1
done
rmdir "$1" 2>/dev/null && rmdir "${1%/*}" 2>/dev/null
exit 0"#;

/// Our programs as they are copied to hosts: each is read once for all hosts.
#[derive(Clone, Default)]
pub(crate) struct Binaries {
    own: Option<PathBuf>,
    known: Arc<Mutex<HashMap<PathBuf, Binary>>>,
}

#[derive(Clone)]
struct Binary {
    payload: Payload,
    machine: Option<&'static str>,
}

impl Binaries {
    /// `own`: the program that runs.
    pub(crate) fn new(own: PathBuf) -> Self {
        Self {
            own: Some(own),
            known: Arc::default(),
        }
    }

    fn path(&self, method: &MusterMethod) -> Result<PathBuf, StageFailure> {
        let named = method.binary.as_ref().map(PathBuf::from);
        named.or_else(|| self.own.clone()).ok_or_else(|| {
            StageFailure::terminal(ids::WRONG_BINARY, "this program's own path is unknown")
                .with_cure("name it as join.binary in the fleet file")
        })
    }

    async fn get(&self, path: &Path) -> Result<Binary, StageFailure> {
        let mut known = self.known.lock().await;
        if let Some(binary) = known.get(path) {
            return Ok(binary.clone());
        }
        let payload = Payload::file(path)
            .await
            .map_err(|error| fault::of_machine(&error))?;
        let machine = machine_of(path);
        let binary = Binary { payload, machine };
        known.insert(path.to_owned(), binary.clone());
        Ok(binary)
    }
}

/// The machine that an ELF file is for, as `uname -m` names it; `None` for what we do not know.
fn machine_of(path: &Path) -> Option<&'static str> {
    let mut head = [0; 20];
    std::io::Read::read_exact(&mut std::fs::File::open(path).ok()?, &mut head).ok()?;
    machine_of_elf(&head)
}

fn machine_of_elf(head: &[u8; 20]) -> Option<&'static str> {
    let little = head.starts_with(b"\x7fELF") && head[5] == 1;
    match (little, u16::from_le_bytes([head[18], head[19]])) {
        (true, 0x3e) => Some("x86_64"),
        (true, 0xb7) => Some("aarch64"),
        (true, 0xf3) => Some("riscv64"),
        (true, 0x28) => Some("armv7l"),
        _ => None,
    }
}

/// The program's path on the host. On this machine's own file system it is run where it is.
async fn program(
    site: &Site,
    method: &MusterMethod,
) -> Result<(PathBuf, Option<Binary>), StageFailure> {
    let path = site.binaries.path(method)?;
    if !matches!(site.host.settings.connection, Connection::Ssh(_)) {
        return Ok((path, None));
    }
    let binary = site.binaries.get(&path).await?;
    let short = binary.payload.sha256().get(..16).unwrap_or_default();
    Ok((PathBuf::from(format!("{DIR}/muster-{short}")), Some(binary)))
}

fn root(site: &Site, method: &MusterMethod) -> Option<String> {
    method.root.as_ref().map(|root| site.host.fill(root))
}

/// Where the kubelet's credentials are once it has some.
fn kubelet_conf(site: &Site, method: &MusterMethod) -> String {
    let root = root(site, method).unwrap_or_default();
    format!("{}/etc/kubernetes/kubelet.conf", root.trim_end_matches('/'))
}

/// What is looked at without changing anything.
pub(super) fn glance(site: &Site, method: &MusterMethod) -> Vec<String> {
    super::shell(GLANCE, &[&kubelet_conf(site, method)])
}

pub(super) async fn prepare(site: &Site, method: &MusterMethod) -> Result<Seen, StageFailure> {
    let (path, binary) = program(site, method).await?;
    let kubelet_conf = kubelet_conf(site, method);
    let program = path.to_string_lossy().into_owned();
    let look = site
        .script(LOOK, &[&program, &site.run, &kubelet_conf])
        .time_limit(SHORT);
    let seen = site
        .must(look, ids::WRONG_BINARY, "look at the host")
        .await?
        .stdout;
    let machine = seen.lines().next().unwrap_or_default();
    if let Some(binary) = binary {
        if let Some(ours) = binary.machine.filter(|ours| *ours != machine) {
            return Err(StageFailure::terminal(
                ids::WRONG_BINARY,
                format!("the program is for {ours} and the host is {machine}"),
            )
            .with_cure(format!(
                "give one for {machine} as join.binary in the fleet file"
            )));
        }
        let upload = Upload {
            payload: binary.payload,
            path: program.clone(),
            mode: 0o755,
            as_root: true,
        };
        site.machine
            .upload(upload)
            .await
            .map_err(|error| fault::of_machine(&error))?;
    }
    let version = Command::new([&program, "--version"])
        .as_root()
        .time_limit(SHORT);
    let version = site
        .must(version, ids::WRONG_BINARY, "run the program on the host")
        .await;
    let version = version.map_err(|failure| {
        failure.with_cure("give a statically linked program as join.binary in the fleet file")
    })?;
    Ok(Seen {
        was_node: seen.lines().any(|line| line == "node"),
        version: Some(version.stdout.trim().to_owned()),
    })
}

pub(super) async fn unprepare(site: &Site) -> Result<(), StageFailure> {
    let remove = site.script(REMOVE, &[DIR, &site.run]).time_limit(SHORT);
    site.must(remove, ids::RESET_FAILED, "remove our program")
        .await
        .map(drop)
}

/// The arguments of `muster join`; the token comes over standard input.
pub(super) fn arguments(join: &Join<'_>, method: &MusterMethod) -> Vec<String> {
    let mut argv: Vec<String> = vec!["join".into(), join.admission.endpoint.to_string()];
    let mut flag = |name: &str, value: String| argv.extend([name.to_owned(), value]);
    flag("--token", "-".into());
    for pin in join.pins() {
        flag("--discovery-token-ca-cert-hash", pin);
    }
    flag("--node-name", join.site.host.name.to_string());
    if let Some(address) = &join.site.host.node_ip {
        flag("--node-ip", address.to_string());
    }
    let labels = join.own_labels();
    if !labels.is_empty() {
        flag("--node-labels", labels.join(","));
    }
    let taints = join.taints();
    if !taints.is_empty() {
        flag("--register-with-taints", taints.join(","));
    }
    flag("--kubelet", method.kubelet.as_str().into());
    flag("--runtime", method.runtime.as_str().into());
    if let Some(socket) = &method.cri_socket {
        flag("--cri-socket", socket.clone());
    }
    if !method.ignore_preflight_errors.is_empty() {
        flag(
            "--ignore-preflight-errors",
            method.ignore_preflight_errors.join(","),
        );
    }
    if let Some(root) = root(join.site, method) {
        flag("--root", root);
    }
    // A token that was just made is signed into cluster-info in a moment.
    flag("--discovery-timeout", "30s".into());
    let seconds = join.limit.as_secs().saturating_sub(10).max(5);
    flag("--timeout", format!("{seconds}s"));
    flag("--wait", "registered".into());
    flag("--output", "json".into());
    if join.site.host.settings.role == Role::ControlPlane {
        argv.push("--control-plane".into());
        if join.admission.certificate_key.is_some() {
            argv.extend(["--certificate-key".into(), "-".into()]);
        }
    }
    argv.extend(join.filled(&method.extra_args));
    argv
}

/// One secret a line.
fn input(join: &Join<'_>) -> Secret<Vec<u8>> {
    let mut text =
        Secret::new(format!("{}\n", join.admission.token.to_text().expose()).into_bytes());
    if let (Role::ControlPlane, Some(key)) = (
        join.site.host.settings.role,
        &join.admission.certificate_key,
    ) {
        text.expose_mut().extend_from_slice(key.expose().as_bytes());
        text.expose_mut().push(b'\n');
    }
    text
}

pub(super) async fn join(join: &Join<'_>, method: &MusterMethod) -> Result<(), StageFailure> {
    let (program, _) = program(join.site, method).await?;
    let argv =
        std::iter::once(program.to_string_lossy().into_owned()).chain(arguments(join, method));
    let command = Command::new(argv)
        .as_root()
        .stdin(input(join))
        .time_limit(join.limit);
    let mut told = Told::default();
    let mut take = |line: OutputLine| {
        if let Some(phase) = told.take(&line) {
            (join.tell)(&phase);
        }
    };
    let exit = join.site.machine.run(command, &mut take).await;
    let exit = exit.map_err(|error| fault::of_machine(&error))?;
    if exit.success() {
        return Ok(());
    }
    Err(told.failure("muster join"))
}

pub(super) async fn reset(site: &Site, method: &MusterMethod) -> Result<(), StageFailure> {
    // An earlier undo may have taken the program away already.
    prepare(site, method).await?;
    let (program, _) = program(site, method).await?;
    let mut argv = vec![program.to_string_lossy().into_owned()];
    argv.extend(["reset", "--force", "--output", "json"].map(str::to_owned));
    if let Some(root) = root(site, method) {
        argv.extend(["--root".to_owned(), root]);
    }
    let mut told = Told::default();
    let mut take = |line: OutputLine| drop(told.take(&line));
    let exit = site
        .machine
        .run(Command::new(argv).as_root(), &mut take)
        .await;
    let exit = exit.map_err(|error| fault::of_machine(&error))?;
    if exit.success() {
        return Ok(());
    }
    let failure = told.failure("muster reset");
    let id = if failure.id == ids::JOIN_FAILED {
        ids::RESET_FAILED.to_owned()
    } else {
        failure.id.clone()
    };
    Err(StageFailure { id, ..failure })
}

/// What `muster … -o json` told.
#[derive(Default)]
struct Told {
    failure: Option<(String, String, Option<String>)>,
    words: Words,
}

impl Told {
    /// The phase that begins with this line, if one does.
    fn take(&mut self, line: &OutputLine) -> Option<String> {
        let event: Option<Value> = match line.stream {
            Stream::Stdout => serde_json::from_str(&line.text).ok(),
            Stream::Stderr => None,
        };
        let Some(event) = event else {
            self.words.take(line);
            return None;
        };
        let text = |field: &str| event[field].as_str().map(str::to_owned);
        match event["type"].as_str()? {
            "phase-started" => text("phase"),
            "csr-pending" => Some(format!("waiting for approval of {}", text("name")?)),
            "waiting" => text("reason").map(|reason| format!("waiting: {reason}")),
            "undoing" => Some("undoing".to_owned()),
            "failed" => {
                let remedy = match &event["remedy"] {
                    Value::String(remedy) => Some(remedy.clone()),
                    Value::Array(lines) => Some(
                        lines
                            .iter()
                            .filter_map(Value::as_str)
                            .collect::<Vec<_>>()
                            .join("\n"),
                    ),
                    _ => None,
                };
                let remedy = remedy.filter(|remedy| !remedy.is_empty());
                // The event comes first and says most.
                if self.failure.is_none() {
                    self.failure = Some((text("id")?, text("message")?, remedy));
                }
                None
            }
            _ => None,
        }
    }

    fn failure(self, tool: &str) -> StageFailure {
        match self.failure {
            Some((id, message, cure)) => fault::of_join_id(&id, &message, cure),
            None => fault::of_words(tool, &self.words.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_that_a_program_is_for_stands_in_its_head() {
        let mut head = [0; 20];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18] = 0x3e;
        assert_eq!(machine_of_elf(&head), Some("x86_64"));
        head[18] = 0xb7;
        assert_eq!(machine_of_elf(&head), Some("aarch64"));
        assert_eq!(machine_of_elf(b"#!/bin/sh and a bit "), None);
    }

    fn told(lines: &[&str]) -> (Vec<String>, StageFailure) {
        let mut told = Told::default();
        let mut phases = Vec::new();
        for line in lines {
            let line = OutputLine {
                stream: Stream::Stdout,
                text: (*line).to_owned(),
            };
            phases.extend(told.take(&line));
        }
        (phases, told.failure("muster join"))
    }

    #[test]
    fn events_become_phases_and_the_end_a_failure_with_its_id_and_cure() {
        let (phases, failure) = told(&[
            r#"{"type":"phase-started","phase":"preflight"}"#,
            r#"{"type":"phase-completed","phase":"preflight","elapsed_ms":3}"#,
            r#"{"type":"phase-started","phase":"discovery"}"#,
            r#"{"type":"failed","id":"pin-mismatch","message":"no CA has the key","remedy":"look","exit_code":14}"#,
            r#"{"type":"failed","id":"pin-mismatch","message":"short","causes":[],"remedy":["look"],"exitCode":14}"#,
        ]);
        assert_eq!(phases, ["preflight", "discovery"]);
        assert_eq!(
            (failure.id.as_str(), failure.message.as_str()),
            ("pin-mismatch", "no CA has the key")
        );
        assert_eq!(failure.cure.as_deref(), Some("look"));
        assert!(!failure.transient);
        let (_, failure) = told(&["dial: connection refused"]);
        assert!(failure.transient);
    }
}
