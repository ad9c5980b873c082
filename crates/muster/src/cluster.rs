//! Which cluster a command speaks to: the kubeconfig, found as kubeadm and kubectl find it.
//! It opens no connection before somebody asks something.

use crate::exit::{CLUSTER, Failure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use muster_handshake::ErrorKind;
use std::path::{Path, PathBuf};

/// Where kubeadm leaves the administrator's kubeconfig.
const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";

/// A cluster that a kubeconfig names.
pub(crate) struct Cluster {
    /// A client for it.
    pub(crate) client: Client,
    /// Its address as `host:port`.
    pub(crate) endpoint: String,
    /// The CA certificates that the kubeconfig trusts (PEM); empty when it names none.
    pub(crate) authorities: Vec<u8>,
}

/// Reads the kubeconfig: `explicit`, else `$KUBECONFIG` and `~/.kube/config`, else kubeadm's `admin.conf`.
///
/// # Errors
/// When there is none, or it cannot be used.
pub(crate) async fn connect(explicit: Option<&Path>) -> Result<Cluster, Failure> {
    open(explicit, true).await
}

/// As [`connect`], for who asks again itself and says why meanwhile: the client by itself asks for minutes, in silence,
/// where the server says 429, 503 or 504.
///
/// # Errors
/// As those of [`connect`].
pub(crate) async fn connect_and_hear_refusals(explicit: Option<&Path>) -> Result<Cluster, Failure> {
    open(explicit, false).await
}

async fn open(explicit: Option<&Path>, asks_again: bool) -> Result<Cluster, Failure> {
    let kubeconfig = find(explicit)?;
    let as_it_stands = bundle_of(&kubeconfig);
    let unusable = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(
            "kubeconfig-unusable",
            CLUSTER,
            "the kubeconfig cannot be used",
        )
        .because(error)
        .cure("name another one with --kubeconfig FILE or in $KUBECONFIG")
    };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| unusable(&error))?;
    config.default_retry = asks_again;
    let mut cluster = with(config).map_err(|error| unusable(&error))?;
    if let Some(authorities) = as_it_stands {
        cluster.authorities = authorities;
    }
    Ok(cluster)
}

/// The cluster in whose pod this runs, with the pod's account, and the pod's namespace; `None` outside of pods.
///
/// # Errors
/// When the account cannot be used.
pub(crate) fn of_this_pod() -> Result<Option<(Cluster, String)>, Failure> {
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        return Ok(None);
    }
    let unusable = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(
            "kubeconfig-unusable",
            CLUSTER,
            "the pod's service account cannot be used",
        )
        .because(error)
        .cure("mount its token, or name a kubeconfig with --kubeconfig FILE")
    };
    let config = Config::incluster().map_err(|error| unusable(&error))?;
    let namespace = config.default_namespace.clone();
    let cluster = with(config).map_err(|error| unusable(&error))?;
    Ok(Some((cluster, namespace)))
}

fn with(config: Config) -> Result<Cluster, kube::Error> {
    let endpoint = endpoint_of(&config.cluster_url);
    let authorities = config
        .root_cert
        .clone()
        .map(|certificates| to_pem(&certificates));
    let client = Client::try_from(config)?;
    Ok(Cluster {
        client,
        endpoint,
        authorities: authorities.unwrap_or_default(),
    })
}

fn find(explicit: Option<&Path>) -> Result<Kubeconfig, Failure> {
    let read = |path: &Path| {
        Kubeconfig::read_from(path).map_err(|error| {
            Failure::new(
                "kubeconfig-unusable",
                CLUSTER,
                format!("cannot use {}", path.display()),
            )
            .because(&error)
        })
    };
    if let Some(path) = explicit {
        return read(path);
    }
    if let Ok(kubeconfig) = Kubeconfig::read()
        && kubeconfig.current_context.is_some()
    {
        return Ok(kubeconfig);
    }
    let admin = PathBuf::from(ADMIN_CONF);
    if admin.exists() {
        return read(&admin);
    }
    Err(
        Failure::new("kubeconfig-missing", CLUSTER, "no kubeconfig was found").cure(
            "name one with --kubeconfig FILE or in $KUBECONFIG, or put it at ~/.kube/config or \
         /etc/kubernetes/admin.conf",
        ),
    )
}

/// The CA bundle of the current context to the letter: tokens of K3s hash the text.
fn bundle_of(kubeconfig: &Kubeconfig) -> Option<Vec<u8>> {
    let current = kubeconfig.current_context.as_deref()?;
    let context = kubeconfig.contexts.iter().find(|one| one.name == current)?;
    let name = &context.context.as_ref()?.cluster;
    let named = kubeconfig.clusters.iter().find(|one| one.name == *name)?;
    let cluster = named.cluster.as_ref()?;
    match (
        &cluster.certificate_authority_data,
        &cluster.certificate_authority,
    ) {
        (Some(data), _) => STANDARD.decode(data.trim()).ok(),
        (None, Some(path)) => std::fs::read(path).ok(),
        (None, None) => None,
    }
}

fn endpoint_of(url: &http::Uri) -> String {
    let host = url.host().unwrap_or_default();
    format!("{host}:{}", url.port_u16().unwrap_or(443))
}

fn to_pem(certificates: &[Vec<u8>]) -> Vec<u8> {
    let certificates = certificates
        .iter()
        .filter_map(|der| muster_identity::Certificate::from_der(der).ok());
    certificates
        .map(|certificate| certificate.to_pem())
        .collect::<String>()
        .into_bytes()
}

/// Turns an answer of the API into a failure: who is at fault and what to do.
pub(crate) fn api_failure(what: &str, error: &kube::Error) -> Failure {
    let failure = match error {
        kube::Error::Api(status) => {
            let (id, code) = match status.code {
                401 => (
                    ErrorKind::Unauthorized.id(),
                    ErrorKind::Unauthorized.exit_code(),
                ),
                403 => (ErrorKind::Forbidden.id(), ErrorKind::Forbidden.exit_code()),
                404 => ("not-found", CLUSTER),
                409 => ("conflict", CLUSTER),
                _ => (
                    ErrorKind::ServerError.id(),
                    ErrorKind::ServerError.exit_code(),
                ),
            };
            let mut failure = Failure::new(id, code, what);
            failure.causes.push(status.message.clone());
            return failure;
        }
        _ => Failure::new("cluster-unreachable", CLUSTER, what),
    };
    failure
        .because(error)
        .cure("check that the API server runs and that the kubeconfig is its own")
}
