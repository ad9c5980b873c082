//! Bodies that are put together from parts: objects are encoded once, each by itself, and shared by the lists and
//! watch events that they are told in.
//!
//! It refuses to know where the parts are kept.

use serde_json::Value;

use super::encode::{EncodeError, message_of, put_envelope_head, put_message};
use super::wire::{put_bytes, put_varint};
use crate::schema::{self, Message};

/// What every envelope ends with: two empty strings that Go writes.
const ENVELOPE_TAIL: &[u8] = &[0x1a, 0, 0x22, 0];

/// The wire type of length-delimited fields.
const LENGTH_DELIMITED: u64 = 2;

/// Encodes an object as its bare message, without the envelope that names the kind.
///
/// # Errors
/// When the object's kind is not built in, or a member does not fit its schema.
pub fn encode_bare(object: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut raw = Vec::with_capacity(512);
    put_message(message_of(object)?, object, &mut raw, 0)?;
    Ok(raw)
}

/// A body with the envelope around a bare message.
#[must_use]
pub fn envelope(api_version: &str, kind: &str, bare: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(bare.len() + api_version.len() + kind.len() + 32);
    put_envelope_head(&mut body, api_version, kind, bare.len());
    body.extend_from_slice(bare);
    body.extend_from_slice(ENVELOPE_TAIL);
    body
}

/// A list body around items that are bare messages: `head`, then each item behind its own head, then `tail`.
#[derive(Debug)]
pub struct ListFrame {
    head: Vec<u8>,
    item_tag: Vec<u8>,
}

impl ListFrame {
    /// The frame of a list of `kind`, such as `NodeList`, with this `metadata`, around items of these lengths in
    /// bytes.
    ///
    /// # Errors
    /// When the list's kind is not built in, or is no list.
    pub fn new(
        api_version: &str,
        kind: &str,
        metadata: &Value,
        items: impl Iterator<Item = usize>,
    ) -> Result<Self, EncodeError> {
        let list = serde_json::json!({"apiVersion": api_version, "kind": kind});
        let message = message_of(&list)?;
        let (metadata_field, items_field) = fields_of(message)?;
        let mut meta = Vec::new();
        put_message(metadata_field.1, metadata, &mut meta, 1)?;
        let mut start = Vec::with_capacity(meta.len() + 8);
        put_bytes(&mut start, metadata_field.0, &meta);
        let mut item_tag = Vec::with_capacity(2);
        put_varint(
            &mut item_tag,
            u64::from(items_field) << 3 | LENGTH_DELIMITED,
        );
        let tag = item_tag.len();
        let body: usize = items.map(|length| tag + varint_len(length) + length).sum();
        let mut head = Vec::with_capacity(start.len() + 64);
        put_envelope_head(&mut head, api_version, kind, start.len() + body);
        head.extend_from_slice(&start);
        Ok(Self { head, item_tag })
    }

    /// What comes before the first item.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Appends what comes before an item of this length.
    pub fn put_item_head(&self, out: &mut Vec<u8>, length: usize) {
        out.extend_from_slice(&self.item_tag);
        put_varint(out, length as u64);
    }

    /// How long an item of this length is with what comes before it.
    #[must_use]
    pub fn framed_len(&self, length: usize) -> usize {
        self.item_tag.len() + varint_len(length) + length
    }

    /// What comes behind the last item.
    #[must_use]
    pub const fn tail(&self) -> &'static [u8] {
        ENVELOPE_TAIL
    }
}

/// Number and message of `metadata`, and the number of `items`.
fn fields_of(message: &Message) -> Result<((u32, &Message), u32), EncodeError> {
    let field = |name: &str| message.fields().iter().find(|field| field.name() == name);
    let metadata =
        field("metadata").and_then(|f| Some((f.number(), schema::table().message_of(f)?)));
    match (metadata, field("items")) {
        (Some(metadata), Some(items)) => Ok((metadata, items.number())),
        _ => Err(EncodeError::Mismatch {
            path: String::new(),
            expected: "a list",
        }),
    }
}

const fn varint_len(value: usize) -> usize {
    let bits = usize::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{decode, encode};
    use super::*;

    fn config_map(name: &str, text: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"text": text}})
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn parts_make_the_same_bytes_as_the_whole(texts in prop::collection::vec(".{0,300}", 0..5)) {
            let items: Vec<_> = texts.iter().map(|text| config_map("c", text)).collect();
            let metadata = json!({"resourceVersion": "7", "remainingItemCount": 3});
            let bare: Vec<_> = items.iter().map(|item| encode_bare(item).unwrap()).collect();
            let lengths = bare.iter().map(Vec::len);
            let frame = ListFrame::new("v1", "ConfigMapList", &metadata, lengths).unwrap();
            let mut parts = frame.head().to_vec();
            for item in &bare {
                let before = parts.len();
                frame.put_item_head(&mut parts, item.len());
                parts.extend_from_slice(item);
                prop_assert_eq!(parts.len() - before, frame.framed_len(item.len()));
            }
            parts.extend_from_slice(frame.tail());
            let whole = encode(&json!({"apiVersion": "v1", "kind": "ConfigMapList",
                "metadata": metadata, "items": items})).unwrap();
            prop_assert_eq!(&parts, &whole);
            prop_assert!(decode(&parts).is_ok());
            for (item, bare) in items.iter().zip(&bare) {
                prop_assert_eq!(envelope("v1", "ConfigMap", bare), encode(item).unwrap());
            }
        }
    }

    #[test]
    fn what_is_no_list_has_no_frame() {
        let none = std::iter::empty();
        assert!(ListFrame::new("v1", "ConfigMap", &json!({}), none.clone()).is_err());
        assert!(ListFrame::new("v1", "NothingList", &json!({}), none).is_err());
    }
}
