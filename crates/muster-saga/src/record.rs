//! The journal's format: one JSON document per write, versioned, with records that are numbered without gaps.
//!
//! Knows how a record looks, not where it is kept or whether it makes sense after the one before (that is the
//! state's business). Old binaries refuse newer versions instead of guessing.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Definition, Event, Failure, Outcome, Residue, StepId};

/// The version that this code writes, and the newest it reads. In version 1 a document was one entry; since version 2
/// it is all entries of one write.
pub const FORMAT_VERSION: u32 = 2;

/// No encoded write may be larger. A join's header with all its files is about 20 kB.
pub const MAX_ENTRY_BYTES: usize = 4 << 20;

/// The name of one run of a saga: unique in its journal, and sorted by time when made from a timestamp.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SagaId(String);

impl SagaId {
    /// Takes a name as it is.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SagaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first record of a saga: what it is, and every step it may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// What kind of saga, e.g. `join`.
    pub kind: String,
    /// Which run.
    pub id: SagaId,
    /// When it was started.
    pub started: Timestamp,
    /// What it was asked to do, without secrets: enough to tell whether a later call asks for the same.
    pub parameters: Value,
    /// Its steps.
    pub definition: Definition,
}

/// One thing that is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Record {
    /// The saga begins. Always number 0, and only there.
    Header(Header),
    /// A step is about to be done.
    Intent {
        /// The step.
        step: StepId,
        /// 1 for the first attempt.
        attempt: u32,
        /// What was there before the first attempt; later attempts repeat it.
        prior: Value,
    },
    /// A step is done.
    Done {
        /// The step.
        step: StepId,
        /// What the deed gave, without secrets.
        receipt: Value,
    },
    /// A step failed.
    Failed {
        /// The step.
        step: StepId,
        /// Why.
        failure: Failure,
    },
    /// From here on everything is taken back.
    Unwind {
        /// Why.
        reason: String,
    },
    /// From here on what was begun since an entry is taken back, and nothing else.
    Retreat {
        /// Why.
        reason: String,
        /// The first entry whose intent counts.
        since: u64,
    },
    /// What was to be taken back is: those steps are as if they had never been begun.
    Turned {},
    /// A step is about to be taken back.
    UndoIntent {
        /// The step.
        step: StepId,
    },
    /// A step is taken back.
    Undone {
        /// The step.
        step: StepId,
        /// What lies beyond its reach.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left_behind: Vec<Residue>,
    },
    /// A step could not be taken back.
    UndoFailed {
        /// The step.
        step: StepId,
        /// Why.
        failure: Failure,
    },
    /// The saga has ended.
    Finished {
        /// How.
        outcome: Outcome,
    },
}

impl Record {
    /// The step this record is about, and the event it means, when it is about a step.
    #[must_use]
    pub fn step_event(&self) -> Option<(&StepId, Event)> {
        match self {
            Self::Intent { step, .. } => Some((step, Event::Intent)),
            Self::Done { step, .. } => Some((step, Event::Done)),
            Self::Failed { step, .. } => Some((step, Event::Failed)),
            Self::UndoIntent { step } => Some((step, Event::UndoIntent)),
            Self::Undone { step, .. } => Some((step, Event::Undone)),
            Self::UndoFailed { step, .. } => Some((step, Event::UndoFailed)),
            Self::Header(_)
            | Self::Unwind { .. }
            | Self::Retreat { .. }
            | Self::Turned {}
            | Self::Finished { .. } => None,
        }
    }
}

/// A record with its number and time: the unit that a journal keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The format version.
    pub version: u32,
    /// 0 for the header, then one more each.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The content.
    pub record: Record,
}

/// Why bytes are no journal entry, or an entry cannot become bytes.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The bytes are larger than [`MAX_ENTRY_BYTES`]: not ours, or damaged.
    #[error("a journal entry of {bytes} bytes is too large")]
    TooLarge {
        /// The size found.
        bytes: usize,
    },
    /// A newer program wrote this entry: use that program.
    #[error("journal format {found} is newer than {FORMAT_VERSION}")]
    Newer {
        /// The version found.
        found: u32,
    },
    /// Not JSON, or not of this shape: the journal is damaged.
    #[error("a journal entry cannot be read or written")]
    Malformed {
        /// What the JSON reader says.
        #[source]
        source: serde_json::Error,
    },
}

/// All entries that became durable together.
#[derive(Serialize, Deserialize)]
struct Write {
    version: u32,
    entries: Vec<Entry>,
}

/// The bytes to keep for the entries of one write.
///
/// # Errors
/// [`RecordError::TooLarge`] when they would be refused on reading.
pub fn encode(entries: &[Entry]) -> Result<Vec<u8>, RecordError> {
    let write = Write {
        version: FORMAT_VERSION,
        entries: entries.to_vec(),
    };
    let bytes = serde_json::to_vec(&write).map_err(|source| RecordError::Malformed { source })?;
    if bytes.len() > MAX_ENTRY_BYTES {
        return Err(RecordError::TooLarge { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// Reads the entries of one write. The version is looked at first, so that a newer format is named and not called
/// damaged.
///
/// # Errors
/// [`RecordError`] for whatever is not of a known version.
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>, RecordError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    if bytes.len() > MAX_ENTRY_BYTES {
        return Err(RecordError::TooLarge { bytes: bytes.len() });
    }
    let malformed = |source| RecordError::Malformed { source };
    let Versioned { version } = serde_json::from_slice(bytes).map_err(malformed)?;
    match version {
        0 | 1 => Ok(vec![serde_json::from_slice(bytes).map_err(malformed)?]),
        FORMAT_VERSION => {
            let write: Write = serde_json::from_slice(bytes).map_err(malformed)?;
            Ok(write.entries)
        }
        found => Err(RecordError::Newer { found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(record: Record) -> Entry {
        Entry {
            version: FORMAT_VERSION,
            seq: 3,
            at: Timestamp::UNIX_EPOCH,
            record,
        }
    }

    #[test]
    fn one_write_holds_all_its_entries_in_order() {
        let done = entry(Record::Done {
            step: StepId::new("save-key"),
            receipt: Value::Null,
        });
        let intent = Entry {
            seq: 4,
            ..entry(Record::Intent {
                step: StepId::new("write-kubelet-conf"),
                attempt: 1,
                prior: serde_json::json!({"absent": true}),
            })
        };
        let bytes = encode(&[done.clone(), intent.clone()]).unwrap();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            concat!(
                r#"{"version":2,"entries":[{"version":2,"seq":3,"at":"1970-01-01T00:00:00Z","#,
                r#""record":{"type":"done","step":"save-key","receipt":null}},"#,
                r#"{"version":2,"seq":4,"at":"1970-01-01T00:00:00Z","record":{"type":"intent","#,
                r#""step":"write-kubelet-conf","attempt":1,"prior":{"absent":true}}}]}"#
            )
        );
        assert_eq!(decode(&bytes).unwrap(), [done, intent]);
    }

    #[test]
    fn the_single_entries_of_older_journals_are_read() {
        let older = br#"{"version":1,"seq":3,"at":"1970-01-01T00:00:00Z","record":{"type":"intent","step":"write-kubelet-conf","attempt":1,"prior":{"absent":true}}}"#;
        let entries = decode(older).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].version, entries[0].seq), (1, 3));
    }

    #[test]
    fn a_newer_format_is_named_even_when_its_shape_is_strange() {
        let err = decode(br#"{"version":3,"what":"ever"}"#).unwrap_err();
        assert!(matches!(err, RecordError::Newer { found: 3 }));
    }

    #[test]
    fn an_outcome_with_residues_survives_the_round_trip() {
        let left_behind = vec![Residue {
            what: "Node n1".into(),
            why: "no right to delete it".into(),
            remedy: "kubectl delete node n1".into(),
        }];
        let before = entry(Record::Finished {
            outcome: Outcome::Undone { left_behind },
        });
        let bytes = encode(std::slice::from_ref(&before)).unwrap();
        assert_eq!(decode(&bytes).unwrap(), [before]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn strange_bytes_are_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_damaged_entry_is_an_error_or_another_entry(at in 0usize..140, byte in any::<u8>()) {
            let mut bytes = encode(&[entry(Record::Unwind { reason: "because".into() })]).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = decode(&bytes);
        }
    }
}
