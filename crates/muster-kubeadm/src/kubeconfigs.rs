//! The kubeconfigs of a control-plane node: for its administrator and for its components.
//!
//! A join makes three; `super-admin.conf` is made on the first node only and is never handed on. It refuses to know
//! the disk and the clock.

use jiff::Timestamp;
use muster_identity::pki::{IssueRequest, Validity};
use muster_identity::{
    AuthorityError, CertificateAuthority, CertificateBundle, Entropy, KeyError, Kubeconfig, Secret,
    Usage,
};
use serde::{Deserialize, Serialize};

use crate::blueprint::Blueprint;
use crate::pki::Profile;

/// A kubeconfig of a control-plane node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlPlaneConf {
    /// `admin.conf`: an administrator by RBAC.
    Admin,
    /// `super-admin.conf`: an administrator whatever RBAC says.
    SuperAdmin,
    /// `controller-manager.conf`.
    ControllerManager,
    /// `scheduler.conf`.
    Scheduler,
}

/// Why a kubeconfig could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfError {
    /// The authority did not sign.
    #[error("the client certificate cannot be issued")]
    Issue(#[source] AuthorityError),
    /// There is no key.
    #[error("no key can be made")]
    Key(#[source] KeyError),
}

impl ControlPlaneConf {
    /// What a join makes.
    pub const OF_A_JOIN: [Self; 3] = [Self::Admin, Self::ControllerManager, Self::Scheduler];
    /// What the first node has.
    pub const ALL: [Self; 4] = [
        Self::Admin,
        Self::SuperAdmin,
        Self::ControllerManager,
        Self::Scheduler,
    ];

    /// Its file's name below `/etc/kubernetes`.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Admin => "admin.conf",
            Self::SuperAdmin => "super-admin.conf",
            Self::ControllerManager => "controller-manager.conf",
            Self::Scheduler => "scheduler.conf",
        }
    }

    /// Whom it names, and in which groups.
    #[must_use]
    pub fn user(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Admin => ("kubernetes-admin", &["kubeadm:cluster-admins"]),
            Self::SuperAdmin => ("kubernetes-super-admin", &["system:masters"]),
            Self::ControllerManager => ("system:kube-controller-manager", &[]),
            Self::Scheduler => ("system:kube-scheduler", &[]),
        }
    }

    /// What stands in its certificate.
    #[must_use]
    pub fn profile(self) -> Profile {
        let (user, groups) = self.user();
        Profile::client(user, groups)
    }

    /// Which API server it names: people go through the control plane's endpoint, components to their own node's.
    #[must_use]
    pub fn server(self, blueprint: &Blueprint) -> String {
        match self {
            Self::Admin | Self::SuperAdmin => blueprint.cluster.server(&blueprint.node),
            Self::ControllerManager | Self::Scheduler => blueprint.node.url(),
        }
    }

    /// Makes it, with a new key and certificate. As kubeadm's, the certificate begins with the authority's.
    ///
    /// # Errors
    /// [`ConfError`].
    pub fn make(
        self,
        blueprint: &Blueprint,
        authority: &CertificateAuthority,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Secret<String>, ConfError> {
        let (user, groups) = self.user();
        client_conf(
            &Client {
                user,
                groups,
                server: &self.server(blueprint),
            },
            blueprint,
            authority,
            now,
            entropy,
        )
    }
}

/// Whom a kubeconfig is for, and which server it names.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// The user: the certificate's common name.
    pub user: &'a str,
    /// The groups: the certificate's organisations.
    pub groups: &'a [&'a str],
    /// The API server's URL.
    pub server: &'a str,
}

/// Makes the kubeconfig of any client of the cluster, with a new key and certificate.
///
/// # Errors
/// [`ConfError`].
pub fn client_conf(
    client: &Client<'_>,
    blueprint: &Blueprint,
    authority: &CertificateAuthority,
    now: Timestamp,
    entropy: &mut dyn Entropy,
) -> Result<Secret<String>, ConfError> {
    let cluster = &blueprint.cluster;
    let key = cluster
        .key_algorithm
        .generate(entropy)
        .map_err(ConfError::Key)?;
    let profile = Profile::client(client.user, client.groups);
    let request = IssueRequest {
        subject: profile.subject,
        sans: profile.sans,
        usages: vec![
            Usage::DigitalSignature,
            Usage::KeyEncipherment,
            Usage::ClientAuth,
        ],
        public_key: key.public_key().clone(),
        validity: Validity::Between {
            not_before: authority.certificate().not_before(),
            not_after: now
                .checked_add(cluster.certificate_validity)
                .unwrap_or(Timestamp::MAX),
        },
    };
    let certificate = authority
        .issue(&request, now, entropy)
        .map_err(ConfError::Issue)?;
    let ca = CertificateBundle::from_pem(authority.certificate().to_pem().as_bytes())
        .expect("a certificate's own text is a bundle of one");
    let conf = Kubeconfig::for_client_certificate_of(
        &cluster.cluster_name,
        client.server,
        &ca,
        client.user,
        &certificate.to_pem(),
        &key.to_pem(),
    );
    Ok(conf.to_yaml())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use muster_identity::Certificate;
    use muster_identity::kubeconfig::Material;

    use super::*;
    use crate::blueprint::tests::{cluster, node};

    #[test]
    fn every_kubeconfig_names_its_user_and_its_server() {
        let mut entropy = {
            let mut state = 3_u64;
            move |bytes: &mut [u8]| {
                for byte in bytes {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    *byte = (state >> 33) as u8;
                }
            }
        };
        let now: Timestamp = "2026-11-21T11:13:00Z".parse().unwrap();
        let life = SignedDuration::from_hours(24 * 3650);
        let ca =
            CertificateAuthority::new_self_signed("kubernetes", now, life, &mut entropy).unwrap();
        let blueprint = Blueprint {
            cluster: cluster("clusterName: prod\nencryptionAlgorithm: ECDSA-P256\n"),
            node: node(),
        };
        for (conf, server, groups) in [
            (
                ControlPlaneConf::Admin,
                "https://lb.example:6443",
                vec!["kubeadm:cluster-admins"],
            ),
            (
                ControlPlaneConf::ControllerManager,
                "https://10.66.0.12:6443",
                vec![],
            ),
            (
                ControlPlaneConf::Scheduler,
                "https://10.66.0.12:6443",
                vec![],
            ),
            (
                ControlPlaneConf::SuperAdmin,
                "https://lb.example:6443",
                vec!["system:masters"],
            ),
        ] {
            let text = conf.make(&blueprint, &ca, now, &mut entropy).unwrap();
            assert!(text.expose().contains("  name: prod\n"));
            let parsed = Kubeconfig::parse(text.expose().as_bytes()).unwrap();
            assert_eq!(parsed.current_context(), format!("{}@prod", conf.user().0));
            let resolved = parsed.resolve().unwrap();
            assert_eq!(resolved.cluster.server, server);
            let Some(Material::Data(pem)) = &resolved.user.client_certificate else {
                panic!("it holds a certificate")
            };
            let certificate = Certificate::from_pem(pem).unwrap();
            assert_eq!(certificate.subject().common_name, conf.user().0);
            assert_eq!(certificate.subject().organizations, groups);
            assert_eq!(
                certificate.not_after(),
                now + SignedDuration::from_hours(8760)
            );
            assert_eq!(certificate.not_before(), ca.certificate().not_before());
        }
    }
}
