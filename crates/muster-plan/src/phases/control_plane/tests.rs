//! The plan of a control-plane join: what stands on what, and when there is none.

use std::collections::BTreeMap;

use jiff::Timestamp;
use muster_kubeadm::ClusterBlueprint;
use muster_kubeadm::manifests::{StaticPod, manifest, with_secrets};

use crate::request::tests::request;
use crate::{
    ClusterAnswers, ControlPlaneRequest, Facts, FileFact, IgnoreSet, JoinRequest, Plan, PlanError,
    SecretName, Step, Taint, plan,
};

const CONFIGURATION: &str = "apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.36.2
controlPlaneEndpoint: lb.example:6443
";

fn answers(configuration: &str) -> ClusterAnswers {
    ClusterAnswers {
        cluster_configuration: Some(configuration.to_owned()),
        local_ip: Some("10.0.0.7".parse().unwrap()),
        ..ClusterAnswers::new(
            "https://lb.example:6443",
            "a CA certificate",
            Timestamp::UNIX_EPOCH,
        )
    }
}

fn asked(plane: ControlPlaneRequest) -> JoinRequest {
    JoinRequest {
        control_plane: Some(plane),
        ignore: IgnoreSet::parse(["all"]).unwrap(),
        ..request()
    }
}

fn with_key() -> ControlPlaneRequest {
    ControlPlaneRequest {
        has_certificate_key: true,
        ..ControlPlaneRequest::default()
    }
}

fn facts() -> Facts {
    Facts::plain("n1", Timestamp::UNIX_EPOCH)
}

fn planned(configuration: &str, plane: ControlPlaneRequest) -> Plan {
    let plan = plan(&facts(), &asked(plane), &answers(configuration)).unwrap();
    plan.definition().unwrap();
    plan
}

fn place(plan: &Plan, id: &str) -> usize {
    let place = plan.steps.iter().position(|step| step.id == id);
    place.unwrap_or_else(|| panic!("there is no step {id}"))
}

fn has(plan: &Plan, id: &str) -> bool {
    plan.steps.iter().any(|step| step.id == id)
}

#[test]
fn nothing_that_needs_etcd_is_written_before_etcd_has_its_vote() {
    let plan = planned(CONFIGURATION, with_key());
    let order = [
        "prepare-control-plane",
        "claim-etcd-data",
        "share-ca.key",
        "key-etcd-server",
        "certificate-etcd-server",
        "conf-admin",
        "start-kubelet",
        "await-kubelet",
        "take-turn",
        "await-etcd",
        "add-etcd-learner",
        "pod-etcd",
        "promote-etcd-member",
        "await-etcd-member",
        "release-turn",
        "pod-kube-apiserver",
        "await-api-server",
        "mark-control-plane",
        "await-components",
    ];
    let places: Vec<usize> = order.iter().map(|id| place(&plan, id)).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(place(&plan, "await-node") > place(&plan, "mark-control-plane"));
}

#[test]
fn the_steps_stand_in_the_order_in_which_they_are_carried_out() {
    let plan = planned(CONFIGURATION, with_key());
    for (at, step) in plan.steps.iter().enumerate() {
        for after in &step.after {
            assert!(place(&plan, after) < at, "{} stands on {after}", step.id);
        }
    }
}

#[test]
fn the_kubelet_asks_the_api_server_beside_it_and_writes_no_ca() {
    let plan = planned(CONFIGURATION, with_key());
    let conf = &plan.steps[place(&plan, "write-kubelet-conf")].step;
    let Step::WriteFile { content, .. } = conf else {
        panic!("{conf:?}")
    };
    assert!(
        content.contains("server: https://10.0.0.7:6443\n"),
        "{content}"
    );
    assert!(!has(&plan, "write-ca"));
    let dir = &plan.steps[place(&plan, "make-manifests-dir")].step;
    assert!(matches!(dir, Step::MakeDir { mode: 0o700, .. }), "{dir:?}");
}

#[test]
fn with_etcd_elsewhere_no_member_is_added() {
    let configuration = format!(
        "{CONFIGURATION}etcd: {{external: {{endpoints: ['https://e:2379'], caFile: /e/ca.crt, certFile: /e/c.crt, keyFile: /e/c.key}}}}\n"
    );
    let plan = planned(&configuration, with_key());
    for id in [
        "take-turn",
        "add-etcd-learner",
        "pod-etcd",
        "claim-etcd-data",
        "key-etcd-peer",
    ] {
        assert!(!has(&plan, id), "{id}");
    }
    assert!(has(&plan, "share-external-etcd.key"));
    assert!(place(&plan, "pod-kube-apiserver") > place(&plan, "await-kubelet"));
}

#[test]
fn taints_are_given_when_the_node_is_marked_and_not_by_the_kubelet() {
    let taint = Taint::parse("dedicated=cp:NoSchedule").unwrap();
    let mut request = asked(ControlPlaneRequest {
        taints: Some(vec![taint.clone()]),
        ..with_key()
    });
    request.taints = vec![taint.clone()];
    let plan = plan(&facts(), &request, &answers(CONFIGURATION)).unwrap();
    let mark = &plan.steps[place(&plan, "mark-control-plane")].step;
    assert!(matches!(mark, Step::MarkControlPlane { taints, .. } if *taints == [taint]));
    let flags = &plan.steps[place(&plan, "write-flags-env")].step;
    assert!(matches!(flags, Step::WriteFile { content, .. } if !content.contains("taints")));
    let usual = planned(CONFIGURATION, with_key());
    let mark = &usual.steps[place(&usual, "mark-control-plane")].step;
    assert!(
        matches!(mark, Step::MarkControlPlane { taints, .. } if taints[0].to_string() == "node-role.kubernetes.io/control-plane=:NoSchedule")
    );
}

#[test]
fn without_key_the_shared_certificates_must_be_there() {
    let request = JoinRequest {
        ignore: IgnoreSet::default(),
        ..asked(ControlPlaneRequest::default())
    };
    let missing = |facts: &Facts| {
        let plan = plan(facts, &request, &answers(CONFIGURATION)).unwrap();
        plan.findings
            .iter()
            .any(|finding| finding.id == "SharedCertificates")
    };
    let mut facts = facts();
    assert!(missing(&facts));
    for name in [
        "ca.crt",
        "front-proxy-ca.crt",
        "sa.pub",
        "sa.key",
        "etcd/ca.crt",
    ] {
        let path = format!("/etc/kubernetes/pki/{name}");
        facts.files.insert(path, FileFact::File { size: 1 });
    }
    assert!(!missing(&facts));
    let plan = plan(&facts, &request, &answers(CONFIGURATION)).unwrap();
    assert!(!has(&plan, "share-ca.crt"));
    // The authority's key is elsewhere: nothing signs on this node.
    let pod = &plan.steps[place(&plan, "pod-kube-controller-manager")].step;
    assert!(
        matches!(pod, Step::WriteFile { content, .. } if content.contains("--cluster-signing-key-file=\n"))
    );
}

#[test]
fn a_cluster_that_takes_no_second_control_plane_node_is_told_so() {
    let none = |configuration: &str| {
        let error = plan(&facts(), &asked(with_key()), &answers(configuration)).unwrap_err();
        let PlanError::ControlPlane { source } = error else {
            panic!("{error}")
        };
        assert!(!source.remedy().is_empty());
        source.to_string()
    };
    let without = CONFIGURATION.replace("controlPlaneEndpoint: lb.example:6443\n", "");
    assert!(none(&without).contains("controlPlaneEndpoint"));
    let rootless = format!("{CONFIGURATION}featureGates: {{RootlessControlPlane: true}}\n");
    assert!(none(&rootless).contains("RootlessControlPlane"));
    assert!(none("kind: Pod\n").contains("cannot be used"));
    let mut silent = answers(CONFIGURATION);
    silent.cluster_configuration = None;
    assert!(plan(&facts(), &asked(with_key()), &silent).is_err());
    let mut nowhere = answers(CONFIGURATION);
    nowhere.local_ip = None;
    assert!(plan(&facts(), &asked(with_key()), &nowhere).is_err());
}

#[test]
fn the_blueprint_in_the_journal_holds_no_password_of_a_proxy() {
    let mut facts = facts();
    facts
        .proxies
        .insert("HTTPS_PROXY".into(), "http://me:hunter2@proxy:3128".into());
    let plan = plan(&facts, &asked(with_key()), &answers(CONFIGURATION)).unwrap();
    let journalled = serde_json::to_string(&plan.definition().unwrap()).unwrap();
    assert!(!journalled.contains("hunter2"));
    for component in [StaticPod::ApiServer, StaticPod::Scheduler] {
        let step = &plan.steps[place(&plan, &format!("pod-{}", component.name()))].step;
        let made = SecretName::Manifest(component);
        assert!(matches!(step, Step::WriteMade { secret, mode: 0o600, .. } if *secret == made));
    }
    // What is put in when the file is written makes it the file that it would have been.
    let prepare = &plan.steps[place(&plan, "prepare-control-plane")].step;
    let Step::PrepareControlPlane { pods, .. } = prepare else {
        panic!("{prepare:?}")
    };
    let withheld = &pods[&StaticPod::ApiServer];
    let cluster = ClusterBlueprint::parse(CONFIGURATION).unwrap();
    let whole = |proxies| with_secrets(StaticPod::ApiServer, withheld, proxies, &cluster);
    let text = manifest(&whole(&facts.proxies).unwrap());
    assert!(text.contains("value: http://me:hunter2@proxy:3128\n"));
    let lacking = whole(&BTreeMap::new()).unwrap_err().to_string();
    assert!(lacking.contains("HTTPS_PROXY"), "{lacking}");
    // Without a password the file is the step's own, as before.
    facts
        .proxies
        .insert("HTTPS_PROXY".into(), "http://proxy:3128/a@b".into());
    let plain = crate::plan(&facts, &asked(with_key()), &answers(CONFIGURATION)).unwrap();
    let step = &plain.steps[place(&plain, "pod-kube-apiserver")].step;
    assert!(
        matches!(step, Step::WriteFile { content, .. } if content.contains("http://proxy:3128/a@b"))
    );
}

#[test]
fn values_of_extra_envs_stand_in_the_files_and_not_in_the_journal() {
    let configuration = format!(
        "{CONFIGURATION}apiServer: {{extraEnvs: [{{name: KEY, value: hunter2}}, {{name: FROM, valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}}}}]}}\netcd: {{local: {{extraEnvs: [{{name: ETCD_X, value: hunter3}}]}}}}\n"
    );
    let plan = planned(&configuration, with_key());
    let journalled = serde_json::to_string(&plan.definition().unwrap()).unwrap();
    assert!(!journalled.contains("hunter"), "{journalled}");
    let step = |id: &str| &plan.steps[place(&plan, id)].step;
    let Step::PrepareControlPlane { pods, .. } = step("prepare-control-plane") else {
        panic!("not prepared")
    };
    let cluster = ClusterBlueprint::parse(&configuration).unwrap();
    let none = BTreeMap::new();
    for (component, line) in [
        (StaticPod::ApiServer, "value: hunter2\n"),
        (StaticPod::Etcd, "value: hunter3\n"),
    ] {
        let whole = with_secrets(component, &pods[&component], &none, &cluster).unwrap();
        assert!(manifest(&whole).contains(line), "{component:?}");
    }
    let other = ClusterBlueprint::parse(CONFIGURATION).unwrap();
    let lacking = with_secrets(
        StaticPod::ApiServer,
        &pods[&StaticPod::ApiServer],
        &none,
        &other,
    );
    assert_eq!(
        lacking.unwrap_err().to_string(),
        "extraEnvs of kube-apiserver in the cluster's configuration lacks KEY, which it had when the join began"
    );
    // A component without such values is the step's own, as it stands.
    assert!(matches!(step("pod-kube-scheduler"), Step::WriteFile { .. }));
}

#[test]
fn what_etcd_runs_with_goes_only_after_its_member() {
    let plan = planned(CONFIGURATION, with_key());
    let turn = &plan.steps[place(&plan, "take-turn")];
    for id in [
        "certificate-etcd-peer",
        "share-etcd-ca.crt",
        "claim-etcd-data",
        "await-kubelet",
    ] {
        assert!(turn.after.iter().any(|after| after == id), "{id}");
    }
}

#[test]
fn what_prepares_a_control_plane_comes_before_all_else() {
    let plan = planned(CONFIGURATION, with_key());
    let prepares = |step: &crate::PlannedStep| step.phase == crate::Phase::ControlPlanePrepare;
    let others = plan.steps.iter().skip_while(|step| prepares(step));
    assert_eq!(others.filter(|step| prepares(step)).count(), 0);
    // And within it, what is shared, what is its own, and the kubeconfigs.
    let part = |step: &crate::PlannedStep| {
        [
            crate::Part::SharedCertificates,
            crate::Part::OwnCertificates,
            crate::Part::Kubeconfigs,
        ]
        .iter()
        .position(|part| part.holds(&step.id, step.phase))
    };
    let last = |wanted: usize| {
        let steps = plan.steps.iter();
        let mut found = steps
            .enumerate()
            .filter(|(_, step)| part(step) == Some(wanted));
        found.next_back().map(|(at, _)| at)
    };
    assert!(last(1) < last(2), "{:?}", plan.steps);
    assert_eq!(plan.steps[0].id, "prepare-control-plane");
}
