//! Text in double quotes, escaped as Go's `%q` does it: upstream's messages are made with it.
//!
//! Knows the escapes and nothing about the messages.

/// The text in double quotes. Letters of all scripts stay; control and other unprintable characters are
/// escaped.
#[must_use]
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c if is_unprintable(c) && u32::from(c) < 0x1_0000 => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c if is_unprintable(c) => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Rust's own notion of what needs an escape, less the quotes handled above.
fn is_unprintable(c: char) -> bool {
    c != '\'' && c.escape_debug().len() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_go_does() {
        assert_eq!(quoted("node-1"), "\"node-1\"");
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\n\"");
        assert_eq!(quoted("it's é 中"), "\"it's é 中\"");
        assert_eq!(quoted("\u{1}\u{7f}\u{200b}"), "\"\\x01\\x7f\\u200b\"");
    }
}
