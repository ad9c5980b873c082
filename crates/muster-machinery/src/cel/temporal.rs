//! Times and spans of time as CEL reads and writes them.

use jiff::Timestamp;

use crate::rfc3339;

/// A span as Go writes it, such as `1h30m`, in nanoseconds.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let units: [(&str, f64); 8] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("μs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3600e9),
    ];
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let (unit, factor) = units
            .into_iter()
            .filter(|(unit, _)| rest.starts_with(unit))
            .max_by_key(|(unit, _)| unit.len())?;
        rest = &rest[unit.len()..];
        let part = number * factor;
        if part > 9.2e18 {
            return None;
        }
        let part = part.round() as i64;
        total = total.checked_add(part)?;
    }
    Some(if negative { -total } else { total })
}

/// A span in seconds, as CEL turns it into text.
pub(super) fn duration_text(nanos: i64) -> String {
    let seconds = nanos / 1_000_000_000;
    let rest = (nanos % 1_000_000_000).unsigned_abs();
    let sign = if nanos < 0 && seconds == 0 { "-" } else { "" };
    if rest == 0 {
        return format!("{seconds}s");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}

/// RFC 3339.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    rfc3339::parse(text)
}

/// RFC 3339 in UTC.
pub(super) fn time_text(time: Timestamp) -> String {
    time.to_string()
}
