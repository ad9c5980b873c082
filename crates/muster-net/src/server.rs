//! One API server as a client sees it: where it is, how it is spoken to, and what connections stand.
//!
//! Whoever needs a connection first opens it, the others wait for it and share it. Knows neither
//! retry nor what requests mean.

use std::sync::Arc;

use http::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use http::{Request, Uri};
use muster_handshake::HandshakeError;
use muster_identity::{Endpoint, Secret};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::sync::Mutex;

use crate::channel::{Body, Channel};
use crate::connect::{DialLimits, dial, secure};
use crate::error::ApiError;
use crate::request::ApiRequest;

/// Idle HTTP/1.1 connections that are kept.
const IDLE_CONNECTIONS: usize = 4;
/// How this program names itself (RFC 9110 section 10.1.5).
const AGENT: &str = concat!("muster/", env!("CARGO_PKG_VERSION"), " (linux)");

/// A server and the connections to it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    pub(crate) host: HeaderValue,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) server_name: Option<ServerName<'static>>,
    pub(crate) bearer: Option<Secret<String>>,
    pub(crate) limits: DialLimits,
    pub(crate) connection: Mutex<Connections>,
}

#[derive(Debug, Default)]
pub(crate) struct Connections {
    shared: Option<hyper::client::conn::http2::SendRequest<Body>>,
    idle: Vec<Channel>,
}

impl Server {
    /// A connection to send one request on. Whoever comes first connects; the others wait for it.
    pub(crate) async fn channel(&self) -> Result<Channel, HandshakeError> {
        let mut connection = self.connection.lock().await;
        if let Some(sender) = connection
            .shared
            .as_ref()
            .filter(|sender| !sender.is_closed())
        {
            return Ok(Channel::H2(sender.clone()));
        }
        connection.shared = None;
        while let Some(channel) = connection.idle.pop() {
            if channel.is_open() {
                return Ok(channel);
            }
        }
        let channel = self.connect().await?;
        if let Channel::H2(sender) = &channel {
            connection.shared = Some(sender.clone());
        }
        Ok(channel)
    }

    async fn connect(&self) -> Result<Channel, HandshakeError> {
        let stream = dial(&self.endpoint, &self.limits).await?;
        let tls = secure(
            stream,
            &self.endpoint,
            self.server_name.clone(),
            Arc::clone(&self.tls),
            &self.limits,
        )
        .await?;
        Channel::open(tls, &self.endpoint).await
    }

    pub(crate) async fn give_back(&self, channel: Channel) {
        if !channel.is_open() {
            return;
        }
        let mut connection = self.connection.lock().await;
        match channel {
            Channel::H2(sender) => connection.shared = Some(sender),
            channel @ Channel::H1(_) if connection.idle.len() < IDLE_CONNECTIONS => {
                connection.idle.push(channel);
            }
            Channel::H1(_) => {}
        }
    }

    /// Gives up what stands: an attempt got no answer on it.
    pub(crate) async fn hang_up(&self) {
        *self.connection.lock().await = Connections::default();
    }

    pub(crate) fn outgoing(
        &self,
        request: &ApiRequest,
        h2: bool,
    ) -> Result<Request<Body>, ApiError> {
        let unusable = |reason: String| ApiError::Decode {
            path: request.path.clone(),
            reason,
        };
        // HTTP/2 carries scheme and authority in the URI, HTTP/1.1 the authority in a header.
        let uri = if h2 {
            format!("{}{}", self.endpoint.url(), request.path)
        } else {
            request.path.clone()
        };
        let uri: Uri = uri.parse().map_err(|error| unusable(format!("{error}")))?;
        let mut outgoing = Request::new(Body::new(request.body.clone()));
        *outgoing.method_mut() = request.method.clone();
        *outgoing.uri_mut() = uri;
        let headers = outgoing.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if !h2 {
            headers.insert(HOST, self.host.clone());
        }
        if let Some(token) = &self.bearer {
            let text = Secret::new(format!("Bearer {}", token.expose()));
            let mut value = HeaderValue::from_str(text.expose())
                .map_err(|_| unusable("the token holds characters no header can".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        for (name, value) in &request.headers {
            headers.insert(name, value.clone());
        }
        Ok(outgoing)
    }
}
