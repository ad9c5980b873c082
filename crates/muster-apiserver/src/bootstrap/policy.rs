//! The roles and bindings of a fresh cluster, read from `policy.yaml` beside this file into Kubernetes
//! objects.
//!
//! Refuses to know: who is allowed what at run time; that is decided from the stored objects.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::authz::PolicyRule;

const API_VERSION: &str = "rbac.authorization.k8s.io/v1";
const GROUP: &str = "rbac.authorization.k8s.io";
/// The annotation by which an RBAC object follows the program.
pub(super) const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const CONTROLLER_PREFIX: &str = "system:controller:";
const AGGREGATE_PREFIX: &str = "rbac.authorization.k8s.io/aggregate-to-";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    kubernetes: Part,
    kubeadm: Part,
    k0s: Part,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Part {
    cluster_roles: Vec<Role>,
    cluster_role_bindings: Vec<Binding>,
    roles: Vec<Role>,
    role_bindings: Vec<Binding>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Role {
    name: String,
    namespace: Option<String>,
    /// The role is the sum of those labelled for this aggregate.
    aggregates: Option<String>,
    /// The aggregate that this role adds to.
    aggregated_to: Option<String>,
    #[serde(default)]
    rules: Vec<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Binding {
    name: Option<String>,
    namespace: Option<String>,
    role: String,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    service_accounts: Vec<String>,
}

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("policy.yaml"))
        .expect("policy.yaml is part of the program and a test reads it")
});

/// Every RBAC object of a fresh cluster.
pub(super) fn objects() -> Vec<Value> {
    let mut objects = Vec::new();
    POLICY.kubernetes.write_to(&mut objects, Origin::Kubernetes);
    POLICY.kubeadm.write_to(&mut objects, Origin::Kubeadm);
    // Unmarked as well: subjects that somebody takes out stay out.
    POLICY.k0s.write_to(&mut objects, Origin::Kubeadm);
    objects
}

/// The rules of a built-in ClusterRole as this program has them, whatever is stored. Empty for a name that
/// is not built in.
pub(crate) fn cluster_role_rules(name: &str) -> Vec<PolicyRule> {
    let found = POLICY
        .kubernetes
        .cluster_roles
        .iter()
        .find(|role| role.name == name);
    found.map_or_else(Vec::new, Role::policy_rules)
}

/// Who makes an object: decides the marks it carries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Kubernetes,
    Kubeadm,
}

impl Part {
    fn write_to(&self, objects: &mut Vec<Value>, origin: Origin) {
        let roles = self.cluster_roles.iter().chain(&self.roles);
        objects.extend(roles.map(|role| role.object(origin, &self.cluster_roles)));
        let controllers = self.cluster_roles.iter().filter_map(Binding::of_controller);
        objects.extend(controllers.map(|binding| binding.object(origin)));
        let bindings = self.cluster_role_bindings.iter().chain(&self.role_bindings);
        objects.extend(bindings.map(|binding| binding.object(origin)));
    }
}

impl Role {
    fn policy_rules(&self) -> Vec<PolicyRule> {
        self.rules.iter().map(|cells| policy_rule(cells)).collect()
    }

    fn object(&self, origin: Origin, all: &[Self]) -> Value {
        let mut metadata = metadata(&self.name, self.namespace.as_deref(), origin);
        if let Some(aggregate) = &self.aggregated_to {
            metadata["labels"][format!("{AGGREGATE_PREFIX}{aggregate}")] = "true".into();
        }
        let kind = if self.namespace.is_some() {
            "Role"
        } else {
            "ClusterRole"
        };
        let mut role = json!({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata});
        if let Some(aggregate) = &self.aggregates {
            let label = format!("{AGGREGATE_PREFIX}{aggregate}");
            role["aggregationRule"] =
                json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
        }
        role["rules"] = json!(self.sum(all));
        role
    }

    /// Own rules, and for an aggregate those of its parts, so that a reader of the object sees them too.
    fn sum(&self, all: &[Self]) -> Vec<PolicyRule> {
        let mut rules = self.policy_rules();
        if let Some(aggregate) = &self.aggregates {
            let parts = all
                .iter()
                .filter(|role| role.aggregated_to.as_ref() == Some(aggregate));
            rules.extend(parts.flat_map(|part| part.sum(all)));
        }
        rules
    }
}

impl Binding {
    /// Kubernetes binds each controller's role to the service account of the same name.
    fn of_controller(role: &Role) -> Option<Self> {
        let account = role.name.strip_prefix(CONTROLLER_PREFIX)?;
        Some(Self {
            name: None,
            namespace: None,
            role: role.name.clone(),
            users: Vec::new(),
            groups: Vec::new(),
            service_accounts: vec![format!("kube-system/{account}")],
        })
    }

    fn object(&self, origin: Origin) -> Value {
        let name = self.name.as_ref().unwrap_or(&self.role);
        let (kind, role) = match self.namespace {
            Some(_) => ("RoleBinding", "Role"),
            None => ("ClusterRoleBinding", "ClusterRole"),
        };
        let mut binding = json!({
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": metadata(name, self.namespace.as_deref(), origin),
            "roleRef": {"apiGroup": GROUP, "kind": role, "name": self.role},
        });
        let subjects = self.subjects();
        if !subjects.is_empty() {
            binding["subjects"] = subjects.into();
        }
        binding
    }

    fn subjects(&self) -> Vec<Value> {
        let named =
            |kind: &str, name: &String| json!({"apiGroup": GROUP, "kind": kind, "name": name});
        let groups = self.groups.iter().map(|name| named("Group", name));
        let users = self.users.iter().map(|name| named("User", name));
        let accounts = self.service_accounts.iter().map(|account| {
            let (namespace, name) = account.split_once('/').unwrap_or(("kube-system", account));
            json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
        });
        groups.chain(users).chain(accounts).collect()
    }
}

fn metadata(name: &str, namespace: Option<&str>, origin: Origin) -> Value {
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), name.into());
    if let Some(namespace) = namespace {
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    if origin == Origin::Kubernetes {
        let labels = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
        let annotations = json!({AUTO_UPDATE: "true"});
        metadata.insert("labels".to_owned(), labels);
        metadata.insert("annotations".to_owned(), annotations);
    }
    metadata.into()
}

/// Reads one line of the data file; its form is described there.
fn policy_rule(cells: &[String]) -> PolicyRule {
    let cell = |index: usize| cells.get(index).map(String::as_str).unwrap_or_default();
    let words = |index: usize| cell(index).split_whitespace().map(str::to_owned).collect();
    let verbs = verbs(cell(0));
    if cell(1) == "urls" {
        return PolicyRule {
            verbs,
            non_resource_urls: words(2),
            ..PolicyRule::default()
        };
    }
    let group = |word: &str| {
        if word == "core" {
            String::new()
        } else {
            word.to_owned()
        }
    };
    PolicyRule {
        verbs,
        api_groups: cell(1).split_whitespace().map(group).collect(),
        resources: words(2),
        resource_names: words(3),
        non_resource_urls: Vec::new(),
    }
}

fn verbs(cell: &str) -> Vec<String> {
    let spelled = |word| match word {
        "read" => vec!["get", "list", "watch"],
        "write" => vec!["create", "delete", "deletecollection", "patch", "update"],
        verb => vec![verb],
    };
    let mut verbs: Vec<String> = cell
        .split_whitespace()
        .flat_map(spelled)
        .map(str::to_owned)
        .collect();
    verbs.sort();
    verbs.dedup();
    verbs
}

#[cfg(test)]
mod tests;
