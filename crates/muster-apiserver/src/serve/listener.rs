//! Listening: sockets, how many connections there may be, and an orderly end.
//!
//! Refuses to know: TLS and HTTP.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::connection;
use crate::pipeline::Pipeline;

/// Connections at once, over all addresses.
const MAX_CONNECTIONS: usize = 16_384;
/// How long to wait when the system has no more file descriptors.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Opens listening sockets.
pub(crate) async fn bind(
    addresses: &[SocketAddr],
) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| (*address, error))?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Serves connections on every listener until `stop`. Connections are counted in `tracker`.
pub(crate) fn serve(
    listeners: Vec<TcpListener>,
    tls: TlsAcceptor,
    pipeline: Arc<Pipeline>,
    stop: CancellationToken,
    tracker: &TaskTracker,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    for listener in listeners {
        let accepting = accept_loop(Accepting {
            listener,
            tls: tls.clone(),
            pipeline: Arc::clone(&pipeline),
            stop: stop.clone(),
            places: Arc::clone(&places),
            tracker: tracker.clone(),
        });
        tracker.spawn(accepting);
    }
}

struct Accepting {
    listener: TcpListener,
    tls: TlsAcceptor,
    pipeline: Arc<Pipeline>,
    stop: CancellationToken,
    places: Arc<Semaphore>,
    tracker: TaskTracker,
}

async fn accept_loop(accepting: Accepting) {
    let Accepting {
        listener,
        tls,
        pipeline,
        stop,
        places,
        tracker,
    } = accepting;
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => return,
            next = next_connection(&listener, &places) => next,
        };
        let Some((stream, place)) = next else {
            continue;
        };
        let (tls, pipeline, stop) = (tls.clone(), Arc::clone(&pipeline), stop.clone());
        tracker.spawn(async move {
            connection::serve(stream, tls, pipeline, stop).await;
            drop(place);
        });
    }
}

async fn next_connection(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(EXHAUSTED).await;
            None
        }
    }
}
