//! The port to supervised processes, and the file that tells which process it is.
//!
//! A process id alone may be used again by another process; with the time at which the process started it is
//! certain. A process that cannot be proved to be ours is never signalled.

use async_trait::async_trait;

use crate::HostError;

/// What is to be supervised.
#[derive(Clone, Debug)]
pub(crate) struct Spawn<'a> {
    pub(crate) name: &'a str,
    pub(crate) executable: &'a str,
    pub(crate) argv: &'a [String],
    pub(crate) pidfile: &'a str,
    pub(crate) log: &'a str,
}

/// How a supervised process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Supervised {
    /// The supervisor lives.
    pub(crate) supervisor: bool,
    /// What it supervises lives.
    pub(crate) child: bool,
    /// How often that was started again.
    pub(crate) restarts: u32,
}

/// Supervised processes.
#[async_trait]
pub(crate) trait Processes: Send + Sync + 'static {
    /// How the process behind a pid file is doing.
    async fn state(&self, pidfile: &str) -> Result<Supervised, HostError>;
    /// Starts it and waits until it has reported itself; one that runs stays as it is.
    async fn spawn(&self, spawn: Spawn<'_>) -> Result<(), HostError>;
    /// Stops it, first politely, and removes the pid file.
    async fn stop(&self, pidfile: &str) -> Result<(), HostError>;
    /// The end of its log.
    async fn log_tail(&self, log: &str) -> String;
    /// Whether `GET /healthz` on that loopback port answers 200; the reason if not.
    async fn healthz(&self, port: u16) -> Result<(), String>;
}

/// One process, beyond doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks between the boot and the process's start.
    pub(crate) started: u64,
}

/// What a pid file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PidFile {
    pub(crate) supervisor: Identity,
    pub(crate) child: Option<Identity>,
    pub(crate) restarts: u32,
}

impl PidFile {
    /// Reads the two or three lines that [`PidFile::to_text`] writes. `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let supervisor = identity(lines.next()?)?;
        let mut child = None;
        let mut restarts = 0;
        for line in lines.take(2) {
            match line.split_once(' ')? {
                ("child", rest) => child = Some(identity(rest)?),
                ("restarts", rest) => restarts = rest.trim().parse().ok()?,
                _ => return None,
            }
        }
        Some(Self {
            supervisor,
            child,
            restarts,
        })
    }

    /// The supervisor's pid first, so that other tools can use the file too.
    pub(crate) fn to_text(self) -> String {
        let mut text = format!("{} {}\n", self.supervisor.pid, self.supervisor.started);
        if let Some(child) = self.child {
            text.push_str(&format!("child {} {}\n", child.pid, child.started));
        }
        text.push_str(&format!("restarts {}\n", self.restarts));
        text
    }
}

fn identity(line: &str) -> Option<Identity> {
    let (pid, started) = line.trim().split_once(' ')?;
    let pid = pid.parse().ok().filter(|pid| *pid > 1)?;
    Some(Identity {
        pid,
        started: started.trim().parse().ok()?,
    })
}

/// Field 22 of `/proc/PID/stat`. The second field is the program's name in parentheses and may hold anything, so
/// fields are counted from its last closing one. A zombie (state Z) counts as gone.
pub(crate) fn start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

impl Identity {
    /// The identity of a living process.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self {
            pid,
            started: start_time(&stat)?,
        })
    }

    /// Whether this very process lives.
    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pid_file_is_read_as_it_was_written() {
        let one = |pid, started| Identity { pid, started };
        for child in [None, Some(one(43, 1001))] {
            let file = PidFile {
                supervisor: one(42, 1000),
                child,
                restarts: 3,
            };
            assert_eq!(PidFile::parse(&file.to_text()), Some(file));
        }
        assert!(
            PidFile::parse("42\n").is_none(),
            "a pid without its start proves nothing"
        );
        assert!(PidFile::parse("1 7\n").is_none(), "never PID 1");
        assert!(PidFile::parse("-1 7\n").is_none(), "never everybody");
    }

    #[test]
    fn a_strange_program_name_does_not_move_the_fields() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        assert_eq!(start_time(&format!("42 (a) b) (c) {fields}")), Some(777));
        assert_eq!(start_time(&format!("42 (x) Z{}", &fields[1..])), None);
    }

    #[test]
    fn this_process_lives_and_another_start_time_is_another_process() {
        let me = Identity::of(std::process::id() as i32).unwrap();
        assert!(me.is_alive());
        assert!(
            !Identity {
                started: me.started + 1,
                ..me
            }
            .is_alive()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn strange_texts_are_nothing_and_never_a_panic(text in ".{0,80}") {
            let _ = PidFile::parse(&text);
            let _ = start_time(&text);
        }
    }
}
