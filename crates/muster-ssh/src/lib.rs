//! Reaching other machines the way their owner does by hand: settings from `ssh -G`, known hosts, agents, jumps, sudo.
//!
//! It runs commands and carries bytes; it refuses to know what the commands are for. Begin with [`Machine`], the port,
//! and [`SshClient`], which opens machines over SSH; [`LocalMachine`] and [`NamespaceMachine`] stand behind the same port.

mod carrier;
mod client;
mod dialogue;
mod error;
pub mod known_hosts;
mod lines;
mod local;
mod machine;
mod script;
mod settings;
mod target;
mod upload;

pub use client::{SshClient, SshMachine};
pub use error::{MachineError, MachineErrorKind};
pub use local::{LocalMachine, NamespaceMachine, NamespaceOf};
pub use machine::{Command, Exit, Machine, OnLine, Output, OutputLine, Stream, Sudo, Uploaded};
pub use target::{SshOptions, SshTarget};
pub use upload::{Payload, Upload};
