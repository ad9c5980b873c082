//! Times as RFC 3339 and Go's `time.RFC3339` have them, and nothing looser.
//!
//! The general parser also reads a space for the `T`, offsets without a colon and zone annotations; other clients could
//! not read such a time back, so it is refused at the door.

use jiff::Timestamp;

/// The instant of a time such as `2026-11-21T05:50:05Z` or `2026-11-21T06:50:05.25+01:00`.
pub fn parse(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_at_checked(10)?;
    let clock = time.strip_prefix('T')?;
    let (clock, offset) = match clock.strip_suffix('Z') {
        Some(clock) => (clock, "+00:00"),
        None => clock.split_at_checked(clock.len().checked_sub(6)?)?,
    };
    let (seconds, fraction) = clock.split_at_checked(8)?;
    let is_fraction = |text: &str| {
        text.strip_prefix('.')
            .is_some_and(|digits| fits(digits, &"d".repeat(digits.len())))
    };
    let fits_whole = fits(date, "dddd-dd-dd") && fits(seconds, "dd:dd:dd");
    let fits_rest = (fraction.is_empty() || (fraction.len() > 1 && is_fraction(fraction)))
        && (fits(offset, "+dd:dd") || fits(offset, "-dd:dd"));
    if fits_whole && fits_rest {
        text.parse().ok()
    } else {
        None
    }
}

/// Whether the text has the pattern's length, digits for each `d` and the other characters as they are.
fn fits(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text
            .bytes()
            .zip(pattern.bytes())
            .all(|(byte, wanted)| match wanted {
                b'd' => byte.is_ascii_digit(),
                other => byte == other,
            })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[rstest::rstest]
    #[case("2026-11-21T05:50:05Z", Some(1_795_240_205))]
    #[case("2026-11-21T06:50:05.25+01:00", Some(1_795_240_205))]
    #[case("1970-01-01T00:00:00-00:30", Some(1_800))]
    #[case("2026-11-21 05:50:05Z", None)]
    #[case("2026-11-21T05:50:05", None)]
    #[case("2026-11-21T05:50Z", None)]
    #[case("2026-11-21T05:50:05.Z", None)]
    #[case("2026-11-21T05:50:05+0100", None)]
    #[case("2026-11-21T05:50:05Z[Europe/Berlin]", None)]
    #[case("2026-02-30T05:50:05Z", None)]
    #[case("20261121T055005Z", None)]
    #[case("", None)]
    fn only_the_profile_of_the_api_is_read(#[case] text: &str, #[case] seconds: Option<i64>) {
        assert_eq!(parse(text).map(Timestamp::as_second), seconds);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_text_panics(text in "[0-9TZ:.+é-]{0,32}") {
            let _ = parse(&text);
        }

        #[test]
        fn every_printed_instant_is_read(seconds in -62_000_000_000_i64..250_000_000_000, nanos in 0..1_000_000_000) {
            let time = Timestamp::new(seconds, nanos).expect("in range");
            prop_assert_eq!(parse(&time.to_string()), Some(time));
        }
    }
}
