//! What a certificate may be used for, in the words of the certificates API.
//!
//! It refuses to know who may ask for which usage; that is a signer's business.

use std::fmt;
use std::str::FromStr;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280;
use x509_cert::ext::pkix::KeyUsages;

/// A usage of `certificates.k8s.io/v1` `spec.usages`: a bit of KeyUsage or a purpose of ExtendedKeyUsage
/// (RFC 5280 sections 4.2.1.3 and 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "each name is the API's own word for it, see `Usage::as_str`"
)]
pub enum Usage {
    Signing,
    DigitalSignature,
    ContentCommitment,
    KeyEncipherment,
    KeyAgreement,
    DataEncipherment,
    CertSign,
    CrlSign,
    EncipherOnly,
    DecipherOnly,
    Any,
    ServerAuth,
    ClientAuth,
    CodeSigning,
    EmailProtection,
    SMime,
    IpsecEndSystem,
    IpsecTunnel,
    IpsecUser,
    Timestamping,
    OcspSigning,
    MicrosoftSgc,
    NetscapeSgc,
}

/// A word that is no usage; the request cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not a certificate usage")]
pub struct UnknownUsage {
    /// The word, cut after 64 characters.
    pub word: String,
}

/// Every usage with its word, in the order of the API's documentation.
const WORDS: [(Usage, &str); 23] = [
    (Usage::Signing, "signing"),
    (Usage::DigitalSignature, "digital signature"),
    (Usage::ContentCommitment, "content commitment"),
    (Usage::KeyEncipherment, "key encipherment"),
    (Usage::KeyAgreement, "key agreement"),
    (Usage::DataEncipherment, "data encipherment"),
    (Usage::CertSign, "cert sign"),
    (Usage::CrlSign, "crl sign"),
    (Usage::EncipherOnly, "encipher only"),
    (Usage::DecipherOnly, "decipher only"),
    (Usage::Any, "any"),
    (Usage::ServerAuth, "server auth"),
    (Usage::ClientAuth, "client auth"),
    (Usage::CodeSigning, "code signing"),
    (Usage::EmailProtection, "email protection"),
    (Usage::SMime, "s/mime"),
    (Usage::IpsecEndSystem, "ipsec end system"),
    (Usage::IpsecTunnel, "ipsec tunnel"),
    (Usage::IpsecUser, "ipsec user"),
    (Usage::Timestamping, "timestamping"),
    (Usage::OcspSigning, "ocsp signing"),
    (Usage::MicrosoftSgc, "microsoft sgc"),
    (Usage::NetscapeSgc, "netscape sgc"),
];

impl Usage {
    /// Every usage once: words that mean the same as an earlier one are left out.
    pub(super) const CANONICAL: [Self; 21] = [
        Self::DigitalSignature,
        Self::ContentCommitment,
        Self::KeyEncipherment,
        Self::KeyAgreement,
        Self::DataEncipherment,
        Self::CertSign,
        Self::CrlSign,
        Self::EncipherOnly,
        Self::DecipherOnly,
        Self::Any,
        Self::ServerAuth,
        Self::ClientAuth,
        Self::CodeSigning,
        Self::EmailProtection,
        Self::IpsecEndSystem,
        Self::IpsecTunnel,
        Self::IpsecUser,
        Self::Timestamping,
        Self::OcspSigning,
        Self::MicrosoftSgc,
        Self::NetscapeSgc,
    ];

    /// Reads the API's word, such as `client auth`.
    ///
    /// # Errors
    /// [`UnknownUsage`] for any other word.
    pub fn parse(word: &str) -> Result<Self, UnknownUsage> {
        WORDS
            .iter()
            .find(|(_, known)| *known == word)
            .map(|(usage, _)| *usage)
            .ok_or_else(|| UnknownUsage {
                word: word.chars().take(64).collect(),
            })
    }

    /// Reads a list of words, as `spec.usages`.
    ///
    /// # Errors
    /// [`UnknownUsage`] at the first word that is none.
    pub fn parse_all<S: AsRef<str>>(words: &[S]) -> Result<Vec<Self>, UnknownUsage> {
        words
            .iter()
            .map(|word| Self::parse(word.as_ref()))
            .collect()
    }

    /// The API's word.
    pub fn as_str(self) -> &'static str {
        WORDS
            .iter()
            .find(|(usage, _)| *usage == self)
            .map_or("", |(_, word)| word)
    }

    /// The KeyUsage bit; `None` for an extended usage.
    pub(crate) const fn key_usage(self) -> Option<KeyUsages> {
        Some(match self {
            Self::Signing | Self::DigitalSignature => KeyUsages::DigitalSignature,
            Self::ContentCommitment => KeyUsages::NonRepudiation,
            Self::KeyEncipherment => KeyUsages::KeyEncipherment,
            Self::KeyAgreement => KeyUsages::KeyAgreement,
            Self::DataEncipherment => KeyUsages::DataEncipherment,
            Self::CertSign => KeyUsages::KeyCertSign,
            Self::CrlSign => KeyUsages::CRLSign,
            Self::EncipherOnly => KeyUsages::EncipherOnly,
            Self::DecipherOnly => KeyUsages::DecipherOnly,
            _ => return None,
        })
    }

    /// The ExtendedKeyUsage purpose; `None` for a plain key usage.
    pub(crate) const fn extended(self) -> Option<ObjectIdentifier> {
        Some(match self {
            Self::Any => rfc5280::ANY_EXTENDED_KEY_USAGE,
            Self::ServerAuth => rfc5280::ID_KP_SERVER_AUTH,
            Self::ClientAuth => rfc5280::ID_KP_CLIENT_AUTH,
            Self::CodeSigning => rfc5280::ID_KP_CODE_SIGNING,
            Self::EmailProtection | Self::SMime => rfc5280::ID_KP_EMAIL_PROTECTION,
            Self::IpsecEndSystem => ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.5"),
            Self::IpsecTunnel => ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.6"),
            Self::IpsecUser => ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.7"),
            Self::Timestamping => rfc5280::ID_KP_TIME_STAMPING,
            Self::OcspSigning => rfc5280::ID_KP_OCSP_SIGNING,
            Self::MicrosoftSgc => ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.10.3.3"),
            Self::NetscapeSgc => ObjectIdentifier::new_unwrap("2.16.840.1.113730.4.1"),
            _ => return None,
        })
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Usage {
    type Err = UnknownUsage;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::parse(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_and_means_exactly_one_extension() {
        for (usage, word) in WORDS {
            assert_eq!(Usage::parse(word), Ok(usage));
            assert_eq!(usage.to_string(), word);
            assert!(
                usage.key_usage().is_some() != usage.extended().is_some(),
                "{word}"
            );
        }
    }

    #[test]
    fn unknown_words_are_refused() {
        assert!(Usage::parse("Client Auth").is_err());
        assert!(Usage::parse_all(&["client auth", ""]).is_err());
    }
}
