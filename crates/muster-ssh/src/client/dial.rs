//! The way to a machine's port: straight, through a command, or through another machine.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::connection::Connection;
use super::wire::Wire;
use crate::MachineError;
use crate::settings::{Family, Settings};

/// The most that is kept of what a ProxyCommand says on standard error, in bytes.
const MOST_WORDS: usize = 2000;

/// What a ProxyCommand says on standard error.
pub(super) struct Words {
    text: Arc<Mutex<String>>,
    listening: tokio::task::JoinHandle<()>,
    /// It may close its streams before it says why: it is not killed until it was heard.
    _child: Arc<tokio::process::Child>,
}

impl Words {
    /// All of it, once it has ended; what there is when it does not end soon.
    pub(super) async fn last(self) -> String {
        let _ = timeout(Duration::from_secs(1), self.listening).await;
        self.text.lock().trim().to_owned()
    }
}

/// Connects straight; tries each address of the name in turn.
///
/// # Errors
/// Of the last address.
pub(super) async fn straight(
    settings: &Settings,
    limit: Duration,
) -> Result<Box<dyn Wire>, MachineError> {
    let addresses = timeout(limit, lookup(settings)).await.unwrap_or_else(|_| {
        Err(MachineError::TimedOut {
            host: settings.typed.clone(),
            what: "the resolver",
            after: limit,
        })
    })?;
    let mut last = None;
    for address in addresses {
        match timeout(limit, connect(settings, address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(Box::new(stream));
            }
            Ok(Err(error)) => last = Some(error),
            Err(_) => {
                let silence = format!("no answer within {} s", limit.as_secs_f32());
                last = Some(io::Error::new(io::ErrorKind::TimedOut, silence));
            }
        }
    }
    let error = last.unwrap_or_else(|| io::ErrorKind::NotFound.into());
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return Err(MachineError::Refused {
            address: settings.address(),
        });
    }
    Err(MachineError::Unreachable {
        address: settings.address(),
        source: Arc::new(error),
    })
}

async fn lookup(settings: &Settings) -> Result<Vec<SocketAddr>, MachineError> {
    let unknown = |source| MachineError::NameUnknown {
        host: settings.hostname.clone(),
        source: Arc::new(source),
    };
    let name = (settings.hostname.as_str(), settings.port);
    let found = tokio::net::lookup_host(name).await.map_err(unknown)?;
    let wanted = |address: &SocketAddr| match settings.family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    };
    let addresses: Vec<SocketAddr> = found.filter(wanted).collect();
    if addresses.is_empty() {
        return Err(unknown(io::Error::other("no address of the wanted family")));
    }
    Ok(addresses)
}

async fn connect(settings: &Settings, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(from) = &settings.bind_address {
        let from: IpAddr = from.parse().map_err(io::Error::other)?;
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.connect(address).await
}

/// Connects through the standard input and output of a command.
///
/// # Errors
/// When it cannot be started. That it leads nowhere shows later.
pub(super) fn by_command(
    settings: &Settings,
    command: &str,
) -> Result<(Box<dyn Wire>, Words), MachineError> {
    let mut child = tokio::process::Command::new("sh")
        .args(["-c", &format!("exec {command}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| MachineError::local("start the ProxyCommand", error))?;
    let (Some(input), Some(output), Some(errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(MachineError::ProxyCommandFailed {
            host: settings.typed.clone(),
            detail: "it has no standard streams".to_owned(),
        });
    };
    let text = Arc::default();
    let listening = tokio::spawn(listen(errors, Arc::clone(&text)));
    let child = Arc::new(child);
    let words = Words {
        text,
        listening,
        _child: Arc::clone(&child),
    };
    let wire = Piped {
        both: tokio::io::join(output, input),
        _child: child,
    };
    Ok((Box::new(wire), words))
}

async fn listen(mut errors: tokio::process::ChildStderr, words: Arc<Mutex<String>>) {
    let mut piece = [0; 512];
    while let Ok(length @ 1..) = errors.read(&mut piece).await {
        let mut words = words.lock();
        if words.len() < MOST_WORDS {
            words.push_str(&String::from_utf8_lossy(
                piece.get(..length).unwrap_or_default(),
            ));
        }
    }
}

/// A command's streams; the command goes with them.
struct Piped {
    both: tokio::io::Join<tokio::process::ChildStdout, tokio::process::ChildStdin>,
    _child: Arc<tokio::process::Child>,
}

impl tokio::io::AsyncRead for Piped {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.both).poll_read(context, buffer)
    }
}

impl tokio::io::AsyncWrite for Piped {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.both).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.both).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.both).poll_shutdown(context)
    }
}

/// Connects through a machine to which there is a connection.
///
/// # Errors
/// When that machine does not forward, or cannot reach the port.
pub(super) async fn through(
    jump: &Connection,
    settings: &Settings,
    limit: Duration,
) -> Result<Box<dyn Wire>, MachineError> {
    let opened = timeout(limit, jump.forward(&settings.hostname, settings.port)).await;
    opened.unwrap_or_else(|_| {
        let silence = format!(
            "{} gives no answer within {} s",
            jump.label(),
            limit.as_secs_f32()
        );
        Err(MachineError::Unreachable {
            address: settings.address(),
            source: Arc::new(io::Error::new(io::ErrorKind::TimedOut, silence)),
        })
    })
}
