//! What comes back from a minimal object.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::resources;

fn created(group: &str, kind: &str, mut object: Value) -> Value {
    let resource = resources::find_preferred_kind(group, kind).unwrap();
    apply(resource, &mut object);
    prepare_create(resource, &mut object);
    object
}

#[test]
fn a_minimal_pod_is_filled_as_upstream_does() {
    let pod = created(
        "",
        "Pod",
        json!({"metadata": {"name": "p"}, "spec": {
        "serviceAccountName": "sa",
        "containers": [{"name": "a", "image": "nginx", "ports": [{"containerPort": 80}],
            "readinessProbe": {"httpGet": {"port": 80}},
            "resources": {"limits": {"cpu": "1"}}}],
        "volumes": [{"name": "e"}, {"name": "s", "secret": {"secretName": "x"}}]}}),
    );
    assert_eq!(
        pod,
        json!({
            "metadata": {"name": "p", "generation": 1},
            "spec": {
                "serviceAccountName": "sa", "serviceAccount": "sa",
                "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
                "terminationGracePeriodSeconds": 30, "securityContext": {}, "enableServiceLinks": true,
                "containers": [{"name": "a", "image": "nginx",
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "readinessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                        "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                    "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    "imagePullPolicy": "Always"}],
                "volumes": [{"name": "e", "emptyDir": {}},
                    {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}}]},
            "status": {"phase": "Pending", "qosClass": "Burstable"},
        })
    );
}

#[rstest]
#[case("nginx", "Always")]
#[case("nginx:latest", "Always")]
#[case("nginx:1.2", "IfNotPresent")]
#[case("registry:5000/nginx", "Always")]
#[case("registry:5000/nginx:1", "IfNotPresent")]
#[case("nginx@sha256:abc", "IfNotPresent")]
fn images_without_a_fixed_tag_are_always_pulled(#[case] image: &str, #[case] policy: &str) {
    let pod = created(
        "",
        "Pod",
        json!({"spec": {"containers": [{"name": "a", "image": image}]}}),
    );
    assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], policy);
}

#[rstest]
#[case(json!({}), "BestEffort")]
#[case(json!({"requests": {"cpu": "1"}}), "Burstable")]
#[case(json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed")]
#[case(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}), "Guaranteed")]
#[case(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}), "Burstable")]
fn pods_are_classed_by_what_they_ask_for(#[case] resources: Value, #[case] class: &str) {
    let pod = json!({"spec": {"containers": [{"name": "a", "resources": resources}]}});
    assert_eq!(created("", "Pod", pod)["status"]["qosClass"], class);
}

#[test]
fn a_minimal_service_is_filled_as_upstream_does() {
    let service = created("", "Service", json!({"spec": {"ports": [{"port": 80}]}}));
    assert_eq!(
        service["spec"],
        json!({
        "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]})
    );
    assert_eq!(service["status"], json!({"loadBalancer": {}}));
    let balancer = created(
        "",
        "Service",
        json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP",
        "clusterIP": "fd00::1"}}),
    );
    assert_eq!(balancer["spec"]["allocateLoadBalancerNodePorts"], true);
    assert_eq!(balancer["spec"]["externalTrafficPolicy"], "Cluster");
    assert_eq!(
        balancer["spec"]["sessionAffinityConfig"],
        json!({"clientIP": {"timeoutSeconds": 10800}})
    );
    assert_eq!(balancer["spec"]["ipFamilies"], json!(["IPv6"]));
    let external = created(
        "",
        "Service",
        json!({"spec": {"type": "ExternalName", "externalName": "a.b"}}),
    );
    assert!(external["spec"].get("ipFamilies").is_none());
}

#[test]
fn a_namespace_is_active_labelled_and_guarded() {
    let namespace = created("", "Namespace", json!({"metadata": {"name": "a"}}));
    assert_eq!(
        namespace,
        json!({
        "metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
    );
}

#[test]
fn string_data_becomes_data() {
    let secret = created(
        "",
        "Secret",
        json!({"data": {"a": "MQ=="}, "stringData": {"b": "x", "a": "2"}}),
    );
    assert_eq!(secret["data"], json!({"a": "Mg==", "b": "eA=="}));
    assert_eq!(secret["type"], "Opaque");
    assert!(secret.get("stringData").is_none());
}

#[test]
fn string_data_becomes_data_when_a_secret_is_changed_too() {
    let secrets = resources::find_preferred_kind("", "Secret").unwrap();
    let mut secret = json!({"data": {"a": "MQ=="}, "stringData": {"a": "2"}, "type": "x/y"});
    apply(secrets, &mut secret);
    assert_eq!(secret, json!({"data": {"a": "Mg=="}, "type": "x/y"}));
}

#[test]
fn a_status_sent_on_create_is_dropped_except_a_nodes() {
    let deployment =
        json!({"spec": {"template": {"spec": {"containers": []}}}, "status": {"replicas": 9}});
    assert_eq!(
        created("apps", "Deployment", deployment)["status"],
        json!({})
    );
    let node = json!({"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "2"}}});
    assert_eq!(
        created("", "Node", node)["status"],
        json!({"capacity": {"cpu": "2"}, "allocatable": {"cpu": "2"}})
    );
    let csr = created(
        "certificates.k8s.io",
        "CertificateSigningRequest",
        json!({"spec": {}, "status": {"conditions": [{"type": "Approved"}]}}),
    );
    assert_eq!(csr["status"], json!({}));
}

#[test]
fn workloads_get_their_strategies() {
    let template = json!({"spec": {"containers": [{"name": "a", "image": "x:1"}]}});
    let deployment = created(
        "apps",
        "Deployment",
        json!({"spec": {"template": template}}),
    );
    assert_eq!(
        deployment["spec"]["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
    );
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["metadata"]["generation"], 1);
    assert_eq!(
        deployment["spec"]["template"]["spec"]["restartPolicy"],
        "Always"
    );
    assert!(
        deployment["spec"]["template"]["spec"]
            .get("enableServiceLinks")
            .is_none()
    );
    let recreate = created(
        "apps",
        "Deployment",
        json!({"spec": {"strategy": {"type": "Recreate"}}}),
    );
    assert_eq!(recreate["spec"]["strategy"], json!({"type": "Recreate"}));
    let set = created("apps", "StatefulSet", json!({"spec": {}}));
    assert_eq!(set["spec"]["podManagementPolicy"], "OrderedReady");
    let daemon = created("apps", "DaemonSet", json!({"spec": {}}));
    assert_eq!(
        daemon["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"],
        1
    );
}

#[test]
fn a_job_selects_its_pods_by_its_uid() {
    let job = created(
        "batch",
        "Job",
        json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {}}}}),
    );
    assert_eq!(
        job["spec"]["selector"],
        json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}})
    );
    assert_eq!(
        job["spec"]["template"]["metadata"]["labels"]["job-name"],
        "j"
    );
    assert_eq!(job["spec"]["completions"], 1);
    assert_eq!(job["spec"]["backoffLimit"], 6);
}

#[test]
fn rbac_subjects_get_their_group() {
    let binding = created(
        "rbac.authorization.k8s.io",
        "RoleBinding",
        json!({
        "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]}),
    );
    assert_eq!(binding["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(
        binding["subjects"][0]["apiGroup"],
        "rbac.authorization.k8s.io"
    );
    assert!(binding["subjects"][1].get("apiGroup").is_none());
}

#[test]
fn defaults_keep_what_is_set_and_change_nothing_the_second_time() {
    for resource in resources::all() {
        for object in [
            json!({}),
            json!(null),
            json!([]),
            json!({"spec": []}),
            json!({"metadata": {"name": "a"}, "spec": {"template": {"spec": {"containers": [{}, 3]}}, "ports": [{}, 1], "volumes": [1], "finalizers": 2}}),
        ] {
            let mut once = object;
            prepare_create(resource, &mut once.clone());
            apply(resource, &mut once);
            let mut twice = once.clone();
            apply(resource, &mut twice);
            assert_eq!(once, twice, "{}", resource.kind);
        }
    }
}
