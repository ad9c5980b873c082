//! Which keys kubeadm makes: `encryptionAlgorithm` of a ClusterConfiguration.

use muster_identity::{Entropy, KeyError, PrivateKey};
use serde::{Deserialize, Serialize};

/// A kind of key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    /// `RSA-2048`, the default.
    #[default]
    Rsa2048,
    /// `RSA-3072`.
    Rsa3072,
    /// `RSA-4096`.
    Rsa4096,
    /// `ECDSA-P256`.
    EcdsaP256,
    /// `ECDSA-P384`.
    EcdsaP384,
}

const NAMES: [(KeyAlgorithm, &str); 5] = [
    (KeyAlgorithm::Rsa2048, "RSA-2048"),
    (KeyAlgorithm::Rsa3072, "RSA-3072"),
    (KeyAlgorithm::Rsa4096, "RSA-4096"),
    (KeyAlgorithm::EcdsaP256, "ECDSA-P256"),
    (KeyAlgorithm::EcdsaP384, "ECDSA-P384"),
];

impl KeyAlgorithm {
    /// Reads kubeadm's name for it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(algorithm, _)| *algorithm)
    }

    /// kubeadm's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(algorithm, _)| *algorithm == self)
            .map_or("", |(_, name)| name)
    }

    /// Makes a key. The primes of RSA keys are drawn by the crypto library itself.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] when the library fails.
    pub fn generate(self, entropy: &mut dyn Entropy) -> Result<PrivateKey, KeyError> {
        match self {
            Self::Rsa2048 => PrivateKey::generate_rsa(2048),
            Self::Rsa3072 => PrivateKey::generate_rsa(3072),
            Self::Rsa4096 => PrivateKey::generate_rsa(4096),
            Self::EcdsaP256 => PrivateKey::generate(entropy),
            Self::EcdsaP384 => PrivateKey::generate_p384(entropy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kubeadms_and_read_back() {
        for (algorithm, name) in NAMES {
            assert_eq!(KeyAlgorithm::parse(name), Some(algorithm));
            assert_eq!(algorithm.name(), name);
        }
        assert_eq!(KeyAlgorithm::parse("rsa-2048"), None);
        assert_eq!(KeyAlgorithm::parse("RSA-1024"), None);
    }

    #[test]
    fn the_keys_are_of_the_kind_that_is_asked_for() {
        let mut entropy = |bytes: &mut [u8]| bytes.fill(7);
        for algorithm in [
            KeyAlgorithm::EcdsaP256,
            KeyAlgorithm::EcdsaP384,
            KeyAlgorithm::Rsa2048,
        ] {
            let key = algorithm.generate(&mut entropy).unwrap();
            let expected = match algorithm {
                KeyAlgorithm::EcdsaP256 => "P256",
                KeyAlgorithm::EcdsaP384 => "P384",
                _ => "Rsa",
            };
            assert!(
                format!("{:?}", key.kind()).contains(expected),
                "{:?}",
                key.kind()
            );
        }
    }
}
