//! What chance gives an object's name: the end of a generated one.
//!
//! Refuses to know: what it is given to.

use muster_identity::Entropy;

use crate::entropy::system_entropy;

/// The letters of generated names: no vowels and no look-alikes (`k8s.io/apimachinery util/rand`).
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// How many of them are appended.
const SUFFIX: usize = 5;
/// How long a prefix may be so that the name stays a valid one.
const MAX_PREFIX: usize = muster_machinery::validation::MAX_GENERATED_NAME_BASE;

/// A name that begins with `prefix` and ends in five random characters.
pub(super) fn generated_name(prefix: &str) -> String {
    let cut = prefix
        .char_indices()
        .nth(MAX_PREFIX)
        .map_or(prefix.len(), |(at, _)| at);
    let mut name = prefix[..cut].to_owned();
    let mut left = SUFFIX;
    while left > 0 {
        let mut byte = [0_u8; 1];
        system_entropy().fill(&mut byte);
        // 243 = 9 * 27: bytes above would favour the first letters.
        if byte[0] < 243 {
            name.push(char::from(ALPHABET[usize::from(byte[0]) % ALPHABET.len()]));
            left -= 1;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_have_five_more_letters_and_fit() {
        let name = generated_name("web-");
        assert_eq!(name.len(), 9);
        assert!(name.bytes().skip(4).all(|byte| ALPHABET.contains(&byte)));
        assert_eq!(generated_name(&"a".repeat(100)).len(), 63);
    }
}
