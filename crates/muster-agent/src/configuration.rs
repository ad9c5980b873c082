//! The few fields of a `KubeletConfiguration` (kubelet.config.k8s.io/v1beta1) that the built-in
//! kubelet acts on. Unknown fields are nobody's mistake: the file is written for other kubelets too.

use crate::node::object::{Taint, TaintError};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;
/// The kubelet's default health port.
const HEALTHZ_PORT: u16 = 10248;

/// What the built-in kubelet heeds.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Configuration {
    healthz_bind_address: Option<IpAddr>,
    healthz_port: Option<u16>,
    container_runtime_endpoint: String,
    rotate_certificates: bool,
    register_with_taints: Vec<TaintField>,
}

/// `v1.Taint`, as far as a registration has it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
struct TaintField {
    key: String,
    value: String,
    effect: String,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no YAML of this shape, or far too large.
    #[error("{} is no KubeletConfiguration: {reason}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Configuration {
    /// Reads the file; a missing one is the default configuration.
    ///
    /// # Errors
    /// [`ConfigurationError`] when it is there and cannot be used.
    pub fn read(path: &Path) -> Result<Self, ConfigurationError> {
        let file = |source| ConfigurationError::File {
            path: path.to_owned(),
            source,
        };
        let shape = |reason| ConfigurationError::Shape {
            path: path.to_owned(),
            reason,
        };
        let length = match std::fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(file(error)),
        };
        if length > LARGEST {
            return Err(shape("it is larger than 1 MiB".to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(file)?;
        serde_saphyr::from_str(&text).map_err(|error| shape(error.to_string()))
    }

    /// Where `/healthz` is served; `None` when it is switched off (port 0).
    #[must_use]
    pub fn healthz(&self) -> Option<SocketAddr> {
        let address = self
            .healthz_bind_address
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let port = self.healthz_port.unwrap_or(HEALTHZ_PORT);
        (port != 0).then_some(SocketAddr::new(address, port))
    }

    /// The CRI socket, if one is named.
    #[must_use]
    pub fn runtime_endpoint(&self) -> Option<&str> {
        Some(self.container_runtime_endpoint.as_str()).filter(|endpoint| !endpoint.is_empty())
    }

    /// The taints to register with (`registerWithTaints`).
    ///
    /// # Errors
    /// [`TaintError`] at one that is none.
    pub fn taints(&self) -> Result<Vec<Taint>, TaintError> {
        let parse = |field: &TaintField| {
            Taint::parse(&format!("{}={}:{}", field.key, field.value, field.effect))
        };
        self.register_with_taints.iter().map(parse).collect()
    }

    /// Whether the client certificate is renewed before it ends.
    #[must_use]
    pub const fn rotates(&self) -> bool {
        self.rotate_certificates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeadm_file_is_understood_and_a_missing_one_is_the_default() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.yaml");
        assert_eq!(
            Configuration::read(&path)
                .expect("the default")
                .healthz()
                .map(|at| at.port()),
            Some(10248)
        );
        let text = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nhealthzPort: 0\n\
                    rotateCertificates: true\ncpuManagerReconcilePeriod: 0s\nmemorySwap: {}\n\
                    containerRuntimeEndpoint: \"unix:///var/run/containerd/containerd.sock\"\n";
        std::fs::write(&path, text).expect("written");
        let read = Configuration::read(&path).expect("a configuration");
        assert_eq!((read.healthz(), read.rotates()), (None, true));
        assert_eq!(
            read.runtime_endpoint(),
            Some("unix:///var/run/containerd/containerd.sock")
        );
        std::fs::write(&path, "healthzPort: [").expect("written");
        assert!(matches!(
            Configuration::read(&path),
            Err(ConfigurationError::Shape { .. })
        ));
    }
}
