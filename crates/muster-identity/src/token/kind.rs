//! Which kind of join credential a text is, from its looks alone: [`TokenKind`].
//!
//! It refuses to decode anything; what looks right may still be broken.

use std::fmt;

use super::kubeadm::BootstrapToken;

/// A kind of text that lets a machine into a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// `abcdef.0123456789abcdef`.
    Bootstrap,
    /// Base64 of gzip: the first bytes of every gzip stream are `H4sI` in base64.
    K0s,
    /// `K10…`, of K3s or RKE2.
    K3s,
    /// A kubeconfig in the clear.
    Kubeconfig,
    /// A JSON web token, such as a service account's.
    Jwt,
}

impl TokenKind {
    /// What `text` looks like; `None` for anything else, a bare password among them.
    pub fn of(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let parse = |text| BootstrapToken::parse(text).ok();
        if std::str::from_utf8(text).ok().and_then(parse).is_some() {
            return Some(Self::Bootstrap);
        }
        // The method of gzip is always deflate, so the third byte is known as well: 22 bits.
        if text.starts_with(b"H4sI") {
            return Some(Self::K0s);
        }
        if text.starts_with(b"K10") {
            return Some(Self::K3s);
        }
        if text.starts_with(b"eyJ") {
            return Some(Self::Jwt);
        }
        let beginning = &text[..text.len().min(4096)];
        let has = |needle: &[u8]| beginning.windows(needle.len()).any(|part| part == needle);
        (has(b"apiVersion") || has(b"current-context")).then_some(Self::Kubeconfig)
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bootstrap => "a bootstrap token (abcdef.0123456789abcdef)",
            Self::K0s => "a join token of k0s",
            Self::K3s => "a token of K3s",
            Self::Kubeconfig => "a kubeconfig in the clear",
            Self::Jwt => "a JSON web token",
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("abcdef.0123456789abcdef\n", Some(TokenKind::Bootstrap))]
    #[case("  H4sIAAAAAAAC/2yRQ", Some(TokenKind::K0s))]
    #[case("K10abc::server:pw", Some(TokenKind::K3s))]
    #[case("eyJhbGciOi", Some(TokenKind::Jwt))]
    #[case("apiVersion: v1\nkind: Config\n", Some(TokenKind::Kubeconfig))]
    #[case("{\"apiVersion\":\"v1\"}", Some(TokenKind::Kubeconfig))]
    #[case("hunter2", None)]
    #[case("", None)]
    fn a_kind_is_told_by_how_it_begins(#[case] text: &str, #[case] kind: Option<TokenKind>) {
        assert_eq!(TokenKind::of(text.as_bytes()), kind);
    }
}
