//! Signs kube-public/cluster-info with every live bootstrap token, and removes tokens that expired.
//!
//! kube-controller-manager has two controllers for this, which clusters not made by kubeadm often
//! leave off. Here one loop holds all tokens, so that a token that expires is noted for joiners as
//! "expired" before its Secret goes. A failed write is tried again.

use crate::events::{Change, changes};
use crate::failure::is_outdated;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use muster_handshake::discovery::SignerPlan;
use muster_identity::{BootstrapTokenSecret, TokenId};
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

/// Where cluster-info is.
const INFO_NAMESPACE: &str = "kube-public";
/// The ConfigMap that strangers read.
const INFO_NAME: &str = "cluster-info";
/// Where bootstrap tokens are.
const TOKEN_NAMESPACE: &str = "kube-system";
/// How soon a failed write is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// The longest sleep, so that a clock that was set is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// One known token Secret.
struct Known {
    token: BootstrapTokenSecret,
    uid: Option<String>,
}

struct Tokens {
    secrets: Api<Secret>,
    infos: Api<ConfigMap>,
    known: BTreeMap<String, Known>,
    /// Whether all tokens are known: until then a signature may be one of a token not yet heard of.
    complete: bool,
    info: Option<ConfigMap>,
    /// Tokens that this loop saw expire; cluster-info remembers them.
    ended: Vec<(TokenId, Timestamp)>,
}

/// Keeps cluster-info signed and tokens fresh for ever.
pub(crate) async fn run(client: Client) {
    let secrets = Api::<Secret>::namespaced(client.clone(), TOKEN_NAMESPACE);
    let infos = Api::<ConfigMap>::namespaced(client, INFO_NAMESPACE);
    let of_type = watcher::Config::default().fields("type=bootstrap.kubernetes.io/token");
    let named = watcher::Config::default().fields(&format!("metadata.name={INFO_NAME}"));
    let mut secret_changes = pin!(changes(secrets.clone(), of_type));
    let mut info_changes = pin!(changes(infos.clone(), named));
    let mut tokens = Tokens {
        secrets,
        infos,
        known: BTreeMap::new(),
        complete: false,
        info: None,
        ended: Vec::new(),
    };
    let mut sleep = Duration::ZERO;
    loop {
        tokio::select! {
            change = secret_changes.next() => match change {
                Some(change) => tokens.on_secret(change),
                None => return,
            },
            change = info_changes.next() => match change {
                Some(Change::Present(info)) => tokens.info = Some(info),
                Some(Change::Gone(_)) => tokens.info = None,
                Some(Change::Listed) => {}
                None => return,
            },
            () = tokio::time::sleep(sleep) => {}
        }
        sleep = tokens.settle(Timestamp::now()).await;
    }
}

impl Tokens {
    fn on_secret(&mut self, change: Change<Secret>) {
        let secret = match change {
            Change::Present(secret) => secret,
            Change::Gone(secret) => {
                self.known.remove(&secret.name);
                return;
            }
            Change::Listed => {
                self.complete = true;
                return;
            }
        };
        let name = secret.name_any();
        let data = secret.data.iter().flatten();
        let data: BTreeMap<String, muster_identity::Secret<Vec<u8>>> = data
            .map(|(key, value)| (key.clone(), muster_identity::Secret::new(value.0.clone())))
            .collect();
        match BootstrapTokenSecret::from_data(&name, &data) {
            Ok(token) if secret.metadata.deletion_timestamp.is_none() => {
                self.known.insert(
                    name,
                    Known {
                        token,
                        uid: secret.metadata.uid,
                    },
                );
            }
            Ok(_) => {
                self.known.remove(&name);
            }
            Err(error) => {
                tracing::warn!(secret = name, %error, "a bootstrap token cannot be used");
                self.known.remove(&name);
            }
        }
    }

    /// Writes what has to be written; answers with when to look again.
    async fn settle(&mut self, now: Timestamp) -> Duration {
        let next = match self.sign(now).await {
            Ok(next) => next,
            Err(error) => {
                if !is_outdated(&error) {
                    tracing::warn!(%error, "cluster-info could not be signed and is tried again");
                }
                return RETRY;
            }
        };
        if let Err(error) = self.clean(now).await {
            tracing::warn!(%error, "an expired token could not be deleted and is tried again");
            return RETRY;
        }
        let expiries = self
            .known
            .values()
            .filter_map(|known| known.token.expiration.timestamp());
        let Some(next) = expiries.chain(next).min() else {
            return LONGEST_SLEEP;
        };
        Duration::try_from(next.duration_since(now))
            .unwrap_or(RETRY)
            .clamp(RETRY, LONGEST_SLEEP)
    }

    async fn sign(&mut self, now: Timestamp) -> Result<Option<Timestamp>, kube::Error> {
        let Some(info) = self.info.as_ref().filter(|_| self.complete) else {
            return Ok(None);
        };
        let object = serde_json::to_value(info).map_err(kube::Error::SerdeError)?;
        let tokens: Vec<_> = self
            .known
            .values()
            .map(|known| known.token.clone())
            .collect();
        let plan = SignerPlan::compute(&object, &tokens, &self.ended, now);
        if !plan.is_empty() {
            let mut patch = plan.to_merge_patch();
            patch["metadata"]["resourceVersion"] = info.resource_version().into();
            let patch = Patch::Merge(patch);
            self.info = Some(
                self.infos
                    .patch(INFO_NAME, &PatchParams::default(), &patch)
                    .await?,
            );
        }
        self.ended.clear();
        Ok(plan.next)
    }

    async fn clean(&mut self, now: Timestamp) -> Result<(), kube::Error> {
        let expired: Vec<String> = self
            .known
            .iter()
            .filter(|(_, known)| known.token.is_expired(now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in expired {
            let Some(known) = self.known.get(&name) else {
                continue;
            };
            let parameters = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: known.uid.clone(),
                    resource_version: None,
                }),
                ..DeleteParams::default()
            };
            match self.secrets.delete(&name, &parameters).await {
                Err(error) if !is_outdated(&error) => return Err(error),
                _ => tracing::info!(secret = name, "an expired bootstrap token is deleted"),
            }
            if let Some(known) = self.known.remove(&name)
                && let Some(at) = known.token.expiration.timestamp()
            {
                self.ended.push((known.token.token.id().clone(), at));
            }
        }
        Ok(())
    }
}
