//! Bodies of answers: one piece, a list that is put together while it is sent, or a stream of frames.
//!
//! Refuses to know: what is in them.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt};
use http_body::{Body, Frame, SizeHint};

use crate::watch::StoredObject;

/// The body of an answer.
pub enum ResponseBody {
    /// All of it, at once.
    #[doc(hidden)]
    Full(Bytes),
    /// A JSON list whose items are copied together piece by piece.
    #[doc(hidden)]
    List(JsonList),
    /// Frames as they come.
    #[doc(hidden)]
    Stream(BoxStream<'static, Bytes>),
}

impl ResponseBody {
    /// A body without bytes.
    pub(crate) const fn empty() -> Self {
        Self::Full(Bytes::new())
    }

    /// A body in one piece.
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self::Full(bytes.into())
    }
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "ResponseBody::Full",
            Self::List(_) => "ResponseBody::List",
            Self::Stream(_) => "ResponseBody::Stream",
        })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Full(bytes) if bytes.is_empty() => None,
            Self::Full(bytes) => Some(std::mem::take(bytes)),
            Self::List(list) => list.next_piece(),
            Self::Stream(stream) => match stream.poll_next_unpin(cx) {
                Poll::Ready(next) => next,
                Poll::Pending => return Poll::Pending,
            },
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::List(list) => list.left == 0,
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::List(list) => SizeHint::with_exact(list.left),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// Pieces of this size are sent at once.
const PIECE: usize = 32 * 1024;

/// A JSON list, written from shared items without ever being in memory as a whole.
pub struct JsonList {
    head: Bytes,
    items: std::vec::IntoIter<Arc<StoredObject>>,
    first: bool,
    ended: bool,
    left: u64,
}

const TAIL: &[u8] = b"]}\n";

impl JsonList {
    /// A list that begins with `head`, which ends in `"items":[`.
    pub(crate) fn new(head: Bytes, items: Vec<Arc<StoredObject>>) -> Self {
        let commas = items.len().saturating_sub(1);
        let bytes: usize = items.iter().map(|item| item.json().len()).sum();
        let left = (head.len() + bytes + commas + TAIL.len()) as u64;
        Self {
            head,
            items: items.into_iter(),
            first: true,
            ended: false,
            left,
        }
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut piece = BytesMut::with_capacity(PIECE);
        piece.put_slice(&std::mem::take(&mut self.head));
        while piece.len() < PIECE {
            let Some(item) = self.items.next() else {
                piece.put_slice(TAIL);
                self.ended = true;
                break;
            };
            if !std::mem::take(&mut self.first) {
                piece.put_u8(b',');
            }
            piece.put_slice(item.json());
        }
        self.left -= piece.len() as u64;
        Some(piece.freeze())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::json;

    use super::*;
    use crate::watch::encode_stored;

    #[tokio::test]
    async fn a_list_is_as_long_as_it_says_and_valid_json() {
        for count in [0, 1, 2, 500] {
            let items = (0..count)
                .map(|n| {
                    let stored = encode_stored(&json!({"metadata": {}, "data": "x".repeat(n)}));
                    Arc::new(StoredObject::new(
                        format!("{n}").into(),
                        1,
                        &stored.unwrap(),
                    ))
                })
                .collect();
            let body =
                ResponseBody::List(JsonList::new(Bytes::from_static(b"{\"items\":["), items));
            let promised = body.size_hint().exact().unwrap();
            let bytes = body.collect().await.unwrap().to_bytes();
            assert_eq!(bytes.len() as u64, promised);
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(value["items"].as_array().map(Vec::len), Some(count));
        }
    }
}
