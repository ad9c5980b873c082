//! What a check found, and which findings somebody chose to overlook.
//!
//! Names are kubeadm's where it has the check, so that `--ignore-preflight-errors` lists and scripts keep working.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Whether a finding stops a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Warning,
    /// The join must not go on.
    Error,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// kubeadm's name of the check, or ours in the same style.
    pub id: String,
    /// Whether it stops the join.
    pub severity: Severity,
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// It is an error that somebody chose to overlook, and so only a warning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignored: bool,
}

impl Finding {
    /// A finding that stops the join.
    #[must_use]
    pub fn error(
        id: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            severity: Severity::Error,
            message: message.into(),
            remedy: remedy.into(),
            ignored: false,
        }
    }

    /// A finding worth knowing.
    #[must_use]
    pub fn warning(
        id: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(id, message, remedy)
        }
    }

    /// Whether it stops the join.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// `KIND-<path with / as ->`, kubeadm's way to name a check after a path.
#[must_use]
pub fn path_id(kind: &str, path: &str) -> String {
    format!("{kind}-{}", path.replace('/', "-"))
}

/// The checks whose errors somebody chose to overlook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoreSet {
    all: bool,
    names: BTreeSet<String>,
}

/// `all` stands beside other names: kubeadm refuses that, as it is probably a mistake. Give one or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"all\" cannot be combined with other check names")]
pub struct IgnoreError;

impl IgnoreSet {
    /// Reads names, case-insensitively; commas separate them too. Unknown names are accepted, as by kubeadm.
    ///
    /// # Errors
    /// [`IgnoreError`] when `all` stands beside others.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, IgnoreError> {
        let mut names: BTreeSet<String> = names
            .into_iter()
            .flat_map(|name| name.split(','))
            .map(|name| name.trim().to_lowercase())
            .filter(|name| !name.is_empty())
            .collect();
        let all = names.remove("all");
        if all && !names.is_empty() {
            return Err(IgnoreError);
        }
        Ok(Self { all, names })
    }

    /// Turns the errors of ignored checks into warnings.
    #[must_use]
    pub fn apply(&self, mut finding: Finding) -> Finding {
        if finding.is_fatal() && (self.all || self.names.contains(&finding.id.to_lowercase())) {
            finding.severity = Severity::Warning;
            finding.ignored = true;
        }
        finding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_checks_after_paths_are_kubeadms() {
        assert_eq!(
            path_id("FileAvailable", "/etc/kubernetes/kubelet.conf"),
            "FileAvailable--etc-kubernetes-kubelet.conf"
        );
    }

    #[test]
    fn ignored_errors_become_warnings_whatever_the_case() {
        let ignore = IgnoreSet::parse(["port-10250, SWAP"]).unwrap();
        let port = ignore.apply(Finding::error("Port-10250", "in use", "free it"));
        assert!(!port.is_fatal() && port.ignored);
        let cri = ignore.apply(Finding::error("CRI", "absent", "install it"));
        assert!(cri.is_fatal() && !cri.ignored);
        let swap = ignore.apply(Finding::warning("Swap", "on", "switch it off"));
        assert!(!swap.ignored, "a warning was one before");
    }

    #[test]
    fn all_means_all_and_stands_alone() {
        let all = IgnoreSet::parse(["All"]).unwrap();
        assert!(!all.apply(Finding::error("anything", "", "")).is_fatal());
        assert_eq!(IgnoreSet::parse(["all", "Swap"]), Err(IgnoreError));
        assert_eq!(IgnoreSet::parse(["all,Swap"]), Err(IgnoreError));
    }
}
