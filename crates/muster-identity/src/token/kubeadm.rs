//! The token itself: `abcdef.0123456789abcdef`, a public id and a secret.
//!
//! It refuses to know whether a cluster knows the token and until when it lives.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroize;

use crate::entropy::Entropy;
use crate::secret::Secret;

const ID_LEN: usize = 6;
const SECRET_LEN: usize = 16;
const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const SECRET_NAME_PREFIX: &str = "bootstrap-token-";
const USER_PREFIX: &str = "system:bootstrap:";
const SIGNATURE_KEY_PREFIX: &str = "jws-kubeconfig-";

/// The public half of a bootstrap token: six characters of `[a-z0-9]`. It may be shown.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(String);

/// A bootstrap token: `[a-z0-9]{6}\.[a-z0-9]{16}`, id and secret (Kubernetes
/// `k8s.io/cluster-bootstrap/token/api`). Its `Debug` shows the id only.
#[derive(Clone, PartialEq, Eq)]
pub struct BootstrapToken {
    id: TokenId,
    secret: Secret<String>,
}

/// Why a text is not a bootstrap token. The text itself is not repeated: it may be nearly right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not `ID.SECRET` with 6 and 16 characters of `a-z0-9`; copy it again.
    #[error(
        "a bootstrap token has the form abcdef.0123456789abcdef (6 and 16 characters of a-z and 0-9)"
    )]
    Malformed,
    /// The id is not six characters of `a-z0-9`.
    #[error("a bootstrap token id has 6 characters of a-z and 0-9")]
    MalformedId,
}

impl TokenId {
    /// Reads an id alone, as `token delete` takes it.
    ///
    /// # Errors
    /// [`TokenError::MalformedId`] when it is none.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if is_made_of_alphabet(text, ID_LEN) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TokenError::MalformedId)
        }
    }

    /// The id out of the name of a Secret, `bootstrap-token-ID`; `None` for other names.
    pub fn from_secret_name(name: &str) -> Option<Self> {
        Self::parse(name.strip_prefix(SECRET_NAME_PREFIX)?).ok()
    }

    /// The id out of a ConfigMap key, `jws-kubeconfig-ID`; `None` for other keys.
    pub fn from_signature_key(key: &str) -> Option<Self> {
        Self::parse(key.strip_prefix(SIGNATURE_KEY_PREFIX)?).ok()
    }

    /// The six characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of the Secret in `kube-system`: `bootstrap-token-ID`.
    pub fn secret_name(&self) -> String {
        format!("{SECRET_NAME_PREFIX}{}", self.0)
    }

    /// Who a bearer of the token is: `system:bootstrap:ID`.
    pub fn user_name(&self) -> String {
        format!("{USER_PREFIX}{}", self.0)
    }

    /// Key of the signature in the ConfigMap `cluster-info`: `jws-kubeconfig-ID`.
    pub fn signature_key(&self) -> String {
        format!("{SIGNATURE_KEY_PREFIX}{}", self.0)
    }
}

impl TryFrom<String> for TokenId {
    type Error = TokenError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TokenId {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl BootstrapToken {
    /// Reads `ID.SECRET`. White space around it is not part of it and is refused, as kubeadm does.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] when the text is no token.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let (id, secret) = text.split_once('.').ok_or(TokenError::Malformed)?;
        Self::from_parts(id, secret)
    }

    /// Puts a token together from the two values a Secret keeps.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] when either part is not of its length and alphabet.
    pub fn from_parts(id: &str, secret: &str) -> Result<Self, TokenError> {
        if !is_made_of_alphabet(secret, SECRET_LEN) {
            return Err(TokenError::Malformed);
        }
        let id = TokenId::parse(id).map_err(|_| TokenError::Malformed)?;
        Ok(Self {
            id,
            secret: Secret::new(secret.to_owned()),
        })
    }

    /// Makes a fresh token. Every character is drawn evenly from the 36.
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        let id = TokenId(draw(entropy, ID_LEN));
        Self {
            id,
            secret: Secret::new(draw(entropy, SECRET_LEN)),
        }
    }

    /// The public id.
    pub const fn id(&self) -> &TokenId {
        &self.id
    }

    /// The 16 secret characters; they are the key of the cluster-info signature.
    pub const fn secret(&self) -> &Secret<String> {
        &self.secret
    }

    /// The whole token, `ID.SECRET`, as it stands in a bearer header.
    pub fn to_text(&self) -> Secret<String> {
        Secret::new(format!("{}.{}", self.id, self.secret.expose()))
    }
}

impl fmt::Debug for BootstrapToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootstrapToken({}.****)", self.id)
    }
}

impl FromStr for BootstrapToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

fn is_made_of_alphabet(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|byte| ALPHABET.contains(&byte))
}

/// Rejection keeps the draw even: 252 = 7 * 36, bytes above are thrown away.
fn draw(entropy: &mut dyn Entropy, len: usize) -> String {
    let mut text = String::with_capacity(len);
    let mut pool = [0_u8; 32];
    while text.len() < len {
        entropy.fill(&mut pool);
        for &byte in pool.iter().filter(|&&byte| byte < 252) {
            if text.len() < len {
                text.push(char::from(ALPHABET[usize::from(byte % 36)]));
            }
        }
    }
    pool.zeroize();
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::entropy::counting;

    #[test]
    fn a_token_has_a_public_id_and_a_secret() {
        let token = BootstrapToken::parse("abcdef.0123456789abcdef").unwrap();
        assert_eq!(token.id().as_str(), "abcdef");
        assert_eq!(token.id().secret_name(), "bootstrap-token-abcdef");
        assert_eq!(token.id().user_name(), "system:bootstrap:abcdef");
        assert_eq!(token.id().signature_key(), "jws-kubeconfig-abcdef");
        assert!(token.secret().matches(b"0123456789abcdef"));
        assert_eq!(token.to_text().expose(), "abcdef.0123456789abcdef");
    }

    #[test]
    fn debug_shows_the_id_only() {
        let token = BootstrapToken::parse("abcdef.0123456789abcdef").unwrap();
        assert_eq!(format!("{token:?}"), "BootstrapToken(abcdef.****)");
    }

    #[rstest]
    #[case("")]
    #[case("abcdef")]
    #[case("abcdef.0123456789abcde")]
    #[case("abcdef.0123456789abcdef0")]
    #[case("ABCDEF.0123456789abcdef")]
    #[case(" abcdef.0123456789abcdef")]
    #[case("abcdef.0123456789abcdef\n")]
    #[case("abcdef.0123456789.bcdef")]
    #[case("abcde.f0123456789abcdef")]
    fn other_texts_are_refused(#[case] text: &str) {
        assert_eq!(BootstrapToken::parse(text), Err(TokenError::Malformed));
    }

    #[test]
    fn names_lead_back_to_the_id() {
        let id = TokenId::parse("abcdef").unwrap();
        assert_eq!(
            TokenId::from_secret_name("bootstrap-token-abcdef"),
            Some(id.clone())
        );
        assert_eq!(
            TokenId::from_signature_key("jws-kubeconfig-abcdef"),
            Some(id)
        );
        assert_eq!(TokenId::from_secret_name("bootstrap-token-abc"), None);
        assert_eq!(TokenId::from_signature_key("kubeconfig"), None);
    }

    #[test]
    fn a_generated_token_is_well_formed_and_depends_on_the_entropy() {
        let first = BootstrapToken::generate(&mut counting::from(1));
        let again = BootstrapToken::generate(&mut counting::from(1));
        let other = BootstrapToken::generate(&mut counting::from(2));
        assert_eq!(
            BootstrapToken::parse(first.to_text().expose()).unwrap(),
            first
        );
        assert_eq!(first, again);
        assert_ne!(first, other);
    }

    #[test]
    fn drawing_skips_the_bytes_that_would_favour_some_characters() {
        let mut calls = 0;
        let mut source = |bytes: &mut [u8]| {
            calls += 1;
            bytes.fill(if calls == 1 { 255 } else { 251 });
        };
        assert_eq!(draw(&mut source, 4), "zzzz");
        assert_eq!(calls, 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_text_is_a_token_or_refused(text in "[a-z0-9]{5,7}\\.[a-z0-9]{15,17}|.{0,40}") {
            if let Ok(token) = BootstrapToken::parse(&text) {
                let written = token.to_text();
                prop_assert_eq!(written.expose(), &text);
            }
        }
    }
}
