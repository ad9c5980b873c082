//! Which Kubernetes we say we are: the document of `/version`.

use serde::Serialize;

/// The Kubernetes release whose API is served.
pub const KUBERNETES_VERSION: &str = "v1.36.2";

/// The version told to clients: the release, marked as built by us.
pub const KUBERNETES_GIT_VERSION: &str = "v1.36.2+muster";

/// The document of `/version` (`version.Info`), in upstream's field order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the field names are the documentation, as in version.Info"
)]
pub struct VersionInfo {
    pub major: &'static str,
    pub minor: &'static str,
    pub emulation_major: &'static str,
    pub emulation_minor: &'static str,
    pub min_compatibility_major: &'static str,
    pub min_compatibility_minor: &'static str,
    pub git_version: &'static str,
    pub git_commit: &'static str,
    pub git_tree_state: &'static str,
    pub build_date: &'static str,
    pub go_version: &'static str,
    pub compiler: &'static str,
    pub platform: &'static str,
}

/// The version document. There is no Go compiler and no build date: those fields are empty.
#[must_use]
pub const fn version_info() -> VersionInfo {
    VersionInfo {
        major: "1",
        minor: "36",
        emulation_major: "1",
        emulation_minor: "36",
        min_compatibility_major: "1",
        min_compatibility_minor: "35",
        git_version: KUBERNETES_GIT_VERSION,
        git_commit: "",
        git_tree_state: "clean",
        build_date: "",
        go_version: "",
        compiler: "rustc",
        platform: if cfg!(target_arch = "aarch64") {
            "linux/arm64"
        } else {
            "linux/amd64"
        },
    }
}
