//! `certs`: the certificates of a control-plane node on this machine: when they end, and new ones in their place.

use super::line::Parsed;
use super::output::{Fields, Format, object};
use super::refusal::{Refusal, api};
use super::{ambient, config, files, objects};
use crate::cluster;
use crate::printer::Printer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use muster_identity::pki::{IssueRequest, Validity};
use muster_identity::{
    Certificate, CertificateAuthority, CertificateBundle, PrivateKey, human_duration,
};
use muster_kubeadm::config::{
    Ambient, ClusterConfiguration, DEFAULT_CRI_SOCKET, InitConfiguration, KUBERNETES_VERSION,
    Strictness, read_init, resolve_init, to_yaml,
};
use muster_kubeadm::kubeconfigs::ControlPlaneConf;
use muster_kubeadm::pki::{Authority, Leaf, authorities, leaves};
use muster_kubeadm::shared_certs::CertificateKey;
use muster_kubeadm::{Blueprint, ClusterBlueprint, ControlPlaneNode};
use serde_json::{Value, json};
use std::path::Path;

/// Where kubeconfigs lie.
const KUBERNETES_DIR: &str = "/etc/kubernetes";
/// As kubeadm: certificates begin a little earlier, for clocks that differ.
const BACKDATE: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

/// Carries out `certs …`.
pub(super) async fn run(path: &[&str], line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    match path {
        ["certificate-key"] => {
            let key = CertificateKey::generate(&mut crate::entropy::fill);
            printer.line(key.to_text().expose());
            Ok(())
        }
        ["check-expiration"] => check_expiration(line, printer).await,
        ["renew", name] => renew(name, line, printer).await,
        ["generate-csr"] => generate_csr(line, printer),
        _ => Err(Refusal::usage("subcommand is required")),
    }
}

/// One certificate that is looked after.
#[derive(Clone, Copy)]
enum Kept {
    Leaf(Leaf),
    Conf(ControlPlaneConf),
}

impl Kept {
    fn all(cluster: &ClusterBlueprint) -> Vec<Self> {
        let confs = ControlPlaneConf::ALL.map(Self::Conf);
        let mut all: Vec<Self> = leaves(cluster)
            .into_iter()
            .map(Self::Leaf)
            .chain(confs)
            .collect();
        all.sort_by_key(|kept| kept.name());
        all
    }

    fn name(self) -> &'static str {
        match self {
            Self::Leaf(leaf) => leaf.name(),
            Self::Conf(conf) => conf.file_name(),
        }
    }

    fn long_name(self) -> &'static str {
        match self {
            Self::Leaf(leaf) => leaf.long_name(),
            Self::Conf(ControlPlaneConf::Admin) => {
                "certificate embedded in the kubeconfig file for the admin to use and for kubeadm itself"
            }
            Self::Conf(ControlPlaneConf::SuperAdmin) => {
                "certificate embedded in the kubeconfig file for the super-admin"
            }
            Self::Conf(ControlPlaneConf::ControllerManager) => {
                "certificate embedded in the kubeconfig file for the controller manager to use"
            }
            Self::Conf(ControlPlaneConf::Scheduler) => {
                "certificate embedded in the kubeconfig file for the scheduler manager to use"
            }
        }
    }

    fn authority(self) -> Authority {
        match self {
            Self::Leaf(leaf) => leaf.authority(),
            Self::Conf(_) => Authority::Cluster,
        }
    }

    fn path(self, cluster: &ClusterBlueprint) -> String {
        match self {
            Self::Leaf(leaf) => cluster.certificate_path(&format!("{}.crt", leaf.base_name())),
            Self::Conf(conf) => format!("{KUBERNETES_DIR}/{}", conf.file_name()),
        }
    }

    /// The certificate; `None` when its file is not there.
    fn read(self, cluster: &ClusterBlueprint) -> Result<Option<Certificate>, Refusal> {
        let path = self.path(cluster);
        if !Path::new(&path).exists() {
            return Ok(None);
        }
        let content = files::read(&path)?;
        let pem = match self {
            Self::Leaf(_) => content.expose().clone(),
            Self::Conf(_) => {
                let mut value = kubeconfig_value(content.expose(), &path)?;
                let user = current_user(&mut value, &path)?;
                let data = user["client-certificate-data"].as_str().unwrap_or_default();
                STANDARD
                    .decode(data)
                    .map_err(|_| malformed(&path, "the certificate is no base64"))?
            }
        };
        first_certificate(&pem, &path).map(Some)
    }
}

fn malformed(path: &str, what: &str) -> Refusal {
    Refusal::failed(format!("failed to load {path}: {what}"))
}

fn first_certificate(pem: &[u8], path: &str) -> Result<Certificate, Refusal> {
    let bundle =
        CertificateBundle::from_pem(pem).map_err(|error| malformed(path, &error.to_string()))?;
    let first = bundle.certificates().first().cloned();
    first.ok_or_else(|| malformed(path, "it holds no certificate"))
}

fn kubeconfig_value(text: &[u8], path: &str) -> Result<Value, Refusal> {
    muster_identity::Kubeconfig::parse(text)
        .map_err(|error| malformed(path, &error.to_string()))?;
    serde_saphyr::from_slice(text).map_err(|error| malformed(path, &error.to_string()))
}

/// The user of a kubeconfig's current context.
fn current_user<'v>(value: &'v mut Value, path: &str) -> Result<&'v mut Value, Refusal> {
    let current = value["current-context"].clone();
    let contexts = value["contexts"].as_array().cloned().unwrap_or_default();
    let name = contexts
        .iter()
        .find(|entry| entry["name"] == current)
        .map(|entry| entry["context"]["user"].clone())
        .ok_or_else(|| malformed(path, "it has no current context"))?;
    let users = value["users"].as_array_mut();
    let found = users.and_then(|users| users.iter_mut().find(|entry| entry["name"] == name));
    found
        .map(|entry| &mut entry["user"])
        .ok_or_else(|| malformed(path, "the user of its current context is missing"))
}

/// The cluster's configuration: of `--config`, of the cluster if it answers, else kubeadm's defaults.
async fn blueprint(
    line: &Parsed,
    tag: &str,
    tells: bool,
    printer: Printer,
) -> Result<ClusterBlueprint, Refusal> {
    let file = line.text("config").filter(|path| !path.is_empty());
    let kubeconfig = match line.text_or_default("kubeconfig") {
        "" => "/etc/kubernetes/admin.conf",
        path => path,
    };
    let mut published = None;
    if file.is_none() && Path::new(kubeconfig).exists() {
        let say = |text: &str| {
            if tells {
                printer.line(format!("[{tag}] {text}"));
            }
        };
        say(
            "Reading configuration from the \"kubeadm-config\" ConfigMap in namespace \"kube-system\"...",
        );
        say(
            "Use 'kubeadm init phase upload-config kubeadm --config your-config-file' to re-upload it.",
        );
        match fetch(kubeconfig).await {
            Ok(cluster) => {
                if tells {
                    printer.line("");
                }
                published = Some(cluster);
            }
            Err(refusal) => {
                tracing::info!(reason = %refusal.render(5), "the cluster's configuration cannot be read");
                say(
                    "Error reading configuration from the Cluster. Falling back to default configuration\n",
                );
            }
        }
    }
    let mut cluster = match (published, file) {
        (Some(cluster), _) => cluster,
        (None, Some(path)) => {
            let read = read_init(&config::read_file(path)?, &elsewhere(), Strictness::Lenient)?;
            config::tell(&read.warnings, printer);
            // The file says where the certificates are, unless the flag was given.
            return parse(&read.value.cluster, line.text("cert-dir"));
        }
        (None, None) => defaults()?.1,
    };
    let folder = line.text_or_default("cert-dir");
    if !folder.is_empty() {
        folder.clone_into(&mut cluster.certificates_dir);
    }
    parse(&cluster, None)
}

fn parse(
    cluster: &ClusterConfiguration,
    folder: Option<&str>,
) -> Result<ClusterBlueprint, Refusal> {
    let mut cluster = cluster.clone();
    if let Some(folder) = folder.filter(|folder| !folder.is_empty()) {
        folder.clone_into(&mut cluster.certificates_dir);
    }
    ClusterBlueprint::parse(&cluster.to_document())
        .map_err(|error| Refusal::usage(error.to_string()))
}

/// A machine whose container runtime is no matter.
pub(super) fn elsewhere() -> Ambient {
    Ambient {
        cri_sockets: vec![DEFAULT_CRI_SOCKET.to_owned()],
        ..ambient::gather()
    }
}

fn defaults() -> Result<(InitConfiguration, ClusterConfiguration), Refusal> {
    let cluster = ClusterConfiguration {
        kubernetes_version: KUBERNETES_VERSION.to_owned(),
        ..ClusterConfiguration::default()
    };
    let read = resolve_init(InitConfiguration::default(), cluster, &elsewhere())?;
    Ok((read.value.init, read.value.cluster))
}

async fn fetch(kubeconfig: &str) -> Result<ClusterConfiguration, Refusal> {
    let cluster = cluster::connect(Some(Path::new(kubeconfig))).await?;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client, "kube-system");
    let map = maps
        .get("kubeadm-config")
        .await
        .map_err(|error| api("failed to get config map", &error))?;
    let data = map.data.unwrap_or_default();
    let text = data
        .get("ClusterConfiguration")
        .map(String::as_str)
        .unwrap_or_default();
    Ok(ClusterConfiguration::from_document(text)?)
}

fn authority_file(authority: Authority, cluster: &ClusterBlueprint, end: &str) -> String {
    cluster.certificate_path(&format!("{}.{end}", authority.base_name()))
}

fn is_external(authority: Authority, cluster: &ClusterBlueprint) -> bool {
    let there = |end: &str| Path::new(&authority_file(authority, cluster, end)).exists();
    there("crt") && !there("key")
}

fn seconds_left(certificate: &Certificate, now: Timestamp) -> i64 {
    certificate.not_after().duration_since(now).as_secs()
}

fn entry(
    name: &str,
    certificate: Option<&Certificate>,
    ca: Option<&str>,
    external: bool,
) -> Fields<'static> {
    let mut fields = vec![("name", json!(name))];
    match certificate {
        Some(certificate) => {
            let end = certificate
                .not_after()
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string();
            fields.push(("expirationDate", json!(end)));
            fields.push((
                "residualTime",
                json!(seconds_left(certificate, Timestamp::now())),
            ));
        }
        None => {
            fields.push(("expirationDate", Value::Null));
            fields.push(("residualTime", json!(0)));
        }
    }
    fields.push(("externallyManaged", json!(external)));
    if let Some(ca) = ca.filter(|_| certificate.is_some()) {
        fields.push(("caName", json!(ca)));
    }
    fields.push(("missing", json!(certificate.is_none())));
    fields
}

fn row(name: &str, certificate: Option<&Certificate>, ca: Option<&str>, external: bool) -> String {
    let Some(certificate) = certificate else {
        return format!(
            "!MISSING! {name}\t\t\t{}",
            if ca.is_some() { "\t" } else { "" }
        );
    };
    let left = jiff::SignedDuration::from_secs(seconds_left(certificate, Timestamp::now()));
    let end = certificate.not_after().strftime("%b %d, %Y %H:%M UTC");
    let ca = ca.map(|ca| format!("{ca}\t")).unwrap_or_default();
    let external = if external { "yes" } else { "no" };
    format!("{name}\t{end}\t{}\t{ca}{external:<8}", human_duration(left))
}

async fn check_expiration(line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let format = Format::of(line)?;
    let cluster = blueprint(line, "check-expiration", format.is_text(), printer).await?;
    let mut rows = vec![
        "CERTIFICATE\tEXPIRES\tRESIDUAL TIME\tCERTIFICATE AUTHORITY\tEXTERNALLY MANAGED".to_owned(),
    ];
    let mut leaves = Vec::new();
    for kept in Kept::all(&cluster) {
        let certificate = kept.read(&cluster)?;
        let external = certificate.is_some() && is_external(kept.authority(), &cluster);
        let ca = Some(kept.authority().name());
        rows.push(row(kept.name(), certificate.as_ref(), ca, external));
        leaves.push(object(&entry(
            kept.name(),
            certificate.as_ref(),
            ca,
            external,
        )));
    }
    rows.push(String::new());
    rows.push("CERTIFICATE AUTHORITY\tEXPIRES\tRESIDUAL TIME\tEXTERNALLY MANAGED".to_owned());
    let mut all = authorities(&cluster);
    all.sort_by_key(|authority| authority.name());
    let mut cas = Vec::new();
    for authority in all {
        let path = authority_file(authority, &cluster, "crt");
        let certificate = match Path::new(&path).exists() {
            true => Some(first_certificate(files::read(&path)?.expose(), &path)?),
            false => None,
        };
        let external = is_external(authority, &cluster);
        rows.push(row(authority.name(), certificate.as_ref(), None, external));
        cas.push(object(&entry(
            authority.name(),
            certificate.as_ref(),
            None,
            external,
        )));
    }
    if format.is_text() {
        printer.text(objects::table(&rows, 10, 3));
        return Ok(());
    }
    let fields = [
        ("kind", json!("CertificateExpirationInfo")),
        ("apiVersion", json!("output.kubeadm.k8s.io/v1alpha3")),
        ("certificates", json!(leaves)),
        ("certificateAuthorities", json!(cas)),
    ];
    format.print(&fields, true, printer)
}

async fn renew(name: &str, line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let cluster = blueprint(line, "renew", true, printer).await?;
    let wanted: Vec<Kept> = Kept::all(&cluster)
        .into_iter()
        .filter(|kept| name == "all" || kept.name() == name)
        .collect();
    if wanted.is_empty() {
        return Err(Refusal::failed(format!(
            "{name} is not a valid certificate for this cluster"
        )));
    }
    for kept in wanted {
        renew_one(kept, &cluster, printer)?;
    }
    if name == "all" {
        printer.line("\nDone renewing certificates. You must restart the kube-apiserver, kube-controller-manager, kube-scheduler and etcd, so that they can use the new certificates.");
    }
    Ok(())
}

fn load(authority: Authority, cluster: &ClusterBlueprint) -> Result<CertificateAuthority, Refusal> {
    let certificate = files::read(&authority_file(authority, cluster, "crt"))?;
    let key = files::read(&authority_file(authority, cluster, "key"))?;
    CertificateAuthority::load(certificate.expose(), key.expose()).map_err(|error| {
        Refusal::failed(format!(
            "couldn't load {} certificate authority from {}: {error}",
            authority.base_name(),
            cluster.certificates_dir
        ))
    })
}

/// A new key and a new certificate with what stands in the old one, whatever life that has left.
fn renew_one(kept: Kept, cluster: &ClusterBlueprint, printer: Printer) -> Result<(), Refusal> {
    let Some(old) = kept.read(cluster)? else {
        printer.line(format!("MISSING! {}", kept.long_name()));
        return Ok(());
    };
    if is_external(kept.authority(), cluster) {
        printer.line(format!(
            "Detected external {}, {} can't be renewed",
            kept.authority().base_name(),
            kept.long_name()
        ));
        return Ok(());
    }
    let failed = |error: String| {
        Refusal::failed(format!(
            "failed to renew certificate {}: {error}",
            kept.name()
        ))
    };
    let authority = load(kept.authority(), cluster)?;
    let key = cluster
        .key_algorithm
        .generate(&mut crate::entropy::fill)
        .map_err(|error| failed(error.to_string()))?;
    let now = Timestamp::now();
    let request = IssueRequest {
        subject: old.subject().clone(),
        sans: old.subject_alt_names().clone(),
        usages: old.usages().to_vec(),
        public_key: key.public_key().clone(),
        validity: Validity::Between {
            not_before: now.checked_sub(BACKDATE).unwrap_or(now),
            not_after: now
                .checked_add(cluster.certificate_validity)
                .unwrap_or(Timestamp::MAX),
        },
    };
    let new = authority
        .issue(&request, now, &mut crate::entropy::fill)
        .map_err(|error| failed(error.to_string()))?;
    write(kept, cluster, &new, &key)?;
    printer.line(format!("{} renewed", kept.long_name()));
    Ok(())
}

fn write(
    kept: Kept,
    cluster: &ClusterBlueprint,
    new: &Certificate,
    key: &PrivateKey,
) -> Result<(), Refusal> {
    let path = kept.path(cluster);
    match kept {
        Kept::Leaf(leaf) => {
            // The key first: a certificate without its key would stop the component, an old one with a new key too,
            // so both are replaced at once as far as a file system can.
            let key_path = cluster.certificate_path(&format!("{}.key", leaf.base_name()));
            files::write(&key_path, key.to_pem().expose().as_bytes(), 0o600)?;
            files::write(&path, new.to_pem().as_bytes(), 0o644)
        }
        Kept::Conf(_) => {
            let mut value = kubeconfig_value(files::read(&path)?.expose(), &path)?;
            let user = current_user(&mut value, &path)?;
            user["client-certificate-data"] = json!(STANDARD.encode(new.to_pem()));
            user["client-key-data"] = json!(STANDARD.encode(key.to_pem().expose()));
            files::write(&path, to_yaml(&value).as_bytes(), 0o600)
        }
    }
}

/// Keys, signing requests and unfinished kubeconfigs, for an authority elsewhere.
fn generate_csr(line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let read = match line.text("config").filter(|path| !path.is_empty()) {
        Some(path) => read_init(&config::read_file(path)?, &elsewhere(), Strictness::Lenient)?,
        None => resolve_init(
            InitConfiguration::default(),
            ClusterConfiguration::default(),
            &elsewhere(),
        )?,
    };
    config::tell(&read.warnings, printer);
    let cluster = parse(&read.value.cluster, line.text("cert-dir"))?;
    let node = node_of(&read.value.init, &cluster)?;
    let blueprint = Blueprint { cluster, node };
    printer.line(format!(
        "generating keys and CSRs in {}",
        blueprint.cluster.certificates_dir
    ));
    for leaf in Leaf::ALL {
        let profile = leaf
            .profile(&blueprint)
            .map_err(|error| Refusal::usage(error.to_string()))?;
        let base = blueprint.cluster.certificate_path(leaf.base_name());
        fresh(&[&format!("{base}.key"), &format!("{base}.csr")])?;
        let key = new_key(&blueprint)?;
        let request = profile
            .request(&key)
            .map_err(|error| Refusal::failed(error.to_string()))?;
        files::write(
            &format!("{base}.key"),
            key.to_pem().expose().as_bytes(),
            0o600,
        )?;
        files::write(&format!("{base}.csr"), request.to_pem().as_bytes(), 0o600)?;
        printer.line(format!("  {}", leaf.base_name()));
    }
    let folder = match line.text_or_default("kubeconfig-dir") {
        "" => KUBERNETES_DIR,
        folder => folder,
    };
    printer.line(format!("generating keys and CSRs in {folder}"));
    for (name, user, groups, server) in unfinished(&blueprint) {
        let path = format!("{folder}/{name}");
        fresh(&[&path, &format!("{path}.csr")])?;
        let key = new_key(&blueprint)?;
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let profile = muster_kubeadm::pki::Profile::client(&user, &groups);
        let request = profile
            .request(&key)
            .map_err(|error| Refusal::failed(error.to_string()))?;
        let context = format!("{user}@{}", blueprint.cluster.cluster_name);
        let conf = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": blueprint.cluster.cluster_name, "cluster": {"server": server}}],
            "contexts": [{"name": context, "context": {"cluster": blueprint.cluster.cluster_name, "user": user}}],
            "current-context": context,
            "users": [{"name": user, "user": {"client-key-data": STANDARD.encode(key.to_pem().expose())}}],
        });
        files::write(&path, to_yaml(&conf).as_bytes(), 0o600)?;
        files::write(&format!("{path}.csr"), request.to_pem().as_bytes(), 0o600)?;
        printer.line(format!("  {name}"));
    }
    Ok(())
}

fn unfinished(blueprint: &Blueprint) -> Vec<(&'static str, String, Vec<String>, String)> {
    let mut all: Vec<_> = ControlPlaneConf::ALL
        .into_iter()
        .map(|conf| {
            let (user, groups) = conf.user();
            let groups = groups.iter().map(|group| (*group).to_owned()).collect();
            (
                conf.file_name(),
                user.to_owned(),
                groups,
                conf.server(blueprint),
            )
        })
        .collect();
    let node = format!("system:node:{}", blueprint.node.name);
    let server = blueprint.node.url();
    all.push((
        "kubelet.conf",
        node,
        vec!["system:nodes".to_owned()],
        server,
    ));
    all
}

fn fresh(paths: &[&str]) -> Result<(), Refusal> {
    match paths.iter().find(|path| Path::new(path).exists()) {
        Some(path) => Err(Refusal::failed(format!("file already exists: {path}"))),
        None => Ok(()),
    }
}

fn new_key(blueprint: &Blueprint) -> Result<PrivateKey, Refusal> {
    let key = blueprint
        .cluster
        .key_algorithm
        .generate(&mut crate::entropy::fill);
    key.map_err(|error| Refusal::failed(error.to_string()))
}

/// The node that a configuration names.
pub(super) fn node_of(
    init: &InitConfiguration,
    _cluster: &ClusterBlueprint,
) -> Result<ControlPlaneNode, Refusal> {
    let endpoint = &init.local_api_endpoint;
    let invalid = || {
        Refusal::usage(format!(
            "cannot parse IP address: {}",
            endpoint.advertise_address
        ))
    };
    let address = endpoint.advertise_address.parse().map_err(|_| invalid())?;
    let port = u16::try_from(endpoint.bind_port).map_err(|_| invalid())?;
    Ok(ControlPlaneNode {
        name: init.node_registration.name.clone(),
        advertise_address: address,
        bind_port: port,
        component_seconds: 240,
        proxies: std::collections::BTreeMap::new(),
        ca_dirs: Vec::new(),
    })
}
