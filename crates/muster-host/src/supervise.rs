//! The supervisor: keeps one process running where no service manager does.
//!
//! It is the body of the hidden command `supervise`. It holds a lock on its pid file for as long as it lives, so that
//! there is never a second one; it tells in that file who it and its child are. It does not know what it supervises.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process, setsid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::process::{Identity, PidFile};

/// How long a child that was told to stop may take before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// A child that ran for so long counts as having been well: the pause starts from the beginning.
const WELL: Duration = Duration::from_secs(60);

/// How long to pause before a child that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause; each further one is twice as long.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    /// The pause before start number `restarts + 1`.
    #[must_use]
    pub fn pause(&self, restarts: u32) -> Duration {
        let factor = 2u32.saturating_pow(restarts.min(16));
        self.first.saturating_mul(factor).min(self.longest)
    }
}

/// What to supervise.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to tell who runs.
    pub pidfile: PathBuf,
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// The pauses between starts.
    pub backoff: Backoff,
}

/// How supervising ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop, and its child has stopped.
    Stopped,
    /// Another supervisor holds the pid file: nothing was started.
    AlreadyRunning,
}

/// Runs until SIGTERM or SIGINT, starting the child again whenever it ends. The caller must be the main thread of a
/// process of its own: it leaves its session.
///
/// # Errors
/// When the pid file cannot be held or written. A child that cannot be started is tried again like one that ended.
pub async fn run(options: Options) -> io::Result<Ended> {
    // Fails only for a process group's leader, which is a shell's job and may stay one.
    let _ = setsid();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let Some(mut held) = hold(&options.pidfile)? else {
        return Ok(Ended::AlreadyRunning);
    };
    let me = Identity::of(i32::try_from(std::process::id()).unwrap_or(0))
        .ok_or_else(|| io::Error::other("cannot see this process in /proc"))?;
    let mut told = PidFile {
        supervisor: me,
        child: None,
        restarts: 0,
    };
    tell(&mut held, told)?;
    let mut pauses = 0;
    loop {
        let started = Instant::now();
        let mut child = match start(&options.argv) {
            Ok(child) => Some(child),
            Err(error) => {
                tracing::error!(%error, program = ?options.argv.first(), "cannot start");
                None
            }
        };
        told.child = child.as_ref().and_then(identity);
        tell(&mut held, told)?;
        let ended = async {
            match &mut child {
                Some(child) => child.wait().await.map(|status| status.to_string()),
                None => Ok("not started".to_owned()),
            }
        };
        tokio::select! {
            status = ended => tracing::warn!(status = ?status, "ended"),
            _ = terminate.recv() => return stop(child, held, &options.pidfile).await,
            _ = interrupt.recv() => return stop(child, held, &options.pidfile).await,
        }
        if started.elapsed() >= WELL {
            pauses = 0;
        }
        told.child = None;
        told.restarts = told.restarts.saturating_add(1);
        tell(&mut held, told)?;
        let pause = tokio::time::sleep(options.backoff.pause(pauses));
        pauses += 1;
        tokio::select! {
            () = pause => {}
            _ = terminate.recv() => return stop(None, held, &options.pidfile).await,
            _ = interrupt.recv() => return stop(None, held, &options.pidfile).await,
        }
    }
}

/// The pid file, locked by us; `None` when another holds it.
fn hold(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // Somebody may have removed the file between our opening and locking it: then we hold a name-less one.
        match std::fs::metadata(path) {
            Ok(named) if named.ino() == file.metadata()?.ino() => return Ok(Some(file)),
            _ => {}
        }
    }
}

fn tell(file: &mut File, told: PidFile) -> io::Result<()> {
    let text = told.to_text();
    // One write of a few bytes at the start, then the rest is cut: a reader sees the old or the new lines, or lines
    // that do not parse and are read again.
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

fn start(argv: &[OsString]) -> io::Result<Child> {
    let (program, args) = argv
        .split_first()
        .ok_or_else(|| io::Error::other("nothing to supervise"))?;
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}

fn identity(child: &Child) -> Option<Identity> {
    Identity::of(i32::try_from(child.id()?).ok()?)
}

async fn stop(child: Option<Child>, held: File, pidfile: &Path) -> io::Result<Ended> {
    if let Some(mut child) = child {
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself at this moment.
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(STOP_LIMIT, child.wait())
            .await
            .is_err()
        {
            child.kill().await?;
        }
    }
    let _ = std::fs::remove_file(pidfile);
    drop(held);
    Ok(Ended::Stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff::default();
        let pauses: Vec<u64> = (0..7).map(|n| backoff.pause(n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff.pause(u32::MAX).as_secs(), 30);
    }

    fn read(path: &Path) -> Option<PidFile> {
        PidFile::parse(&std::fs::read_to_string(path).ok()?)
    }

    async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "it did not happen in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_child_that_ends_is_started_again_and_stops_with_its_supervisor() {
        let dir = tempfile::tempdir().unwrap();
        let pidfile = dir.path().join("kubelet.pid");
        // Ends at once the first two times, then stays.
        let script = format!(
            "echo x >> {0}/starts; [ $(wc -l < {0}/starts) -ge 3 ] && exec sleep 600; exit 1",
            dir.path().display()
        );
        let options = Options {
            pidfile: pidfile.clone(),
            argv: ["sh", "-c", &script].map(OsString::from).into(),
            backoff: Backoff {
                first: Duration::from_millis(10),
                longest: Duration::from_millis(20),
            },
        };
        let supervisor = tokio::spawn(run(options.clone()));
        let told =
            until(|| read(&pidfile).filter(|told| told.restarts == 2 && told.child.is_some()));
        let told = told.await;
        assert_eq!(
            told.supervisor,
            Identity::of(std::process::id() as i32).unwrap()
        );
        let child = told.child.unwrap();
        assert!(child.is_alive());
        assert_eq!(run(options).await.unwrap(), Ended::AlreadyRunning);

        let me = Pid::from_raw(std::process::id() as i32).unwrap();
        kill_process(me, Signal::TERM).unwrap();
        assert_eq!(supervisor.await.unwrap().unwrap(), Ended::Stopped);
        assert!(!child.is_alive() && !pidfile.exists());
    }

    #[test]
    fn a_pid_file_is_held_by_one_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubelet.pid");
        let held = hold(&path).unwrap().unwrap();
        assert!(hold(&path).unwrap().is_none());
        drop(held);
        assert!(hold(&path).unwrap().is_some());
    }
}
