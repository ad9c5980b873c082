//! YAML as Kubernetes' tools write it: sorted keys, block style, lists not indented below their key.
//!
//! The bytes are those of `sigs.k8s.io/yaml`, so that files can be compared. It refuses to know kinds.

use serde_json::Value;

/// Writes a value, with a newline at its end.
pub fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => write_map(map, 0, &mut text),
        Value::Array(list) if !list.is_empty() => write_list(list, 0, &mut text),
        other => {
            text.push_str(&scalar(other, 0));
            text.push('\n');
        }
    }
    text
}

fn write_map(map: &serde_json::Map<String, Value>, depth: usize, text: &mut String) {
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort();
    for (number, key) in keys.into_iter().enumerate() {
        // The first key of a map in a list stands behind the dash.
        if number > 0 || !text.ends_with("- ") {
            text.push_str(&" ".repeat(depth));
        }
        text.push_str(&string(key, depth));
        text.push(':');
        write_value(&map[key], depth, text);
    }
}

fn write_value(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            text.push('\n');
            write_map(map, depth + 2, text);
        }
        Value::Array(list) if !list.is_empty() => {
            text.push('\n');
            write_list(list, depth, text);
        }
        other => {
            text.push(' ');
            text.push_str(&scalar(other, depth + 2));
            text.push('\n');
        }
    }
}

fn write_list(list: &[Value], depth: usize, text: &mut String) {
    for item in list {
        if !text.ends_with("- ") {
            text.push_str(&" ".repeat(depth));
        }
        text.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => write_map(map, depth + 2, text),
            Value::Array(inner) if !inner.is_empty() => write_list(inner, depth + 2, text),
            other => {
                text.push_str(&scalar(other, depth + 2));
                text.push('\n');
            }
        }
    }
}

fn scalar(value: &Value, depth: usize) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Object(_) => "{}".into(),
        Value::Array(_) => "[]".into(),
        Value::String(text) => string(text, depth),
        other => other.to_string(),
    }
}

fn string(text: &str, depth: usize) -> String {
    if text.contains('\n') && is_printable(text) {
        return block(text, depth);
    }
    if !is_printable(text) || text.contains('\t') {
        return serde_json::to_string(text).unwrap_or_default();
    }
    if means_something_else(text) {
        return serde_json::to_string(text).unwrap_or_default();
    }
    if is_plain(text) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

fn is_printable(text: &str) -> bool {
    text.chars()
        .all(|c| !c.is_control() || c == '\n' || c == '\t')
}

/// Text in literal style, as long texts in ConfigMaps are written.
fn block(text: &str, depth: usize) -> String {
    let mut out = String::from("|");
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    if !text.ends_with('\n') {
        out.push('-');
    } else if text.ends_with("\n\n") || text == "\n" {
        out.push('+');
    }
    let indent = " ".repeat(depth.max(2));
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&indent);
            out.push_str(line);
        }
    }
    out
}

/// Whether a reader would take the plain text for something that is no text: quoted twice.
fn means_something_else(text: &str) -> bool {
    const WORDS: [&str; 22] = [
        "", "~", "null", "Null", "NULL", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N",
        "no", "No", "NO", "off", "Off", "OFF", "<<",
    ];
    if WORDS.contains(&text) || ["true", "false"].contains(&text.to_ascii_lowercase().as_str()) {
        return true;
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        let plain = digits.replace('_', "");
        let based = plain
            .strip_prefix("0x")
            .is_some_and(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()))
            || plain
                .strip_prefix("0b")
                .is_some_and(|b| b.chars().all(|c| "01".contains(c)))
            || plain
                .strip_prefix("0o")
                .is_some_and(|o| o.chars().all(|c| ('0'..='7').contains(&c)));
        return based
            || plain.parse::<f64>().is_ok()
            || [".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"].contains(&digits)
            || is_date(digits)
            || is_sexagesimal(digits);
    }
    false
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 10
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && bytes[5..7].iter().all(u8::is_ascii_digit)
        && bytes[7] == b'-'
        && bytes[8..10].iter().all(u8::is_ascii_digit)
        && (bytes.len() == 10 || matches!(bytes[10], b'T' | b't' | b' '))
}

/// YAML 1.1's numbers to base 60, as Go's writer looks for them: `^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$`.
fn is_sexagesimal(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let sixtieth = |part: &str| match part.as_bytes() {
        [one] => one.is_ascii_digit(),
        [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
        _ => false,
    };
    whole.contains(':')
        && first.starts_with(|c: char| c.is_ascii_digit())
        && digits(first)
        && parts.all(sixtieth)
        && digits(fraction)
}

fn is_plain(text: &str) -> bool {
    let first = text.chars().next().unwrap_or(' ');
    if "!&*-?:[]{},#|>@`\"'% ".contains(first) {
        // A dash may begin a plain text when something follows it.
        let dash = matches!(first, '-' | '?' | ':')
            && text.chars().nth(1).is_some_and(|second| second != ' ');
        if !dash {
            return false;
        }
    }
    if text.starts_with("---") || text.starts_with("...") {
        return false;
    }
    !(text.ends_with(' ') || text.ends_with(':') || text.contains(": ") || text.contains(" #"))
}
