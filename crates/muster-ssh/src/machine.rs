//! The port: a machine that runs commands and takes files, wherever it is.
//!
//! It refuses to know how the machine is reached and what the commands are for.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use muster_identity::Secret;

use crate::{MachineError, Upload};

/// Takes each line as it comes.
pub type OnLine<'a> = &'a mut (dyn FnMut(OutputLine) + Send);

/// The most that [`Machine::output`] keeps of each stream, in bytes. What comes after is dropped.
const MOST_OUTPUT: usize = 4 << 20;

/// A machine that can be told to do things. Cheap to share: calls may run side by side.
///
/// A command does not outlive its caller: when the future is dropped or the connection breaks, the command and its
/// children (as far as they stayed in its process group) get SIGTERM, and SIGKILL five seconds later.
#[async_trait]
pub trait Machine: Send + Sync + fmt::Debug {
    /// How people call it: for messages.
    fn name(&self) -> &str;

    /// Runs a command to its end and hands over each line of output as it comes.
    ///
    /// # Errors
    /// When the command could not be started, or its end is not known. An exit status other than 0 is no error.
    async fn run(&self, command: Command, on_line: OnLine<'_>) -> Result<Exit, MachineError>;

    /// Brings a file there: under another name first, verified by its SHA-256 on that machine, then renamed.
    /// Nothing is sent when a file with the same content is there; its mode is set all the same.
    ///
    /// # Errors
    /// When it is not there as asked; then nothing was changed.
    async fn upload(&self, upload: Upload) -> Result<Uploaded, MachineError>;

    /// Ends the connection. Later calls fail. Dropping the machine does the same, without waiting.
    async fn close(&self);

    /// Runs a command to its end and keeps what it writes, at most 4 MiB of each stream.
    ///
    /// # Errors
    /// As [`Machine::run`].
    async fn output(&self, command: Command) -> Result<Output, MachineError> {
        let mut stdout = String::new();
        let mut stderr = String::new();
        let mut keep = |line: OutputLine| {
            let kept = match line.stream {
                Stream::Stdout => &mut stdout,
                Stream::Stderr => &mut stderr,
            };
            if kept.len() + line.text.len() < MOST_OUTPUT {
                kept.push_str(&line.text);
                kept.push('\n');
            }
        };
        let exit = self.run(command, &mut keep).await?;
        Ok(Output {
            stdout,
            stderr,
            exit,
        })
    }
}

/// What to run. Arguments and environment can be seen by everybody on that machine: secrets go into `stdin`.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// Program and arguments, as they are: no shell looks at them.
    pub argv: Vec<String>,
    /// The whole of its standard input; nothing means that it is at its end at once. At most 1 MiB: see [`Upload`].
    pub stdin: Option<Secret<Vec<u8>>>,
    /// Further environment variables. Names are letters, digits and underscores.
    pub env: Vec<(String, String)>,
    /// Whether it runs as root, by sudo when the user is another.
    pub as_root: bool,
    /// How long it may take before it is ended; nothing means for ever.
    pub time_limit: Option<Duration>,
}

impl Command {
    /// A command of a program and its arguments, as the connection's user, without input.
    pub fn new<I>(argv: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Runs it as root.
    #[must_use]
    pub const fn as_root(mut self) -> Self {
        self.as_root = true;
        self
    }

    /// Feeds it this on standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: Secret<Vec<u8>>) -> Self {
        self.stdin = Some(bytes);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Ends it after this time.
    #[must_use]
    pub const fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }
}

/// Where a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of output, without its end. Longer lines than 64 KiB come in pieces; what is not UTF-8 is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputLine {
    /// Where it was written.
    pub stream: Stream,
    /// The line.
    pub text: String,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(u32),
    /// By a signal, named without `SIG`.
    Signal(String),
}

impl Exit {
    /// Whether the status is 0.
    pub const fn success(&self) -> bool {
        matches!(self, Self::Code(0))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(name) => write!(f, "SIG{name}"),
        }
    }
}

/// What a command wrote, and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The end.
    pub exit: Exit,
}

/// What an upload did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploaded {
    /// The file was written; another content was there before.
    Replaced,
    /// The file was written; nothing was there before.
    Created,
    /// The same content was there already.
    AlreadyThere,
}

/// How to become root on a machine.
#[derive(Debug, Clone, Default)]
pub enum Sudo {
    /// `sudo -n`: it must not ask for a password.
    #[default]
    Passwordless,
    /// Answer sudo with this password, if it asks.
    Password(Secret<String>),
}
