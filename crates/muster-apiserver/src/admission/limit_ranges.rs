//! LimitRanger: the limit ranges of a namespace fill in what containers leave open, and bound what containers, pods and
//! claims may ask for.
//!
//! Refuses to know: quotas.

use std::fmt::Write as _;

use muster_machinery::{
    meta,
    quantity::Quantity,
    quota::{Amounts, amounts, of_pod},
};
use serde_json::{Map, Value};

use super::{AdmissionRequest, Admitted, Judged, Operation};
use crate::request::ObjectReader;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Fills in requests and limits of a new pod's containers.
pub(super) fn fill_in(reader: &dyn ObjectReader, request: &AdmissionRequest<'_>, pod: &mut Value) {
    let namespace = request.info.namespace.as_deref();
    for range in reader.list("", "limitranges", namespace) {
        let of = |field: &str| {
            let mut all = Map::new();
            for limit in limits(&range).filter(|limit| sort(limit) == "Container") {
                let given = limit.get(field).and_then(Value::as_object);
                all.extend(given.cloned().into_iter().flatten());
            }
            all
        };
        let (requests, limits) = (of("defaultRequest"), of("default"));
        let mut told = Vec::new();
        for (list, what) in [
            ("containers", "container"),
            ("initContainers", "init container"),
        ] {
            let containers = pod
                .pointer_mut(&format!("/spec/{list}"))
                .and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                let name = meta::str_at(container, &["name"])
                    .unwrap_or_default()
                    .to_owned();
                for (field, given, word) in [
                    ("requests", &requests, "request"),
                    ("limits", &limits, "limit"),
                ] {
                    let set = complete(container, field, given);
                    if !set.is_empty() {
                        told.push(format!("{} {word} for {what} {name}", set.join(", ")));
                    }
                }
            }
        }
        if !told.is_empty() {
            let text = format!("LimitRanger plugin set: {}", told.join("; "));
            meta::set_annotation(pod, ANNOTATION, &text);
        }
    }
}

/// Adds what a container does not say; tells the names of it.
fn complete(container: &mut Value, field: &str, given: &Map<String, Value>) -> Vec<String> {
    let own = meta::at(container, &["resources", field]).and_then(Value::as_object);
    let missing = |name: &&String| own.is_none_or(|own| !own.contains_key(*name));
    let mut names: Vec<String> = given.keys().filter(missing).cloned().collect();
    names.sort();
    if names.is_empty() {
        return names;
    }
    let Some(container) = container.as_object_mut() else {
        return Vec::new();
    };
    let resources = object_in(container, "resources");
    if let Some(list) = resources.and_then(|resources| object_in(resources, field)) {
        for name in &names {
            list.insert(name.clone(), given[name].clone());
        }
    }
    names
}

fn object_in<'a>(
    map: &'a mut Map<String, Value>,
    field: &str,
) -> Option<&'a mut Map<String, Value>> {
    let value = map.entry(field).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

/// Holds new pods, pods that are resized, and claims to the limit ranges.
pub(super) fn admit(reader: &dyn ObjectReader, request: &Judged<'_>) -> Admitted {
    let Some(object) = request.object else {
        return Ok(());
    };
    let (sub, operation) = (request.subresource(), request.operation);
    let is_pod = request.is_about("", "pods")
        && match operation {
            Operation::Create => sub.is_empty(),
            Operation::Update => sub == "resize",
            _ => false,
        };
    let is_claim = request.is_about("", "persistentvolumeclaims")
        && sub.is_empty()
        && matches!(operation, Operation::Create | Operation::Update);
    if !is_pod && !is_claim || request.old.is_some_and(meta::is_being_deleted) {
        return Ok(());
    }
    for range in reader.list("", "limitranges", Some(request.namespace())) {
        let mut broken = Vec::new();
        for limit in limits(&range) {
            match sort(limit) {
                "PersistentVolumeClaim" if is_claim => claim(limit, object, &mut broken),
                "Container" if is_pod => {
                    for list in ["containers", "initContainers"] {
                        for container in meta::items(object, &["spec", list]) {
                            let requests = amounts(container, &["resources", "requests"]);
                            let limits = amounts(container, &["resources", "limits"]);
                            hold("Container", limit, &requests, &limits, &mut broken);
                        }
                    }
                }
                "Pod" if is_pod => {
                    let (requests, limits) = (of_pod(object, "requests"), of_pod(object, "limits"));
                    hold("Pod", limit, &requests, &limits, &mut broken);
                }
                _ => {}
            }
        }
        broken.dedup();
        match broken.as_slice() {
            [] => {}
            [only] => return Err(request.forbidden(only)),
            many => return Err(request.forbidden(&format!("[{}]", many.join(", ")))),
        }
    }
    Ok(())
}

fn limits(range: &Value) -> impl Iterator<Item = &Value> {
    meta::items(range, &["spec", "limits"]).iter()
}

fn sort(limit: &Value) -> &str {
    meta::str_at(limit, &["type"]).unwrap_or_default()
}

fn claim(limit: &Value, claim: &Value, broken: &mut Vec<String>) {
    let sort = "PersistentVolumeClaim";
    let requests = amounts(claim, &["spec", "resources", "requests"]);
    for (name, least) in amounts(limit, &["min"]) {
        broken.extend(too_little(sort, &name, least, &requests, &Amounts::new()));
    }
    for (name, most) in amounts(limit, &["max"]) {
        let begin = format!("maximum {name} usage per {sort} is {most}");
        match requests.get(&name) {
            None => broken.push(format!("{begin}.  No request is specified")),
            Some(asked) if *asked > most => broken.push(format!("{begin}, but request is {asked}")),
            Some(_) => {}
        }
    }
}

fn hold(sort: &str, limit: &Value, requests: &Amounts, limits: &Amounts, broken: &mut Vec<String>) {
    for (name, least) in amounts(limit, &["min"]) {
        broken.extend(too_little(sort, &name, least, requests, limits));
    }
    for (name, most) in amounts(limit, &["max"]) {
        broken.extend(too_much(sort, &name, most, requests, limits));
    }
    for (name, most) in amounts(limit, &["maxLimitRequestRatio"]) {
        broken.extend(too_steep(sort, &name, most, requests, limits));
    }
}

fn too_little(
    sort: &str,
    name: &str,
    least: Quantity,
    requests: &Amounts,
    limits: &Amounts,
) -> Option<String> {
    let mut text = format!("minimum {name} usage per {sort} is {least}");
    let (asked, limit) = (requests.get(name), limits.get(name));
    match (asked, limit) {
        (None, _) => text.push_str(".  No request is specified"),
        (Some(asked), _) if *asked < least => {
            say(&mut text, format_args!(", but request is {asked}"))
        }
        (_, Some(limit)) if *limit < least => {
            say(&mut text, format_args!(", but limit is {limit}"))
        }
        _ => return None,
    }
    Some(text)
}

fn too_much(
    sort: &str,
    name: &str,
    most: Quantity,
    requests: &Amounts,
    limits: &Amounts,
) -> Option<String> {
    let mut text = format!("maximum {name} usage per {sort} is {most}");
    let (asked, limit) = (requests.get(name), limits.get(name));
    match (asked, limit) {
        (_, None) => text.push_str(".  No limit is specified"),
        (_, Some(limit)) if *limit > most => say(&mut text, format_args!(", but limit is {limit}")),
        (Some(asked), _) if *asked > most => {
            say(&mut text, format_args!(", but request is {asked}"))
        }
        _ => return None,
    }
    Some(text)
}

fn too_steep(
    sort: &str,
    name: &str,
    most: Quantity,
    requests: &Amounts,
    limits: &Amounts,
) -> Option<String> {
    let begin = format!("{name} max limit to request ratio per {sort} is {most}");
    let amount = |all: &Amounts| all.get(name).filter(|amount| amount.nano() != 0).copied();
    let Some(asked) = amount(requests) else {
        return Some(format!(
            "{begin}, but no request is specified or request is 0"
        ));
    };
    let Some(limit) = amount(limits) else {
        return Some(format!("{begin}, but no limit is specified or limit is 0"));
    };
    let ratio = limit.nano() as f64 / asked.nano() as f64;
    let most = most.nano() as f64 / 1e9;
    (ratio > most).then(|| format!("{begin}, but provided ratio is {ratio:.6}"))
}

fn say(text: &mut String, more: std::fmt::Arguments<'_>) {
    // A `String` takes everything.
    let _ = text.write_fmt(more);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::harness::{Bench, account, namespace};

    fn bench(limits: Value) -> Bench {
        let range = json!({
            "apiVersion": "v1", "kind": "LimitRange",
            "metadata": {"name": "r", "namespace": "default"}, "spec": {"limits": limits},
        });
        Bench::new([namespace("default"), account("default", "default"), range])
    }

    fn pod(resources: Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn containers_get_what_they_leave_open() {
        let bench = bench(json!([{
            "type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"},
        }]));
        let given = pod(json!({"limits": {"memory": "2Gi"}}));
        let made = bench.create("default/pods", given).expect("admitted");
        assert_eq!(
            made["spec"]["containers"][0]["resources"],
            json!({"limits": {"cpu": "1", "memory": "2Gi"}, "requests": {"cpu": "100m"}})
        );
        assert_eq!(
            meta::annotation(&made, ANNOTATION),
            Some("LimitRanger plugin set: cpu request for container c; cpu limit for container c")
        );
    }

    #[test]
    fn what_is_outside_the_range_is_refused_in_upstreams_words() {
        let asks = |request: &str, limit: &str| {
            pod(json!({"requests": {"cpu": request}, "limits": {"cpu": limit}}))
        };
        for (limit, pod, expected) in [
            (
                json!({"type": "Container", "min": {"cpu": "200m"}}),
                asks("100m", "1"),
                "minimum cpu usage per Container is 200m, but request is 100m",
            ),
            (
                json!({"type": "Pod", "max": {"cpu": "1"}}),
                asks("100m", "2"),
                "maximum cpu usage per Pod is 1, but limit is 2",
            ),
            (
                json!({"type": "Container", "max": {"cpu": "1"}}),
                pod(json!({})),
                "maximum cpu usage per Container is 1.  No limit is specified",
            ),
            (
                json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}),
                asks("100m", "1"),
                "cpu max limit to request ratio per Container is 2, but provided ratio is 10.000000",
            ),
        ] {
            let refused = bench(json!([limit]))
                .create("default/pods", pod)
                .expect_err("refused");
            assert_eq!(
                refused.message(),
                format!("pods \"p\" is forbidden: {expected}")
            );
        }
    }

    #[test]
    fn claims_are_held_to_their_sizes() {
        let bench = bench(json!([{"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}]));
        let claim = json!({"metadata": {"name": "c"}, "spec": {"resources": {"requests": {"storage": "2Gi"}}}});
        let refused = bench
            .create("default/persistentvolumeclaims", claim)
            .expect_err("refused");
        assert!(
            refused.message().ends_with(
                "maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi"
            ),
            "{refused}"
        );
    }
}
