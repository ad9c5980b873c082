//! Writing a watch: frames as JSON lines or as length-delimited protobuf, objects as they are, as tables or
//! as metadata.
//!
//! Refuses to know: where frames come from.

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::{HeaderValue, header};
use jiff::Timestamp;
use muster_machinery::{
    protobuf,
    status::Status,
    table::{IncludeObject, ListMeta, META_API_VERSION, Table, partial_object_metadata},
};
use serde_json::{Value, json};

use super::{Encoder, Format, Refusal, Response, ResponseBody, Transform};
use crate::{
    registry::{Follower, Frame},
    watch::StoredObject,
};

/// The annotation of the bookmark that ends the initial objects.
const INITIAL_END: &str = "k8s.io/initial-events-end";

impl Encoder {
    /// An answer that goes on for as long as the follower has something to tell.
    pub(crate) fn watch(self, follower: Follower) -> Response {
        let content_type = self.stream_type();
        let writer = FrameWriter {
            encoder: self,
            headers_sent: false,
        };
        let frames = stream::unfold(Some((follower, writer)), |state| async move {
            let (mut follower, mut writer) = state?;
            let frame = follower.next().await?;
            match writer.write(&frame) {
                Ok(bytes) if matches!(frame, Frame::Error(_)) => Some((bytes, None)),
                Ok(bytes) => Some((bytes, Some((follower, writer)))),
                Err(refusal) => Some((writer.error(&refusal), None)),
            }
        });
        streamed(content_type, ResponseBody::Stream(Box::pin(frames)))
    }

    /// A watch that ends as soon as it begins: its only event says why.
    pub(crate) fn ended_watch(self, refusal: &Status) -> Response {
        let content_type = self.stream_type();
        let writer = FrameWriter {
            encoder: self,
            headers_sent: false,
        };
        streamed(content_type, ResponseBody::full(writer.error(refusal)))
    }

    fn stream_type(&self) -> &'static str {
        match self.negotiated.format {
            Format::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
            Format::Json | Format::Yaml => "application/json",
        }
    }
}

fn streamed(content_type: &'static str, body: ResponseBody) -> Response {
    let mut response = Response::new(body);
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// Writes the frames of one watch.
struct FrameWriter {
    encoder: Encoder,
    /// Whether the first table of this watch has told the columns.
    headers_sent: bool,
}

impl FrameWriter {
    fn write(&mut self, frame: &Frame) -> Result<Bytes, Refusal> {
        match frame {
            Frame::Added(object) => self.object("ADDED", object),
            Frame::Modified(object) => self.object("MODIFIED", object),
            Frame::Deleted(object) => self.object("DELETED", object),
            Frame::Bookmark {
                revision,
                initial_end,
            } => {
                let bookmark = self.bookmark(*revision, *initial_end);
                self.value("BOOKMARK", &bookmark)
            }
            Frame::Error(refusal) => Ok(self.error(refusal)),
        }
    }

    fn object(&mut self, event: &str, object: &StoredObject) -> Result<Bytes, Refusal> {
        let n = self.encoder.negotiated;
        if n.format != Format::Protobuf
            && n.transform == Transform::None
            && !self.encoder.converts()
        {
            return Ok(json_frame(event, object.json()));
        }
        let value = self.encoder.served(object)?;
        match n.transform {
            Transform::None => self.value(event, &value),
            Transform::Metadata => self.value(event, &partial_object_metadata(&value)),
            Transform::Table => {
                let resource = &self.encoder.resource;
                let include = self.encoder.include;
                let (group, kind) = (&resource.group, &resource.kind);
                let table = Table::of_one(group, kind, &value, include, Timestamp::now());
                let table = self.without_repeated_headers(table)?;
                self.value(event, &table)
            }
        }
    }

    fn without_repeated_headers(&mut self, table: Table) -> Result<Value, Refusal> {
        let table = if std::mem::replace(&mut self.headers_sent, true) {
            table.without_headers()
        } else {
            table
        };
        serde_json::to_value(table).map_err(|error| Status::internal(error).into())
    }

    fn bookmark(&self, revision: u64, initial_end: bool) -> Value {
        let resource = &self.encoder.resource;
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_end {
            metadata["annotations"] = json!({INITIAL_END: "true"});
        }
        match self.encoder.negotiated.transform {
            Transform::None => json!({
                "kind": resource.kind,
                "apiVersion": resource.api_version(),
                "metadata": metadata,
            }),
            Transform::Metadata => json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": META_API_VERSION,
                "metadata": metadata,
            }),
            Transform::Table => {
                let list = ListMeta {
                    resource_version: revision.to_string(),
                    ..ListMeta::default()
                };
                let now = self.encoder.now;
                let (group, kind) = (&resource.group, &resource.kind);
                let table = Table::new(group, kind, [], list, IncludeObject::None, now);
                serde_json::to_value(table.without_headers()).unwrap_or_default()
            }
        }
    }

    fn value(&self, event: &str, value: &Value) -> Result<Bytes, Refusal> {
        if self.encoder.negotiated.format == Format::Protobuf {
            let object = protobuf::encode(value).map_err(|error| {
                tracing::warn!(%error, "an object cannot be written as protobuf");
                Status::internal("the object cannot be written as protobuf")
            })?;
            return Ok(protobuf_frame(event, &object));
        }
        let object = serde_json::to_vec(value).map_err(Status::internal)?;
        Ok(json_frame(event, &object))
    }

    /// The last frame of a watch that failed.
    fn error(&self, refusal: &Status) -> Bytes {
        self.value("ERROR", &refusal.to_value())
            .unwrap_or_else(|_| json_frame("ERROR", refusal.to_json().as_bytes()))
    }
}

fn json_frame(event: &str, object: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(object.len() + event.len() + 24);
    frame.put_slice(b"{\"type\":\"");
    frame.put_slice(event.as_bytes());
    frame.put_slice(b"\",\"object\":");
    frame.put_slice(object);
    frame.put_slice(b"}\n");
    frame.freeze()
}

fn protobuf_frame(event: &str, object: &[u8]) -> Bytes {
    let message = protobuf::encode_watch_event(event, object);
    let mut frame = BytesMut::with_capacity(message.len() + 4);
    // Events are bounded by the object limit, far below 4 GiB.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message);
    frame.freeze()
}
