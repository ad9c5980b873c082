//! Servers that a benchmark starts, and what the system says about processes.
//!
//! It knows how `muster server` is started and nothing of what is measured on it.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::command::root;

/// Clock ticks per second in `/proc/PID/stat` (`USER_HZ`, the same on all of Linux' usual machines).
const TICKS: f64 = 100.0;

/// The release binary.
pub(super) fn binary() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("release/muster")
}

/// A server that is stopped when the benchmark ends, however it ends.
pub(super) struct Server {
    process: Running,
    folder: PathBuf,
}

impl Server {
    /// Starts a fresh server, and says how long it took until it was ready.
    pub(super) fn start() -> Result<(Self, Duration)> {
        Self::start_program(&binary())
    }

    /// The same with a binary of one's own.
    pub(super) fn start_program(program: &Path) -> Result<(Self, Duration)> {
        let folder = std::env::temp_dir().join(format!("muster-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let ready = folder.join("ready");
        let begin = Instant::now();
        let mut command = Command::new(program);
        command
            .args(["server", "--bind", "127.0.0.1:0", "--data-dir"])
            .arg(folder.join("data"))
            .arg("--ready-file")
            .arg(&ready);
        let process = Running::start(command, &folder.join("server.log"))?;
        let mut server = Self { process, folder };
        while !ready.exists() {
            server.process.check()?;
            if begin.elapsed() > Duration::from_secs(30) {
                bail!("the server was not ready within 30 s");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok((server, begin.elapsed()))
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The administrator's kubeconfig.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("data/admin.kubeconfig")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A child process that is killed when nobody holds it any more.
pub(super) struct Running {
    process: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a command whose output goes to `log`.
    pub(super) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = std::fs::File::create(log)?;
        let process = command
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
        Ok(Self {
            process,
            log: log.to_owned(),
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// An error if it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.process.try_wait()? {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last = log.lines().rev().take(5).collect::<Vec<_>>();
            bail!("it ended at once: {status}: {}", last.join(" | "));
        }
        Ok(())
    }

    pub(super) fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Resident memory of a process in megabytes (10^6 bytes), from `/proc/PID/status`.
pub(super) fn resident_mb(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .context("no VmRSS line")?;
    let kib: f64 = line
        .split_whitespace()
        .nth(1)
        .context("an empty VmRSS line")?
        .parse()?;
    Ok(kib * 1024.0 / 1e6)
}

/// The processor time of a process so far, in seconds, from `/proc/PID/stat`.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; the fields are counted behind it.
    let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
    let mut times = fields.split_whitespace().skip(11).take(2);
    let mut ticks = || times.next().and_then(|text| text.parse::<f64>().ok());
    let (user, system) = (ticks().context("no utime")?, ticks().context("no stime")?);
    Ok((user + system) / TICKS)
}
