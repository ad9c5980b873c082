//! The certificates and keys that all control-plane nodes share, as kubeadm hands them on: the Secret
//! kube-system/kubeadm-certs.
//!
//! Each value is a 12-byte nonce and the AES-256-GCM ciphertext with its tag, without associated data; an empty value
//! stands for a file that the uploader did not have. The key is 32 random bytes, shown to people as 64 hexadecimal
//! digits. It refuses to know how a Secret is read or written, and where files lie.

mod objects;

pub use objects::{
    ROLE_NAME, SECRET_NAME, SECRET_PATH, TOKEN_DESCRIPTION, TOKEN_LIFE, role, role_binding, secret,
    token_secret,
};

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_identity::{Entropy, Secret};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::blueprint::{ClusterBlueprint, Etcd};

/// Bytes of a certificate key.
const KEY_LEN: usize = 32;
/// Bytes of the tag at the end of a ciphertext.
const TAG_LEN: usize = 16;
/// Largest value that is opened, in bytes; a Secret's own limit.
const MAX_VALUE: usize = 1 << 20;

/// The key of the shared certificates. Who has it and may read the Secret is an administrator of the cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateKey(Secret<Vec<u8>>);

/// A text that is no certificate key: it has to be 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a certificate key has 64 hexadecimal digits, this text has {digits} characters")]
pub struct CertificateKeyError {
    /// How many characters the text has.
    pub digits: usize,
}

impl CertificateKey {
    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`CertificateKeyError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, CertificateKeyError> {
        let refuse = CertificateKeyError {
            digits: text.chars().count(),
        };
        if text.len() != 2 * KEY_LEN || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(refuse);
        }
        let mut key = Vec::with_capacity(KEY_LEN);
        for at in (0..text.len()).step_by(2) {
            key.push(u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| refuse)?);
        }
        Ok(Self(Secret::new(key)))
    }

    /// Makes a key.
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        let mut key = Secret::new(vec![0; KEY_LEN]);
        entropy.fill(key.expose_mut());
        Self(key)
    }

    /// The 64 digits, lower case.
    #[must_use]
    pub fn to_text(&self) -> Secret<String> {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(2 * KEY_LEN);
        for byte in self.0.expose() {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Secret::new(text)
    }

    fn cipher(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, self.0.expose());
        LessSafeKey::new(key.expect("a certificate key has the length of an AES-256 key"))
    }
}

impl fmt::Debug for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateKey(****)")
    }
}

/// Encrypts one value as kubeadm does.
///
/// # Errors
/// [`SharedCertsError::Crypto`] when the crypto library fails.
pub fn encrypt(
    plain: &[u8],
    key: &CertificateKey,
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, SharedCertsError> {
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce);
    let mut text = plain.to_vec();
    key.cipher()
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text)
        .map_err(|_| SharedCertsError::Crypto)?;
    let mut value = nonce.to_vec();
    value.append(&mut text);
    Ok(value)
}

/// Decrypts one value; `None` when it does not fit the key or is damaged, which the cipher cannot tell apart.
#[must_use]
pub fn decrypt(value: &[u8], key: &CertificateKey) -> Option<Secret<Vec<u8>>> {
    if value.len() > MAX_VALUE {
        return None;
    }
    let (nonce, text) = value.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = Secret::new(text.to_vec());
    let length = key
        .cipher()
        .open_in_place(nonce, Aad::empty(), text.expose_mut())
        .ok()?
        .len();
    text.expose_mut().truncate(length);
    Some(text)
}

/// A file that control-plane nodes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(
    missing_docs,
    reason = "each name is the file's own, see `Shared::name`"
)]
pub enum Shared {
    CaCrt,
    CaKey,
    FrontProxyCaCrt,
    FrontProxyCaKey,
    SaPub,
    SaKey,
    EtcdCaCrt,
    EtcdCaKey,
    ExternalEtcdCaCrt,
    ExternalEtcdCrt,
    ExternalEtcdKey,
}

impl Shared {
    /// Its name in the Secret.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CaCrt => "ca.crt",
            Self::CaKey => "ca.key",
            Self::FrontProxyCaCrt => "front-proxy-ca.crt",
            Self::FrontProxyCaKey => "front-proxy-ca.key",
            Self::SaPub => "sa.pub",
            Self::SaKey => "sa.key",
            Self::EtcdCaCrt => "etcd-ca.crt",
            Self::EtcdCaKey => "etcd-ca.key",
            Self::ExternalEtcdCaCrt => "external-etcd-ca.crt",
            Self::ExternalEtcdCrt => "external-etcd.crt",
            Self::ExternalEtcdKey => "external-etcd.key",
        }
    }

    /// Whether it is a private key, which is root's alone on disk.
    #[must_use]
    pub fn is_key(self) -> bool {
        self.name().ends_with(".key")
    }
}

/// Where a shared file lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedFile {
    /// Which.
    pub file: Shared,
    /// Its path; empty for an external etcd without that file.
    pub path: String,
}

/// The files that nodes of this cluster share, in kubeadm's order.
#[must_use]
pub fn shared_files(cluster: &ClusterBlueprint) -> Vec<SharedFile> {
    let below = |file: Shared, path: &str| SharedFile {
        file,
        path: cluster.certificate_path(path),
    };
    let mut files: Vec<SharedFile> = [
        Shared::CaCrt,
        Shared::CaKey,
        Shared::FrontProxyCaCrt,
        Shared::FrontProxyCaKey,
        Shared::SaPub,
        Shared::SaKey,
    ]
    .into_iter()
    .map(|file| below(file, file.name()))
    .collect();
    match &cluster.etcd {
        Etcd::Local(_) => {
            files.push(below(Shared::EtcdCaCrt, "etcd/ca.crt"));
            files.push(below(Shared::EtcdCaKey, "etcd/ca.key"));
        }
        Etcd::External(external) => {
            for (file, path) in [
                (Shared::ExternalEtcdCaCrt, &external.ca_file),
                (Shared::ExternalEtcdCrt, &external.cert_file),
                (Shared::ExternalEtcdKey, &external.key_file),
            ] {
                files.push(SharedFile {
                    file,
                    path: path.clone(),
                });
            }
        }
    }
    files
}

/// Why the shared certificates cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SharedCertsError {
    /// No value opens with this key: it is the key of another upload. Every upload has its own key unless one is
    /// given, so ask whoever uploaded last, or upload again.
    #[error(
        "the certificate key does not open the Secret kube-system/kubeadm-certs: it is the key of another upload"
    )]
    WrongKey,
    /// Some values open with this key and this one does not: it was damaged. Upload again.
    #[error("the value {name:?} of the Secret kube-system/kubeadm-certs is damaged")]
    Damaged {
        /// Key in `data`.
        name: String,
    },
    /// A file that every control-plane node needs is not among them. Upload again with this cluster's configuration.
    #[error("the Secret kube-system/kubeadm-certs does not hold {name:?}")]
    Missing {
        /// Key in `data`.
        name: String,
    },
    /// The object is no Secret with data.
    #[error("kube-system/kubeadm-certs is not a Secret with base64 values")]
    NotASecret,
    /// The crypto library failed.
    #[error("the crypto library could not encrypt")]
    Crypto,
}

/// The shared files, by their names in the Secret; an empty one was not there when they were uploaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedCerts(BTreeMap<String, Secret<Vec<u8>>>);

impl SharedCerts {
    /// No files yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file; an empty content stands for one that is not there.
    pub fn put(&mut self, name: &str, content: Secret<Vec<u8>>) {
        self.0.insert(name.to_owned(), content);
    }

    /// The content of a file; `None` when it is not there, or empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Secret<Vec<u8>>> {
        self.0
            .get(name)
            .filter(|content| !content.expose().is_empty())
    }

    /// The names of the files, also of empty ones.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Encrypts every file: the Secret's decoded `data`.
    ///
    /// # Errors
    /// [`SharedCertsError::Crypto`].
    pub fn seal(
        &self,
        key: &CertificateKey,
        entropy: &mut dyn Entropy,
    ) -> Result<BTreeMap<String, Vec<u8>>, SharedCertsError> {
        let mut sealed = BTreeMap::new();
        for (name, content) in &self.0 {
            let value = if content.expose().is_empty() {
                Vec::new()
            } else {
                encrypt(content.expose(), key, entropy)?
            };
            sealed.insert(name.clone(), value);
        }
        Ok(sealed)
    }

    /// Decrypts the `data` of a Secret object and tells a wrong key from a damaged value: with a wrong key nothing
    /// opens.
    ///
    /// # Errors
    /// [`SharedCertsError`].
    pub fn open(object: &Value, key: &CertificateKey) -> Result<Self, SharedCertsError> {
        let none = Map::new();
        let data = match object.get("data") {
            None | Some(Value::Null) => &none,
            Some(data) => data.as_object().ok_or(SharedCertsError::NotASecret)?,
        };
        let mut opened = Self::new();
        let (mut damaged, mut successes) = (Vec::new(), 0_usize);
        for (name, value) in data {
            let value = value.as_str().and_then(|text| STANDARD.decode(text).ok());
            let value = value.ok_or(SharedCertsError::NotASecret)?;
            if value.is_empty() {
                opened.put(name, Secret::new(Vec::new()));
            } else if let Some(content) = decrypt(&value, key) {
                successes += 1;
                opened.put(name, content);
            } else {
                damaged.push((name.clone(), value.len()));
            }
        }
        match damaged.first() {
            None => Ok(opened),
            // Too short for nonce and tag: no key opens it.
            Some((name, length)) if successes > 0 || *length < NONCE_LEN + TAG_LEN => {
                Err(SharedCertsError::Damaged { name: name.clone() })
            }
            Some(_) => Err(SharedCertsError::WrongKey),
        }
    }

    /// Whether every file that nodes of this cluster share is named; as kubeadm, an empty one counts.
    ///
    /// # Errors
    /// [`SharedCertsError::Missing`] names the first that is not.
    pub fn require(&self, cluster: &ClusterBlueprint) -> Result<(), SharedCertsError> {
        for file in shared_files(cluster) {
            if !self.0.contains_key(file.file.name()) {
                return Err(SharedCertsError::Missing {
                    name: file.file.name().to_owned(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
