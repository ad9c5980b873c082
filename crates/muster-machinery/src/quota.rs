//! What objects count for in a ResourceQuota: which names of resources each kind has, how much of them one object takes,
//! and which quotas it falls under (`pkg/quota/v1` upstream).
//!
//! Pure functions: who adds up, refuses and writes status is elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::meta;
use crate::quantity::Quantity;

/// Amounts by the names of resources.
pub type Amounts = BTreeMap<String, Quantity>;

/// Resources that pods take, besides those with a prefix.
const POD: [&str; 11] = [
    "count/pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
/// What every container must say where a quota is on it.
const CONSTRAINED: [&str; 6] = [
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
];
const SERVICE: [&str; 4] = [
    "count/services",
    "services",
    "services.nodeports",
    "services.loadbalancers",
];
const CLAIM: [&str; 3] = [
    "count/persistentvolumeclaims",
    "persistentvolumeclaims",
    "requests.storage",
];
const BY_CLASS: &str = ".storageclass.storage.k8s.io/";
/// Kinds that are counted under their plain name too.
const PLAIN: [&str; 4] = [
    "configmaps",
    "resourcequotas",
    "replicationcontrollers",
    "secrets",
];

/// The amounts at a path; what cannot be read is left out.
#[must_use]
pub fn amounts(object: &Value, path: &[&str]) -> Amounts {
    let map = meta::at(object, path).and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .filter_map(|(name, amount)| Some((name.clone(), Quantity::from_json(amount).ok()?)))
        .collect()
}

/// Adds one set of amounts to another.
pub fn add(all: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let own = all.entry(name.clone()).or_insert(Quantity::ZERO);
        *own = own.plus(*amount);
    }
}

fn raise(all: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let own = all.entry(name.clone()).or_insert(*amount);
        *own = (*own).max(*amount);
    }
}

/// What a pod's containers ask for (`requests`) or may have (`limits`) at any one time: all that run side by side, or
/// the largest that runs before them.
#[must_use]
pub fn of_pod(pod: &Value, which: &str) -> Amounts {
    let of = |container: &Value| amounts(container, &["resources", which]);
    let mut all = Amounts::new();
    for container in meta::items(pod, &["spec", "containers"]) {
        add(&mut all, &of(container));
    }
    let (mut staying, mut before) = (Amounts::new(), Amounts::new());
    for container in meta::items(pod, &["spec", "initContainers"]) {
        let own = of(container);
        let mut then = staying.clone();
        add(&mut then, &own);
        if meta::str_at(container, &["restartPolicy"]) == Some("Always") {
            add(&mut all, &own);
            staying.clone_from(&then);
        }
        raise(&mut before, &then);
    }
    raise(&mut all, &before);
    for (name, amount) in amounts(pod, &["spec", "resources", which]) {
        if matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-") {
            all.insert(name, amount);
        }
    }
    all
}

/// The name under which objects of a kind are counted, such as `count/deployments.apps`.
#[must_use]
pub fn count_name(group: &str, plural: &str) -> String {
    if group.is_empty() {
        format!("count/{plural}")
    } else {
        format!("count/{plural}.{group}")
    }
}

/// Whether objects of a kind can take of a resource.
#[must_use]
pub fn counts(group: &str, plural: &str, name: &str) -> bool {
    match (group, plural) {
        ("", "pods") => {
            let extended = |name: &str| {
                name.strip_prefix("requests.")
                    .is_some_and(|name| name.contains('/') && !name.contains("kubernetes.io/"))
            };
            POD.contains(&name)
                || name.starts_with("hugepages-")
                || name.starts_with("requests.hugepages-")
                || extended(name)
        }
        ("", "services") => SERVICE.contains(&name),
        ("", "persistentvolumeclaims") => {
            let by_class = name.split_once(BY_CLASS).map(|(_, rest)| rest);
            CLAIM.contains(&name)
                || by_class.is_some_and(|rest| {
                    matches!(rest, "persistentvolumeclaims" | "requests.storage")
                })
        }
        _ => {
            name == count_name(group, plural)
                || group.is_empty() && PLAIN.contains(&plural) && name == plural
        }
    }
}

/// The kinds, as group and plural, that can take of a resource. `None` for names that nothing is counted under.
#[must_use]
pub fn counted_kind(name: &str) -> Option<(String, String)> {
    let kind = |group: &str, plural: &str| Some((group.to_owned(), plural.to_owned()));
    for plural in ["pods", "services", "persistentvolumeclaims"] {
        if counts("", plural, name) {
            return kind("", plural);
        }
    }
    if PLAIN.contains(&name) {
        return kind("", name);
    }
    let counted = name.strip_prefix("count/")?;
    match counted.split_once('.') {
        Some((plural, group)) => kind(group, plural),
        None => kind("", counted),
    }
}

/// What one object takes.
#[must_use]
pub fn usage(group: &str, plural: &str, object: &Value, now: Timestamp) -> Amounts {
    let one = Quantity::whole(1);
    let mut all = Amounts::from([(count_name(group, plural), one)]);
    match (group, plural) {
        ("", "pods") if is_alive(object, now) => all.extend(pod_amounts(
            &of_pod(object, "requests"),
            &of_pod(object, "limits"),
        )),
        ("", "services") => all.extend(service_amounts(object)),
        ("", "persistentvolumeclaims") => all.extend(claim_amounts(object)),
        ("", plain) if PLAIN.contains(&plain) => {
            all.insert(plain.to_owned(), one);
        }
        _ => {}
    }
    all
}

fn pod_amounts(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut all = Amounts::from([("pods".to_owned(), Quantity::whole(1))]);
    for (name, amount) in requests {
        let plain = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
        if plain || name.starts_with("hugepages-") {
            all.insert(name.clone(), *amount);
            all.insert(format!("requests.{name}"), *amount);
        } else if name.contains('/') {
            all.insert(format!("requests.{name}"), *amount);
        }
    }
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(amount) = limits.get(name) {
            all.insert(format!("limits.{name}"), *amount);
        }
    }
    all
}

fn service_amounts(service: &Value) -> Amounts {
    let ports = meta::items(service, &["spec", "ports"]);
    let count = |number: usize| Quantity::whole(i64::try_from(number).unwrap_or(i64::MAX));
    let allocates = meta::at(service, &["spec", "allocateLoadBalancerNodePorts"]);
    let (nodes, balancers) = match meta::str_at(service, &["spec", "type"]) {
        Some("NodePort") => (ports.len(), 0),
        Some("LoadBalancer") if allocates == Some(&Value::Bool(false)) => {
            let given = |port: &&Value| port.get("nodePort").is_some_and(|port| *port != 0);
            (ports.iter().filter(given).count(), 1)
        }
        Some("LoadBalancer") => (ports.len(), 1),
        _ => (0, 0),
    };
    Amounts::from([
        ("services".to_owned(), count(1)),
        ("services.nodeports".to_owned(), count(nodes)),
        ("services.loadbalancers".to_owned(), count(balancers)),
    ])
}

fn claim_amounts(claim: &Value) -> Amounts {
    let class = meta::annotation(claim, "volume.beta.kubernetes.io/storage-class")
        .or_else(|| meta::str_at(claim, &["spec", "storageClassName"]))
        .unwrap_or_default();
    let mut all = Amounts::from([("persistentvolumeclaims".to_owned(), Quantity::whole(1))]);
    let asked = amounts(claim, &["spec", "resources", "requests"]).remove("storage");
    let allocated = amounts(claim, &["status", "allocatedResources"]).remove("storage");
    if let Some(asked) = asked {
        let size = allocated.map_or(asked, |allocated| asked.max(allocated));
        all.insert("requests.storage".to_owned(), size);
    }
    if !class.is_empty() {
        let of_class = all.clone();
        let named = of_class
            .into_iter()
            .map(|(name, amount)| (format!("{class}{BY_CLASS}{name}"), amount));
        all.extend(named);
    }
    all
}

/// Whether a pod still takes what it asked for.
fn is_alive(pod: &Value, now: Timestamp) -> bool {
    let phase = meta::str_at(pod, &["status", "phase"]).unwrap_or_default();
    let grace = meta::at(pod, &["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64);
    let overdue = match (meta::deletion_timestamp(pod), grace) {
        (Some(since), Some(grace)) => {
            now > since + SignedDuration::from_secs(grace.clamp(0, 1 << 32))
        }
        _ => false,
    };
    !matches!(phase, "Failed" | "Succeeded") && !overdue
}

/// Whether a quota is on an object: its scopes fit, and it limits something that such objects take.
#[must_use]
pub fn covers(quota: &Value, group: &str, plural: &str, object: &Value) -> bool {
    let hard = amounts(quota, &["status", "hard"]);
    hard.keys().any(|name| counts(group, plural, name)) && fits(quota, group, plural, object)
}

/// Whether the scopes of a quota fit an object.
#[must_use]
pub fn fits(quota: &Value, group: &str, plural: &str, object: &Value) -> bool {
    let scopes = meta::items(quota, &["spec", "scopes"]).iter();
    let expressions = meta::items(quota, &["spec", "scopeSelector", "matchExpressions"]);
    let is_pod = (group, plural) == ("", "pods");
    let mut all = scopes
        .map(|scope| (scope.as_str().unwrap_or_default(), "Exists", &[][..]))
        .chain(expressions.iter().map(|one| {
            let text = |field| meta::str_at(one, &[field]).unwrap_or_default();
            (
                text("scopeName"),
                text("operator"),
                meta::items(one, &["values"]),
            )
        }));
    all.all(|(scope, operator, values)| is_pod && in_scope(object, scope, operator, values))
}

fn in_scope(pod: &Value, scope: &str, operator: &str, values: &[Value]) -> bool {
    let deadline = meta::at(pod, &["spec", "activeDeadlineSeconds"]).and_then(Value::as_i64);
    let terminating = deadline.is_some_and(|seconds| seconds >= 0);
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => is_best_effort(pod),
        "NotBestEffort" => !is_best_effort(pod),
        "PriorityClass" => {
            let class = meta::str_at(pod, &["spec", "priorityClassName"]).unwrap_or_default();
            let named = values.iter().any(|value| value == class);
            match operator {
                "Exists" => !class.is_empty(),
                "DoesNotExist" => class.is_empty(),
                "In" => !class.is_empty() && named,
                "NotIn" => class.is_empty() || !named,
                _ => false,
            }
        }
        "CrossNamespacePodAffinity" => ["podAffinity", "podAntiAffinity"]
            .iter()
            .any(|which| reaches_out(pod, which)),
        _ => false,
    }
}

fn is_best_effort(pod: &Value) -> bool {
    let mut containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| meta::items(pod, &["spec", list]));
    let asks = |object: &Value, path: &[&str]| {
        let named = |name: &String| matches!(name.as_str(), "cpu" | "memory");
        amounts(object, path)
            .iter()
            .any(|(name, amount)| named(name) && amount.nano() > 0)
    };
    let of_pod = ["requests", "limits"]
        .iter()
        .any(|which| asks(pod, &["spec", "resources", which]));
    !of_pod
        && !containers.any(|container| {
            let mut lists = ["requests", "limits"].into_iter();
            lists.any(|which| asks(container, &["resources", which]))
        })
}

fn reaches_out(pod: &Value, which: &str) -> bool {
    let at = |field| meta::items(pod, &["spec", "affinity", which, field]).iter();
    let required = at("requiredDuringSchedulingIgnoredDuringExecution");
    let preferred = at("preferredDuringSchedulingIgnoredDuringExecution");
    let mut terms = required.chain(preferred.filter_map(|one| one.get("podAffinityTerm")));
    terms.any(|term| {
        !meta::items(term, &["namespaces"]).is_empty()
            || term
                .get("namespaceSelector")
                .is_some_and(|one| !one.is_null())
    })
}

/// What a pod's containers would have to say for a quota on these resources, in upstream's words.
#[must_use]
pub fn unsaid(pod: &Value, limited: &Amounts) -> Option<String> {
    if meta::at(pod, &["spec", "resources"]).is_some_and(|own| !own.is_null()) {
        return None;
    }
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for list in ["containers", "initContainers"] {
        for container in meta::items(pod, &["spec", list]) {
            let said = pod_amounts(
                &amounts(container, &["resources", "requests"]),
                &amounts(container, &["resources", "limits"]),
            );
            let wanted = CONSTRAINED
                .iter()
                .filter(|name| limited.contains_key(**name));
            for name in wanted.filter(|name| !said.contains_key(**name)) {
                let who = meta::str_at(container, &["name"]).unwrap_or_default();
                missing.entry(name).or_default().insert(who);
            }
        }
    }
    let told: Vec<String> = missing
        .into_iter()
        .map(|(name, who)| {
            let who: Vec<&str> = who.into_iter().collect();
            format!("{name} for: {}", who.join(","))
        })
        .collect();
    (!told.is_empty()).then(|| format!("must specify {}", told.join("; ")))
}

#[cfg(test)]
mod tests;
