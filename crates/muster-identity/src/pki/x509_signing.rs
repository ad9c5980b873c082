//! The small adapter between our keys and the `x509-cert` builders.
//!
//! It refuses to know what is built; it says which algorithm a key signs with and signs.

use const_oid::db::rfc5912::{ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, SHA_256_WITH_RSA_ENCRYPTION};
use der::asn1::{Any, BitString};
use der::{Document, Tag};
use signature::{Keypair, Signer};
use x509_cert::spki::{
    self, AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, EncodePublicKey,
    SignatureBitStringEncoding,
};

use super::{KeyKind, PrivateKey, PublicKey};

/// A key in the shape that the builders want.
pub(super) struct KeySigner<'a>(pub(super) &'a PrivateKey);

/// Its public half.
#[derive(Clone)]
pub(super) struct VerifyingKey(PublicKey);

/// A signature, encoded as X.509 wants it.
pub(super) struct SignatureBytes(Vec<u8>);

impl Keypair for KeySigner<'_> {
    type VerifyingKey = VerifyingKey;

    fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.public_key().clone())
    }
}

impl EncodePublicKey for VerifyingKey {
    fn to_public_key_der(&self) -> spki::Result<Document> {
        Ok(Document::try_from(self.0.spki_der().to_vec())?)
    }
}

impl DynSignatureAlgorithmIdentifier for KeySigner<'_> {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        let (oid, parameters) = match self.0.kind() {
            KeyKind::P256 => (ECDSA_WITH_SHA_256, None),
            KeyKind::P384 => (ECDSA_WITH_SHA_384, None),
            KeyKind::Rsa { .. } => (
                SHA_256_WITH_RSA_ENCRYPTION,
                Some(Any::new(Tag::Null, Vec::new())?),
            ),
            // No private key of these kinds can be loaded.
            KeyKind::P521 | KeyKind::Ed25519 => return Err(spki::Error::KeyMalformed),
        };
        Ok(AlgorithmIdentifierOwned { oid, parameters })
    }
}

impl Signer<SignatureBytes> for KeySigner<'_> {
    fn try_sign(&self, message: &[u8]) -> Result<SignatureBytes, signature::Error> {
        self.0
            .sign(message)
            .map(SignatureBytes)
            .map_err(|_| signature::Error::new())
    }
}

impl SignatureBitStringEncoding for SignatureBytes {
    fn to_bitstring(&self) -> der::Result<BitString> {
        BitString::from_bytes(&self.0)
    }
}
