//! Creates, updates and patches.

use super::*;

#[test]
fn a_created_deployment_is_owned_as_upstream_has_it() {
    let object = created(&deployment(), "kubectl-create");
    assert_eq!(
        entry(&object, "kubectl-create"),
        &json!({"manager": "kubectl-create", "operation": "Update", "apiVersion": "apps/v1",
            "time": "2027-01-15T08:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {"f:containers": {"k:{\"name\":\"nginx\"}": {".": {}, "f:image": {}, "f:name": {},
                    "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                        ".": {}, "f:containerPort": {}, "f:protocol": {}}}}}}}}}})
    );
}

#[test]
fn an_update_takes_what_it_changes_and_nothing_else() {
    let live = created(&deployment(), "creator");
    let new = updated(&live, "scaler", 5, |d| d["spec"]["replicas"] = 3.into());
    assert_eq!(
        fields(&new, "scaler"),
        &json!({"f:spec": {"f:replicas": {}}})
    );
    assert!(
        fields(&new, "creator")["f:spec"]
            .get("f:replicas")
            .is_none()
    );
    assert_eq!(
        entry(&new, "creator")["time"],
        entry(&live, "creator")["time"]
    );
    let same = updated(&new, "third", 9, |_| {});
    assert_eq!(same, new, "a write without change has no owner");
}

#[test]
fn a_field_goes_back_and_forth_with_its_writers() {
    let live = created(&config_map(json!({"a": "1"})), "one");
    let second = updated(&live, "two", 1, |c| c["data"]["a"] = "2".into());
    assert_eq!(fields(&second, "one"), &json!({"f:data": {}}));
    let third = updated(&second, "one", 2, |c| c["data"]["a"] = "3".into());
    assert_eq!(managers(&third), ["one"]);
    assert_eq!(
        fields(&third, "one"),
        &json!({"f:data": {".": {}, "f:a": {}}})
    );
    assert_eq!(entry(&third, "one")["time"], "2027-01-15T08:00:02Z");
}

#[test]
fn removed_fields_belong_to_nobody() {
    let live = created(&config_map(json!({"a": "1", "b": "2"})), "one");
    let new = updated(&live, "two", 1, |c| {
        c["data"].as_object_mut().unwrap().remove("a");
    });
    assert_eq!(managers(&new), ["one"]);
    assert_eq!(
        fields(&new, "one"),
        &json!({"f:data": {".": {}, "f:b": {}}})
    );
}

#[test]
fn node_conditions_are_owned_by_type_under_the_status() {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": {}});
    let live = created(&node, "kubelet");
    assert_eq!(managers(&live), [""; 0], "there is nothing to own");
    let live = updated(
        &created(
            &{
                let mut node = node.clone();
                node["metadata"]["labels"] = json!({"a": "b"});
                node
            },
            "kubelet",
        ),
        "x",
        1,
        |_| {},
    );
    let mut new = live.clone();
    new["status"] =
        json!({"conditions": [{"type": "Ready", "status": "True"}], "capacity": {"cpu": "2"}});
    FieldManager {
        subresource: "status",
        ..manager(&live, "kubelet", 2)
    }
    .track(Some(&live), &mut new);
    let status = &new["metadata"]["managedFields"][1];
    assert_eq!(status["subresource"], "status");
    assert_eq!(
        status["fieldsV1"]["f:status"]["f:conditions"],
        json!({".": {}, "k:{\"type\":\"Ready\"}": {".": {}, "f:status": {}, "f:type": {}}})
    );
    assert_eq!(
        status["fieldsV1"]["f:status"]["f:capacity"],
        json!({".": {}, "f:cpu": {}})
    );
    let mut ready = new.clone();
    ready["status"]["conditions"][0]["status"] = "False".into();
    manager(&live, "other", 3).track(Some(&new), &mut ready);
    assert_eq!(
        fields(&ready, "other"),
        &json!({"f:status": {"f:conditions": {"k:{\"type\":\"Ready\"}": {"f:status": {}}}}})
    );
}

#[test]
fn fields_that_an_endpoint_resets_have_no_owner() {
    let mut object = deployment();
    object["status"] = json!({"replicas": 1});
    let ignored = Some(Typing::BuiltIn.reset_fields("apps/v1", "Deployment", true, ""));
    let context = FieldManager {
        ignored: ignored.as_ref(),
        ..manager(&object, "m", 0)
    };
    let mut new = object.clone();
    context.track(None, &mut new);
    assert!(fields(&new, "m").get("f:status").is_none());
}

#[test]
fn atomic_values_change_hands_as_a_whole() {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"selector": {"a": "b"}, "externalIPs": ["1.2.3.4"], "ports": [{"port": 80, "protocol": "TCP"}]}});
    let live = created(&service, "one");
    assert_eq!(
        fields(&live, "one")["f:spec"],
        json!({"f:externalIPs": {}, "f:selector": {}, "f:ports": {".": {},
            "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:protocol": {}}}})
    );
    let new = updated(&live, "two", 1, |s| s["spec"]["selector"]["c"] = "d".into());
    assert_eq!(fields(&new, "two"), &json!({"f:spec": {"f:selector": {}}}));
    assert!(fields(&new, "one")["f:spec"].get("f:selector").is_none());
}

#[test]
fn finalizers_are_owned_one_by_one() {
    let mut object = config_map(json!({}));
    object["metadata"]["finalizers"] = json!(["a/a", "b/b"]);
    let live = created(&object, "one");
    let new = updated(&live, "two", 1, |c| {
        c["metadata"]["finalizers"] = json!(["a/a", "c/c"]);
    });
    assert_eq!(
        fields(&new, "one")["f:metadata"]["f:finalizers"],
        json!({".": {}, "v:\"a/a\"": {}})
    );
    assert_eq!(
        fields(&new, "two")["f:metadata"]["f:finalizers"],
        json!({"v:\"c/c\"": {}})
    );
}

#[test]
fn repeated_elements_are_owned_in_one_piece() {
    let mut object = deployment();
    let ports = json!([{"containerPort": 80, "name": "a"}, {"containerPort": 80, "name": "b"}]);
    object["spec"]["template"]["spec"]["containers"][0]["ports"] = ports;
    let live = created(&object, "one");
    let of = |object: &Value, name| {
        let spec = &fields(object, name)["f:spec"]["f:template"]["f:spec"];
        spec["f:containers"]["k:{\"name\":\"nginx\"}"]["f:ports"].clone()
    };
    let key = "k:{\"containerPort\":80,\"protocol\":\"TCP\"}";
    assert_eq!(of(&live, "one"), json!({".": {}, key: {}}));
    let new = updated(&live, "two", 1, |d| {
        d["spec"]["template"]["spec"]["containers"][0]["ports"][1]["name"] = "c".into();
    });
    assert_eq!(of(&new, "two"), json!({key: {}}));
}

#[test]
fn sent_entries_count_except_on_a_subresource() {
    let live = created(&config_map(json!({"a": "1"})), "one");
    let mut sent = live.clone();
    sent["metadata"]["managedFields"][0]["manager"] = "renamed".into();
    let mut new = sent.clone();
    manager(&live, "two", 1).track(Some(&live), &mut new);
    assert_eq!(managers(&new), ["renamed"]);
    let mut new = sent;
    FieldManager {
        subresource: "status",
        ..manager(&live, "two", 1)
    }
    .track(Some(&live), &mut new);
    assert_eq!(managers(&new), ["one"]);
}

#[test]
fn missing_or_malformed_entries_do_not_lose_the_owners() {
    let live = created(&config_map(json!({"a": "1"})), "one");
    for entries in [
        Value::Null,
        json!([{"manager": "x"}]),
        json!("x"),
        json!([{"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"x": {}}}]),
    ] {
        let new = updated(&live, "two", 1, |c| {
            c["metadata"]["managedFields"] = entries
        });
        assert_eq!(managers(&new), ["one"]);
    }
}

#[test]
fn owners_are_forgotten_on_request_until_the_next_apply() {
    let live = created(&config_map(json!({"a": "1"})), "one");
    for reset in [json!([]), json!([{}])] {
        let new = updated(&live, "two", 1, |c| {
            c["metadata"]["managedFields"] = reset;
            c["data"]["a"] = "2".into();
        });
        assert!(new["metadata"].get("managedFields").is_none());
        let later = updated(&new, "three", 2, |c| c["data"]["a"] = "3".into());
        assert!(later["metadata"].get("managedFields").is_none());
    }
}

#[test]
fn the_oldest_of_too_many_updates_are_merged() {
    let mut object = created(&config_map(json!({"k": "v"})), "first");
    for n in 1..15 {
        let name = format!("m{n}");
        object = updated(&object, &name, n, |c| c["data"][&name] = "v".into());
    }
    let managers = managers(&object);
    assert_eq!(managers.len(), 10);
    assert_eq!(managers[0], "ancient-changes");
    assert_eq!(managers[9], "m14");
    let ancient = fields(&object, "ancient-changes")["f:data"]
        .as_object()
        .unwrap();
    assert_eq!(
        ancient.len(),
        7,
        "the map itself, k, and m1 to m5: {ancient:?}"
    );
    assert_eq!(
        entry(&object, "ancient-changes")["time"],
        "2027-01-15T08:00:05Z"
    );
}

#[test]
fn a_change_of_times_alone_is_no_change() {
    let live = created(&config_map(json!({"a": "1"})), "one");
    let mut new = live.clone();
    new["metadata"]["managedFields"][0]["time"] = "2028-01-01T00:00:00Z".into();
    keep_times_when_unchanged(&live, &mut new);
    assert_eq!(new, live);
    let mut new = updated(&live, "one", 9, |c| c["data"]["a"] = "2".into());
    let before = new.clone();
    keep_times_when_unchanged(&live, &mut new);
    assert_eq!(new, before);
}

#[test]
fn entries_of_other_versions_are_kept_and_of_unknown_ones_dropped() {
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "message": "m", "reason": "r"});
    let mut live = created(&event, "core");
    let entries = live["metadata"]["managedFields"].as_array_mut().unwrap();
    entries.push(
        json!({"manager": "new", "operation": "Update", "apiVersion": "events.k8s.io/v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:note": {}, "f:type": {}}}),
    );
    entries.push(
        json!({"manager": "old", "operation": "Update", "apiVersion": "events.k8s.io/v1beta1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:note": {}}}),
    );
    let new = updated(&live, "writer", 1, |e| e["message"] = "other".into());
    assert_eq!(fields(&new, "new"), &json!({"f:type": {}}));
    assert_eq!(fields(&new, "core"), &json!({"f:reason": {}}));
    assert_eq!(entry(&new, "old"), &Value::Null);
}

#[rstest::rstest]
#[case(Some("mine"), "kubectl/v1", "mine")]
#[case(None, "kubectl/v1.36 (linux)", "kubectl")]
#[case(Some(""), "curl", "curl")]
#[case(None, "", "")]
fn a_writer_is_named_by_itself_or_its_agent(
    #[case] given: Option<&str>,
    #[case] agent: &str,
    #[case] name: &str,
) {
    assert_eq!(manager_name(given, agent), name);
}

#[test]
fn an_agent_s_name_is_cut_at_a_character() {
    let name = manager_name(None, &"ä".repeat(100));
    assert_eq!(name, "ä".repeat(64));
}

#[test]
fn scale_and_its_parent_share_the_owner_of_replicas() {
    let live = created(&deployment(), "creator");
    let replicas =
        |version: &str| (version == "apps/v1").then(|| Path::fields(&["spec", "replicas"]));
    let entries = scale::to_scale(&live, &replicas).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["apiVersion"], "autoscaling/v1");
    let scale_object = json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {"name": "web", "uid": "u", "managedFields": entries}, "spec": {"replicas": 1}});
    let mut new = scale_object.clone();
    new["spec"]["replicas"] = 4.into();
    FieldManager {
        subresource: "scale",
        ..manager(&scale_object, "hpa", 3)
    }
    .track(Some(&scale_object), &mut new);
    let mut parent = live.clone();
    parent["metadata"]["managedFields"] = scale::to_parent(&live, &new, "apps/v1", &replicas)
        .unwrap()
        .into();
    assert_eq!(
        fields(&parent, "hpa"),
        &json!({"f:spec": {"f:replicas": {}}})
    );
    assert_eq!(entry(&parent, "hpa")["subresource"], "scale");
    assert!(
        fields(&parent, "creator")["f:spec"]
            .get("f:replicas")
            .is_none()
    );
    assert!(
        fields(&parent, "creator")["f:spec"]
            .get("f:selector")
            .is_some()
    );
}
