//! `init phase`: the phases of kubeadm's init that clusters need for joining nodes, against any cluster.

use super::line::Parsed;
use super::objects::{self, config_map, create_or_update};
use super::refusal::{Refusal, api};
use super::token::{join_command, to_secret};
use super::{ambient, config, files};
use crate::cluster::{self, Cluster};
use crate::printer::Printer;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Secret as SecretObject};
use kube::api::{Api, Patch, PatchParams};
use muster_identity::{BootstrapToken, CertificateBundle, Kubeconfig, Secret};
use muster_kubeadm::ClusterBlueprint;
use muster_kubeadm::config::{
    Ambient, ClusterConfiguration, ComponentConfig, DEFAULT_CRI_SOCKET, InitConfiguration, Initial,
    NodeTaint, Strictness, kubelet_component_config, read_init, resolve_init, to_yaml,
};
use muster_kubeadm::shared_certs::{self, CertificateKey, SharedCerts, shared_files};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How long uploaded certificates stay.
const CERTS_LIFE: SignedDuration = SignedDuration::from_hours(2);
/// Between two looks for a Node that is not there yet.
const NODE_PAUSE: Duration = Duration::from_millis(500);

/// Carries out `init phase …`; the phase's name stands in front of its errors.
pub(super) async fn phase(path: &[&str], line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let data = Data::read(line, printer)?;
    let result = match path {
        ["bootstrap-token"] => data.bootstrap_token(printer).await,
        ["upload-config", what] => data.upload_config(what, printer).await,
        ["upload-certs"] => data.upload_certs(printer).await,
        ["show-join-command"] => data.show_join_command(printer).await,
        ["mark-control-plane"] => data.mark_control_plane(printer).await,
        ["kubelet-finalize", _] => data.kubelet_finalize(printer).await,
        other => {
            let command: Vec<&str> = ["init", "phase"]
                .into_iter()
                .chain(other.iter().copied())
                .collect();
            return Err(super::not_provided(&command));
        }
    };
    let name = match path {
        [group, "all"] => match *group {
            "kubelet-finalize" => "kubelet-finalize/enable-client-cert-rotation".to_owned(),
            _ => (*group).to_owned(),
        },
        other => other.join("/"),
    };
    result.map_err(|refusal| refusal.in_front(&format!("error execution phase {name}")))
}

/// `--feature-gates a=true,b=false`.
pub(super) fn feature_gates(line: &Parsed) -> Result<BTreeMap<String, bool>, Refusal> {
    let mut gates = BTreeMap::new();
    for pair in line.list("feature-gates") {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            Refusal::usage(format!("missing bool value for feature-gate key:{pair}"))
        })?;
        let value = value.parse().map_err(|_| {
            Refusal::usage(format!(
                "invalid value {value} for feature-gate key: {name}, use true|false instead"
            ))
        })?;
        gates.insert(name.to_owned(), value);
    }
    Ok(gates)
}

/// What every phase works with.
struct Data<'a> {
    line: &'a Parsed,
    initial: Initial,
}

impl<'a> Data<'a> {
    fn read(line: &'a Parsed, printer: Printer) -> Result<Self, Refusal> {
        line.check_mixture()?;
        let mut ambient = ambient::gather();
        if !line.knows("cri-socket") {
            ambient = Ambient {
                cri_sockets: vec![DEFAULT_CRI_SOCKET.to_owned()],
                ..ambient
            };
        }
        let mut init = InitConfiguration::default();
        let node = &mut init.node_registration;
        line.text("node-name")
            .unwrap_or_default()
            .clone_into(&mut node.name);
        line.text("cri-socket")
            .unwrap_or_default()
            .clone_into(&mut node.cri_socket);
        init.certificate_key = line
            .text("certificate-key")
            .unwrap_or_default()
            .to_owned()
            .into();
        let mut reading = match line.text("config").filter(|path| !path.is_empty()) {
            Some(path) => read_init(&config::read_file(path)?, &ambient, Strictness::Lenient)?,
            None => resolve_init(init, ClusterConfiguration::default(), &ambient)?,
        };
        config::tell(&reading.warnings, printer);
        let node = &mut reading.value.init.node_registration;
        if let Some(name) = line.text("node-name").filter(|name| !name.is_empty()) {
            // Node names are lower case; kubeadm takes the flag as it is and then finds no such Node.
            node.name = name.trim().to_lowercase();
        }
        Ok(Self {
            line,
            initial: reading.value,
        })
    }

    fn dry_run(&self) -> bool {
        self.initial.init.dry_run || self.line.is_on("dry-run")
    }

    async fn connect(&self) -> Result<Cluster, Refusal> {
        let path = match self.line.text_or_default("kubeconfig") {
            "" => "/etc/kubernetes/admin.conf",
            path => path,
        };
        Ok(cluster::connect(Some(Path::new(path))).await?)
    }

    async fn write(&self, cluster: &Cluster, object: &Value, what: &str) -> Result<(), Refusal> {
        create_or_update(cluster, object, self.dry_run())
            .await
            .map_err(|error| api(what, &error))
    }

    async fn bootstrap_token(&self, printer: Printer) -> Result<(), Refusal> {
        let cluster = self.connect().await?;
        let authorities = CertificateBundle::from_pem(&cluster.authorities).map_err(|_| {
            Refusal::failed(
                "error creating bootstrap ConfigMap: the kubeconfig names no CA certificate",
            )
        })?;
        let tokens = &self.initial.init.bootstrap_tokens;
        if !self.line.is_on("skip-token-print") {
            match tokens.as_slice() {
                [] => {}
                [token] => printer.line(format!(
                    "[bootstrap-token] Using token: {}",
                    token.token.expose()
                )),
                several => {
                    let texts: Vec<&str> = several
                        .iter()
                        .map(|token| token.token.expose().as_str())
                        .collect();
                    printer.line(format!(
                        "[bootstrap-token] Using tokens: [{}]",
                        texts.join(" ")
                    ));
                }
            }
        }
        printer.line(
            "[bootstrap-token] Configuring bootstrap tokens, cluster-info ConfigMap, RBAC Roles",
        );
        for token in tokens {
            let secret = to_secret(token, Timestamp::now())?;
            self.write(
                &cluster,
                &secret.to_object(),
                "error updating or creating token",
            )
            .await?;
        }
        for (text, rules) in objects::bootstrap_rules() {
            printer.line(format!("[bootstrap-token] {text}"));
            for object in rules {
                self.write(&cluster, &object, "error writing RBAC rules")
                    .await?;
            }
        }
        printer.line("[bootstrap-token] Creating the \"cluster-info\" ConfigMap in the \"kube-public\" namespace");
        let server = format!("https://{}", cluster.endpoint);
        let kubeconfig = Kubeconfig::for_cluster_info(&server, &authorities).to_yaml();
        let public = config_map(
            "kube-public",
            "cluster-info",
            "kubeconfig",
            kubeconfig.expose(),
        );
        self.write(&cluster, &public, "error creating bootstrap ConfigMap")
            .await?;
        for object in objects::cluster_info_rules() {
            self.write(&cluster, &object, "error creating clusterinfo RBAC rules")
                .await?;
        }
        Ok(())
    }

    async fn upload_config(&self, what: &str, printer: Printer) -> Result<(), Refusal> {
        let cluster = self.connect().await?;
        if what != "kubelet" {
            printer.line("[upload-config] Storing the configuration used in ConfigMap \"kubeadm-config\" in the \"kube-system\" Namespace");
            let text = self.initial.cluster.to_document();
            let object = config_map(
                "kube-system",
                "kubeadm-config",
                "ClusterConfiguration",
                &text,
            );
            let failed = "error uploading the kubeadm ClusterConfiguration";
            self.write(&cluster, &object, failed).await?;
            for object in objects::kubeadm_config_rules() {
                self.write(&cluster, &object, failed).await?;
            }
        }
        if what != "kubeadm" {
            printer.line("[kubelet] Creating a ConfigMap \"kubelet-config\" in namespace kube-system with the configuration for the kubelets in the cluster");
            let failed = "error creating kubelet configuration ConfigMap";
            let object = self.kubelet_config();
            self.write(&cluster, &object, failed).await?;
            for object in objects::kubelet_config_rules() {
                self.write(&cluster, &object, failed).await?;
            }
        }
        Ok(())
    }

    fn kubelet_config(&self) -> Value {
        let components = &self.initial.components;
        let given = components.iter().find(|document| {
            ComponentConfig::of_kind(&document.kind) == Some(ComponentConfig::Kubelet)
        });
        let config =
            kubelet_component_config(&self.initial.cluster, given.map(|document| &document.value));
        let text = to_yaml(&config);
        let mut object = config_map("kube-system", "kubelet-config", "kubelet", &text);
        if given.is_none() {
            // Marks that nobody wrote it by hand, so that an upgrade may replace it.
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
            let hex: String = digest
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            object["metadata"]["annotations"] =
                json!({"kubeadm.kubernetes.io/component-config.hash": format!("sha256:{hex}")});
        }
        object
    }

    fn blueprint(&self) -> Result<ClusterBlueprint, Refusal> {
        ClusterBlueprint::parse(&self.initial.cluster.to_document())
            .map_err(|error| Refusal::usage(error.to_string()))
    }

    async fn upload_certs(&self, printer: Printer) -> Result<(), Refusal> {
        if !self.line.is_on("upload-certs") {
            printer.line("[upload-certs] Skipping phase. Please see --upload-certs");
            return Ok(());
        }
        let blueprint = self.blueprint()?;
        for ca in ["ca", "front-proxy-ca"] {
            let at = |end: &str| blueprint.certificate_path(&format!("{ca}.{end}"));
            if Path::new(&at("crt")).exists() && !Path::new(&at("key")).exists() {
                return Err(Refusal::failed(
                    "can't use upload-certs with an external CA or an external front-proxy CA",
                ));
            }
        }
        let given = &self.initial.init.certificate_key;
        let key = if given.expose().is_empty() {
            CertificateKey::generate(&mut crate::entropy::fill)
        } else {
            CertificateKey::parse(given.expose())
                .map_err(|error| Refusal::usage(error.to_string()))?
        };
        let mut certs = SharedCerts::new();
        for file in shared_files(&blueprint) {
            let content = if file.path.is_empty() {
                Secret::new(Vec::new())
            } else {
                files::read(&file.path)
                    .map_err(|refusal| refusal.in_front("error uploading certs"))?
            };
            certs.put(file.file.name(), content);
        }
        let cluster = self.connect().await?;
        printer.line("[upload-certs] Storing the certificates in Secret \"kubeadm-certs\" in the \"kube-system\" Namespace");
        let sealed = certs
            .seal(&key, &mut crate::entropy::fill)
            .map_err(|error| Refusal::failed(format!("error uploading certs: {error}")))?;
        let owner = self.short_lived_token(&cluster).await?;
        let uid = owner.metadata.uid.unwrap_or_default();
        let object = shared_certs::secret(&sealed, &owner.metadata.name.unwrap_or_default(), &uid);
        for object in [object, shared_certs::role(), shared_certs::role_binding()] {
            self.write(&cluster, &object, "error uploading certs")
                .await?;
        }
        if !self.line.is_on("skip-certificate-key-print") {
            printer.line(format!(
                "[upload-certs] Using certificate key:\n{}",
                key.to_text().expose()
            ));
        }
        Ok(())
    }

    /// The token whose end takes the uploaded certificates along.
    async fn short_lived_token(&self, cluster: &Cluster) -> Result<SecretObject, Refusal> {
        let token = BootstrapToken::generate(&mut crate::entropy::fill);
        let name = token.id().secret_name();
        let ends = Timestamp::now()
            .checked_add(CERTS_LIFE)
            .unwrap_or(Timestamp::MAX);
        let object = shared_certs::token_secret(token, ends);
        self.write(cluster, &object, "error uploading certs")
            .await?;
        if self.dry_run() {
            return serde_json::from_value(object)
                .map_err(|error| Refusal::failed(error.to_string()));
        }
        let secrets: Api<SecretObject> = Api::namespaced(cluster.client.clone(), "kube-system");
        secrets
            .get(&name)
            .await
            .map_err(|error| api("error to get token reference", &error))
    }

    async fn show_join_command(&self, printer: Printer) -> Result<(), Refusal> {
        let cluster = self.connect().await?;
        let kubeconfig = match self.line.text_or_default("kubeconfig") {
            "" => "/etc/kubernetes/admin.conf",
            path => path,
        };
        let key = self.initial.init.certificate_key.expose();
        for token in &self.initial.init.bootstrap_tokens {
            let token = token.token.expose();
            let control_plane = join_command(&cluster, token, Some((key.as_str(), "")))?;
            let worker = join_command(&cluster, token, None)?;
            let endpoint = &self.initial.cluster.control_plane_endpoint;
            printer.text(show_join(
                kubeconfig,
                !endpoint.is_empty(),
                !key.is_empty(),
                &control_plane,
                &worker,
            ));
        }
        Ok(())
    }

    async fn mark_control_plane(&self, printer: Printer) -> Result<(), Refusal> {
        let node = &self.initial.init.node_registration;
        let taints = node.taints.clone().unwrap_or_default();
        mark_control_plane(
            &self.connect().await?,
            &node.name,
            &taints,
            self.dry_run(),
            printer,
        )
        .await
    }

    async fn kubelet_finalize(&self, printer: Printer) -> Result<(), Refusal> {
        let arguments = &self.initial.init.node_registration.kubelet_extra_args;
        let folder = arguments.iter().rfind(|arg| arg.name == "cert-dir");
        let folder = folder.map_or("/var/lib/kubelet/pki", |arg| arg.value.as_str());
        let pem = format!("{folder}/kubelet-client-current.pem");
        if !Path::new(&pem).exists() {
            return Ok(());
        }
        let conf = "/etc/kubernetes/kubelet.conf";
        printer.line(format!(
            "[kubelet-finalize] Updating {conf:?} to point to a rotatable kubelet client certificate and key"
        ));
        if self.dry_run() {
            return Ok(());
        }
        let text = files::read(conf)
            .map_err(|refusal| refusal.in_front(&format!("could not load {conf:?}")))?;
        let rotated = rotatable(text.expose(), &pem, conf)?;
        files::write(conf, rotated.as_bytes(), 0o600)?;
        restart_kubelet(printer).await;
        Ok(())
    }
}

/// kubelet.conf with the rotated file in place of embedded credentials.
fn rotatable(text: &[u8], pem: &str, path: &str) -> Result<String, Refusal> {
    let invalid = |what: &str| {
        Refusal::failed(format!(
            "the file {path:?} is not a valid kubeconfig: {what}"
        ))
    };
    Kubeconfig::parse(text)
        .and_then(|kubeconfig| kubeconfig.resolve().map(|_| ()))
        .map_err(|error| invalid(&error.to_string()))?;
    let mut value: Value =
        serde_saphyr::from_slice(text).map_err(|error| invalid(&error.to_string()))?;
    let context = value["current-context"].clone();
    let contexts = value["contexts"].as_array().cloned().unwrap_or_default();
    let user = contexts
        .iter()
        .find(|entry| entry["name"] == context)
        .map(|entry| entry["context"]["user"].clone())
        .ok_or_else(|| invalid("the current context is not in the list of contexts"))?;
    let users = value["users"]
        .as_array_mut()
        .ok_or_else(|| invalid("it has no users"))?;
    let entry = users
        .iter_mut()
        .find(|entry| entry["name"] == user)
        .ok_or_else(|| invalid("the user of the current context is not in the list of users"))?;
    if let Some(user) = entry["user"].as_object_mut() {
        user.remove("client-certificate-data");
        user.remove("client-key-data");
        user.insert("client-certificate".into(), json!(pem));
        user.insert("client-key".into(), json!(pem));
    }
    Ok(to_yaml(&value))
}

/// As kubeadm: a kubelet that does not restart is only told.
async fn restart_kubelet(printer: Printer) {
    let with_systemd = Path::new("/run/systemd/system").exists();
    let (program, arguments) = if with_systemd {
        ("systemctl", ["restart", "kubelet"])
    } else {
        ("rc-service", ["kubelet", "restart"])
    };
    let ended = tokio::process::Command::new(program)
        .args(arguments)
        .status()
        .await;
    if !ended.is_ok_and(|status| status.success()) {
        printer.line("[kubelet-start] WARNING: unable to restart the kubelet service momentarily: restart it by hand");
    }
}

/// Labels and taints a Node as one of the control plane, once it is there.
async fn mark_control_plane(
    cluster: &Cluster,
    name: &str,
    taints: &[NodeTaint],
    dry_run: bool,
    printer: Printer,
) -> Result<(), Refusal> {
    let labels = [
        "node-role.kubernetes.io/control-plane",
        "node.kubernetes.io/exclude-from-external-load-balancers",
    ];
    printer.line(format!(
        "[mark-control-plane] Marking the node {name} as control-plane by adding the labels: [{}]",
        labels.join(" ")
    ));
    if !taints.is_empty() {
        let shown: Vec<String> = taints.iter().map(shown_taint).collect();
        printer.line(format!(
            "[mark-control-plane] Marking the node {name} as control-plane by adding the taints [{}]",
            shown.join(" ")
        ));
    }
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let node = loop {
        match nodes.get_opt(name).await {
            Ok(Some(node)) => break node,
            Ok(None) if tokio::time::Instant::now() < deadline && !dry_run => {
                tokio::time::sleep(NODE_PAUSE).await
            }
            Ok(None) => {
                return Err(Refusal::failed(format!(
                    "error patching Node {name:?}: nodes {name:?} not found"
                )));
            }
            Err(error) => return Err(api(&format!("error patching Node {name:?}"), &error)),
        }
    };
    let spec = serde_json::to_value(node.spec.unwrap_or_default()).unwrap_or_default();
    let wanted: Vec<Value> = taints.iter().map(|taint| json!(taint)).collect();
    let kept = spec["taints"].as_array().cloned().unwrap_or_default();
    let kept = kept.into_iter().filter(|taint| !wanted.contains(taint));
    let all: Vec<Value> = wanted.iter().cloned().chain(kept).collect();
    let patch = json!({
        // Another writer's taints are not to be lost: the patch is for the Node that was seen.
        "metadata": {
            "resourceVersion": node.metadata.resource_version,
            "labels": labels.iter().map(|label| ((*label).to_owned(), json!(""))).collect::<serde_json::Map<_, _>>(),
        },
        "spec": {"taints": all},
    });
    let parameters = PatchParams {
        dry_run,
        ..PatchParams::default()
    };
    nodes
        .patch(name, &parameters, &Patch::Merge(&patch))
        .await
        .map(|_| ())
        .map_err(|error| api(&format!("error patching Node {name:?}"), &error))
}

fn shown_taint(taint: &NodeTaint) -> String {
    match (taint.value.as_str(), taint.effect.as_str()) {
        ("", "") => taint.key.clone(),
        ("", effect) => format!("{}:{effect}", taint.key),
        (value, effect) => format!("{}={value}:{effect}", taint.key),
    }
}

/// The page at the end of an init.
fn show_join(
    kubeconfig: &str,
    several: bool,
    with_key: bool,
    control_plane: &str,
    worker: &str,
) -> String {
    let mut text = format!(
        "
Your Kubernetes control-plane has initialized successfully!

To start using your cluster, you need to run the following as a regular user:

  mkdir -p $HOME/.kube
  sudo cp -i {kubeconfig} $HOME/.kube/config
  sudo chown $(id -u):$(id -g) $HOME/.kube/config

Alternatively, if you are the root user, you can run:

  export KUBECONFIG=/etc/kubernetes/admin.conf

You should now deploy a pod network to the cluster.
Run \"kubectl apply -f [podnetwork].yaml\" with one of the options listed at:
  https://kubernetes.io/docs/concepts/cluster-administration/addons/

"
    );
    if several && with_key {
        text.push_str(&format!(
            "You can now join any number of control-plane nodes running the following command on each as root:

  {control_plane}

Please note that the certificate-key gives access to cluster sensitive data, keep it secret!
As a safeguard, uploaded-certs will be deleted in two hours; If necessary, you can use
\"kubeadm init phase upload-certs --upload-certs\" to reload certs afterward.

"
        ));
    } else if several {
        text.push_str(&format!(
            "You can now join any number of control-plane nodes by copying certificate authorities
and service account keys on each node and then running the following as root:

  {control_plane}

"
        ));
    }
    text.push_str(&format!(
        "Then you can join any number of worker nodes by running the following on each as root:

{worker}
"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_credentials_give_way_to_the_rotated_file() {
        let conf = "apiVersion: v1
kind: Config
clusters:
- cluster: {server: \"https://k:6443\"}
  name: kubernetes
contexts:
- context: {cluster: kubernetes, user: me}
  name: me@kubernetes
current-context: me@kubernetes
users:
- name: me
  user: {client-certificate: /a, client-key: /b}
";
        let text = rotatable(conf.as_bytes(), "/pki/current.pem", "x").unwrap();
        assert!(
            text.contains("client-certificate: /pki/current.pem\n"),
            "{text}"
        );
        assert!(text.contains("client-key: /pki/current.pem\n"), "{text}");
        assert!(rotatable(b"kind: Config", "/p", "x").is_err());
    }
}
