//! The name of a node: [`NodeName`].
//!
//! It refuses to know where the name came from (host name, flag, cloud): it only says whether it is one.

use std::fmt;
use std::str::FromStr;

/// Prefix of a node's user name and certificate common name.
pub const NODE_USER_PREFIX: &str = "system:node:";
/// The group of all nodes, and the organisation in their certificates.
pub const NODES_GROUP: &str = "system:nodes";
/// Longest DNS-1123 subdomain, in bytes.
const MAX_LEN: usize = 253;

/// A node's name: a DNS-1123 subdomain (RFC 1123, at most 253 bytes, lower case), as Kubernetes asks of
/// `Node.metadata.name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

/// Why a text is not a node name. The caller should ask for another name, or set one by flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeNameError {
    /// Nothing was left after trimming; give a name.
    #[error("a node name must not be empty")]
    Empty,
    /// Longer than a DNS name may be; shorten it.
    #[error("a node name has at most 253 characters, this one has {length}")]
    TooLong {
        /// Length in bytes after trimming.
        length: usize,
    },
    /// Not a DNS-1123 subdomain; use lower-case letters, digits, `-` and `.`, with a letter or digit at
    /// both ends of each part.
    #[error("{name:?} is not a DNS-1123 subdomain")]
    NotASubdomain {
        /// The name after trimming and lower-casing.
        name: String,
    },
}

impl NodeName {
    /// Reads a name as kubeadm does: surrounding white space is dropped and letters become lower case.
    ///
    /// # Errors
    /// [`NodeNameError`] when what is left is no DNS-1123 subdomain.
    pub fn parse(text: &str) -> Result<Self, NodeNameError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(NodeNameError::Empty);
        }
        if trimmed.len() > MAX_LEN {
            return Err(NodeNameError::TooLong {
                length: trimmed.len(),
            });
        }
        let name = trimmed.to_lowercase();
        if is_dns1123_subdomain(&name) {
            Ok(Self(name))
        } else {
            Err(NodeNameError::NotASubdomain { name })
        }
    }

    /// Reads the node out of a user name or common name `system:node:NAME`; `None` for anyone else.
    ///
    /// Nothing is lower-cased or trimmed here: an identity is taken as it stands.
    pub fn from_user_name(user: &str) -> Option<Self> {
        let name = user.strip_prefix(NODE_USER_PREFIX)?;
        is_dns1123_subdomain(name).then(|| Self(name.to_owned()))
    }

    /// The bare name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The user name and certificate common name: `system:node:NAME`.
    pub fn user_name(&self) -> String {
        format!("{NODE_USER_PREFIX}{}", self.0)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for NodeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = NodeNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Whether `text` is a DNS-1123 subdomain: dot-separated parts of `[a-z0-9]([-a-z0-9]*[a-z0-9])?`.
/// As in Kubernetes, only the whole is bounded (253), not the single part.
pub(crate) fn is_dns1123_subdomain(text: &str) -> bool {
    text.len() <= MAX_LEN && text.split('.').all(is_label)
}

fn is_label(part: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(&first), Some(&last)) if inner(first) && inner(last))
        && bytes.iter().all(|&byte| inner(byte) || byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("node2", "node2")]
    #[case("  Node2.Example.COM\n", "node2.example.com")]
    #[case("a", "a")]
    #[case("1-2.3", "1-2.3")]
    fn names_are_trimmed_and_lower_cased(#[case] text: &str, #[case] name: &str) {
        assert_eq!(NodeName::parse(text).unwrap().as_str(), name);
    }

    #[rstest]
    #[case("")]
    #[case("  ")]
    #[case("-a")]
    #[case("a-")]
    #[case("a..b")]
    #[case("a_b")]
    #[case("nöde")]
    #[case(".a")]
    fn other_texts_are_refused(#[case] text: &str) {
        assert!(NodeName::parse(text).is_err());
    }

    #[test]
    fn a_name_of_253_characters_is_the_longest() {
        assert!(NodeName::parse(&"a".repeat(253)).is_ok());
        assert_eq!(
            NodeName::parse(&"a".repeat(254)),
            Err(NodeNameError::TooLong { length: 254 })
        );
    }

    #[test]
    fn the_user_name_leads_back_to_the_node() {
        let node = NodeName::parse("node2").unwrap();
        assert_eq!(node.user_name(), "system:node:node2");
        assert_eq!(NodeName::from_user_name("system:node:node2"), Some(node));
        assert_eq!(NodeName::from_user_name("system:node:"), None);
        assert_eq!(NodeName::from_user_name("system:node:Node2"), None);
        assert_eq!(NodeName::from_user_name("admin"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_text_is_read_or_refused_and_reading_is_idempotent(text in ".{0,300}") {
            if let Ok(name) = NodeName::parse(&text) {
                prop_assert_eq!(NodeName::parse(name.as_str()), Ok(name.clone()));
                prop_assert_eq!(NodeName::from_user_name(&name.user_name()), Some(name));
            }
        }
    }
}
