//! A token that has to be removed from a cluster which does not answer: remembered in a ConfigMap, without its secret.
//!
//! It refuses to know when the cluster comes back, and the API.

use super::names::{DEBT_LABEL, fingerprint};
use super::request::{Issue, Place};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use std::collections::BTreeMap;

/// What is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Debt {
    /// Where the token is.
    pub(crate) cluster: Place,
    /// Which cluster was meant.
    pub(crate) cluster_uid: String,
    /// Whether the cluster has an object.
    pub(crate) cluster_object: bool,
    /// The token.
    pub(crate) id: String,
    /// The request it was for.
    pub(crate) request: Place,
    /// The request's uid, which stands on the token.
    pub(crate) request_uid: String,
    /// When it expires; then the debt is paid by time.
    pub(crate) end: Option<Timestamp>,
}

impl Debt {
    /// What is owed for a token of a request.
    pub(crate) fn of(issue: &Issue, request: Place, request_uid: &str) -> Self {
        Self {
            cluster: issue.place(),
            cluster_uid: issue.cluster_uid.clone(),
            cluster_object: issue.cluster_object,
            id: issue.id.clone(),
            request,
            request_uid: request_uid.to_owned(),
            end: issue.expiration_time,
        }
    }

    /// The name of its ConfigMap: the same debt has the same name.
    pub(crate) fn name(&self) -> String {
        let text = format!("{} {} {}", self.cluster, self.cluster_uid, self.request_uid);
        let hash = fingerprint(text.as_bytes());
        format!("join-token-debt-{}-{}", self.id, &hash[..10])
    }

    /// The ConfigMap.
    pub(crate) fn to_object(&self) -> ConfigMap {
        let mut data = BTreeMap::from(
            [
                ("clusterNamespace", self.cluster.namespace.clone()),
                ("clusterName", self.cluster.name.clone()),
                ("clusterUID", self.cluster_uid.clone()),
                ("clusterObject", self.cluster_object.to_string()),
                ("tokenID", self.id.clone()),
                ("requestNamespace", self.request.namespace.clone()),
                ("requestName", self.request.name.clone()),
                ("requestUID", self.request_uid.clone()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        if let Some(end) = self.end {
            data.insert("expirationTime".to_owned(), end.to_string());
        }
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.name()),
                labels: Some(BTreeMap::from([(DEBT_LABEL.to_owned(), "true".to_owned())])),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        }
    }

    /// Reads a ConfigMap; `None` when it is not one of ours.
    pub(crate) fn read(object: &ConfigMap) -> Option<Self> {
        let data = object.data.as_ref()?;
        let text = |key: &str| data.get(key).filter(|text| !text.is_empty()).cloned();
        let debt = Self {
            cluster: Place::new(text("clusterNamespace")?, text("clusterName")?),
            cluster_uid: text("clusterUID")?,
            cluster_object: data.get("clusterObject").is_some_and(|text| text == "true"),
            id: text("tokenID")?,
            request: Place::new(text("requestNamespace")?, text("requestName")?),
            request_uid: text("requestUID")?,
            end: data
                .get("expirationTime")
                .and_then(|text| text.parse().ok()),
        };
        (debt.name() == object.name_any()).then_some(debt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debt_reads_what_it_wrote_and_nothing_that_was_changed() {
        let debt = Debt {
            cluster: Place::new("ns", "c"),
            cluster_uid: "u".into(),
            cluster_object: false,
            id: "abcdef".into(),
            request: Place::new("ns", "r"),
            request_uid: "ru".into(),
            end: "2026-11-21T10:00:00Z".parse().ok(),
        };
        let mut object = debt.to_object();
        assert_eq!(Debt::read(&object), Some(debt));
        if let Some(data) = &mut object.data {
            data.insert("clusterName".into(), "other".into());
        }
        assert_eq!(Debt::read(&object), None);
    }
}
