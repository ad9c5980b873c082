//! How a command of kubeadm's ends badly, and how it warns: its words for its own command line, and ours for ours.
//!
//! It refuses to know which command it was.

use crate::exit::{CLUSTER, FAILED, Failure, USAGE};
use jiff::Timestamp;
use muster_kubeadm::config::{ConfigError, Unusable};
use std::fmt::Write as _;
use std::panic::Location;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The commands that are kubeadm's word for word under this program's own name too.
pub(super) const OWN_COMMANDS: [&str; 4] = ["config", "certs", "kubeconfig", "init"];

/// A command that did not do what it was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    id: Box<str>,
    code: u8,
    text: Box<str>,
    causes: Vec<String>,
    remedy: Vec<String>,
    /// What is to be told before it.
    warnings: Vec<String>,
}

impl Refusal {
    /// With a stable id and the exit code of our own command line.
    pub(super) fn new(id: &str, code: u8, text: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            code,
            text: text.into().into_boxed_str(),
            causes: Vec::new(),
            remedy: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// What is to be told before the error.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The same under this program's own name.
    pub(super) fn under_own_name(mut self) -> Self {
        for command in OWN_COMMANDS {
            let (theirs, ours) = (format!("kubeadm {command}"), format!("muster {command}"));
            self.text = self.text.replace(&theirs, &ours).into_boxed_str();
        }
        self
    }

    /// The command line is wrong.
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self::new("usage", USAGE, text)
    }

    /// Something went wrong.
    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self::new("failed", FAILED, text)
    }

    /// A configuration file is wrong.
    pub(super) fn config(error: &ConfigError) -> Self {
        Self::new("configuration-invalid", USAGE, error.to_string())
    }

    /// A file cannot be read or written, in Go's words.
    pub(super) fn file(what: &str, action: &str, path: &str, error: &std::io::Error) -> Self {
        Self::failed(format!("{what}: {action} {path}: {}", go_words(error)))
    }

    /// Adds one thing to do.
    pub(super) fn cure(mut self, line: impl Into<String>) -> Self {
        self.remedy.push(line.into());
        self
    }

    /// Puts words in front: `error execution phase X: …`.
    pub(super) fn in_front(mut self, words: &str) -> Self {
        self.text = format!("{words}: {}", self.text).into_boxed_str();
        self
    }

    /// As kubeadm ends: the error, and how to see more of it.
    pub(super) fn render(&self, verbosity: i64) -> String {
        let mut text = format!("error: {}", self.text);
        if verbosity < 5 {
            for line in &self.remedy {
                let _ = write!(text, "\n{line}");
            }
            text.push_str("\nTo see the stack trace of this error execute with --v=5 or higher");
            return text;
        }
        for cause in &self.causes {
            let _ = write!(text, "\ncaused by: {cause}");
        }
        for line in &self.remedy {
            let _ = write!(text, "\n{line}");
        }
        text.push_str("\nno stack trace");
        text
    }

    /// As our own command line ends.
    pub(super) fn into_failure(self) -> Failure {
        let mut failure = Failure::new(&self.id, self.code, self.text.into_string());
        failure.causes = self.causes;
        failure.remedy = self.remedy;
        failure
    }
}

impl From<Failure> for Refusal {
    /// kubeadm's errors are one line with the causes behind colons.
    fn from(failure: Failure) -> Self {
        let mut text = failure.what;
        for cause in &failure.causes {
            if !text.contains(cause.as_str()) {
                let _ = write!(text, ": {cause}");
            }
        }
        Self {
            id: failure.id.into_boxed_str(),
            code: failure.code,
            text: text.into_boxed_str(),
            causes: failure.causes,
            remedy: failure.remedy,
            warnings: Vec::new(),
        }
    }
}

impl From<Unusable> for Refusal {
    fn from(unusable: Unusable) -> Self {
        Self {
            warnings: unusable.warnings,
            ..Self::config(&unusable.error)
        }
    }
}

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Self {
        Self::config(&error)
    }
}

/// An answer of the API as client-go words it.
pub(super) fn api(what: &str, error: &kube::Error) -> Refusal {
    match error {
        kube::Error::Api(status) => {
            let text = if what.is_empty() {
                status.message.clone()
            } else {
                format!("{what}: {}", status.message)
            };
            Refusal::new("cluster-refused", CLUSTER, text)
        }
        _ if what.is_empty() => crate::cluster::api_failure("cannot ask the cluster", error).into(),
        _ => crate::cluster::api_failure(what, error).into(),
    }
}

/// What the system says, without Rust's number behind it and in lower case as Go says it.
pub(super) fn go_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// A warning as kubeadm's log writes it: severity, time, process, place.
#[track_caller]
pub(super) fn warning(text: &str) -> String {
    let place = Location::caller();
    let file = place.file().rsplit('/').next().unwrap_or_default();
    let now = Timestamp::now().to_zoned(jiff::tz::TimeZone::system());
    format!(
        "W{} {:>7} {file}:{}] {text}",
        now.strftime("%m%d %H:%M:%S.%6f"),
        std::process::id(),
        place.line(),
    )
}

/// `-v` of kubeadm: 0 is quiet, 1 tells, 5 debugs, 8 traces.
pub(super) fn log_to_standard_error(verbosity: i64) {
    let level = match verbosity {
        i64::MIN..=0 => LevelFilter::WARN,
        1..=4 => LevelFilter::INFO,
        5..=7 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(crate::printer::is_coloured())
        .with_writer(std::io::stderr)
        .finish()
        .with(crate::ours(level))
        .init();
}
