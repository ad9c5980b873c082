//! Durations as Go and kubectl write them: `24h0m0s`, `23h`.
//!
//! It refuses to know what a duration is for, and the clock.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;

/// A duration in the syntax of Go's `time.ParseDuration` and `time.Duration.String`, as it stands in
/// kubeadm's flags and in `metav1.Duration` fields. Whole nanoseconds, at most about 292 years either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

/// Why a text is not a Go duration; show it to whoever wrote the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not of the form `1h30m`.
    #[error("{text:?} is not a duration such as 1h30m")]
    Syntax {
        /// The text, cut after 64 characters.
        text: String,
    },
    /// A number has no unit; add one.
    #[error("the unit is missing in the duration {text:?}")]
    MissingUnit {
        /// The text, cut after 64 characters.
        text: String,
    },
    /// A unit other than ns, us, ms, s, m, h.
    #[error("{unit:?} is not a unit of duration")]
    UnknownUnit {
        /// The unit found, cut after 64 characters.
        unit: String,
    },
    /// More than 292 years.
    #[error("the duration is out of range")]
    OutOfRange,
}

impl GoDuration {
    /// Reads Go's syntax: a sign, then numbers with a fraction and a unit (`ns us µs ms s m h`), or `0`.
    ///
    /// # Errors
    /// [`DurationError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        let syntax = || DurationError::Syntax { text: cut(text) };
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(syntax());
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let (nanos, after) = read_term(rest, text)?;
            total = total.checked_add(nanos).ok_or(DurationError::OutOfRange)?;
            if total > -i128::from(i64::MIN) {
                return Err(DurationError::OutOfRange);
            }
            rest = after;
        }
        let signed = if negative { -total } else { total };
        i64::try_from(signed)
            .map(Self)
            .map_err(|_| DurationError::OutOfRange)
    }

    /// From nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// In nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// The same span for arithmetic with timestamps.
    pub const fn to_signed_duration(self) -> SignedDuration {
        SignedDuration::from_nanos(self.0)
    }
}

impl From<SignedDuration> for GoDuration {
    /// Saturates at Go's limits.
    fn from(duration: SignedDuration) -> Self {
        let nanos = duration.as_nanos();
        Self(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for GoDuration {
    /// As Go's `Duration.String`: `24h0m0s`, `1m30s`, `1.5s`, `100ms`, `2µs`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let nanos = self.0.unsigned_abs();
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write_decimal(f, nanos, 1_000, "µs"),
            1_000_000..1_000_000_000 => write_decimal(f, nanos, 1_000_000, "ms"),
            _ => {
                let minutes = nanos / 60_000_000_000;
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write_decimal(f, nanos % 60_000_000_000, 1_000_000_000, "s")
            }
        }
    }
}

fn write_decimal(f: &mut fmt::Formatter<'_>, nanos: u64, unit: u64, name: &str) -> fmt::Result {
    let digits = unit.ilog10() as usize;
    write!(f, "{}", nanos / unit)?;
    let fraction = nanos % unit;
    if fraction != 0 {
        let text = format!("{fraction:0digits$}");
        write!(f, ".{}", text.trim_end_matches('0'))?;
    }
    f.write_str(name)
}

/// Reads one `1.5h` off the front; returns nanoseconds and what follows.
fn read_term<'a>(rest: &'a str, whole: &str) -> Result<(i128, &'a str), DurationError> {
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (number, rest) = rest.split_at(end);
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (integer.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(DurationError::Syntax { text: cut(whole) });
    }
    let end = rest
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let scale: i128 = match unit {
        "" => return Err(DurationError::MissingUnit { text: cut(whole) }),
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(DurationError::UnknownUnit { unit: cut(unit) }),
    };
    let whole_part = match integer {
        "" => 0,
        digits => digits
            .parse::<u64>()
            .map_err(|_| DurationError::OutOfRange)?,
    };
    // Eighteen digits of a fraction are below a nanosecond already, even for hours.
    let shown = &fraction[..fraction.len().min(18)];
    let part = if shown.is_empty() {
        0
    } else {
        let digits = shown
            .parse::<i128>()
            .map_err(|_| DurationError::OutOfRange)?;
        digits * scale / 10_i128.pow(shown.len() as u32)
    };
    Ok((i128::from(whole_part) * scale + part, rest))
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

/// kubectl's AGE column (`k8s.io/apimachinery` `duration.HumanDuration`): two units at most, `3d4h`.
/// More than a second in the past is `<invalid>`.
pub fn human_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let pair = |big: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{small_unit}"),
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 24 * 8 => pair(hours / 24, "d", hours % 24, "h"),
        _ if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        _ if hours < 24 * 365 * 8 => pair(hours / 24 / 365, "y", hours / 24 % 365, "d"),
        _ => format!("{}y", hours / 24 / 365),
    }
}

/// kubeadm's TTL column (`duration.ShortHumanDuration`): one unit, rounded down, `23h`.
/// More than a second in the past is `<invalid>`.
pub fn short_human_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..60 => format!("{seconds}s"),
        _ if minutes < 60 => format!("{minutes}m"),
        _ if hours < 24 => format!("{hours}h"),
        _ if hours < 24 * 365 => format!("{}d", hours / 24),
        _ => format!("{}y", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("24h", "24h0m0s")]
    #[case("24h0m0s", "24h0m0s")]
    #[case("1h30m", "1h30m0s")]
    #[case("90s", "1m30s")]
    #[case("1.5s", "1.5s")]
    #[case(".5m", "30s")]
    #[case("100ms", "100ms")]
    #[case("2us", "2µs")]
    #[case("2µs", "2µs")]
    #[case("1500ns", "1.5µs")]
    #[case("7ns", "7ns")]
    #[case("-1m", "-1m0s")]
    #[case("+0", "0s")]
    #[case("0", "0s")]
    #[case("0s", "0s")]
    #[case("1h0.001s", "1h0m0.001s")]
    fn go_durations_are_read_and_written(#[case] text: &str, #[case] written: &str) {
        assert_eq!(GoDuration::parse(text).unwrap().to_string(), written);
    }

    #[rstest]
    #[case("", DurationError::Syntax { text: "".into() })]
    #[case("-", DurationError::Syntax { text: "-".into() })]
    #[case("h", DurationError::Syntax { text: "h".into() })]
    #[case("1", DurationError::MissingUnit { text: "1".into() })]
    #[case("1d", DurationError::UnknownUnit { unit: "d".into() })]
    #[case("1 h", DurationError::UnknownUnit { unit: " h".into() })]
    #[case("1.2.3s", DurationError::Syntax { text: "1.2.3s".into() })]
    #[case("9999999999h", DurationError::OutOfRange)]
    fn other_texts_are_refused(#[case] text: &str, #[case] error: DurationError) {
        assert_eq!(GoDuration::parse(text), Err(error));
    }

    #[rstest]
    #[case(-2, "<invalid>", "<invalid>")]
    #[case(-1, "0s", "0s")]
    #[case(59, "59s", "59s")]
    #[case(119, "119s", "1m")]
    #[case(120, "2m", "2m")]
    #[case(150, "2m30s", "2m")]
    #[case(3600, "60m", "1h")]
    #[case(4 * 3600, "4h", "4h")]
    #[case(4 * 3600 + 300, "4h5m", "4h")]
    #[case(86_399, "23h", "23h")]
    #[case(3 * 86_400, "3d", "3d")]
    #[case(3 * 86_400 + 7200, "3d2h", "3d")]
    #[case(400 * 86_400, "400d", "1y")]
    #[case(3 * 365 * 86_400 + 86_400, "3y1d", "3y")]
    #[case(9 * 365 * 86_400, "9y", "9y")]
    fn people_see_kubectl_forms(#[case] seconds: i64, #[case] long: &str, #[case] short: &str) {
        let duration = SignedDuration::from_secs(seconds);
        assert_eq!(human_duration(duration), long);
        assert_eq!(short_human_duration(duration), short);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn what_is_written_reads_back(nanos in any::<i64>()) {
            let duration = GoDuration::from_nanos(nanos);
            prop_assert_eq!(GoDuration::parse(&duration.to_string()), Ok(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+]?([0-9.]{0,30}(h|m|s|ms|µs|x)?){0,4}|.{0,40}") {
            let _ = GoDuration::parse(&text);
        }
    }
}
