//! What a run writes down before it acts, and the bytes of it.
//!
//! Records are small, versioned and without secrets: of a token there is only the id. Where they are kept is the driver's
//! business; what they mean together is found out when a run is taken up again.

use jiff::Timestamp;
use muster_identity::TokenId;
use muster_saga::Event;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{HostIndex, Resume, RunId, Stage, StageFailure, Verdict};

/// The version that this code writes, and the newest that it reads.
pub const RECORD_VERSION: u32 = 1;

/// No encoded write may be larger. A record takes about 150 bytes.
pub const MAX_WRITE_BYTES: usize = 64 << 20;

/// What a deed gave, without secrets: what its undo or a later stage needs to know. The coordinator keeps it and does
/// not look into it.
pub type Receipt = Value;

/// One thing that a run remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Record {
    /// The run begins. Always first, and only there.
    Begun {
        /// The run.
        run: RunId,
        /// How many hosts it has.
        hosts: u32,
        /// [`crate::RolloutPlan::fingerprint`] of its plan.
        fingerprint: u64,
        /// When.
        at: Timestamp,
    },
    /// The run was taken up again.
    Resumed {
        /// In which direction.
        how: Resume,
        /// When.
        at: Timestamp,
    },
    /// Something about one stage of one host.
    Host {
        /// The host.
        host: HostIndex,
        /// The stage.
        stage: Stage,
        /// What.
        event: Event,
        /// Which attempt, from 1; deeds and undos are counted apart.
        attempt: u32,
        /// When.
        at: Timestamp,
        /// Why it failed, if it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Box<StageFailure>>,
        /// What the deed gave, if anything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        receipt: Option<Box<Receipt>>,
    },
    /// Something about one token of the run: minting it is a deed, revoking it the undo.
    Token {
        /// Its number in the run, from 0.
        serial: u32,
        /// Its id.
        id: TokenId,
        /// What.
        event: Event,
        /// When it ends, once that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires: Option<Timestamp>,
        /// When.
        at: Timestamp,
    },
    /// From here on every attempted host is taken back.
    Unwinding {
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// The run has ended.
    Ended {
        /// How.
        verdict: Verdict,
        /// When.
        at: Timestamp,
    },
}

/// Why bytes are no records, or records cannot become bytes.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// More bytes than [`MAX_WRITE_BYTES`]: not ours, or damaged.
    #[error("a write of {bytes} bytes is too large for a journal of a run")]
    TooLarge {
        /// The size found.
        bytes: usize,
    },
    /// A newer program wrote them: use that program.
    #[error("the run's journal has format {found}, which is newer than {RECORD_VERSION}")]
    Newer {
        /// The version found.
        found: u32,
    },
    /// Not JSON, or not of this shape: the journal is damaged.
    #[error("a record of the run's journal cannot be read or written")]
    Malformed {
        /// What the JSON reader says.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize)]
struct WriteRef<'a> {
    version: u32,
    records: &'a [Record],
}

#[derive(Deserialize)]
struct Write {
    records: Vec<Record>,
}

/// The bytes of one write.
///
/// # Errors
/// [`RecordError::TooLarge`] when they would be refused on reading: write the records in two pieces, in order.
pub fn encode(records: &[Record]) -> Result<Vec<u8>, RecordError> {
    let write = WriteRef {
        version: RECORD_VERSION,
        records,
    };
    let bytes = serde_json::to_vec(&write).map_err(|source| RecordError::Malformed { source })?;
    if bytes.len() > MAX_WRITE_BYTES {
        return Err(RecordError::TooLarge { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// The records of one write. The version is looked at first, so that a newer format is named and not called damaged.
///
/// # Errors
/// [`RecordError`] for whatever is not of a known version.
pub fn decode(bytes: &[u8]) -> Result<Vec<Record>, RecordError> {
    if bytes.len() > MAX_WRITE_BYTES {
        return Err(RecordError::TooLarge { bytes: bytes.len() });
    }
    let malformed = |source| RecordError::Malformed { source };
    let Versioned { version } = serde_json::from_slice(bytes).map_err(malformed)?;
    if version > RECORD_VERSION {
        return Err(RecordError::Newer { found: version });
    }
    let write: Write = serde_json::from_slice(bytes).map_err(malformed)?;
    Ok(write.records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn intent() -> Record {
        Record::Host {
            host: HostIndex(3),
            stage: Stage::Join,
            event: Event::Intent,
            attempt: 1,
            at: Timestamp::UNIX_EPOCH,
            failure: None,
            receipt: None,
        }
    }

    #[test]
    fn a_write_is_small_readable_and_survives() {
        let token = Record::Token {
            serial: 0,
            id: TokenId::parse("abcdef").unwrap(),
            event: Event::Done,
            expires: Some(Timestamp::UNIX_EPOCH),
            at: Timestamp::UNIX_EPOCH,
        };
        let bytes = encode(&[intent(), token.clone()]).unwrap();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            concat!(
                r#"{"version":1,"records":[{"type":"host","host":3,"stage":"join","event":"intent","attempt":1,"#,
                r#""at":"1970-01-01T00:00:00Z"},{"type":"token","serial":0,"id":"abcdef","event":"done","#,
                r#""expires":"1970-01-01T00:00:00Z","at":"1970-01-01T00:00:00Z"}]}"#
            )
        );
        assert_eq!(decode(&bytes).unwrap(), [intent(), token]);
    }

    #[test]
    fn a_newer_format_is_named_even_when_its_shape_is_strange() {
        let error = decode(br#"{"version":2,"what":"ever"}"#).unwrap_err();
        assert!(matches!(error, RecordError::Newer { found: 2 }));
    }

    #[test]
    fn something_that_is_no_token_id_is_refused() {
        let text = br#"{"version":1,"records":[{"type":"token","serial":0,"id":"abcdef.0123456789abcdef","event":"done","at":"1970-01-01T00:00:00Z"}]}"#;
        assert!(matches!(decode(text), Err(RecordError::Malformed { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn strange_bytes_are_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_damaged_write_is_an_error_or_other_records(at in 0usize..200, byte in any::<u8>()) {
            let mut bytes = encode(&[intent()]).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = decode(&bytes);
        }
    }
}
