//! JSONPath templates as kubectl and kubeadm take them with `-o jsonpath=…`.
//!
//! Fields, wildcards, indices, slices, unions, `..`, filters with one comparison, quoted texts, and `range … end`.
//! Filters that are joined by `&&` or `||` are refused, as they are upstream. It refuses to know what is printed.

use super::template::{order, quoted, same, shown};
use serde_json::Value;

const MAX_DEPTH: usize = 32;
const MAX_FOUND: usize = 100_000;

/// A template that was read.
#[derive(Debug)]
pub(super) struct Program {
    parts: Vec<Part>,
    forgiving: bool,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Path(Vec<Step>),
    Range(Vec<Step>, Vec<Self>),
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Root,
    Field(String),
    Wildcard,
    Deep(Option<String>),
    Slice(Option<i64>, Option<i64>, i64),
    Index(Vec<i64>),
    Names(Vec<String>),
    Filter(Side, Option<(String, Side)>),
}

#[derive(Clone, Debug, PartialEq)]
enum Side {
    Path(Vec<Step>),
    Literal(Value),
}

impl Program {
    /// Reads a template; a forgiving one finds nothing where there is nothing.
    pub(super) fn parse(text: &str, forgiving: bool) -> Result<Self, String> {
        // A bare path is a template of its own.
        let whole = if text.contains('{') {
            text.to_owned()
        } else {
            format!("{{{text}}}")
        };
        let mut rest = whole.as_str();
        let parts = parts(&mut rest, false, 0)?;
        Ok(Self { parts, forgiving })
    }

    /// Carries it out.
    pub(super) fn run(&self, data: &Value) -> Result<String, String> {
        let mut out = String::new();
        self.print(&self.parts, data, data, &mut out)?;
        Ok(out)
    }

    /// The values that its first path finds.
    pub(super) fn find(&self, data: &Value) -> Result<Vec<Value>, String> {
        let mut found = Vec::new();
        for part in &self.parts {
            if let Part::Path(path) = part {
                found.extend(self.walk(path, data, data)?);
            }
        }
        Ok(found)
    }

    fn print(
        &self,
        parts: &[Part],
        root: &Value,
        current: &Value,
        out: &mut String,
    ) -> Result<(), String> {
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Path(path) => {
                    let found = self.walk(path, root, current)?;
                    let texts: Vec<String> = found.iter().map(as_text).collect();
                    out.push_str(&texts.join(" "));
                }
                Part::Range(path, body) => {
                    for item in self.walk(path, root, current)? {
                        self.print(body, root, &item, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn walk(&self, path: &[Step], root: &Value, current: &Value) -> Result<Vec<Value>, String> {
        let mut values = vec![current.clone()];
        for step in path {
            let mut next = Vec::new();
            for value in &values {
                self.step(step, root, value, &mut next)?;
                if next.len() > MAX_FOUND {
                    return Err("too many results".into());
                }
            }
            values = next;
        }
        Ok(values)
    }

    fn step(
        &self,
        step: &Step,
        root: &Value,
        value: &Value,
        found: &mut Vec<Value>,
    ) -> Result<(), String> {
        match step {
            Step::Root => found.push(root.clone()),
            Step::Field(name) => match value.get(name) {
                Some(value) => found.push(value.clone()),
                None if self.forgiving => {}
                None => return Err(format!("{name} is not found")),
            },
            Step::Names(names) => {
                found.extend(names.iter().filter_map(|name| value.get(name)).cloned())
            }
            Step::Wildcard => found.extend(children(value)),
            Step::Deep(name) => deep(value, name.as_deref(), found),
            Step::Index(indices) => {
                let items = list(value, self.forgiving)?;
                for &index in indices {
                    let at = if index < 0 {
                        index + length(items)
                    } else {
                        index
                    };
                    match usize::try_from(at).ok().and_then(|at| items.get(at)) {
                        Some(item) => found.push(item.clone()),
                        None if self.forgiving => {}
                        None => {
                            return Err(format!(
                                "array index out of bounds: index {index}, length {}",
                                items.len()
                            ));
                        }
                    }
                }
            }
            Step::Slice(start, end, every) => {
                let items = list(value, self.forgiving)?;
                let length = length(items);
                let place = |at: i64| if at < 0 { at + length } else { at }.clamp(0, length);
                let (start, end) = (place(start.unwrap_or(0)), place(end.unwrap_or(length)));
                let every = usize::try_from(*every).unwrap_or(1).max(1);
                for at in (start..end).step_by(every) {
                    found.extend(
                        usize::try_from(at)
                            .ok()
                            .and_then(|at| items.get(at))
                            .cloned(),
                    );
                }
            }
            Step::Filter(left, comparison) => {
                for item in children(value) {
                    if self.passes(&item, left, comparison.as_ref(), root)? {
                        found.push(item);
                    }
                }
            }
        }
        Ok(())
    }

    fn passes(
        &self,
        item: &Value,
        left: &Side,
        comparison: Option<&(String, Side)>,
        root: &Value,
    ) -> Result<bool, String> {
        let side = |side: &Side| -> Result<Option<Value>, String> {
            match side {
                Side::Literal(value) => Ok(Some(value.clone())),
                Side::Path(path) => {
                    let forgiving = Self {
                        parts: Vec::new(),
                        forgiving: true,
                    };
                    Ok(forgiving.walk(path, root, item)?.into_iter().next())
                }
            }
        };
        let one = side(left)?;
        let Some((operator, right)) = comparison else {
            return Ok(one.is_some());
        };
        let other = side(right)?;
        if one.is_none() {
            return Ok(false);
        }
        let ordered = order(one.as_ref(), other.as_ref());
        Ok(match operator.as_str() {
            "==" => same(one.as_ref(), other.as_ref()),
            "!=" => !same(one.as_ref(), other.as_ref()),
            "<" => ordered.is_some_and(std::cmp::Ordering::is_lt),
            "<=" => ordered.is_some_and(std::cmp::Ordering::is_le),
            ">" => ordered.is_some_and(std::cmp::Ordering::is_gt),
            _ => ordered.is_some_and(std::cmp::Ordering::is_ge),
        })
    }
}

fn as_text(value: &Value) -> String {
    match value {
        Value::Object(_) | Value::Array(_) => value.to_string(),
        Value::Null => String::new(),
        other => shown(Some(other)),
    }
}

fn children(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.clone(),
        Value::Object(map) => map.values().cloned().collect(),
        _ => Vec::new(),
    }
}

fn list(value: &Value, forgiving: bool) -> Result<&[Value], String> {
    match value {
        Value::Array(items) => Ok(items),
        _ if forgiving => Ok(&[]),
        _ => Err("a value that is no array has no index".into()),
    }
}

fn length(items: &[Value]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}

fn deep(value: &Value, name: Option<&str>, found: &mut Vec<Value>) {
    match name {
        Some(name) => found.extend(value.get(name).cloned()),
        None => found.push(value.clone()),
    }
    for child in children(value) {
        if found.len() <= MAX_FOUND {
            deep(&child, name, found);
        }
    }
}

fn parts(rest: &mut &str, inside: bool, depth: usize) -> Result<Vec<Part>, String> {
    if depth > MAX_DEPTH {
        return Err("nested too deeply".into());
    }
    let mut found = Vec::new();
    while let Some((plain, after)) = rest.split_once('{') {
        if !plain.is_empty() {
            found.push(Part::Text(plain.to_owned()));
        }
        let end = closing(after).ok_or("unclosed action")?;
        let action = after[..end].trim();
        *rest = &after[end + 1..];
        if action == "end" {
            if inside {
                return Ok(found);
            }
            return Err("not in range, nothing to end".into());
        }
        if let Some(path) = action.strip_prefix("range ") {
            let path = steps(path.trim(), depth)?;
            found.push(Part::Range(path, parts(rest, true, depth + 1)?));
        } else if action.starts_with(['"', '\'']) {
            found.push(Part::Text(quoted(&mut action.chars())?));
        } else {
            found.push(Part::Path(steps(action, depth)?));
        }
    }
    if inside {
        return Err("unexpected end of template: {end} is missing".into());
    }
    if !rest.is_empty() {
        found.push(Part::Text((*rest).to_owned()));
        *rest = "";
    }
    Ok(found)
}

/// Where an action ends; braces in quoted texts do not count.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '}' => return Some(at),
            None => {}
        }
    }
    None
}

fn steps(text: &str, depth: usize) -> Result<Vec<Step>, String> {
    if depth > MAX_DEPTH {
        return Err("nested too deeply".into());
    }
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('$') {
            found.push(Step::Root);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('@') {
            rest = after;
        } else if let Some(after) = rest.strip_prefix("..") {
            let (name, after) = name(after);
            let wanted = match name.as_str() {
                "" | "*" => None,
                _ => Some(name),
            };
            found.push(Step::Deep(wanted));
            rest = after;
        } else if rest.starts_with('[') {
            let end = bracket(rest).ok_or("unterminated array")?;
            found.push(inside(rest[1..end].trim(), depth)?);
            rest = &rest[end + 1..];
        } else {
            let after = rest.strip_prefix('.').unwrap_or(rest);
            let (name, after) = name(after);
            match name.as_str() {
                "*" => found.push(Step::Wildcard),
                "" if after.starts_with('[') || after.is_empty() => {}
                "" => return Err(format!("unrecognized character in action: {after:?}")),
                _ => found.push(Step::Field(name)),
            }
            rest = after;
        }
    }
    Ok(found)
}

/// A field's name; a backslash takes the next character as it is.
fn name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => name.extend(characters.next().map(|(_, c)| c)),
            '.' | '[' | ' ' | ')' | '=' | '!' | '<' | '>' | '&' | '|' => {
                return (name, &text[at..]);
            }
            c => name.push(c),
        }
    }
    (name, "")
}

fn bracket(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn inside(text: &str, depth: usize) -> Result<Step, String> {
    if text == "*" {
        return Ok(Step::Wildcard);
    }
    if let Some(filter) = text
        .strip_prefix("?(")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        return filtered(filter.trim(), depth);
    }
    if text.starts_with(['"', '\'']) {
        let names: Result<Vec<String>, String> = text
            .split(',')
            .map(|name| quoted(&mut name.trim().chars()))
            .collect();
        return names.map(Step::Names);
    }
    let number = |text: &str| -> Result<Option<i64>, String> {
        match text.trim() {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| format!("invalid array index {text}")),
        }
    };
    let colons: Vec<&str> = text.split(':').collect();
    match colons.as_slice() {
        [start, end] => Ok(Step::Slice(number(start)?, number(end)?, 1)),
        [start, end, every] => Ok(Step::Slice(
            number(start)?,
            number(end)?,
            number(every)?.unwrap_or(1),
        )),
        _ => {
            let indices: Result<Vec<i64>, String> = text
                .split(',')
                .map(|index| number(index)?.ok_or_else(|| "empty array index".to_owned()))
                .collect();
            indices.map(Step::Index)
        }
    }
}

fn filtered(text: &str, depth: usize) -> Result<Step, String> {
    if text.contains("&&") || text.contains("||") {
        return Err("filters with && or || are not provided".into());
    }
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '=' | '!' | '<' | '>') => {
                let rest = &text[at..];
                let operator = ["==", "!=", "<=", ">=", "<", ">"]
                    .into_iter()
                    .find(|op| rest.starts_with(op));
                let operator = operator.ok_or("unrecognized filter operator")?;
                let right = side(rest[operator.len()..].trim(), depth)?;
                return Ok(Step::Filter(
                    side(text[..at].trim(), depth)?,
                    Some((operator.to_owned(), right)),
                ));
            }
            _ => {}
        }
    }
    Ok(Step::Filter(side(text, depth)?, None))
}

fn side(text: &str, depth: usize) -> Result<Side, String> {
    if text.starts_with(['@', '$', '.']) {
        return steps(text, depth + 1).map(Side::Path);
    }
    if text.starts_with(['"', '\'']) {
        return quoted(&mut text.chars()).map(|text| Side::Literal(Value::from(text)));
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Side::Literal(value)),
        _ => Err(format!("unrecognized filter {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(template: &str) -> Result<String, String> {
        let data = json!({
            "token": "a.b",
            "usages": ["signing", "authentication", "x"],
            "items": [{"name": "n1", "n": 1, "m.x": "dot"}, {"name": "n2", "n": 2}],
        });
        Program::parse(template, true)?.run(&data)
    }

    #[test]
    fn paths_find_what_kubectl_finds() {
        for (template, text) in [
            ("{.token}", "a.b"),
            (".token", "a.b"),
            ("{.items[*].name}", "n1 n2"),
            (
                "{range .items[*]}{.name}={.n}{\"\\n\"}{end}",
                "n1=1\nn2=2\n",
            ),
            ("{.usages[0]}", "signing"),
            ("{.usages[-1:]}", "x"),
            ("{.usages[0:2]}", "signing authentication"),
            ("{.items[?(@.n==2)].name}", "n2"),
            ("{.items[?(@.name=='n1')].n}", "1"),
            ("{.items[?(@.n>1)].name}", "n2"),
            ("{..name}", "n1 n2"),
            ("{.items[0]['name','n']}", "n1 1"),
            ("{.items[0].m\\.x}", "dot"),
            ("{.none}", ""),
            ("a{.token}b{'q'}", "aa.bbq"),
            ("{$.token}", "a.b"),
            ("{.items[0]}", "{\"m.x\":\"dot\",\"n\":1,\"name\":\"n1\"}"),
        ] {
            assert_eq!(run(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for template in [
            "{.a",
            "{range .a}",
            "{end}",
            "{.a[}",
            "{.a[x]}",
            "{.a[?(@.b==1 && @.c==2)]}",
            "{.a[?(@.b=1)]}",
        ] {
            assert!(run(template).is_err(), "{template}");
        }
        let strict = Program::parse("{.none}", false).unwrap();
        assert_eq!(strict.run(&json!({})).unwrap_err(), "none is not found");
    }
}
