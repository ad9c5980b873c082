//! Objects and their owners as a real kube-apiserver 1.36 answered them, and what we say of the same writes.

use super::*;

fn captured() -> Vec<Value> {
    include_str!("../../../fixtures/managed-fields.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The write that made an entry.
fn writer<'a>(object: &'a Value, entry: &'a Value, ignored: &'a FieldSet) -> FieldManager<'a> {
    FieldManager {
        subresource: entry["subresource"].as_str().unwrap_or_default(),
        ignored: Some(ignored),
        now: crate::rfc3339::parse(entry["time"].as_str().unwrap()).unwrap(),
        ..manager(object, entry["manager"].as_str().unwrap(), 0)
    }
}

fn reset_by(object: &Value, entry: &Value) -> FieldSet {
    let text = |value: &'static str| object[value].as_str().unwrap().to_owned();
    let subresource = entry["subresource"].as_str().unwrap_or_default();
    let has_status = object["kind"] != "CSINode" && object["kind"] != "Lease";
    Typing::BuiltIn.reset_fields(&text("apiVersion"), &text("kind"), has_status, subresource)
}

#[test]
fn owners_of_real_objects_are_read_and_written_in_the_same_order() {
    for object in captured() {
        let mut again = object.clone();
        managed::Managed::read(&object).unwrap().write(&mut again);
        assert_eq!(again, object);
    }
}

#[test]
fn a_create_gives_its_writer_the_fields_that_upstream_gives() {
    let mut seen = Vec::new();
    for object in captured() {
        let entries = object["metadata"]["managedFields"].as_array().unwrap();
        let [only] = entries.as_slice() else { continue };
        let ignored = reset_by(&object, only);
        let mut new = without_managed(&object);
        if object["kind"] == "Node" {
            // Admission adds the taint after the bookkeeping.
            new["spec"].as_object_mut().unwrap().remove("taints");
        }
        writer(&object, only, &ignored).track(None, &mut new);
        assert_eq!(
            new["metadata"]["managedFields"],
            json!([only]),
            "{}",
            object["kind"]
        );
        seen.push(object["kind"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        seen,
        [
            "CertificateSigningRequest",
            "Event",
            "Node",
            "CSINode",
            "Lease"
        ]
    );
}

/// Takes what admission and the scheduler added from a pod; returns the whole spec.
fn take_late_fields(pod: &mut Value) -> Value {
    let whole = pod["spec"].clone();
    let spec = pod["spec"].as_object_mut().unwrap();
    for name in ["priority", "preemptionPolicy", "nodeName"] {
        spec.remove(name).unwrap();
    }
    let keep = |item: &Value| {
        let path = item["mountPath"].as_str().unwrap_or_default();
        let name = item["name"].as_str().unwrap_or_default();
        !path.contains("serviceaccount") && !name.starts_with("kube-api-access")
    };
    spec["volumes"].as_array_mut().unwrap().retain(keep);
    spec["containers"][0]["volumeMounts"]
        .as_array_mut()
        .unwrap()
        .retain(keep);
    whole
}

#[test]
fn a_pod_is_owned_by_its_creator_and_the_status_by_the_kubelet() {
    let all = captured();
    let pod = all.iter().find(|object| object["kind"] == "Pod").unwrap();
    let entries = &pod["metadata"]["managedFields"];
    let mut object = without_managed(pod);
    let mut bound = pod["status"]["conditions"][4].clone();
    bound.as_object_mut().unwrap().remove("observedGeneration");
    object["status"] = json!({"phase": "Pending", "qosClass": "BestEffort", "conditions": [bound]});
    // Admission and the binding write without owning, after the bookkeeping.
    let late = take_late_fields(&mut object);
    let ignored = reset_by(pod, &entries[0]);
    writer(pod, &entries[0], &ignored).track(None, &mut object);
    assert_eq!(
        fields(&object, "kube-controller-manager"),
        &entries[0]["fieldsV1"]
    );
    object["spec"] = late;
    let mut running = object.clone();
    running["status"] = pod["status"].clone();
    let ignored = reset_by(pod, &entries[1]);
    writer(pod, &entries[1], &ignored).track(Some(&object), &mut running);
    assert_eq!(running["metadata"]["managedFields"][1], entries[1]);
    assert_eq!(&running["metadata"]["managedFields"], entries);
}

#[test]
fn changes_between_real_states_move_owners_as_upstream_moves_them() {
    let mut steps = Vec::new();
    for pair in captured().windows(2) {
        let (old, new) = (&pair[0], &pair[1]);
        if old["metadata"]["uid"] != new["metadata"]["uid"] {
            continue;
        }
        let entries = |object: &Value| {
            object["metadata"]["managedFields"]
                .as_array()
                .unwrap()
                .clone()
        };
        let before = entries(old);
        let after = entries(new);
        for entry in after.iter().filter(|entry| !before.contains(entry)) {
            let ignored = reset_by(new, entry);
            let mut ours = without_managed(new);
            writer(new, entry, &ignored).track(Some(old), &mut ours);
            assert_eq!(entries(&ours), after);
            steps.push(new["kind"].clone());
        }
    }
    assert_eq!(steps, ["Node", "CertificateSigningRequest"]);
}
