//! Which secrets, config maps, claims and accounts a pod or volume refers to: the fields in which
//! Kubernetes' types `PodSpec`, `Volume` and `PersistentVolumeSpec` can name another object.
//!
//! Refuses to know: nodes, rights, and whether what is named exists.

use std::borrow::Cow;

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

/// What the environments of containers name in `valueFrom.KEY` and `envFrom[].SOURCE`.
fn environment<'a>(
    pod: &'a Value,
    key: &'static str,
    source: &'static str,
) -> impl Iterator<Item = &'a str> {
    containers(pod).flat_map(move |container| {
        let single = items(container, &["env"])
            .iter()
            .filter_map(move |variable| str_at(variable, &["valueFrom", key, "name"]));
        let whole = items(container, &["envFrom"])
            .iter()
            .filter_map(move |group| str_at(group, &[source, "name"]));
        single.chain(whole)
    })
}

/// What projected volumes name in `SOURCE.name`.
fn projected<'a>(pod: &'a Value, source: &'static str) -> impl Iterator<Item = &'a str> {
    volumes(pod)
        .iter()
        .flat_map(projections)
        .filter_map(move |projection| str_at(projection, &[source, "name"]))
}

/// The secrets that the pod refers to, some several times.
pub(super) fn secrets(pod: &Value) -> impl Iterator<Item = &str> {
    let pulled = items(pod, &["spec", "imagePullSecrets"])
        .iter()
        .filter_map(|pull| str_at(pull, &["name"]));
    let mounted = volumes(pod).iter().flat_map(|volume| {
        VOLUME_SECRETS
            .iter()
            .filter_map(|path| str_at(volume, path))
    });
    pulled
        .chain(environment(pod, "secretKeyRef", "secretRef"))
        .chain(mounted)
        .chain(projected(pod, "secret"))
}

/// The config maps that the pod refers to, some several times.
pub(super) fn config_maps(pod: &Value) -> impl Iterator<Item = &str> {
    let mounted = volumes(pod)
        .iter()
        .filter_map(|volume| str_at(volume, &["configMap", "name"]));
    environment(pod, "configMapKeyRef", "configMapRef")
        .chain(mounted)
        .chain(projected(pod, "configMap"))
}

/// The account that the pod runs as.
pub(super) fn service_account(pod: &Value) -> Option<&str> {
    str_at(pod, &["spec", "serviceAccountName"])
}

/// The claims that the pod mounts, by name or as its ephemeral volumes (`POD-VOLUME`).
pub(super) fn claims(pod: &Value) -> impl Iterator<Item = Cow<'_, str>> {
    volumes(pod).iter().flat_map(|volume| {
        let named = str_at(volume, &["persistentVolumeClaim", "claimName"]).map(Cow::from);
        let is_ephemeral = at(volume, &["ephemeral"]).is_some_and(|source| !source.is_null());
        let ephemeral = is_ephemeral.then(|| {
            let volume = str_at(volume, &["name"]).unwrap_or_default();
            Cow::from(format!("{}-{volume}", object_name(pod)))
        });
        named.into_iter().chain(ephemeral)
    })
}

/// The resource claims that the pod uses, directly or through those made for it from a template.
pub(super) fn resource_claims(pod: &Value) -> impl Iterator<Item = &str> {
    let named = |claim| str_at(claim, &["resourceClaimName"]);
    let extended = ["status", "extendedResourceClaimStatus", "resourceClaimName"];
    items(pod, &["spec", "resourceClaims"])
        .iter()
        .chain(items(pod, &["status", "resourceClaimStatuses"]))
        .filter_map(named)
        .chain(str_at(pod, &extended))
}

/// Namespace and name of the claim that the persistent volume is bound to.
pub(super) fn claim_of_volume(volume: &Value) -> Option<(&str, &str)> {
    let claim = |field| str_at(volume, &["spec", "claimRef", field]);
    Some((claim("namespace")?, claim("name")?))
}

/// Namespaces and names of the secrets that the persistent volume refers to. Without a namespace of its own a
/// reference means the namespace of the volume's claim.
pub(super) fn secrets_of_volume(volume: &Value) -> impl Iterator<Item = (&str, &str)> {
    let spec = at(volume, &["spec"]);
    let claim_namespace = str_at(volume, &["spec", "claimRef", "namespace"]);
    let azure = spec.and_then(|spec| at(spec, &["azureFile"]));
    let azure = azure.map(|azure| {
        (
            str_at(azure, &["secretNamespace"]),
            str_at(azure, &["secretName"]),
        )
    });
    let others = PERSISTENT_SECRETS.iter().filter_map(move |path| {
        let reference = at(spec?, path)?;
        Some((
            str_at(reference, &["namespace"]),
            str_at(reference, &["name"]),
        ))
    });
    azure
        .into_iter()
        .chain(others)
        .filter_map(move |(own, name)| {
            let own = own.filter(|own| !own.is_empty());
            Some((own.or(claim_namespace)?, name?))
        })
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
