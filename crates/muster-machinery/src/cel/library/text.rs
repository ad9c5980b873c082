//! Functions of texts.
//!
//! Places count letters, not bytes.

use std::borrow::Cow;

use super::super::eval::{EvalError, Outcome};
use super::super::value::Val;
use super::{ok_text, refused, regex, text_of};

fn place(text: &str, found: Option<usize>) -> i64 {
    found.map_or(-1, |at| {
        i64::try_from(text[..at].chars().count()).unwrap_or(i64::MAX)
    })
}

pub(super) fn of_text<'a>(text: &Cow<'a, str>, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
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
pub(super) fn bounded<'a>(text: String) -> Outcome<'a> {
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
