//! One POST to a web address: for whoever listens to events. The public CAs are trusted, nothing is redirected.
//!
//! It refuses to know what is sent and what the answer says beyond its status.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use muster_identity::Endpoint;
use tokio::time::timeout;

use crate::channel::{Body, Channel, chain};
use crate::connect::{DialLimits, dial, secure};
use crate::tls::public_config;

/// Why a POST did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The address is neither `http://…` nor `https://…`: correct it.
    #[error("{url:?} is no http or https address")]
    Address {
        /// As it was given, without user and query.
        url: String,
    },
    /// No answer came.
    #[error("{endpoint} did not answer: {reason}")]
    NoAnswer {
        /// Where.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// The answer was a refusal.
    #[error("{endpoint} answered {status}")]
    Refused {
        /// Where.
        endpoint: String,
        /// Its status.
        status: StatusCode,
    },
}

/// A web address that takes POSTs.
#[derive(Clone, Debug)]
pub struct PostTarget {
    secure: bool,
    endpoint: Endpoint,
    authority: String,
    path: String,
}

impl PostTarget {
    /// Reads `http://HOST[:PORT]/PATH` or `https://…`.
    ///
    /// # Errors
    /// [`PostError::Address`].
    pub fn parse(url: &str) -> Result<Self, PostError> {
        let wrong = || PostError::Address {
            url: url.split(['?', '@']).next().unwrap_or_default().to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (secure, port) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?.as_str().to_owned();
        if authority.contains('@') {
            return Err(wrong());
        }
        Ok(Self {
            secure,
            endpoint: Endpoint::parse_with_default_port(&authority, port).map_err(|_| wrong())?,
            authority,
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
        })
    }

    /// The same server, with `path` when no path was given.
    #[must_use]
    pub fn or_path(mut self, path: &str) -> Self {
        if self.path == "/" {
            path.clone_into(&mut self.path);
        }
        self
    }

    /// Sends a body and waits for a 2xx.
    ///
    /// # Errors
    /// [`PostError`].
    pub async fn post(
        &self,
        content_type: &'static str,
        headers: &HeaderMap,
        body: impl Into<Bytes>,
        limit: Duration,
    ) -> Result<(), PostError> {
        let lost = |reason: String| PostError::NoAnswer {
            endpoint: self.endpoint.to_string(),
            reason,
        };
        let sending = self.send(content_type, headers, body.into());
        let status = timeout(limit, sending)
            .await
            .unwrap_or_else(|_| Err(format!("nothing within {} s", limit.as_secs())))
            .map_err(lost)?;
        if status.is_success() {
            return Ok(());
        }
        Err(PostError::Refused {
            endpoint: self.endpoint.to_string(),
            status,
        })
    }

    async fn send(
        &self,
        content_type: &'static str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<StatusCode, String> {
        let limits = DialLimits::default();
        let stream = dial(&self.endpoint, &limits)
            .await
            .map_err(|error| error.to_string())?;
        if !self.secure {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| chain(&error))?;
            tokio::spawn(connection);
            let request = self.request(&self.path, content_type, headers, body)?;
            let answer = sender
                .send_request(request)
                .await
                .map_err(|error| chain(&error))?;
            return Ok(answer.status());
        }
        let tls = public_config(None).map_err(|error| error.to_string())?;
        let stream = secure(stream, &self.endpoint, None, tls, &limits)
            .await
            .map_err(|error| error.to_string())?;
        let mut channel = Channel::open(stream, &self.endpoint)
            .await
            .map_err(|error| error.to_string())?;
        let uri = match channel {
            Channel::H2(_) => format!("https://{}{}", self.authority, self.path),
            Channel::H1(_) => self.path.clone(),
        };
        let request = self.request(&uri, content_type, headers, body)?;
        let answer = channel
            .send(request, &self.endpoint)
            .await
            .map_err(|failure| failure.error.to_string())?;
        Ok(answer.status())
    }

    fn request(
        &self,
        uri: &str,
        content_type: &'static str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Request<Body>, String> {
        let mut request = Request::post(uri)
            .header(CONTENT_TYPE, content_type)
            .header(USER_AGENT, concat!("muster/", env!("CARGO_PKG_VERSION")));
        if uri.starts_with('/') {
            request = request.header(HOST, &self.authority);
        }
        let mut request = request
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        request.headers_mut().extend(headers.clone());
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[test]
    fn only_web_addresses_are_taken_and_a_refusal_shows_no_credentials() {
        let target = PostTarget::parse("http://127.0.0.1:4318")
            .unwrap()
            .or_path("/v1/traces");
        assert_eq!(
            (target.endpoint.port(), target.path.as_str()),
            (4318, "/v1/traces")
        );
        assert_eq!(PostTarget::parse("https://h/x?y=1").unwrap().path, "/x?y=1");
        for url in ["ftp://h/", "h:80", "", "https://user:secret@h/"] {
            let error = PostTarget::parse(url).unwrap_err().to_string();
            assert!(
                !error.contains("secret@") && !error.contains("@h"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn a_body_arrives_and_the_status_decides() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let target = PostTarget::parse(&url).unwrap();
        for (answer, well) in [("204 No Content", true), ("500 Oh", false)] {
            let none = HeaderMap::new();
            let posting = target.post("application/json", &none, "{}", Duration::from_secs(10));
            let taking = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut text = String::new();
                while !text.ends_with("\r\n\r\n{}") {
                    let mut piece = [0; 1024];
                    let length = stream.read(&mut piece).await.unwrap();
                    text.push_str(std::str::from_utf8(&piece[..length]).unwrap());
                }
                let head = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                text
            };
            let (posted, text) = tokio::join!(posting, taking);
            assert_eq!(posted.is_ok(), well);
            assert!(text.starts_with("POST /hook HTTP/1.1\r\n"), "{text}");
            assert!(
                text.to_lowercase()
                    .contains("content-type: application/json")
            );
        }
    }
}
