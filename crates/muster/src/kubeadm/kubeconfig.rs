//! `kubeconfig user`: a kubeconfig for somebody more, with a certificate of the cluster's CA or with a token.

use super::line::Parsed;
use super::refusal::{Refusal, warning};
use super::{certs, config, files};
use crate::printer::Printer;
use jiff::Timestamp;
use muster_identity::{CertificateAuthority, CertificateBundle, GoDuration, Kubeconfig, Secret};
use muster_kubeadm::config::{
    ClusterConfiguration, InitConfiguration, Strictness, read_init, resolve_init,
};
use muster_kubeadm::kubeconfigs::{Client, client_conf};
use muster_kubeadm::{Blueprint, ClusterBlueprint};

/// Carries out `kubeconfig user`.
pub(super) fn user(line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let Some(name) = line.text("client-name") else {
        return Err(Refusal::usage("required flag(s) \"client-name\" not set"));
    };
    let ambient = certs::elsewhere();
    let read = match line.text("config").filter(|path| !path.is_empty()) {
        Some(path) => read_init(&config::read_file(path)?, &ambient, Strictness::Lenient)?,
        None => resolve_init(
            InitConfiguration::default(),
            ClusterConfiguration::default(),
            &ambient,
        )?,
    };
    config::tell(&read.warnings, printer);
    let life = GoDuration::parse(line.text_or_default("validity-period"))
        .map_err(|error| Refusal::usage(error.to_string()))?;
    let year = GoDuration::from_nanos(365 * 24 * 3_600_000_000_000);
    if life > year {
        printer.note(warning(&format!(
            "WARNING: the specified certificate validity period {life} is longer than the default duration {year}, this may increase security risks."
        )));
    }
    let mut cluster = ClusterBlueprint::parse(&read.value.cluster.to_document())
        .map_err(|error| Refusal::usage(error.to_string()))?;
    cluster.certificate_validity = life.to_signed_duration();
    let node = certs::node_of(&read.value.init, &cluster)?;
    let server = cluster.server(&node);
    let blueprint = Blueprint { cluster, node };
    let unusable = |text: String| {
        Refusal::failed(format!(
            "couldn't create a kubeconfig; the CA files couldn't be loaded: {text}"
        ))
    };
    let read_file = |end: &str| {
        let path = blueprint.cluster.certificate_path(&format!("ca.{end}"));
        files::read(&path).map_err(|refusal| {
            let what = if end == "crt" {
                format!("failed to load certificate: couldn't load the certificate file {path}")
            } else {
                format!("failed to load key: couldn't load the private key file {path}")
            };
            refusal
                .in_front(&what)
                .in_front("couldn't create a kubeconfig; the CA files couldn't be loaded")
        })
    };
    let certificate = read_file("crt")?;
    let text: Secret<String> = match line.text("token").filter(|token| !token.is_empty()) {
        Some(token) => {
            let bundle = CertificateBundle::from_pem(certificate.expose())
                .map_err(|error| unusable(error.to_string()))?;
            let token = Secret::new(token.to_owned());
            with_cluster_name(
                &blueprint.cluster.cluster_name,
                name,
                &server,
                &bundle,
                &token,
            )
        }
        None => {
            let key = read_file("key")?;
            let authority = CertificateAuthority::load(certificate.expose(), key.expose())
                .map_err(|error| unusable(error.to_string()))?;
            let groups = line.list("org");
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            let client = Client {
                user: name,
                groups: &groups,
                server: &server,
            };
            client_conf(
                &client,
                &blueprint,
                &authority,
                Timestamp::now(),
                &mut crate::entropy::fill,
            )
            .map_err(|error| Refusal::failed(error.to_string()))?
        }
    };
    // Parsed once more: what is printed can be used.
    Kubeconfig::parse(text.expose().as_bytes())
        .map_err(|error| Refusal::failed(error.to_string()))?;
    printer.line(text.expose());
    Ok(())
}

fn with_cluster_name(
    cluster: &str,
    user: &str,
    server: &str,
    authorities: &CertificateBundle,
    token: &Secret<String>,
) -> Secret<String> {
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.encode(authorities.to_pem());
    let context = format!("{user}@{cluster}");
    Secret::new(muster_kubeadm::config::to_yaml(&serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": server, "certificate-authority-data": data}}],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": user}}],
        "current-context": context,
        "users": [{"name": user, "user": {"token": token.expose()}}],
    })))
}
