//! `/healthz`, `/readyz` and `/metrics` of the operator, over plain HTTP.
//!
//! It tells counters and yes or no, no names and no secrets.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use muster_controllers::join_token_requests::Operator;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// How many connections are served at the same time.
const CONNECTIONS: usize = 64;
/// How long a connection may take to say what it wants, and live.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves for ever.
pub(super) async fn serve(listener: TcpListener, operator: Arc<Operator>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((connection, _)) => {
                let operator = Arc::clone(&operator);
                tokio::spawn(async move {
                    let _place = place;
                    answer_all(connection, operator).await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer_all(connection: TcpStream, operator: Arc<Operator>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), &operator);
        async move { Ok::<_, Infallible>(answer) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(connection), service);
    // Who is slow or breaks off harms nobody but himself.
    let _ = tokio::time::timeout(PATIENCE * 6, serving).await;
}

fn answer(method: &Method, path: &str, operator: &Operator) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    match path {
        "/healthz" | "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if operator.is_ready() => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "requests are not listed yet\n".to_owned(),
        ),
        "/metrics" => text(StatusCode::OK, operator.metrics()),
        _ => text(
            StatusCode::NOT_FOUND,
            "there is /healthz, /readyz and /metrics\n".to_owned(),
        ),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    response
}
