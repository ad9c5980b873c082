//! The cluster of a fleet by a kubeconfig: found as kubectl finds it, read by our own client.

use crate::args::fleet::Way;
use crate::exit::{CLUSTER, Failure};
use muster_fleet::rollout::Kubeconfiged;
use muster_identity::kubeconfig::Material;
use muster_identity::{CertificateBundle, Endpoint, Kubeconfig};
use muster_rollout::Fleet;
use std::path::{Path, PathBuf};

/// Largest kubeconfig that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;
/// Where kubeadm leaves the administrator's kubeconfig.
const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";
/// Ways to log in that need another program.
const UNSUPPORTED: [&str; 4] = ["exec", "auth-provider", "username", "password"];

/// The kubeconfig of a fleet; `None` when its control-plane host is asked instead.
pub(super) fn of_fleet(fleet: &Fleet, way: &Way) -> Result<Option<Kubeconfiged>, Failure> {
    let cluster = &fleet.cluster;
    let named = way
        .kubeconfig
        .clone()
        .or_else(|| cluster.kubeconfig.as_deref().map(at_home));
    if named.is_none() && cluster.mint_on.is_some() {
        return Ok(None);
    }
    kubeconfig(named.as_deref(), cluster.context.as_deref()).map(Some)
}

fn at_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// A cluster by the kubeconfig that was named, or the one that kubectl would take.
fn kubeconfig(named: Option<&Path>, context: Option<&str>) -> Result<Kubeconfiged, Failure> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => usual()?,
    };
    let unusable = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(
            "kubeconfig-unusable",
            CLUSTER,
            format!("{} cannot be used", path.display()),
        )
        .because(error)
        .cure("name another one with --kubeconfig FILE")
    };
    let text = read(&path).map_err(|error| unusable(&error))?;
    let kubeconfig = Kubeconfig::parse(text.expose()).map_err(|error| unusable(&error))?;
    let resolved = match context {
        Some(context) => kubeconfig.resolve_context(context),
        None => kubeconfig.resolve(),
    };
    let resolved = resolved.map_err(|error| unusable(&error))?;
    let has_credential =
        resolved.user.token.is_some() || resolved.user.client_certificate.is_some();
    let other = resolved
        .user
        .other_fields
        .iter()
        .find(|field| UNSUPPORTED.contains(&field.as_str()));
    if let (false, Some(field)) = (has_credential, other) {
        return Err(Failure::new(
            "kubeconfig-unusable",
            CLUSTER,
            format!("{} logs in by {field}, which is not supported", path.display()),
        )
        .cure("use a kubeconfig with a client certificate or a token, or name cluster.mintOn in the fleet file"));
    }
    let base = path.parent().unwrap_or_else(|| Path::new(""));
    let client =
        muster_net::client_from_resolved(&resolved, base).map_err(|error| unusable(&error))?;
    let ca = match &resolved.cluster.certificate_authority {
        None => None,
        Some(Material::Data(pem)) => {
            Some(CertificateBundle::from_pem(pem).map_err(|error| unusable(&error))?)
        }
        Some(Material::File(file)) => {
            let pem = read(&base.join(file)).map_err(|error| unusable(&error))?;
            Some(CertificateBundle::from_pem(pem.expose()).map_err(|error| unusable(&error))?)
        }
    };
    let endpoint = Endpoint::parse(&resolved.cluster.server).map_err(|error| unusable(&error))?;
    Ok(Kubeconfiged {
        client,
        endpoint,
        ca,
    })
}

/// `$KUBECONFIG` (its first file that is there), `~/.kube/config`, kubeadm's `admin.conf`.
fn usual() -> Result<PathBuf, Failure> {
    let named = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config"));
    let candidates = std::env::split_paths(&named)
        .filter(|path| !path.as_os_str().is_empty())
        .chain(home)
        .chain([PathBuf::from(ADMIN_CONF)]);
    let mut candidates = candidates;
    candidates.find(|path| path.is_file()).ok_or_else(|| {
        Failure::new("kubeconfig-missing", CLUSTER, "no kubeconfig was found").cure(
            "name one with --kubeconfig FILE, in $KUBECONFIG, or as cluster.kubeconfig in the fleet file; or name cluster.mintOn there",
        )
    })
}

fn read(path: &Path) -> std::io::Result<muster_identity::Secret<Vec<u8>>> {
    let mut bytes = muster_identity::Secret::new(Vec::new());
    let file = std::fs::File::open(path)?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, LARGEST), bytes.expose_mut())?;
    Ok(bytes)
}
