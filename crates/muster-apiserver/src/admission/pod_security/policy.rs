//! What the labels of a namespace ask for: a level and a version of the standard to enforce, to tell the audit log of,
//! and to warn of (`k8s.io/pod-security-admission/api`).
//!
//! Refuses to know: pods.

use std::fmt;

use muster_machinery::{meta, validation::FieldError};
use serde_json::Value;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much is forbidden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Nothing.
    #[default]
    Privileged,
    /// What leads out of the container.
    Baseline,
    /// What a careful pod does without.
    Restricted,
}

/// Which release's standard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Version {
    /// That of this server.
    #[default]
    Latest,
    /// That of 1.x.
    Minor(u32),
}

/// A level in a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LevelVersion {
    pub(super) level: Level,
    pub(super) version: Version,
}

/// What a namespace asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) enforce: LevelVersion,
    pub(super) audit: LevelVersion,
    pub(super) warn: LevelVersion,
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        })?;
        match self.version {
            Version::Latest => f.write_str(":latest"),
            Version::Minor(minor) => write!(f, ":v1.{minor}"),
        }
    }
}

impl Policy {
    /// Reads a namespace's labels. A level that cannot be read is enforced as restricted and otherwise ignored.
    pub(super) fn of(namespace: &Value) -> (Self, Vec<FieldError>) {
        let mut policy = Self::default();
        let mut errors = Vec::new();
        let label = |name: &str| meta::label(namespace, &format!("{PREFIX}{name}"));
        let mut bad = |name: &str, value: &str, why: &str| {
            let field = format!("metadata.labels[{PREFIX}{name}]");
            errors.push(FieldError::invalid(field, value.into(), why));
        };
        let mut has_enforce = false;
        let modes = [
            ("enforce", Level::Restricted, &mut policy.enforce),
            ("audit", Level::Privileged, &mut policy.audit),
            ("warn", Level::Privileged, &mut policy.warn),
        ];
        for (mode, otherwise, asked) in modes {
            if let Some(text) = label(mode) {
                match level(text) {
                    Some(level) => {
                        asked.level = level;
                        has_enforce |= mode == "enforce";
                    }
                    None => {
                        asked.level = otherwise;
                        bad(
                            mode,
                            text,
                            "must be one of privileged, baseline, restricted",
                        );
                    }
                }
            }
            let name = format!("{mode}-version");
            if let Some(text) = label(&name) {
                match version(text) {
                    Some(version) => asked.version = version,
                    None => bad(&name, text, "must be \"latest\" or \"v1.x\""),
                }
            }
        }
        // What is enforced is warned of beforehand, as controllers make pods where nobody sees the refusal.
        if label("warn").is_none() && has_enforce && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if label("warn-version").is_none() {
                policy.warn.version = policy.enforce.version;
            }
        }
        (policy, errors)
    }

    /// Whether nothing is asked for.
    pub(super) fn is_privileged(&self) -> bool {
        let all = [self.enforce, self.audit, self.warn];
        all.iter().all(|one| one.level == Level::Privileged)
    }
}

fn level(text: &str) -> Option<Level> {
    match text {
        "privileged" => Some(Level::Privileged),
        "baseline" => Some(Level::Baseline),
        "restricted" => Some(Level::Restricted),
        _ => None,
    }
}

fn version(text: &str) -> Option<Version> {
    if text == "latest" {
        return Some(Version::Latest);
    }
    let minor = text.strip_prefix("v1.")?;
    let plain = minor == "0" || !minor.starts_with('0');
    let digits = !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit());
    let minor = minor.parse().ok().filter(|_| plain && digits)?;
    Some(Version::Minor(minor))
}
