//! The certificates of a control-plane node: which there are, what stands in each, whether one is still right, and how
//! one is issued.
//!
//! Names, paths, subjects, usages and alternative names are kubeadm 1.36's. It refuses to know the disk and the clock:
//! certificates come in as texts, and time as an argument. What a file of the name exists or not decides its caller.

mod names;
mod verdict;

pub use verdict::{Verdict, judge};

use jiff::{SignedDuration, Timestamp};
use muster_identity::pki::{BACKDATE, IssueRequest, Validity};
use muster_identity::{
    AuthorityError, Certificate, CertificateAuthority, Csr, CsrError, Entropy, PrivateKey, Subject,
    SubjectAltNames, Usage,
};
use serde::{Deserialize, Serialize};

use crate::blueprint::{Blueprint, ClusterBlueprint};

/// One of the three authorities of a kubeadm cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Authority {
    /// The cluster's own.
    Cluster,
    /// Of the aggregation layer.
    FrontProxy,
    /// Of etcd on the control-plane nodes.
    Etcd,
}

impl Authority {
    /// All of them, in kubeadm's order.
    pub const ALL: [Self; 3] = [Self::Cluster, Self::FrontProxy, Self::Etcd];

    /// kubeadm's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cluster => "ca",
            Self::FrontProxy => "front-proxy-ca",
            Self::Etcd => "etcd-ca",
        }
    }

    /// Its files' path below the directory of certificates, without `.crt` and `.key`.
    #[must_use]
    pub fn base_name(self) -> &'static str {
        match self {
            Self::Cluster => "ca",
            Self::FrontProxy => "front-proxy-ca",
            Self::Etcd => "etcd/ca",
        }
    }

    /// Its common name.
    #[must_use]
    pub fn common_name(self) -> &'static str {
        match self {
            Self::Cluster => "kubernetes",
            Self::FrontProxy => "front-proxy-ca",
            Self::Etcd => "etcd-ca",
        }
    }
}

/// A certificate that a control-plane node needs for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leaf {
    /// The API server's.
    ApiServer,
    /// With which the API server calls kubelets.
    ApiServerKubeletClient,
    /// With which the API server calls extension API servers.
    FrontProxyClient,
    /// etcd's.
    EtcdServer,
    /// With which etcds speak to each other.
    EtcdPeer,
    /// With which probes, and joining nodes, ask etcd.
    EtcdHealthcheckClient,
    /// With which the API server asks etcd.
    ApiServerEtcdClient,
}

impl Leaf {
    /// All of them, in kubeadm's order.
    pub const ALL: [Self; 7] = [
        Self::ApiServer,
        Self::ApiServerKubeletClient,
        Self::FrontProxyClient,
        Self::EtcdServer,
        Self::EtcdPeer,
        Self::EtcdHealthcheckClient,
        Self::ApiServerEtcdClient,
    ];

    /// kubeadm's name for it, as in `kubeadm certs renew NAME`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiServer => "apiserver",
            Self::ApiServerKubeletClient => "apiserver-kubelet-client",
            Self::FrontProxyClient => "front-proxy-client",
            Self::EtcdServer => "etcd-server",
            Self::EtcdPeer => "etcd-peer",
            Self::EtcdHealthcheckClient => "etcd-healthcheck-client",
            Self::ApiServerEtcdClient => "apiserver-etcd-client",
        }
    }

    /// What it is for, in kubeadm's words.
    #[must_use]
    pub fn long_name(self) -> &'static str {
        match self {
            Self::ApiServer => "certificate for serving the Kubernetes API",
            Self::ApiServerKubeletClient => "certificate for the API server to connect to kubelet",
            Self::FrontProxyClient => "certificate for the front proxy client",
            Self::EtcdServer => "certificate for serving etcd",
            Self::EtcdPeer => "certificate for etcd nodes to communicate with each other",
            Self::EtcdHealthcheckClient => "certificate for liveness probes to healthcheck etcd",
            Self::ApiServerEtcdClient => "certificate the apiserver uses to access etcd",
        }
    }

    /// Its files' path below the directory of certificates, without `.crt` and `.key`.
    #[must_use]
    pub fn base_name(self) -> &'static str {
        match self {
            Self::EtcdServer => "etcd/server",
            Self::EtcdPeer => "etcd/peer",
            Self::EtcdHealthcheckClient => "etcd/healthcheck-client",
            _ => self.name(),
        }
    }

    /// Who signs it.
    #[must_use]
    pub fn authority(self) -> Authority {
        match self {
            Self::ApiServer | Self::ApiServerKubeletClient => Authority::Cluster,
            Self::FrontProxyClient => Authority::FrontProxy,
            _ => Authority::Etcd,
        }
    }

    /// The leaf of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|leaf| leaf.name() == name)
    }
}

/// The certificates that a node of this cluster needs: those of etcd only where etcd runs on it.
#[must_use]
pub fn leaves(cluster: &ClusterBlueprint) -> Vec<Leaf> {
    let wanted = |leaf: &Leaf| cluster.is_stacked() || leaf.authority() != Authority::Etcd;
    Leaf::ALL.into_iter().filter(wanted).collect()
}

/// The authorities that a node of this cluster knows.
#[must_use]
pub fn authorities(cluster: &ClusterBlueprint) -> Vec<Authority> {
    let wanted = |authority: &Authority| cluster.is_stacked() || *authority != Authority::Etcd;
    Authority::ALL.into_iter().filter(wanted).collect()
}

/// What stands in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Whom it names.
    pub subject: Subject,
    /// Its alternative names.
    pub sans: SubjectAltNames,
    /// Its purposes; digital signature and key encipherment are in all.
    pub purposes: Vec<Usage>,
}

/// Why a certificate's content cannot be told: the configuration names something that is no address or name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The service subnet is no CIDR, or has no second address.
    #[error("the service subnet {subnet:?} has no first address")]
    ServiceSubnet {
        /// As configured.
        subnet: String,
    },
    /// The control plane's endpoint is no host with or without a port.
    #[error("the control-plane endpoint {endpoint:?} is not HOST:PORT")]
    Endpoint {
        /// As configured.
        endpoint: String,
    },
}

impl Leaf {
    /// What stands in it on this node.
    ///
    /// # Errors
    /// [`ProfileError`] when the configuration cannot be used.
    pub fn profile(self, blueprint: &Blueprint) -> Result<Profile, ProfileError> {
        let node = blueprint.node.name.as_str();
        let client = |common_name: &str| Profile {
            subject: Subject::new::<String>(common_name, []),
            sans: SubjectAltNames::none(),
            purposes: vec![Usage::ClientAuth],
        };
        Ok(match self {
            Self::ApiServer => Profile {
                subject: Subject::new::<String>("kube-apiserver", []),
                sans: names::api_server(blueprint)?,
                purposes: vec![Usage::ServerAuth],
            },
            Self::ApiServerKubeletClient => client("kube-apiserver-kubelet-client"),
            Self::FrontProxyClient => client("front-proxy-client"),
            Self::EtcdServer | Self::EtcdPeer => Profile {
                subject: Subject::new::<String>(node, []),
                sans: names::etcd(blueprint, self == Self::EtcdServer),
                purposes: vec![Usage::ServerAuth, Usage::ClientAuth],
            },
            Self::EtcdHealthcheckClient => client("kube-etcd-healthcheck-client"),
            Self::ApiServerEtcdClient => client("kube-apiserver-etcd-client"),
        })
    }
}

impl Profile {
    /// A client's: user and groups.
    #[must_use]
    pub fn client(user: &str, groups: &[&str]) -> Self {
        Self {
            subject: Subject::new(user, groups.iter().copied()),
            sans: SubjectAltNames::none(),
            purposes: vec![Usage::ClientAuth],
        }
    }

    /// Issues a certificate with this content, from five minutes before `now` and for `life` from `now` on, at most
    /// until the authority's own end.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn issue(
        &self,
        key: &PrivateKey,
        authority: &CertificateAuthority,
        life: SignedDuration,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Certificate, AuthorityError> {
        let mut usages = vec![Usage::DigitalSignature, Usage::KeyEncipherment];
        usages.extend(&self.purposes);
        let request = IssueRequest {
            subject: self.subject.clone(),
            sans: self.sans.clone(),
            usages,
            public_key: key.public_key().clone(),
            validity: Validity::Between {
                not_before: now.checked_sub(BACKDATE).unwrap_or(now),
                not_after: now.checked_add(life).unwrap_or(Timestamp::MAX),
            },
        };
        authority.issue(&request, now, entropy)
    }

    /// A signing request with this content, for an authority whose key is elsewhere.
    ///
    /// # Errors
    /// [`CsrError`].
    pub fn request(&self, key: &PrivateKey) -> Result<Csr, CsrError> {
        Csr::build(key, &self.subject, &self.sans)
    }
}

#[cfg(test)]
mod tests;
