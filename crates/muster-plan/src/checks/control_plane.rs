//! The checks that only a control-plane node needs, in kubeadm's order and words.
//!
//! Pulling images is no check over facts: whoever pulls makes the findings with [`image_findings`].

use muster_identity::Host;
use serde_json::Value;

use super::{Situation, http_proxy, ports};
use crate::{ClusterAnswers, FileFact, Finding, path_id, paths};

const CPUS: u32 = 2;
const MEMORY_MB: u64 = 1700;
const MANIFESTS: [&str; 4] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "etcd",
];
/// The newest minor of Kubernetes whose control plane can be made here.
const NEWEST: (u32, u32) = (1, 36);

/// What a control-plane node will be, as far as checks care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlane {
    /// The address that the API server tells to others.
    pub advertise_address: String,
    /// The API server's port.
    pub bind_port: u16,
    /// Service networks.
    pub service_subnets: Vec<String>,
    /// Pod networks.
    pub pod_subnets: Vec<String>,
    /// Where etcd keeps its data; `None` with an external etcd.
    pub etcd_data_dir: Option<String>,
    /// Files that an external etcd's client needs, unless they are downloaded.
    pub etcd_files: Vec<String>,
}

impl ControlPlane {
    /// Reads the cluster's part from a ClusterConfiguration (kubeadm.k8s.io/v1beta3 or v1beta4); what is missing or
    /// malformed has kubeadm's defaults. `downloads` says that certificates come with a certificate key.
    #[must_use]
    pub fn new(
        advertise_address: impl Into<String>,
        bind_port: u16,
        answers: &ClusterAnswers,
        downloads: bool,
    ) -> Self {
        let text = answers.cluster_configuration.as_deref().unwrap_or_default();
        let config: Value = serde_saphyr::from_str(text).unwrap_or(Value::Null);
        let text = |pointer: &str| {
            config
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let list = |pointer: &str| -> Vec<String> {
            let parts = text(pointer)
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect()
        };
        let external = config.pointer("/etcd/external").is_some();
        let data_dir = Some(text("/etcd/local/dataDir")).filter(|dir| !dir.is_empty());
        let files = ["caFile", "certFile", "keyFile"]
            .map(|name| text(&format!("/etcd/external/{name}")).to_owned());
        let files = files
            .into_iter()
            .filter(|file| external && !downloads && !file.is_empty());
        Self {
            advertise_address: advertise_address.into(),
            bind_port,
            service_subnets: list("/networking/serviceSubnet"),
            pod_subnets: list("/networking/podSubnet"),
            etcd_data_dir: (!external).then(|| data_dir.unwrap_or(paths::ETCD_DATA_DIR).to_owned()),
            etcd_files: files.collect(),
        }
    }

    /// Paths that the checks ask for besides [`paths::WATCHED`].
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.etcd_data_dir
            .iter()
            .chain(&self.etcd_files)
            .cloned()
            .collect()
    }
}

pub(super) fn check(
    situation: &Situation<'_>,
    plane: &ControlPlane,
    answers: Option<&ClusterAnswers>,
    findings: &mut Vec<Finding>,
) {
    machine(situation, findings);
    if let Some(answers) = answers {
        version(answers, findings);
    }
    for port in [plane.bind_port, 10259, 10257] {
        ports::taken(situation.facts, port, findings);
    }
    for name in MANIFESTS {
        let path = format!("{}/{name}.yaml", paths::MANIFESTS_DIR);
        super::file_available::absent(situation, &path, findings);
    }
    if let Ok(host) = Host::parse(&plane.advertise_address) {
        http_proxy::direct(situation.facts, &host, findings);
    }
    for cidr in plane.service_subnets.iter().chain(&plane.pod_subnets) {
        http_proxy::network(situation.facts, cidr, findings);
    }
    etcd(situation, plane, findings);
}

fn machine(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let facts = situation.facts;
    if facts.cpus < CPUS {
        findings.push(Finding::error(
            "NumCPU",
            format!(
                "the number of available CPUs {} is less than the required {CPUS}",
                facts.cpus
            ),
            "Give the machine more processors; on fewer, etcd loses its leader under load.",
        ));
    }
    let memory = facts.memory >> 20;
    if memory < MEMORY_MB {
        findings.push(Finding::error(
            "Mem",
            format!("the system RAM ({memory} MB) is less than the minimum {MEMORY_MB} MB"),
            "Give the machine more memory.",
        ));
    }
}

fn version(answers: &ClusterAnswers, findings: &mut Vec<Finding>) {
    let Some(version) = answers.version.as_deref() else {
        return;
    };
    let newer = super::kubelet_version::minor(version).is_some_and(|minor| minor > NEWEST);
    if newer {
        findings.push(Finding::warning(
            "KubernetesVersion",
            format!(
                "Kubernetes version is greater than kubeadm version. Please consider to upgrade kubeadm. Kubernetes version: {}. Kubeadm version: {}.{}.x",
                version.trim_start_matches('v'), NEWEST.0, NEWEST.1
            ),
            "Use a muster that knows this version.",
        ));
    }
}

fn etcd(situation: &Situation<'_>, plane: &ControlPlane, findings: &mut Vec<Finding>) {
    let facts = situation.facts;
    if let Some(dir) = &plane.etcd_data_dir {
        ports::taken(facts, 2379, findings);
        ports::taken(facts, 2380, findings);
        let empty = !matches!(
            facts.files.get(dir),
            Some(FileFact::Dir { entries: 1.. } | FileFact::File { .. })
        );
        if !empty {
            findings.push(Finding::error(
                path_id("DirAvailable", dir),
                format!("{} is not empty", situation.request.root.real(dir)),
                "Data of another etcd is in it: save it and empty the directory, or `muster reset` if it is a former node's.",
            ));
        }
    }
    for file in &plane.etcd_files {
        if !facts.files.contains_key(file) {
            findings.push(Finding::error(
                "ExternalEtcdClientCertificates",
                format!("{file} doesn't exist"),
                "Copy the external etcd's client certificate, or join with --certificate-key.",
            ));
        }
    }
}

/// Findings of ImagePull: one error for each image that could not be pulled, and a warning when the runtime's pods stand on
/// another image than the cluster's version wants.
#[must_use]
pub fn image_findings(
    failed: &[(String, String)],
    sandbox: Option<&str>,
    wanted_sandbox: &str,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = failed
        .iter()
        .map(|(image, why)| {
            Finding::error(
                "ImagePull",
                format!("failed to pull image {image}: {why}"),
                "See that the registry can be reached and that the runtime's proxy and mirror settings are right.",
            )
        })
        .collect();
    if let Some(sandbox) = sandbox.filter(|sandbox| *sandbox != wanted_sandbox) {
        findings.push(Finding::warning(
            "ImagePull",
            format!("detected that the sandbox image \"{sandbox}\" of the container runtime is inconsistent with that used by kubeadm. It is recommended to use \"{wanted_sandbox}\" as the CRI sandbox image."),
            "Set it in the runtime's configuration (containerd: sandbox_image or pinned_images.sandbox).",
        ));
    }
    findings
}
