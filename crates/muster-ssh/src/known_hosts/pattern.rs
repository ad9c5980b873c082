//! Which names a line is about: patterns with `*`, `?` and `!`, or one hashed name (`|1|salt|hash`, HMAC-SHA1).

use aws_lc_rs::hmac;
use base64::Engine as _;

use super::{LENIENT, base64_of};

/// How hashed names begin.
const HASHED: &str = "|1|";

/// The names of one line.
#[derive(Debug, Clone)]
pub(super) enum Names {
    Patterns(Vec<Pattern>),
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

#[derive(Debug, Clone)]
pub(super) struct Pattern {
    negated: bool,
    text: String,
}

impl Names {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(hashed) = text.strip_prefix(HASHED) {
            let (salt, hash) = hashed.split_once('|')?;
            return Some(Self::Hashed {
                salt: LENIENT.decode(salt).ok()?,
                hash: LENIENT.decode(hash).ok()?,
            });
        }
        let pattern = |text: &str| {
            let positive = text.strip_prefix('!');
            Pattern {
                negated: positive.is_some(),
                text: positive.unwrap_or(text).to_lowercase(),
            }
        };
        let patterns = text.split(',').filter(|text| !text.is_empty());
        Some(Self::Patterns(patterns.map(pattern).collect()))
    }

    /// Whether the line is about this name, which is in lower case. A negated pattern that matches excludes it.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Hashed { salt, hash } => {
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
                hmac::verify(&key, name.as_bytes(), hash).is_ok()
            }
            Self::Patterns(patterns) => {
                let mut matches = false;
                for pattern in patterns {
                    if glob(&pattern.text, name) {
                        if pattern.negated {
                            return false;
                        }
                        matches = true;
                    }
                }
                matches
            }
        }
    }
}

/// A name as a line hides it.
pub(super) fn hashed(name: &str, salt: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
    let hash = hmac::sign(&key, name.as_bytes());
    format!("{HASHED}{}|{}", base64_of(salt), base64_of(hash.as_ref()))
}

/// Whether a pattern with `*` (any run) and `?` (any one character) matches the whole text. Time is at most the product of
/// the lengths.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut place) = (0, 0);
    // Where to go on when a guess about the last star was wrong.
    let mut star: Option<(usize, usize)> = None;
    while place < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(one) if *one == b'?' || Some(one) == text.get(place) => {
                at += 1;
                place += 1;
            }
            _ => {
                let Some((back, from)) = star else {
                    return false;
                };
                star = Some((back, from + 1));
                at = back + 1;
                place = from + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == b'*')
}
