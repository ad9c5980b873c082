//! One connection: TLS handshake, then HTTP/2 or HTTP/1.1 as was agreed, within bounds.
//!
//! Refuses to know: what requests ask for.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::Request;
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::{
    pipeline::{Caller, Pipeline},
    route::RequestBody,
};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the head of an HTTP/1.1 request may take, idle time between requests included.
const HEAD_PATIENCE: Duration = Duration::from_secs(180);
/// The largest head of a request, in bytes.
const MAX_HEAD: u32 = 64 * 1024;
/// Streams at once on an HTTP/2 connection (kube-apiserver's default).
const MAX_STREAMS: u32 = 250;
/// How often a silent HTTP/2 connection is asked whether it is alive, and how long it may think.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of a stream that wait for a slow reader.
const SEND_BUFFER: usize = 64 * 1024;
/// How long a connection may finish what it has begun when the server stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves one connection to its end.
pub(super) async fn serve(
    stream: TcpStream,
    tls: TlsAcceptor,
    pipeline: Arc<Pipeline>,
    stop: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection is gone already");
        return;
    }
    let handshake = tokio::time::timeout(HANDSHAKE, tls.accept(stream));
    let stream = tokio::select! {
        () = stop.cancelled() => return,
        accepted = handshake => match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                return;
            }
            Err(_) => return,
        },
    };
    speak_http(stream, pipeline, stop).await;
}

async fn speak_http(
    stream: TlsStream<TcpStream>,
    pipeline: Arc<Pipeline>,
    stop: CancellationToken,
) {
    let (_, session) = stream.get_ref();
    let http2 = session.alpn_protocol() == Some(b"h2");
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    let caller = Arc::new(Caller::Remote {
        certificate: leaf.map(|leaf| Arc::from(&leaf[..])),
    });
    let service = service_fn(move |request: Request<Incoming>| {
        let (pipeline, caller) = (Arc::clone(&pipeline), Arc::clone(&caller));
        let answer = pipeline.answer(request.map(boxed), caller);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let builder = builder(http2);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(FAREWELL, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

fn boxed(body: Incoming) -> RequestBody {
    body.map_err(Into::into).boxed_unsync()
}

fn builder(http2: bool) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(MAX_HEAD as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE);
    if http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    }
}
