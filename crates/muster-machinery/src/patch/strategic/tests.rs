//! The rules of strategic merge, on the objects that clients really patch.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::protobuf;

macro_rules! fixture {
    ($name:literal) => {
        serde_json::from_slice::<Value>(include_bytes!(concat!("../../../fixtures/", $name)))
            .expect("fixture is JSON")
    };
}

fn of(api_version: &str, kind: &str, mut object: Value) -> Value {
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    object
}

/// Patches a pod of which only the given members are of interest.
fn pod(object: Value, patch: Value) -> Result<Value, PatchError> {
    let mut merged = apply(of("v1", "Pod", object), patch)?;
    let members = merged.as_object_mut().expect("object");
    members.remove("apiVersion");
    members.remove("kind");
    Ok(merged)
}

#[rstest::rstest]
#[case::a_plain_member_is_replaced(
    json!({"spec": {"nodeName": "a", "hostname": "h"}}),
    json!({"spec": {"nodeName": "b"}}),
    json!({"spec": {"nodeName": "b", "hostname": "h"}}))]
#[case::null_deletes(
    json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
    json!({"metadata": {"labels": {"a": null, "c": "3", "d": null}}}),
    json!({"metadata": {"labels": {"b": "2", "c": "3"}}}))]
#[case::nulls_of_a_new_map_are_not_kept(
    json!({"metadata": {}}),
    json!({"metadata": {"labels": {"a": null, "c": "3"}}}),
    json!({"metadata": {"labels": {"c": "3"}}}))]
#[case::containers_merge_by_name(
    json!({"spec": {"containers": [{"name": "a", "image": "a:1", "tty": true}, {"name": "b", "image": "b:1"}]}}),
    json!({"spec": {"containers": [{"name": "a", "image": "a:2"}, {"name": "c", "image": "c:1"}]}}),
    json!({"spec": {"containers": [
        {"name": "a", "image": "a:2", "tty": true}, {"name": "c", "image": "c:1"}, {"name": "b", "image": "b:1"}]}}))]
#[case::a_container_is_deleted(
    json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}}),
    json!({"spec": {"containers": [{"name": "b", "$patch": "delete"}]}}),
    json!({"spec": {"containers": [{"name": "a"}, {"name": "c"}]}}))]
#[case::all_duplicates_are_deleted(
    json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b"}, {"name": "a", "image": "2"}]}}),
    json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}),
    json!({"spec": {"containers": [{"name": "b"}]}}))]
#[case::a_list_is_replaced_on_demand(
    json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
    json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "c"}]}}),
    json!({"spec": {"containers": [{"name": "c"}]}}))]
#[case::a_list_is_emptied_on_demand(
    json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
    json!({"spec": {"containers": [{"$patch": "replace"}]}}),
    json!({"spec": {"containers": []}}))]
#[case::a_deletion_in_a_new_list_leaves_nothing_behind(
    json!({"spec": {}}),
    json!({"spec": {"containers": [{"name": "b", "$patch": "delete"}, {"name": "c"}]}}),
    json!({"spec": {"containers": [{"name": "c"}]}}))]
#[case::ports_merge_by_number(
    json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "web"}, {"containerPort": 90}]}]}}),
    json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 8080}]}]}}),
    json!({"spec": {"containers": [{"name": "a", "ports": [
        {"containerPort": 80, "name": "web", "hostPort": 8080}, {"containerPort": 90}]}]}}))]
#[case::tolerations_are_replaced_as_a_whole(
    json!({"spec": {"tolerations": [{"key": "a"}, {"key": "b"}]}}),
    json!({"spec": {"tolerations": [{"key": "c", "value": null}]}}),
    json!({"spec": {"tolerations": [{"key": "c"}]}}))]
#[case::commands_are_replaced_as_a_whole(
    json!({"spec": {"containers": [{"name": "a", "command": ["x", "y"]}]}}),
    json!({"spec": {"containers": [{"name": "a", "command": ["z"]}]}}),
    json!({"spec": {"containers": [{"name": "a", "command": ["z"]}]}}))]
#[case::finalizers_are_a_set(
    json!({"metadata": {"finalizers": ["a", "b"]}}),
    json!({"metadata": {"finalizers": ["c", "b"]}}),
    json!({"metadata": {"finalizers": ["c", "a", "b"]}}))]
#[case::a_finalizer_is_taken_out(
    json!({"metadata": {"finalizers": ["a", "b", "c"]}}),
    json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b", "x"], "$setElementOrder/finalizers": ["a", "c"]}}),
    json!({"metadata": {"finalizers": ["a", "c"]}}))]
#[case::finalizers_are_put_in_order(
    json!({"metadata": {"finalizers": ["c", "b", "a"]}}),
    json!({"metadata": {"finalizers": ["d"], "$setElementOrder/finalizers": ["a", "b", "c", "d"]}}),
    json!({"metadata": {"finalizers": ["a", "b", "c", "d"]}}))]
#[case::an_absent_list_has_nothing_to_delete(
    json!({"metadata": {}}),
    json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"]}}),
    json!({"metadata": {}}))]
#[case::owners_merge_by_uid(
    json!({"metadata": {"ownerReferences": [{"uid": "1", "name": "a", "controller": true}, {"uid": "2", "name": "b"}]}}),
    json!({"metadata": {"ownerReferences": [{"uid": "1", "controller": null}, {"uid": "2", "$patch": "delete"}]}}),
    json!({"metadata": {"ownerReferences": [{"uid": "1", "name": "a"}]}}))]
#[case::a_map_is_replaced_on_demand(
    json!({"spec": {"nodeName": "a", "hostname": "h"}}),
    json!({"spec": {"$patch": "replace", "nodeName": "b", "subdomain": null}}),
    json!({"spec": {"nodeName": "b"}}))]
#[case::a_map_is_emptied_on_demand(
    json!({"spec": {"securityContext": {"runAsUser": 1}}}),
    json!({"spec": {"securityContext": {"$patch": "delete"}}}),
    json!({"spec": {"securityContext": {}}}))]
#[case::deleting_an_absent_map_adds_nothing(
    json!({"spec": {}}),
    json!({"spec": {"securityContext": {"$patch": "delete"}}}),
    json!({"spec": {}}))]
#[case::merge_is_the_default(
    json!({"spec": {"nodeName": "a", "hostname": "h"}}),
    json!({"spec": {"$patch": "merge", "nodeName": "b"}}),
    json!({"spec": {"nodeName": "b", "hostname": "h"}}))]
#[case::a_volume_keeps_only_its_new_source(
    json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}]}}),
    json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}, "$retainKeys": ["name", "hostPath"]}]}}),
    json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}, {"name": "w", "emptyDir": {}}]}}))]
#[case::order_of_patch_before_order_of_server(
    json!({"spec": {"containers": [{"name": "s1"}, {"name": "a"}, {"name": "s2"}, {"name": "b"}, {"name": "s3"}]}}),
    json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a", "tty": true}]}}),
    json!({"spec": {"containers": [
        {"name": "s1"}, {"name": "s2"}, {"name": "b"}, {"name": "a", "tty": true}, {"name": "s3"}]}}))]
#[case::an_order_alone_moves_elements(
    json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
    json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}),
    json!({"spec": {"containers": [{"name": "b"}, {"name": "a"}]}}))]
#[case::directives_inside_new_structs_are_not_stored(
    json!({}),
    json!({"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [
        {"name": "a", "$retainKeys": ["name"], "env": [{"name": "E", "$patch": "delete"}]}]}}),
    json!({"spec": {"containers": [{"name": "a", "env": []}]}}))]
#[case::a_null_list_counts_as_absent(
    json!({"spec": {"containers": null}}),
    json!({"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "a"}]}}),
    json!({"spec": {"containers": [{"name": "a"}]}}))]
fn a_pod_is_patched(#[case] object: Value, #[case] patch: Value, #[case] expected: Value) {
    assert_eq!(pod(object, patch).expect("applies"), expected);
}

#[rstest::rstest]
#[case::missing_key(json!({"containers": [{"image": "x"}]}), 422)]
#[case::missing_key_in_deletion(json!({"containers": [{"$patch": "delete"}]}), 422)]
#[case::list_of_lists(json!({"containers": [["a"]]}), 422)]
#[case::mixed(json!({"containers": ["a"]}), 422)]
#[case::unknown_directive(json!({"$patch": "shrink"}), 400)]
#[case::merge_in_a_list(json!({"containers": [{"name": "a", "$patch": "merge"}]}), 400)]
#[case::order_lacks_an_element(json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}), 400)]
#[case::order_contradicts(json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
    "containers": [{"name": "a"}, {"name": "b"}]}), 400)]
#[case::order_is_no_list(json!({"$setElementOrder/containers": 1}), 400)]
#[case::order_of_nothing(json!({"$setElementOrder": []}), 400)]
#[case::deletion_is_no_list(json!({"$deleteFromPrimitiveList/containers": "a"}), 400)]
#[case::retain_keys_misses_a_member(json!({"$retainKeys": ["hostname"], "nodeName": "a"}), 400)]
#[case::order_of_an_unknown_field(json!({"$setElementOrder/things": ["a"], "things": ["a"]}), 422)]
#[case::unknown_struct(json!({"things": {"a": 1}}), 422)]
fn a_wrong_patch_is_refused(#[case] spec: Value, #[case] status: u16) {
    let object = json!({"spec": {"containers": [{"name": "a"}], "things": {"b": 1}}});
    let error = pod(object, json!({"spec": spec})).expect_err("refused");
    assert_eq!(error.http_status(), status, "{error}");
}

#[test]
fn a_custom_kind_is_refused_so_that_the_caller_can_answer_415() {
    let error = apply(of("example.com/v1", "Lamp", json!({})), json!({})).expect_err("refused");
    assert!(matches!(error, PatchError::UnknownKind { .. }));
    assert_eq!(error.http_status(), 415);
    let error = apply(of("v1", "Pod", json!({})), json!([])).expect_err("refused");
    assert!(matches!(error, PatchError::NotAnObject));
}

#[test]
fn service_ports_merge_by_port_and_crd_schemas_by_property() {
    let service = of(
        "v1",
        "Service",
        json!({"spec": {"ports": [{"port": 80, "name": "a"}, {"port": 81}]}}),
    );
    let merged = apply(
        service,
        json!({"spec": {"ports": [{"port": 81, "name": "b"}]}}),
    )
    .expect("applies");
    assert_eq!(
        merged["spec"]["ports"],
        json!([{"port": 80, "name": "a"}, {"port": 81, "name": "b"}])
    );
    let schema = |properties: Value| json!({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"properties": properties}}}]}});
    let crd = of(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        schema(json!({"a": {"type": "string"}})),
    );
    let merged = apply(crd, schema(json!({"b": {"type": "object"}}))).expect("applies");
    assert_eq!(
        merged["spec"],
        schema(json!({"b": {"type": "object"}}))["spec"],
        "versions are an atomic list"
    );
}

#[test]
fn a_kubelet_renews_the_conditions_of_its_node() {
    let node = fixture!("node.json");
    let merged = apply(node.clone(), fixture!("patch-node-status.json")).expect("applies");
    let conditions = merged["status"]["conditions"].as_array().expect("list");
    let names: Vec<_> = conditions
        .iter()
        .map(|c| c["type"].as_str().expect("type"))
        .collect();
    assert_eq!(
        names,
        ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"]
    );
    assert_eq!(conditions[3]["status"], "True");
    assert_eq!(conditions[3]["reason"], "KubeletReady");
    assert_eq!(conditions[0]["lastHeartbeatTime"], "2026-11-21T05:50:06Z");
    assert_eq!(
        conditions[0]["message"], node["status"]["conditions"][0]["message"],
        "other members stay"
    );
    assert_eq!(merged["status"]["addresses"], node["status"]["addresses"]);
    assert!(!merged.to_string().contains('$'));
}

#[test]
fn kubectl_applies_a_changed_deployment() {
    let containers = json!([{"name": "c", "image": "x:1", "imagePullPolicy": "Always"}, {"name": "d", "image": "y"}]);
    let live = of(
        "apps/v1",
        "Deployment",
        json!({"metadata": {"name": "web"},
        "spec": {"replicas": 1, "template": {"spec": {"containers": containers, "restartPolicy": "Always"}}}}),
    );
    // As kubectl 1.32 sends it for a manifest with another image, a new port and without container d.
    let patch = json!({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        "spec": {"replicas": 2, "template": {"spec": {"$setElementOrder/containers": [{"name": "c"}], "containers": [
            {"image": "x:2", "name": "c", "ports": [{"containerPort": 80}]}, {"$patch": "delete", "name": "d"}]}}}});
    let merged = apply(live, patch).expect("applies");
    let container = json!({"name": "c", "image": "x:2", "imagePullPolicy": "Always", "ports": [{"containerPort": 80}]});
    assert_eq!(
        merged["spec"],
        json!({"replicas": 2, "template": {"spec": {"containers": [container], "restartPolicy": "Always"}}})
    );
}

#[test]
fn addresses_of_a_node_merge_by_type() {
    let node = of(
        "v1",
        "Node",
        json!({"status": {"addresses": [
        {"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "a"}]}}),
    );
    let patch = json!({"status": {
        "$setElementOrder/addresses": [{"type": "InternalIP"}, {"type": "Hostname"}],
        "addresses": [{"type": "InternalIP", "address": "10.0.0.2"}]}});
    let merged = apply(node, patch).expect("applies");
    assert_eq!(
        merged["status"]["addresses"],
        json!([{"type": "InternalIP", "address": "10.0.0.2"}, {"type": "Hostname", "address": "a"}])
    );
}

#[test]
fn a_kubelet_reports_a_pod_twice() {
    let listed =
        protobuf::decode(include_bytes!("../../../fixtures/pod-list.pb")).expect("decodes");
    let mut pod = of("v1", "Pod", listed["items"][0].clone());
    let scheduled = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-21T05:50:05Z"});
    pod["status"] = json!({"phase": "Pending", "conditions": [scheduled]});
    let first = apply(pod, fixture!("patch-pod-status.json")).expect("applies");
    let conditions = first["status"]["conditions"].as_array().expect("list");
    assert_eq!(conditions.len(), 5);
    assert_eq!(
        conditions[4]["status"], "True",
        "what only the server had stays"
    );
    assert_eq!(conditions[4]["observedGeneration"], 1);
    assert!(
        conditions[0].get("lastProbeTime").is_none(),
        "null is not stored"
    );
    assert_eq!(first["status"]["podIPs"], json!([{"ip": "10.78.0.12"}]));
    assert_eq!(first["status"]["phase"], "Pending");
    let second = apply(first, fixture!("patch-pod-status-again.json")).expect("applies");
    assert_eq!(second["status"]["conditions"][0]["status"], "True");
    assert_eq!(second["status"]["conditions"][0]["observedGeneration"], 1);
    assert_eq!(second["status"]["containerStatuses"][0]["restartCount"], 0);
}

#[test]
fn a_repeated_event_is_counted() {
    let merged = apply(fixture!("event.json"), fixture!("patch-event.json")).expect("applies");
    assert_eq!(merged["count"], 2);
    assert_eq!(
        merged["involvedObject"],
        fixture!("event.json")["involvedObject"]
    );
}

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-f]", 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_merged_list_holds_every_name_once_and_in_both_orders(live in names(), new in names()) {
        let unique = |names: Vec<String>| {
            let mut seen = std::collections::HashSet::new();
            names.into_iter().filter(|name| seen.insert(name.clone())).collect::<Vec<_>>()
        };
        let (live, new) = (unique(live), unique(new));
        let list = |names: &[String]| names.iter().map(|n| json!({"name": n})).collect::<Vec<_>>();
        let merged = pod(json!({"spec": {"containers": list(&live)}}), json!({"spec": {"containers": list(&new)}}));
        let merged = merged.expect("applies");
        let merged: Vec<String> = merged["spec"]["containers"].as_array().expect("list").iter()
            .map(|c| c["name"].as_str().expect("name").to_owned()).collect();
        let expected: std::collections::BTreeSet<_> = live.iter().chain(&new).collect();
        prop_assert_eq!(merged.len(), expected.len());
        let kept = |of: &[String], also: &dyn Fn(&String) -> bool| -> Vec<String> {
            of.iter().filter(|name| also(name)).cloned().collect()
        };
        prop_assert_eq!(kept(&merged, &|n| new.contains(n)), new.clone(), "the patch's order");
        let server_only = |n: &String| live.contains(n) && !new.contains(n);
        prop_assert_eq!(kept(&merged, &server_only), kept(&live, &server_only), "the server's order");
    }

    #[test]
    fn no_patch_panics(text in r#"(\{|\}|\[|\]|:|,|"(spec|containers|name|\$patch|delete|replace|\$retainKeys|\$setElementOrder/containers|\$deleteFromPrimitiveList/finalizers|metadata|finalizers)"|1|null){0,40}"#) {
        if let Ok(patch) = serde_json::from_str::<Value>(&text) {
            let _ = pod(json!({"spec": {"containers": [{"name": "a"}]}, "metadata": {"finalizers": ["a"]}}), patch);
        }
    }

    #[test]
    fn a_random_patch_leaves_no_directive_behind(
        key in prop::sample::select(vec!["$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/x", "containers"]),
        value in prop::sample::select(vec![json!("delete"), json!("replace"), json!([]), json!([{"name": "a"}]), json!(["name"]), json!(null)]),
        present in any::<bool>(),
    ) {
        let object = if present { json!({"spec": {"containers": [{"name": "b"}]}}) } else { json!({}) };
        if let Ok(merged) = pod(object, json!({"spec": {key: value}})) {
            prop_assert!(!merged.to_string().contains('$'), "{}", merged);
        }
    }
}
