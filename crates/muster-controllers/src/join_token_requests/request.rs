//! A join token request as it stands in the API, read from either version into one form.
//!
//! It refuses to judge: what cannot be carried out is kept as a text for the status. It knows no API.

use super::flavour::Flavour;
use super::names::{
    FINALIZER, FORMAT_ANNOTATION, GROUP, KIND, LAST_APPLIED, PLURAL, RENEW_ANNOTATION,
    RENEW_ANNOTATION_LONG, STORED_VERSION,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference};
use kube::ResourceExt;
use kube::core::{ApiResource, DynamicObject};
use muster_identity::{GoDuration, JoinRole};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Namespace and name: of a request, of its Secret (they share both), of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The namespace.
    pub(crate) namespace: String,
    /// The name.
    pub(crate) name: String,
}

impl Place {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// `NAMESPACE/NAME`, as it is displayed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        Some(Self::new(namespace, name))
    }

    /// Where an object is.
    pub(crate) fn of<K: kube::Resource>(object: &K) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) cluster: Place,
    /// How the cluster is written on labels: `NAME.NAMESPACE` where the request names both, else `NAME`.
    pub(crate) cluster_label: String,
    pub(crate) role: JoinRole,
    /// As it stands, for comparing.
    pub(crate) expiry: String,
    /// `None` is for ever.
    pub(crate) life: Option<SignedDuration>,
    pub(crate) flavour: Flavour,
    pub(crate) renew: bool,
}

/// Why a wish cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) place: Place,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) generation: i64,
    pub(crate) deleting: bool,
    /// All finalizers.
    pub(crate) finalizers: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) wish: Result<Wish, Unfit>,
    pub(crate) status: Status,
}

/// How far a token has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Its id stands here; it may stand in the target cluster.
    Decided,
    /// It stands in the target cluster, and in the Secret.
    Delivered,
    /// It has expired and is out of the target cluster.
    Ended,
}

/// A token of a request. The record is written before the token is made, and goes after it is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Issue {
    pub(crate) id: String,
    pub(crate) namespace: String,
    pub(crate) cluster: String,
    #[serde(rename = "clusterUID")]
    pub(crate) cluster_uid: String,
    /// Whether the uid is that of a Cluster object: when it goes, the target is gone with it.
    #[serde(default)]
    pub(crate) cluster_object: bool,
    #[serde(default)]
    pub(crate) role: String,
    #[serde(default)]
    pub(crate) expiry: String,
    #[serde(default)]
    pub(crate) format: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expiration_time: Option<Timestamp>,
    pub(crate) phase: Phase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) way: Option<String>,
}

/// What a request's status says, in the fields of both versions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub(crate) reconciliation_status: String,
    #[serde(rename = "tokenID", skip_serializing_if = "Option::is_none")]
    pub(crate) token_id: Option<String>,
    #[serde(rename = "clusterUID", skip_serializing_if = "Option::is_none")]
    pub(crate) cluster_uid: Option<String>,
    pub(crate) cluster: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expiration_time: Option<Timestamp>,
    pub(crate) observed_generation: i64,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) tokens: Vec<Issue>,
    pub(crate) deprecated: Deprecated,
}

/// Where k0smotron's v1beta2 keeps what v1beta1 had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Deprecated {
    pub(crate) v1beta1: DeprecatedFields,
}

/// See [`Deprecated`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeprecatedFields {
    pub(crate) reconciliation_status: String,
    #[serde(rename = "clusterUID", skip_serializing_if = "Option::is_none")]
    pub(crate) cluster_uid: Option<String>,
}

impl Issue {
    /// The cluster that it is for.
    pub(crate) fn place(&self) -> Place {
        Place::new(&self.namespace, &self.cluster)
    }

    /// Whether it has expired at `now`.
    pub(crate) fn is_past(&self, now: Timestamp) -> bool {
        self.expiration_time.is_some_and(|end| end <= now)
    }

    /// Whether it is what the wish asks for, of the cluster with this uid.
    pub(crate) fn answers(&self, wish: &Wish, cluster_uid: &str) -> bool {
        self.place() == wish.cluster
            && self.cluster_uid == cluster_uid
            && self.role == wish.role.as_str()
            && self.expiry == wish.expiry
            && self.format == wish.flavour.as_str()
    }
}

impl Status {
    /// The token that the request stands for now.
    pub(crate) fn current(&self) -> Option<&Issue> {
        let id = self.token_id.as_deref()?;
        self.tokens.iter().find(|issue| issue.id == id)
    }

    /// A condition by its type.
    pub(crate) fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions.iter().find(|one| one.type_ == type_)
    }
}

impl Request {
    /// The resource of requests, in the version in which they are kept.
    pub(crate) fn resource() -> ApiResource {
        ApiResource {
            group: GROUP.to_owned(),
            version: STORED_VERSION.to_owned(),
            api_version: format!("{GROUP}/{STORED_VERSION}"),
            kind: KIND.to_owned(),
            plural: PLURAL.to_owned(),
        }
    }

    /// Reads an object of either version.
    pub(crate) fn read(object: &DynamicObject) -> Self {
        let status = object.data.get("status").cloned().unwrap_or_default();
        let status = serde_json::from_value(status).unwrap_or_default();
        Self {
            place: Place::of(object),
            uid: object.uid().unwrap_or_default(),
            resource_version: object.resource_version().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            deleting: object.metadata.deletion_timestamp.is_some(),
            finalizers: object.finalizers().to_vec(),
            labels: object.labels().clone(),
            annotations: object.annotations().clone(),
            wish: read_wish(object),
            status,
        }
    }

    /// Whether it waits for us before it goes.
    pub(crate) fn is_held(&self) -> bool {
        self.finalizers.iter().any(|name| name == FINALIZER)
    }

    /// Whether this was not read earlier than `other`.
    pub(crate) fn is_newer_than(&self, other: &Self) -> bool {
        self.uid != other.uid || !is_older(&self.resource_version, &other.resource_version)
    }

    /// What the Secret belongs to.
    pub(crate) fn owner_reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: format!("{GROUP}/{STORED_VERSION}"),
            kind: KIND.to_owned(),
            name: self.place.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// What events are about.
    pub(crate) fn object_reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(format!("{GROUP}/{STORED_VERSION}")),
            kind: Some(KIND.to_owned()),
            name: Some(self.place.name.clone()),
            namespace: Some(self.place.namespace.clone()),
            uid: Some(self.uid.clone()),
            resource_version: Some(self.resource_version.clone()),
            ..ObjectReference::default()
        }
    }

    /// The annotations that its Secret gets as well.
    pub(crate) fn annotations_to_hand_on(&self) -> BTreeMap<String, String> {
        let mut annotations = self.annotations.clone();
        annotations.remove(LAST_APPLIED);
        annotations
    }
}

/// Whether a resource version is an earlier one. Those of Kubernetes are numbers that grow; of others nothing is said.
pub(crate) fn is_older(one: &str, other: &str) -> bool {
    match (one.parse::<u128>(), other.parse::<u128>()) {
        (Ok(one), Ok(other)) => one < other,
        _ => false,
    }
}

fn read_wish(object: &DynamicObject) -> Result<Wish, Unfit> {
    let spec = &object.data["spec"];
    let text = |at: &serde_json::Value| at.as_str().unwrap_or_default().to_owned();
    let own = object.namespace().unwrap_or_default();
    let reference = &spec["clusterRef"];
    let (cluster, cluster_label) = if reference["name"].is_string() {
        let place = Place::new(text(&reference["namespace"]), text(&reference["name"]));
        let label = format!("{}.{}", place.name, place.namespace);
        (place, label)
    } else {
        let name = text(&spec["clusterName"]);
        (Place::new(own, name.clone()), name)
    };
    if cluster.name.is_empty() || cluster.namespace.is_empty() {
        return Err(Unfit {
            reason: "ClusterNotNamed",
            message: "the request names no cluster".to_owned(),
        });
    }
    let role = match spec["role"].as_str() {
        None | Some("") => JoinRole::Worker,
        Some(role) => role.parse().map_err(|_| Unfit {
            reason: "RoleInvalid",
            message: format!("{role:?} is no role, use worker or controller"),
        })?,
    };
    let expiry = match spec["expiry"].as_str() {
        None | Some("") => "0s",
        Some(expiry) => expiry,
    };
    let life = read_expiry(expiry)?;
    let annotation = |name: &str| object.annotations().get(name).map(String::as_str);
    let flavour = Flavour::parse(annotation(FORMAT_ANNOTATION), role)?;
    let is_true = |name| annotation(name) == Some("true");
    Ok(Wish {
        cluster,
        cluster_label,
        role,
        expiry: expiry.to_owned(),
        life,
        flavour,
        renew: is_true(RENEW_ANNOTATION) || is_true(RENEW_ANNOTATION_LONG),
    })
}

/// The schema has looked at it; definitions of others may be laxer.
fn read_expiry(text: &str) -> Result<Option<SignedDuration>, Unfit> {
    let unfit = |message: String| Unfit {
        reason: "ExpiryInvalid",
        message,
    };
    let life = GoDuration::parse(text)
        .map_err(|error| unfit(format!("expiry cannot be read: {error}")))?
        .to_signed_duration();
    if life.is_negative() {
        return Err(unfit("expiry must not be negative".to_owned()));
    }
    Ok((!life.is_zero()).then_some(life))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn read(spec: Value, annotations: Value) -> Request {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "k0smotron.io/v1beta2", "kind": "JoinTokenRequest",
            "metadata": {"name": "my-token", "namespace": "default", "uid": "u", "annotations": annotations},
            "spec": spec,
        }))
        .expect("an object");
        Request::read(&object)
    }

    #[test]
    fn both_versions_name_their_cluster() {
        let old = json!({"clusterRef": {"name": "my-cluster", "namespace": "other"}});
        let wish = read(old, json!({})).wish.expect("a wish");
        assert_eq!(wish.cluster, Place::new("other", "my-cluster"));
        assert_eq!(wish.cluster_label, "my-cluster.other");
        assert_eq!(
            (wish.role, wish.life, wish.renew),
            (JoinRole::Worker, None, false)
        );
        let new =
            json!({"clusterName": "my-cluster", "role": "controller", "expiry": "1h", "x": 1});
        let wish = read(new, json!({"renew": "true"})).wish.expect("a wish");
        assert_eq!(wish.cluster, Place::new("default", "my-cluster"));
        assert_eq!(wish.cluster_label, "my-cluster");
        assert_eq!(wish.role, JoinRole::Controller);
        assert_eq!(wish.life, Some(SignedDuration::from_hours(1)));
        assert!(wish.renew);
    }

    #[rstest]
    #[case(json!({}), "ClusterNotNamed")]
    #[case(json!({"clusterName": "c", "role": "queen"}), "RoleInvalid")]
    #[case(json!({"clusterName": "c", "expiry": "-1h"}), "ExpiryInvalid")]
    #[case(json!({"clusterName": "c", "expiry": "1h; rm -rf /"}), "ExpiryInvalid")]
    #[case(json!({"clusterName": "c", "expiry": "99999999h"}), "ExpiryInvalid")]
    fn what_cannot_be_carried_out_is_said(#[case] spec: Value, #[case] reason: &str) {
        let wish = read(spec, json!({})).wish;
        assert_eq!(wish.map_err(|unfit| unfit.reason), Err(reason));
    }

    #[test]
    fn a_status_of_somebody_else_is_read_as_far_as_it_goes() {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "k0smotron.io/v1beta1", "kind": "JoinTokenRequest",
            "metadata": {"name": "n", "namespace": "ns"}, "spec": {"clusterName": "c"},
            "status": {"reconciliationStatus": "Reconciliation successful", "tokenID": "abcdef"},
        }))
        .expect("an object");
        let status = Request::read(&object).status;
        assert_eq!(status.token_id.as_deref(), Some("abcdef"));
        assert_eq!(status.current(), None);
    }
}
