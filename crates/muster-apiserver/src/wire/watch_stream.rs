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
    table::{ListMeta, META_API_VERSION, Table, partial_object_metadata},
};
use serde_json::{Value, json};

use super::{Encoder, Format, Negotiated, Refusal, Response, ResponseBody, Transform};
use crate::{
    registry::{Follower, Frame, Telling},
    system::WatchTally,
    watch::{Delivery, Form, StoredObject},
};

/// Frames that wait are sent together up to this size.
const PIECE: usize = 32 * 1024;

/// The annotation of the bookmark that ends the initial objects.
const INITIAL_END: &str = "k8s.io/initial-events-end";

impl Encoder {
    /// An answer that goes on for as long as the follower has something to tell.
    pub(crate) fn watch(self, follower: Follower, tally: WatchTally) -> Response {
        let content_type = self.stream_type();
        let writer = FrameWriter {
            encoder: self,
            headers_sent: false,
            tally,
        };
        let frames = stream::unfold(Some((follower, writer)), |state| async move {
            let (mut follower, mut writer) = state?;
            let (mut piece, mut goes_on) = writer.write_or_end(&follower.next().await?);
            // One frame alone, which is the rule, is sent as it is shared; those that wait go together.
            let mut pieces: Option<BytesMut> = None;
            while goes_on && pieces.as_ref().map_or(piece.len(), BytesMut::len) < PIECE {
                let Some(frame) = follower.next_ready() else {
                    break;
                };
                let bytes;
                (bytes, goes_on) = writer.write_or_end(&frame);
                pieces
                    .get_or_insert_with(|| BytesMut::from(&piece[..]))
                    .put_slice(&bytes);
            }
            if let Some(pieces) = pieces {
                piece = pieces.freeze();
            }
            Some((piece, goes_on.then_some((follower, writer))))
        });
        streamed(content_type, ResponseBody::Stream(Box::pin(frames)))
    }

    /// A watch that ends as soon as it begins: its only event says why.
    pub(crate) fn ended_watch(self, refusal: &Status) -> Response {
        let content_type = self.stream_type();
        let writer = FrameWriter {
            encoder: self,
            headers_sent: false,
            tally: WatchTally::default(),
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
    tally: WatchTally,
}

impl FrameWriter {
    /// A frame's bytes, and whether the watch goes on behind it.
    fn write_or_end(&mut self, frame: &Frame) -> (Bytes, bool) {
        match self.write(frame) {
            Ok(bytes) => {
                self.tally.count(bytes.len());
                (bytes, !matches!(frame, Frame::Error(_)))
            }
            Err(refusal) => (self.error(&refusal), false),
        }
    }

    fn write(&mut self, frame: &Frame) -> Result<Bytes, Refusal> {
        match frame {
            Frame::Object {
                telling,
                object,
                delivery,
            } => self.object(event_type(*telling), object, delivery.as_deref()),
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

    fn object(
        &mut self,
        event: &'static str,
        object: &StoredObject,
        delivery: Option<&Delivery>,
    ) -> Result<Bytes, Refusal> {
        let n = self.encoder.negotiated;
        // The first table of a watch differs from the later ones, and all tell ages.
        match delivery {
            Some(delivery) if n.transform != Transform::Table => {
                let form = Form {
                    event,
                    representation: representation(n),
                    api_version: self.encoder.resource.api_version(),
                };
                delivery.written(form, || self.fresh_object(event, object))
            }
            _ => self.fresh_object(event, object),
        }
    }

    fn fresh_object(&mut self, event: &str, object: &StoredObject) -> Result<Bytes, Refusal> {
        let encoder = &self.encoder;
        let n = encoder.negotiated;
        match n.transform {
            Transform::None if n.format == Format::Protobuf => match encoder.enveloped(object)? {
                Some(body) => Ok(protobuf_frame(event, &body)),
                None => Err(Status::internal("the object cannot be written as protobuf").into()),
            },
            Transform::None if !encoder.converts() => Ok(json_frame(event, object.json())),
            Transform::None => self.value(event, &encoder.served(object)?),
            Transform::Metadata => {
                let only = encoder.only_metadata(object)?;
                self.value(event, &partial_object_metadata(&only))
            }
            Transform::Table => {
                let value = encoder.served(object)?;
                let table = encoder.table_of_one(&value, Timestamp::now());
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
                let table = self.encoder.table([], list, now);
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

const fn event_type(telling: Telling) -> &'static str {
    match telling {
        Telling::Added => "ADDED",
        Telling::Modified => "MODIFIED",
        Telling::Deleted => "DELETED",
    }
}

/// A number for each way to write an object of one version.
const fn representation(n: Negotiated) -> u8 {
    let format = match n.format {
        Format::Json | Format::Yaml => 0,
        Format::Protobuf => 1,
    };
    let transform = match n.transform {
        Transform::None => 0,
        Transform::Metadata => 2,
        Transform::Table => 4,
    };
    format + transform
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
