//! Tables as kubectl shows them, kind by kind.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::resources;

fn now() -> Timestamp {
    "2026-11-21T06:00:00Z".parse().unwrap()
}

const CREATED: &str = "2026-11-21T05:40:05Z";

/// Lays a table out as kubectl does: three spaces between columns.
fn show(group: &str, kind: &str, objects: &[Value], wide: bool) -> String {
    let table = Table::new(
        group,
        kind,
        objects,
        ListMeta::default(),
        IncludeObject::None,
        now(),
    );
    let shown: Vec<usize> = (0..table.columns().len())
        .filter(|&i| wide || table.columns()[i].priority == 0)
        .collect();
    let header = shown
        .iter()
        .map(|&i| table.columns()[i].name.to_uppercase())
        .collect();
    let mut lines: Vec<Vec<String>> = vec![header];
    for row in table.rows() {
        assert_eq!(
            row.cells.len(),
            table.columns().len(),
            "{kind}: one cell for each column"
        );
        let text = |i: &usize| match &row.cells[*i] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        lines.push(shown.iter().map(text).collect());
    }
    let width = |c: usize| lines.iter().map(|line| line[c].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..shown.len()).map(width).collect();
    let pad = |line: &Vec<String>| {
        let cells: Vec<_> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join("   ").trim_end().to_owned()
    };
    lines.iter().map(pad).collect::<Vec<_>>().join("\n")
}

fn meta(name: &str) -> Value {
    json!({"name": name, "creationTimestamp": CREATED})
}

#[test]
fn nodes_show_status_roles_and_version() {
    let ready = json!({
        "metadata": {"name": "cp", "creationTimestamp": CREATED, "labels": {
            "node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "extra"}},
        "spec": {"unschedulable": true},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "Hostname", "address": "cp"}, {"type": "InternalIP", "address": "10.78.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1.36.2", "osImage": "Debian", "kernelVersion": "6.1",
                "containerRuntimeVersion": "containerd://2.0"},
        },
    });
    let down = json!({"metadata": meta("w1"), "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
    let new = json!({"metadata": meta("w2")});
    assert_eq!(
        show("", "Node", &[ready, down, new], true),
        "\
NAME   STATUS                     ROLES                 AGE   VERSION   INTERNAL-IP   EXTERNAL-IP   OS-IMAGE    KERNEL-VERSION   CONTAINER-RUNTIME
cp     Ready,SchedulingDisabled   control-plane,extra   19m   v1.36.2   10.78.0.1     <none>        Debian      6.1              containerd://2.0
w1     NotReady                   <none>                19m             <none>        <none>        <unknown>   <unknown>        <unknown>
w2     Unknown                    <none>                19m             <none>        <none>        <unknown>   <unknown>        <unknown>"
    );
}

fn pod(status: Value) -> Value {
    json!({
        "metadata": meta("p"),
        "spec": {"nodeName": "n1", "containers": [{"name": "a"}, {"name": "b"}],
            "initContainers": [{"name": "i"}]},
        "status": status,
    })
}

fn container(name: &str, ready: bool, restarts: i64, state: Value) -> Value {
    json!({"name": name, "ready": ready, "restartCount": restarts, "state": state})
}

#[rstest]
#[case::pending(json!({"phase": "Pending"}), "0/2", "Pending", "0")]
#[case::gated(
    json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
    "0/2", "SchedulingGated", "0")]
#[case::evicted(json!({"phase": "Failed", "reason": "Evicted"}), "0/2", "Evicted", "0")]
#[case::init(
    json!({"phase": "Pending", "initContainerStatuses": [container("i", false, 0, json!({"running": {}}))]}),
    "0/2", "Init:0/1", "0")]
#[case::init_failed(
    json!({"phase": "Pending", "initContainerStatuses": [container("i", false, 3, json!({"terminated": {"exitCode": 2}}))]}),
    "0/2", "Init:ExitCode:2", "3")]
#[case::init_crash(
    json!({"phase": "Pending", "initContainerStatuses": [container("i", false, 3, json!({"waiting": {"reason": "CrashLoopBackOff"}}))]}),
    "0/2", "Init:CrashLoopBackOff", "3")]
#[case::running(
    json!({"phase": "Running", "containerStatuses": [
        container("a", true, 1, json!({"running": {}})), container("b", true, 0, json!({"running": {}}))]}),
    "2/2", "Running", "1")]
#[case::one_waits(
    json!({"phase": "Running", "containerStatuses": [
        container("a", true, 0, json!({"running": {}})), container("b", false, 0, json!({"waiting": {"reason": "ImagePullBackOff"}}))]}),
    "1/2", "ImagePullBackOff", "0")]
#[case::killed(
    json!({"phase": "Running", "containerStatuses": [container("a", false, 0, json!({"terminated": {"exitCode": 0, "signal": 9}}))]}),
    "0/2", "Signal:9", "0")]
#[case::one_is_done(
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [
        container("a", false, 0, json!({"terminated": {"exitCode": 0, "reason": "Completed"}})),
        container("b", true, 0, json!({"running": {}}))]}),
    "1/2", "Running", "0")]
#[case::one_is_done_and_none_ready(
    json!({"phase": "Running", "containerStatuses": [
        container("a", false, 0, json!({"terminated": {"exitCode": 0, "reason": "Completed"}})),
        container("b", true, 0, json!({"running": {}}))]}),
    "1/2", "NotReady", "0")]
fn a_pods_state_is_one_word(
    #[case] status: Value,
    #[case] ready: &str,
    #[case] word: &str,
    #[case] restarts: &str,
) {
    let table = Table::of_one("", "Pod", &pod(status), IncludeObject::None, now());
    assert_eq!(
        table.rows()[0].cells[1..4],
        [json!(ready), json!(word), json!(restarts)]
    );
}

#[test]
fn pods_tell_the_last_restart_and_their_deletion() {
    let status = json!({"phase": "Running", "podIPs": [{"ip": "10.244.0.7"}],
        "conditions": [{"type": "gate", "status": "True"}],
        "containerStatuses": [{"name": "a", "ready": true, "restartCount": 4, "state": {"running": {}},
            "lastState": {"terminated": {"finishedAt": "2026-11-21T05:58:00Z"}}}]});
    let mut pod = pod(status);
    pod["spec"]["readinessGates"] = json!([{"conditionType": "gate"}, {"conditionType": "other"}]);
    assert_eq!(
        show("", "Pod", std::slice::from_ref(&pod), true),
        "\
NAME   READY   STATUS    RESTARTS     AGE   IP           NODE   NOMINATED NODE   READINESS GATES
p      1/2     Running   4 (2m ago)   19m   10.244.0.7   n1     <none>           1/2"
    );
    pod["metadata"]["deletionTimestamp"] = json!(CREATED);
    assert!(show("", "Pod", std::slice::from_ref(&pod), false).contains("Terminating"));
    pod["status"]["reason"] = json!("NodeLost");
    assert!(show("", "Pod", &[pod], false).contains("Unknown"));
}

#[test]
fn a_running_sidecar_counts_as_a_container() {
    let pod = json!({
        "metadata": meta("p"),
        "spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]},
        "status": {"phase": "Running",
            "initContainerStatuses": [{"name": "s", "ready": true, "started": true, "restartCount": 2, "state": {"running": {}}}],
            "containerStatuses": [container("a", true, 1, json!({"running": {}}))]},
    });
    let table = Table::of_one("", "Pod", &pod, IncludeObject::None, now());
    assert_eq!(
        table.rows()[0].cells[1..4],
        [json!("2/2"), json!("Running"), json!("3")]
    );
}

#[test]
fn finished_pods_are_marked() {
    let table = Table::of_one(
        "",
        "Pod",
        &pod(json!({"phase": "Succeeded"})),
        IncludeObject::None,
        now(),
    );
    assert_eq!(table.rows()[0].conditions[0]["reason"], "Succeeded");
}

#[test]
fn signing_requests_show_who_asks_and_what_came_of_it() {
    let csr = |name: &str, status: Value| {
        json!({"metadata": meta(name), "status": status, "spec": {
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "username": "system:bootstrap:abcdef", "expirationSeconds": 86400}})
    };
    let conditions = |types: &[&str]| -> Vec<Value> {
        types
            .iter()
            .map(|type_| json!({"type": type_, "status": "True"}))
            .collect()
    };
    let rows = [
        csr("a", json!({})),
        csr(
            "b",
            json!({"conditions": conditions(&["Approved"]), "certificate": "LS0t"}),
        ),
        csr(
            "c",
            json!({"conditions": conditions(&["Approved", "Denied"])}),
        ),
        csr(
            "d",
            json!({"conditions": conditions(&["Approved", "Failed"])}),
        ),
    ];
    assert_eq!(
        show("certificates.k8s.io", "CertificateSigningRequest", &rows, false),
        "\
NAME   AGE   SIGNERNAME                                    REQUESTOR                 REQUESTEDDURATION   CONDITION
a      19m   kubernetes.io/kube-apiserver-client-kubelet   system:bootstrap:abcdef   24h                 Pending
b      19m   kubernetes.io/kube-apiserver-client-kubelet   system:bootstrap:abcdef   24h                 Approved,Issued
c      19m   kubernetes.io/kube-apiserver-client-kubelet   system:bootstrap:abcdef   24h                 Denied
d      19m   kubernetes.io/kube-apiserver-client-kubelet   system:bootstrap:abcdef   24h                 Approved,Failed"
    );
}

#[test]
fn services_show_addresses_and_ports() {
    let services = [
        json!({"metadata": meta("kubernetes"), "spec": {"type": "ClusterIP", "clusterIPs": ["10.96.0.1"],
            "ports": [{"port": 443, "protocol": "TCP"}]}}),
        json!({"metadata": meta("lb"), "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.9",
            "selector": {"app": "web"}, "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}}),
        json!({"metadata": meta("ext"), "spec": {"type": "ExternalName", "externalName": "example.com"}}),
    ];
    assert_eq!(
        show("", "Service", &services, true),
        "\
NAME         TYPE           CLUSTER-IP   EXTERNAL-IP   PORT(S)               AGE   SELECTOR
kubernetes   ClusterIP      10.96.0.1    <none>        443/TCP               19m   <none>
lb           LoadBalancer   10.96.0.9    <pending>     80:30080/TCP,53/UDP   19m   app=web
ext          ExternalName   <none>       example.com   <none>                19m   <none>"
    );
}

#[test]
fn endpoints_list_the_first_three() {
    let endpoints = json!({"metadata": meta("e"), "subsets": [{
        "addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}, {"ip": "::1"}, {"ip": "10.0.0.4"}],
        "ports": [{"port": 80}]}]});
    assert!(
        show("", "Endpoints", &[endpoints], false)
            .contains("10.0.0.1:80,10.0.0.2:80,[::1]:80 + 1 more...")
    );
    let slice = json!({"metadata": meta("s"), "addressType": "IPv4", "ports": [{"port": 443, "name": "https"}],
        "endpoints": [{"addresses": ["10.78.0.1"]}]});
    assert_eq!(
        show("discovery.k8s.io", "EndpointSlice", &[slice], false),
        "\
NAME   ADDRESSTYPE   PORTS   ENDPOINTS   AGE
s      IPv4          443     10.78.0.1   19m"
    );
}

#[test]
fn events_show_the_same_under_both_names() {
    let core = json!({"metadata": meta("e.1"), "type": "Warning", "reason": "Failed", "message": " oops \n",
        "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec"},
        "source": {"component": "kubelet", "host": "n1"}, "count": 3,
        "firstTimestamp": "2026-11-21T05:50:00Z", "lastTimestamp": "2026-11-21T05:59:00Z"});
    let expected = "\
LAST SEEN   TYPE      REASON   OBJECT   SUBOBJECT   SOURCE        MESSAGE   FIRST SEEN   COUNT   NAME
60s         Warning   Failed   pod/p    spec        kubelet, n1   oops      10m          3       e.1";
    assert_eq!(show("", "Event", &[core], true), expected);
    let new = json!({"metadata": meta("e.1"), "type": "Warning", "reason": "Failed", "note": "oops",
        "regarding": {"kind": "Pod", "name": "p", "fieldPath": "spec"},
        "reportingController": "kubelet", "reportingInstance": "n1",
        "eventTime": "2026-11-21T05:50:00.000000Z",
        "series": {"count": 3, "lastObservedTime": "2026-11-21T05:59:00.000000Z"}});
    assert_eq!(show("events.k8s.io", "Event", &[new], true), expected);
}

#[test]
fn workloads_show_their_replicas() {
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
        "template": {"spec": {"containers": [{"name": "a", "image": "nginx:1"}, {"name": "b", "image": "b:2"}]}}});
    let deployment = json!({"metadata": meta("web"), "spec": spec,
        "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}});
    assert_eq!(
        show("apps", "Deployment", &[deployment], true),
        "\
NAME   READY   UP-TO-DATE   AVAILABLE   AGE   CONTAINERS   IMAGES        SELECTOR
web    2/3     3            2           19m   a,b          nginx:1,b:2   app=web"
    );
    let job = json!({"metadata": meta("j"), "spec": {"completions": 2},
        "status": {"succeeded": 1, "startTime": "2026-11-21T05:58:00Z"}});
    assert_eq!(
        show("batch", "Job", &[job], false),
        "\
NAME   STATUS    COMPLETIONS   DURATION   AGE
j      Running   1/2           2m         19m"
    );
}

#[test]
fn autoscalers_show_their_targets_in_both_versions() {
    let target = json!({"kind": "Deployment", "name": "web"});
    let v2 = json!({"metadata": meta("h"), "spec": {"scaleTargetRef": target, "maxReplicas": 9, "metrics": [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}},
        {"type": "Pods", "pods": {"target": {"averageValue": "0.5"}}}, {"type": "Odd"}]},
        "status": {"currentMetrics": [{"type": "Resource", "resource": {"current": {"averageUtilization": 12}}}]}});
    let v1 = json!({"metadata": meta("h"), "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 9,
        "targetCPUUtilizationPercentage": 80}});
    let shown = show("autoscaling", "HorizontalPodAutoscaler", &[v2, v1], false);
    assert!(
        shown.contains("cpu: 12%/80%, <unknown>/500m + 1 more...   <unset>"),
        "{shown}"
    );
    assert!(shown.contains("cpu: <unknown>/80%"), "{shown}");
}

#[test]
fn bindings_show_their_subjects_in_wide_form() {
    let binding = json!({"metadata": meta("b"), "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [
        {"kind": "User", "name": "jane"}, {"kind": "Group", "name": "devs"}, {"kind": "Group", "name": "ops"},
        {"kind": "ServiceAccount", "namespace": "default", "name": "ci"}]});
    assert_eq!(
        show("rbac.authorization.k8s.io", "RoleBinding", &[binding], true),
        "\
NAME   ROLE               AGE   USERS   GROUPS      SERVICEACCOUNTS
b      ClusterRole/view   19m   jane    devs, ops   default/ci"
    );
}

#[test]
fn volumes_and_claims_show_their_binding() {
    let volume = json!({"metadata": meta("v"), "spec": {"capacity": {"storage": "1024Mi"},
        "accessModes": ["ReadWriteMany", "ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": "default", "name": "c"}, "storageClassName": "fast"}, "status": {"phase": "Bound"}});
    assert_eq!(
        show("", "PersistentVolume", &[volume], false),
        "\
NAME   CAPACITY   ACCESS MODES   RECLAIM POLICY   STATUS   CLAIM       STORAGECLASS   VOLUMEATTRIBUTESCLASS   REASON   AGE
v      1Gi        RWO,RWX        Retain           Bound    default/c   fast           <unset>                          19m"
    );
    let claim = json!({"metadata": meta("c"), "spec": {}, "status": {"phase": "Pending"}});
    assert!(show("", "PersistentVolumeClaim", &[claim], true).contains("Pending"));
}

#[test]
fn kinds_without_columns_of_their_own_show_when_they_were_made() {
    let role = json!({"metadata": meta("view")});
    assert_eq!(
        show(
            "rbac.authorization.k8s.io",
            "ClusterRole",
            std::slice::from_ref(&role),
            false
        ),
        "\
NAME   CREATED AT
view   2026-11-21T05:40:05Z"
    );
    assert!(show("example.com", "Widget", &[role], false).starts_with("NAME   CREATED AT"));
}

#[rstest]
#[case("", "Namespace", json!({"status": {"phase": "Active"}}), "NAME   STATUS   AGE\nx      Active   19m")]
#[case("", "Secret", json!({"type": "Opaque", "data": {"a": "", "b": ""}}), "NAME   TYPE     DATA   AGE\nx      Opaque   2      19m")]
#[case("", "ConfigMap", json!({"data": {"a": ""}, "binaryData": {"b": ""}}), "NAME   DATA   AGE\nx      2      19m")]
#[case("", "ServiceAccount", json!({}), "NAME   SECRETS   AGE\nx      0         19m")]
#[case("coordination.k8s.io", "Lease", json!({"spec": {"holderIdentity": "n1"}}), "NAME   HOLDER   AGE\nx      n1       19m")]
#[case("storage.k8s.io", "CSINode", json!({"spec": {"drivers": [{}]}}), "NAME   DRIVERS   AGE\nx      1         19m")]
#[case("node.k8s.io", "RuntimeClass", json!({"handler": "kata"}), "NAME   HANDLER   AGE\nx      kata      19m")]
#[case("policy", "PodDisruptionBudget", json!({"spec": {"minAvailable": "50%"}}),
    "NAME   MIN AVAILABLE   MAX UNAVAILABLE   ALLOWED DISRUPTIONS   AGE\nx      50%             N/A               0                     19m")]
#[case("networking.k8s.io", "Ingress", json!({"spec": {"rules": [{"host": "a.b"}], "tls": [{}]}}),
    "NAME   CLASS    HOSTS   ADDRESS   PORTS     AGE\nx      <none>   a.b               80, 443   19m")]
#[case("networking.k8s.io", "NetworkPolicy", json!({"spec": {"podSelector": {}}}), "NAME   POD-SELECTOR   AGE\nx      <none>         19m")]
#[case("apiregistration.k8s.io", "APIService", json!({"status": {"conditions": [{"type": "Available", "status": "True"}]}}),
    "NAME   SERVICE   AVAILABLE   AGE\nx      Local     True        19m")]
fn small_kinds(
    #[case] group: &str,
    #[case] kind: &str,
    #[case] mut object: Value,
    #[case] text: &str,
) {
    object["metadata"] = meta("x");
    assert_eq!(show(group, kind, &[object], false), text);
}

#[test]
fn every_built_in_kind_fills_every_column_of_an_empty_or_odd_object() {
    for resource in resources::all() {
        for object in [
            json!({}),
            json!({"metadata": 1, "spec": [], "status": "x"}),
            json!(null),
        ] {
            show(&resource.group, &resource.kind, &[object], true);
        }
    }
}

#[test]
fn a_table_is_written_as_kube_apiserver_writes_it() {
    let namespace = json!({"kind": "Namespace", "apiVersion": "v1",
        "metadata": {"name": "default", "resourceVersion": "7", "creationTimestamp": CREATED}, "status": {"phase": "Active"}});
    let table = Table::of_one("", "Namespace", &namespace, IncludeObject::Metadata, now());
    let text = serde_json::to_string(&table).unwrap();
    assert!(text.starts_with(
        r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"7"},"columnDefinitions":[{"name":"Name","type":"string","format":"name","description":"Name must be unique"#
    ), "{text}");
    let bare = serde_json::to_value(table.without_headers()).unwrap();
    assert_eq!(bare["columnDefinitions"], Value::Null);
    assert_eq!(
        bare["rows"][0]["cells"],
        json!(["default", "Active", "19m"])
    );
    assert_eq!(
        bare["rows"][0]["object"],
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": namespace["metadata"]})
    );
    let whole = Table::of_one("", "Namespace", &namespace, IncludeObject::Object, now());
    assert_eq!(whole.rows()[0].object, namespace);
    assert_eq!(IncludeObject::parse(""), Some(IncludeObject::Metadata));
    assert_eq!(IncludeObject::parse("All"), None);
}

#[test]
fn lists_keep_their_continue_token_in_partial_form() {
    let metadata = ListMeta {
        resource_version: "9".into(),
        continue_token: "abc".into(),
        remaining_item_count: Some(4),
    };
    let list = partial_object_metadata_list(&[json!({"metadata": {"name": "a"}})], &metadata);
    assert_eq!(
        list["metadata"],
        json!({"resourceVersion": "9", "continue": "abc", "remainingItemCount": 4})
    );
    assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
}
