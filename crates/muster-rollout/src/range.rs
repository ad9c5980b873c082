//! Ranges in names and addresses: `worker-[01:20]`, `10.0.[0:3].[1:250]`, `rack-[a:d]`, `[0:100:10]`.
//!
//! It refuses to know what the texts name.

use std::fmt;

/// The most hosts that one fleet may have, and so the most texts that one pattern stands for.
pub const MAX_HOSTS: usize = 200_000;
/// Longer patterns name nothing that exists.
const MAX_BYTES: usize = 1024;
/// More ranges in one text than anybody means.
const MAX_RANGES: usize = 8;

/// A text with ranges. Several ranges multiply; the last one runs fastest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    count: usize,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// It ends before it begins; swap the ends.
    #[error("the range {text} runs backwards")]
    Backwards {
        /// The range.
        text: String,
    },
    /// The step is not at least 1; give another or none.
    #[error("the range {text} has a step that leads nowhere")]
    Step {
        /// The range.
        text: String,
    },
    /// It stands for more hosts than a fleet may have; split the fleet.
    #[error("{text} stands for more than {MAX_HOSTS} hosts")]
    TooMany {
        /// The pattern.
        text: String,
    },
    /// It is longer, or has more ranges, than any name; shorten it.
    #[error("the text has more than {MAX_BYTES} bytes or {MAX_RANGES} ranges")]
    TooLong,
    /// In brackets or braces stands something that another tool would take for a range; write it as given.
    #[error("{found} is not how a range is written here")]
    OtherSpelling {
        /// What was found.
        found: String,
        /// How it would be written here.
        instead: String,
    },
}

impl RangeError {
    /// What to do.
    pub fn cure(&self) -> String {
        match self {
            Self::Backwards { .. } => {
                "write the smaller end first, and a letter before a later letter".to_owned()
            }
            Self::Step { .. } => "write a step of at least 1, or none".to_owned(),
            Self::TooMany { .. } => "make several fleets of it".to_owned(),
            Self::TooLong => "shorten it".to_owned(),
            Self::OtherSpelling { instead, .. } => format!("write {instead}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Numbers {
        first: u64,
        step: u64,
        count: usize,
        width: usize,
    },
    Letters {
        first: u8,
        step: u8,
        count: usize,
    },
}

impl Part {
    const fn count(&self) -> usize {
        match self {
            Self::Text(_) => 1,
            Self::Numbers { count, .. } | Self::Letters { count, .. } => *count,
        }
    }
}

impl Pattern {
    /// Reads a text. Brackets around anything else than a range stand for themselves (IPv6 has them).
    ///
    /// # Errors
    /// [`RangeError`].
    pub fn parse(text: &str) -> Result<Self, RangeError> {
        if text.len() > MAX_BYTES {
            return Err(RangeError::TooLong);
        }
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(open) = rest.find('[') {
            let (before, from) = rest.split_at(open);
            plain.push_str(before);
            let end = from.find(']');
            let range = match end {
                Some(end) => read_range(&from[1..end])?,
                None => None,
            };
            match (range, end) {
                (Some(part), Some(end)) => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(part);
                    rest = &from[end + 1..];
                }
                _ => {
                    plain.push('[');
                    rest = &from[1..];
                }
            }
        }
        plain.push_str(rest);
        other_spelling(&plain)?;
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain));
        }
        Self::counted(parts, text)
    }

    fn counted(parts: Vec<Part>, text: &str) -> Result<Self, RangeError> {
        let ranges = parts.iter().filter(|part| !matches!(part, Part::Text(_)));
        if ranges.count() > MAX_RANGES {
            return Err(RangeError::TooLong);
        }
        let count = parts
            .iter()
            .try_fold(1_usize, |count, part| count.checked_mul(part.count()))
            .filter(|count| *count <= MAX_HOSTS)
            .ok_or_else(|| RangeError::TooMany {
                text: text.to_owned(),
            })?;
        Ok(Self { parts, count })
    }

    /// For how many texts it stands; at least 1, at most [`MAX_HOSTS`].
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Whether it has a range at all.
    pub fn has_range(&self) -> bool {
        self.parts.iter().any(|part| !matches!(part, Part::Text(_)))
    }

    /// The text with this number, from 0; numbers beyond the last one begin again.
    pub fn nth(&self, index: usize) -> String {
        let mut index = index;
        let mut picks = vec![0; self.parts.len()];
        for (pick, part) in picks.iter_mut().zip(&self.parts).rev() {
            *pick = index % part.count();
            index /= part.count();
        }
        let mut text = Text::default();
        for (part, pick) in self.parts.iter().zip(picks) {
            text.push(part, pick);
        }
        text.0
    }
}

impl fmt::Display for Pattern {
    /// First and last text, as people read them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => f.write_str(&self.nth(0)),
            count => write!(f, "{} … {}", self.nth(0), self.nth(count - 1)),
        }
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn push(&mut self, part: &Part, pick: usize) {
        match part {
            Part::Text(text) => self.0.push_str(text),
            Part::Numbers {
                first, step, width, ..
            } => {
                let number = first + step * pick as u64;
                self.0.push_str(&format!("{number:0width$}"));
            }
            Part::Letters { first, step, .. } => {
                let letter = usize::from(*first) + usize::from(*step) * pick;
                self.0.extend(u8::try_from(letter).map(char::from));
            }
        }
    }
}

/// What stands in brackets, if it is a range: `FIRST:LAST` or `FIRST:LAST:STEP`.
fn read_range(text: &str) -> Result<Option<Part>, RangeError> {
    let mut ends = text.split(':');
    let (Some(first), Some(last), step, None) =
        (ends.next(), ends.next(), ends.next(), ends.next())
    else {
        return Ok(None);
    };
    let numbers = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if step.is_some_and(|step| !numbers(step)) {
        return Ok(None);
    }
    let whole = format!("[{text}]");
    let step = match step.map(str::parse::<u64>) {
        None => 1,
        Some(Ok(step)) if step > 0 => step,
        Some(_) => return Err(RangeError::Step { text: whole }),
    };
    if numbers(first) && numbers(last) {
        return read_numbers(first, last, step, whole).map(Some);
    }
    match (first.as_bytes(), last.as_bytes()) {
        ([first], [last]) if first.is_ascii_lowercase() && last.is_ascii_lowercase() => {
            if first > last {
                return Err(RangeError::Backwards { text: whole });
            }
            let step = u8::try_from(step).unwrap_or(u8::MAX);
            Ok(Some(Part::Letters {
                first: *first,
                step,
                count: usize::from((last - first) / step) + 1,
            }))
        }
        _ => Ok(None),
    }
}

fn read_numbers(first: &str, last: &str, step: u64, whole: String) -> Result<Part, RangeError> {
    let width = if first.starts_with('0') {
        first.len()
    } else {
        0
    };
    let (Ok(from), Ok(to)) = (first.parse::<u64>(), last.parse::<u64>()) else {
        return Err(RangeError::TooMany { text: whole });
    };
    if from > to {
        return Err(RangeError::Backwards { text: whole });
    }
    let count = usize::try_from((to - from) / step)
        .ok()
        .filter(|steps| *steps < MAX_HOSTS);
    match count {
        Some(steps) => Ok(Part::Numbers {
            first: from,
            step,
            count: steps + 1,
            width,
        }),
        None => Err(RangeError::TooMany { text: whole }),
    }
}

/// Ranges as shells, Terraform users and other inventories write them.
fn other_spelling(text: &str) -> Result<(), RangeError> {
    for (open, close, between) in [('[', ']', "-"), ('[', ']', ".."), ('{', '}', "..")] {
        let Some(start) = text.find(open) else {
            continue;
        };
        let Some(length) = text[start..].find(close) else {
            continue;
        };
        let inner = &text[start + 1..start + length];
        let Some((first, last)) = inner.split_once(between) else {
            continue;
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if digits(first) && digits(last) {
            return Err(RangeError::OtherSpelling {
                found: text[start..=start + length].to_owned(),
                instead: format!("[{first}:{last}]"),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str) -> Vec<String> {
        let pattern = Pattern::parse(text).unwrap();
        (0..pattern.count()).map(|n| pattern.nth(n)).collect()
    }

    #[test]
    fn a_range_keeps_its_leading_zeros_and_knows_steps_and_letters() {
        assert_eq!(
            all("worker-[08:11]"),
            ["worker-08", "worker-09", "worker-10", "worker-11"]
        );
        assert_eq!(all("[8:10]"), ["8", "9", "10"]);
        assert_eq!(all("n[0:10:5]"), ["n0", "n5", "n10"]);
        assert_eq!(all("rack-[a:c]"), ["rack-a", "rack-b", "rack-c"]);
        assert_eq!(all("plain"), ["plain"]);
        assert_eq!(all("[7:7]"), ["7"]);
    }

    #[test]
    fn several_ranges_multiply_and_the_last_runs_fastest() {
        assert_eq!(all("r[1:2]-n[1:2]"), ["r1-n1", "r1-n2", "r2-n1", "r2-n2"]);
    }

    #[test]
    fn brackets_around_an_address_stand_for_themselves() {
        for text in [
            "[fe80::1]",
            "[::1]",
            "[2001:db8::7]",
            "a[b",
            "[",
            "[]",
            "[1:2:3:4]",
        ] {
            assert_eq!(all(text), [text]);
        }
    }

    #[test]
    fn what_is_no_range_says_how_to_write_one() {
        let cure = |text: &str| Pattern::parse(text).unwrap_err().cure();
        assert_eq!(cure("w[01-20]"), "write [01:20]");
        assert_eq!(cure("w{1..5}"), "write [1:5]");
        assert_eq!(cure("w[1..5]"), "write [1:5]");
        assert!(matches!(
            Pattern::parse("w[5:1]"),
            Err(RangeError::Backwards { .. })
        ));
        assert!(matches!(
            Pattern::parse("w[1:5:0]"),
            Err(RangeError::Step { .. })
        ));
    }

    #[test]
    fn a_pattern_for_more_hosts_than_there_may_be_is_refused_before_it_is_counted_out() {
        for text in [
            "[1:200001]",
            "[1:1000][1:1000]",
            "[0:99999999999999999999999]",
        ] {
            assert!(
                matches!(Pattern::parse(text), Err(RangeError::TooMany { .. })),
                "{text}"
            );
        }
        assert_eq!(Pattern::parse("[1:200000]").unwrap().count(), MAX_HOSTS);
        assert!(Pattern::parse(&"[1:1]".repeat(9)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn whatever_the_text_no_pattern_panics_and_one_ranges_texts_all_differ(text in r"[\PC\[\]:0-9a-f]{0,40}") {
            if let Ok(pattern) = Pattern::parse(&text) {
                let shown = pattern.count().min(500);
                let texts: std::collections::HashSet<String> = (0..shown).map(|n| pattern.nth(n)).collect();
                let one = text.matches('[').count() == 1;
                prop_assert!(!one || texts.len() == shown, "{text}");
            }
        }

        #[test]
        fn a_range_of_numbers_counts_from_its_first_to_its_last(first in 0_u64..5000, length in 0_u64..300, width in 0_usize..6) {
            let last = first + length;
            let text = format!("w-[{first:0width$}:{last:0width$}]");
            let all = all(&text);
            prop_assert_eq!(all.len() as u64, length + 1);
            let padded = format!("{first:0width$}").starts_with('0');
            let width = if padded { width } else { 0 };
            prop_assert_eq!(&all[0], &format!("w-{first:0width$}"));
            prop_assert_eq!(&all[all.len() - 1], &format!("w-{last:0width$}"));
        }
    }
}
