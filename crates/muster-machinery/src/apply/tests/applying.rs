//! Applies: merging, pruning, sharing, conflicts.

use super::*;

#[test]
fn an_apply_creates_what_does_not_exist() {
    let object = applied(None, &deployment(), "me", 0);
    assert_eq!(without_managed(&object), deployment());
    assert_eq!(
        entry(&object, "me"),
        &json!({"manager": "me", "operation": "Apply", "apiVersion": "apps/v1",
            "time": "2027-01-15T08:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {"f:containers": {"k:{\"name\":\"nginx\"}": {".": {}, "f:image": {}, "f:name": {},
                    "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                        ".": {}, "f:containerPort": {}, "f:protocol": {}}}}}}}}}})
    );
}

#[test]
fn the_same_apply_again_changes_nothing() {
    let once = applied(None, &deployment(), "me", 0);
    assert_eq!(applied(Some(&once), &deployment(), "me", 60), once);
}

#[test]
fn what_is_no_longer_applied_goes() {
    let live = applied(None, &config_map(json!({"a": "1", "b": "2"})), "me", 0);
    let new = applied(Some(&live), &config_map(json!({"a": "1"})), "me", 1);
    assert_eq!(new["data"], json!({"a": "1"}));
    assert_eq!(fields(&new, "me"), &json!({"f:data": {"f:a": {}}}));
    let mut bare = config_map(json!({}));
    bare.as_object_mut().unwrap().remove("data");
    bare["metadata"]["labels"] = json!({"l": "m"});
    let new = applied(Some(&new), &bare, "me", 2);
    assert_eq!(without_managed(&new), bare);
}

#[test]
fn what_others_own_stays_when_it_is_no_longer_applied() {
    let both = config_map(json!({"a": "1", "b": "2"}));
    let live = applied(None, &both, "one", 0);
    let live = applied(Some(&live), &both, "two", 1);
    assert_eq!(managers(&live), ["one", "two"], "both own what both want");
    let new = applied(Some(&live), &config_map(json!({"b": "2"})), "one", 2);
    assert_eq!(new["data"], json!({"a": "1", "b": "2"}));
    let new = applied(Some(&new), &config_map(json!({"b": "2"})), "two", 3);
    assert_eq!(new["data"], json!({"b": "2"}));
}

#[test]
fn what_an_update_added_stays() {
    let live = applied(None, &config_map(json!({"a": "1"})), "me", 0);
    let live = updated(&live, "other", 1, |c| c["data"]["b"] = "2".into());
    let new = applied(Some(&live), &config_map(json!({"c": "3"})), "me", 2);
    assert_eq!(new["data"], json!({"b": "2", "c": "3"}));
}

#[test]
fn a_changed_field_of_another_is_a_conflict_unless_forced() {
    let live = created(&deployment(), "kubectl-client-side-apply");
    let config = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"}, "spec": {"replicas": 5}});
    let me = manager(&config, "me", 1);
    let error = me.apply(Some(&live), &config, false).unwrap_err();
    let message = "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas";
    assert_eq!(error.to_string(), message);
    let status = error.to_status().to_value();
    assert_eq!(
        (&status["code"], &status["reason"]),
        (&json!(409), &json!("Conflict"))
    );
    assert_eq!(
        status["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "field": ".spec.replicas",
            "message": "conflict with \"kubectl-client-side-apply\" using apps/v1"}])
    );
    let forced = me.apply(Some(&live), &config, true).unwrap();
    assert_eq!(forced["spec"]["replicas"], 5);
    assert_eq!(
        fields(&forced, "me"),
        &json!({"f:spec": {"f:replicas": {}}})
    );
    let theirs = &fields(&forced, "kubectl-client-side-apply")["f:spec"];
    assert!(theirs.get("f:replicas").is_none() && theirs.get("f:selector").is_some());
}

#[test]
fn many_conflicts_are_told_by_manager() {
    let live = created(&config_map(json!({"a": "1", "b": "2"})), "one");
    let live = FieldManager {
        subresource: "status",
        ..manager(&live, "two", 1)
    };
    let base = created(&config_map(json!({"a": "1", "b": "2"})), "one");
    let mut changed = base.clone();
    changed["data"]["c"] = "3".into();
    live.track(Some(&base), &mut changed);
    let config = config_map(json!({"a": "x", "b": "y", "c": "z"}));
    let error = manager(&config, "me", 1).apply(Some(&changed), &config, false);
    assert_eq!(
        error.unwrap_err().to_string(),
        "Apply failed with 3 conflicts: conflicts with \"one\" using v1:\n- .data.a\n- .data.b\n\
         conflicts with \"two\" with subresource \"status\" using v1:\n- .data.c"
    );
}

#[test]
fn a_conflict_with_an_applier_names_no_version() {
    let live = applied(None, &config_map(json!({"a": "1"})), "one", 0);
    let config = config_map(json!({"a": "2"}));
    let error = manager(&config, "me", 1).apply(Some(&live), &config, false);
    assert_eq!(
        error.unwrap_err().to_string(),
        "Apply failed with 1 conflict: conflict with \"one\": .data.a"
    );
}

#[test]
fn containers_are_merged_by_name_and_pruned_alone() {
    let pod = |containers: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}});
    let live = applied(
        None,
        &pod(json!([{"name": "app", "image": "a"}, {"name": "old", "image": "o"}])),
        "me",
        0,
    );
    let live = updated(&live, "injector", 1, |p| {
        let containers = p["spec"]["containers"].as_array_mut().unwrap();
        containers.push(json!({"name": "proxy", "image": "p"}));
        containers[0]["env"] = json!([{"name": "X", "value": "y"}]);
    });
    let new = applied(
        Some(&live),
        &pod(json!([{"name": "app", "image": "b"}])),
        "me",
        2,
    );
    assert_eq!(
        new["spec"]["containers"],
        json!([{"name": "app", "image": "b", "env": [{"name": "X", "value": "y"}]}, {"name": "proxy", "image": "p"}])
    );
}

#[test]
fn service_ports_are_told_apart_by_port_and_protocol_with_its_default() {
    let service = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}});
    let config = service(json!([{"port": 53}, {"port": 53, "protocol": "UDP"}]));
    let mut live = applied(None, &config, "me", 0);
    live["spec"]["ports"][0]["protocol"] = "TCP".into();
    assert_eq!(applied(Some(&live), &config, "me", 9), live);
    let one = service(json!([{"port": 53, "protocol": "UDP"}]));
    let new = applied(Some(&live), &one, "me", 9);
    assert_eq!(
        new["spec"]["ports"],
        json!([{"port": 53, "protocol": "UDP"}])
    );
    let twice = service(json!([{"port": 53}, {"port": 53, "protocol": "TCP"}]));
    let error = manager(&twice, "me", 1).apply(Some(&live), &twice, false);
    assert_eq!(
        error.unwrap_err().to_string(),
        "failed to create typed patch object (/s; /v1, Kind=Service): .spec.ports: \
         duplicate entries for key [port=53,protocol=\"TCP\"]"
    );
}

#[test]
fn atomic_lists_are_replaced_and_sets_are_joined() {
    let object = |args: Value, finalizers: Value| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "finalizers": finalizers},
            "spec": {"containers": [{"name": "a", "args": args}]}})
    };
    let live = applied(
        None,
        &object(json!(["1", "2"]), json!(["a/a", "b/b"])),
        "me",
        0,
    );
    let live = updated(&live, "x", 1, |p| {
        p["metadata"]["finalizers"]
            .as_array_mut()
            .unwrap()
            .push("c/c".into());
    });
    let new = applied(Some(&live), &object(json!(["3"]), json!(["b/b"])), "me", 2);
    assert_eq!(new["spec"]["containers"][0]["args"], json!(["3"]));
    assert_eq!(new["metadata"]["finalizers"], json!(["b/b", "c/c"]));
}

#[test]
fn the_fields_of_a_subresource_are_a_manager_of_their_own() {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {"a": "b"}}});
    let live = applied(None, &node, "me", 0);
    let status = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let context = FieldManager {
        subresource: "status",
        ..manager(&status, "me", 1)
    };
    let new = context.apply(Some(&live), &status, false).unwrap();
    assert_eq!(new["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(managers(&new), ["me", "me"]);
}

#[rstest::rstest]
#[case(json!({"spec": {"replicas": "two"}}), ".spec.replicas: expected numeric (int or float), got string")]
#[case(json!({"spec": {"replica": 2}}), ".spec.replica: field not declared in schema")]
#[case(json!({"spec": []}), ".spec: expected map, got []")]
#[case(json!({"spec": {"paused": 1}}), ".spec.paused: expected boolean, got 1")]
#[case(json!({"spec": {"template": {"spec": {"containers": [{"image": "x"}, {"name": ""}]}}}}),
    ".spec.template.spec.containers: duplicate entries for key [name=\"\"]")]
#[case(json!({"spec": {"template": {"spec": {"containers": [3]}}}}),
    ".spec.template.spec.containers: element 0: associative list with keys may not have non-map elements")]
#[case(json!({"metadata": {"finalizers": ["a", "a"]}}),
    ".metadata.finalizers: duplicate entries for key [=\"a\"]")]
fn a_configuration_that_does_not_fit_is_refused(#[case] extra: Value, #[case] mistake: &str) {
    let mut config = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    config
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    let error = manager(&config, "me", 0)
        .apply(None, &config, true)
        .unwrap_err();
    let expected =
        format!("failed to create typed patch object (/; apps/v1, Kind=Deployment): {mistake}");
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.to_status().code(), 400);
}

#[test]
fn a_configuration_of_another_kind_or_with_owners_is_refused() {
    let config = config_map(json!({}));
    let other = FieldManager {
        kind: "Secret",
        ..manager(&config, "me", 0)
    };
    let error = other.apply(None, &config, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid object type: /v1, Kind=ConfigMap"
    );
    let mut config = config;
    config["metadata"]["managedFields"] = json!([]);
    let error = manager(&config, "me", 0)
        .apply(None, &config, false)
        .unwrap_err();
    assert_eq!(error, ApplyError::ManagedFieldsGiven);
}

#[test]
fn a_configuration_that_nests_too_deep_is_refused() {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": deep});
    let error = manager(&config, "me", 0).apply(None, &config, false);
    assert_eq!(error.unwrap_err(), ApplyError::TooDeep);
}

#[test]
fn a_live_object_with_unreadable_owners_is_left_alone() {
    let mut live = config_map(json!({"a": "1"}));
    live["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    let config = config_map(json!({"a": "2"}));
    let error = manager(&config, "me", 0)
        .apply(Some(&live), &config, false)
        .unwrap_err();
    assert_eq!(error.to_status().code(), 500);
}

#[test]
fn an_applier_that_gives_everything_up_is_forgotten() {
    let live = applied(None, &config_map(json!({"a": "1"})), "one", 0);
    let live = applied(Some(&live), &config_map(json!({"b": "1"})), "two", 0);
    let nothing = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}});
    let new = applied(Some(&live), &nothing, "one", 1);
    assert_eq!(managers(&new), ["two"]);
    assert_eq!(new["data"], json!({"b": "1"}));
}

#[test]
fn an_apply_in_a_new_version_prunes_what_was_applied_in_the_old() {
    let spec = |fields: Value| {
        let mut spec = json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "D", "name": "d"}});
        spec.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        spec
    };
    let meta = json!({"name": "h"});
    let v2 = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta,
        "spec": spec(json!({"minReplicas": 2}))});
    let v1 = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": meta,
        "spec": spec(json!({}))});
    let live_v2 = applied(None, &v2, "me", 0);
    let mut live_v1 = live_v2;
    live_v1["apiVersion"] = "autoscaling/v1".into();
    let new = applied(Some(&live_v1), &v1, "me", 1);
    assert_eq!(new["spec"], spec(json!({})));
    assert_eq!(managers(&new), ["me"]);
    assert_eq!(entry(&new, "me")["apiVersion"], "autoscaling/v1");
}

#[test]
fn an_applied_empty_list_is_there_although_it_owns_nothing() {
    let pod = |containers: Value| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}},
            "spec": {"containers": containers}})
    };
    let live = applied(None, &pod(json!([{"name": "a"}])), "me", 0);
    let new = applied(Some(&live), &pod(json!([])), "me", 1);
    assert_eq!(without_managed(&new), pod(json!([])));
    assert_eq!(
        fields(&new, "me"),
        &json!({"f:metadata": {"f:labels": {"f:a": {}}}})
    );
}

#[test]
fn merged_lists_do_not_move_when_they_are_merged_again() {
    let object = |finalizers: &str| {
        let list: Vec<_> = finalizers.chars().map(|c| format!("{c}/{c}")).collect();
        let mut object = config_map(json!({"a": "1"}));
        object["metadata"]["finalizers"] = json!(list);
        object
    };
    let live = applied(None, &object("xaybz"), "one", 0);
    let once = applied(Some(&live), &object("ba"), "two", 1);
    assert_eq!(
        once["metadata"]["finalizers"],
        object("xybza")["metadata"]["finalizers"]
    );
    assert_eq!(applied(Some(&once), &object("ba"), "two", 2), once);
}

#[test]
fn a_map_that_another_owns_stays_when_its_last_member_goes() {
    let live = applied(None, &config_map(json!({"a": "1"})), "one", 0);
    let live = applied(Some(&live), &config_map(json!({})), "two", 1);
    assert_eq!(fields(&live, "two"), &json!({"f:data": {}}));
    let nothing = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "default", "labels": {"l": "m"}}});
    let new = applied(Some(&live), &nothing, "one", 2);
    assert_eq!(new["data"], json!({}));
    assert_eq!(fields(&new, "two"), &json!({"f:data": {}}));
}
