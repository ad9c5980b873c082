//! What carries a session: the narrow door between the dialogue with a shell and the way to the machine.
//!
//! It refuses to know what is said in a session.

use std::fmt;

use async_trait::async_trait;

use crate::{Exit, MachineError, Sudo};

/// Something that happened in a session.
#[derive(Debug)]
pub(crate) enum Event {
    /// Bytes of standard output.
    Stdout(Vec<u8>),
    /// Bytes of standard error.
    Stderr(Vec<u8>),
    /// The end of the process. Output may still follow.
    Exit(Exit),
}

/// The process's standard input. Dropping it ends the input.
#[async_trait]
pub(crate) trait Input: Send {
    /// Writes all of it.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), MachineError>;

    /// Says that nothing more comes.
    async fn finish(&mut self) -> Result<(), MachineError>;
}

/// What comes from the process. Dropping it ends the session, and frees its place.
#[async_trait]
pub(crate) trait Events: Send {
    /// The next thing; nothing at the end. Cancel-safe.
    async fn next(&mut self) -> Result<Option<Event>, MachineError>;
}

/// A session's two halves.
pub(crate) struct Session {
    pub(crate) input: Box<dyn Input>,
    pub(crate) events: Box<dyn Events>,
}

/// A way to a machine on which processes can be started.
#[async_trait]
pub(crate) trait Carrier: Send + Sync + fmt::Debug {
    /// How people call the machine.
    fn name(&self) -> &str;

    /// Who we are there.
    fn user(&self) -> &str;

    /// Whether that is root already.
    fn is_root(&self) -> bool;

    /// How to become root.
    fn sudo(&self) -> &Sudo;

    /// Starts a process.
    async fn start(&self, argv: &[String]) -> Result<Session, MachineError>;
}
