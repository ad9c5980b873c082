//! Tokens of a run: made for it, named for it, short-lived, and gone when it ends.
//!
//! Only this module and what feeds a host see a token's secret; everything else knows ids. A token is made under an id
//! that was written down before, so that whoever takes the run up after a crash finds and removes it.

mod join_command;
mod k0s;
mod kubeadm;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use muster_identity::token::{Expiration, SECRET_NAMESPACE};
use muster_identity::{
    BootstrapToken, BootstrapTokenSecret, CaPin, CertificateBundle, Endpoint, Secret, TokenId,
};
use muster_rollout::StageFailure;

use super::access::{Api, delete_if_there};
use super::fault;

pub(crate) use k0s::k0s_kubeconfig;
pub(crate) use kubeadm::KubeadmMint;

/// Groups of whoever comes with the token: kubeadm's, and that of K3s, which a cluster of another kind knows nothing of.
const GROUPS: [&str; 2] = [
    muster_identity::token::DEFAULT_NODE_TOKEN_GROUP,
    "system:bootstrappers:k3s:default-node-token",
];

/// Everything that lets a host in. It is held in memory only.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    /// The token.
    pub(crate) token: BootstrapToken,
    /// When it expires.
    pub(crate) expires: Timestamp,
    /// The API server as hosts reach it.
    pub(crate) endpoint: Endpoint,
    /// Pins of its CA.
    pub(crate) pins: Vec<CaPin>,
    /// The CA, where it is known.
    pub(crate) ca: Option<CertificateBundle>,
    /// SHA-256 of the CA file as K3s serves it.
    pub(crate) k3s_ca_hash: Option<String>,
    /// Opens the certificates that control-plane nodes share.
    pub(crate) certificate_key: Option<Secret<String>>,
}

/// What the hosts are told about the cluster, as far as it was configured or could be found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    /// Its address for hosts.
    pub(crate) endpoint: Option<Endpoint>,
    /// Pins of its CA.
    pub(crate) pins: Vec<CaPin>,
    /// Its CA.
    pub(crate) ca: Option<CertificateBundle>,
    /// SHA-256 of the CA file as K3s serves it.
    pub(crate) k3s_ca_hash: Option<String>,
    /// Opens the certificates that control-plane nodes share, where it was given.
    pub(crate) certificate_key: Option<Secret<String>>,
}

impl Cluster {
    /// What lets hosts in with this token.
    pub(crate) fn admit(
        &self,
        token: BootstrapToken,
        expires: Timestamp,
    ) -> Result<Admission, StageFailure> {
        let endpoint = self.endpoint.clone().ok_or_else(|| {
            StageFailure::terminal(
                fault::ids::ACCESS,
                "the address of the API server is not known",
            )
            .with_cure("name it as cluster.endpoint in the fleet file")
        })?;
        if self.pins.is_empty() {
            return Err(StageFailure::terminal(fault::ids::ACCESS, "the cluster's CA is not known, so hosts have nothing to pin")
                .with_cure("use a kubeconfig with certificate-authority-data, or name cluster.caCertHashes in the fleet file"));
        }
        Ok(Admission {
            token,
            expires,
            endpoint,
            pins: self.pins.clone(),
            ca: self.ca.clone(),
            k3s_ca_hash: self.k3s_ca_hash.clone(),
            certificate_key: self.certificate_key.clone(),
        })
    }
}

/// What a token is to be.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// The token, under the id that was decided and written down.
    pub(crate) token: BootstrapToken,
    /// How long it lives.
    pub(crate) ttl: SignedDuration,
    /// For whoever lists tokens.
    pub(crate) description: String,
}

/// Where tokens come from.
#[derive(Clone)]
pub(crate) enum Mint {
    /// Through the API.
    Api(Arc<dyn Api>),
    /// By `kubeadm` on a control-plane host.
    Kubeadm(KubeadmMint),
}

impl Mint {
    /// Makes the token that was ordered.
    pub(crate) async fn make(
        &self,
        order: &Order,
        cluster: &Cluster,
    ) -> Result<Admission, StageFailure> {
        match self {
            Self::Api(api) => make_by_api(&**api, order, cluster).await,
            Self::Kubeadm(kubeadm) => kubeadm.make(order, cluster).await,
        }
    }

    /// Removes the token with this id; one that is not there is no error.
    pub(crate) async fn revoke(&self, id: &TokenId) -> Result<(), StageFailure> {
        match self {
            Self::Api(api) => revoke_by_api(&**api, id).await,
            Self::Kubeadm(kubeadm) => kubeadm.revoke(id).await,
        }
    }
}

/// A token with this id and a secret by chance.
pub(crate) fn draw(id: &TokenId, entropy: fn(&mut [u8])) -> Result<BootstrapToken, StageFailure> {
    let mut entropy = entropy;
    let drawn = BootstrapToken::generate(&mut entropy);
    BootstrapToken::from_parts(id.as_str(), drawn.secret().expose())
        .map_err(|error| StageFailure::terminal(fault::ids::TOKEN_NOT_MINTED, error.to_string()))
}

fn secret_of(order: &Order, now: Timestamp) -> BootstrapTokenSecret {
    let mut secret = BootstrapTokenSecret::new(order.token.clone());
    secret.description.clone_from(&order.description);
    secret.groups = GROUPS.map(str::to_owned).to_vec();
    let end = now.checked_add(order.ttl).unwrap_or(Timestamp::MAX);
    secret.expiration = Expiration::At(end);
    secret
}

fn collection() -> String {
    format!("/api/v1/namespaces/{SECRET_NAMESPACE}/secrets")
}

fn path_of(id: &TokenId) -> String {
    format!("{}/{}", collection(), id.secret_name())
}

async fn make_by_api(
    api: &dyn Api,
    order: &Order,
    cluster: &Cluster,
) -> Result<Admission, StageFailure> {
    let id = order.token.id();
    let secret = secret_of(order, Timestamp::now());
    let expires = secret.expiration.timestamp().unwrap_or(Timestamp::MAX);
    let admission = cluster.admit(order.token.clone(), expires)?;
    let object = secret.to_object();
    let failed = |error| fault::of_api("create the token", &error);
    match api.create(&collection(), &object).await {
        Ok(_) => {}
        // An earlier attempt under this id got through; perhaps that of a process whose secret nobody knows any more.
        Err(error) if error.is_already_exists() => {
            let found = api.get(&path_of(id)).await.map_err(failed)?;
            if !is_ours(&found, &order.description) {
                return Err(StageFailure::terminal(
                    fault::ids::TOKEN_NOT_MINTED,
                    format!("a token with the id {} that is not ours is there", id),
                )
                .with_cure("start another run"));
            }
            delete_if_there(api, &path_of(id)).await.map_err(failed)?;
            api.create(&collection(), &object).await.map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
    }
    Ok(admission)
}

fn is_ours(object: &serde_json::Value, description: &str) -> bool {
    BootstrapTokenSecret::from_object(object).is_ok_and(|found| found.description == description)
}

async fn revoke_by_api(api: &dyn Api, id: &TokenId) -> Result<(), StageFailure> {
    delete_if_there(api, &path_of(id))
        .await
        .map_err(|error| fault::of_api("delete the token", &error))
}

#[cfg(test)]
mod tests {
    use super::super::access::memory::Memory;
    use super::*;

    pub(crate) fn entropy(bytes: &mut [u8]) {
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::try_from(place % 251).unwrap();
        }
    }

    fn id() -> TokenId {
        TokenId::parse("abcdef").unwrap()
    }

    fn order() -> Order {
        Order {
            token: draw(&id(), entropy).unwrap(),
            ttl: SignedDuration::from_mins(30),
            description: "muster fleet run r1 of f".to_owned(),
        }
    }

    fn cluster() -> Cluster {
        Cluster {
            endpoint: Some(Endpoint::parse("10.0.0.1:6443").unwrap()),
            pins: vec![CaPin::of_spki(b"key")],
            ..Cluster::default()
        }
    }

    #[tokio::test]
    async fn a_token_has_the_id_that_was_decided_expires_and_says_whose_it_is() {
        let api = Memory::default();
        let mint = Mint::Api(Arc::new(api.clone()));
        let admission = mint.make(&order(), &cluster()).await.unwrap();
        assert_eq!(admission.token.id().as_str(), "abcdef");
        let object = api.get(&path_of(&id())).await.unwrap();
        let secret = BootstrapTokenSecret::from_object(&object).unwrap();
        assert_eq!(secret.token.to_text(), admission.token.to_text());
        assert_eq!(secret.description, "muster fleet run r1 of f");
        assert!(secret.expiration.timestamp().is_some());
        mint.revoke(&id()).await.unwrap();
        mint.revoke(&id()).await.unwrap();
        assert!(api.paths(&collection()).is_empty());
    }

    #[tokio::test]
    async fn a_token_that_a_crash_left_is_replaced_and_somebody_elses_is_not() {
        let api = Memory::default();
        let mint = Mint::Api(Arc::new(api.clone()));
        mint.make(&order(), &cluster()).await.unwrap();
        mint.make(&order(), &cluster()).await.unwrap();
        assert_eq!(api.paths(&collection()).len(), 1);
        let other = Order {
            description: "another".to_owned(),
            ..order()
        };
        let refused = mint.make(&other, &cluster()).await.unwrap_err();
        assert_eq!(refused.id, fault::ids::TOKEN_NOT_MINTED);
    }

    #[tokio::test]
    async fn without_an_address_or_a_pin_nothing_is_made() {
        let api = Memory::default();
        let mint = Mint::Api(Arc::new(api.clone()));
        let nowhere = Cluster {
            endpoint: None,
            ..cluster()
        };
        assert!(mint.make(&order(), &nowhere).await.is_err());
        let unpinned = Cluster {
            pins: Vec::new(),
            ..cluster()
        };
        assert!(mint.make(&order(), &unpinned).await.is_err());
        assert!(api.calls().is_empty());
    }

    #[test]
    fn no_debug_output_of_an_admission_shows_the_secret() {
        let admission = Admission {
            token: BootstrapToken::parse("abcdef.canarycanarycana").unwrap(),
            expires: Timestamp::MAX,
            endpoint: Endpoint::parse("h:1").unwrap(),
            pins: vec![],
            ca: None,
            k3s_ca_hash: None,
            certificate_key: Some(Secret::new("canary".into())),
        };
        assert!(!format!("{admission:?}").contains("canary"));
    }
}
