//! known_hosts files: who vouches for which host key (format: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
//!
//! Wildcards, negation, hashed names, ports, `@revoked` and `@cert-authority` mean here what they mean to OpenSSH. Lines that
//! are none are passed over, as OpenSSH does. This file judges; it refuses to know what is done about a verdict.

mod pattern;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

use pattern::Names;
pub(crate) use pattern::glob;
pub(crate) use write::{append, line_for};

/// The longest line that is looked at, in bytes.
const LONGEST_LINE: usize = 64 << 10;

/// Base64 as OpenSSH reads it: padding may be missing.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The lines of some known_hosts files.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    file: Arc<Path>,
    line: usize,
    marker: Marker,
    names: Names,
    algorithm: String,
    key: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    Plain,
    Revoked,
    Authority,
}

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

/// What the files say about a key of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the host's key.
    Known,
    /// They say nothing about the host.
    Unknown,
    /// They name another key for the host, first there.
    Changed(Place),
    /// The key must not be trusted any more.
    Revoked(Place),
}

impl KnownHosts {
    /// Takes in the text of a file. Lines that are no known host are passed over.
    pub fn read(&mut self, file: &Path, text: &str) {
        let file: Arc<Path> = file.into();
        let lines = text.lines().enumerate();
        self.entries
            .extend(lines.filter_map(|(index, line)| parse(&file, index + 1, line)));
    }

    /// Takes in a list of public keys, one in a line, that nobody may use any more (`RevokedHostKeys`).
    pub fn read_revoked(&mut self, file: &Path, text: &str) {
        let file: Arc<Path> = file.into();
        for (index, line) in text.lines().enumerate() {
            if let Some(entry) = parse(&file, index + 1, &format!("@revoked * {line}")) {
                self.entries.push(entry);
            }
        }
    }

    /// What the files say about a plain key. `name` is as [`search_name`] makes it, `key` the key on the wire (RFC 4253, 6.6).
    ///
    /// Several keys may be known for a host; any of them will do. A revocation beats all.
    pub fn judge(&self, name: &str, key: &[u8]) -> Verdict {
        if let Some(place) = self.revocation(name, key) {
            return Verdict::Revoked(place);
        }
        let mut changed = None;
        for entry in self.of(name, Marker::Plain) {
            if entry.key == key {
                return Verdict::Known;
            }
            changed.get_or_insert_with(|| entry.place());
        }
        changed.map_or(Verdict::Unknown, Verdict::Changed)
    }

    /// Where a key, of a host or of an authority, is revoked for this name.
    pub fn revocation(&self, name: &str, key: &[u8]) -> Option<Place> {
        let mut revoked = self.of(name, Marker::Revoked);
        revoked.find(|entry| entry.key == key).map(Entry::place)
    }

    /// Whether a key may sign certificates of this host.
    pub fn is_authority(&self, name: &str, key: &[u8]) -> bool {
        self.of(name, Marker::Authority)
            .any(|entry| entry.key == key)
    }

    /// Whether anybody may sign certificates of this host.
    pub fn has_authority(&self, name: &str) -> bool {
        self.of(name, Marker::Authority).next().is_some()
    }

    /// The algorithms of the keys that are known for a host, in order, as the files name them: what to ask the host for,
    /// so that it does not show a key of another kind.
    pub fn algorithms<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        let known = self.of(name, Marker::Plain);
        let mut found: Vec<&str> = Vec::new();
        for entry in known {
            if !found.contains(&entry.algorithm.as_str()) {
                found.push(&entry.algorithm);
            }
        }
        found
    }

    fn of<'a>(&'a self, name: &'a str, marker: Marker) -> impl Iterator<Item = &'a Entry> {
        let of = move |entry: &&Entry| entry.marker == marker && entry.names.matches(name);
        self.entries.iter().filter(of)
    }
}

impl Entry {
    fn place(&self) -> Place {
        Place {
            file: self.file.to_path_buf(),
            line: self.line,
        }
    }
}

/// The name that files are searched for: lower case, and `[host]:port` when the port is not 22.
pub fn search_name(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == 22 {
        return host;
    }
    format!("[{host}]:{port}")
}

fn parse(file: &Arc<Path>, number: usize, line: &str) -> Option<Entry> {
    let line = line.trim_matches([' ', '\t', '\r']);
    if line.is_empty() || line.starts_with('#') || line.len() > LONGEST_LINE {
        return None;
    }
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let mut names = words.next()?;
    let marker = match names {
        "@revoked" => Marker::Revoked,
        "@cert-authority" => Marker::Authority,
        other if other.starts_with('@') => return None,
        _ => Marker::Plain,
    };
    if marker != Marker::Plain {
        names = words.next()?;
    }
    let algorithm = words.next()?.to_owned();
    let key = LENIENT.decode(words.next()?).ok()?;
    // The key names its own algorithm first; a line that contradicts itself is damaged.
    (wire_algorithm(&key)? == algorithm).then_some(())?;
    Some(Entry {
        file: Arc::clone(file),
        line: number,
        marker,
        names: Names::parse(names)?,
        algorithm,
        key,
    })
}

/// The name of the algorithm at the beginning of a key on the wire.
fn wire_algorithm(key: &[u8]) -> Option<&str> {
    let (length, rest) = key.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    std::str::from_utf8(rest.get(..length)?).ok()
}

/// A key as files write it.
fn base64_of(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests;
