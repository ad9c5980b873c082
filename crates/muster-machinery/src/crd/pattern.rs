//! Go's regular expressions in the words of the `regex` crate, which takes linear time as well.
//!
//! The two agree on nearly everything; where they do not (ASCII classes, braces and brackets that stand for themselves,
//! `\Q`), the text is rewritten.

use regex::{Regex, RegexBuilder};

/// The most memory that a compiled pattern may take, in bytes.
const MAX_COMPILED: usize = 4 << 20;

/// Compiles a pattern of Go's `regexp`.
///
/// # Errors
/// In one line, what is wrong with it.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(&translate(pattern))
        .size_limit(MAX_COMPILED)
        .nest_limit(200)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                "error parsing regexp: expression too large".to_owned()
            }
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default();
                format!(
                    "error parsing regexp: {}",
                    last.trim_start_matches("error: ")
                )
            }
        })
}

fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let chars: Vec<char> = pattern.chars().collect();
    let mut at = 0;
    let mut in_class = false;
    while let Some(&c) = chars.get(at) {
        at += 1;
        match c {
            '\\' => at += escape(&chars[at..], in_class, &mut out),
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if chars.get(at) == Some(&'^') {
                    out.push('^');
                    at += 1;
                }
                // A bracket that closes at once stands for itself.
                if chars.get(at) == Some(&']') {
                    out.push_str("\\]");
                    at += 1;
                }
            }
            '[' if chars.get(at) == Some(&':') => out.push('['),
            ':' if in_class && chars.get(at) == Some(&']') && out.contains("[:") => {
                out.push_str(":]");
                at += 1;
            }
            '[' => out.push_str("\\["),
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '{' if !in_class && !is_count(&chars[at..]) => out.push_str("\\{"),
            c => out.push(c),
        }
    }
    out
}

/// Writes what stands behind a backslash; answers how many characters that were.
fn escape(rest: &[char], in_class: bool, out: &mut String) -> usize {
    let Some(&c) = rest.first() else {
        out.push('\\');
        return 0;
    };
    let class = |inside: &str, outside: &str| {
        if in_class {
            inside.to_owned()
        } else {
            outside.to_owned()
        }
    };
    match c {
        'd' => out.push_str(&class("0-9", "[0-9]")),
        'D' => out.push_str("[^0-9]"),
        'w' => out.push_str(&class("0-9A-Za-z_", "[0-9A-Za-z_]")),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        's' => out.push_str(&class("\\t\\n\\x0c\\r ", "[\\t\\n\\x0c\\r ]")),
        'S' => out.push_str("[^\\t\\n\\x0c\\r ]"),
        'b' if !in_class => out.push_str("(?-u:\\b)"),
        'B' if !in_class => out.push_str("(?-u:\\B)"),
        'Q' if !in_class => {
            let literal: String = rest[1..].iter().collect();
            let (literal, closed) = match literal.split_once("\\E") {
                Some((before, _)) => (before.to_owned(), 2),
                None => (literal, 0),
            };
            out.push_str(&regex::escape(&literal));
            return 1 + literal.chars().count() + closed;
        }
        c => {
            out.push('\\');
            out.push(c);
        }
    }
    1
}

/// Whether a brace opens a repetition: `{2}`, `{2,}`, `{2,5}`.
fn is_count(rest: &[char]) -> bool {
    let Some(end) = rest.iter().position(|c| *c == '}') else {
        return false;
    };
    let inner = &rest[..end];
    let comma = inner.iter().position(|c| *c == ',').unwrap_or(end);
    let digits = |part: &[char]| part.iter().all(char::is_ascii_digit);
    comma > 0 && digits(&inner[..comma]) && digits(inner.get(comma + 1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        compile(pattern).unwrap().is_match(text)
    }

    #[test]
    fn what_go_reads_otherwise_is_read_as_go_does() {
        assert!(!matches(r"^\d+$", "٣"));
        assert!(matches(r"^[\w.-]+$", "a.b-c_1"));
        assert!(!matches(r"^\w+$", "é"));
        assert!(matches(r"^a{b$", "a{b"));
        assert!(matches(r"^a{2,3}$", "aaa"));
        assert!(matches(r"^[[a]$", "["));
        assert!(matches(r"^[a&&b]+$", "a&b"));
        assert!(matches(r"^[]x]$", "]"));
        assert!(matches(r"^[[:alpha:]]+$", "abc"));
        assert!(matches(r"^\Qa.b\E$", "a.b"));
        assert!(!matches(r"^\Qa.b\E$", "axb"));
        assert!(matches(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "a-b"));
        assert!(matches(
            r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$",
            "* * * * */5"
        ));
    }

    #[test]
    fn what_is_no_pattern_is_refused_in_one_line() {
        for pattern in ["a(", "[a", "*", "(?<!a)b", r"\1", "a**{9999999}"] {
            let why = compile(pattern).unwrap_err();
            assert!(
                !why.contains('\n') && why.starts_with("error parsing regexp"),
                "{why}"
            );
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]
        #[test]
        fn no_pattern_makes_it_panic(pattern in ".{0,40}", text in ".{0,40}") {
            if let Ok(regex) = compile(&pattern) {
                let _ = regex.is_match(&text);
            }
        }

        #[test]
        fn plain_text_matches_itself(text in "[a-zA-Z0-9 _/-]{0,30}") {
            let pattern = format!("^{text}$");
            proptest::prop_assert!(compile(&pattern).unwrap().is_match(&text));
        }
    }
}
