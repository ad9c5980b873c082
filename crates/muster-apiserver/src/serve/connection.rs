//! One connection: TLS handshake, then HTTP/2 or HTTP/1.1 as was agreed, within bounds.
//!
//! Refuses to know: what requests ask for.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::Request;
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::{
    activity::{Activity, CountedBody},
    tls::ServingTls,
};
use crate::{
    authn::ClientCertificate,
    pipeline::{Caller, Pipeline},
    route::RequestBody,
    server::Limits,
};

/// The largest head of a request, in bytes. More is answered with 431.
const MAX_HEAD: u32 = 64 * 1024;
/// The most fields in the head of an HTTP/1.1 request; every group that is impersonated is one.
const MAX_FIELDS: usize = 512;
/// Streams at once on an HTTP/2 connection (kube-apiserver's default).
const MAX_STREAMS: u32 = 250;
/// Streams that a client reset before they were looked at (CVE-2023-44487); more end the connection.
const MAX_RESET_UNSEEN: usize = 50;
/// Streams that were reset because the client broke the protocol; more end the connection.
const MAX_RESET_FAULTY: usize = 1024;
/// The largest HTTP/2 frame that is taken, in bytes.
const MAX_FRAME: u32 = 256 * 1024;
/// Bytes of a request's body, and of all bodies of a connection, that may come before they are asked for.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// How often a silent HTTP/2 connection is asked whether it is alive, and how long it may think.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of a stream that wait for a slow reader.
const SEND_BUFFER: usize = 64 * 1024;
/// How long a connection may finish what it has begun when it is asked to go.
const FAREWELL: Duration = Duration::from_secs(5);

/// What every connection needs.
pub(super) struct Service {
    pub(super) tls: Arc<ServingTls>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) limits: Limits,
    pub(super) stop: CancellationToken,
}

/// Serves one connection to its end.
pub(super) async fn serve(stream: TcpStream, from: SocketAddr, service: Arc<Service>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection is gone already");
        return;
    }
    let accepted = service.tls.acceptor().accept(stream);
    let handshake = tokio::time::timeout(service.limits.handshake, accepted);
    let stream = tokio::select! {
        () = service.stop.cancelled() => return,
        accepted = handshake => match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, %from, "a TLS handshake failed");
                return;
            }
            Err(_) => return,
        },
    };
    speak_http(stream, from, &service).await;
}

async fn speak_http(stream: TlsStream<TcpStream>, from: SocketAddr, service: &Service) {
    let (_, session) = stream.get_ref();
    let http2 = session.alpn_protocol() == Some(b"h2");
    let chain = session.peer_certificates().unwrap_or_default();
    let certificate = ClientCertificate::from_chain(chain.iter().map(|der| der.as_ref()));
    let caller = Arc::new(Caller::Remote {
        certificate: certificate.map(Arc::new),
        address: from,
    });
    let activity = Activity::new();
    let answering = {
        let (pipeline, activity) = (Arc::clone(&service.pipeline), Arc::clone(&activity));
        service_fn(move |request: Request<Incoming>| {
            let under_way = activity.begin();
            let answer = Arc::clone(&pipeline).answer(request.map(boxed), Arc::clone(&caller));
            async move {
                let answer = answer.await;
                Ok::<_, Infallible>(answer.map(|body| CountedBody::new(body, under_way)))
            }
        })
    };
    let builder = builder(http2, &service.limits);
    let connection = builder.serve_connection(TokioIo::new(stream), answering);
    let mut connection = std::pin::pin!(connection);
    let limits = &service.limits;
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = service.stop.cancelled() => None,
        () = activity.too_quiet(limits.first_request, limits.idle) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(FAREWELL, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %from, "a connection broke off");
    }
}

fn boxed(body: Incoming) -> RequestBody {
    body.map_err(Into::into).boxed_unsync()
}

fn builder(http2: bool, limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // It also runs between requests, so it cannot be shorter than the time that a connection may be idle.
        .header_read_timeout(limits.idle)
        .max_headers(MAX_FIELDS)
        .max_buf_size(MAX_HEAD as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESET_UNSEEN)
        .max_local_error_reset_streams(MAX_RESET_FAULTY)
        .max_header_list_size(MAX_HEAD)
        .max_frame_size(MAX_FRAME)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE);
    if http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    }
}
