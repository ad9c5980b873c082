//! What becomes of a default object that is there already: where it follows the program or the server's
//! address it is brought up to date, and what people may have changed stays.
//!
//! Refuses to know: storage. RBAC follows Kubernetes' reconciliation: rights are added and never taken away,
//! and an object whose `rbac.authorization.kubernetes.io/autoupdate` says `false` is left alone.

use muster_machinery::meta::{self, at};
use serde_json::Value;

use super::policy::AUTO_UPDATE;
use super::worker_profiles::is_worker_profile;
use crate::authz::{PolicyRule, missing_rules};

/// The stored object as it should be now; equal to `stored` when nothing is to be done.
pub fn brought_up_to_date(stored: &Value, wanted: &Value) -> Value {
    let mut object = stored.clone();
    let names = (
        meta::kind(wanted),
        meta::namespace(wanted),
        meta::name(wanted),
    );
    match names {
        ("ClusterRole" | "Role", ..) if follows(stored, wanted) => add_rules(&mut object, wanted),
        ("ClusterRoleBinding" | "RoleBinding", ..) if follows(stored, wanted) => {
            add_subjects(&mut object, wanted);
        }
        ("Service", "default", _) => take(&mut object, wanted, &["spec", "ports"]),
        ("Endpoints", "default", _) => take(&mut object, wanted, &["subsets"]),
        ("EndpointSlice", "default", _) => {
            take(&mut object, wanted, &["endpoints"]);
            take(&mut object, wanted, &["ports"]);
        }
        ("ConfigMap", "kube-public", "cluster-info") => {
            take(&mut object, wanted, &["data", "kubeconfig"]);
        }
        ("ConfigMap", "kube-system", name) if is_worker_profile(name) => {
            take(&mut object, wanted, &["data", "apiServerAddresses"]);
        }
        ("ConfigMap", "kube-system", "extension-apiserver-authentication") => {
            let keys = meta::at(wanted, &["data"]).and_then(Value::as_object);
            for key in keys.into_iter().flat_map(|data| data.keys()) {
                take(&mut object, wanted, &["data", key]);
            }
        }
        _ => {}
    }
    object
}

fn follows(stored: &Value, wanted: &Value) -> bool {
    meta::annotation(wanted, AUTO_UPDATE) == Some("true")
        && meta::annotation(stored, AUTO_UPDATE) != Some("false")
}

/// Copies one field, whose parents are there or made.
fn take(object: &mut Value, wanted: &Value, path: &[&str]) {
    let (Some(value), [parents @ .., last]) = (at(wanted, path), path) else {
        return;
    };
    // A part that says the same but spells out defaults is not touched.
    if at(object, path).is_some_and(|own| contains(own, value)) {
        return;
    }
    let mut place = object;
    for key in parents {
        if meta::map_mut(place, key).is_none() {
            return;
        }
        place = &mut place[*key];
    }
    if let Some(map) = place.as_object_mut() {
        map.insert((*last).to_owned(), value.clone());
    }
}

/// Whether `own` says everything that `wanted` says; it may have more fields, but not more list entries.
fn contains(own: &Value, wanted: &Value) -> bool {
    match (own, wanted) {
        (Value::Object(own), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| own.get(key).is_some_and(|own| contains(own, value))),
        (Value::Array(own), Value::Array(wanted)) => {
            own.len() == wanted.len() && own.iter().zip(wanted).all(|(o, w)| contains(o, w))
        }
        _ => own == wanted,
    }
}

fn add_rules(role: &mut Value, wanted: &Value) {
    let mut rules = PolicyRule::all_of(role);
    let lacking: Vec<PolicyRule> = PolicyRule::all_of(wanted)
        .into_iter()
        .filter(|rule| !missing_rules(&rules, std::slice::from_ref(rule)).is_empty())
        .collect();
    if !lacking.is_empty() {
        rules.extend(lacking);
        role["rules"] = serde_json::json!(rules);
    }
    if let Some(aggregation) = wanted.get("aggregationRule")
        && role.get("aggregationRule").is_none_or(Value::is_null)
    {
        role["aggregationRule"] = aggregation.clone();
    }
    add_labels(role, wanted);
}

fn add_subjects(binding: &mut Value, wanted: &Value) {
    let mut subjects = meta::items(binding, &["subjects"]).to_vec();
    for subject in meta::items(wanted, &["subjects"]) {
        if !subjects.iter().any(|own| contains(own, subject)) {
            subjects.push(subject.clone());
        }
    }
    if subjects.len() != meta::items(binding, &["subjects"]).len() {
        binding["subjects"] = subjects.into();
    }
    add_labels(binding, wanted);
}

/// Labels decide which aggregate a role belongs to.
fn add_labels(object: &mut Value, wanted: &Value) {
    for (key, value) in meta::labels(wanted).into_iter().flatten() {
        if let Some(value) = value.as_str()
            && meta::label(object, key).is_none()
        {
            meta::set_label(object, key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bootstrap::policy;

    fn role(rules: Value, auto: &str) -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "system:x", "annotations": {AUTO_UPDATE: auto}}, "rules": rules,
        })
    }

    fn read(resource: &str) -> Value {
        json!({"verbs": ["get"], "apiGroups": [""], "resources": [resource]})
    }

    #[test]
    fn an_object_that_is_as_it_should_be_stays_to_the_letter() {
        for object in policy::objects() {
            assert_eq!(brought_up_to_date(&object, &object), object);
        }
    }

    #[test]
    fn missing_rights_are_added_and_others_stay() {
        let stored = role(json!([read("mine")]), "true");
        let wanted = role(json!([read("pods"), read("mine")]), "true");
        let updated = brought_up_to_date(&stored, &wanted);
        assert_eq!(updated["rules"], json!([read("mine"), read("pods")]));
    }

    #[test]
    fn an_object_that_was_taken_out_of_upkeep_is_left_alone() {
        let stored = role(json!([]), "false");
        let wanted = role(json!([read("pods")]), "true");
        assert_eq!(brought_up_to_date(&stored, &wanted), stored);
        let mut kubeadms = wanted;
        kubeadms["metadata"]["annotations"] = json!({});
        let stored = role(json!([]), "true");
        assert_eq!(brought_up_to_date(&stored, &kubeadms), stored);
    }

    #[test]
    fn a_missing_subject_is_added_once() {
        let binding = |subjects: Value| {
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                "metadata": {"name": "b", "annotations": {AUTO_UPDATE: "true"}}, "subjects": subjects,
            })
        };
        let group = json!({"kind": "Group", "name": "g"});
        let user = json!({"kind": "User", "name": "u"});
        let updated = brought_up_to_date(&binding(json!([user])), &binding(json!([group, user])));
        assert_eq!(updated["subjects"], json!([user, group]));
    }

    #[test]
    fn the_servers_address_is_followed_and_signatures_stay() {
        let info = |kubeconfig: &str, signature: Value| {
            json!({
                "kind": "ConfigMap", "metadata": {"name": "cluster-info", "namespace": "kube-public"},
                "data": {"kubeconfig": kubeconfig, "jws-kubeconfig-abcdef": signature},
            })
        };
        let updated = brought_up_to_date(&info("old", json!("s")), &info("new", json!(null)));
        assert_eq!(updated, info("new", json!("s")));
        let endpoints = |ip: &str| {
            json!({
                "kind": "Endpoints", "metadata": {"name": "kubernetes", "namespace": "default"},
                "subsets": [{"addresses": [{"ip": ip}]}],
            })
        };
        assert_eq!(
            brought_up_to_date(&endpoints("1.1.1.1"), &endpoints("2.2.2.2")),
            endpoints("2.2.2.2")
        );
    }

    #[test]
    fn what_the_registry_filled_in_is_not_taken_for_a_change() {
        let wanted = json!({
            "kind": "Service", "metadata": {"name": "kubernetes", "namespace": "default"},
            "spec": {"ports": [{"port": 443, "targetPort": 6443}]},
        });
        let mut stored = wanted.clone();
        stored["spec"]["ports"][0]["protocol"] = "TCP".into();
        assert_eq!(brought_up_to_date(&stored, &wanted), stored);
    }

    #[test]
    fn peoples_own_configuration_is_theirs() {
        let config = |text: &str| {
            json!({
                "kind": "ConfigMap", "metadata": {"name": "kubelet-config", "namespace": "kube-system"},
                "data": {"kubelet": text},
            })
        };
        assert_eq!(
            brought_up_to_date(&config("mine"), &config("default")),
            config("mine")
        );
    }
}
