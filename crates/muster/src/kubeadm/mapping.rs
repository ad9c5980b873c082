//! From a JoinConfiguration to what a join is asked for: the one place where both faces agree.
//!
//! It reads the files that a configuration names (discovery, patches) and asks nobody. It refuses to know flags.

use crate::exit::Failure;
use crate::{handshake_failure, signals};
use jiff::SignedDuration;
use muster_fleet::{Credential, JoinOptions};
use muster_handshake::HandshakeError;
use muster_handshake::discovery::Trusting;
use muster_identity::{BootstrapToken, CaPin, Endpoint, NodeName, Secret};
use muster_kubeadm::config::{JoinConfiguration, NodeTaint, Span};
use muster_kubeadm::patches::Patches;
use muster_kubeadm::shared_certs::CertificateKey;
use muster_net::Introduction;
use muster_plan::paths::Root;
use muster_plan::{
    ControlPlaneRequest, IgnoreSet, JoinRequest, KubeletPreference, Runtime, Taint, Wait,
};
use std::path::{Path, PathBuf};

/// A discovery file that is fetched is small; a server that takes longer is not going to answer.
const FILE_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

/// A fresh token is signed for within moments: one that is not by then is unknown.
const SIGNATURE_PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// What a configuration file does not say.
pub(crate) struct Surroundings {
    /// What stands for `/`.
    pub(crate) root: Root,
    /// Which kubelet.
    pub(crate) kubelet: KubeletPreference,
    /// No container runtime: a simulated node.
    pub(crate) hollow: bool,
    /// What counts as joined.
    pub(crate) wait: Wait,
    /// Whether a token that is not signed for yet, and a server that does not answer yet, are waited for a moment.
    pub(crate) patient: bool,
    /// Only say what would be done.
    pub(crate) dry_run: bool,
    /// The administrator's kubeconfig that a control-plane node has already: with it nothing is discovered, and it is
    /// what the node's certificate is asked for with.
    pub(crate) admin_conf: Option<PathBuf>,
}

/// What a JoinConfiguration, defaulted and checked, asks for.
///
/// # Errors
/// When a file that it names cannot be used, or a value is none.
pub(crate) async fn join_options(
    join: &JoinConfiguration,
    surroundings: &Surroundings,
) -> Result<JoinOptions, Failure> {
    let credential = credential(join, surroundings).await?;
    let registration = &join.node_registration;
    let name = NodeName::parse(&registration.name)
        .map_err(|error| Failure::usage("the node's name cannot be used").because(&error))?;
    let timeouts = &join.timeouts;
    let names = registration.ignore_preflight_errors.iter();
    let ignore = IgnoreSet::parse(names.map(String::as_str))
        .map_err(|error| Failure::usage("ignorePreflightErrors cannot be used").because(&error))?;
    let mut request = JoinRequest::new(credential.endpoint().clone(), name);
    request.root = surroundings.root.clone();
    request.kubelet = surroundings.kubelet;
    request.executable = executable()?;
    request.runtime = if surroundings.hollow {
        Runtime::Hollow
    } else {
        Runtime::Cri {
            endpoint: Some(registration.cri_socket.clone()),
        }
    };
    request.wait = surroundings.wait;
    request.wait_seconds = seconds(timeouts.tls_bootstrap, 300);
    request.kubelet_seconds = seconds(timeouts.kubelet_health_check, 240);
    request.ignore = ignore;
    request.taints = match (&registration.taints, &join.control_plane) {
        // Control-plane nodes are tainted once they are marked; the kubelet registers workers with theirs.
        (Some(taints), None) => taints.iter().map(taint).collect(),
        _ => Vec::new(),
    };
    request.extra_args = registration
        .kubelet_extra_args
        .iter()
        .map(|argument| (argument.name.clone(), argument.value.clone()))
        .collect();
    if let Some(patches) = join
        .patches
        .as_ref()
        .filter(|patches| !patches.directory.is_empty())
    {
        request.patches = patches_of(&patches.directory)?;
    }
    request.control_plane = control_plane(join)?;
    Ok(JoinOptions {
        request,
        credential,
        cancel: signals::cancelled_when_stopped(),
        dry_run: surroundings.dry_run || join.dry_run,
        keep_on_failure: false,
        entropy: crate::entropy::fill,
        certificate_key: certificate_key(join)?,
    })
}

fn seconds(span: Option<Span>, default: i64) -> u32 {
    u32::try_from(span.map_or(default, Span::as_secs)).unwrap_or(u32::MAX)
}

/// What makes the node a control-plane node.
fn control_plane(join: &JoinConfiguration) -> Result<Option<ControlPlaneRequest>, Failure> {
    let Some(plane) = &join.control_plane else {
        return Ok(None);
    };
    let address = plane.local_api_endpoint.advertise_address.as_str();
    let address = (!address.is_empty()).then(|| address.parse());
    let port = u16::try_from(plane.local_api_endpoint.bind_port).unwrap_or_default();
    let defaults = ControlPlaneRequest::default();
    Ok(Some(ControlPlaneRequest {
        advertise_address: address.transpose().map_err(|error| {
            Failure::usage("the advertise address cannot be used").because(&error)
        })?,
        bind_port: if port == 0 { defaults.bind_port } else { port },
        has_certificate_key: !plane.certificate_key.expose().is_empty(),
        taints: join
            .node_registration
            .taints
            .as_ref()
            .map(|taints| taints.iter().map(taint).collect()),
        component_seconds: limit(join.timeouts.control_plane_component_health_check, 240),
        etcd_seconds: limit(join.timeouts.etcd_api_call, 120),
    }))
}

/// A limit in whole seconds.
fn limit(span: Option<Span>, default: u32) -> u32 {
    let seconds = span.map(|span| u32::try_from(span.as_secs()).unwrap_or(u32::MAX));
    seconds.filter(|seconds| *seconds > 0).unwrap_or(default)
}

fn certificate_key(join: &JoinConfiguration) -> Result<Option<CertificateKey>, Failure> {
    let text = join
        .control_plane
        .as_ref()
        .map(|plane| plane.certificate_key.expose().as_str());
    let key = text
        .filter(|text| !text.is_empty())
        .map(CertificateKey::parse);
    key.transpose()
        .map_err(|error| Failure::usage("the certificate key cannot be used").because(&error))
}

fn taint(taint: &NodeTaint) -> Taint {
    Taint {
        key: taint.key.clone(),
        value: taint.value.clone(),
        effect: taint.effect.clone(),
    }
}

/// How the cluster is found and trusted.
async fn credential(
    join: &JoinConfiguration,
    surroundings: &Surroundings,
) -> Result<Credential, Failure> {
    let limit =
        |span: Option<Span>, default| span.map_or(default, |span| span.0.to_signed_duration());
    let approval_limit = limit(join.timeouts.tls_bootstrap, SignedDuration::from_mins(5));
    if let Some(path) = &surroundings.admin_conf {
        let found = muster_net::introduction_from_file(path);
        let found = found.map_err(|error| handshake_failure(&error))?;
        let mut credential = Credential::introduction(found);
        credential.approval_limit = approval_limit;
        return Ok(credential);
    }
    let discovery = &join.discovery;
    let mut credential = match (&discovery.bootstrap_token, &discovery.file) {
        (Some(own), _) => {
            let endpoint = Endpoint::parse(&own.api_server_endpoint)
                .map_err(|error| Failure::usage("the endpoint cannot be used").because(&error))?;
            let pins: Result<Vec<CaPin>, _> = own
                .ca_cert_hashes
                .iter()
                .map(|text| CaPin::parse(text))
                .collect();
            let pins = pins.map_err(|error| handshake_failure(&HandshakeError::from(error)))?;
            let trusting = if pins.is_empty() {
                Trusting::WhoeverKnowsTheToken
            } else {
                Trusting::Pins(pins)
            };
            Credential::token(endpoint, token(&own.token)?, trusting)
        }
        (None, Some(file)) => Credential::introduction(introduction(&file.kube_config_path).await?),
        (None, None) => return Err(Failure::usage("a join needs a token or a discovery file")),
    };
    let bootstrap = &discovery.tls_bootstrap_token;
    let same = discovery
        .bootstrap_token
        .as_ref()
        .is_some_and(|own| own.token == *bootstrap);
    if !bootstrap.expose().is_empty() && !same {
        credential.tls_bootstrap_token = Some(token(bootstrap)?);
    }
    if surroundings.patient {
        credential.patience = SIGNATURE_PATIENCE;
    }
    credential.approval_limit = approval_limit;
    Ok(credential)
}

fn token(text: &Secret<String>) -> Result<BootstrapToken, Failure> {
    BootstrapToken::parse(text.expose())
        .map_err(|error| handshake_failure(&HandshakeError::from(error)))
}

async fn introduction(place: &str) -> Result<Introduction, Failure> {
    muster_net::introduction(place, None, FILE_LIMIT)
        .await
        .map_err(|error| handshake_failure(&error))
}

/// Reads a patches directory.
pub(crate) fn patches_of(directory: &str) -> Result<Patches, Failure> {
    let unreadable = |path: &Path, error: &std::io::Error| {
        Failure::usage(format!("cannot read {}", path.display())).because(error)
    };
    let folder = Path::new(directory);
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let path = entry.path();
        if path.is_dir() {
            continue;
        }
        let content = std::fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        files.push((entry.file_name().to_string_lossy().into_owned(), content));
    }
    files.sort();
    Patches::read(files)
        .map_err(|error| Failure::usage("the patches cannot be used").because(&error))
}

/// This program, as the kubelet's unit and supervisor will start it: by its file, not by the name that led here.
fn executable() -> Result<String, Failure> {
    let path = std::env::current_exe()
        .and_then(|path| path.canonicalize())
        .map_err(|error| Failure::usage("this program's own path is unknown").because(&error))?;
    Ok(path.to_string_lossy().into_owned())
}
