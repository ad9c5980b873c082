//! Keys and certificates in files, read with the same caution as OpenSSH reads them.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{Certificate, PrivateKey, PublicKey, decode_secret_key};

use crate::settings::Settings;

/// The largest file of a key that is read, in bytes.
const MOST_KEY: u64 = 1 << 20;

/// A file that the settings name as an identity.
pub(super) struct Identity {
    pub(super) file: PathBuf,
    /// Its public half, where that can be known without a passphrase.
    pub(super) public: Option<PublicKey>,
    pub(super) private: Private,
    /// The certificate beside it.
    pub(super) certificate: Option<Certificate>,
}

/// What came of reading a private key.
pub(super) enum Private {
    Key(Arc<PrivateKey>),
    /// There is no such file: its public half may stand for a key in the agent.
    Absent,
    /// Why it cannot be used, in words for people.
    Unusable(String),
}

/// Reads all identities and certificates that the settings name.
pub(super) fn read(settings: &Settings) -> (Vec<Identity>, Vec<Certificate>, Vec<String>) {
    let identities = settings
        .identity_files
        .iter()
        .filter_map(|file| identity(file))
        .collect();
    let mut certificates = Vec::new();
    let mut problems = Vec::new();
    for file in &settings.certificate_files {
        match text(file).and_then(|text| {
            Certificate::from_openssh(text.trim()).map_err(|error| error.to_string())
        }) {
            Ok(certificate) => certificates.push(certificate),
            Err(problem) => problems.push(format!("certificate {}: {problem}", file.display())),
        }
    }
    (identities, certificates, problems)
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn identity(file: &Path) -> Option<Identity> {
    // The settings may name the public half of a key in the agent.
    let public = text(&beside(file, ".pub")).or_else(|_| text(file));
    let public = public
        .ok()
        .and_then(|text| PublicKey::from_openssh(text.trim()).ok());
    let private = private(file, public.is_some());
    if matches!(private, Private::Absent) && public.is_none() {
        return None;
    }
    let public = match &private {
        Private::Key(key) => Some(key.public_key().clone()),
        _ => public,
    };
    let certificate = text(&beside(file, "-cert.pub"));
    let certificate = certificate
        .ok()
        .and_then(|text| Certificate::from_openssh(text.trim()).ok());
    Some(Identity {
        file: file.to_owned(),
        public,
        private,
        certificate,
    })
}

fn private(file: &Path, has_public: bool) -> Private {
    let Ok(about) = std::fs::metadata(file) else {
        return Private::Absent;
    };
    let text = match text(file) {
        Ok(text) => text,
        Err(problem) => return Private::Unusable(problem),
    };
    if has_public && PublicKey::from_openssh(text.trim()).is_ok() {
        return Private::Absent;
    }
    // As OpenSSH: only our own files are looked at so closely.
    if about.uid() == rustix::process::getuid().as_raw() && about.mode() & 0o077 != 0 {
        return Private::Unusable(format!(
            "others may read it (mode {:04o}); `chmod 600` it",
            about.mode() & 0o7777
        ));
    }
    match decode_secret_key(&text, None) {
        Ok(key) => Private::Key(Arc::new(key)),
        Err(russh::keys::Error::KeyIsEncrypted) => encrypted(),
        Err(_) if text.contains("ENCRYPTED") => encrypted(),
        Err(error) => Private::Unusable(error.to_string()),
    }
}

fn encrypted() -> Private {
    Private::Unusable("it has a passphrase; add it to the agent with `ssh-add`".to_owned())
}

fn text(file: &Path) -> Result<String, String> {
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(|error| error.to_string())?;
    let read = opened.take(MOST_KEY).read_to_string(&mut text);
    read.map_err(|error| error.to_string()).map(|_| text)
}
