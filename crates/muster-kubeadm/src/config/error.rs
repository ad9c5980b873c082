//! Why a configuration cannot be used, in kubeadm's words.
//!
//! The texts are kubeadm's because scripts and people look for them. It refuses to know exit codes and remedies.

use std::fmt;

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The path, such as `discovery.bootstrapToken.token`.
    pub path: String,
    /// The value as Go prints it; `None` where a value is required.
    pub value: Option<String>,
    /// What is wrong with it.
    pub detail: String,
}

impl FieldError {
    /// A value that will not do.
    pub fn invalid(path: impl Into<String>, value: &str, detail: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            value: Some(go_quote(value)),
            detail: detail.into(),
        }
    }

    /// A number or anything else that Go prints without quotes.
    pub fn invalid_plain(
        path: impl Into<String>,
        value: impl fmt::Display,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            value: Some(value.to_string()),
            detail: detail.into(),
        }
    }

    /// A value that is missing.
    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            value: None,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}: Invalid value: {value}: {}", self.path, self.detail),
            None => write!(f, "{}: Required value: {}", self.path, self.detail),
        }
    }
}

/// Several errors as one text: as Kubernetes' `Aggregate` prints them, each once.
pub fn aggregate<T: ToString>(errors: &[T]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.len() {
        1 => texts.remove(0),
        _ => format!("[{}]", texts.join(", ")),
    }
}

/// Text in Go's `%q`, as far as configuration files go.
pub(super) fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Why a configuration cannot be used. Each text is kubeadm's own where kubeadm has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is larger than any configuration; give a smaller one.
    #[error("the configuration is {bytes} bytes long, more than the limit of {limit}")]
    TooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// A document is no YAML; mend it.
    #[error(
        "could not interpret GroupVersionKind; unmarshal error: error converting YAML to JSON: {reason}"
    )]
    Malformed {
        /// What the reader says.
        reason: String,
    },
    /// A document does not say what it is; add `apiVersion` and `kind`.
    #[error(
        "invalid configuration for GroupVersionKind {found}: kind and apiVersion is mandatory information that must be specified"
    )]
    NoKind {
        /// What it says.
        found: String,
    },
    /// Two documents of one kind; remove one.
    #[error("{text}")]
    RepeatedKind {
        /// Every kind that is repeated.
        text: String,
    },
    /// The version is older than what can be read; migrate with the release that is named.
    #[error(
        "your configuration file uses an old API spec: {version:?} (kind: {kind:?}). Please use kubeadm {release} instead and run 'kubeadm config migrate --old-config old-config-file --new-config new-config-file', which will write the new, similar spec using a newer API version."
    )]
    OldVersion {
        /// `GROUP/VERSION`.
        version: String,
        /// The kind.
        kind: String,
        /// The release that can migrate it.
        release: &'static str,
    },
    /// Kinds that nobody knows, where only known ones may stand; remove them.
    #[error("unknown configuration APIs: []schema.GroupVersionKind{{{kinds}}}")]
    UnknownKinds {
        /// In Go's notation.
        kinds: String,
    },
    /// Fields are unknown, repeated or of a wrong type; mend them.
    #[error("error unmarshaling configuration {kind}: {reason}")]
    Fields {
        /// In Go's notation.
        kind: String,
        /// Which, and why.
        reason: String,
    },
    /// The kind that is needed is not there.
    #[error("{text}")]
    Missing {
        /// What is missing.
        text: String,
    },
    /// Values are wrong; mend them.
    #[error("{}", aggregate(.errors))]
    Invalid {
        /// Which, and why.
        errors: Vec<FieldError>,
    },
    /// Several container runtimes; choose one with `criSocket` or `--cri-socket`.
    #[error(
        "found multiple CRI endpoints on the host. Please define which one do you wish to use by setting the 'criSocket' field in the kubeadm configuration file: {}",
        .sockets.join(", ")
    )]
    SeveralRuntimes {
        /// Their sockets.
        sockets: Vec<String>,
    },
    /// The machine gives no default for something; write it down.
    #[error("{text}")]
    NoDefault {
        /// What is missing.
        text: String,
    },
}

/// A configuration that cannot be used, and what was to be told before that was found out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Unusable {
    /// Why.
    pub error: ConfigError,
    /// For people.
    pub warnings: Vec<String>,
}

impl From<ConfigError> for Unusable {
    fn from(error: ConfigError) -> Self {
        Self {
            error,
            warnings: Vec::new(),
        }
    }
}
