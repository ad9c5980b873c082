//! Listening: sockets, how many connections there may be and from where, and an orderly end.
//!
//! Refuses to know: TLS and HTTP.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    connection::{self, Service},
    tls::ServingTls,
};
use crate::{pipeline::Pipeline, server::Limits};

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
    tls: Arc<ServingTls>,
    pipeline: Arc<Pipeline>,
    limits: Limits,
    stop: CancellationToken,
    tracker: &TaskTracker,
) {
    let places = Places::new(limits.connections);
    let service = Arc::new(Service {
        tls,
        pipeline,
        limits,
        stop,
    });
    for listener in listeners {
        let accepting = accept_loop(
            listener,
            Arc::clone(&service),
            places.clone(),
            tracker.clone(),
        );
        tracker.spawn(accepting);
    }
}

async fn accept_loop(
    listener: TcpListener,
    service: Arc<Service>,
    places: Places,
    tracker: TaskTracker,
) {
    loop {
        let next = tokio::select! {
            () = service.stop.cancelled() => return,
            next = next_connection(&listener, &places) => next,
        };
        let Some((stream, from, place)) = next else {
            continue;
        };
        let service = Arc::clone(&service);
        tracker.spawn(async move {
            connection::serve(stream, from, service).await;
            drop(place);
        });
    }
}

async fn next_connection(
    listener: &TcpListener,
    places: &Places,
) -> Option<(TcpStream, SocketAddr, Place)> {
    let permit = Arc::clone(&places.free).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, from)) => {
            let place = places.take(from.ip(), permit);
            if place.is_none() {
                tracing::debug!(%from, "an address has too many connections");
            }
            Some((stream, from, place?))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(EXHAUSTED).await;
            None
        }
    }
}

/// Places for connections, and who has them.
#[derive(Clone)]
struct Places {
    capacity: usize,
    free: Arc<Semaphore>,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// The place of one connection.
struct Place {
    from: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            free: Arc::new(Semaphore::new(capacity)),
            taken: Arc::default(),
        }
    }

    /// A place for a connection from there, unless places are scarce and it has more than its share.
    fn take(&self, from: IpAddr, permit: OwnedSemaphorePermit) -> Option<Place> {
        let is_scarce = self.free.available_permits() < self.capacity / 4;
        let mut taken = self.taken.lock();
        let own = taken.entry(from).or_default();
        if is_scarce && *own >= self.capacity / 2 {
            return None;
        }
        *own += 1;
        drop(taken);
        Some(Place {
            from,
            taken: Arc::clone(&self.taken),
            _permit: permit,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        if let Some(own) = taken.get_mut(&self.from) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(places: &Places, from: &str) -> Option<Place> {
        let permit = Arc::clone(&places.free).try_acquire_owned().ok()?;
        places.take(from.parse().ok()?, permit)
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let places = Places::new(16);
        let greedy: Vec<_> = std::iter::repeat_with(|| take(&places, "192.0.2.1"))
            .map_while(|place| place)
            .collect();
        assert_eq!(greedy.len(), 12);
        let others: Vec<_> = std::iter::repeat_with(|| take(&places, "192.0.2.2"))
            .map_while(|place| place)
            .collect();
        assert_eq!(others.len(), 4);
        drop(greedy);
        drop(others);
        assert!(places.taken.lock().is_empty());
        assert!(take(&places, "192.0.2.1").is_some());
    }
}
