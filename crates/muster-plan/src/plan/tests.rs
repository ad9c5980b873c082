//! Plans as wholes: which steps, in which order, and what they never hold.

use jiff::Timestamp;

use super::*;
use crate::paths::Root;
use crate::request::tests::{request, with_systemd_kubelet};
use crate::{Runtime, Wait};

fn answers() -> ClusterAnswers {
    ClusterAnswers {
        version: Some("v1.36.2".into()),
        ..ClusterAnswers::new(
            "https://10.0.0.1:6443",
            "-----BEGIN CERTIFICATE-----\n",
            "2026-11-21T05:50:05Z".parse().unwrap(),
        )
    }
}

fn plain() -> Facts {
    Facts::plain("n1", Timestamp::UNIX_EPOCH)
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.id.as_str()).collect()
}

#[test]
fn a_worker_with_a_system_kubelet_gets_the_files_of_a_kubeadm_node() {
    let plan = plan(&with_systemd_kubelet(plain()), &request(), &answers()).unwrap();
    assert_eq!(
        ids(&plan),
        [
            "stop-kubelet",
            "claim-kubelet-dir",
            "make-kubelet-pki",
            "save-key",
            "request-certificate",
            "save-client-pem",
            "link-client-pem",
            "discard-key",
            "make-kubernetes-dir",
            "write-kubelet-conf",
            "make-pki-dir",
            "make-manifests-dir",
            "write-ca",
            "write-instance-config",
            "write-kubelet-config",
            "write-flags-env",
            "make-serving-key",
            "make-serving-certificate",
            "claim-node",
            "claim-pods",
            "start-kubelet",
            "await-kubelet",
            "await-node",
            "enable-kubelet",
        ]
    );
    let written: Vec<(&str, u32)> = plan
        .steps
        .iter()
        .filter_map(|planned| match &planned.step {
            Step::WriteFile { path, mode, .. } => Some((path.as_str(), *mode)),
            Step::WriteSecret { path, .. } => Some((path.as_str(), 0o600)),
            _ => None,
        })
        .collect();
    assert_eq!(
        written,
        [
            ("/var/lib/kubelet/pki/kubelet-client.key.tmp", 0o600),
            (
                "/var/lib/kubelet/pki/kubelet-client-2026-11-21-05-50-05.pem",
                0o600
            ),
            ("/etc/kubernetes/kubelet.conf", 0o600),
            ("/etc/kubernetes/pki/ca.crt", 0o644),
            ("/var/lib/kubelet/instance-config.yaml", 0o644),
            ("/var/lib/kubelet/config.yaml", 0o644),
            ("/var/lib/kubelet/kubeadm-flags.env", 0o644),
        ]
    );
}

#[test]
fn the_kubelet_starts_after_everything_it_reads_and_stops_before_any_of_it_is_undone() {
    for facts in [plain(), with_systemd_kubelet(plain())] {
        let plan = plan(&facts, &request(), &answers()).unwrap();
        let definition = plan.definition().unwrap();
        let mut below = vec!["start-kubelet".to_owned()];
        let mut reached = Vec::new();
        while let Some(id) = below.pop() {
            let step = definition.step(&StepId::new(id.clone())).unwrap();
            below.extend(step.after.iter().map(ToString::to_string));
            reached.push(id);
        }
        let start = plan
            .steps
            .iter()
            .position(|step| step.id == "start-kubelet")
            .unwrap();
        for step in &plan.steps[..start] {
            assert!(
                reached.contains(&step.id),
                "{} is not below start-kubelet",
                step.id
            );
        }
    }
}

#[test]
fn a_hollow_node_below_a_directory_runs_the_built_in_kubelet_with_real_paths() {
    let mut request = request();
    request.root = Root::new("/tmp/n1");
    request.runtime = Runtime::Hollow;
    request.wait = Wait::None;
    request.labels = vec![("rack".into(), "r1".into())];
    let plan = plan(&plain(), &request, &answers()).unwrap();
    let spawn = plan
        .steps
        .iter()
        .find(|step| step.id == "start-kubelet")
        .unwrap();
    let Step::SpawnSupervised { argv, pidfile, .. } = &spawn.step else {
        panic!("{spawn:?}")
    };
    assert_eq!(
        argv.join(" "),
        "/usr/local/bin/muster kubelet --root /tmp/n1 --runtime hollow --node-labels=rack=r1"
    );
    assert_eq!(pidfile, "/run/muster/kubelet.pid");
    let link = plan
        .steps
        .iter()
        .find(|step| step.id == "link-client-pem")
        .unwrap();
    let Step::Symlink { target, .. } = &link.step else {
        panic!("{link:?}")
    };
    assert!(target.starts_with("/tmp/n1/var/lib/kubelet/pki/kubelet-client-2026"));
    assert!(!ids(&plan).contains(&"await-node"));
    assert!(!ids(&plan).contains(&"write-instance-config"));
}

#[test]
fn steps_come_back_from_the_journal_as_they_went_in() {
    let plan = plan(&plain(), &request(), &answers()).unwrap();
    let definition = plan.definition().unwrap();
    for (spec, planned) in definition.steps().iter().zip(&plan.steps) {
        let content = StepContent::of(spec).unwrap();
        assert_eq!(
            (content.phase, content.step),
            (planned.phase, planned.step.clone())
        );
    }
}

#[test]
fn the_page_names_every_step_and_its_undo() {
    let plan = plan(&plain(), &request(), &answers()).unwrap();
    let page = plan.render();
    assert!(page.starts_with("Would join n1 to 10.0.0.1:6443 (root /):\n\n[tls-bootstrap]\n"));
    for planned in &plan.steps {
        assert!(page.contains(&planned.step.description()), "{}", planned.id);
    }
    assert_eq!(page.matches("undo: ").count(), plan.steps.len());
}

#[test]
fn a_kubelet_that_is_given_a_serving_certificate_gets_none_of_ours() {
    let facts = with_systemd_kubelet(plain());
    let makes = |plan: &Plan| {
        let mut made = plan.steps.iter();
        made.any(|planned| planned.id == "make-serving-certificate")
    };
    assert!(makes(&plan(&facts, &request(), &answers()).unwrap()));
    for said in [
        "serverTLSBootstrap: true",
        "tlsCertFile: /etc/kubelet.crt",
        "tlsPrivateKeyFile: /etc/kubelet.key",
    ] {
        let config = format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n{said}\n"
        );
        let told = ClusterAnswers {
            kubelet_config: Some(config),
            ..answers()
        };
        assert!(!makes(&plan(&facts, &request(), &told).unwrap()), "{said}");
    }
    let elsewhere = JoinRequest {
        extra_args: vec![("cert-dir".into(), "/var/lib/certs".into())],
        ..request()
    };
    assert!(!makes(&plan(&facts, &elsewhere, &answers()).unwrap()));
    // The built-in kubelet serves nothing.
    assert!(!makes(&plan(&plain(), &request(), &answers()).unwrap()));
}

#[test]
fn clocks_that_differ_and_clones_are_told_by_a_join_too() {
    let node = |name: &str| crate::checks::NodeOfCluster {
        name: name.into(),
        ready: true,
        machine_id: "0123".into(),
        ..Default::default()
    };
    let at = |second| Timestamp::from_second(second).unwrap();
    let told = ClusterAnswers {
        clocks: Some((at(1000), at(1060))),
        // The Node of its own name is another question.
        nodes: vec![node("n1"), node("n2")],
        ..answers()
    };
    let facts = Facts {
        machine_id: Some("0123".into()),
        ..plain()
    };
    let plan = plan(&facts, &request(), &told).unwrap();
    let ids: Vec<&str> = plan
        .findings
        .iter()
        .map(|found| found.id.as_str())
        .collect();
    assert!(
        ids.contains(&"ClockSkew") && !ids.contains(&"NodeName"),
        "{ids:?}"
    );
    let clones = ids.iter().filter(|id| **id == "MachineId").count();
    assert_eq!(clones, 1);
    assert!(!plan.fatal().any(|found| found.id == "ClockSkew"));
}
