//! Which secrets, config maps, claims and accounts a pod or volume refers to: the fields in which
//! Kubernetes' types `PodSpec`, `Volume` and `PersistentVolumeSpec` can name another object.
//!
//! Refuses to know: nodes, rights, and whether what is named exists.

use muster_machinery::meta::{at, items, name as object_name, str_at};
use serde_json::Value;

/// Where a volume source of a pod names a secret of the pod's namespace.
const VOLUME_SECRETS: [&[&str]; 9] = [
    &["secret", "secretName"],
    &["azureFile", "secretName"],
    &["cephfs", "secretRef", "name"],
    &["flexVolume", "secretRef", "name"],
    &["rbd", "secretRef", "name"],
    &["scaleIO", "secretRef", "name"],
    &["iscsi", "secretRef", "name"],
    &["storageos", "secretRef", "name"],
    &["csi", "nodePublishSecretRef", "name"],
];

/// Where a persistent volume refers to a secret by `name` and `namespace`.
const PERSISTENT_SECRETS: [&[&str]; 8] = [
    &["cephfs", "secretRef"],
    &["flexVolume", "secretRef"],
    &["rbd", "secretRef"],
    &["scaleIO", "secretRef"],
    &["iscsi", "secretRef"],
    &["storageos", "secretRef"],
    &["csi", "nodePublishSecretRef"],
    &["csi", "nodeStageSecretRef"],
];

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["containers", "initContainers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| items(pod, &["spec", list]))
}

fn volumes(pod: &Value) -> &[Value] {
    items(pod, &["spec", "volumes"])
}

fn projections(volume: &Value) -> &[Value] {
    items(volume, &["projected", "sources"])
}

/// Whether the environment of a container names `name` in `valueFrom.KEY` or `envFrom[].SOURCE`.
fn environment_uses(pod: &Value, name: &str, key: &str, source: &str) -> bool {
    containers(pod).any(|container| {
        let one = |variable: &Value| str_at(variable, &["valueFrom", key, "name"]) == Some(name);
        let all = |group: &Value| str_at(group, &[source, "name"]) == Some(name);
        items(container, &["env"]).iter().any(one) || items(container, &["envFrom"]).iter().any(all)
    })
}

/// Whether the pod refers to the secret.
pub(crate) fn uses_secret(pod: &Value, name: &str) -> bool {
    let in_volume = |volume: &Value| {
        VOLUME_SECRETS
            .iter()
            .any(|path| str_at(volume, path) == Some(name))
            || projections(volume)
                .iter()
                .any(|source| str_at(source, &["secret", "name"]) == Some(name))
    };
    items(pod, &["spec", "imagePullSecrets"])
        .iter()
        .any(|pull| str_at(pull, &["name"]) == Some(name))
        || environment_uses(pod, name, "secretKeyRef", "secretRef")
        || volumes(pod).iter().any(in_volume)
}

/// Whether the pod refers to the config map.
pub(crate) fn uses_config_map(pod: &Value, name: &str) -> bool {
    let in_volume = |volume: &Value| {
        str_at(volume, &["configMap", "name"]) == Some(name)
            || projections(volume)
                .iter()
                .any(|source| str_at(source, &["configMap", "name"]) == Some(name))
    };
    environment_uses(pod, name, "configMapKeyRef", "configMapRef")
        || volumes(pod).iter().any(in_volume)
}

/// Whether the pod runs as the service account.
pub(crate) fn uses_service_account(pod: &Value, name: &str) -> bool {
    str_at(pod, &["spec", "serviceAccountName"]) == Some(name)
}

/// Whether the pod mounts the claim, by name or as one of its ephemeral volumes (`POD-VOLUME`).
pub(crate) fn uses_claim(pod: &Value, name: &str) -> bool {
    volumes(pod).iter().any(|volume| {
        let ephemeral = || {
            let volume = str_at(volume, &["name"]).unwrap_or_default();
            name == format!("{}-{volume}", object_name(pod))
        };
        str_at(volume, &["persistentVolumeClaim", "claimName"]) == Some(name)
            || (at(volume, &["ephemeral"]).is_some_and(|source| !source.is_null()) && ephemeral())
    })
}

/// Whether the pod uses the resource claim, directly or through one made for it from a template.
pub(crate) fn uses_resource_claim(pod: &Value, name: &str) -> bool {
    let named = |claim: &Value| str_at(claim, &["resourceClaimName"]) == Some(name);
    items(pod, &["spec", "resourceClaims"]).iter().any(named)
        || items(pod, &["status", "resourceClaimStatuses"])
            .iter()
            .any(named)
        || str_at(
            pod,
            &["status", "extendedResourceClaimStatus", "resourceClaimName"],
        ) == Some(name)
}

/// Whether the persistent volume refers to the secret of that namespace. Without a namespace of its own a
/// reference means the namespace of the volume's claim.
pub(crate) fn volume_uses_secret(volume: &Value, namespace: &str, name: &str) -> bool {
    let claim_namespace = str_at(volume, &["spec", "claimRef", "namespace"]);
    let reference = |path: &&[&str]| {
        let Some(reference) = at(volume, &["spec"]).and_then(|spec| at(spec, path)) else {
            return false;
        };
        let own = str_at(reference, &["namespace"]).filter(|own| !own.is_empty());
        str_at(reference, &["name"]) == Some(name) && own.or(claim_namespace) == Some(namespace)
    };
    let azure = at(volume, &["spec", "azureFile"]).is_some_and(|azure| {
        let own = str_at(azure, &["secretNamespace"]).filter(|own| !own.is_empty());
        str_at(azure, &["secretName"]) == Some(name) && own.or(claim_namespace) == Some(namespace)
    });
    azure || PERSISTENT_SECRETS.iter().any(reference)
}

/// The first thing of the pod that names a secret, config map, trust bundle or claim, in Kubernetes' plural;
/// `None` when the pod stands alone. The service account is not looked at.
pub(crate) fn referenced_kind(pod: &Value) -> Option<&'static str> {
    let has = |value: &Value, path: &[&str]| at(value, path).is_some_and(|found| !found.is_null());
    let environment = |key: &str, source: &str| {
        containers(pod).any(|container| {
            let one = |variable: &Value| has(variable, &["valueFrom", key]);
            items(container, &["env"]).iter().any(one)
                || items(container, &["envFrom"])
                    .iter()
                    .any(|group| has(group, &[source]))
        })
    };
    let volume = |wanted: &dyn Fn(&Value) -> bool| volumes(pod).iter().any(wanted);
    let projected = |volume: &Value, source: &str| {
        projections(volume)
            .iter()
            .any(|projection| has(projection, &[source]))
    };
    let secrets =
        |v: &Value| VOLUME_SECRETS.iter().any(|path| has(v, path)) || projected(v, "secret");
    let config_maps = |v: &Value| has(v, &["configMap"]) || projected(v, "configMap");
    let claims = |v: &Value| has(v, &["persistentVolumeClaim"]) || has(v, &["ephemeral"]);
    if !items(pod, &["spec", "imagePullSecrets"]).is_empty()
        || environment("secretKeyRef", "secretRef")
        || volume(&secrets)
    {
        Some("secrets")
    } else if environment("configMapKeyRef", "configMapRef") || volume(&config_maps) {
        Some("configmaps")
    } else if volume(&|v| projected(v, "clusterTrustBundle")) {
        Some("clustertrustbundles")
    } else if volume(&claims) {
        Some("persistentvolumeclaims")
    } else {
        None
    }
}
