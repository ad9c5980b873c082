//! A watch: one long answer, read line by line into events.
//!
//! Lines are bounded, so that a broken server cannot fill the memory. Knows neither reconnection
//! nor resource versions: when the stream ends, the caller decides where to go on.

use bytes::{Buf as _, Bytes, BytesMut};
use futures::Stream;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use muster_handshake::HandshakeError;
use muster_identity::Endpoint;
use serde_json::Value;

use crate::error::{ApiError, StatusError};

/// Longest line that is accepted, in bytes: above any object a server stores (1.5 MiB in etcd).
pub const LONGEST_LINE: usize = 8 * 1024 * 1024;

/// One event of a watch.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchEvent {
    /// An object came into view.
    Added(Value),
    /// An object in view changed.
    Modified(Value),
    /// An object left the view; its last state.
    Deleted(Value),
    /// Nothing happened up to the resource version of this otherwise empty object.
    Bookmark(Value),
}

impl WatchEvent {
    /// The object of the event.
    pub const fn object(&self) -> &Value {
        match self {
            Self::Added(object)
            | Self::Modified(object)
            | Self::Deleted(object)
            | Self::Bookmark(object) => object,
        }
    }

    /// The resource version to go on from after this event.
    pub fn resource_version(&self) -> Option<&str> {
        self.object()
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
    }
}

/// The stream of a watch. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    endpoint: Endpoint,
    path: String,
    body: Option<Incoming>,
    lines: Lines,
}

impl Watch {
    pub(crate) fn new(endpoint: Endpoint, path: String, body: Incoming) -> Self {
        Self {
            endpoint,
            path,
            body: Some(body),
            lines: Lines::default(),
        }
    }

    /// The next event; `None` when the server ended the watch in order. After an error the watch is
    /// over. An `ERROR` event of the server becomes [`ApiError::Status`], for example 410.
    pub async fn next(&mut self) -> Option<Result<WatchEvent, ApiError>> {
        let line = match self.next_line().await? {
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        let event = self.parse(&line);
        if event.is_err() {
            self.body = None;
        }
        Some(event)
    }

    /// The watch as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<WatchEvent, ApiError>> + Send {
        futures::stream::unfold(self, |mut watch| async move {
            let item = watch.next().await?;
            Some((item, watch))
        })
    }

    async fn next_line(&mut self) -> Option<Result<Bytes, ApiError>> {
        loop {
            if let Some(line) = self.lines.take() {
                return Some(Ok(line));
            }
            let frame = match self.body.as_mut()?.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Some(Err(self.lost(&error))),
                None => {
                    self.body = None;
                    // A last line without its end is a broken one: the server had more to say.
                    return None;
                }
            };
            if let Some(data) = frame.data_ref()
                && let Err(reason) = self.lines.push(data)
            {
                self.body = None;
                return Some(Err(self.unreadable(reason)));
            }
        }
    }

    fn lost(&mut self, error: &hyper::Error) -> ApiError {
        self.body = None;
        ApiError::transport(HandshakeError::ConnectionLost {
            endpoint: self.endpoint.to_string(),
            reason: error.to_string(),
        })
    }

    fn parse(&self, line: &[u8]) -> Result<WatchEvent, ApiError> {
        let mut event: Value =
            serde_json::from_slice(line).map_err(|error| self.unreadable(error.to_string()))?;
        let object = event.get_mut("object").map(Value::take).unwrap_or_default();
        match event.get("type").and_then(Value::as_str) {
            Some("ADDED") => Ok(WatchEvent::Added(object)),
            Some("MODIFIED") => Ok(WatchEvent::Modified(object)),
            Some("DELETED") => Ok(WatchEvent::Deleted(object)),
            Some("BOOKMARK") => Ok(WatchEvent::Bookmark(object)),
            Some("ERROR") => Err(status_of(&object)),
            other => Err(self.unreadable(format!("the event type {other:?} is unknown"))),
        }
    }

    fn unreadable(&self, reason: String) -> ApiError {
        ApiError::Decode {
            path: self.path.clone(),
            reason,
        }
    }
}

fn status_of(object: &Value) -> ApiError {
    let text = |field: &str| {
        object
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let code = object
        .get("code")
        .and_then(Value::as_u64)
        .and_then(|code| u16::try_from(code).ok());
    ApiError::Status(Box::new(StatusError {
        code: code.unwrap_or(500),
        reason: text("reason"),
        message: text("message"),
        details: object.get("details").cloned(),
        retry_after: None,
    }))
}

/// Bytes in, lines out.
#[derive(Debug, Default)]
struct Lines {
    buffer: BytesMut,
    searched: usize,
}

impl Lines {
    fn push(&mut self, data: &[u8]) -> Result<(), String> {
        if self.buffer.len() + data.len() > LONGEST_LINE {
            return Err(format!("a line is longer than {LONGEST_LINE} bytes"));
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    /// The next whole line without its end; empty lines are skipped.
    fn take(&mut self) -> Option<Bytes> {
        loop {
            let Some(found) = self.buffer[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n')
            else {
                self.searched = self.buffer.len();
                return None;
            };
            let line = self.buffer.split_to(self.searched + found).freeze();
            self.buffer.advance(1);
            self.searched = 0;
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_however_the_bytes_come_in() {
        let text = b"{\"a\":1}\n\n{\"b\":2}\r\n{\"c\"";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let mut out = Vec::new();
            for chunk in text.chunks(size) {
                lines.push(chunk).unwrap();
                while let Some(line) = lines.take() {
                    out.push(line.trim_ascii().to_vec());
                }
            }
            assert_eq!(out, [b"{\"a\":1}".to_vec(), b"{\"b\":2}".to_vec()]);
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut lines = Lines::default();
        let chunk = vec![b'x'; 1024 * 1024];
        let refused = (0..16).find(|_| lines.push(&chunk).is_err());
        assert_eq!(refused, Some(8));
    }
}
