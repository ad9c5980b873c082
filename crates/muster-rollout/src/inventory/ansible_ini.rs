//! Ansible's inventory as INI: `[group]`, `[group:children]`, `[group:vars]`, one host per line.
//!
//! It refuses to know what the variables mean.

use super::ansible::{Model, Var, Vars, fault};
use super::{Format, Inventory, ansible_settings};
use crate::document::{FileError, Position, nearest};

/// The largest inventory that is read.
const MAX_BYTES: usize = 64 << 20;

/// What the lines of a section are.
enum Section {
    Hosts(String),
    Children(String),
    Vars(String),
}

/// Reads an inventory.
pub(super) fn read(text: &str) -> Result<Inventory, FileError> {
    if text.len() > MAX_BYTES {
        return Err(FileError::TooLarge {
            bytes: text.len(),
            limit: MAX_BYTES,
        });
    }
    let mut model = Model::default();
    let mut section = Section::Hosts("ungrouped".to_owned());
    for (index, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let position = Position {
            line: u32::try_from(index + 1).unwrap_or(u32::MAX),
            column: u32::try_from(indent + 1).unwrap_or(u32::MAX),
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = section_header(line) {
            section = read_section(header, position)?;
            let (Section::Hosts(group) | Section::Children(group) | Section::Vars(group)) =
                &section;
            model.group(group, position)?;
            continue;
        }
        match &section {
            Section::Hosts(group) => read_host(&mut model, group, line, position)?,
            Section::Children(group) => {
                let child = line.split([' ', '\t', '#']).next().unwrap_or_default();
                model.child(group, child, position)?;
            }
            Section::Vars(group) => {
                let (name, value) = assignment(line, position)?;
                let value = unquoted(without_comment(value));
                model.group_var(group, name, Var { position, value })?;
            }
        }
    }
    ansible_settings::inventory(model, Format::AnsibleIni)
}

/// `[…]`, maybe with a comment behind. A host's range does not begin a line with a bracket and end it so.
fn section_header(line: &str) -> Option<&str> {
    let inner = line.strip_prefix('[')?;
    let (header, after) = inner.split_once(']')?;
    let after = after.trim_start();
    (after.is_empty() || after.starts_with(['#', ';'])).then(|| header.trim())
}

fn read_section(header: &str, position: Position) -> Result<Section, FileError> {
    let (group, kind) = match header.split_once(':') {
        None => (header, None),
        Some((group, kind)) => (group, Some(kind)),
    };
    if group.is_empty() || group.contains(char::is_whitespace) {
        return Err(fault(
            position,
            header,
            "a group's name is a word",
            "write [NAME], [NAME:children] or [NAME:vars]",
        ));
    }
    let group = group.to_owned();
    match kind {
        None | Some("hosts") => Ok(Section::Hosts(group)),
        Some("children") => Ok(Section::Children(group)),
        Some("vars") => Ok(Section::Vars(group)),
        Some(other) => {
            let cure = match nearest(other, &["children", "vars", "hosts"]) {
                Some(near) => format!("did you mean [{group}:{near}]?"),
                None => format!("write [{group}], [{group}:children] or [{group}:vars]"),
            };
            Err(fault(
                position,
                header,
                format!("a section of a group is not called {other}"),
                cure,
            ))
        }
    }
}

fn read_host(
    model: &mut Model,
    group: &str,
    line: &str,
    position: Position,
) -> Result<(), FileError> {
    if line.starts_with('[') && !line.contains(']') {
        let what = "a section begins here and does not end";
        return Err(fault(position, line, what, "write ] behind its name"));
    }
    let mut words = words(line, position)?.into_iter();
    let Some(host) = words.next() else {
        return Ok(());
    };
    let mut vars = Vars::new();
    for word in words {
        let (name, value) = assignment(&word, position)?;
        let value = value.to_owned();
        vars.insert(name.to_owned(), Var { position, value });
    }
    let (names, port) = host_and_port(&host);
    if let Some(port) = port {
        let value = port.to_owned();
        vars.entry("ansible_port".to_owned())
            .or_insert(Var { position, value });
    }
    model.hosts(group, names, position, &vars)
}

/// `host:22`. A colon in brackets is a range's, and IPv6 has several.
fn host_and_port(host: &str) -> (&str, Option<&str>) {
    let mut depth = 0_usize;
    let mut colons = 0;
    for letter in host.chars() {
        match letter {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => colons += 1,
            _ => {}
        }
    }
    match host.rsplit_once(':') {
        Some((names, port)) if colons == 1 && !port.contains(']') => (names, Some(port)),
        _ => (host, None),
    }
}

fn assignment(text: &str, position: Position) -> Result<(&str, &str), FileError> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim(), value.trim())),
        _ => {
            // Not repeated in full: behind a forgotten name could stand a password.
            let field: String = text.chars().take(24).collect();
            Err(fault(
                position,
                &field,
                "this is no variable",
                "write NAME=VALUE, with quotes around a value that has spaces",
            ))
        }
    }
}

fn without_comment(value: &str) -> &str {
    if value.starts_with(['"', '\'']) {
        return value;
    }
    value.split(" #").next().unwrap_or(value).trim()
}

fn unquoted(value: &str) -> String {
    for quote in ['"', '\''] {
        let inner = value
            .strip_prefix(quote)
            .and_then(|value| value.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner.to_owned();
        }
    }
    value.to_owned()
}

/// The words of a line as a shell takes them: quotes hold together, `#` before a word begins a comment.
fn words(line: &str, position: Position) -> Result<Vec<String>, FileError> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut begun = false;
    let mut quote: Option<char> = None;
    for letter in line.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => word.push(letter),
            None if letter == '"' || letter == '\'' => {
                quote = Some(letter);
                begun = true;
            }
            None if letter.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                    begun = false;
                }
            }
            None if letter == '#' && !begun => break,
            None => {
                word.push(letter);
                begun = true;
            }
        }
    }
    if quote.is_some() {
        return Err(fault(
            position,
            "",
            "a quote is opened and not closed",
            "close it on the same line",
        ));
    }
    if begun {
        words.push(word);
    }
    Ok(words)
}
