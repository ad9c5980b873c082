//! How much clients may take of a server: connections, time, requests at once, watches. The defaults are
//! kube-apiserver's where it has the limit.
//!
//! Refuses to know: who keeps them.

use std::time::Duration;

/// What clients may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, over all addresses. When three quarters are taken, no single address gets more than
    /// half of all.
    pub connections: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long a new connection may take until its first request is there.
    pub first_request: Duration,
    /// How long a connection may be without any request; then it is asked to go.
    pub idle: Duration,
    /// How long one request may take. A client may ask for less (`timeout=`), never for more. Watches have begun
    /// by then, and go on.
    pub request: Duration,
    /// Reading requests that are worked on at once.
    pub reading: usize,
    /// Writing requests that are worked on at once.
    pub writing: usize,
    /// Requests at once that keep nodes and leaders alive: leases and node status. They have places of their own.
    pub vital: usize,
    /// Requests of one kind that may wait for a place.
    pub waiting: usize,
    /// How many of them may be one user's.
    pub waiting_per_user: usize,
    /// How long a request waits for a place before it is told to come back later.
    pub patience: Duration,
    /// Watches at once of one user.
    pub watches_per_user: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(32),
            idle: Duration::from_secs(90),
            request: Duration::from_secs(60),
            reading: 400,
            writing: 200,
            vital: 200,
            waiting: 4_000,
            waiting_per_user: 1_000,
            patience: Duration::from_secs(15),
            watches_per_user: 20_000,
        }
    }
}
