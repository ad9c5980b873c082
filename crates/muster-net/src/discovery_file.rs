//! Files that introduce a cluster: a path, `file://` or `https://`, in; server, CA and perhaps a credential, out.
//!
//! The format is a kubeconfig, as kubeadm takes it. Over https the server has to be trusted, has to answer 200 in time,
//! and its file may name no files of this machine. Knows neither what is done with the cluster nor command lines.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, HOST, HeaderValue, LOCATION};
use jiff::SignedDuration;
use muster_handshake::HandshakeError;
use muster_identity::kubeconfig::{Material, Resolved};
use muster_identity::{CertificateBundle, Endpoint, Host, Kubeconfig, Secret};
use tokio::time::timeout;

use crate::channel::chain;
use crate::channel::{Body, Channel, collect};
use crate::connect::{DialLimits, dial, secure};
use crate::kubeconfig::{ClientConfigError, identity_of, read};
use crate::request::Identity;
use crate::tls::{pinned_config, public_config};

/// Largest file that is taken, in bytes.
const LARGEST: usize = 1024 * 1024;
/// Most redirections that are followed, all of them to https.
const MOST_REDIRECTIONS: usize = 3;
/// Ways to log in that a kubeconfig may name and that need another program or are gone from Kubernetes.
const UNSUPPORTED: &[&str] = &["exec", "auth-provider", "username", "password"];

/// A cluster as a kubeconfig introduces it.
#[derive(Debug, Clone)]
pub struct Introduction {
    /// The path or URL it came from.
    pub source: String,
    /// The API server.
    pub endpoint: Endpoint,
    /// The name that its certificate must be valid for, when it is not the endpoint's host.
    pub server_name: Option<Host>,
    /// The cluster's CA; `None` when the file names none.
    pub ca: Option<CertificateBundle>,
    /// As whom its user speaks; [`Identity::Anonymous`] when it names none.
    pub identity: Identity,
}

/// Loads what `location` names: `https://…` is fetched, everything else is a path (with or without `file://`).
/// `ca` replaces the public CAs for the https server.
///
/// # Errors
/// `discovery-file-unusable`, and for https what may go wrong on the way to a server.
pub async fn introduction(
    location: &str,
    ca: Option<&CertificateBundle>,
    limit: Duration,
) -> Result<Introduction, HandshakeError> {
    let scheme = location.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        Some("https") => {
            let text = timeout(limit, fetch(location, ca))
                .await
                .unwrap_or_else(|_| Err(too_slow(location, limit)))?;
            read_introduction(location, &text, None)
        }
        None | Some("file") => {
            let path = location.strip_prefix("file://").unwrap_or(location);
            introduction_from_file(Path::new(path))
        }
        Some(other) => Err(unusable(
            location,
            format!("{other:?} is not supported: give a path or an https URL"),
        )),
    }
}

/// Reads a kubeconfig file; relative paths in it start at its own folder.
///
/// # Errors
/// `discovery-file-unusable`.
pub fn introduction_from_file(path: &Path) -> Result<Introduction, HandshakeError> {
    let source = path.display().to_string();
    let text = read(path).map_err(|error| unusable(&source, chain(&error)))?;
    let base = path.parent().unwrap_or_else(|| Path::new(""));
    read_introduction(&source, &Secret::new(text), Some(base))
}

/// Reads a kubeconfig's text. Files that it names are read below `base`, or refused when there is none.
fn read_introduction(
    source: &str,
    text: &Secret<Vec<u8>>,
    base: Option<&Path>,
) -> Result<Introduction, HandshakeError> {
    let resolved = Kubeconfig::parse(text.expose())
        .and_then(|kubeconfig| kubeconfig.resolve())
        .map_err(|error| unusable(source, error.to_string()))?;
    refuse(&resolved, base.is_some()).map_err(|reason| unusable(source, reason))?;
    let base = base.map_or_else(PathBuf::new, Path::to_owned);
    let of_config = |error: ClientConfigError| unusable(source, chain(&error));
    let endpoint = Endpoint::parse(&resolved.cluster.server)
        .map_err(|error| unusable(source, format!("its server cannot be used: {error}")))?;
    let server_name = resolved
        .cluster
        .tls_server_name
        .as_deref()
        .map(Host::parse)
        .transpose()
        .map_err(|error| unusable(source, format!("its tls-server-name: {error}")))?;
    let ca = match &resolved.cluster.certificate_authority {
        None => None,
        Some(_) => Some(crate::kubeconfig::authority(&resolved, &base).map_err(of_config)?),
    };
    Ok(Introduction {
        source: source.to_owned(),
        endpoint,
        server_name,
        ca,
        identity: identity_of(&resolved, &base).map_err(of_config)?,
    })
}

fn refuse(resolved: &Resolved, files_allowed: bool) -> Result<(), String> {
    let (cluster, user) = (&resolved.cluster, &resolved.user);
    if cluster.insecure_skip_tls_verify {
        return Err("it says insecure-skip-tls-verify, and nothing would prove the cluster".into());
    }
    let mut other = user.other_fields.iter();
    if let Some(field) = other.find(|field| UNSUPPORTED.contains(&field.as_str())) {
        return Err(format!(
            "its user logs in by {field}, which is not supported: give a token or a client certificate"
        ));
    }
    let names_a_file = matches!(cluster.certificate_authority, Some(Material::File(_)))
        || matches!(user.token, Some(Material::File(_)))
        || matches!(user.client_certificate, Some(Material::File(_)))
        || matches!(user.client_key, Some(Material::File(_)));
    if names_a_file && !files_allowed {
        return Err("it names files, which a file from elsewhere may not: embed the data".into());
    }
    Ok(())
}

/// GETs a URL.
async fn fetch(
    url: &str,
    ca: Option<&CertificateBundle>,
) -> Result<Secret<Vec<u8>>, HandshakeError> {
    let mut place = url.to_owned();
    for _ in 0..=MOST_REDIRECTIONS {
        match get(&place, ca).await? {
            Fetched::Text(text) => return Ok(text),
            Fetched::Elsewhere(next) => place = next,
        }
    }
    Err(unusable(
        url,
        format!("it is redirected more than {MOST_REDIRECTIONS} times"),
    ))
}

enum Fetched {
    Text(Secret<Vec<u8>>),
    Elsewhere(String),
}

async fn get(url: &str, ca: Option<&CertificateBundle>) -> Result<Fetched, HandshakeError> {
    let wrong = |reason: String| unusable(url, reason);
    let (endpoint, path) = parts(url).map_err(wrong)?;
    let config = match ca {
        Some(ca) => pinned_config(ca, None),
        None => public_config(None),
    }
    .map_err(|error| wrong(error.to_string()))?;
    let limits = DialLimits::default();
    let stream = dial(&endpoint, &limits).await?;
    let tls = secure(stream, &endpoint, None, config, &limits)
        .await
        .map_err(|error| match error {
            HandshakeError::TlsUntrusted { .. } if ca.is_none() => wrong(
                "the server's certificate was issued by no CA that this machine trusts".to_owned(),
            ),
            HandshakeError::TlsUntrusted { .. } => {
                wrong("the server's certificate was not issued by the CA that was given".to_owned())
            }
            error => error,
        })?;
    let mut channel = Channel::open(tls, &endpoint).await?;
    let uri = match channel {
        Channel::H2(_) => format!("https://{endpoint}{path}"),
        Channel::H1(_) => path,
    };
    let request = http::Request::builder()
        .uri(uri)
        .header(ACCEPT, HeaderValue::from_static("*/*"));
    let request = match channel {
        Channel::H1(_) => request.header(HOST, endpoint.to_string()),
        Channel::H2(_) => request,
    };
    let request = request
        .body(Body::default())
        .map_err(|error| wrong(error.to_string()))?;
    let sent = channel.send(request, &endpoint).await;
    let head = sent.map_err(|failure| failure.error)?;
    let status = head.status();
    if status.is_redirection() {
        let next = head.headers().get(LOCATION).and_then(|to| to.to_str().ok());
        return match next {
            Some(next) if next.starts_with("https://") => Ok(Fetched::Elsewhere(next.to_owned())),
            _ => Err(wrong(
                "it is redirected to something else than https".into(),
            )),
        };
    }
    if status != StatusCode::OK {
        return Err(wrong(format!("the server answered {status}")));
    }
    let body = collect(head.into_body(), LARGEST, &endpoint)
        .await
        .map_err(|error| match error {
            HandshakeError::NotKubernetes { .. } => wrong("it is larger than 1 MiB".to_owned()),
            error => error,
        })?;
    Ok(Fetched::Text(Secret::new(body.to_vec())))
}

/// Host and path of an https URL without a user.
fn parts(url: &str) -> Result<(Endpoint, String), String> {
    let uri: http::Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
    let authority = uri
        .authority()
        .filter(|_| uri.scheme_str() == Some("https"))
        .ok_or("it is no https URL")?;
    if authority.as_str().contains('@') {
        return Err("a user in its URL is not supported".to_owned());
    }
    let endpoint = Endpoint::parse_with_default_port(authority.as_str(), 443)
        .map_err(|error| error.to_string())?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok((endpoint, path.to_owned()))
}

fn too_slow(url: &str, limit: Duration) -> HandshakeError {
    HandshakeError::Timeout {
        endpoint: parts(url).map_or_else(|_| url.to_owned(), |(endpoint, _)| endpoint.to_string()),
        doing: "fetching the discovery file".to_owned(),
        waited: SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX),
    }
}

fn unusable(file: &str, reason: String) -> HandshakeError {
    HandshakeError::DiscoveryFileUnusable {
        file: file.to_owned(),
        reason,
    }
}
