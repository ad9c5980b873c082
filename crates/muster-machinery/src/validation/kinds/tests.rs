//! What each kind refuses, in upstream's words.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::{defaulting, resources};

fn resource(group: &str, kind: &str) -> &'static Resource {
    resources::find_preferred_kind(group, kind).unwrap()
}

/// The mistakes of a new object after defaulting, as text.
fn creating(group: &str, kind: &str, mut object: Value) -> Vec<String> {
    let resource = resource(group, kind);
    object["metadata"]["name"] = json!("x");
    if resource.namespaced {
        object["metadata"]["namespace"] = json!("default");
    }
    defaulting::apply(resource, &mut object);
    validate_create(resource, &object)
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// The mistakes of a change, as text.
fn changing(group: &str, kind: &str, old: &Value, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let resource = resource(group, kind);
    let mut old = old.clone();
    defaulting::apply(resource, &mut old);
    let mut new = old.clone();
    change(&mut new);
    validate_update(resource, "", &new, &old)
        .iter()
        .map(ToString::to_string)
        .collect()
}

const NONE: [String; 0] = [];

#[test]
fn metadata_is_checked_for_every_kind() {
    let node = resource("", "Node");
    let text = |object: Value| -> Vec<String> {
        validate_create(node, &object)
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(
        text(json!({})),
        ["metadata.name: Required value: name or generateName is required"]
    );
    assert_eq!(
        text(json!({"metadata": {"name": "a", "namespace": "b"}})),
        ["metadata.namespace: Forbidden: not allowed on this type"]
    );
    assert!(text(json!({"metadata": {"name": "A"}}))[0].starts_with(
        "metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of"
    ));
    assert!(
        text(json!({"metadata": {"name": "a", "labels": {"a b": "c"}}}))[0]
            .starts_with("metadata.labels: Invalid value: \"a b\": name part must consist of")
    );
    assert_eq!(
        text(json!({"metadata": {"name": "a", "annotations": {"a": "x".repeat(256 * 1024)}}})),
        ["metadata.annotations: Too long: may not be more than 262144 bytes"]
    );
    assert_eq!(
        text(json!({"metadata": {"name": "a", "finalizers": ["mine"]}})),
        [
            "metadata.finalizers: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified"
        ]
    );
    assert_eq!(
        text(json!({"metadata": {"name": "a", "generateName": "a-"}})),
        NONE
    );
    assert_eq!(
        text(json!({"metadata": {"name": "a", "ownerReferences": [{"kind": "Pod"}]}})).len(),
        3
    );
    assert_eq!(
        validate_create(resource("", "Secret"), &json!({"metadata": {"name": "a"}}))[0].to_string(),
        "metadata.namespace: Required value"
    );
}

#[test]
fn identity_never_changes() {
    let old =
        json!({"metadata": {"name": "a", "uid": "1", "deletionTimestamp": "2026-11-21T06:00:00Z"}});
    let errors = changing("", "Node", &old, |new| {
        new["metadata"]["uid"] = json!("2");
        new["metadata"]["finalizers"] = json!(["a.b/c"]);
    });
    assert_eq!(
        errors,
        [
            "metadata.uid: Invalid value: \"2\": field is immutable",
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a.b/c\"}"
        ]
    );
}

#[test]
fn names_follow_the_grammar_of_their_kind() {
    let named =
        |group, kind, name: &str| crate::validation::name_problems(group, kind, name).is_empty();
    assert!(named(
        "rbac.authorization.k8s.io",
        "ClusterRole",
        "system:node"
    ));
    assert!(!named("", "Service", "1a"));
    assert!(!named("", "Namespace", "a.b"));
    assert!(named("", "Secret", "a.b"));
    assert!(named("networking.k8s.io", "IPAddress", "10.96.0.1"));
    assert!(!named("networking.k8s.io", "IPAddress", "a"));
    // As a kubelet 1.36 names its first request.
    let request = "node-csr-fnOcwU86VS6kSxdGtR2SiZxduOFYtM_-o3BfeESiWvA";
    let csr = "CertificateSigningRequest";
    assert!(named("certificates.k8s.io", csr, request));
    assert!(!named("certificates.k8s.io", csr, "a/b"));
    assert!(!named(
        "certificates.k8s.io",
        "PodCertificateRequest",
        request
    ));
}

#[test]
fn secrets_keep_their_type_and_when_frozen_their_data() {
    assert_eq!(creating("", "Secret", json!({"data": {"a": "MQ=="}})), NONE);
    assert!(
        creating("", "Secret", json!({"data": {"a/b": ""}}))[0]
            .starts_with("data[a/b]: Invalid value: \"a/b\": a valid config key")
    );
    let errors = creating("", "Secret", json!({"data": {"a": "s3cret!"}}));
    assert_eq!(
        errors,
        ["data[a]: Invalid value: \"<not shown>\": must be base64"]
    );
    let large = json!({"data": {"a": "QUFB".repeat(350_000)}});
    assert_eq!(
        creating("", "Secret", large),
        ["data: Too long: may not be more than 1048576 bytes"]
    );
    assert_eq!(
        creating(
            "",
            "Secret",
            json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}})
        ),
        ["data[tls.key]: Required value"]
    );
    let old = json!({"immutable": true, "data": {"a": "MQ=="}});
    assert_eq!(
        changing("", "Secret", &old, |new| new["type"] = json!("other")),
        ["type: Invalid value: \"other\": field is immutable"]
    );
    assert_eq!(
        changing("", "Secret", &old, |new| new["data"]["a"] = json!("Mg==")),
        ["data: Forbidden: field is immutable when `immutable` is set"]
    );
}

#[test]
fn config_maps_have_each_key_once() {
    assert_eq!(
        creating(
            "",
            "ConfigMap",
            json!({"data": {"a": "1"}, "binaryData": {"a": "MQ=="}})
        ),
        ["data[a]: Invalid value: \"a\": duplicate of key present in binaryData"]
    );
    let old = json!({"immutable": true, "data": {"a": "1"}});
    assert_eq!(
        changing("", "ConfigMap", &old, |new| new["immutable"] = json!(false)),
        ["immutable: Forbidden: field is immutable when `immutable` is set"]
    );
    assert_eq!(
        changing("", "ConfigMap", &old, |new| new["metadata"] =
            json!({"labels": {"a": "b"}})),
        NONE
    );
}

#[rstest]
#[case(json!({"ports": [{"port": 80}]}), &[])]
#[case(json!({}), &["spec.ports: Required value"])]
#[case(json!({"clusterIP": "None"}), &[])]
#[case(json!({"type": "Odd", "ports": [{"port": 1}]}),
    &["spec.type: Unsupported value: \"Odd\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\""])]
#[case(json!({"ports": [{"port": 0, "targetPort": 1}]}),
    &["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"])]
#[case(json!({"ports": [{"port": 1}, {"port": 2, "name": "b"}]}), &["spec.ports[0].name: Required value"])]
#[case(json!({"type": "ExternalName"}), &["spec.externalName: Required value"])]
#[case(json!({"clusterIP": "nope", "ports": [{"port": 1}]}),
    &["spec.clusterIPs[0]: Invalid value: \"nope\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"])]
fn services_are_checked(#[case] spec: Value, #[case] expected: &[&str]) {
    assert_eq!(creating("", "Service", json!({"spec": spec})), expected);
}

#[test]
fn a_service_keeps_its_address() {
    let old = json!({"spec": {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ports": [{"port": 1}]}});
    let errors = changing("", "Service", &old, |new| {
        new["spec"]["clusterIP"] = json!("10.96.0.10");
        new["spec"]["clusterIPs"] = json!(["10.96.0.10"]);
    });
    assert_eq!(
        errors,
        ["spec.clusterIPs[0]: Invalid value: [\"10.96.0.10\"]: may not change once set"]
    );
}

fn pod() -> Value {
    json!({"spec": {"containers": [{"name": "a", "image": "x:1"}]}})
}

#[test]
fn a_pod_needs_containers_with_names_and_images() {
    assert_eq!(creating("", "Pod", pod()), NONE);
    assert_eq!(
        creating("", "Pod", json!({"spec": {}})),
        ["spec.containers: Required value"]
    );
    let mut odd = pod();
    odd["spec"]["containers"] = json!([
        {"name": "A", "image": ""}, {"name": "b", "image": "y", "ports": [{"containerPort": 70000}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}]}, {"name": "b", "image": "y"}]);
    odd["spec"]["restartPolicy"] = json!("Sometimes");
    let errors = creating("", "Pod", odd);
    assert_eq!(errors.len(), 6, "{errors:?}");
    assert!(errors[0].starts_with("spec.containers[0].name: Invalid value: \"A\""));
    assert_eq!(errors[1], "spec.containers[0].image: Required value");
    assert_eq!(
        errors[2],
        "spec.containers[1].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"
    );
    assert_eq!(
        errors[3],
        "spec.containers[1].volumeMounts[0].name: Not found: \"v\""
    );
    assert_eq!(errors[4], "spec.containers[2].name: Duplicate value: \"b\"");
    assert_eq!(
        errors[5],
        "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\""
    );
}

#[test]
fn a_running_pod_changes_its_image_and_little_else() {
    let pod = pod();
    assert_eq!(
        changing("", "Pod", &pod, |p| p["spec"]["containers"][0]["image"] =
            json!("x:2")),
        NONE
    );
    assert_eq!(
        changing("", "Pod", &pod, |p| p["spec"]["tolerations"] =
            json!([{"key": "a"}])),
        NONE
    );
    assert_eq!(
        changing("", "Pod", &pod, |p| p["spec"]["activeDeadlineSeconds"] =
            json!(5)),
        NONE
    );
    assert_eq!(
        changing("", "Pod", &pod, |p| p["metadata"] =
            json!({"labels": {"a": "b"}})),
        NONE
    );
    for change in [
        |p: &mut Value| p["spec"]["nodeName"] = json!("n"),
        |p: &mut Value| p["spec"]["containers"][0]["command"] = json!(["sh"]),
        |p: &mut Value| p["spec"]["hostNetwork"] = json!(true),
    ] {
        let errors = changing("", "Pod", &pod, change);
        assert_eq!(errors.len(), 1);
        assert!(errors[0].starts_with("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"));
    }
}

#[rstest]
#[case("kernel.shm_rmid_forced", true)]
#[case("net/ipv4.ip-forward", true)]
#[case("foo-", false)]
#[case("bar..", false)]
#[case("Kernel.a", false)]
fn kernel_parameters_need_names_of_the_kernels_form(#[case] name: &str, #[case] good: bool) {
    let errors = changing("", "Pod", &pod(), |p| {
        p["spec"]["securityContext"]["sysctls"] = json!([{"name": name, "value": "1"}]);
    });
    let named = errors
        .iter()
        .any(|error| error.starts_with("spec.securityContext.sysctls[0].name: Invalid"));
    assert_eq!(named, !good, "{errors:?}");
}

#[test]
fn subresources_of_a_pod_change_what_the_pod_itself_may_not() {
    let through = |subresource: &str, old: &Value, change: &dyn Fn(&mut Value)| -> Vec<String> {
        let mut old = old.clone();
        defaulting::apply(resource("", "Pod"), &mut old);
        let mut new = old.clone();
        change(&mut new);
        let errors = validate_update(resource("", "Pod"), subresource, &new, &old);
        errors.iter().map(ToString::to_string).collect()
    };
    let debugger = |p: &mut Value| {
        p["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "busybox"}]);
    };
    let larger = |p: &mut Value| {
        p["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "2"}});
    };
    assert_eq!(through("ephemeralcontainers", &pod(), &debugger), NONE);
    assert_eq!(through("resize", &pod(), &larger), NONE);
    for (subresource, change) in [
        ("resize", &debugger as &dyn Fn(&mut Value)),
        ("", &debugger),
        ("", &larger),
    ] {
        assert_eq!(
            through(subresource, &pod(), change).len(),
            1,
            "{subresource}"
        );
    }
    let mut debugged = pod();
    debugger(&mut debugged);
    let errors = through("ephemeralcontainers", &debugged, &|p| {
        p["spec"]["ephemeralContainers"][0]["image"] = json!("alpine");
    });
    assert!(
        errors[0].ends_with("existing ephemeral containers \"debug\" may not be changed"),
        "{errors:?}"
    );
    let errors = through("ephemeralcontainers", &debugged, &|p| {
        p["spec"]["ephemeralContainers"] = json!([]);
    });
    assert!(errors[0].ends_with("may not be removed"), "{errors:?}");
}

#[test]
fn a_gated_pod_may_still_choose_its_nodes() {
    let mut gated = pod();
    gated["spec"]["schedulingGates"] = json!([{"name": "g"}]);
    let errors = changing("", "Pod", &gated, |p| {
        p["spec"]["schedulingGates"] = json!([]);
        p["spec"]["nodeSelector"] = json!({"a": "b"});
    });
    assert_eq!(errors, NONE);
}

#[test]
fn a_nodes_pod_range_is_set_once() {
    let node = json!({"spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"]}});
    let errors = changing("", "Node", &node, |n| {
        n["spec"]["podCIDR"] = json!("10.244.1.0/24")
    });
    assert_eq!(
        errors,
        ["spec.podCIDR: Forbidden: node updates may not change podCIDR except from \"\" to valid"]
    );
    assert_eq!(
        changing("", "Node", &json!({}), |n| n["spec"] = node["spec"].clone()),
        NONE
    );
    let bad =
        json!({"spec": {"podCIDRs": ["10.0.0.0/64"], "taints": [{"key": "a", "effect": "Now"}]}});
    assert_eq!(creating("", "Node", bad).len(), 2);
}

#[test]
fn a_lease_lasts() {
    let lease =
        json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1, "holderIdentity": ""}});
    assert_eq!(
        creating("coordination.k8s.io", "Lease", lease),
        [
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
        ]
    );
}

/// Base64 of the frame of a PEM certificate request.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";

fn csr() -> Value {
    json!({"spec": {"signerName": "kubernetes.io/kube-apiserver-client-kubelet", "request": REQUEST,
        "usages": ["digital signature", "client auth"]}})
}

#[test]
fn signing_requests_are_checked() {
    let group = "certificates.k8s.io";
    let kind = "CertificateSigningRequest";
    assert_eq!(creating(group, kind, csr()), NONE);
    let bad = json!({"spec": {"signerName": "nope", "request": "eA==", "usages": ["odd"], "expirationSeconds": 5}});
    let errors = creating(group, kind, bad);
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert_eq!(
        errors[2],
        "spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 600 seconds (10 minutes)"
    );
    let changed = changing(group, kind, &csr(), |c| {
        c["spec"]["username"] = json!("root")
    });
    assert!(
        changed[0].starts_with("spec: Invalid value: ")
            && changed[0].ends_with(": field is immutable")
    );
    let mut approved = csr();
    approved["status"] =
        json!({"conditions": [{"type": "Approved", "status": "True"}], "certificate": "YQ=="});
    assert_eq!(
        changing(group, kind, &approved, |c| c["status"] = json!({})),
        [
            "status.conditions: Forbidden: updates may not remove a condition of type \"Approved\"",
            "status.certificate: Forbidden: updates may not set or modify certificate content once set"
        ]
    );
    let both = changing(group, kind, &approved, |c| {
        c["status"]["conditions"] =
            json!([{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "True"}]);
    });
    assert_eq!(
        both,
        [
            "status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive"
        ]
    );
}

#[test]
fn a_binding_keeps_its_role() {
    let group = "rbac.authorization.k8s.io";
    let binding = json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]});
    assert_eq!(creating(group, "RoleBinding", binding.clone()), NONE);
    let errors = changing(group, "RoleBinding", &binding, |b| {
        b["roleRef"]["name"] = json!("admin")
    });
    assert!(errors[0].ends_with("cannot change roleRef"), "{errors:?}");
    let bad = json!({"roleRef": {"kind": "Role", "name": ""}, "subjects": [{"kind": "ServiceAccount", "name": "s"}, {"kind": "Robot", "name": "r"}]});
    assert_eq!(
        creating(group, "ClusterRoleBinding", bad),
        [
            "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
            "roleRef.name: Required value",
            "subjects[0].namespace: Required value",
            "subjects[1].kind: Unsupported value: \"Robot\": supported values: \"Group\", \"ServiceAccount\", \"User\""
        ]
    );
}

#[test]
fn roles_name_verbs_and_things() {
    let group = "rbac.authorization.k8s.io";
    let role =
        json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}, {"resources": ["pods"]}]});
    let errors = creating(group, "Role", role);
    assert_eq!(
        errors,
        [
            "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
            "rules[1].verbs: Required value: verbs must contain at least one value",
            "rules[1].apiGroups: Required value: resource rules must supply at least one api group"
        ]
    );
}

#[test]
fn a_deployment_selects_its_own_pods_for_ever() {
    let deployment = json!({"spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "x:1"}]}}}});
    assert_eq!(creating("apps", "Deployment", deployment.clone()), NONE);
    let mut other = deployment.clone();
    other["spec"]["template"]["metadata"]["labels"]["app"] = json!("db");
    assert_eq!(
        creating("apps", "Deployment", other),
        [
            "spec.template.metadata.labels: Invalid value: {\"app\":\"db\"}: `selector` does not match template `labels`"
        ]
    );
    let errors = changing("apps", "Deployment", &deployment, |d| {
        d["spec"]["selector"]["matchLabels"]["tier"] = json!("x");
        d["spec"]["template"]["metadata"]["labels"]["tier"] = json!("x");
    });
    assert!(
        errors[0].starts_with("spec.selector: Invalid value: ")
            && errors[0].ends_with("field is immutable")
    );
    assert_eq!(
        changing(
            "apps",
            "Deployment",
            &deployment,
            |d| d["spec"]["replicas"] = json!(5)
        ),
        NONE
    );
}

#[test]
fn an_event_lives_beside_its_object() {
    let event = json!({"involvedObject": {"kind": "Pod", "namespace": "other", "name": "p"}});
    assert_eq!(
        creating("", "Event", event),
        ["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"]
    );
    assert_eq!(
        creating(
            "",
            "Event",
            json!({"involvedObject": {"kind": "Node", "name": "n"}})
        ),
        NONE
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-zA-Z./-]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(
                (
                    prop::sample::select(vec![
                        "metadata",
                        "spec",
                        "status",
                        "data",
                        "containers",
                        "template",
                        "ports",
                        "rules",
                        "subjects",
                        "roleRef",
                        "conditions",
                        "name",
                        "selector",
                        "labels",
                        "type",
                    ]),
                    inner
                ),
                0..5
            )
            .prop_map(|entries| entries
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_object_makes_a_check_panic(object in any_json(), old in any_json()) {
        for resource in resources::all() {
            let mut object = object.clone();
            defaulting::apply(resource, &mut object);
            defaulting::prepare_create(resource, &mut object);
            let _ = validate_create(resource, &object);
            let _ = validate_update(resource, "status", &object, &old);
        }
    }
}
