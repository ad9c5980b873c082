//! The functions themselves.
//!
//! What a function does not take is [`EvalError::NoOverload`]; the judgement before the run has refused most of it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use super::address::{parse_address, parse_network};
use super::ast::Operator;
use super::eval::{EvalError, Outcome};
use super::temporal::{duration_text, parse_duration, parse_time, time_text};
use super::value::{Url, Val};
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

fn regex(pattern: &str) -> Result<regex::Regex, EvalError> {
    crate::crd::compile_pattern(pattern).map_err(EvalError::Refused)
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

#[expect(clippy::cast_possible_truncation, reason = "bounded first")]
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

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded first"
)]
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

fn place(text: &str, found: Option<usize>) -> i64 {
    found.map_or(-1, |at| {
        i64::try_from(text[..at].chars().count()).unwrap_or(i64::MAX)
    })
}

fn of_text<'a>(text: &Cow<'a, str>, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    let letters = || text.chars().collect::<Vec<char>>();
    let cut = |from: i64, to: i64| {
        let letters = letters();
        let bound = |at: i64| usize::try_from(at).ok().filter(|at| *at <= letters.len());
        match (bound(from), bound(to)) {
            (Some(from), Some(to)) if from <= to => {
                ok_text(letters[from..to].iter().collect::<String>())
            }
            _ => refused(format!("index out of range: {from}")),
        }
    };
    match (name, args) {
        ("contains", [Val::Text(part)]) => Ok(Val::Bool(text.contains(&**part))),
        ("startsWith", [Val::Text(part)]) => Ok(Val::Bool(text.starts_with(&**part))),
        ("endsWith", [Val::Text(part)]) => Ok(Val::Bool(text.ends_with(&**part))),
        ("matches", [Val::Text(pattern)]) => Ok(Val::Bool(regex(pattern)?.is_match(text))),
        ("find", [Val::Text(pattern)]) => ok_text(
            regex(pattern)?
                .find(text)
                .map_or("", |found| found.as_str()),
        ),
        ("findAll", [Val::Text(pattern), rest @ ..]) => {
            let limit = match rest {
                [Val::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            let pattern = regex(pattern)?;
            let found = pattern
                .find_iter(text)
                .take(limit)
                .map(|found| Val::text(found.as_str()));
            Ok(Val::list(found.collect()))
        }
        ("indexOf", [Val::Text(part), rest @ ..]) => {
            let from = match rest {
                [Val::Int(from)] => text
                    .char_indices()
                    .nth(usize::try_from(*from).unwrap_or(usize::MAX))
                    .map_or(text.len(), |(at, _)| at),
                _ => 0,
            };
            Ok(Val::Int(place(
                text,
                text[from..].find(&**part).map(|at| at + from),
            )))
        }
        ("lastIndexOf", [Val::Text(part)]) => Ok(Val::Int(place(text, text.rfind(&**part)))),
        ("charAt", [Val::Int(at)]) => {
            let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
            if *at == length {
                ok_text("")
            } else {
                cut(*at, at.saturating_add(1))
            }
        }
        ("substring", [Val::Int(from)]) => cut(
            *from,
            i64::try_from(text.chars().count()).unwrap_or(i64::MAX),
        ),
        ("substring", [Val::Int(from), Val::Int(to)]) => cut(*from, *to),
        ("lowerAscii", []) => ok_text(text.to_ascii_lowercase()),
        ("upperAscii", []) => ok_text(text.to_ascii_uppercase()),
        ("trim", []) => ok_text(text.trim()),
        ("reverse", []) => ok_text(text.chars().rev().collect::<String>()),
        ("replace", [Val::Text(old), Val::Text(new)]) => bounded(text.replace(&**old, new)),
        ("replace", [Val::Text(old), Val::Text(new), Val::Int(times)]) => {
            match usize::try_from(*times) {
                Ok(times) => bounded(text.replacen(&**old, new, times)),
                Err(_) => bounded(text.replace(&**old, new)),
            }
        }
        ("split", [Val::Text(separator), rest @ ..]) => {
            let limit = match rest {
                [Val::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            Ok(Val::list(split(text, separator, limit)))
        }
        ("format", [values]) => format(text, &values.elements().ok_or(EvalError::NoOverload)?),
        _ => Err(EvalError::NoOverload),
    }
}

/// Texts that grow beyond any request are refused.
fn bounded<'a>(text: String) -> Outcome<'a> {
    if text.len() > 8 << 20 {
        refused("the text is too long")
    } else {
        ok_text(text)
    }
}

fn split<'a>(text: &str, separator: &str, limit: usize) -> Vec<Val<'a>> {
    if limit == 0 {
        return Vec::new();
    }
    if separator.is_empty() {
        return text
            .chars()
            .map(|c| Val::text(c.to_string()))
            .take(limit)
            .collect();
    }
    text.splitn(limit, separator).map(Val::text).collect()
}

/// `'%s is %d'.format([a, b])`.
fn format<'a>(text: &str, values: &[Val<'a>]) -> Outcome<'a> {
    let mut out = String::new();
    let mut values = values.iter();
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut clause = letters.next();
        let mut precision = None;
        if clause == Some('.') {
            let digits: String = letters.clone().take_while(char::is_ascii_digit).collect();
            precision = digits
                .parse::<usize>()
                .ok()
                .filter(|precision| *precision <= 100);
            clause = letters.nth(digits.len());
        }
        if clause == Some('%') {
            out.push('%');
            continue;
        }
        let Some(value) = values.next() else {
            return refused("index 0 out of range");
        };
        match (clause, value) {
            (Some('s'), value) => out.push_str(&shown(value)),
            (Some('d'), Val::Int(_) | Val::Uint(_)) => out.push_str(&shown(value)),
            (Some('f'), Val::Double(number)) => {
                out.push_str(&format!("{number:.*}", precision.unwrap_or(6)))
            }
            (Some('e'), Val::Double(number)) => {
                out.push_str(&format!("{number:.*e}", precision.unwrap_or(6)))
            }
            (Some('b'), Val::Int(number)) => out.push_str(&format!("{number:b}")),
            (Some('x'), Val::Int(number)) => out.push_str(&format!("{number:x}")),
            (Some('X'), Val::Int(number)) => out.push_str(&format!("{number:X}")),
            (Some('o'), Val::Int(number)) => out.push_str(&format!("{number:o}")),
            _ => return refused("could not parse formatting clause"),
        }
    }
    bounded(out)
}

fn shown(value: &Val<'_>) -> String {
    if let Some(text) = text_of(value) {
        return text;
    }
    if let Some(elements) = value.elements() {
        let parts: Vec<String> = elements.iter().map(shown).collect();
        return format!("[{}]", parts.join(", "));
    }
    let entries = value.entries().unwrap_or_default();
    let parts: Vec<String> = entries
        .iter()
        .map(|(key, value)| format!("{}: {}", shown(key), shown(value)))
        .collect();
    format!("{{{}}}", parts.join(", "))
}

fn of_list<'a>(list: Vec<Val<'a>>, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    let ordered = |a: &Val<'a>, b: &Val<'a>| a.compare(b).ok_or(EvalError::NoOverload);
    match (name, args) {
        ("isSorted", []) => {
            for pair in list.windows(2) {
                if ordered(&pair[0], &pair[1])? == Ordering::Greater {
                    return Ok(Val::Bool(false));
                }
            }
            Ok(Val::Bool(true))
        }
        ("sum", []) => {
            let mut list = list.into_iter();
            let first = list.next().unwrap_or(Val::Int(0));
            list.try_fold(first, |sum, one| arithmetic(Operator::Add, &sum, &one))
        }
        ("min" | "max", []) => {
            let wanted = if name == "min" {
                Ordering::Less
            } else {
                Ordering::Greater
            };
            let mut list = list.into_iter();
            let Some(mut best) = list.next() else {
                return refused(format!("{name} called on empty list"));
            };
            for one in list {
                if ordered(&one, &best)? == wanted {
                    best = one;
                }
            }
            Ok(best)
        }
        ("indexOf", [value]) => Ok(Val::Int(at(list.iter().position(|one| one.same(value))))),
        ("lastIndexOf", [value]) => Ok(Val::Int(at(list.iter().rposition(|one| one.same(value))))),
        ("includes", [value]) => Ok(Val::Bool(list.iter().any(|one| one.same(value)))),
        ("join", separator) => {
            let separator = match separator {
                [Val::Text(separator)] => separator.to_string(),
                [] => String::new(),
                _ => return Err(EvalError::NoOverload),
            };
            let parts: Option<Vec<String>> = list.iter().map(text_of).collect();
            bounded(parts.ok_or(EvalError::NoOverload)?.join(&separator))
        }
        ("distinct", []) => {
            let mut kept: Vec<Val<'a>> = Vec::new();
            for one in list {
                if !kept.iter().any(|own| own.same(&one)) {
                    kept.push(one);
                }
            }
            Ok(Val::list(kept))
        }
        ("reverse", []) => Ok(Val::list(list.into_iter().rev().collect())),
        ("sort", []) => {
            for pair in list.windows(2) {
                ordered(&pair[0], &pair[1])?;
            }
            let mut list = list;
            list.sort_by(|a, b| a.compare(b).unwrap_or(Ordering::Equal));
            Ok(Val::list(list))
        }
        ("flatten", []) => {
            let flat = list
                .into_iter()
                .flat_map(|one| one.elements().unwrap_or_else(|| vec![one]));
            Ok(Val::list(flat.collect()))
        }
        ("slice", [Val::Int(from), Val::Int(to)]) => {
            let bound = |at: i64| usize::try_from(at).ok().filter(|at| *at <= list.len());
            match (bound(*from), bound(*to)) {
                (Some(from), Some(to)) if from <= to => Ok(Val::list(list[from..to].to_vec())),
                _ => refused(format!(
                    "cannot slice({from}, {to}), list is length {}",
                    list.len()
                )),
            }
        }
        _ => Err(EvalError::NoOverload),
    }
}

fn at(found: Option<usize>) -> i64 {
    found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1)
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

fn of_address<'a>(address: std::net::IpAddr, name: &str) -> Outcome<'a> {
    use std::net::IpAddr;
    let local = match address {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.segments()[0] & 0xffc0 == 0xfe80,
    };
    let local_multicast = match address {
        IpAddr::V4(four) => four.octets()[..3] == [224, 0, 0],
        IpAddr::V6(six) => six.segments()[0] & 0xff0f == 0xff02,
    };
    let broadcast = matches!(address, IpAddr::V4(four) if four.is_broadcast());
    Ok(match name {
        "family" => Val::Int(if address.is_ipv4() { 4 } else { 6 }),
        "isUnspecified" => Val::Bool(address.is_unspecified()),
        "isLoopback" => Val::Bool(address.is_loopback()),
        "isLinkLocalMulticast" => Val::Bool(local_multicast),
        "isLinkLocalUnicast" => Val::Bool(local),
        "isGlobalUnicast" => {
            let special =
                address.is_unspecified() || address.is_loopback() || address.is_multicast();
            Val::Bool(!special && !local && !broadcast)
        }
        _ => return Err(EvalError::NoOverload),
    })
}

fn of_network<'a>(target: &Val<'a>, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    let Val::Network(network) = target else {
        return Err(EvalError::NoOverload);
    };
    let bad = || {
        EvalError::Refused("network address parse error during conversion from string".to_owned())
    };
    match (name, args) {
        ("containsIP", [Val::Address(address)]) => Ok(Val::Bool(network.contains(*address))),
        ("containsIP", [Val::Text(text)]) => Ok(Val::Bool(
            network.contains(parse_address(text).ok_or_else(bad)?),
        )),
        ("containsCIDR", [Val::Network(other)]) => Ok(Val::Bool(network.contains_network(other))),
        ("containsCIDR", [Val::Text(text)]) => Ok(Val::Bool(
            network.contains_network(&parse_network(text).ok_or_else(bad)?),
        )),
        ("ip", []) => Ok(Val::Address(network.address)),
        ("masked", []) => Ok(Val::Network(network.masked())),
        ("prefixLength", []) => Ok(Val::Int(network.bits.into())),
        _ => Err(EvalError::NoOverload),
    }
}

/// An absolute URL or path, as `url.ParseRequestURI` takes it.
fn parse_url(text: &str) -> Option<Url> {
    if text.is_empty() || text.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return None;
    }
    let (rest, query) = text.split_once('?').unwrap_or((text, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let query = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(k, v)| (k.to_owned(), v.to_owned()));
    let mut url = Url {
        query: query.collect(),
        ..Url::default()
    };
    if rest.starts_with('/') {
        rest.clone_into(&mut url.path);
        return Some(url);
    }
    let (scheme, rest) = rest.split_once(':')?;
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(letter) {
        return None;
    }
    scheme.to_ascii_lowercase().clone_into(&mut url.scheme);
    let Some(rest) = rest.strip_prefix("//") else {
        return Some(url);
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let port = match host.rsplit_once(':') {
        Some((_, port)) if !host.ends_with(']') => port,
        _ => "",
    };
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    host.clone_into(&mut url.host);
    path.clone_into(&mut url.path);
    Some(url)
}

fn of_url<'a>(url: &Url, name: &str) -> Outcome<'a> {
    let (host, port) = match url.host.rsplit_once(':') {
        Some((host, port)) if !url.host.ends_with(']') => (host, port),
        _ => (url.host.as_str(), ""),
    };
    ok_text(match name {
        "getScheme" => url.scheme.as_str(),
        "getHost" => url.host.as_str(),
        "getHostname" => host.trim_start_matches('[').trim_end_matches(']'),
        "getPort" => port,
        "getEscapedPath" => url.path.as_str(),
        "getQuery" => {
            let mut entries: Vec<(Val<'a>, Vec<Val<'a>>)> = Vec::new();
            for (key, value) in &url.query {
                let key = Val::text(key.as_str());
                match entries.iter_mut().find(|(own, _)| own.same(&key)) {
                    Some((_, values)) => values.push(Val::text(value.as_str())),
                    None => entries.push((key, vec![Val::text(value.as_str())])),
                }
            }
            let entries = entries
                .into_iter()
                .map(|(key, values)| (key, Val::list(values)));
            return Ok(Val::Map(Arc::new(entries.collect())));
        }
        _ => return Err(EvalError::NoOverload),
    })
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
