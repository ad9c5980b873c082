//! The fingerprint of a CA key: [`CaPin`].
//!
//! It refuses to know which CA is trusted and for what; it only says whether a key is the pinned one.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use subtle::ConstantTimeEq;

use crate::pki::{Certificate, CertificateBundle};

const PREFIX: &str = "sha256:";

/// SHA-256 over the DER of a certificate's SubjectPublicKeyInfo (RFC 7469 section 2.4), written
/// `sha256:HEX` as kubeadm's `--discovery-token-ca-cert-hash`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaPin([u8; 32]);

/// Why a text is not a pin; show it to whoever wrote the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// The text does not start with `sha256:`; no other kind of pin exists.
    #[error("a CA pin starts with sha256:")]
    UnknownFormat,
    /// What follows is not 64 hexadecimal digits; it was probably cut when it was copied.
    #[error("a CA pin has 64 hexadecimal digits after sha256:, this one has {found} characters")]
    NotHex {
        /// Characters found after the prefix.
        found: usize,
    },
}

impl CaPin {
    /// Reads `sha256:HEX`, in any case.
    ///
    /// # Errors
    /// [`PinError`] when the prefix or the digits are wrong.
    pub fn parse(text: &str) -> Result<Self, PinError> {
        let text = text.trim();
        let prefix = text.get(..PREFIX.len()).ok_or(PinError::UnknownFormat)?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return Err(PinError::UnknownFormat);
        }
        let hex = &text[PREFIX.len()..];
        decode_hex(hex).map(Self).ok_or_else(|| PinError::NotHex {
            found: hex.chars().count(),
        })
    }

    /// The pin of a certificate's public key.
    pub fn of(certificate: &Certificate) -> Self {
        Self::of_spki(certificate.spki_der())
    }

    /// The pin of a DER SubjectPublicKeyInfo.
    pub fn of_spki(spki_der: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, spki_der);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }

    /// Whether the certificate's public key is the pinned one.
    pub fn matches(&self, certificate: &Certificate) -> bool {
        self.0.ct_eq(&Self::of(certificate).0).into()
    }

    /// The 64 lower-case hexadecimal digits, without the prefix.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The 32 bytes of the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The pins of all certificates of a bundle, in order and without repeats, as a join command names them.
pub fn pins_for(bundle: &CertificateBundle) -> Vec<CaPin> {
    let mut pins = Vec::new();
    for certificate in bundle.certificates() {
        let pin = CaPin::of(certificate);
        if !pins.contains(&pin) {
            pins.push(pin);
        }
    }
    pins
}

/// Those certificates of a bundle whose own key is pinned. A pin vouches for no neighbour.
pub fn pinned_only(bundle: &CertificateBundle, pins: &[CaPin]) -> CertificateBundle {
    bundle.retain(|certificate| pins.iter().any(|pin| pin.matches(certificate)))
}

impl fmt::Display for CaPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.hex())
    }
}

impl fmt::Debug for CaPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaPin({self})")
    }
}

impl FromStr for CaPin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

fn decode_hex(hex: &str) -> Option<[u8; 32]> {
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}
