//! The grammars of names: DNS labels and subdomains, path segments, label keys and values.
//!
//! Each check returns every problem in upstream's words; an empty list means the text is fine.

/// Longest DNS-1123 or RFC 1035 label, in bytes.
pub const MAX_LABEL: usize = 63;
/// Longest DNS-1123 subdomain, in bytes.
pub const MAX_SUBDOMAIN: usize = 253;

const LABEL_1123: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED_NAME: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

/// Upstream's text for a text that does not match: with examples and the expression.
fn mismatch(text: &str, pattern: &str, examples: &[&str]) -> String {
    let mut problem = format!("{text} (e.g. ");
    for (i, example) in examples.iter().enumerate() {
        if i > 0 {
            problem.push_str(" or ");
        }
        problem.push_str(&format!("'{example}', "));
    }
    problem.push_str(&format!("regex used for validation is '{pattern}')"));
    problem
}

fn is_label(text: &str, first_may_be_digit: bool) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (first.is_ascii_lowercase() || (first_may_be_digit && first.is_ascii_digit()))
        && edge(*last)
        && bytes.iter().all(|&byte| edge(byte) || byte == b'-')
}

/// A DNS-1123 label: lower-case letters, digits and `-`, at most 63 bytes.
#[must_use]
pub fn dns_label_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > MAX_LABEL {
        problems.push(too_long(MAX_LABEL));
    }
    if !is_label(text, true) {
        if text.split('.').all(|part| is_label(part, true)) {
            problems.push("must not contain dots".into());
        } else {
            problems.push(mismatch(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                LABEL_1123,
                &["my-name", "123-abc"],
            ));
        }
    }
    problems
}

/// A DNS-1123 subdomain: labels joined by dots, at most 253 bytes.
#[must_use]
pub fn dns_subdomain_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > MAX_SUBDOMAIN {
        problems.push(too_long(MAX_SUBDOMAIN));
    }
    if !text.split('.').all(|part| is_label(part, true)) {
        problems.push(mismatch(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            &format!("{LABEL_1123}(\\.{LABEL_1123})*"),
            &["example.com"],
        ));
    }
    problems
}

/// An RFC 1035 label, as Services are named: like a DNS-1123 label, but it starts with a letter.
#[must_use]
pub fn rfc1035_label_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > MAX_LABEL {
        problems.push(too_long(MAX_LABEL));
    }
    if !is_label(text, false) {
        problems.push(mismatch(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            LABEL_1035,
            &["my-name", "abc-123"],
        ));
    }
    problems
}

/// A name that only has to fit in a URL path, as RBAC objects have.
#[must_use]
pub fn path_segment_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text == "." || text == ".." {
        problems.push(format!("may not be '{text}'"));
    }
    problems.extend(
        ["/", "%"]
            .iter()
            .filter(|c| text.contains(**c))
            .map(|c| format!("may not contain '{c}'")),
    );
    problems
}

/// A qualified name, as label and annotation keys are: `[prefix/]name`.
#[must_use]
pub fn qualified_name_problems(text: &str) -> Vec<String> {
    let (prefix, name) = match text.split('/').collect::<Vec<_>>().as_slice() {
        [name] => (None, *name),
        [prefix, name] => (Some(*prefix), *name),
        _ => {
            let examples = &["MyName", "my.name", "123-abc"];
            let problem = mismatch(
                "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                QUALIFIED_NAME,
                examples,
            );
            return vec![format!(
                "{problem} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    let mut problems = Vec::new();
    match prefix {
        Some("") => problems.push("prefix part must be non-empty".into()),
        Some(prefix) => {
            problems.extend(
                dns_subdomain_problems(prefix)
                    .into_iter()
                    .map(|p| format!("prefix part {p}")),
            );
        }
        None => {}
    }
    if name.is_empty() {
        problems.push("name part must be non-empty".into());
    } else if name.len() > MAX_LABEL {
        problems.push(format!("name part {}", too_long(MAX_LABEL)));
    }
    if !is_qualified(name) {
        let problem = mismatch(
            "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            QUALIFIED_NAME,
            &["MyName", "my.name", "123-abc"],
        );
        problems.push(format!("name part {problem}"));
    }
    problems
}

fn is_qualified(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A label key: a qualified name.
#[must_use]
pub fn label_key_problems(text: &str) -> Vec<String> {
    qualified_name_problems(text)
}

/// A label value: empty, or at most 63 bytes of letters, digits, `-`, `_` and `.`.
#[must_use]
pub fn label_value_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > MAX_LABEL {
        problems.push(too_long(MAX_LABEL));
    }
    if !text.is_empty() && !is_qualified(text) {
        problems.push(mismatch(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    problems
}

/// A key of a ConfigMap or Secret: letters, digits, `-`, `_` and `.`, at most 253 bytes.
#[must_use]
pub fn config_key_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > MAX_SUBDOMAIN {
        problems.push(too_long(MAX_SUBDOMAIN));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.is_empty() || !text.bytes().all(allowed) {
        problems.push(mismatch(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    if text == "." || text == ".." {
        problems.push(format!("must not be '{text}'"));
    } else if text.starts_with("..") {
        problems.push("must not start with '..'".into());
    }
    problems
}

/// A name of a container port or service port: lower-case letters, digits and `-`.
#[must_use]
pub fn port_name_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > 15 {
        problems.push(too_long(15));
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        problems
            .push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        problems.push("must contain at least one letter (a-z)".into());
    }
    if text.contains("--") {
        problems.push("must not contain consecutive hyphens".into());
    }
    if text.starts_with('-') || text.ends_with('-') {
        problems.push("must not begin or end with a hyphen".into());
    }
    problems
}

#[cfg(test)]
mod tests;
