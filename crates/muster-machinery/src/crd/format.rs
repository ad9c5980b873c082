//! The formats of text that are checked (`k8s.io/kube-openapi` `strfmt`, those that custom resources know).
//!
//! Unknown formats are no formats: they are warned of and not checked.

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine as _;

use crate::validation::names::{dns_label_problems, dns_subdomain_problems};

/// The known formats of text, without dashes.
const KNOWN: [&str; 26] = [
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "k8sshortname",
    "k8slongname",
];

/// Whether a format means something for a type (by name, empty for none).
pub(super) fn is_known(type_: &str, format: &str) -> bool {
    match type_ {
        "" | "string" => KNOWN.contains(&format.replace('-', "").as_str()),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    }
}

/// Whether the text has the format; `None` when there is no such format.
pub(super) fn is_valid(format: &str, text: &str) -> Option<bool> {
    if format.is_empty() {
        return None;
    }
    Some(match format.replace('-', "").as_str() {
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some('3')),
        "uuid4" => is_uuid(text, Some('4')),
        "uuid5" => is_uuid(text, Some('5')),
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        "byte" => is_base64(text),
        "password" => true,
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "datetime" => is_date_time(text),
        "duration" => is_duration(text),
        "email" => is_email(text),
        "hostname" => is_hostname(text),
        "uri" => is_uri(text),
        "hexcolor" => is_hex_color(text),
        "rgbcolor" => is_rgb_color(text),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "creditcard" => is_credit_card(text),
        "ssn" => is_ssn(text),
        "k8sshortname" => dns_label_problems(text).is_empty(),
        "k8slongname" => dns_subdomain_problems(text).is_empty(),
        _ => return None,
    })
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let plain = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
    let bits: u8 = match bits.parse() {
        Ok(bits) if plain => bits,
        _ => return false,
    };
    (address.parse::<Ipv4Addr>().is_ok() && bits <= 32)
        || (address.parse::<Ipv6Addr>().is_ok() && bits <= 128)
}

fn is_mac(text: &str) -> bool {
    let hex =
        |part: &str, size: usize| part.len() == size && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts = |separator: char, size: usize, counts: &[usize]| {
        let parts: Vec<&str> = text.split(separator).collect();
        counts.contains(&parts.len()) && parts.iter().all(|part| hex(part, size))
    };
    parts(':', 2, &[6, 8, 20]) || parts('-', 2, &[6, 8, 20]) || parts('.', 4, &[3, 4, 10])
}

fn is_uuid(text: &str, version: Option<char>) -> bool {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let shape = text.len() == 36
        && [8, 13, 18, 23]
            .iter()
            .all(|at| text.as_bytes()[*at] == b'-');
    let variant = |c: char| matches!(c.to_ascii_lowercase(), '8' | '9' | 'a' | 'b');
    let hex = digits.len() == 32 && digits.chars().all(|c| c.is_ascii_hexdigit());
    (shape || text.len() == 32)
        && hex
        && version.is_none_or(|version| {
            digits.chars().nth(12) == Some(version)
                && (version == '3' || digits.chars().nth(16).is_some_and(variant))
        })
}

fn is_base64(text: &str) -> bool {
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .is_ok()
}

/// RFC 3339 and the forms of it that clients send.
fn is_date_time(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let Some((date, time)) = upper.split_once('T') else {
        return false;
    };
    let time = time
        .strip_suffix('Z')
        .unwrap_or_else(|| time.rfind(['+', '-']).map_or(time, |at| &time[..at]));
    is_valid("date", date) == Some(true)
        && upper.len() > 11
        && format!("{date}T{time}")
            .parse::<jiff::civil::DateTime>()
            .is_ok()
        && time.split(':').count() == 3
}

/// Go's durations, and words such as `3 days`.
fn is_duration(text: &str) -> bool {
    is_go_duration(text) || is_worded_duration(text)
}

/// A duration as `time.ParseDuration` reads it.
fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let number = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        if !digits.bytes().any(|b| b.is_ascii_digit()) || digits.matches('.').count() > 1 {
            return false;
        }
        let unit = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"]
            .into_iter()
            .filter(|unit| after.starts_with(unit))
            .max_by_key(|unit| unit.len());
        match unit {
            Some(unit) => rest = &after[unit.len()..],
            None => return false,
        }
    }
    true
}

fn is_worded_duration(text: &str) -> bool {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim_start().trim_end_matches('s');
    let known = [
        "n",
        "nano",
        "nanosecond",
        "u",
        "µ",
        "micro",
        "microsecond",
        "m",
        "milli",
        "millisecond",
        "sec",
        "second",
        "min",
        "minute",
        "h",
        "hr",
        "hour",
        "d",
        "day",
        "w",
        "week",
        "wk",
    ];
    !number.is_empty() && known.contains(&unit)
}

fn is_hostname(text: &str) -> bool {
    let label = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
    };
    let trimmed = text.strip_suffix('.').unwrap_or(text);
    !trimmed.is_empty() && text.len() <= 255 && trimmed.split('.').all(label)
}

fn is_email(text: &str) -> bool {
    let address = match (text.rfind('<'), text.ends_with('>')) {
        (Some(at), true) => &text[at + 1..text.len() - 1],
        _ => text,
    };
    let Some((user, host)) = address.rsplit_once('@') else {
        return false;
    };
    let plain = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    !user.is_empty()
        && user.chars().all(plain)
        && !user.starts_with('.')
        && !user.ends_with('.')
        && !user.contains("..")
        && is_hostname(host)
}

/// An absolute URI, or a path (`url.ParseRequestURI`).
fn is_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let starts = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    starts && scheme.chars().all(inside) && (!rest.starts_with("//") || has_host(&rest[2..]))
}

fn has_host(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = match host.rsplit_once(':') {
        Some((_, port)) if !host.ends_with(']') => port,
        _ => "",
    };
    port.bytes().all(|b| b.is_ascii_digit())
}

fn is_hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_rgb_color(text: &str) -> bool {
    let inner = text
        .strip_prefix("rgb(")
        .and_then(|rest| rest.strip_suffix(')'));
    let parts: Vec<&str> = inner
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u8>().is_ok())
}

fn isbn_digits(text: &str) -> Vec<char> {
    text.chars().filter(|c| !matches!(c, '-' | ' ')).collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = isbn_digits(text);
    let value = |(at, c): (usize, &char)| match (at, c) {
        (9, 'X') => Some(10),
        (_, c) => c.to_digit(10),
    };
    let sum: Option<usize> = digits
        .iter()
        .enumerate()
        .map(|(at, c)| Some((at + 1) * value((at, c))? as usize))
        .sum();
    digits.len() == 10 && sum.is_some_and(|sum| sum % 11 == 0)
}

fn is_isbn13(text: &str) -> bool {
    let digits = isbn_digits(text);
    let weigh = |(at, c): (usize, &char)| Some(c.to_digit(10)? * if at % 2 == 0 { 1 } else { 3 });
    let sum: Option<u32> = digits.iter().enumerate().map(weigh).sum();
    digits.len() == 13 && sum.is_some_and(|sum| sum % 10 == 0)
}

/// Luhn's check.
fn is_credit_card(text: &str) -> bool {
    let digits: Option<Vec<u32>> = isbn_digits(text).iter().map(|c| c.to_digit(10)).collect();
    let Some(digits) = digits else {
        return false;
    };
    let double = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| if at % 2 == 1 { double(*digit) } else { *digit })
        .sum();
    (13..=19).contains(&digits.len()) && sum.is_multiple_of(10)
}

fn is_ssn(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['-', ' ']).collect();
    let digits =
        |part: &str, size: usize| part.len() == size && part.bytes().all(|b| b.is_ascii_digit());
    parts.len() == 3 && digits(parts[0], 3) && digits(parts[1], 2) && digits(parts[2], 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_take_what_they_are_named_after_and_nothing_else() {
        let cases = [
            ("ipv4", "10.0.0.1", "10.0.0"),
            ("ipv6", "fd00::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("mac", "01:02:03:04:05:06", "01:02:03"),
            ("uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b810"),
            (
                "uuid4",
                "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
                "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            ),
            ("byte", "aGVsbG8=", "a"),
            ("date", "2024-02-29", "2023-02-29"),
            ("date-time", "2024-02-29T10:00:00Z", "2024-02-29"),
            (
                "date-time",
                "2024-02-29T10:00:00.5+02:00",
                "2024-02-29T25:00:00Z",
            ),
            ("duration", "1h30m", "1hour30"),
            ("duration", "3 days", "three days"),
            ("email", "a.b@example.com", "a.b"),
            ("hostname", "a.example.com", "-a"),
            ("uri", "https://example.com/x", "example"),
            ("hexcolor", "#aabbcc", "#ab"),
            ("rgbcolor", "rgb(1,2,3)", "rgb(1,2,300)"),
            ("isbn10", "0-306-40615-2", "0-306-40615-3"),
            ("isbn13", "978-0-306-40615-7", "978-0-306-40615-8"),
            ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
            ("ssn", "111-22-3333", "1112-22-3333"),
            ("k8s-short-name", "a-b", "a.b"),
            ("k8s-long-name", "a.b", "A"),
        ];
        for (format, good, bad) in cases {
            assert_eq!(is_valid(format, good), Some(true), "{format} {good}");
            assert_eq!(is_valid(format, bad), Some(false), "{format} {bad}");
            assert!(is_known("string", format), "{format}");
        }
        assert_eq!(is_valid("shape", "round"), None);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            for format in KNOWN {
                let _ = is_valid(format, &text);
            }
        }
    }
}
