//! Machines without a network in between: this one, and the namespaces on it.
//!
//! They speak through the same scripts as machines far away, so that what holds here holds there.

use std::process::Stdio;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

use crate::carrier::{Carrier, Event, Events, Input, Session};
use crate::{
    Command, Exit, Machine, MachineError, OnLine, Sudo, Upload, Uploaded, dialogue, upload,
};

/// How much output is taken at once, in bytes.
const PIECE: usize = 32 << 10;

/// This machine.
#[derive(Debug)]
pub struct LocalMachine {
    here: Here,
}

impl LocalMachine {
    /// This machine under a name; `sudo` says how to become root for a user who is not.
    pub fn new(name: impl Into<String>, sudo: Sudo) -> Self {
        Self {
            here: Here::new(name.into(), Vec::new(), sudo),
        }
    }
}

/// Which namespace of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceOf {
    /// The network namespace of this name, as `ip netns` knows it.
    Name(String),
    /// All namespaces (network, mounts, names, messages, processes) and the root directory that this process lives in.
    Process(u32),
}

/// A namespace on this machine that plays a machine of its own. Entering it takes root.
#[derive(Debug)]
pub struct NamespaceMachine {
    here: Here,
}

impl NamespaceMachine {
    /// The namespace under a name of its own.
    pub fn new(name: impl Into<String>, namespace: &NamespaceOf) -> Self {
        let enter: Vec<String> = match namespace {
            NamespaceOf::Name(network) => {
                ["ip", "netns", "exec", network].map(str::to_owned).to_vec()
            }
            NamespaceOf::Process(pid) => {
                let pid = pid.to_string();
                let words = [
                    "nsenter", "--target", &pid, "--mount", "--uts", "--ipc", "--net", "--pid",
                    "--root", "--wd", "--",
                ];
                words.map(str::to_owned).to_vec()
            }
        };
        Self {
            here: Here::new(name.into(), enter, Sudo::Passwordless),
        }
    }
}

macro_rules! machine_here {
    ($name:ident) => {
        #[async_trait]
        impl Machine for $name {
            fn name(&self) -> &str {
                &self.here.name
            }

            async fn run(
                &self,
                command: Command,
                on_line: OnLine<'_>,
            ) -> Result<Exit, MachineError> {
                dialogue::run(&self.here, command, on_line).await
            }

            async fn upload(&self, upload: Upload) -> Result<Uploaded, MachineError> {
                upload::upload(&self.here, &upload).await
            }

            async fn close(&self) {}
        }
    };
}

machine_here!(LocalMachine);
machine_here!(NamespaceMachine);

/// Starts processes on this machine, behind some words that lead into a namespace.
#[derive(Debug)]
struct Here {
    name: String,
    user: String,
    enter: Vec<String>,
    sudo: Sudo,
}

impl Here {
    fn new(name: String, enter: Vec<String>, sudo: Sudo) -> Self {
        let user = std::env::var("USER").unwrap_or_else(|_| "this user".to_owned());
        Self {
            name,
            user,
            enter,
            sudo,
        }
    }
}

#[async_trait]
impl Carrier for Here {
    fn name(&self) -> &str {
        &self.name
    }

    fn user(&self) -> &str {
        &self.user
    }

    fn is_root(&self) -> bool {
        rustix::process::geteuid().is_root()
    }

    fn sudo(&self) -> &Sudo {
        &self.sudo
    }

    async fn start(&self, argv: &[String]) -> Result<Session, MachineError> {
        let mut words = self.enter.iter().chain(argv);
        let program = words.next().map_or("", String::as_str);
        let mut child = tokio::process::Command::new(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // The scripts end whole process groups.
            .process_group(0)
            .spawn()
            .map_err(|error| MachineError::local(format!("start {program}"), error))?;
        let input = LocalInput(child.stdin.take());
        let events = LocalEvents {
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            child: Some(child),
            out: vec![0; PIECE],
            err: vec![0; PIECE],
        };
        Ok(Session {
            input: Box::new(input),
            events: Box::new(events),
        })
    }
}

struct LocalInput(Option<ChildStdin>);

#[async_trait]
impl Input for LocalInput {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), MachineError> {
        let Some(pipe) = &mut self.0 else {
            return Ok(());
        };
        let written = async {
            pipe.write_all(bytes).await?;
            pipe.flush().await
        };
        written.await.map_err(|error| MachineError::ConnectionLost {
            host: "the process".to_owned(),
            detail: error.to_string(),
        })
    }

    async fn finish(&mut self) -> Result<(), MachineError> {
        self.0 = None;
        Ok(())
    }
}

/// The process is not killed when this is dropped: its standard input ends then, and the script in it ends all.
struct LocalEvents {
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    child: Option<Child>,
    out: Vec<u8>,
    err: Vec<u8>,
}

#[async_trait]
impl Events for LocalEvents {
    async fn next(&mut self) -> Result<Option<Event>, MachineError> {
        let broken = |error| MachineError::local("follow a process", error);
        loop {
            if self.stdout.is_none() && self.stderr.is_none() && self.child.is_none() {
                return Ok(None);
            }
            tokio::select! {
                biased;
                read = read(&mut self.stdout, &mut self.out), if self.stdout.is_some() => {
                    match read.map_err(broken)? {
                        0 => self.stdout = None,
                        length => return Ok(Some(Event::Stdout(taken(&self.out, length)))),
                    }
                }
                read = read(&mut self.stderr, &mut self.err), if self.stderr.is_some() => {
                    match read.map_err(broken)? {
                        0 => self.stderr = None,
                        length => return Ok(Some(Event::Stderr(taken(&self.err, length)))),
                    }
                }
                status = wait(&mut self.child), if self.child.is_some() => {
                    self.child = None;
                    return Ok(Some(Event::Exit(exit(status.map_err(broken)?))));
                }
            }
        }
    }
}

fn taken(buffer: &[u8], length: usize) -> Vec<u8> {
    buffer.get(..length).unwrap_or_default().to_vec()
}

async fn read<R: AsyncReadExt + Unpin>(
    stream: &mut Option<R>,
    buffer: &mut [u8],
) -> std::io::Result<usize> {
    match stream {
        Some(stream) => stream.read(buffer).await,
        None => std::future::pending().await,
    }
}

async fn wait(child: &mut Option<Child>) -> std::io::Result<std::process::ExitStatus> {
    match child {
        Some(child) => child.wait().await,
        None => std::future::pending().await,
    }
}

fn exit(status: std::process::ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(u32::try_from(code).unwrap_or(u32::MAX)),
        (None, signal) => {
            Exit::Signal(signal.map_or_else(String::new, |number| number.to_string()))
        }
    }
}

#[cfg(test)]
mod tests;
