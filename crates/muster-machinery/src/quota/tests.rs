//! What objects take, and which quotas are on them.

use serde_json::json;

use super::*;

fn texts(amounts: &Amounts) -> BTreeMap<&str, String> {
    let texts = amounts.iter();
    texts
        .map(|(name, amount)| (name.as_str(), amount.to_string()))
        .collect()
}

#[test]
fn a_pod_needs_what_runs_together_or_the_largest_that_runs_before() {
    let asks = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
    let sidecar = |cpu: &str| {
        let mut sidecar = asks(cpu);
        sidecar["restartPolicy"] = "Always".into();
        sidecar
    };
    for (before, beside, expected) in [
        (json!([]), json!([asks("1"), asks("500m")]), "1500m"),
        (json!([asks("3")]), json!([asks("1")]), "3"),
        (json!([sidecar("1"), asks("3")]), json!([asks("1")]), "4"),
        (
            json!([asks("3"), sidecar("1")]),
            json!([asks("2500m")]),
            "3500m",
        ),
    ] {
        let pod = json!({"spec": {"initContainers": before, "containers": beside}});
        assert_eq!(of_pod(&pod, "requests")["cpu"].to_string(), expected);
    }
}

#[test]
fn objects_take_what_they_are() {
    let now = Timestamp::UNIX_EPOCH;
    let pod = json!({"spec": {"containers": [{"resources": {
        "requests": {"cpu": "100m", "example.com/gpu": "2"}, "limits": {"memory": "1Gi"},
    }}]}});
    let taken = usage("", "pods", &pod, now);
    let told = texts(&taken);
    assert_eq!(told["cpu"], "100m");
    assert_eq!(told["requests.cpu"], "100m");
    assert_eq!(told["limits.memory"], "1Gi");
    assert_eq!(told["requests.example.com/gpu"], "2");
    assert_eq!((&*told["pods"], &*told["count/pods"]), ("1", "1"));
    let mut done = pod;
    done["status"] = json!({"phase": "Succeeded"});
    assert_eq!(usage("", "pods", &done, now).len(), 1);

    let service = json!({"spec": {"type": "LoadBalancer", "ports": [{}, {}]}});
    let taken = usage("", "services", &service, now);
    assert_eq!(texts(&taken)["services.nodeports"], "2");
    let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}});
    let taken = usage("", "persistentvolumeclaims", &claim, now);
    assert_eq!(
        texts(&taken)["gold.storageclass.storage.k8s.io/requests.storage"],
        "1Gi"
    );
    assert_eq!(usage("apps", "deployments", &json!({}), now).len(), 1);
}

#[test]
fn names_lead_back_to_what_is_counted_under_them() {
    let kind = |group: &str, plural: &str| Some((group.to_owned(), plural.to_owned()));
    assert_eq!(counted_kind("limits.cpu"), kind("", "pods"));
    assert_eq!(counted_kind("services.nodeports"), kind("", "services"));
    assert_eq!(counted_kind("secrets"), kind("", "secrets"));
    assert_eq!(counted_kind("count/jobs.batch"), kind("batch", "jobs"));
    assert_eq!(
        counted_kind("x.storageclass.storage.k8s.io/requests.storage"),
        kind("", "persistentvolumeclaims")
    );
    assert_eq!(counted_kind("nonsense"), None);
}

#[test]
fn scopes_choose_among_pods_and_fit_nothing_else() {
    let quota =
        |spec: Value| json!({"spec": spec, "status": {"hard": {"pods": "1", "services": "1"}}});
    let plain = json!({"spec": {"containers": [{}]}});
    let urgent = json!({"spec": {
        "priorityClassName": "high", "activeDeadlineSeconds": 5,
        "containers": [{"resources": {"requests": {"cpu": "1"}}}],
    }});
    for (spec, on_plain, on_urgent) in [
        (json!({}), true, true),
        (json!({"scopes": ["BestEffort"]}), true, false),
        (
            json!({"scopes": ["NotBestEffort", "Terminating"]}),
            false,
            true,
        ),
        (json!({"scopes": ["PriorityClass"]}), false, true),
        (
            json!({"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": "In", "values": ["low"]},
            ]}}),
            false,
            false,
        ),
    ] {
        let quota = quota(spec);
        assert_eq!(covers(&quota, "", "pods", &plain), on_plain, "{quota}");
        assert_eq!(covers(&quota, "", "pods", &urgent), on_urgent, "{quota}");
    }
    let scoped = quota(json!({"scopes": ["BestEffort"]}));
    assert!(!covers(&scoped, "", "services", &json!({})));
    assert!(covers(&quota(json!({})), "", "services", &json!({})));
}

#[test]
fn a_limited_pod_must_say_what_it_wants() {
    let hard = Amounts::from([
        ("limits.cpu".to_owned(), Quantity::whole(1)),
        ("pods".to_owned(), Quantity::whole(1)),
    ]);
    let pod = json!({"spec": {"containers": [
        {"name": "a"}, {"name": "b"}, {"name": "c", "resources": {"limits": {"cpu": "1"}}},
    ]}});
    assert_eq!(
        unsaid(&pod, &hard).as_deref(),
        Some("must specify limits.cpu for: a,b")
    );
}
