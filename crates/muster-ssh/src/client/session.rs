//! Sessions of a connection: a process there, its input and what comes from it.

use std::sync::Arc;

use async_trait::async_trait;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};

use super::connection::Connection;
use crate::carrier::{Carrier, Event, Events, Input, Session};
use crate::script::command_line;
use crate::{Exit, MachineError, Sudo};

/// Starts processes over one connection.
#[derive(Debug)]
pub(super) struct SshCarrier {
    name: String,
    connection: Arc<Connection>,
    sudo: Sudo,
}

impl SshCarrier {
    pub(super) fn new(name: String, connection: Arc<Connection>, sudo: Sudo) -> Self {
        Self {
            name,
            connection,
            sudo,
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

#[async_trait]
impl Carrier for SshCarrier {
    fn name(&self) -> &str {
        &self.name
    }

    fn user(&self) -> &str {
        self.connection.user()
    }

    fn is_root(&self) -> bool {
        self.connection.user() == "root"
    }

    fn sudo(&self) -> &Sudo {
        &self.sudo
    }

    async fn start(&self, argv: &[String]) -> Result<Session, MachineError> {
        let connection = Arc::clone(&self.connection);
        connection.take_place().await?;
        let place = Place(connection);
        let channel = self.connection.channel().await?;
        let (reader, writer) = channel.split();
        let writer = Arc::new(writer);
        let mut events = SshEvents {
            reader,
            writer: Arc::clone(&writer),
            place,
            ended: false,
        };
        writer
            .exec(true, command_line(argv))
            .await
            .map_err(|_| self.connection.lost())?;
        events.is_started(&self.name).await?;
        Ok(Session {
            input: Box::new(SshInput {
                writer,
                connection: Arc::clone(&self.connection),
            }),
            events: Box::new(events),
        })
    }
}

/// A session's place among those of its connection; and the connection itself, as long as the session needs it.
struct Place(Arc<Connection>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

struct SshInput {
    writer: Arc<ChannelWriteHalf<Msg>>,
    connection: Arc<Connection>,
}

#[async_trait]
impl Input for SshInput {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), MachineError> {
        let written = self.writer.data_bytes(bytes.to_vec()).await;
        written.map_err(|_| self.connection.lost())
    }

    async fn finish(&mut self) -> Result<(), MachineError> {
        self.writer.eof().await.map_err(|_| self.connection.lost())
    }
}

struct SshEvents {
    reader: ChannelReadHalf,
    writer: Arc<ChannelWriteHalf<Msg>>,
    place: Place,
    ended: bool,
}

impl SshEvents {
    /// Waits until the machine says that it has started the process.
    async fn is_started(&mut self, name: &str) -> Result<(), MachineError> {
        loop {
            match self.reader.wait().await {
                Some(ChannelMsg::Success) => return Ok(()),
                Some(ChannelMsg::Failure) => {
                    return Err(MachineError::SessionRefused {
                        host: name.to_owned(),
                        detail: "it runs no commands for this user".to_owned(),
                    });
                }
                Some(ChannelMsg::Close) | None => return Err(self.place.0.lost()),
                Some(_) => {}
            }
        }
    }
}

#[async_trait]
impl Events for SshEvents {
    async fn next(&mut self) -> Result<Option<Event>, MachineError> {
        loop {
            let Some(message) = self.reader.wait().await else {
                if self.ended || !self.place.0.is_closed() {
                    return Ok(None);
                }
                return Err(self.place.0.lost());
            };
            return Ok(Some(match message {
                ChannelMsg::Data { data } => Event::Stdout(data.to_vec()),
                ChannelMsg::ExtendedData { data, ext: 1 } => Event::Stderr(data.to_vec()),
                ChannelMsg::ExitStatus { exit_status } => {
                    self.ended = true;
                    Event::Exit(Exit::Code(exit_status))
                }
                ChannelMsg::ExitSignal { signal_name, .. } => {
                    self.ended = true;
                    Event::Exit(Exit::Signal(name_of(&signal_name)))
                }
                ChannelMsg::Close => return Ok(None),
                _ => continue,
            }));
        }
    }
}

impl Drop for SshEvents {
    fn drop(&mut self) {
        let writer = Arc::clone(&self.writer);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = writer.close().await;
            });
        }
    }
}

fn name_of(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}
