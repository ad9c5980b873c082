//! A list that is put together while it is sent, from items that are shared with everybody else.
//!
//! Refuses to know: what the items are.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use muster_machinery::protobuf::ListFrame;

use crate::watch::StoredObject;

/// Pieces of this size are sent at once.
const PIECE: usize = 32 * 1024;

/// What a JSON list ends with.
const JSON_TAIL: &[u8] = b"]}\n";

/// A list, written piece by piece, without ever being in memory as a whole.
pub struct ListBody {
    items: Items,
    head: Bytes,
    begun: bool,
    ended: bool,
    left: u64,
}

enum Items {
    Json(std::vec::IntoIter<Arc<StoredObject>>),
    Protobuf(ListFrame, std::vec::IntoIter<Bytes>),
}

impl ListBody {
    /// A JSON list that begins with `head`, which ends in `"items":[`.
    pub(crate) fn json(head: Bytes, items: Vec<Arc<StoredObject>>) -> Self {
        let commas = items.len().saturating_sub(1);
        let bytes: usize = items.iter().map(|item| item.json().len()).sum();
        let length = head.len() + bytes + commas + JSON_TAIL.len();
        Self::new(Items::Json(items.into_iter()), head, length)
    }

    /// A protobuf list of bare messages.
    pub(crate) fn protobuf(frame: ListFrame, items: Vec<Bytes>) -> Self {
        let head = Bytes::copy_from_slice(frame.head());
        let framed = items.iter().map(|item| frame.framed_len(item.len()));
        let length = head.len() + framed.sum::<usize>() + frame.tail().len();
        Self::new(Items::Protobuf(frame, items.into_iter()), head, length)
    }

    fn new(items: Items, head: Bytes, length: usize) -> Self {
        Self {
            items,
            head,
            begun: false,
            ended: false,
            left: length as u64,
        }
    }

    /// How many bytes are still to come.
    pub(super) const fn left(&self) -> u64 {
        self.left
    }

    pub(super) fn next_piece(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut piece = BytesMut::with_capacity(PIECE + 1024);
        piece.put_slice(&std::mem::take(&mut self.head));
        while piece.len() < PIECE && !self.ended {
            self.ended = !self.items.put_next(&mut piece, self.begun);
            self.begun = true;
        }
        self.left -= piece.len() as u64;
        Some(piece.freeze())
    }
}

impl Items {
    /// Appends the next item, or the tail; `false` at the end.
    fn put_next(&mut self, piece: &mut BytesMut, begun: bool) -> bool {
        match self {
            Self::Json(items) => match items.next() {
                Some(item) => {
                    if begun {
                        piece.put_u8(b',');
                    }
                    piece.put_slice(item.json());
                    true
                }
                None => {
                    piece.put_slice(JSON_TAIL);
                    false
                }
            },
            Self::Protobuf(frame, items) => match items.next() {
                Some(item) => {
                    let mut head = Vec::with_capacity(8);
                    frame.put_item_head(&mut head, item.len());
                    piece.put_slice(&head);
                    piece.put_slice(&item);
                    true
                }
                None => {
                    piece.put_slice(frame.tail());
                    false
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body;
    use http_body_util::BodyExt;
    use muster_machinery::protobuf;
    use serde_json::{Value, json};

    use super::{super::ResponseBody, *};
    use crate::watch::encode_stored;

    async fn whole(list: ListBody) -> Bytes {
        let body = ResponseBody::List(list);
        let promised = body.size_hint().exact().unwrap();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(bytes.len() as u64, promised);
        bytes
    }

    #[tokio::test]
    async fn a_json_list_is_as_long_as_it_says() {
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
            let bytes = whole(ListBody::json(Bytes::from_static(b"{\"items\":["), items)).await;
            let value: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(value["items"].as_array().map(Vec::len), Some(count));
        }
    }

    #[tokio::test]
    async fn a_protobuf_list_is_as_long_as_it_says() {
        for count in [0, 1, 500] {
            let items: Vec<Bytes> = (0..count)
                .map(|n| {
                    let data = json!({"text": "x".repeat(n)});
                    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data});
                    protobuf::encode_bare(&object).unwrap().into()
                })
                .collect();
            let lengths = items.iter().map(Bytes::len);
            let frame = ListFrame::new("v1", "ConfigMapList", &json!({}), lengths).unwrap();
            let bytes = whole(ListBody::protobuf(frame, items)).await;
            let value = protobuf::decode(&bytes).unwrap();
            assert_eq!(value["items"].as_array().map(Vec::len), Some(count));
        }
    }
}
