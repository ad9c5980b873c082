//! Pods that a join answers for: what the kubelet ran since then goes, with the volumes it mounted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use muster_plan::paths;
use muster_saga::Residue;

use super::{Machine, io_error};
use crate::disk::Disk;
use crate::process::Processes;
use crate::services::Services;
use crate::{HostError, Prior};

/// So many pods are removed side by side: a runtime has a queue of its own.
const AT_ONCE: usize = 16;
/// One that takes longer is hung, and named; the others do not wait for it.
const POD_LIMIT: Duration = Duration::from_secs(120);
/// Where a kubelet mounts volumes; whatever else is mounted below its directory is somebody else's.
const VOLUMES: [&str; 2] = ["pods", "plugins"];

pub(super) fn is_volume(path: &str) -> bool {
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
    pub(super) async fn give_back_pods(
        &self,
        endpoint: &str,
        ids: &[String],
        mounts: &[String],
    ) -> Result<Vec<Residue>, HostError> {
        let left = self.remove_pods(endpoint, ids).await?;
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

    /// Removes pods side by side, but for those that are to stay; each has its time.
    pub(super) async fn remove_pods(
        &self,
        endpoint: &str,
        stay: &[String],
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
        let mut removals = tokio::task::JoinSet::new();
        let mut waiting = pods.into_iter().filter(|id| !stay.contains(id));
        let mut left = Vec::new();
        loop {
            while removals.len() < AT_ONCE
                && let Some(id) = waiting.next()
            {
                let (port, endpoint) = (Arc::clone(&self.pods), endpoint.to_owned());
                removals.spawn(async move {
                    let removal = port.remove(&endpoint, &id);
                    let ended = tokio::time::timeout(POD_LIMIT, removal).await;
                    let late = || Err(format!("it is still there after {} s", POD_LIMIT.as_secs()));
                    (id, ended.unwrap_or_else(|_| late()))
                });
            }
            match removals.join_next().await {
                None => break,
                Some(Ok((_, Ok(())))) => {}
                Some(Ok((id, Err(why)))) => left.push(remains(format!("pod {id}"), why)),
                Some(Err(error)) => left.push(remains("a pod".to_owned(), error.to_string())),
            }
        }
        left.sort_by(|a, b| a.what.cmp(&b.what));
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
