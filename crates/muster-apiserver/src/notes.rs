//! What is noted about one request on its way: warnings for the client, annotations for the audit log, and the body
//! it came with when the audit log wants it.
//!
//! Refuses to know: who reads the notes. Stages write here what does not belong into the answer itself.

use std::{
    collections::BTreeMap,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::system::WatchTally;

/// Warnings of one request, in bytes (`k8s.io/apiserver` `warning.truncateAtTotalRunes`).
const MAX_WARNINGS: usize = 4 * 1024;
/// The longest single warning where space is short, in bytes.
const MAX_WARNING: usize = 256;

/// The notes of one request.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    keeps_object: AtomicBool,
    keeps_body: AtomicBool,
    waited: AtomicU64,
    events: OnceLock<WatchTally>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    warnings: Vec<String>,
    annotations: BTreeMap<String, String>,
    object: Option<Value>,
    body: Option<Bytes>,
}

impl Notes {
    /// A warning for the client. Each is told once.
    pub(crate) fn warn(&self, text: &str) {
        let mut taken = self.taken.lock();
        let known = taken.warnings.iter().any(|own| own == text);
        let used: usize = taken.warnings.iter().map(String::len).sum();
        if known || text.is_empty() || used >= MAX_WARNINGS {
            return;
        }
        let room = MAX_WARNINGS - used;
        let text = if text.len() > room {
            cut(text, room.min(MAX_WARNING))
        } else {
            text
        };
        taken.warnings.push(text.to_owned());
    }

    /// The warnings so far, in order.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.taken.lock().warnings.clone()
    }

    /// A remark for the audit log. The first one under a key stays, as upstream has it.
    pub(crate) fn annotate(&self, key: &str, value: impl Into<String>) {
        let mut taken = self.taken.lock();
        if !taken.annotations.contains_key(key) {
            taken.annotations.insert(key.to_owned(), value.into());
        }
    }

    /// A remark that tells of the object's content: only where the audit log may hold that.
    pub(crate) fn annotate_in_detail(&self, key: &str, value: impl FnOnce() -> String) {
        if self.keeps_body.load(Ordering::Relaxed) {
            self.annotate(key, value());
        }
    }

    /// The remarks so far.
    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        self.taken.lock().annotations.clone()
    }

    /// The request has waited so long for somebody else, as for a webhook.
    pub(crate) fn wait(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.waited.fetch_add(micros, Ordering::Relaxed);
    }

    /// How long it has waited in all.
    pub(crate) fn waited(&self) -> Duration {
        Duration::from_micros(self.waited.load(Ordering::Relaxed))
    }

    /// Where the events of a watch are counted.
    pub(crate) fn count_events(&self, tally: WatchTally) {
        // Set once, when the request arrives.
        let _ = self.events.set(tally);
    }

    /// What counts the events of this watch.
    pub(crate) fn tally(&self) -> WatchTally {
        self.events.get().cloned().unwrap_or_default()
    }

    /// From now on the object that the request brings is kept: its metadata, or all of it where the body is kept too.
    pub(crate) fn keep_object(&self) {
        self.keeps_object.store(true, Ordering::Relaxed);
    }

    /// The object of the request, as it was decoded.
    pub(crate) fn saw_object(&self, object: &Value) {
        if !self.keeps_object.load(Ordering::Relaxed) {
            return;
        }
        let kept = if self.keeps_body.load(Ordering::Relaxed) {
            object.clone()
        } else {
            json!({"metadata": object.get("metadata")})
        };
        self.taken.lock().object = Some(kept);
    }

    /// The object, if it was to be kept and has been decoded.
    pub(crate) fn object(&self) -> Option<Value> {
        self.taken.lock().object.clone()
    }

    /// From now on the request's body is kept.
    pub(crate) fn keep_body(&self) {
        self.keeps_body.store(true, Ordering::Relaxed);
    }

    /// The body, as it was read.
    pub(crate) fn saw_body(&self, body: &Bytes) {
        if self.keeps_body.load(Ordering::Relaxed) {
            self.taken.lock().body = Some(body.clone());
        }
    }

    /// The body, if it was to be kept and has been read.
    pub(crate) fn body(&self) -> Option<Bytes> {
        self.taken.lock().body.clone()
    }
}

/// The longest beginning of `text` of at most `bytes` bytes.
fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_told_once_and_all_of_them_have_a_bound() {
        let notes = Notes::default();
        notes.warn("twice");
        notes.warn("twice");
        notes.warn("");
        assert_eq!(notes.warnings(), ["twice"]);
        for n in 0..100 {
            notes.warn(&format!("{n}{}", "ü".repeat(200)));
        }
        let bytes: usize = notes.warnings().iter().map(String::len).sum();
        assert!(bytes <= MAX_WARNINGS, "{bytes}");
    }

    #[test]
    fn the_body_is_kept_only_when_somebody_wants_it_and_annotations_stay_as_first_given() {
        let notes = Notes::default();
        notes.saw_body(&Bytes::from_static(b"secret"));
        assert_eq!(notes.body(), None);
        notes.keep_body();
        notes.saw_body(&Bytes::from_static(b"told"));
        assert_eq!(notes.body().as_deref(), Some(&b"told"[..]));
        notes.annotate("k", "first");
        notes.annotate("k", "second");
        assert_eq!(notes.annotations()["k"], "first");
    }
}
