//! `meta.v1.Time` and `MicroTime`: seconds and nanoseconds on the wire, RFC 3339 in JSON.
//!
//! As Go does, `Time` keeps whole seconds and `MicroTime` whole microseconds; the zero time is an empty message.

use jiff::Timestamp;

use crate::rfc3339;

use super::wire::{Malformed, Raw, Reader, put_number};

/// How much of the fraction a type of time keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    Seconds,
    Microseconds,
}

/// The JSON text of an encoded time, or `None` for the zero time.
pub(super) fn read(bytes: &[u8], precision: Precision) -> Result<Option<String>, Malformed> {
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.next()? {
        match (number, raw) {
            (1, Raw::Varint(value)) => seconds = value as i64,
            (2, Raw::Varint(value)) => nanos = value as i32,
            (1 | 2, _) => return Err(Malformed),
            _ => {}
        }
    }
    if seconds == 0 && nanos == 0 {
        return Ok(None);
    }
    let time = Timestamp::new(seconds, nanos).map_err(|_| Malformed)?;
    Ok(Some(match precision {
        Precision::Seconds => format!("{:.0}", floor(time, 1_000_000_000)?),
        Precision::Microseconds => format!("{:.6}", floor(time, 1_000)?),
    }))
}

/// The encoded form of a JSON time, or `None` if the text is not RFC 3339.
pub(super) fn write(text: &str, precision: Precision) -> Option<Vec<u8>> {
    let time = rfc3339::parse(text)?;
    let unit = match precision {
        Precision::Seconds => 1_000_000_000,
        Precision::Microseconds => 1_000,
    };
    let time = floor(time, unit).ok()?;
    let nanos = time.as_nanosecond();
    let mut out = Vec::with_capacity(12);
    put_number(&mut out, 1, nanos.div_euclid(1_000_000_000) as i64 as u64);
    put_number(&mut out, 2, nanos.rem_euclid(1_000_000_000) as u64);
    Some(out)
}

/// The time without what is below `unit` nanoseconds, as Go's formatting cuts it.
fn floor(time: Timestamp, unit: i128) -> Result<Timestamp, Malformed> {
    let nanos = time.as_nanosecond();
    Timestamp::from_nanosecond(nanos - nanos.rem_euclid(unit)).map_err(|_| Malformed)
}
