//! Limits of keys and values, and the range of keys under a prefix.
//! Keys are ordered by their bytes, which for UTF-8 is the order of their characters.

use crate::{MAX_KEY_BYTES, MAX_VALUE_BYTES, StoreError};

/// Refuses keys that no store takes.
pub(crate) fn check_key(key: &str) -> Result<(), StoreError> {
    if key.is_empty() {
        return Err(StoreError::InvalidKey { reason: "be empty" });
    }
    if key.contains('\0') {
        return Err(StoreError::InvalidKey {
            reason: "hold a NUL",
        });
    }
    if key.len() > MAX_KEY_BYTES {
        let (what, bytes, limit) = ("key", key.len(), MAX_KEY_BYTES);
        return Err(StoreError::TooLarge { what, bytes, limit });
    }
    Ok(())
}

/// Refuses values that no store takes.
pub(crate) fn check_value(value: &[u8]) -> Result<(), StoreError> {
    if value.len() > MAX_VALUE_BYTES {
        let (what, bytes, limit) = ("value", value.len(), MAX_VALUE_BYTES);
        return Err(StoreError::TooLarge { what, bytes, limit });
    }
    Ok(())
}

/// The least string above all strings that begin with `prefix`; `None` if there is none.
pub(crate) fn prefix_end(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        if let Some(next) = following(last) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

/// The next character in code point order, over the gap of the surrogates.
fn following(c: char) -> Option<char> {
    match c {
        '\u{D7FF}' => Some('\u{E000}'),
        char::MAX => None,
        other => char::from_u32(u32::from(other) + 1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_string_is_within_the_range_of_a_prefix_exactly_if_it_begins_with_it(
            prefix in "(a|b|\u{D7FF}|\u{10FFFF}){0,3}",
            key in "(a|b|c|\u{D7FF}|\u{E000}|\u{10FFFF}){0,5}",
        ) {
            let within = key.as_str() >= prefix.as_str()
                && prefix_end(&prefix).is_none_or(|end| key < end);
            prop_assert_eq!(within, key.starts_with(&prefix));
        }
    }

    #[test]
    fn keys_and_values_are_bounded() {
        assert!(check_key(&"k".repeat(MAX_KEY_BYTES)).is_ok());
        assert!(matches!(
            check_key(&"k".repeat(MAX_KEY_BYTES + 1)),
            Err(StoreError::TooLarge {
                what: "key",
                bytes: 1025,
                limit: 1024
            })
        ));
        assert!(matches!(check_key(""), Err(StoreError::InvalidKey { .. })));
        assert!(matches!(
            check_key("a\0b"),
            Err(StoreError::InvalidKey { .. })
        ));
        assert!(check_value(&vec![0; MAX_VALUE_BYTES]).is_ok());
        assert!(matches!(
            check_value(&vec![0; MAX_VALUE_BYTES + 1]),
            Err(StoreError::TooLarge { what: "value", .. })
        ));
    }
}
