//! The images of a Kubernetes release, and which release this is.
//!
//! It refuses to ask the network which release is the newest: what is compiled in is what is told.

use super::error::ConfigError;
use super::types::ClusterConfiguration;

/// The kubeadm release whose behaviour and files these are.
pub const KUBERNETES_VERSION: &str = "v1.36.2";
/// What `print init-defaults` names.
pub const CURRENT_VERSION: &str = "1.36.0";
/// The oldest control plane that this release works with.
pub const MINIMUM_VERSION: &str = "1.35.0";
/// Where the images come from unless another registry is named.
pub const IMAGE_REPOSITORY: &str = "registry.k8s.io";
/// The sandbox image.
pub const PAUSE_TAG: &str = "3.10.2";
/// etcd's image for this release and the two before.
pub const ETCD_TAG: &str = "3.6.8-0";
/// CoreDNS' image for this release.
const COREDNS_TAG: &str = "v1.14.2";

/// Whether a version is a label such as `stable-1`, which only the network could resolve.
pub fn is_version_label(version: &str) -> bool {
    let named = ["release/", "ci/"]
        .iter()
        .find_map(|bucket| version.strip_prefix(bucket))
        .unwrap_or(version);
    let rest = ["latest", "stable"]
        .iter()
        .find_map(|label| named.strip_prefix(label));
    let Some(rest) = rest else {
        return version.is_empty() || (named.len() < version.len() && semantic(named).is_some());
    };
    if rest.is_empty() {
        return true;
    }
    let Some(rest) = rest.strip_prefix('-') else {
        return false;
    };
    let mut parts = rest.split('.');
    let (major, minor) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or("1"),
    );
    let number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit())
            && text.starts_with(|first: char| ('1'..='9').contains(&first))
    };
    parts.next().is_none()
        && (major.len() == 1 && number(major))
        && (minor.len() <= 2 && number(minor))
}

/// Major, minor and patch of `v1.36.2-rc.1`.
pub(super) fn semantic(version: &str) -> Option<(u64, u64, u64)> {
    let plain = version.strip_prefix('v').unwrap_or(version);
    let end = plain.find(['-', '+']).unwrap_or(plain.len());
    let mut parts = plain[..end].split('.').map(str::parse::<u64>);
    let mut next = || parts.next()?.ok();
    let version = (next()?, next()?, next()?);
    parts.next().is_none().then_some(version)
}

/// The images that a control plane of this configuration runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    repository: String,
    tag: String,
    etcd: String,
    coredns: String,
    external_etcd: bool,
    without_proxy: bool,
    without_dns: bool,
}

impl Images {
    /// The images of a configuration whose version is resolved.
    ///
    /// # Errors
    /// [`ConfigError::NoDefault`] when the version is none.
    pub fn of(cluster: &ClusterConfiguration) -> Result<Self, ConfigError> {
        let version = &cluster.kubernetes_version;
        if semantic(version).is_none() {
            return Err(ConfigError::NoDefault {
                text: format!("couldn't parse Kubernetes version {version:?}"),
            });
        }
        let repository = cluster.image_repository.clone();
        let plain = version.strip_prefix('v').unwrap_or(version);
        let local = cluster.etcd.local.clone().unwrap_or_default();
        let or = |own: &str, default: &str| {
            if own.is_empty() {
                default.to_owned()
            } else {
                own.to_owned()
            }
        };
        let etcd_repository = or(&local.image_repository, &repository);
        let etcd_tag = or(&local.image_tag, ETCD_TAG);
        let dns = &cluster.dns;
        // The registry of Kubernetes keeps CoreDNS one level deeper; others need not.
        let coredns_repository = match dns.image_repository.as_str() {
            "" if repository == IMAGE_REPOSITORY => format!("{repository}/coredns"),
            "" => repository.clone(),
            own => own.to_owned(),
        };
        let coredns_tag = match dns.image_tag.as_str() {
            "" => COREDNS_TAG,
            own => own,
        };
        Ok(Self {
            etcd: format!("{etcd_repository}/etcd:{etcd_tag}"),
            coredns: format!("{coredns_repository}/coredns:{coredns_tag}"),
            tag: format!("v{}", plain.replace('+', "_")),
            repository,
            external_etcd: cluster.etcd.local.is_none(),
            without_proxy: cluster.proxy.disabled,
            without_dns: dns.disabled,
        })
    }

    /// The image of a component such as `kube-apiserver`.
    pub fn component(&self, name: &str) -> String {
        format!("{}/{name}:{}", self.repository, self.tag)
    }

    /// etcd's image.
    pub fn etcd(&self) -> &str {
        &self.etcd
    }

    /// The sandbox image.
    pub fn pause(&self) -> String {
        format!("{}/pause:{PAUSE_TAG}", self.repository)
    }

    /// All of them, in kubeadm's order.
    pub fn all(&self) -> Vec<String> {
        let mut images: Vec<String> = [
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
        ]
        .map(|name| self.component(name))
        .into();
        if !self.without_proxy {
            images.push(self.component("kube-proxy"));
        }
        if !self.without_dns {
            images.push(self.coredns.clone());
        }
        images.push(self.pause());
        if !self.external_etcd {
            images.push(self.etcd.clone());
        }
        images
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_told_from_versions_and_from_what_is_neither() {
        for label in [
            "stable",
            "stable-1",
            "latest",
            "latest-1.36",
            "ci/latest",
            "ci/v1.37.0-alpha.1",
        ] {
            assert!(is_version_label(label), "{label}");
        }
        for other in [
            "v1.36.2",
            "1.36.2",
            "nope",
            "stable-",
            "stable-0",
            "stable-1.",
            "latest-1.366",
            "latest-1.3.6",
        ] {
            assert!(!is_version_label(other), "{other}");
        }
    }
}
