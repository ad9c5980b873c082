//! What holds for all objects: no panics, nothing changes twice, nobody else's fields change.

use proptest::prelude::*;

use super::*;

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..90).prop_map(Value::from),
        Just(json!(1.5)),
        "[ab]{0,2}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("metadata"),
        Just("spec"),
        Just("status"),
        Just("labels"),
        Just("finalizers"),
        Just("containers"),
        Just("ports"),
        Just("name"),
        Just("containerPort"),
        Just("template"),
        Just("conditions"),
        Just("type"),
        Just("managedFields"),
        Just("ownerReferences"),
        Just("uid"),
        Just("volumes"),
        Just("replicas"),
    ];
    leaf.prop_recursive(6, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![
        Just(("v1", "Pod")),
        Just(("apps/v1", "Deployment")),
        Just(("v1", "Node")),
        Just(("e.com/v1", "Widget")),
    ];
    (kind, any_value(), any_value(), any_value()).prop_map(|((version, kind), meta, spec, status)| {
        json!({"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec, "status": status})
    })
}

/// Configurations that fit: keys of a config map.
fn any_data() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-d]", "[xy]", 0..4).prop_map(|data| json!(data))
}

/// Pods with containers in some order; at least one, as an object on which nobody owns anything starts anew.
fn any_pod() -> impl Strategy<Value = Value> {
    let container = ("[xy]", prop::option::of(1_i64..3));
    prop::collection::btree_map("[a-d]", container, 1..4)
        .prop_map(|containers| containers.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
        .prop_map(|containers| {
            let containers: Vec<_> = containers
                .into_iter()
                .map(|(name, (image, port))| {
                    let mut container = json!({"name": name, "image": image});
                    if let Some(port) = port {
                        container["ports"] = json!([{"containerPort": port}]);
                    }
                    container
                })
                .collect();
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}})
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn no_object_makes_tracking_or_applying_panic(a in any_object(), b in any_object()) {
        let mut new = a.clone();
        manager(&a, "one", 0).track(None, &mut new);
        let mut changed = b.clone();
        manager(&b, "two", 1).track(Some(&new), &mut changed);
        let _ = manager(&b, "three", 2).apply(Some(&changed), &b, true);
        let _ = manager(&a, "kubectl", 2).apply(Some(&changed), &a, false);
    }

    #[test]
    fn a_write_without_change_is_no_write(a in any_object()) {
        let mut first = a.clone();
        manager(&a, "one", 0).track(None, &mut first);
        let mut second = first.clone();
        manager(&a, "two", 1).track(Some(&first), &mut second);
        prop_assert_eq!(second, first);
    }

    #[test]
    fn entries_come_back_as_they_were_written(a in any_object()) {
        let mut object = a.clone();
        manager(&a, "one", 0).track(None, &mut object);
        if let Ok(read) = managed::Managed::read(&object) {
            let mut again = object.clone();
            read.write(&mut again);
            prop_assert_eq!(again, object);
        }
    }

    #[test]
    fn applying_twice_is_applying_once(before in any_pod(), config in any_pod(), other in any_pod()) {
        let live = applied(None, &before, "me", 0);
        let live = manager(&other, "other", 1).apply(Some(&live), &other, true).unwrap();
        let once = manager(&config, "me", 2).apply(Some(&live), &config, true).unwrap();
        let twice = manager(&config, "me", 3).apply(Some(&once), &config, false).unwrap();
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn a_sole_applier_gets_exactly_what_it_applies(before in any_pod(), config in any_pod()) {
        let live = applied(None, &before, "me", 0);
        let new = applied(Some(&live), &config, "me", 1);
        let containers = |pod: &Value| pod["spec"].get("containers").cloned().unwrap_or(json!([]));
        prop_assert_eq!(containers(&new), containers(&config));
    }

    #[test]
    fn without_force_nobody_else_loses_a_field(one in any_data(), two in any_data(), then in any_data()) {
        let live = applied(None, &config_map(one.clone()), "one", 0);
        let config = config_map(two);
        let Ok(live) = manager(&config, "two", 1).apply(Some(&live), &config, false) else {
            return Ok(());
        };
        let config = config_map(then);
        if let Ok(new) = manager(&config, "two", 2).apply(Some(&live), &config, false) {
            for (key, value) in one.as_object().unwrap() {
                prop_assert_eq!(new["data"].get(key), Some(value));
            }
            prop_assert_eq!(fields(&new, "one"), fields(&live, "one"));
        }
    }
}

#[test]
fn long_paths_with_many_ends_cost_no_more_than_their_object() {
    // One name of half a megabyte above fifty thousand leaves: written out, the paths would be 25 GB.
    let name = "n".repeat(500_000);
    let leaves = |value: i64| {
        let leaves: serde_json::Map<_, _> =
            (0..50_000).map(|n| (n.to_string(), value.into())).collect();
        json!({"apiVersion": "e.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {&name: leaves}})
    };
    let mut live = leaves(1);
    manager(&leaves(1), "one", 0).track(None, &mut live);
    let config = leaves(2);
    let error = manager(&config, "two", 1)
        .apply(Some(&live), &config, false)
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("Apply failed with 50000 conflicts: "),
        "{}",
        &text[..100]
    );
    assert!(text.len() < 2_000_000);
    let forced = manager(&config, "two", 1)
        .apply(Some(&live), &config, true)
        .unwrap();
    assert_eq!(managers(&forced), ["two", "one"]);
}

#[test]
fn what_is_told_of_a_configuration_s_mistakes_is_bounded() {
    let name = "ä".repeat(100_000);
    let mut config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {&name: 1}});
    let unknown = (0..1000).map(|n| (format!("x{n}"), Value::Null));
    config.as_object_mut().unwrap().extend(unknown);
    let error = manager(&config, "me", 0)
        .apply(None, &config, false)
        .unwrap_err();
    let ApplyError::Unfit { mistakes, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(mistakes.len(), 20);
    assert!(error.to_string().len() < 4000, "{error}");
}
