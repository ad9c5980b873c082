//! A token in the form in which another tool takes it: a join token of k0s, a token of K3s, a line for kubeadm.
//!
//! It knows neither the Secret nor how long it lives.

use crate::args::token::{Create, Format};
use crate::cluster::Cluster;
use crate::exit::Failure;
use muster_identity::{
    BootstrapToken, CertificateBundle, Endpoint, JoinRole, K0sToken, K3sToken, Secret,
};

/// The text for `--format`; `None` for the token alone.
pub(super) fn of(
    create: &Create,
    cluster: &Cluster,
    token: &BootstrapToken,
) -> Result<Option<Secret<String>>, Failure> {
    let no_ca = |error: &(dyn std::error::Error + 'static)| {
        Failure::usage("the kubeconfig names no CA certificate, so the token could name none")
            .because(error)
    };
    match create.format {
        Format::Plain => Ok(None),
        Format::Kubeadm => {
            super::join_command("kubeadm", cluster, token).map(|line| Some(Secret::new(line)))
        }
        Format::K3s => K3sToken::for_bundle(&cluster.authorities, token.clone())
            .map(|token| Some(token.to_text()))
            .map_err(|error| no_ca(&error)),
        Format::K0s => {
            let ca = CertificateBundle::from_pem(&cluster.authorities);
            let ca = ca.map_err(|error| no_ca(&error))?;
            let role = create.role.unwrap_or_default().into();
            let server = server(create.url.as_deref(), &cluster.endpoint, role)?;
            let token = K0sToken::new(role, server, ca, token.clone());
            Ok(Some(token.encode()))
        }
    }
}

/// Where a token leads: as it was said, else to the cluster's own server; the join API is on a port of its own there.
fn server(url: Option<&str>, endpoint: &str, role: JoinRole) -> Result<Endpoint, Failure> {
    if let Some(url) = url {
        return read_url(url, role);
    }
    let server = Endpoint::parse(endpoint).map_err(|error| {
        Failure::usage("the kubeconfig's server cannot be used").because(&error)
    })?;
    Ok(match role {
        JoinRole::Worker => server,
        JoinRole::Controller => Endpoint::new(server.host().clone(), role.default_port()),
    })
}

/// A URL as `--url` takes it; without a port the one that k0s has for the role.
pub(super) fn read_url(url: &str, role: JoinRole) -> Result<Endpoint, Failure> {
    Endpoint::parse_with_default_port(url, role.default_port())
        .map_err(|error| Failure::usage("--url cannot be used").because(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controllers_token_leads_to_the_join_api_and_what_was_said_goes_first() {
        let at = |url, role| server(url, "[fd00::1]:6443", role).unwrap().url();
        assert_eq!(at(None, JoinRole::Worker), "https://[fd00::1]:6443");
        assert_eq!(at(None, JoinRole::Controller), "https://[fd00::1]:9443");
        let said = Some("https://api.example:443/");
        assert_eq!(at(said, JoinRole::Controller), "https://api.example:443");
        let without_port = Some("api.example");
        assert_eq!(
            at(without_port, JoinRole::Controller),
            "https://api.example:9443"
        );
        assert!(server(Some("http://api"), "h:1", JoinRole::Worker).is_err());
    }
}
