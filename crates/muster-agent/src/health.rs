//! `/healthz` of the built-in kubelet: 200 `ok` while its loop turns.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Serves `/healthz` until dropped.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) async fn serve(address: SocketAddr) -> io::Result<impl Future<Output = ()> + Send> {
    let listener = TcpListener::bind(address).await?;
    Ok(async move {
        loop {
            // Running out of file descriptors passes; the pause keeps the loop from spinning on it.
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            };
            tokio::spawn(async move {
                let service =
                    service_fn(|request: Request<Incoming>| async move { answer(&request) });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                // A prober that hangs up early is its own business.
                let _ = connection.await;
            });
        }
    })
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature that hyper's service asks for"
)]
fn answer(request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match request.uri().path() {
        "/healthz" => (StatusCode::OK, "ok"),
        _ => (StatusCode::NOT_FOUND, "404 page not found\n"),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    Ok(response)
}
