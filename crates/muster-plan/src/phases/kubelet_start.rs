//! Phase kubelet-start: the files of a node that kubeadm joined, then the kubelet, once.

use super::{Ingredients, Phase, Steps};
use crate::flags_env::kubelet_flags;
use crate::kubelet_config::signs_its_own;
use crate::plan::BUILT_IN_FLAGS;
use crate::{
    Kubelet, Runtime, SecretName, Step, flags_env, instance_config, kubelet_conf,
    muster_kubelet_unit, paths,
};

const PHASE: Phase = Phase::KubeletStart;

pub(super) fn contribute(ingredients: &Ingredients<'_>, steps: &mut Steps) {
    kubeconfig(ingredients, steps);
    directories(steps);
    configuration(ingredients, steps);
    serving_certificate(ingredients, steps);
    let node_name = ingredients.request.node_name.to_string();
    // Claimed with the node's own certificate in place, and so given back while that certificate is still there.
    steps.add(
        PHASE,
        "claim-node",
        &["link-client-pem", "write-kubelet-conf"],
        Step::ClaimNode { node_name },
    );
    start(ingredients, steps);
}

/// The node's credentials are whole as early as can be: its kubeconfig comes before what only the kubelet reads.
fn kubeconfig(ingredients: &Ingredients<'_>, steps: &mut Steps) {
    let Ingredients {
        request, answers, ..
    } = ingredients;
    steps.add(
        PHASE,
        "make-kubernetes-dir",
        &[],
        Step::MakeDir {
            path: paths::KUBERNETES_DIR.into(),
            mode: 0o755,
        },
    );
    let client = request.root.real(paths::KUBELET_CLIENT_CURRENT);
    let content = kubelet_conf(
        &answers.server,
        answers.tls_server_name.as_deref(),
        &answers.ca_pem,
        &client,
    );
    steps.add(
        PHASE,
        "write-kubelet-conf",
        &["make-kubernetes-dir"],
        Step::WriteFile {
            path: paths::KUBELET_CONF.into(),
            mode: 0o600,
            content,
        },
    );
}

fn directories(steps: &mut Steps) {
    let mut make = |id: &str, after: &[&str], path: &str| {
        steps.add(
            PHASE,
            id,
            after,
            Step::MakeDir {
                path: path.into(),
                mode: 0o755,
            },
        );
    };
    make("make-pki-dir", &["make-kubernetes-dir"], paths::PKI_DIR);
    make(
        "make-manifests-dir",
        &["make-kubernetes-dir"],
        paths::MANIFESTS_DIR,
    );
}

fn configuration(ingredients: &Ingredients<'_>, steps: &mut Steps) {
    let Ingredients {
        facts,
        request,
        answers,
        ..
    } = ingredients;
    let mut write = |id: &str, after: &[&str], path: &str, mode: u32, content: String| {
        steps.add(
            PHASE,
            id,
            after,
            Step::WriteFile {
                path: path.into(),
                mode,
                content,
            },
        );
    };
    write(
        "write-ca",
        &["make-pki-dir"],
        paths::CA_CRT,
        0o644,
        answers.ca_pem.clone(),
    );
    let kubelet_dir: &[&str] = &["claim-kubelet-dir"];
    let cri = request.cri_endpoint(facts);
    if !cri.is_empty() {
        let text = instance_config(&cri);
        write(
            "write-instance-config",
            kubelet_dir,
            paths::INSTANCE_CONFIG,
            0o644,
            text,
        );
    }
    let config = ingredients.kubelet_config.clone();
    write(
        "write-kubelet-config",
        kubelet_dir,
        paths::KUBELET_CONFIG,
        0o644,
        config,
    );
    let name = request.node_name.as_str();
    let name = (name != facts.hostname).then_some(name);
    let flags = flags_env(
        name,
        request.node_ip_argument(answers).as_deref(),
        &request.labels,
        &request.taints,
        &request.extra_args,
    );
    write(
        "write-flags-env",
        kubelet_dir,
        paths::FLAGS_ENV,
        0o644,
        flags,
    );
}

/// What a kubelet needs before it starts; the undo of every one of them waits until it has stopped.
const BEFORE_START: &[&str] = &[
    "claim-node",
    "discard-key",
    "write-ca",
    "make-manifests-dir",
    "write-kubelet-config",
    "write-flags-env",
];

fn start(ingredients: &Ingredients<'_>, steps: &mut Steps) {
    let mut before = BEFORE_START.to_vec();
    if ingredients.answers.certified {
        before.retain(|id| *id != "discard-key");
    }
    for optional in ["write-instance-config", "make-serving-certificate"] {
        if steps.0.iter().any(|step| step.id == optional) {
            before.push(optional);
        }
    }
    let unit = match &ingredients.kubelet {
        Kubelet::BuiltInSupervised => return supervise(ingredients, steps, before),
        Kubelet::System { unit } => {
            let endpoint = ingredients.request.cri_endpoint(ingredients.facts);
            if !endpoint.is_empty() {
                // Their volumes lie in the kubelet's directory: pods go before it is swept, and after it has stopped.
                let claim = Step::ClaimPods { endpoint };
                steps.add(PHASE, "claim-pods", &["claim-kubelet-dir"], claim);
                before.push("claim-pods");
            }
            unit.clone()
        }
        Kubelet::BuiltInUnit => {
            let unit = paths::MUSTER_KUBELET_UNIT.to_owned();
            let content = muster_kubelet_unit(&built_in_argv(ingredients));
            let install = Step::InstallUnit {
                unit: unit.clone(),
                content,
            };
            steps.add(PHASE, "install-unit", &before, install);
            before.push("install-unit");
            unit
        }
    };
    steps.add(PHASE, "start-kubelet", &before, Step::StartService { unit });
}

/// Lets the kubelet's service start with the machine: for the next boot only, and so no reason to keep the kubelet
/// waiting, or from its work, while its Node is waited for.
pub(super) fn enable(ingredients: &Ingredients<'_>, steps: &mut Steps) {
    let unit = match &ingredients.kubelet {
        Kubelet::BuiltInSupervised => return,
        Kubelet::System { unit } => unit.clone(),
        Kubelet::BuiltInUnit => paths::MUSTER_KUBELET_UNIT.to_owned(),
    };
    let last = steps.0.iter().rfind(|step| step.phase == Phase::NodeWait);
    let (phase, after) = last.map_or_else(
        || (Phase::KubeletWait, "await-kubelet".to_owned()),
        |step| (step.phase, step.id.clone()),
    );
    let step = Step::EnableService { unit };
    steps.add(phase, "enable-kubelet", &[&after, "start-kubelet"], step);
}

/// Flags of the kubelet that say where its serving certificate comes from, or whom it is for.
const SERVING_FLAGS: &[&str] = &[
    "cert-dir",
    "hostname-override",
    "rotate-server-certificates",
    "tls-cert-file",
    "tls-private-key-file",
];

/// The certificate that the kubelet would sign for itself, before anything else it does: made here, it starts sooner.
fn serving_certificate(ingredients: &Ingredients<'_>, steps: &mut Steps) {
    let args = &ingredients.request.extra_args;
    let told = args
        .iter()
        .any(|(name, _)| SERVING_FLAGS.contains(&name.as_str()));
    let serves = matches!(ingredients.kubelet, Kubelet::System { .. });
    if !serves || told || !signs_its_own(&ingredients.kubelet_config) {
        return;
    }
    for (id, after, path, mode, secret) in [
        (
            "make-serving-key",
            "make-kubelet-pki",
            paths::KUBELET_SERVING_KEY,
            0o600,
            SecretName::KubeletServingKey,
        ),
        (
            "make-serving-certificate",
            "make-serving-key",
            paths::KUBELET_SERVING_CRT,
            0o644,
            SecretName::KubeletServing,
        ),
    ] {
        let path = path.to_owned();
        let step = Step::WriteMade { path, mode, secret };
        steps.add(PHASE, id, &[after], step);
    }
}

fn supervise(ingredients: &Ingredients<'_>, steps: &mut Steps, mut before: Vec<&str>) {
    for (id, path) in [
        ("claim-run-dir", paths::RUN_DIR),
        ("claim-log-dir", paths::LOG_DIR),
    ] {
        steps.add(
            PHASE,
            id,
            &[],
            Step::ClaimDir {
                path: path.into(),
                mode: 0o755,
            },
        );
        before.push(id);
    }
    steps.add(
        PHASE,
        "start-kubelet",
        &before,
        Step::SpawnSupervised {
            name: "kubelet".into(),
            executable: ingredients.request.executable.clone(),
            argv: built_in_argv(ingredients),
            pidfile: paths::KUBELET_PID.into(),
            log: paths::KUBELET_LOG.into(),
        },
    );
}

/// The built-in kubelet's command line. It finds its credentials below the root by itself.
fn built_in_argv(ingredients: &Ingredients<'_>) -> Vec<String> {
    let request = ingredients.request;
    let mut argv: Vec<String> = [
        request.executable.as_str(),
        "kubelet",
        "--root",
        request.root.dir(),
        "--runtime",
    ]
    .map(String::from)
    .into();
    match &request.runtime {
        Runtime::Hollow => argv.push("hollow".into()),
        Runtime::Cri { .. } => {
            argv.push("cri".into());
            argv.push("--container-runtime-endpoint".into());
            argv.push(request.cri_endpoint(ingredients.facts));
        }
    }
    let known: Vec<(String, String)> = request
        .extra_args
        .iter()
        .filter(|(name, _)| BUILT_IN_FLAGS.contains(&name.as_str()))
        .cloned()
        .collect();
    // Taints stand in its configuration file; there is no field for labels.
    argv.extend(kubelet_flags(
        None,
        request.node_ip_argument(ingredients.answers).as_deref(),
        &request.labels,
        &[],
        &known,
    ));
    argv
}
