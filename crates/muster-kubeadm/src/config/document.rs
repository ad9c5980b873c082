//! A file of several documents, each with its kind.
//!
//! It refuses to know which kinds there are.

use super::error::ConfigError;
use serde_json::Value;

/// More than any configuration of kubeadm.
const MAX_BYTES: usize = 4 << 20;
/// Deeper than any configuration of kubeadm.
const MAX_DEPTH: usize = 64;

/// One document with its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind.
    pub kind: String,
    /// What it says.
    pub value: Value,
    /// Its text.
    pub text: String,
    /// Keys that stand there twice, in the YAML reader's words.
    pub repeated_keys: Option<String>,
}

impl Document {
    /// `GROUP/VERSION`.
    pub fn group_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }

    /// In Go's `%v`.
    pub(super) fn brief(&self) -> String {
        format!("{}, Kind={}", self.group_version(), self.kind)
    }

    /// In Go's `%#v`.
    pub(super) fn go_syntax(&self) -> String {
        format!(
            "schema.GroupVersionKind{{Group:{:?}, Version:{:?}, Kind:{:?}}}",
            self.group, self.version, self.kind
        )
    }
}

/// Splits a file into its documents. A document of each kind may stand there once.
///
/// # Errors
/// [`ConfigError`] when it is too large, no YAML, or kinds are missing or repeated.
pub fn split(text: &str) -> Result<Vec<Document>, ConfigError> {
    if text.len() > MAX_BYTES {
        return Err(ConfigError::TooLarge {
            bytes: text.len(),
            limit: MAX_BYTES,
        });
    }
    let mut documents: Vec<Document> = Vec::new();
    let mut repeated = Vec::new();
    for part in parts(text) {
        let document = read(&part)?;
        if documents.iter().any(|known| known.kind == document.kind) {
            repeated.push(format!(
                "invalid configuration: kind {:?} is specified twice in YAML file",
                document.kind
            ));
            continue;
        }
        documents.push(document);
    }
    if repeated.is_empty() {
        Ok(documents)
    } else {
        Err(ConfigError::RepeatedKind {
            text: super::aggregate(&repeated),
        })
    }
}

/// The documents between lines of `---`; what is empty is left out.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in text.split_inclusive('\n') {
        if line.starts_with("---") && line[3..].trim().is_empty() {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push_str(line);
        }
    }
    let says_something = |part: &String| {
        part.lines()
            .any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    };
    parts.into_iter().filter(says_something).collect()
}

fn read(text: &str) -> Result<Document, ConfigError> {
    let value = read_yaml(text)?;
    let field = |name: &str| {
        value
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (api_version, kind) = (field("apiVersion"), field("kind"));
    let (group, version) = match api_version.split_once('/') {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => (String::new(), api_version),
    };
    if group.is_empty() || version.is_empty() || kind.is_empty() {
        return Err(ConfigError::NoKind {
            found: format!("{group}/{version}, Kind={kind}"),
        });
    }
    Ok(Document {
        group,
        version,
        kind,
        value,
        repeated_keys: repeated_keys(text),
        text: text.to_owned(),
    })
}

/// Reads YAML or JSON; of a key that stands there twice the last one counts, as with the Go reader.
pub(super) fn read_yaml(text: &str) -> Result<Value, ConfigError> {
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| ConfigError::Malformed {
        reason: format!("yaml: {error}"),
    })
}

fn repeated_keys(text: &str) -> Option<String> {
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
    };
    let error = serde_saphyr::from_str_with_options::<Value>(text, options).err()?;
    let line = error.location().map_or(0, |location| location.line());
    let source = text
        .lines()
        .nth(usize::try_from(line).ok()?.saturating_sub(1));
    let key = source?
        .trim_start_matches(['-', ' '])
        .split(':')
        .next()?
        .trim();
    let key = key.trim_matches(['"', '\'']);
    Some(format!(
        "yaml: unmarshal errors:\n  line {line}: key {key:?} already set in map"
    ))
}
