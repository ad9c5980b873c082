//! Volumes, claims, classes, CSI objects and device claims.

use jiff::Timestamp;
use serde_json::Value;

use super::cell::{age_of, count, flag, name, text, text_or};
use super::column::{self, AGE, Column, NAME, Printer, boolean, integer, wide};
use crate::meta::{self, at, items, str_at};
use crate::quantity::canonical;

const VOLUME: &[Column] = &[
    NAME,
    column::text(
        "Capacity",
        "capacity is the description of the persistent volume's resources and capacity.",
    ),
    column::text(
        "Access Modes",
        "accessModes contains all ways the volume can be mounted.",
    ),
    column::text(
        "Reclaim Policy",
        "persistentVolumeReclaimPolicy defines what happens to a persistent volume when released from its claim.",
    ),
    column::text(
        "Status",
        "phase indicates if a volume is available, bound to a claim, or released by a claim.",
    ),
    column::text(
        "Claim",
        "claimRef is part of a bi-directional binding between PersistentVolume and PersistentVolumeClaim.",
    ),
    column::text("StorageClass", "StorageClass of the pv"),
    column::text("VolumeAttributesClass", "VolumeAttributesClass of the pv"),
    column::text(
        "Reason",
        "reason is a brief CamelCase string that describes any failure and is meant for machine parsing and tidy display in the CLI.",
    ),
    AGE,
    wide(
        "VolumeMode",
        "volumeMode defines if a volume is intended to be used with a formatted filesystem or to remain in raw block state.",
    ),
];

const CLAIM: &[Column] = &[
    NAME,
    column::text(
        "Status",
        "phase represents the current phase of PersistentVolumeClaim.",
    ),
    column::text(
        "Volume",
        "volumeName is the binding reference to the PersistentVolume backing this claim.",
    ),
    column::text(
        "Capacity",
        "capacity represents the actual resources of the underlying volume.",
    ),
    column::text(
        "Access Modes",
        "accessModes contains the actual access modes the volume backing the PVC has.",
    ),
    column::text("StorageClass", "StorageClass of the pvc"),
    column::text("VolumeAttributesClass", "VolumeAttributesClass of the pvc"),
    AGE,
    wide(
        "VolumeMode",
        "volumeMode defines what type of volume is required by the claim.",
    ),
];

const STORAGE_CLASS: &[Column] = &[
    NAME,
    column::text(
        "Provisioner",
        "provisioner indicates the type of the provisioner.",
    ),
    column::text(
        "ReclaimPolicy",
        "reclaimPolicy controls the reclaimPolicy for dynamically provisioned PersistentVolumes of this storage class.",
    ),
    column::text(
        "VolumeBindingMode",
        "volumeBindingMode indicates how PersistentVolumeClaims should be provisioned and bound.",
    ),
    column::text(
        "AllowVolumeExpansion",
        "allowVolumeExpansion shows whether the storage class allow volume expand.",
    ),
    AGE,
];

const ATTRIBUTES_CLASS: &[Column] = &[
    NAME,
    column::text("DriverName", "Name of the CSI driver"),
    AGE,
];

const ATTACHMENT: &[Column] = &[
    NAME,
    Column {
        format: "name",
        ..column::text(
            "Attacher",
            "attacher indicates the name of the volume driver that MUST handle this request.",
        )
    },
    column::text(
        "PV",
        "persistentVolumeName represents the name of the persistent volume to attach.",
    ),
    column::text(
        "Node",
        "nodeName represents the node that the volume should be attached to.",
    ),
    boolean(
        "Attached",
        "attached indicates the volume is successfully attached.",
    ),
    AGE,
];

const CSI_NODE: &[Column] = &[
    NAME,
    integer(
        "Drivers",
        "Drivers indicates the number of CSI drivers registered on the node",
    ),
    AGE,
];

const CSI_DRIVER: &[Column] = &[
    NAME,
    boolean(
        "AttachRequired",
        "attachRequired indicates this CSI volume driver requires an attach operation.",
    ),
    boolean(
        "PodInfoOnMount",
        "podInfoOnMount indicates this CSI volume driver requires additional pod information during mount operations.",
    ),
    boolean(
        "StorageCapacity",
        "storageCapacity indicates that the CSI volume driver wants pod scheduling to consider the storage capacity.",
    ),
    column::text(
        "TokenRequests",
        "tokenRequests indicates the CSI driver needs pods' service account tokens it is mounting volume for.",
    ),
    boolean(
        "RequiresRepublish",
        "requiresRepublish indicates the CSI driver wants NodePublishVolume being periodically called.",
    ),
    column::text(
        "Modes",
        "volumeLifecycleModes defines what kind of volumes this CSI volume driver supports.",
    ),
    AGE,
];

const CAPACITY: &[Column] = &[
    NAME,
    column::text(
        "StorageClassName",
        "storageClassName represents the name of the StorageClass that the reported capacity applies to.",
    ),
    column::text(
        "Capacity",
        "capacity is the value reported by the CSI driver in its GetCapacityResponse.",
    ),
];

const AGED: &[Column] = &[NAME, AGE];

const RESOURCE_CLAIM: &[Column] = &[
    NAME,
    column::text(
        "State",
        "A summary of the current state (allocated, pending, reserved, etc.).",
    ),
    AGE,
];

const RESOURCE_SLICE: &[Column] = &[
    NAME,
    column::text(
        "Node",
        "NodeName identifies the node which provides the resources in this pool.",
    ),
    column::text(
        "Driver",
        "Driver identifies the DRA driver providing the capacity information.",
    ),
    column::text("Pool", "Name is used to identify the pool."),
    AGE,
];

pub(super) fn core_printer(kind: &str) -> Option<Printer> {
    match kind {
        "PersistentVolume" => Some(Printer::new(VOLUME, volume)),
        "PersistentVolumeClaim" => Some(Printer::new(CLAIM, claim)),
        _ => None,
    }
}

pub(super) fn printer(kind: &str) -> Option<Printer> {
    Some(match kind {
        "StorageClass" => Printer::new(STORAGE_CLASS, storage_class),
        "VolumeAttributesClass" => Printer::new(ATTRIBUTES_CLASS, |o, now| {
            vec![
                default_name(o).into(),
                text(o, &["driverName"]),
                age_of(o, now),
            ]
        }),
        "VolumeAttachment" => Printer::new(ATTACHMENT, attachment),
        "CSINode" => Printer::new(CSI_NODE, |o, now| {
            vec![name(o), count(o, &["spec", "drivers"]), age_of(o, now)]
        }),
        "CSIDriver" => Printer::new(CSI_DRIVER, csi_driver),
        "CSIStorageCapacity" => Printer::new(CAPACITY, |o, _| {
            let capacity = o
                .get("capacity")
                .map_or_else(|| "<unset>".into(), canonical);
            vec![name(o), text(o, &["storageClassName"]), capacity.into()]
        }),
        "DeviceClass" | "ResourceClaimTemplate" => {
            Printer::new(AGED, |o, now| vec![name(o), age_of(o, now)])
        }
        "ResourceClaim" => Printer::new(RESOURCE_CLAIM, |o, now| {
            vec![name(o), claim_state(o).into(), age_of(o, now)]
        }),
        "ResourceSlice" => Printer::new(RESOURCE_SLICE, |o, now| {
            let spec = |path: &[&str]| text(&o["spec"], path);
            vec![
                name(o),
                spec(&["nodeName"]),
                spec(&["driver"]),
                spec(&["pool", "name"]),
                age_of(o, now),
            ]
        }),
        _ => return None,
    })
}

fn volume(volume: &Value, now: Timestamp) -> Vec<Value> {
    let claim = at(volume, &["spec", "claimRef"])
        .filter(|c| !c.is_null())
        .map_or_else(String::new, |claim| {
            let field = |key| str_at(claim, &[key]).unwrap_or("");
            format!("{}/{}", field("namespace"), field("name"))
        });
    vec![
        name(volume),
        at(volume, &["spec", "capacity", "storage"])
            .map_or_else(|| "0".into(), canonical)
            .into(),
        access_modes(volume, &["spec", "accessModes"]).into(),
        text(volume, &["spec", "persistentVolumeReclaimPolicy"]),
        phase(volume),
        claim.into(),
        class(volume).into(),
        text_or(volume, &["spec", "volumeAttributesClassName"], "<unset>"),
        text(volume, &["status", "reason"]),
        age_of(volume, now),
        text_or(volume, &["spec", "volumeMode"], "<unset>"),
    ]
}

fn claim(claim: &Value, now: Timestamp) -> Vec<Value> {
    let bound = str_at(claim, &["spec", "volumeName"]).is_some_and(|name| !name.is_empty());
    let capacity = match at(claim, &["status", "capacity", "storage"]) {
        _ if !bound => String::new(),
        Some(capacity) => canonical(capacity),
        None => "0".into(),
    };
    let modes = if bound {
        access_modes(claim, &["status", "accessModes"])
    } else {
        String::new()
    };
    vec![
        name(claim),
        phase(claim),
        text(claim, &["spec", "volumeName"]),
        capacity.into(),
        modes.into(),
        class(claim).into(),
        text_or(claim, &["spec", "volumeAttributesClassName"], "<unset>"),
        age_of(claim, now),
        text_or(claim, &["spec", "volumeMode"], "<unset>"),
    ]
}

fn phase(object: &Value) -> Value {
    if meta::is_being_deleted(object) {
        "Terminating".into()
    } else {
        text(object, &["status", "phase"])
    }
}

/// The class, in its annotation of old or in its field.
fn class(object: &Value) -> &str {
    meta::annotation(object, "volume.beta.kubernetes.io/storage-class")
        .or_else(|| str_at(object, &["spec", "storageClassName"]))
        .unwrap_or("")
}

/// `RWO`, `ROX`, `RWX`, `RWOP`, in this order and each once.
fn access_modes(object: &Value, path: &[&str]) -> String {
    let modes: Vec<_> = items(object, path)
        .iter()
        .filter_map(Value::as_str)
        .collect();
    [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ]
    .iter()
    .filter(|(mode, _)| modes.contains(mode))
    .map(|(_, short)| *short)
    .collect::<Vec<_>>()
    .join(",")
}

fn default_name(class: &Value) -> String {
    let is_default = [
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ]
    .iter()
    .any(|key| meta::annotation(class, key) == Some("true"));
    let name = meta::name(class);
    if is_default {
        format!("{name} (default)")
    } else {
        name.to_owned()
    }
}

fn storage_class(class: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        default_name(class).into(),
        text(class, &["provisioner"]),
        text_or(class, &["reclaimPolicy"], "Delete"),
        text_or(class, &["volumeBindingMode"], "Immediate"),
        flag(class, &["allowVolumeExpansion"], false).into(),
        age_of(class, now),
    ]
}

fn attachment(attachment: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(attachment),
        text(attachment, &["spec", "attacher"]),
        text(attachment, &["spec", "source", "persistentVolumeName"]),
        text(attachment, &["spec", "nodeName"]),
        flag(attachment, &["status", "attached"], false).into(),
        age_of(attachment, now),
    ]
}

fn csi_driver(driver: &Value, now: Timestamp) -> Vec<Value> {
    let modes: Vec<_> = items(driver, &["spec", "volumeLifecycleModes"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let modes = if modes.is_empty() {
        "<none>".into()
    } else {
        modes.join(",")
    };
    let requests = match at(driver, &["spec", "tokenRequests"]) {
        None | Some(Value::Null) => "<unset>".into(),
        Some(_) => items(driver, &["spec", "tokenRequests"])
            .iter()
            .map(|request| str_at(request, &["audience"]).unwrap_or(""))
            .collect::<Vec<_>>()
            .join(","),
    };
    let spec = |field, otherwise| -> Value { flag(driver, &["spec", field], otherwise).into() };
    vec![
        name(driver),
        spec("attachRequired", true),
        spec("podInfoOnMount", false),
        spec("storageCapacity", false),
        requests.into(),
        spec("requiresRepublish", false),
        modes.into(),
        age_of(driver, now),
    ]
}

fn claim_state(claim: &Value) -> String {
    let deleted = meta::is_being_deleted(claim);
    let allocated = at(claim, &["status", "allocation"]).is_some_and(|a| !a.is_null());
    let reserved = !items(claim, &["status", "reservedFor"]).is_empty();
    [
        (deleted, "deleted"),
        (!allocated && !deleted, "pending"),
        (allocated, "allocated"),
        (allocated && reserved, "reserved"),
    ]
    .iter()
    .filter(|(holds, _)| *holds)
    .map(|(_, word)| *word)
    .collect::<Vec<_>>()
    .join(",")
}
