//! Pods that a join answers for: what the kubelet ran since then goes, with the volumes it mounted.

use std::collections::BTreeSet;

use muster_plan::paths;
use muster_saga::Residue;

use super::{Machine, io_error};
use crate::disk::Disk;
use crate::process::Processes;
use crate::services::Services;
use crate::{HostError, Prior};

/// Where a kubelet mounts volumes; whatever else is mounted below its directory is somebody else's.
const VOLUMES: [&str; 2] = ["pods", "plugins"];

fn is_volume(path: &str) -> bool {
    VOLUMES.iter().any(|name| {
        let below = path.strip_prefix(paths::KUBELET_DIR);
        let below = below.and_then(|path| path.strip_prefix('/')?.strip_prefix(name));
        below.is_some_and(|rest| rest.starts_with('/'))
    })
}

impl<D: Disk, S: Services, P: Processes> Machine<D, S, P> {
    fn volumes(&self) -> Result<BTreeSet<String>, HostError> {
        let mounts = self
            .disk
            .mount_points()
            .map_err(io_error("list the mounts below", paths::KUBELET_DIR))?;
        Ok(mounts.into_iter().filter(|path| is_volume(path)).collect())
    }

    pub(super) async fn observe_pods(&self, endpoint: &str) -> Result<Prior, HostError> {
        let ids = self.pods.list(endpoint).await;
        let ids = ids.map_err(|reason| HostError::ContainerRuntime {
            endpoint: endpoint.to_owned(),
            reason,
        })?;
        let mounts = self.volumes()?.into_iter().collect();
        Ok(Prior::Pods { ids, mounts })
    }

    /// The kubelet has stopped: nobody starts these pods again.
    pub(super) async fn remove_pods(
        &self,
        endpoint: &str,
        ids: &[String],
        mounts: &[String],
    ) -> Result<Vec<Residue>, HostError> {
        let remains = |what: String, why: String| Residue {
            what,
            why,
            remedy: format!("crictl --runtime-endpoint {endpoint} rmp --force --all"),
        };
        let pods = match self.pods.list(endpoint).await {
            Ok(pods) => pods,
            Err(why) => return Ok(vec![remains(format!("pods at {endpoint}"), why)]),
        };
        let mut left = Vec::new();
        for id in pods.into_iter().filter(|id| !ids.contains(id)) {
            if let Err(why) = self.pods.remove(endpoint, &id).await {
                left.push(remains(format!("pod {id}"), why));
            }
        }
        // The deepest first. What is in use stays mounted: the directory's own undo names it.
        for path in self.volumes()?.iter().rev() {
            if mounts.contains(path) {
                continue;
            }
            if let Err(error) = self.disk.unmount(path) {
                tracing::warn!(path, %error, "cannot unmount");
            }
        }
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_kubelet_mounts_is_a_volume() {
        assert!(is_volume(
            "/var/lib/kubelet/pods/u/volumes/kubernetes.io~projected/t"
        ));
        assert!(is_volume("/var/lib/kubelet/plugins/kubernetes.io/csi/x"));
        for other in [
            "/var/lib/kubelet",
            "/var/lib/kubelet/pods",
            "/var/lib/kubelet/podsother/x",
            "/var/lib/kubelet/data",
            "/var/lib/kubeletpods/x",
            "/mnt",
        ] {
            assert!(!is_volume(other), "{other}");
        }
    }
}
