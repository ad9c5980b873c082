//! The host paths in static pods, by name; a volume given in the configuration replaces one of ours of its name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::blueprint::{Blueprint, CA_DIRS, Component, Etcd, ExternalEtcd};

const CA_CERTS: &str = "/etc/ssl/certs";

/// Volumes and mounts by name.
#[derive(Default)]
pub(super) struct HostPaths {
    volumes: BTreeMap<String, Value>,
    mounts: BTreeMap<String, Value>,
}

impl HostPaths {
    pub(super) fn add(
        &mut self,
        name: &str,
        host: &str,
        container: &str,
        read_only: bool,
        kind: &str,
    ) {
        let mut path = json!({"path": host});
        // A pointer to an empty type is written by Go, a missing one not; kubeadm always has a pointer.
        path["type"] = Value::from(kind);
        self.volumes
            .insert(name.to_owned(), json!({"name": name, "hostPath": path}));
        let mut mount = json!({"name": name, "mountPath": container});
        if read_only {
            mount["readOnly"] = Value::from(true);
        }
        self.mounts.insert(name.to_owned(), mount);
    }

    fn dir(&mut self, name: &str, path: &str) {
        self.add(name, path, path, true, "DirectoryOrCreate");
    }

    pub(super) fn file(&mut self, name: &str, path: &str) {
        self.add(name, path, path, true, "FileOrCreate");
    }

    /// The cluster's certificates and those of public authorities.
    pub(super) fn certificates(&mut self, blueprint: &Blueprint) {
        self.dir("k8s-certs", &blueprint.cluster.certificates_dir);
        self.dir("ca-certs", CA_CERTS);
        for path in &blueprint.node.ca_dirs {
            self.dir(&path.replace('/', "-")[1..], path);
        }
    }

    /// The directories of the certificates for an etcd elsewhere, as far as no other mount has them.
    pub(super) fn external_etcd(&mut self, blueprint: &Blueprint) {
        if let Etcd::External(etcd) = &blueprint.cluster.etcd {
            let dirs = certificate_dirs(etcd, &blueprint.cluster.certificates_dir);
            for (number, dir) in dirs.iter().enumerate() {
                self.dir(&format!("etcd-certs-{number}"), dir);
            }
        }
    }

    pub(super) fn given(&mut self, component: &Component) {
        for volume in &component.extra_volumes {
            self.add(
                &volume.name,
                &volume.host_path,
                &volume.mount_path,
                volume.read_only,
                &volume.path_type,
            );
        }
    }

    /// Volumes and mounts, each sorted by name.
    pub(super) fn into_lists(self) -> (Vec<Value>, Vec<Value>) {
        (
            self.volumes.into_values().collect(),
            self.mounts.into_values().collect(),
        )
    }
}

fn certificate_dirs(etcd: &ExternalEtcd, certificates_dir: &str) -> BTreeSet<String> {
    let mut dirs: BTreeSet<String> = BTreeSet::new();
    for file in [&etcd.ca_file, &etcd.cert_file, &etcd.key_file] {
        let Some((dir, _)) = file.rsplit_once('/') else {
            continue;
        };
        let dir = if dir.is_empty() { "/" } else { dir };
        let mounted = CA_DIRS.iter().any(|known| dir.starts_with(known))
            || dir.starts_with(CA_CERTS)
            || dir.starts_with(certificates_dir);
        if mounted || dirs.iter().any(|known| dir.starts_with(known.as_str())) {
            continue;
        }
        dirs.retain(|known| !known.starts_with(dir));
        dirs.insert(dir.to_owned());
    }
    dirs
}
