//! Supervised processes of this machine: started through this program's own `supervise` command, found again through
//! their pid file, stopped only when proved to be ours.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use muster_plan::paths::Root;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::commands::tail;
use crate::HostError;
use crate::process::{Identity, PidFile, Processes, Spawn, Supervised};
use crate::steps::io_error;

/// A supervisor that does not report itself by then has failed.
const REPORT_LIMIT: Duration = Duration::from_secs(10);
/// A process has this long to stop politely: the supervisor gives its child 20 s.
const STOP_LIMIT: Duration = Duration::from_secs(25);
const POLL: Duration = Duration::from_millis(10);
const HEALTH_LIMIT: Duration = Duration::from_secs(2);
/// No pid file is longer.
const MAX_PIDFILE: u64 = 256;
/// How much of a log is shown.
const LOG_TAIL: i64 = 4096;

/// What a supervised process may see of our environment: never a token or the like.
const ENVIRONMENT: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "no_proxy",
    "RUST_BACKTRACE",
];

/// Supervised processes of this machine.
pub(crate) struct RealProcesses {
    root: Root,
}

impl RealProcesses {
    pub(crate) fn new(root: Root) -> Self {
        Self { root }
    }

    fn pid_file(&self, path: &str) -> Result<Option<PidFile>, HostError> {
        let mut text = String::new();
        match fs::File::open(self.root.real(path)) {
            Ok(file) => {
                file.take(MAX_PIDFILE)
                    .read_to_string(&mut text)
                    .map_err(io_error("read", path))?;
                Ok(PidFile::parse(&text))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", path)(error)),
        }
    }

    fn command(&self, spawn: &Spawn<'_>) -> Result<Command, HostError> {
        // The log may show what a kubelet says of its credentials' places: not for everybody.
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o640)
            .open(self.root.real(spawn.log))
            .map_err(io_error("open", spawn.log))?;
        let errors = log.try_clone().map_err(io_error("open", spawn.log))?;
        let mut command = Command::new(spawn.executable);
        command
            .arg("supervise")
            .arg("--pidfile")
            .arg(self.root.real(spawn.pidfile))
            .arg("--")
            .args(spawn.argv)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .env_clear()
            .current_dir("/");
        for name in ENVIRONMENT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        Ok(command)
    }
}

#[async_trait]
impl Processes for RealProcesses {
    async fn state(&self, pidfile: &str) -> Result<Supervised, HostError> {
        let Some(file) = self.pid_file(pidfile)? else {
            return Ok(Supervised {
                supervisor: false,
                child: false,
                restarts: 0,
            });
        };
        Ok(Supervised {
            supervisor: file.supervisor.is_alive(),
            child: file.child.is_some_and(Identity::is_alive),
            restarts: file.restarts,
        })
    }

    async fn spawn(&self, spawn: Spawn<'_>) -> Result<(), HostError> {
        let state = self.state(spawn.pidfile).await?;
        if state.supervisor {
            return Ok(());
        }
        // A supervisor that was killed may have left its child: two kubelets must not run side by side.
        self.stop(spawn.pidfile).await?;
        let mut child = self
            .command(&spawn)?
            .spawn()
            .map_err(io_error("run", spawn.executable))?;
        let deadline = Instant::now() + REPORT_LIMIT;
        loop {
            if self.state(spawn.pidfile).await?.supervisor {
                // It outlives us; whoever inherits it reaps it. While we live, we do.
                tokio::task::spawn_blocking(move || child.wait());
                return Ok(());
            }
            let ended = child
                .try_wait()
                .map_err(io_error("wait for", spawn.executable))?;
            if ended.is_some() || Instant::now() >= deadline {
                let log = self.log_tail(spawn.log).await;
                // A supervisor that reports itself later must not start anything.
                let _ = child.kill();
                let _ = child.wait();
                return Err(HostError::NotStarted {
                    name: spawn.name.to_owned(),
                    log,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn stop(&self, pidfile: &str) -> Result<(), HostError> {
        if let Some(file) = self.pid_file(pidfile)? {
            for identity in [Some(file.supervisor), file.child].into_iter().flatten() {
                stop_process(identity).await;
            }
        }
        match fs::remove_file(self.root.real(pidfile)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(io_error("remove", pidfile)(error))
            }
            _ => Ok(()),
        }
    }

    async fn log_tail(&self, log: &str) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = fs::File::open(self.root.real(log))?;
            let length = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
            file.seek(SeekFrom::End(-length.min(LOG_TAIL)))?;
            let mut bytes = Vec::new();
            file.take(LOG_TAIL.unsigned_abs()).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        let lines: Vec<&str> = text.trim_end().lines().collect();
        tail(&lines[lines.len().saturating_sub(20)..].join("\n"), 4096).to_owned()
    }

    async fn healthz(&self, port: u16) -> Result<(), String> {
        match tokio::time::timeout(HEALTH_LIMIT, ask_healthz(port)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("its health port {port} does not answer")),
        }
    }
}

/// Politely, then not; only ever this very process.
async fn stop_process(identity: Identity) {
    let Some(pid) = Pid::from_raw(identity.pid) else {
        return;
    };
    if !identity.is_alive() {
        return;
    }
    let _ = kill_process(pid, Signal::TERM);
    let deadline = Instant::now() + STOP_LIMIT;
    while identity.is_alive() && Instant::now() < deadline {
        tokio::time::sleep(POLL).await;
    }
    if identity.is_alive() {
        let _ = kill_process(pid, Signal::KILL);
        let deadline = Instant::now() + STOP_LIMIT;
        while identity.is_alive() && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn ask_healthz(port: u16) -> Result<(), String> {
    let refused = |error: std::io::Error| format!("its health port {port}: {error}");
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .map_err(refused)?;
    let request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.map_err(refused)?;
    let mut answer = Vec::new();
    stream
        .take(1024)
        .read_to_end(&mut answer)
        .await
        .map_err(refused)?;
    let answer = String::from_utf8_lossy(&answer);
    let first = answer.lines().next().unwrap_or_default();
    if first.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    Err(format!("its health port {port} says {first:?}"))
}
