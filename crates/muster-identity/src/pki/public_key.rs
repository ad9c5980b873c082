//! A public key: [`PublicKey`].

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// ECDSA on NIST P-256; the default everywhere.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// ECDSA on NIST P-521 (public keys of others only).
    P521,
    /// RSA with this many bits of modulus.
    Rsa {
        /// Bits of the modulus.
        bits: usize,
    },
    /// Ed25519 (public keys of others only).
    Ed25519,
}

/// A public key, as a DER SubjectPublicKeyInfo that was checked to be of a known kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublicKey {
    kind: KeyKind,
    spki: Vec<u8>,
}

impl PublicKey {
    /// Reads a DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`KeyError`](super::KeyError) when it is none or of an unknown kind.
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, super::KeyError> {
        let _ = spki;
        todo!()
    }

    /// The kind of key.
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The DER SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// PEM `PUBLIC KEY`.
    pub fn to_pem(&self) -> String {
        super::pem::encode("PUBLIC KEY", &self.spki)
    }
}
