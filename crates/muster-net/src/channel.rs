//! One HTTP connection over one TLS stream: HTTP/2 where the server agrees, else HTTP/1.1.
//!
//! Opens the connection, sends one request, says whether it can still be used. Knows neither retry
//! nor credentials, and nothing of Kubernetes.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use muster_handshake::HandshakeError;
use muster_identity::Endpoint;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The body of every request: complete before it is sent.
pub(crate) type Body = Full<Bytes>;

/// A connection that requests can be sent on.
#[derive(Debug)]
pub(crate) enum Channel {
    /// Carries many requests at once; a clone is the same connection.
    H2(http2::SendRequest<Body>),
    /// Carries one request at a time.
    H1(http1::SendRequest<Body>),
}

/// Why a request got no answer.
#[derive(Debug)]
pub(crate) struct SendFailure {
    pub(crate) error: HandshakeError,
    /// The request certainly never left this machine, so that sending it again is safe.
    pub(crate) unsent: bool,
}

impl Channel {
    /// Speaks HTTP on a TLS stream, in the protocol that was agreed on, and drives it in a task
    /// that ends with the connection.
    pub(crate) async fn open(
        stream: TlsStream<TcpStream>,
        endpoint: &Endpoint,
    ) -> Result<Self, HandshakeError> {
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(stream);
        let failed = |error: hyper::Error| failure(endpoint, &error).error;
        if h2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io)
                .await
                .map_err(failed)?;
            drive(connection);
            Ok(Self::H2(sender))
        } else {
            let (sender, connection) = http1::handshake(io).await.map_err(failed)?;
            drive(connection);
            Ok(Self::H1(sender))
        }
    }

    /// Whether the connection still stands, as far as this side knows.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::H2(sender) => !sender.is_closed(),
            Self::H1(sender) => !sender.is_closed(),
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Body>,
        endpoint: &Endpoint,
    ) -> Result<Response<Incoming>, SendFailure> {
        let outcome = match self {
            Self::H2(sender) => match sender.ready().await {
                Ok(()) => sender.send_request(request).await,
                Err(error) => Err(error),
            },
            Self::H1(sender) => match sender.ready().await {
                Ok(()) => sender.send_request(request).await,
                Err(error) => Err(error),
            },
        };
        outcome.map_err(|error| failure(endpoint, &error))
    }
}

fn drive<C>(connection: C)
where
    C: Future<Output = Result<(), hyper::Error>> + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    });
}

fn failure(endpoint: &Endpoint, error: &hyper::Error) -> SendFailure {
    let endpoint = endpoint.to_string();
    let reason = chain(error);
    if error.is_parse() {
        let seen = format!("it does not answer in HTTP ({reason})");
        return SendFailure {
            error: HandshakeError::NotKubernetes { endpoint, seen },
            unsent: false,
        };
    }
    SendFailure {
        error: HandshakeError::ConnectionLost { endpoint, reason },
        unsent: error.is_canceled() || refused_stream(error),
    }
}

/// A server that shuts down refuses new HTTP/2 streams without looking at them (RFC 9113 section
/// 8.7).
fn refused_stream(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.to_string().contains("refused") {
            return true;
        }
        source = error.source();
    }
    false
}

/// An error with all its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Reads a whole body of at most `limit` bytes.
pub(crate) async fn collect(
    body: Incoming,
    limit: usize,
    endpoint: &Endpoint,
) -> Result<Bytes, HandshakeError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(HandshakeError::NotKubernetes {
            endpoint: endpoint.to_string(),
            seen: format!("its answer is longer than {limit} bytes"),
        }),
        Err(error) => Err(HandshakeError::ConnectionLost {
            endpoint: endpoint.to_string(),
            reason: chain(error.as_ref()),
        }),
    }
}

/// The `Date` header (RFC 9110 section 6.6.1), read leniently.
pub(crate) fn date(headers: &http::HeaderMap) -> Option<Timestamp> {
    let text = headers.get(http::header::DATE)?.to_str().ok()?;
    jiff::fmt::rfc2822::parse(text)
        .ok()
        .map(|zoned| zoned.timestamp())
}

/// The `Retry-After` header in its form of seconds, as Kubernetes sends it.
pub(crate) fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse::<u64>().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::{DATE, RETRY_AFTER};

    use super::*;

    #[test]
    fn the_date_of_a_kubernetes_answer_is_read() {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, "Sat, 21 Nov 2026 05:59:09 GMT".parse().unwrap());
        assert_eq!(
            date(&headers),
            Some("2026-11-21T05:59:09Z".parse().unwrap())
        );
        headers.insert(DATE, "yesterday".parse().unwrap());
        assert_eq!(date(&headers), None);
    }

    #[test]
    fn retry_after_is_read_in_seconds_only() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "3".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(3)));
        headers.insert(RETRY_AFTER, "-3".parse().unwrap());
        assert_eq!(retry_after(&headers), None);
    }
}
