//! Quantities such as `500m`, `1.5Gi`, `2e3` (k8s.io/apimachinery `resource.Quantity`).
//!
//! Parsed exactly into billionths, compared, and written back in canonical form.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

/// Longest text that is read, in bytes.
const MAX_LENGTH: usize = 64;
const NANO: i128 = 1_000_000_000;

/// Which family of suffixes a quantity is written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Decimal,
    Binary,
    Exponent,
}

/// A fixed-point number with the suffix family it was written in.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

/// The text is no quantity; the message is upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)]
pub struct QuantityError;

impl Quantity {
    /// Reads a quantity. Anything finer than a billionth is rounded up, as upstream does.
    ///
    /// # Errors
    /// When the text does not follow the grammar or does not fit.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        if text.len() > MAX_LENGTH {
            return Err(QuantityError);
        }
        let split = text
            .char_indices()
            .find(|&(i, c)| !(c.is_ascii_digit() || c == '.' || (i == 0 && (c == '+' || c == '-'))))
            .map_or(text.len(), |(i, _)| i);
        let (number, suffix) = text.split_at(split);
        let (format, base, power) = scale(suffix).ok_or(QuantityError)?;
        let (negative, digits) = match number.as_bytes().first() {
            Some(b'-') => (true, &number[1..]),
            Some(b'+') => (false, &number[1..]),
            _ => (false, number),
        };
        let magnitude = magnitude(digits, base, power).ok_or(QuantityError)?;
        Ok(Self {
            nano: if negative { -magnitude } else { magnitude },
            format,
        })
    }

    /// Reads a JSON string or number.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_json(value: &Value) -> Result<Self, QuantityError> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => Err(QuantityError),
        }
    }

    /// Nothing.
    pub const ZERO: Self = Self {
        nano: 0,
        format: Format::Decimal,
    };

    /// The sum, written as the first is unless that is nothing.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            nano: self.nano.saturating_add(other.nano),
            format: if self.nano == 0 {
                other.format
            } else {
                self.format
            },
        }
    }

    /// The difference, written as the first is.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            nano: self.nano.saturating_sub(other.nano),
            format: self.format,
        }
    }

    /// A whole number.
    #[must_use]
    pub const fn whole(number: i64) -> Self {
        Self {
            nano: (number as i128) * NANO,
            format: Format::Decimal,
        }
    }

    /// The value in billionths.
    #[must_use]
    pub const fn nano(&self) -> i128 {
        self.nano
    }

    /// The value in whole units, rounded up (away from zero).
    #[must_use]
    pub const fn value(&self) -> i128 {
        let whole = self.nano / NANO;
        match self.nano % NANO {
            0 => whole,
            rest if rest > 0 => whole + 1,
            _ => whole - 1,
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

/// The suffix's family, base and power.
fn scale(suffix: &str) -> Option<(Format, i128, i32)> {
    let binary = |power| Some((Format::Binary, 1024, power));
    let decimal = |power| Some((Format::Decimal, 10, power));
    match suffix {
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let power: i32 = exponent.parse().ok().filter(|p: &i32| p.abs() <= 30)?;
            Some((Format::Exponent, 10, power))
        }
    }
}

/// `digits * base^power` in billionths, rounded up.
fn magnitude(digits: &str, base: i128, power: i32) -> Option<i128> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    // Trailing zeros of the fraction say nothing and would only overflow.
    let fraction = fraction.trim_end_matches('0');
    let mantissa: i128 = match format!("{whole}{fraction}").as_str() {
        "" => 0,
        text => text.parse().ok()?,
    };
    let places = u32::try_from(fraction.len()).ok()?;
    let factor = base.checked_pow(power.unsigned_abs())?;
    let (mut up, mut bottom) = (NANO, 10i128.checked_pow(places)?);
    if power < 0 {
        bottom = bottom.checked_mul(factor)?;
    }
    // Dividing first where it is exact keeps large values inside the range: whatever fits when it is
    // read fits again when it is written with the finest suffix.
    let common = gcd(up, bottom);
    (up, bottom) = (up / common, bottom / common);
    let mut top = mantissa.checked_mul(up)?;
    if power >= 0 {
        let common = gcd(factor, bottom);
        bottom /= common;
        top = top.checked_mul(factor / common)?;
    }
    Some(top / bottom + i128::from(top % bottom != 0))
}

const fn gcd(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest suffix that leaves an integer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        // Below 1024, or with a fraction, binary quantities are written as decimal ones.
        let is_binary = self.format == Format::Binary
            && self.nano % NANO == 0
            && (self.nano / NANO).unsigned_abs() >= 1024;
        if is_binary {
            let (value, suffix) = reduce(
                self.nano / NANO,
                1024,
                &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"],
            );
            return write!(f, "{value}{suffix}");
        }
        let (value, step) = reduce(self.nano, 1000, &DECIMAL);
        match (self.format, step) {
            (Format::Exponent, "") => write!(f, "{value}"),
            (Format::Exponent, step) => {
                let power = DECIMAL.iter().position(|s| *s == step).unwrap_or(3);
                write!(f, "{value}e{}", i64::try_from(power).unwrap_or(3) * 3 - 9)
            }
            (_, suffix) => write!(f, "{value}{suffix}"),
        }
    }
}

const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];

/// Divides by the step as long as nothing is lost and there is a suffix.
fn reduce<'a>(mut value: i128, step: i128, suffixes: &[&'a str]) -> (i128, &'a str) {
    let mut at = 0;
    while at + 1 < suffixes.len() && value % step == 0 {
        value /= step;
        at += 1;
    }
    (value, suffixes[at])
}

/// The canonical text of a JSON quantity; what cannot be read is shown as it is.
#[must_use]
pub fn canonical(value: &Value) -> String {
    match (Quantity::from_json(value), value) {
        (Ok(quantity), _) => quantity.to_string(),
        (Err(_), Value::String(text)) => text.clone(),
        (Err(_), other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0", "0")]
    #[case("0.5", "500m")]
    #[case("1000m", "1")]
    #[case("1024Mi", "1Gi")]
    #[case("1.5Gi", "1536Mi")]
    #[case("1000", "1k")]
    #[case("1234", "1234")]
    #[case("2e3", "2e3")]
    #[case("1500e-3", "1500e-3")]
    #[case("512Ki", "512Ki")]
    #[case("1023", "1023")]
    #[case("0.5Ki", "512")]
    #[case("-1", "-1")]
    #[case("+2", "2")]
    #[case(".5", "500m")]
    #[case("0.1n", "1n")]
    #[case("8Ei", "8Ei")]
    #[case("16303428Ki", "16303428Ki")]
    fn quantities_have_one_canonical_form(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(Quantity::parse(text).unwrap().to_string(), shown);
    }

    #[rstest]
    #[case("")]
    #[case(".")]
    #[case("1.2.3")]
    #[case("1x")]
    #[case("Mi")]
    #[case("1 Mi")]
    #[case("--1")]
    #[case("1e99")]
    #[case("1KiB")]
    fn other_texts_are_refused(#[case] text: &str) {
        assert_eq!(Quantity::parse(text).unwrap_err(), QuantityError);
    }

    #[test]
    fn quantities_are_compared_by_value() {
        let parse = |text| Quantity::parse(text).unwrap();
        assert_eq!(parse("1Gi"), parse("1024Mi"));
        assert!(parse("1G") < parse("1Gi"));
        assert_eq!(parse("100m").value(), 1);
        assert_eq!(parse("2k").value(), 2000);
        assert_eq!(parse("1m").nano(), 1_000_000);
    }

    #[test]
    fn a_large_quantity_with_a_fraction_can_be_read_back() {
        let parse = |text: &str| Quantity::parse(text).unwrap();
        let large = parse("155000000000.0001Ti");
        assert_eq!(parse(&large.to_string()), large);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn the_canonical_form_has_the_same_value(
            text in "[+-]?[0-9]{0,12}(\\.[0-9]{0,6})?(n|u|m|k|M|G|T|Ki|Mi|Gi|Ti|e-?[0-9])?"
        ) {
            if let Ok(quantity) = Quantity::parse(&text) {
                let shown = quantity.to_string();
                prop_assert_eq!(Quantity::parse(&shown).unwrap(), quantity);
                prop_assert_eq!(Quantity::parse(&shown).unwrap().to_string(), shown);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,70}") {
            let _ = Quantity::parse(&text);
        }
    }
}
