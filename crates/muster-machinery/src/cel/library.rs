//! The functions themselves.
//!
//! What a function does not take is [`EvalError::NoOverload`]; the judgement before the run has refused most of it.

use std::cmp::Ordering;
use std::sync::Arc;

mod list;
mod net;
mod patterns;
mod text;

use self::list::of_list;
use self::net::{of_address, of_network, of_url, parse_url};
use self::patterns::regex;
use self::text::of_text;
use super::address::{parse_address, parse_network};
use super::ast::Operator;
use super::eval::{EvalError, Outcome};
use super::temporal::{duration_text, parse_duration, parse_time, time_text};
use super::value::Val;
use crate::go_quote::quoted;
use crate::quantity::Quantity;

fn refused<T>(why: impl Into<String>) -> Result<T, EvalError> {
    Err(EvalError::Refused(why.into()))
}

fn ok_text<'a>(text: impl Into<String>) -> Outcome<'a> {
    Ok(Val::text(text))
}

fn count<'a>(number: usize) -> Outcome<'a> {
    Ok(Val::Int(i64::try_from(number).unwrap_or(i64::MAX)))
}

/// `+ - * / %`.
pub(super) fn arithmetic<'a>(operator: Operator, left: &Val<'a>, right: &Val<'a>) -> Outcome<'a> {
    use Operator as Op;
    let whole = |result: Option<i64>| result.map(Val::Int).ok_or(EvalError::Overflow("integer"));
    let natural = |result: Option<u64>| {
        result
            .map(Val::Uint)
            .ok_or(EvalError::Overflow("unsigned integer"))
    };
    match (left, right) {
        (Val::Int(_), Val::Int(0)) | (Val::Uint(_), Val::Uint(0)) if operator == Op::Divide => {
            Err(EvalError::DivisionByZero)
        }
        (Val::Int(_), Val::Int(0)) | (Val::Uint(_), Val::Uint(0)) if operator == Op::Modulo => {
            Err(EvalError::ModulusByZero)
        }
        (Val::Int(a), Val::Int(b)) => whole(match operator {
            Op::Add => a.checked_add(*b),
            Op::Subtract => a.checked_sub(*b),
            Op::Multiply => a.checked_mul(*b),
            Op::Divide => a.checked_div(*b),
            _ => a.checked_rem(*b),
        }),
        (Val::Uint(a), Val::Uint(b)) => natural(match operator {
            Op::Add => a.checked_add(*b),
            Op::Subtract => a.checked_sub(*b),
            Op::Multiply => a.checked_mul(*b),
            Op::Divide => a.checked_div(*b),
            _ => a.checked_rem(*b),
        }),
        (Val::Double(a), Val::Double(b)) => match operator {
            Op::Add => Ok(Val::Double(a + b)),
            Op::Subtract => Ok(Val::Double(a - b)),
            Op::Multiply => Ok(Val::Double(a * b)),
            Op::Divide => Ok(Val::Double(a / b)),
            _ => Err(EvalError::NoOverload),
        },
        (Val::Text(a), Val::Text(b)) if operator == Op::Add => ok_text(format!("{a}{b}")),
        (Val::Bytes(a), Val::Bytes(b)) if operator == Op::Add => {
            Ok(Val::Bytes([&a[..], &b[..]].concat().into()))
        }
        (Val::Duration(a), Val::Duration(b)) => match operator {
            Op::Add => a
                .checked_add(*b)
                .map(Val::Duration)
                .ok_or(EvalError::Overflow("duration")),
            Op::Subtract => a
                .checked_sub(*b)
                .map(Val::Duration)
                .ok_or(EvalError::Overflow("duration")),
            _ => Err(EvalError::NoOverload),
        },
        (Val::Timestamp(time), Val::Duration(span))
        | (Val::Duration(span), Val::Timestamp(time)) => {
            let span = jiff::SignedDuration::from_nanos(*span);
            let moved = match operator {
                Op::Add => time.checked_add(span),
                Op::Subtract => time.checked_sub(span),
                _ => return Err(EvalError::NoOverload),
            };
            moved
                .map(Val::Timestamp)
                .map_err(|_| EvalError::Overflow("timestamp"))
        }
        (Val::Timestamp(a), Val::Timestamp(b)) if operator == Op::Subtract => {
            let nanos = a.duration_since(*b).as_nanos();
            i64::try_from(nanos)
                .map(Val::Duration)
                .map_err(|_| EvalError::Overflow("duration"))
        }
        _ if operator == Op::Add => joined(left, right),
        _ => Err(EvalError::NoOverload),
    }
}

/// Lists behind each other; sets and lists with keys are merged.
fn joined<'a>(left: &Val<'a>, right: &Val<'a>) -> Outcome<'a> {
    let (Some(mut all), Some(more)) = (left.elements(), right.elements()) else {
        return Err(EvalError::NoOverload);
    };
    let Some(schema) = left.list_schema() else {
        all.extend(more);
        return Ok(Val::list(all));
    };
    let key = |value: &Val<'a>| -> Vec<Option<Val<'a>>> {
        schema
            .list_keys
            .iter()
            .map(|name| value.member(name))
            .collect()
    };
    let same_key = |a: &Val<'a>, b: &Val<'a>| {
        key(a).iter().zip(&key(b)).all(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => a.same(b),
            (None, None) => true,
            _ => false,
        })
    };
    for one in more {
        let known = all.iter().position(|own| {
            if schema.list_keys.is_empty() {
                own.same(&one)
            } else {
                same_key(own, &one)
            }
        });
        match known {
            Some(at) => all[at] = one,
            None => all.push(one),
        }
    }
    Ok(Val::list(all))
}

/// Functions of a library.
pub(super) fn of_library<'a>(library: &str, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    match (library, name, args) {
        ("sets", _, [a, b]) => {
            let (Some(a), Some(b)) = (a.elements(), b.elements()) else {
                return Err(EvalError::NoOverload);
            };
            let within = |inner: &[Val<'a>], outer: &[Val<'a>]| {
                inner.iter().all(|x| outer.iter().any(|y| x.same(y)))
            };
            Ok(Val::Bool(match name {
                "contains" => within(&b, &a),
                "intersects" => a.iter().any(|x| b.iter().any(|y| x.same(y))),
                _ => within(&a, &b) && within(&b, &a),
            }))
        }
        ("optional", "none", []) => Ok(Val::Optional(None)),
        ("optional", "of", [value]) => Ok(Val::Optional(Some(Box::new(value.clone())))),
        ("optional", "ofNonZeroValue", [value]) => {
            let empty = match value {
                Val::Null | Val::Bool(false) | Val::Int(0) | Val::Uint(0) => true,
                Val::Double(number) => *number == 0.0,
                other => other.size() == Some(0),
            };
            Ok(Val::Optional((!empty).then(|| Box::new(value.clone()))))
        }
        ("ip", "isCanonical", [Val::Text(text)]) => match parse_address(text) {
            Some(address) => Ok(Val::Bool(address.to_string() == *text)),
            None => refused(format!("IP Address {} parse error", quoted(text))),
        },
        ("strings", "quote", [Val::Text(text)]) => ok_text(quoted(text)),
        _ => Err(EvalError::NoOverload),
    }
}

/// Functions that stand alone.
pub(super) fn global<'a>(name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    match (name, args) {
        ("size", [value]) => value.size().map_or(Err(EvalError::NoOverload), count),
        ("dyn", [value]) => Ok(value.clone()),
        ("type", [value]) => Ok(Val::Kind(value.kind())),
        ("string", [value]) => text_of(value).map(Val::text).ok_or(EvalError::NoOverload),
        ("int", [value]) => int(value),
        ("uint", [value]) => uint(value),
        ("double", [value]) => double(value),
        ("bool", [Val::Bool(flag)]) => Ok(Val::Bool(*flag)),
        ("bool", [Val::Text(text)]) => match &**text {
            "true" | "True" | "TRUE" | "t" | "1" => Ok(Val::Bool(true)),
            "false" | "False" | "FALSE" | "f" | "0" => Ok(Val::Bool(false)),
            _ => refused(format!(
                "type conversion error from 'string' to 'bool': {}",
                quoted(text)
            )),
        },
        ("bytes", [Val::Text(text)]) => Ok(Val::Bytes(text.as_bytes().into())),
        ("bytes", [Val::Bytes(bytes)]) => Ok(Val::Bytes(Arc::clone(bytes))),
        ("timestamp", [Val::Timestamp(time)]) => Ok(Val::Timestamp(*time)),
        ("timestamp", [Val::Text(text)]) => parse_time(text).map(Val::Timestamp).map_or_else(
            || refused("type conversion error from 'string' to 'google.protobuf.Timestamp'"),
            Ok,
        ),
        ("duration", [Val::Duration(nanos)]) => Ok(Val::Duration(*nanos)),
        ("duration", [Val::Text(text)]) => parse_duration(text).map(Val::Duration).map_or_else(
            || refused("type conversion error from 'string' to 'google.protobuf.Duration'"),
            Ok,
        ),
        ("matches", [Val::Text(text), Val::Text(pattern)]) => {
            Ok(Val::Bool(regex(pattern)?.is_match(text)))
        }
        ("url", [Val::Text(text)]) => match parse_url(text) {
            Some(url) => Ok(Val::Url(Arc::new(url))),
            None => refused(format!(
                "URL parse error during conversion from string: parse {}: invalid URI for request",
                quoted(text)
            )),
        },
        ("isURL", [Val::Text(text)]) => Ok(Val::Bool(parse_url(text).is_some())),
        ("quantity", [Val::Text(text)]) => match quantity(text) {
            Some(amount) => Ok(Val::Quantity(amount)),
            None => refused(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
        },
        ("isQuantity", [Val::Text(text)]) => Ok(Val::Bool(quantity(text).is_some())),
        ("ip", [Val::Text(text)]) => match parse_address(text) {
            Some(address) => Ok(Val::Address(address)),
            None => refused(format!(
                "IP Address {} parse error during conversion from string",
                quoted(text)
            )),
        },
        ("isIP", [Val::Text(text)]) => Ok(Val::Bool(parse_address(text).is_some())),
        ("cidr", [Val::Text(text)]) => match parse_network(text) {
            Some(network) => Ok(Val::Network(network)),
            None => refused(format!(
                "network address parse error during conversion from string: {}",
                quoted(text)
            )),
        },
        ("isCIDR", [Val::Text(text)]) => Ok(Val::Bool(parse_network(text).is_some())),
        ("semver", [Val::Text(text), rest @ ..]) => match semver(text, lenient(rest)) {
            Some(version) => Ok(Val::Semver(Arc::new(version))),
            None => refused("semver parse error during conversion from string"),
        },
        ("isSemver", [Val::Text(text), rest @ ..]) => {
            Ok(Val::Bool(semver(text, lenient(rest)).is_some()))
        }
        _ => Err(EvalError::NoOverload),
    }
}

fn lenient(rest: &[Val<'_>]) -> bool {
    matches!(rest, [Val::Bool(true)])
}

/// The text that `string()` makes.
pub(super) fn text_of(value: &Val<'_>) -> Option<String> {
    Some(match value {
        Val::Text(text) => text.to_string(),
        Val::Bool(flag) => flag.to_string(),
        Val::Int(number) => number.to_string(),
        Val::Uint(number) => number.to_string(),
        Val::Double(number) => number.to_string(),
        Val::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok()?,
        Val::Timestamp(time) => time_text(*time),
        Val::Duration(nanos) => duration_text(*nanos),
        Val::Address(address) => address.to_string(),
        Val::Network(network) => format!("{}/{}", network.address, network.bits),
        Val::Null => "null".to_owned(),
        _ => return None,
    })
}

fn int<'a>(value: &Val<'a>) -> Outcome<'a> {
    match value {
        Val::Int(number) => Ok(Val::Int(*number)),
        Val::Uint(number) => i64::try_from(*number)
            .map(Val::Int)
            .map_err(|_| EvalError::Overflow("integer")),
        Val::Double(number) if number.abs() < 9.2e18 => Ok(Val::Int(*number as i64)),
        Val::Double(_) => Err(EvalError::Overflow("integer")),
        Val::Text(text) => match text.parse() {
            Ok(number) => Ok(Val::Int(number)),
            Err(_) => refused(format!(
                "strconv.ParseInt: parsing {}: invalid syntax",
                quoted(text)
            )),
        },
        Val::Timestamp(time) => Ok(Val::Int(time.as_second())),
        _ => Err(EvalError::NoOverload),
    }
}

fn uint<'a>(value: &Val<'a>) -> Outcome<'a> {
    match value {
        Val::Uint(number) => Ok(Val::Uint(*number)),
        Val::Int(number) => u64::try_from(*number)
            .map(Val::Uint)
            .map_err(|_| EvalError::Overflow("unsigned integer")),
        Val::Double(number) if (0.0..1.8e19).contains(number) => Ok(Val::Uint(*number as u64)),
        Val::Text(text) => match text.parse() {
            Ok(number) => Ok(Val::Uint(number)),
            Err(_) => refused(format!(
                "strconv.ParseUint: parsing {}: invalid syntax",
                quoted(text)
            )),
        },
        Val::Double(_) => Err(EvalError::Overflow("unsigned integer")),
        _ => Err(EvalError::NoOverload),
    }
}

fn double<'a>(value: &Val<'a>) -> Outcome<'a> {
    match value {
        Val::Double(number) => Ok(Val::Double(*number)),
        Val::Int(number) => Ok(Val::Double(*number as f64)),
        Val::Uint(number) => Ok(Val::Double(*number as f64)),
        Val::Text(text) => match text.parse() {
            Ok(number) => Ok(Val::Double(number)),
            Err(_) => refused(format!(
                "strconv.ParseFloat: parsing {}: invalid syntax",
                quoted(text)
            )),
        },
        _ => Err(EvalError::NoOverload),
    }
}

/// An amount in billionths.
fn quantity(text: &str) -> Option<i128> {
    Quantity::parse(text).ok().map(|amount| amount.nano())
}

/// Functions of values.
pub(super) fn method<'a>(target: &Val<'a>, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    if (name, args.len()) == ("size", 0) {
        return target.size().map_or(Err(EvalError::NoOverload), count);
    }
    match target {
        Val::Text(text) => of_text(text, name, args),
        Val::List(_) | Val::Items(..) => of_list(target.elements().unwrap_or_default(), name, args),
        Val::Optional(inner) => of_optional(inner.as_deref(), name, args),
        Val::Timestamp(time) => of_time(*time, name, args),
        Val::Duration(nanos) => of_duration(*nanos, name),
        Val::Quantity(amount) => of_quantity(*amount, name, args),
        Val::Address(address) => of_address(*address, name),
        Val::Network(_) => of_network(target, name, args),
        Val::Url(url) => of_url(url, name),
        Val::Semver(version) => match (name, args) {
            ("major", []) => Ok(Val::Int(version.0.try_into().unwrap_or(i64::MAX))),
            ("minor", []) => Ok(Val::Int(version.1.try_into().unwrap_or(i64::MAX))),
            ("patch", []) => Ok(Val::Int(version.2.try_into().unwrap_or(i64::MAX))),
            (_, [other @ Val::Semver(_)]) => compared(target, other, name),
            _ => Err(EvalError::NoOverload),
        },
        _ => Err(EvalError::NoOverload),
    }
}

fn compared<'a>(own: &Val<'a>, other: &Val<'a>, name: &str) -> Outcome<'a> {
    let order = own.compare(other).ok_or(EvalError::NoOverload)?;
    match name {
        "isGreaterThan" => Ok(Val::Bool(order == Ordering::Greater)),
        "isLessThan" => Ok(Val::Bool(order == Ordering::Less)),
        "compareTo" => Ok(Val::Int(order as i64)),
        _ => Err(EvalError::NoOverload),
    }
}

fn of_optional<'a>(inner: Option<&Val<'a>>, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    match (name, inner, args) {
        ("hasValue", inner, []) => Ok(Val::Bool(inner.is_some())),
        ("value" | "orValue", Some(value), _) => Ok(value.clone()),
        ("value", None, []) => refused("optional.none() dereference"),
        ("orValue" | "or", None, [other]) => Ok(other.clone()),
        ("or", Some(value), [_]) => Ok(Val::Optional(Some(Box::new(value.clone())))),
        _ => Err(EvalError::NoOverload),
    }
}

fn of_time<'a>(time: jiff::Timestamp, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    let zone = match args {
        [] => jiff::tz::TimeZone::UTC,
        [Val::Text(zone)] => match zone_of(zone) {
            Some(zone) => zone,
            None => return refused(format!("unknown time zone {zone}")),
        },
        _ => return Err(EvalError::NoOverload),
    };
    let time = time.to_zoned(zone);
    let number = match name {
        "getFullYear" => i64::from(time.year()),
        "getMonth" => i64::from(time.month()) - 1,
        "getDate" => i64::from(time.day()),
        "getDayOfMonth" => i64::from(time.day()) - 1,
        "getDayOfWeek" => i64::from(time.weekday().to_sunday_zero_offset()),
        "getDayOfYear" => i64::from(time.day_of_year()) - 1,
        "getHours" => i64::from(time.hour()),
        "getMinutes" => i64::from(time.minute()),
        "getSeconds" => i64::from(time.second()),
        "getMilliseconds" => i64::from(time.millisecond()),
        _ => return Err(EvalError::NoOverload),
    };
    Ok(Val::Int(number))
}

/// `UTC`, or an offset such as `+02:00`. Names of places need a database, and this floor has no files.
fn zone_of(text: &str) -> Option<jiff::tz::TimeZone> {
    if matches!(text, "UTC" | "" | "Z") {
        return Some(jiff::tz::TimeZone::UTC);
    }
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let seconds = hours.parse::<i32>().ok()?.checked_mul(3600)?
        + minutes.parse::<i32>().ok()?.checked_mul(60)?;
    let offset = jiff::tz::Offset::from_seconds(if negative { -seconds } else { seconds }).ok()?;
    Some(jiff::tz::TimeZone::fixed(offset))
}

fn of_duration<'a>(nanos: i64, name: &str) -> Outcome<'a> {
    let unit = match name {
        "getHours" => 3_600_000_000_000,
        "getMinutes" => 60_000_000_000,
        "getSeconds" => 1_000_000_000,
        "getMilliseconds" => 1_000_000,
        _ => return Err(EvalError::NoOverload),
    };
    Ok(Val::Int(nanos / unit))
}

/// How many billionths make one.
const UNIT: i128 = 1_000_000_000;

fn of_quantity<'a>(amount: i128, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    let whole = i64::try_from(amount / UNIT)
        .ok()
        .filter(|_| amount % UNIT == 0);
    match (name, args) {
        ("isInteger", []) => Ok(Val::Bool(whole.is_some())),
        ("asInteger", []) => match whole {
            Some(whole) => Ok(Val::Int(whole)),
            None => refused("cannot convert value to integer"),
        },
        ("asApproximateFloat", []) => Ok(Val::Double(amount as f64 / UNIT as f64)),
        ("sign", []) => Ok(Val::Int(i64::try_from(amount.signum()).unwrap_or(0))),
        ("add" | "sub", [other]) => {
            let other = match other {
                Val::Quantity(other) => *other,
                Val::Int(other) => i128::from(*other) * UNIT,
                _ => return Err(EvalError::NoOverload),
            };
            let other = if name == "add" { other } else { -other };
            let sum = amount.checked_add(other).map(Val::Quantity);
            sum.ok_or(EvalError::Overflow("quantity"))
        }
        (_, [other @ Val::Quantity(_)]) => compared(&Val::Quantity(amount), other, name),
        _ => Err(EvalError::NoOverload),
    }
}

/// Major, minor, patch, and what stands behind a dash; builds do not count.
fn semver(text: &str, lenient: bool) -> Option<(u64, u64, u64, String)> {
    let text = if lenient {
        text.strip_prefix('v').unwrap_or(text)
    } else {
        text
    };
    let text = text.split('+').next().unwrap_or_default();
    let (numbers, rest) = text
        .split_once('-')
        .map_or((text, ""), |(numbers, rest)| (numbers, rest));
    let mut parts: Vec<&str> = numbers.split('.').collect();
    while lenient && parts.len() < 3 {
        parts.push("0");
    }
    let number = |text: &str| -> Option<u64> {
        let sound = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let plain = lenient || text == "0" || !text.starts_with('0');
        if sound && plain {
            text.parse().ok()
        } else {
            None
        }
    };
    match parts.as_slice() {
        [major, minor, patch] => Some((
            number(major)?,
            number(minor)?,
            number(patch)?,
            rest.to_owned(),
        )),
        _ => None,
    }
}
