//! The kubelet's configuration: the cluster's, with what is particular to this machine laid over it.
//!
//! Format: KubeletConfiguration of kubelet.config.k8s.io/v1beta1. The cluster's text is a stranger's and read within
//! bounds. Fields that we do not know stay as they are.

use serde_json::{Map, Value, json};

use muster_kubeadm::config::to_yaml;
use muster_kubeadm::patches::{PatchesError, Target};

use crate::cluster_dns::ClusterDns;
use crate::paths;
use crate::{ClusterAnswers, Facts, JoinRequest, ServiceManager};

/// No kubelet configuration is larger; the ConfigMap's own limit is 1 MiB.
const MAX_BYTES: usize = 1 << 20;
const MAX_DEPTH: usize = 32;

/// The cluster's kubelet configuration cannot be used. An administrator must mend the ConfigMap
/// kube-system/kubelet-config.
#[derive(Debug, thiserror::Error)]
pub enum KubeletConfigError {
    /// It is too large to be one.
    #[error("the cluster's kubelet configuration has {bytes} bytes, more than any should")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is not YAML, or not a map.
    #[error("the cluster's kubelet configuration is not a YAML map: {reason}")]
    Malformed {
        /// Where and why, without the text itself.
        reason: String,
    },
    /// It is of another kind or version.
    #[error(
        "the cluster's kubelet configuration is {found}, not kubelet.config.k8s.io/v1beta1 KubeletConfiguration"
    )]
    Kind {
        /// apiVersion and kind as found.
        found: String,
    },
    /// A patch does not fit it: correct the patch that is named.
    #[error("the kubelet configuration cannot be patched")]
    Patch(#[source] PatchesError),
}

/// The text of `config.yaml`.
///
/// # Errors
/// [`KubeletConfigError`] when the cluster's configuration is unusable.
pub fn kubelet_config(
    answers: &ClusterAnswers,
    request: &JoinRequest,
    facts: &Facts,
) -> Result<String, KubeletConfigError> {
    let dns = ClusterDns::of(request, answers);
    let mut config = match answers.kubelet_config.as_deref() {
        Some(text) => parse(text)?,
        None => generic(&dns),
    };
    lay_over(&mut config, request, facts);
    if !request.cluster_dns.is_empty() {
        config.insert("clusterDNS".into(), json!(dns.addresses));
    }
    if request.cluster_domain.is_some() {
        config.insert("clusterDomain".into(), json!(dns.domain));
    }
    let config = patched(config, request, facts)?;
    Ok(to_yaml(&Value::Object(config)))
}

/// The text of `instance-config.yaml`: what kubeadm keeps apart because it is particular to the machine.
#[must_use]
pub fn instance_config(cri_endpoint: &str) -> String {
    format!("containerRuntimeEndpoint: {}\n", Value::from(cri_endpoint))
}

/// The health port that the kubelet will have; `None` when it has none.
pub(crate) fn healthz_port(config_yaml: &str) -> Option<u16> {
    let config = parse(config_yaml).ok()?;
    let port = config
        .get("healthzPort")
        .and_then(Value::as_u64)
        .unwrap_or(10248);
    u16::try_from(port).ok().filter(|port| *port != 0)
}

/// Whether the kubelet would sign its serving certificate itself: nobody gives it one, and it asks nobody for one.
pub(crate) fn signs_its_own(config_yaml: &str) -> bool {
    let Ok(config) = parse(config_yaml) else {
        return false;
    };
    let given = |field: &str| match config.get(field) {
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Bool(yes)) => *yes,
        Some(Value::Null) | None => false,
        Some(_) => true,
    };
    !["serverTLSBootstrap", "tlsCertFile", "tlsPrivateKeyFile"]
        .map(given)
        .contains(&true)
}

fn parse(text: &str) -> Result<Map<String, Value>, KubeletConfigError> {
    if text.len() > MAX_BYTES {
        return Err(KubeletConfigError::TooLarge { bytes: text.len() });
    }
    let malformed = |reason: String| KubeletConfigError::Malformed { reason };
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
    };
    let value: Value = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| malformed(error.to_string()))?;
    let Value::Object(config) = value else {
        return Err(malformed("it is not a map".into()));
    };
    let text = |field: &str| {
        config
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (version, kind) = (text("apiVersion"), text("kind"));
    if version != "kubelet.config.k8s.io/v1beta1" || kind != "KubeletConfiguration" {
        return Err(KubeletConfigError::Kind {
            found: format!("{version:?} {kind:?}"),
        });
    }
    Ok(config)
}

/// What kubeadm would have published, for clusters that publish nothing.
fn generic(dns: &ClusterDns) -> Map<String, Value> {
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": true}, "x509": {}},
        "authorization": {"mode": "Webhook"},
        "clusterDNS": dns.addresses,
        "clusterDomain": dns.domain,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": 10248,
    });
    match config {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The user's patches, then what is particular to the machine: kubeadm applies its instance file last.
fn patched(
    config: Map<String, Value>,
    request: &JoinRequest,
    facts: &Facts,
) -> Result<Map<String, Value>, KubeletConfigError> {
    let target = Target::KubeletConfiguration;
    let config = request.patches.apply(target, Value::Object(config));
    let Value::Object(mut config) = config.map_err(KubeletConfigError::Patch)? else {
        return Err(KubeletConfigError::Malformed {
            reason: "a patch made something else of it".into(),
        });
    };
    let cri = request.cri_endpoint(facts);
    if !cri.is_empty() {
        config.insert("containerRuntimeEndpoint".into(), cri.into());
    }
    Ok(config)
}

fn lay_over(config: &mut Map<String, Value>, request: &JoinRequest, facts: &Facts) {
    let root = &request.root;
    let x509 = section(section(config, "authentication"), "x509");
    x509.insert("clientCAFile".into(), root.real(paths::CA_CRT).into());
    config.insert(
        "staticPodPath".into(),
        root.real(paths::MANIFESTS_DIR).into(),
    );
    config.insert("rotateCertificates".into(), true.into());
    let no_driver = config
        .get("cgroupDriver")
        .and_then(Value::as_str)
        .unwrap_or("")
        .is_empty();
    if no_driver && facts.service_manager == ServiceManager::Systemd {
        config.insert("cgroupDriver".into(), "systemd".into());
    }
    if facts.systemd_resolved && !config.contains_key("resolvConf") {
        // The stub listener of systemd-resolved is on loopback, which pods do not share.
        config.insert(
            "resolvConf".into(),
            "/run/systemd/resolve/resolv.conf".into(),
        );
    }
    let kubelet = request.choose_kubelet(facts);
    // Several nodes may share one machine below root directories: none of them may take fixed ports unasked.
    let shared = !root.is_machine();
    if let Some(port) = request.healthz_port.or_else(|| shared.then_some(0)) {
        config.insert("healthzPort".into(), port.into());
    }
    if let Some(port) = request.kubelet_port {
        config.insert("port".into(), port.into());
    }
    if kubelet.is_built_in() && !request.taints.is_empty() {
        let taints: Vec<Value> = request.taints.iter().map(|taint| json!(taint)).collect();
        config.insert("registerWithTaints".into(), taints.into());
    }
}

/// The map at `key`, made if there is none.
fn section<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Root;
    use crate::request::tests::{request, with_systemd_kubelet};
    use crate::{Runtime, Taint};
    use jiff::Timestamp;
    use muster_kubeadm::patches::Patches;
    use proptest::prelude::*;

    const PUBLISHED: &str = r#"apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous:
    enabled: false
  webhook:
    cacheTTL: 0s
    enabled: true
  x509:
    clientCAFile: /etc/kubernetes/pki/ca.crt
cgroupDriver: systemd
clusterDNS:
- 10.96.0.10
clusterDomain: cluster.local
containerRuntimeEndpoint: ""
healthzPort: 10248
kind: KubeletConfiguration
logging:
  options:
    json:
      infoBufferSize: "0"
memorySwap: {}
unheardOf:
  mode: 0644
"#;

    fn answers(config: Option<&str>) -> ClusterAnswers {
        ClusterAnswers {
            kubelet_config: config.map(str::to_owned),
            ..ClusterAnswers::new("https://10.0.0.1:6443", "", Timestamp::UNIX_EPOCH)
        }
    }

    fn facts() -> Facts {
        Facts::plain("n1", Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_clusters_configuration_is_kept_and_the_machines_endpoint_is_laid_over_it() {
        let text = kubelet_config(
            &answers(Some(PUBLISHED)),
            &request(),
            &with_systemd_kubelet(facts()),
        )
        .unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines.contains(&"containerRuntimeEndpoint: unix:///var/run/containerd/containerd.sock"),
            "{text}"
        );
        assert!(text.contains("clusterDNS:\n- 10.96.0.10\n"), "{text}");
        assert!(text.contains("memorySwap: {}"), "{text}");
        let read = parse(&text).unwrap();
        assert_eq!(read["rotateCertificates"], true);
        assert_eq!(read["staticPodPath"], "/etc/kubernetes/manifests");
        assert_eq!(
            read["logging"]["options"]["json"]["infoBufferSize"], "0",
            "a text stays a text"
        );
        assert_eq!(
            read["unheardOf"]["mode"], 420,
            "an octal number as Kubernetes reads it"
        );
        assert_eq!(healthz_port(&text), Some(10248));
        let keys: Vec<&String> = read.keys().collect();
        let mut sorted = keys.clone();
        sorted.sort();
        assert_eq!(keys, sorted, "in kubeadm's order");
    }

    #[test]
    fn below_a_root_directory_paths_are_real_and_no_fixed_port_is_taken() {
        let mut request = request();
        request.root = Root::new("/tmp/n1");
        request.runtime = Runtime::Hollow;
        request.taints = vec![Taint::parse("a=b:NoSchedule").unwrap()];
        let text = kubelet_config(&answers(None), &request, &facts()).unwrap();
        let read = parse(&text).unwrap();
        assert_eq!(
            read["authentication"]["x509"]["clientCAFile"],
            "/tmp/n1/etc/kubernetes/pki/ca.crt"
        );
        assert_eq!(read["healthzPort"], 0);
        assert_eq!(healthz_port(&text), None);
        assert!(!read.contains_key("containerRuntimeEndpoint"));
        assert_eq!(read["registerWithTaints"][0]["effect"], "NoSchedule");
        request.healthz_port = Some(20001);
        let text = kubelet_config(&answers(None), &request, &facts()).unwrap();
        assert_eq!(healthz_port(&text), Some(20001));
    }

    #[test]
    fn patches_come_after_the_cluster_and_before_the_machine() {
        let mut request = request();
        let file =
            "maxPods: 7\nclusterDNS: [192.0.2.1]\ncontainerRuntimeEndpoint: unix:///elsewhere\n";
        let files = [(
            "kubeletconfiguration.yaml".to_owned(),
            file.as_bytes().to_vec(),
        )];
        request.patches = Patches::read(files).unwrap();
        let facts = with_systemd_kubelet(facts());
        let text = kubelet_config(&answers(Some(PUBLISHED)), &request, &facts).unwrap();
        let read = parse(&text).unwrap();
        assert_eq!(read["maxPods"], 7);
        assert_eq!(read["clusterDNS"], json!(["192.0.2.1"]));
        let endpoint = read["containerRuntimeEndpoint"].as_str().unwrap();
        assert!(endpoint.ends_with("containerd.sock"), "{endpoint}");
    }

    #[test]
    fn what_is_said_of_dns_goes_before_what_the_cluster_publishes() {
        let mut request = request();
        request.cluster_dns = vec!["fd00::a".parse().unwrap()];
        request.cluster_domain = Some("said.example".into());
        let text = kubelet_config(&answers(Some(PUBLISHED)), &request, &facts()).unwrap();
        let read = parse(&text).unwrap();
        assert_eq!(read["clusterDNS"], json!(["fd00::a"]));
        assert_eq!(read["clusterDomain"], "said.example");
    }

    #[test]
    fn what_is_no_kubelet_configuration_is_refused() {
        let refuse =
            |text: &str| kubelet_config(&answers(Some(text)), &request(), &facts()).unwrap_err();
        assert!(matches!(
            refuse("- a\n- b\n"),
            KubeletConfigError::Malformed { .. }
        ));
        assert!(matches!(
            refuse("kind: Pod\napiVersion: v1\n"),
            KubeletConfigError::Kind { .. }
        ));
        assert!(matches!(
            refuse(&" ".repeat(MAX_BYTES + 1)),
            KubeletConfigError::TooLarge { .. }
        ));
        let deep = format!("a: {}1{}", "[".repeat(100), "]".repeat(100));
        assert!(matches!(
            refuse(&deep),
            KubeletConfigError::Malformed { .. }
        ));
    }

    #[test]
    fn the_instance_file_is_kubeadms() {
        assert_eq!(
            instance_config("unix:///var/run/containerd/containerd.sock"),
            "containerRuntimeEndpoint: \"unix:///var/run/containerd/containerd.sock\"\n"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn a_strangers_text_is_an_error_or_a_configuration_and_never_a_panic(text in "[a-z:\\-\\[\\]{}\"'&* \n0-9]{0,200}") {
            let _ = kubelet_config(&answers(Some(&text)), &request(), &facts());
        }
    }
}
