//! Through a proxy: which one the environment names, and a tunnel to the target (RFC 9110 section 9.3.6).
//!
//! The variables are read once, as Go does. Knows neither TLS nor what travels in the tunnel.

use std::sync::LazyLock;
use std::time::Duration;

use muster_handshake::HandshakeError;
use muster_identity::{Endpoint, Proxy, ProxyRules, Secret};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest head of an answer to `CONNECT` that is read, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;

/// What `HTTPS_PROXY` and `NO_PROXY` (or their lower-case forms) say in this process's environment.
pub fn environment() -> &'static ProxyRules {
    static RULES: LazyLock<ProxyRules> = LazyLock::new(|| {
        let value = |name: &str| {
            let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            set(name)
                .or_else(|| set(&name.to_lowercase()))
                .unwrap_or_default()
        };
        ProxyRules::new(&value("HTTPS_PROXY"), &value("NO_PROXY"))
    });
    &RULES
}

/// Asks the proxy at the other end of `stream` for a tunnel to `target`.
///
/// # Errors
/// `proxy-failed`.
pub(crate) async fn tunnel(
    mut stream: TcpStream,
    proxy: &Proxy,
    target: &Endpoint,
    limit: Duration,
) -> Result<TcpStream, HandshakeError> {
    let failed = |reason: String, refused: bool| HandshakeError::ProxyFailed {
        endpoint: target.to_string(),
        proxy: proxy.to_string(),
        reason,
        refused,
    };
    let head = timeout(limit, ask(&mut stream, proxy, target))
        .await
        .map_err(|_| failed(format!("it did not answer within {limit:?}"), false))?
        .map_err(|error| failed(error.to_string(), false))?;
    let line = head.lines().next().unwrap_or_default();
    let code = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split_whitespace().nth(1))
        .and_then(|code| code.parse::<u16>().ok());
    match code {
        Some(200..=299) => Ok(stream),
        Some(code) => {
            let said: String = line.chars().filter(|c| !c.is_control()).take(80).collect();
            Err(failed(format!("it answered {said:?}"), code < 500))
        }
        None => Err(failed("it does not answer in HTTP".to_owned(), true)),
    }
}

/// Sends `CONNECT` and reads the head of the answer, and not a byte more: what follows belongs to the target.
async fn ask(stream: &mut TcpStream, proxy: &Proxy, target: &Endpoint) -> std::io::Result<String> {
    let mut request = Secret::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
    if let Some(authorization) = proxy.authorization() {
        request = Secret::new(format!(
            "{}Proxy-Authorization: {}\r\n",
            request.expose(),
            authorization.expose()
        ));
    }
    stream.write_all(request.expose().as_bytes()).await?;
    stream.write_all(b"\r\n").await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LONGEST_HEAD {
            return Err(std::io::Error::other("its answer is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
