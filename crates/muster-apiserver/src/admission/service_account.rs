//! ServiceAccount: every pod runs as some account, and finds that account's token, the cluster's CA and its
//! namespace at the usual place.
//!
//! Refuses to know: how the kubelet gets the token.

use muster_identity::Entropy as _;
use muster_machinery::meta;
use serde_json::{Value, json};

use super::{AdmissionRequest, Admitted, Judged};
use crate::{authz::is_mirror_pod, entropy::system_entropy, request::ObjectReader};

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// Kubernetes' life of such tokens; the odd number marks them as made here.
const TOKEN_SECONDS: i64 = 3_607;
/// Characters of generated names: no vowels, nothing that looks like another.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

pub(super) fn admit(
    reader: &dyn ObjectReader,
    request: &AdmissionRequest<'_>,
    pod: &mut Value,
) -> Admitted {
    let judged = Judged::of(request, Some(&*pod), None);
    if is_mirror_pod(pod) {
        return check_mirror(&judged, pod);
    }
    let namespace = judged.namespace();
    let name = account_of(pod).unwrap_or("default").to_owned();
    let Some(account) = reader.get("", "serviceaccounts", Some(namespace), &name) else {
        return Err(judged.forbidden(&format!(
            "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
        )));
    };
    let pull_secrets = meta::items(&account, &["imagePullSecrets"]).to_vec();
    let mounts = mounts_token(pod, &account);
    if let Some(spec) = meta::map_mut(pod, "spec") {
        spec.insert("serviceAccountName".to_owned(), name.clone().into());
        spec.insert("serviceAccount".to_owned(), name.into());
        let has_own = spec
            .get("imagePullSecrets")
            .and_then(Value::as_array)
            .is_some_and(|own| !own.is_empty());
        if !has_own && !pull_secrets.is_empty() {
            spec.insert("imagePullSecrets".to_owned(), pull_secrets.into());
        }
    }
    if mounts {
        mount_token(pod);
    }
    Ok(())
}

/// `serviceAccountName`, or its old name `serviceAccount`.
fn account_of(pod: &Value) -> Option<&str> {
    ["serviceAccountName", "serviceAccount"]
        .into_iter()
        .filter_map(|field| meta::str_at(pod, &["spec", field]))
        .find(|name| !name.is_empty())
}

/// The pod's word counts before the account's.
fn mounts_token(pod: &Value, account: &Value) -> bool {
    let of_pod = meta::at(pod, &["spec", "automountServiceAccountToken"]);
    let of_account = account.get("automountServiceAccountToken");
    of_pod
        .and_then(Value::as_bool)
        .or_else(|| of_account.and_then(Value::as_bool))
        .unwrap_or(true)
}

/// A mirror pod was written by its node, so it may not name anything that would give the node a right.
fn check_mirror(request: &Judged<'_>, pod: &Value) -> Admitted {
    if account_of(pod).is_some() {
        return Err(request.forbidden("a mirror pod may not reference service accounts"));
    }
    let projects_token = |volume: &Value| {
        meta::items(volume, &["projected", "sources"])
            .iter()
            .any(|source| {
                source
                    .get("serviceAccountToken")
                    .is_some_and(|token| !token.is_null())
            })
    };
    if meta::items(pod, &["spec", "volumes"])
        .iter()
        .any(projects_token)
    {
        return Err(
            request.forbidden("a mirror pod may not use ServiceAccountToken volume projections")
        );
    }
    Ok(())
}

fn mount_token(pod: &mut Value) {
    let existing = existing_volume(pod);
    let volume = existing.clone().unwrap_or_else(fresh_name);
    let mount = json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH});
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        let containers = pod
            .pointer_mut(&format!("/spec/{list}"))
            .and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            mounted |= add_mount(container, &mount);
        }
    }
    if !mounted || existing.is_some() {
        return;
    }
    let Some(spec) = meta::map_mut(pod, "spec") else {
        return;
    };
    let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
    if volumes.is_null() {
        *volumes = json!([]);
    }
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.push(token_volume(&volume));
    }
}

/// A volume of ours that the pod has already, e.g. because it was exported and is applied again.
fn existing_volume(pod: &Value) -> Option<String> {
    meta::items(pod, &["spec", "volumes"])
        .iter()
        .filter(|volume| volume.get("projected").is_some())
        .filter_map(|volume| meta::str_at(volume, &["name"]))
        .find(|name| name.starts_with(VOLUME_PREFIX))
        .map(str::to_owned)
}

/// Adds the mount unless something is mounted at that place; says whether it did.
fn add_mount(container: &mut Value, mount: &Value) -> bool {
    let taken = meta::items(container, &["volumeMounts"])
        .iter()
        .any(|own| meta::str_at(own, &["mountPath"]) == Some(MOUNT_PATH));
    if taken {
        return false;
    }
    let Some(container) = container.as_object_mut() else {
        return false;
    };
    let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
    if mounts.is_null() {
        *mounts = json!([]);
    }
    match mounts.as_array_mut() {
        Some(mounts) => {
            mounts.push(mount.clone());
            true
        }
        None => false,
    }
}

fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {
                    "name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }},
                {"downwardAPI": {"items": [{
                    "path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                }]}},
            ],
        },
    })
}

fn fresh_name() -> String {
    let mut bytes = [0_u8; 5];
    system_entropy().fill(&mut bytes);
    let letter = |byte: &u8| char::from(NAME_ALPHABET[usize::from(*byte) % NAME_ALPHABET.len()]);
    let suffix: String = bytes.iter().map(letter).collect();
    format!("{VOLUME_PREFIX}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::harness::{Bench, account, namespace};

    fn pod(spec: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    }

    fn bench() -> Bench {
        Bench::new([namespace("default"), account("default", "default")])
    }

    #[test]
    fn a_pod_runs_as_the_default_account_with_its_token_mounted() {
        let admitted = bench()
            .create("default/pods", pod(json!({"containers": [{"name": "a"}]})))
            .expect("admitted");
        let spec = &admitted["spec"];
        assert_eq!(
            (&spec["serviceAccountName"], &spec["serviceAccount"]),
            (&json!("default"), &json!("default"))
        );
        let volume = spec["volumes"][0]["name"].as_str().unwrap_or_default();
        assert!(volume.starts_with(VOLUME_PREFIX) && volume.len() == VOLUME_PREFIX.len() + 5);
        let mount = &spec["containers"][0]["volumeMounts"][0];
        assert_eq!(
            (&mount["name"], &mount["mountPath"]),
            (&json!(volume), &json!(MOUNT_PATH))
        );
        assert_eq!(spec["volumes"][0]["projected"]["defaultMode"], 420);
    }

    #[test]
    fn the_pods_word_on_mounting_counts_before_the_accounts() {
        let mut silent = account("default", "silent");
        silent["automountServiceAccountToken"] = false.into();
        let bench = Bench::new([namespace("default"), silent]);
        for (own, mounted) in [
            (json!(null), false),
            (json!(true), true),
            (json!(false), false),
        ] {
            let spec = json!({
                "serviceAccountName": "silent", "automountServiceAccountToken": own,
                "containers": [{"name": "a"}],
            });
            let admitted = bench.create("default/pods", pod(spec)).expect("admitted");
            assert_eq!(admitted["spec"].get("volumes").is_some(), mounted);
        }
    }

    #[test]
    fn a_place_that_is_taken_is_left_alone() {
        let own = json!({"name": "own", "mountPath": MOUNT_PATH});
        let spec = json!({"containers": [{"name": "a", "volumeMounts": [own]}]});
        let admitted = bench().create("default/pods", pod(spec)).expect("admitted");
        assert_eq!(
            admitted["spec"]["containers"][0]["volumeMounts"],
            json!([own])
        );
        assert_eq!(admitted["spec"].get("volumes"), None);
    }

    #[test]
    fn pull_secrets_come_from_the_account_unless_the_pod_has_its_own() {
        let mut puller = account("default", "puller");
        puller["imagePullSecrets"] = json!([{"name": "theirs"}]);
        let bench = Bench::new([namespace("default"), puller]);
        for (own, expected) in [(json!(null), "theirs"), (json!([{"name": "mine"}]), "mine")] {
            let spec = json!({"serviceAccountName": "puller", "imagePullSecrets": own});
            let admitted = bench.create("default/pods", pod(spec)).expect("admitted");
            assert_eq!(admitted["spec"]["imagePullSecrets"][0]["name"], expected);
        }
    }

    #[test]
    fn a_pod_of_an_unknown_account_is_refused() {
        let spec = json!({"serviceAccountName": "nobody"});
        let refused = bench()
            .create("default/pods", pod(spec))
            .expect_err("refused");
        assert_eq!(
            refused.message(),
            r#"pods "p" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found"#
        );
    }

    #[test]
    fn a_mirror_pod_stays_as_it_is_and_names_no_account() {
        let mirror = |spec| {
            let mut pod = pod(spec);
            pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
            pod
        };
        let admitted = bench()
            .create("default/pods", mirror(json!({})))
            .expect("admitted");
        assert_eq!(admitted["spec"].get("serviceAccountName"), None);
        let refused = bench().create(
            "default/pods",
            mirror(json!({"serviceAccountName": "default"})),
        );
        assert!(
            refused
                .expect_err("refused")
                .message()
                .ends_with("may not reference service accounts")
        );
    }
}
