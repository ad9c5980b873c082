//! The way to a webhook: its addresses, a TCP connection, TLS under its name.
//!
//! Refuses to know: what is said on the connection.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use muster_machinery::meta;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::Service;

use super::{configuration::Address, trust};
use crate::request::ObjectReader;

/// Opens connections to one webhook.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) tls: TlsConnector,
    pub(super) address: Address,
    pub(super) reader: Arc<dyn ObjectReader>,
}

/// Why there is no connection, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreachable(pub(super) String);

impl Service<Uri> for Connector {
    type Response = Wire;
    type Error = Unreachable;
    type Future = BoxFuture<'static, Result<Wire, Unreachable>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unreachable>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.connect(&uri).await })
    }
}

impl Connector {
    async fn connect(&self, uri: &Uri) -> Result<Wire, Unreachable> {
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(443);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Unreachable(format!("{host:?} is no name of a server")))?;
        let mut last = Unreachable(format!("dial tcp: lookup {host}: no such host"));
        for address in self.addresses(host, port).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return self.secure(stream, name).await,
                Err(error) => last = Unreachable(refused(address, &error)),
            }
        }
        Err(last)
    }

    async fn secure(
        &self,
        stream: TcpStream,
        name: ServerName<'static>,
    ) -> Result<Wire, Unreachable> {
        let set = stream.set_nodelay(true);
        set.map_err(|error| Unreachable(error.to_string()))?;
        let stream = self.tls.connect(name, stream).await;
        let stream = stream.map_err(|error| Unreachable(trust::in_words(&error)))?;
        Ok(Wire(TokioIo::new(stream)))
    }

    /// Where to knock: what the name resolves to, or where the service's pods are. There may be no proxy for cluster
    /// addresses on this machine, so those are only tried where nothing else is known.
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Unreachable> {
        let (host, port) = match &self.address {
            Address::Url(_) => (host.to_owned(), port),
            Address::Service {
                namespace, name, ..
            } => match endpoints(self.reader.as_ref(), namespace, name, port)? {
                Found::Addresses(addresses) => return Ok(addresses),
                Found::Name(name) => (name, port),
            },
        };
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        let failed = |_| Unreachable(format!("dial tcp: lookup {host}: no such host"));
        Ok(found.map_err(failed)?.collect())
    }
}

fn refused(address: SocketAddr, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        _ => error.to_string(),
    };
    format!("dial tcp {address}: connect: {why}")
}

/// Where a service is.
enum Found {
    Addresses(Vec<SocketAddr>),
    /// Under a name outside.
    Name(String),
}

fn endpoints(
    reader: &dyn ObjectReader,
    namespace: &str,
    name: &str,
    port: u16,
) -> Result<Found, Unreachable> {
    let Some(service) = reader.get("", "services", Some(namespace), name) else {
        return Err(Unreachable(format!("service {name:?} not found")));
    };
    if meta::str_at(&service, &["spec", "type"]) == Some("ExternalName") {
        let name = meta::str_at(&service, &["spec", "externalName"]).unwrap_or_default();
        return Ok(Found::Name(name.to_owned()));
    }
    let ports = meta::items(&service, &["spec", "ports"]);
    let asked = |one: &&Value| one.get("port").and_then(Value::as_u64) == Some(u64::from(port));
    let Some(wanted) = ports.iter().find(asked) else {
        let why = format!("no service port {port} found for service {name:?}");
        return Err(Unreachable(why));
    };
    let port_name = meta::str_at(wanted, &["name"]).unwrap_or_default();
    let mut addresses = sliced(reader, namespace, name, port_name);
    if addresses.is_empty() {
        addresses = listed(reader, namespace, name, port_name);
    }
    if addresses.is_empty() {
        let cluster = meta::str_at(&service, &["spec", "clusterIP"]).unwrap_or_default();
        addresses.extend(cluster.parse().ok().map(|ip| SocketAddr::new(ip, port)));
    }
    if addresses.is_empty() {
        let why = format!("no endpoints available for service {name:?}");
        return Err(Unreachable(why));
    }
    Ok(Found::Addresses(addresses))
}

/// The ready endpoints of a service's slices.
fn sliced(
    reader: &dyn ObjectReader,
    namespace: &str,
    service: &str,
    port_name: &str,
) -> Vec<SocketAddr> {
    let slices = reader.list("discovery.k8s.io", "endpointslices", Some(namespace));
    let mut found = Vec::new();
    for slice in slices {
        if meta::label(&slice, "kubernetes.io/service-name") != Some(service) {
            continue;
        }
        let Some(port) = port_of(meta::items(&slice, &["ports"]), port_name) else {
            continue;
        };
        for endpoint in meta::items(&slice, &["endpoints"]) {
            let ready = meta::at(endpoint, &["conditions", "ready"]);
            if ready != Some(&Value::Bool(false)) {
                let addresses = meta::items(endpoint, &["addresses"]).iter();
                let parsed = addresses.filter_map(|one| one.as_str()?.parse().ok());
                found.extend(parsed.map(|ip| SocketAddr::new(ip, port)));
            }
        }
    }
    found
}

/// The addresses of a service's `Endpoints`, the older form.
fn listed(
    reader: &dyn ObjectReader,
    namespace: &str,
    service: &str,
    port_name: &str,
) -> Vec<SocketAddr> {
    let Some(endpoints) = reader.get("", "endpoints", Some(namespace), service) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for subset in meta::items(&endpoints, &["subsets"]) {
        let Some(port) = port_of(meta::items(subset, &["ports"]), port_name) else {
            continue;
        };
        for address in meta::items(subset, &["addresses"]) {
            let ip = meta::str_at(address, &["ip"]).and_then(|ip| ip.parse().ok());
            found.extend(ip.map(|ip| SocketAddr::new(ip, port)));
        }
    }
    found
}

fn port_of(ports: &[Value], name: &str) -> Option<u16> {
    let port = ports
        .iter()
        .find(|port| meta::str_at(port, &["name"]).unwrap_or_default() == name)?;
    u16::try_from(port.get("port")?.as_u64()?).ok()
}

/// A connection as the HTTP client wants it.
pub(super) struct Wire(TokioIo<TlsStream<TcpStream>>);

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
