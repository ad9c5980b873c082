//! The webhooks of a cluster as its configurations name them (`admissionregistration.k8s.io/v1`), read anew whenever
//! one changes.
//!
//! Refuses to know: requests. Configurations have been validated when they were written; what is missing has its
//! default.

use std::{collections::HashMap, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use muster_machinery::{meta, selector::LabelSelector};
use parking_lot::Mutex;
use serde_json::Value;

use super::{super::expressions::Conditions, matching::Criteria};
use crate::request::ObjectReader;

pub(in crate::admission) const GROUP: &str = "admissionregistration.k8s.io";
/// Seconds a webhook has where its configuration does not say.
const TIMEOUT: u64 = 10;

/// One webhook.
#[derive(Debug)]
pub(super) struct Hook {
    /// The name of the configuration it stands in.
    pub(super) configuration: String,
    /// Its own name, a domain name.
    pub(super) name: String,
    /// Tells it from all others: configuration, name, and a number where names are the same.
    pub(super) id: String,
    pub(super) meant: Criteria,
    /// Whether the request passes when the webhook cannot be asked.
    pub(super) ignores_failure: bool,
    /// Whether it may be asked about requests that are not meant.
    pub(super) takes_dry_run: bool,
    /// Whether it is asked again when the object was changed after it.
    pub(super) asks_again: bool,
    /// Requests for which these do not all hold are not meant either.
    pub(super) conditions: Conditions,
    /// The version of `AdmissionReview` it is sent: the first one that we know.
    pub(super) review_version: Option<&'static str>,
    pub(super) timeout: Duration,
    pub(super) address: Address,
    /// The only authorities that may vouch for it, PEM; empty for the system's.
    pub(super) authorities: Vec<u8>,
}

/// Where a webhook listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    /// At a URL.
    Url(String),
    /// Behind a service.
    Service {
        namespace: String,
        name: String,
        path: String,
        port: u16,
    },
}

/// Requests that are meant.
#[derive(Debug)]
pub(in crate::admission) struct Rule {
    /// The only objects, if there are any here.
    pub(in crate::admission) names: Vec<String>,
    pub(in crate::admission) operations: Vec<String>,
    pub(in crate::admission) groups: Vec<String>,
    pub(in crate::admission) versions: Vec<String>,
    pub(in crate::admission) resources: Vec<String>,
    pub(in crate::admission) scope: Scope,
}

/// Which objects a rule means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admission) enum Scope {
    All,
    Namespaced,
    Cluster,
}

/// The webhooks of one sort of configuration, in the order in which they are called.
pub(super) struct Configurations {
    resource: &'static str,
    read: Mutex<Option<(u64, Arc<Vec<Hook>>)>>,
}

impl Configurations {
    /// The webhooks of `mutatingwebhookconfigurations` or `validatingwebhookconfigurations`.
    pub(super) fn of(resource: &'static str) -> Self {
        Self {
            resource,
            read: Mutex::default(),
        }
    }

    /// Every webhook there is now.
    pub(super) fn hooks(&self, reader: &dyn ObjectReader) -> Arc<Vec<Hook>> {
        let generation = reader.generation(GROUP, self.resource);
        let mut read = self.read.lock();
        if let Some((known, hooks)) = &*read
            && *known == generation
        {
            return Arc::clone(hooks);
        }
        let configurations = reader.list(GROUP, self.resource, None);
        let hooks = Arc::new(
            configurations
                .iter()
                .flat_map(|one| hooks_of(one))
                .collect(),
        );
        *read = Some((generation, Arc::clone(&hooks)));
        hooks
    }
}

fn hooks_of(configuration: &Value) -> Vec<Hook> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let hooks = meta::items(configuration, &["webhooks"]).iter();
    hooks
        .map(|hook| {
            let name = meta::str_at(hook, &["name"]).unwrap_or_default();
            let number = seen.entry(name).or_default();
            let read = read(configuration, hook, *number);
            *number += 1;
            read
        })
        .collect()
}

fn read(configuration: &Value, hook: &Value, number: usize) -> Hook {
    let text = |field: &str| meta::str_at(hook, &[field]).unwrap_or_default();
    let owner = meta::name(configuration);
    let seconds = hook.get("timeoutSeconds").and_then(Value::as_u64);
    let authorities = meta::str_at(hook, &["clientConfig", "caBundle"]).unwrap_or_default();
    Hook {
        configuration: owner.to_owned(),
        name: text("name").to_owned(),
        id: format!("{owner}/{}/{number}", text("name")),
        meant: Criteria {
            rules: meta::items(hook, &["rules"]).iter().map(rule).collect(),
            namespaces: selector(hook, "namespaceSelector"),
            objects: selector(hook, "objectSelector"),
            equivalent: text("matchPolicy") != "Exact",
            ..Criteria::default()
        },
        ignores_failure: text("failurePolicy") == "Ignore",
        takes_dry_run: matches!(text("sideEffects"), "None" | "NoneOnDryRun"),
        asks_again: text("reinvocationPolicy") == "IfNeeded",
        conditions: Conditions::read(hook, false),
        review_version: meta::items(hook, &["admissionReviewVersions"])
            .iter()
            .find_map(|version| match version.as_str() {
                Some("v1") => Some("v1"),
                Some("v1beta1") => Some("v1beta1"),
                _ => None,
            }),
        timeout: Duration::from_secs(seconds.unwrap_or(TIMEOUT).clamp(1, 30)),
        address: address(hook),
        authorities: STANDARD.decode(authorities).unwrap_or_default(),
    }
}

/// A selector, if it selects at all; one that cannot be read selects nothing.
pub(in crate::admission) fn selector(hook: &Value, field: &str) -> Option<LabelSelector> {
    let selector = hook.get(field).filter(|selector| !selector.is_null())?;
    let selector =
        LabelSelector::from_object(Some(selector)).unwrap_or_else(|_| LabelSelector::nothing());
    (!selector.is_everything()).then_some(selector)
}

pub(in crate::admission) fn rule(rule: &Value) -> Rule {
    let list = |field: &str| {
        let items = meta::items(rule, &[field]).iter();
        items
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    Rule {
        names: list("resourceNames"),
        operations: list("operations"),
        groups: list("apiGroups"),
        versions: list("apiVersions"),
        resources: list("resources"),
        scope: match meta::str_at(rule, &["scope"]) {
            Some("Namespaced") => Scope::Namespaced,
            Some("Cluster") => Scope::Cluster,
            _ => Scope::All,
        },
    }
}

fn address(hook: &Value) -> Address {
    let text = |path: &[&str]| meta::str_at(hook, path).unwrap_or_default().to_owned();
    let service = meta::at(hook, &["clientConfig", "service"]).filter(|one| one.is_object());
    let Some(service) = service else {
        return Address::Url(text(&["clientConfig", "url"]));
    };
    let port = service.get("port").and_then(Value::as_u64);
    Address::Service {
        namespace: text(&["clientConfig", "service", "namespace"]),
        name: text(&["clientConfig", "service", "name"]),
        path: text(&["clientConfig", "service", "path"]),
        port: port
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(443),
    }
}
