//! The standard's levels, in upstream's words, and who hears of a violation.

use serde_json::{Value, json};

use crate::admission::harness::{Bench, account};

fn namespace(labels: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace", "status": {"phase": "Active"},
        "metadata": {"name": "default", "labels": labels},
    })
}

fn bench(labels: Value) -> Bench {
    Bench::new([namespace(labels), account("default", "default")])
}

fn enforcing(level: &str) -> Bench {
    bench(json!({"pod-security.kubernetes.io/enforce": level}))
}

fn pod_of(spec: Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": spec})
}

/// A pod of one container that passes at every level, changed by `change`.
fn careful(change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = json!({
        "automountServiceAccountToken": false,
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        }}],
    });
    change(&mut spec);
    pod_of(spec)
}

fn refusal(level: &str, pod: Value) -> String {
    let refused = enforcing(level)
        .create("default/pods", pod)
        .expect_err("refused");
    assert_eq!(refused.code(), 403);
    let message = refused.message().to_owned();
    let begin = format!("pods \"p\" is forbidden: violates PodSecurity \"{level}:latest\": ");
    message
        .strip_prefix(&begin)
        .unwrap_or_else(|| panic!("{message}"))
        .to_owned()
}

#[test]
fn a_plain_pod_is_baseline_and_lacks_all_that_restricted_asks_for() {
    let plain = || pod_of(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    assert!(
        enforcing("baseline")
            .create("default/pods", plain())
            .is_ok()
    );
    assert_eq!(
        refusal("restricted", plain()),
        "allowPrivilegeEscalation != false (containers \"a\", \"b\" must set \
         securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (containers \"a\", \"b\" must \
         set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or containers \"a\", \"b\" \
         must set securityContext.runAsNonRoot=true), seccompProfile (pod or containers \"a\", \"b\" must set \
         securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    assert!(
        enforcing("restricted")
            .create("default/pods", careful(|_| {}))
            .is_ok()
    );
}

#[test]
fn each_baseline_check_finds_what_it_is_for() {
    let container = |own: Value| {
        move |spec: &mut Value| {
            let into = spec["containers"][0].as_object_mut().unwrap();
            into.extend(own.as_object().unwrap().clone());
        }
    };
    let cases: Vec<(Value, &str)> = vec![
        (
            careful(|spec| spec["hostNetwork"] = true.into()),
            "host namespaces (hostNetwork=true)",
        ),
        (
            careful(|spec| spec["volumes"] = json!([{"name": "v", "hostPath": {"path": "/"}}])),
            "hostPath volumes (volume \"v\")",
        ),
        (
            careful(container(
                json!({"ports": [{"containerPort": 80, "hostPort": 8080}]}),
            )),
            "hostPort (container \"c\" uses hostPort 8080)",
        ),
        (
            careful(container(json!({"securityContext": {"privileged": true}}))),
            "privileged (container \"c\" must not set securityContext.privileged=true)",
        ),
        (
            careful(container(
                json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN", "NET_ADMIN"]}}}),
            )),
            "non-default capabilities (container \"c\" must not include \"NET_ADMIN\", \"SYS_ADMIN\" in \
             securityContext.capabilities.add)",
        ),
        (
            careful(|spec| {
                spec["securityContext"]["seccompProfile"] = json!({"type": "Unconfined"})
            }),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            careful(|spec| {
                spec["securityContext"]["appArmorProfile"] = json!({"type": "Unconfined"})
            }),
            "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            careful(|spec| spec["securityContext"]["sysctls"] = json!([{"name": "kernel.msgmax"}])),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            careful(|spec| {
                spec["securityContext"]["seLinuxOptions"] = json!({"type": "bad_t", "user": "u"})
            }),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"bad_t\"; user may not be set)",
        ),
        (
            careful(container(
                json!({"securityContext": {"procMount": "Unmasked"}}),
            )),
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            careful(|spec| {
                spec["securityContext"]["windowsOptions"] = json!({"hostProcess": true})
            }),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            careful(container(
                json!({"livenessProbe": {"httpGet": {"host": "10.0.0.1"}}}),
            )),
            "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"10.0.0.1\")",
        ),
    ];
    for (pod, expected) in cases {
        assert_eq!(refusal("baseline", pod), expected);
    }
}

#[test]
fn restricted_takes_the_place_of_the_baseline_checks_that_it_sharpens() {
    let volume =
        careful(|spec| spec["volumes"] = json!([{"name": "v", "hostPath": {"path": "/"}}]));
    assert_eq!(
        refusal("restricted", volume),
        "restricted volume types (volume \"v\" uses restricted volume type \"hostPath\")"
    );
    let root = careful(|spec| spec["securityContext"]["runAsUser"] = 0.into());
    assert_eq!(
        refusal("restricted", root),
        "runAsUser=0 (pod must not set runAsUser=0)"
    );
}

#[test]
fn older_versions_of_the_standard_ask_for_less() {
    let sysctl = || {
        careful(|spec| {
            spec["securityContext"]["sysctls"] = json!([{"name": "net.ipv4.tcp_rmem"}]);
        })
    };
    for (version, passes) in [
        ("v1.31", false),
        ("v1.32", true),
        ("latest", true),
        ("v1.99", true),
    ] {
        let bench = bench(json!({
            "pod-security.kubernetes.io/enforce": "baseline",
            "pod-security.kubernetes.io/enforce-version": version,
        }));
        assert_eq!(
            bench.create("default/pods", sysctl()).is_ok(),
            passes,
            "{version}"
        );
    }
    let guest = || {
        careful(|spec| {
            spec["hostUsers"] = false.into();
            spec["securityContext"]["runAsNonRoot"] = false.into();
        })
    };
    assert!(
        enforcing("restricted")
            .create("default/pods", guest())
            .is_ok()
    );
}

#[test]
fn templates_are_warned_of_and_pods_are_refused() {
    let bench = enforcing("restricted");
    let template = json!({
        "metadata": {"name": "d"},
        "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}},
    });
    assert!(bench.create("default/deployments.apps", template).is_ok());
    let warnings = bench.warnings();
    assert!(
        warnings[0].starts_with(
            "would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation"
        ),
        "{warnings:?}"
    );
}

#[test]
fn the_audit_log_hears_of_violations_and_of_what_was_enforced() {
    let bench = bench(json!({"pod-security.kubernetes.io/audit": "baseline"}));
    let pod = pod_of(json!({"hostPID": true, "containers": [{"name": "c"}]}));
    assert!(bench.create("default/pods", pod).is_ok());
    assert_eq!(
        bench
            .remark("pod-security.kubernetes.io/audit-violations")
            .as_deref(),
        Some("would violate PodSecurity \"baseline:latest\": host namespaces (hostPID=true)")
    );
    assert_eq!(
        bench
            .remark("pod-security.kubernetes.io/enforce-policy")
            .as_deref(),
        Some("privileged:latest")
    );
    assert_eq!(bench.warnings(), [""; 0]);
}

#[test]
fn a_change_matters_when_images_do_and_a_status_never() {
    let bench = enforcing("baseline");
    let pod = |image: &str| {
        pod_of(json!({"hostPID": true, "containers": [{"name": "c", "image": image}]}))
    };
    assert!(bench.update("default/pods/p", pod("a"), pod("a")).is_ok());
    assert!(bench.update("default/pods/p", pod("a"), pod("b")).is_err());
    assert!(
        bench
            .update("default/pods/p/status", pod("a"), pod("b"))
            .is_ok()
    );
}

#[test]
fn labels_that_cannot_be_read_are_refused_and_enforced_as_restricted_where_they_stand() {
    let bad = json!({
        "pod-security.kubernetes.io/enforce": "strict",
        "pod-security.kubernetes.io/warn-version": "v2.1",
    });
    let refused = Bench::new([])
        .create("namespaces", namespace(bad.clone()))
        .expect_err("refused");
    assert_eq!(
        refused.message(),
        "Namespace \"default\" is invalid: [metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \
         \"strict\": must be one of privileged, baseline, restricted, \
         metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"v2.1\": must be \"latest\" or \
         \"v1.x\"]"
    );
    let same = Bench::new([]).update(
        "default/namespaces/default",
        namespace(bad.clone()),
        namespace(bad.clone()),
    );
    assert!(same.is_ok(), "what stands already may stay");
    let plain = pod_of(json!({"containers": [{"name": "c"}]}));
    assert!(bench(bad).create("default/pods", plain).is_err());
}

#[test]
fn who_asks_for_more_is_told_which_pods_would_not_pass() {
    let pod = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"hostPID": true, "containers": [{"name": "c"}]},
        })
    };
    let bench = Bench::new([pod("a"), pod("b"), pod("c")]);
    let labels = json!({"pod-security.kubernetes.io/enforce": "baseline"});
    bench
        .update(
            "default/namespaces/default",
            namespace(json!({})),
            namespace(labels),
        )
        .expect("admitted");
    assert_eq!(
        bench.warnings(),
        [
            "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "a (and 2 other pods): host namespaces",
        ]
    );
}
