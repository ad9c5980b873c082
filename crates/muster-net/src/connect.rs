//! From an endpoint to a TLS stream, with every way to fail told apart.
//!
//! Addresses of a name are tried side by side with a small lead for the first (RFC 8305), and what
//! the kernel or the peer says is classified into the ids of [`HandshakeError`]. A proxy that the
//! environment names for the host is asked for a tunnel. Knows neither trust nor what is said.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use muster_handshake::HandshakeError;
use muster_identity::{Endpoint, Host, ProxyRules};
use rustls::{AlertDescription, ClientConfig};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::{CarriedFault, server_name};

/// How long each step of a connection may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialLimits {
    /// Name resolution.
    pub resolve: Duration,
    /// TCP, over all addresses together.
    pub connect: Duration,
    /// The TLS handshake.
    pub handshake: Duration,
}

impl Default for DialLimits {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(3),
            connect: Duration::from_secs(3),
            handshake: Duration::from_secs(5),
        }
    }
}

/// The lead of each address over the next (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);
/// Most addresses of one name that are tried.
const MOST_ADDRESSES: usize = 8;
/// Silence on a connection after which the kernel asks whether the peer is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// Pause between these questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Unanswered questions, or seconds of unacknowledged data, after which a connection is dead.
const KEEPALIVE_PROBES: u32 = 3;
const USER_TIMEOUT_MILLIS: u32 = 30_000;

/// Opens a TCP connection to `endpoint`, through the proxy that the environment names for it.
///
/// # Errors
/// `host-unresolvable`, `host-unreachable`, `connection-refused`, `timeout` or `proxy-failed`.
pub async fn dial(endpoint: &Endpoint, limits: &DialLimits) -> Result<TcpStream, HandshakeError> {
    dial_through(endpoint, limits, crate::proxy::environment()).await
}

/// As [`dial`], with proxy rules of the caller's choice.
///
/// # Errors
/// As [`dial`].
pub async fn dial_through(
    endpoint: &Endpoint,
    limits: &DialLimits,
    rules: &ProxyRules,
) -> Result<TcpStream, HandshakeError> {
    let failed = |proxy: String, error: &dyn std::fmt::Display| HandshakeError::ProxyFailed {
        endpoint: endpoint.to_string(),
        proxy,
        reason: error.to_string(),
        refused: false,
    };
    let proxy = rules
        .for_target(endpoint)
        .map_err(|error| failed("in HTTPS_PROXY".to_owned(), &error))?;
    let Some(proxy) = proxy else {
        return dial_directly(endpoint, limits).await;
    };
    let stream = dial_directly(proxy.endpoint(), limits)
        .await
        .map_err(|error| failed(proxy.to_string(), &error))?;
    crate::proxy::tunnel(stream, proxy, endpoint, limits.connect + limits.resolve).await
}

async fn dial_directly(
    endpoint: &Endpoint,
    limits: &DialLimits,
) -> Result<TcpStream, HandshakeError> {
    let addresses = resolve(endpoint, limits.resolve).await?;
    let stream = match timeout(limits.connect, race(&addresses)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(classify_connect(endpoint, &error, limits.connect)),
        Err(_) => return Err(timed_out(endpoint, "connecting", limits.connect)),
    };
    // A connection without these options works too, only more slowly: no reason to fail.
    let tuned = stream.set_nodelay(true).and_then(|()| keep_alive(&stream));
    if let Err(error) = tuned {
        tracing::debug!(%endpoint, %error, "socket options are not available");
    }
    Ok(stream)
}

/// Speaks TLS on a TCP connection to `endpoint`, as `name` or else as the endpoint's own host.
///
/// # Errors
/// `not-tls`, `connection-lost`, `timeout`, and for a verifying configuration
/// `tls-name-mismatch`, `tls-untrusted` or `clock-skew`.
pub async fn secure(
    stream: TcpStream,
    endpoint: &Endpoint,
    name: Option<ServerName<'static>>,
    config: Arc<ClientConfig>,
    limits: &DialLimits,
) -> Result<TlsStream<TcpStream>, HandshakeError> {
    let name = match name {
        Some(name) => name,
        None => server_name(endpoint.host()).map_err(|error| HandshakeError::HostUnresolvable {
            host: endpoint.server_name(),
            reason: error.to_string(),
        })?,
    };
    let handshake = TlsConnector::from(config).connect(name, stream);
    match timeout(limits.handshake, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(classify_tls(endpoint, &error)),
        Err(_) => Err(timed_out(endpoint, "agreeing on TLS", limits.handshake)),
    }
}

async fn resolve(endpoint: &Endpoint, limit: Duration) -> Result<Vec<SocketAddr>, HandshakeError> {
    let name = match endpoint.host() {
        Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, endpoint.port())]),
        Host::Dns(name) => name,
    };
    let unresolvable = |reason: String| HandshakeError::HostUnresolvable {
        host: name.clone(),
        reason,
    };
    let found = timeout(
        limit,
        tokio::net::lookup_host((name.as_str(), endpoint.port())),
    )
    .await
    .map_err(|_| unresolvable(format!("the resolver did not answer within {limit:?}")))?
    .map_err(|error| unresolvable(error.to_string()))?;
    let addresses = interleave(found.collect());
    if addresses.is_empty() {
        return Err(unresolvable("it has no address".to_owned()));
    }
    Ok(addresses)
}

/// Families in turn, the resolver's favourite first, without repeats.
fn interleave(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = found.first().copied() else {
        return Vec::new();
    };
    let (mut same, mut other): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|address| address.is_ipv6() == first.is_ipv6());
    same.dedup();
    other.dedup();
    let longest = same.len().max(other.len());
    let pairs = (0..longest).flat_map(|n| [same.get(n).copied(), other.get(n).copied()]);
    pairs.flatten().take(MOST_ADDRESSES).collect()
}

/// The first address that answers wins; the most telling failure is told when none does.
async fn race(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter().copied();
    let mut attempts = FuturesUnordered::new();
    let mut worst: Option<io::Error> = None;
    loop {
        if let Some(address) = waiting.next() {
            attempts.push(TcpStream::connect(address));
        } else if attempts.is_empty() {
            return Err(worst.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()));
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(outcome) = attempts.next() => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => worst = Some(more_telling(worst, error)),
            },
            () = sleep(HEAD_START), if more => {}
        }
    }
}

/// A refusal proves that the host is there; it tells more than a missing route of one family.
fn more_telling(former: Option<io::Error>, latter: io::Error) -> io::Error {
    let rank = |error: &io::Error| match error.kind() {
        io::ErrorKind::ConnectionRefused => 2,
        io::ErrorKind::TimedOut => 1,
        _ => 0,
    };
    match former {
        Some(former) if rank(&former) >= rank(&latter) => former,
        _ => latter,
    }
}

fn classify_connect(endpoint: &Endpoint, error: &io::Error, limit: Duration) -> HandshakeError {
    let name = endpoint.to_string();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => HandshakeError::ConnectionRefused { endpoint: name },
        io::ErrorKind::TimedOut => timed_out(endpoint, "connecting", limit),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            HandshakeError::ConnectionLost {
                endpoint: name,
                reason: plain(error),
            }
        }
        _ => HandshakeError::HostUnreachable {
            endpoint: name,
            reason: plain(error),
        },
    }
}

fn classify_tls(endpoint: &Endpoint, error: &io::Error) -> HandshakeError {
    let name = endpoint.to_string();
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(_)) => HandshakeError::NotTls {
            endpoint: name,
            seen: "it answered the TLS greeting with something else, perhaps plain HTTP".into(),
        },
        Some(rustls::Error::AlertReceived(alert)) => refused_by_alert(name, *alert),
        Some(rustls::Error::InvalidCertificate(fault)) => certificate_error(endpoint, fault),
        Some(other) => HandshakeError::TlsUntrusted {
            endpoint: name,
            reason: other.to_string(),
        },
        None if error.kind() == io::ErrorKind::UnexpectedEof => HandshakeError::ConnectionLost {
            endpoint: name,
            reason: "it was closed during the TLS handshake; is it a TLS port?".into(),
        },
        None => HandshakeError::ConnectionLost {
            endpoint: name,
            reason: plain(error),
        },
    }
}

fn refused_by_alert(endpoint: String, alert: AlertDescription) -> HandshakeError {
    HandshakeError::TlsUntrusted {
        endpoint,
        reason: format!("the server ended the TLS handshake with the alert {alert:?}"),
    }
}

fn certificate_error(endpoint: &Endpoint, error: &rustls::CertificateError) -> HandshakeError {
    if let rustls::CertificateError::Other(other) = error
        && let Some(CarriedFault(fault)) = other.0.downcast_ref::<CarriedFault>()
    {
        return fault
            .clone()
            .into_error(endpoint, None, None, Timestamp::now());
    }
    HandshakeError::TlsUntrusted {
        endpoint: endpoint.to_string(),
        reason: error.to_string(),
    }
}

fn timed_out(endpoint: &Endpoint, doing: &str, waited: Duration) -> HandshakeError {
    HandshakeError::Timeout {
        endpoint: endpoint.to_string(),
        doing: doing.to_owned(),
        waited: SignedDuration::try_from(waited).unwrap_or(SignedDuration::MAX),
    }
}

/// The kernel's words without Rust's `(os error N)`.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

/// A dead peer is found by the kernel, so that no client needs a timer for it.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    sockopt::set_tcp_user_timeout(stream, USER_TIMEOUT_MILLIS)?;
    Ok(())
}

/// The local address of a connection: from where this machine reaches the API server.
pub fn local_ip(stream: &TcpStream) -> Option<IpAddr> {
    stream.local_addr().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns_and_the_resolvers_favourite_is_first() {
        let found = vec![
            at("[::1]:1"),
            at("[::2]:1"),
            at("127.0.0.1:1"),
            at("[::3]:1"),
        ];
        assert_eq!(
            interleave(found),
            [
                at("[::1]:1"),
                at("127.0.0.1:1"),
                at("[::2]:1"),
                at("[::3]:1")
            ]
        );
    }

    #[test]
    fn a_refusal_tells_more_than_a_missing_route() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let unreachable = || io::Error::from(io::ErrorKind::NetworkUnreachable);
        for (former, latter) in [(refused(), unreachable()), (unreachable(), refused())] {
            let kind = more_telling(Some(former), latter).kind();
            assert_eq!(kind, io::ErrorKind::ConnectionRefused);
        }
    }
}
