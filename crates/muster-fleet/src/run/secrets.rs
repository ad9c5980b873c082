//! Where the secrets of a join come from: made once, put on disk by a step, and found there again after a crash.

use jiff::Timestamp;
use muster_host::Host;
use muster_identity::{PrivateKey, Secret};
use muster_kubeadm::serving;
use muster_plan::{SecretName, paths};
use muster_saga::{Driver, Failure, StepId};

use super::Run;
use crate::Certified;

fn key_failure(reason: &str) -> Failure {
    Failure {
        id: "key-unusable".into(),
        message: format!("the kubelet's private key cannot be used: {reason}"),
        remedy: Some("Take the join back with `muster reset` and join again.".into()),
    }
}

/// What an earlier attempt, or somebody before the join, put on disk.
async fn on_disk(host: &dyn Host, path: &str) -> Result<Option<Secret<Vec<u8>>>, Failure> {
    host.read(path).await.map_err(|error| error.to_failure())
}

impl Run<'_> {
    /// Sees to it that the bag holds a secret before a step writes it.
    pub(super) async fn supply(
        &mut self,
        driver: &Driver,
        name: SecretName,
        attempt: u32,
    ) -> Result<(), Failure> {
        if self.secrets.get(name).is_some() {
            return Ok(());
        }
        let secret = match name {
            SecretName::KubeletKey => {
                self.new_or_former_key(paths::KUBELET_KEY_TMP, attempt)
                    .await?
            }
            SecretName::KubeletServingKey => {
                self.new_or_former_key(paths::KUBELET_SERVING_KEY, attempt)
                    .await?
            }
            SecretName::KubeletServing => self.serving_certificate().await?,
            SecretName::KubeletClient if !requests_certificate(driver) => {
                let missing = || key_failure("the credential is no longer the node's certificate");
                self.cluster.certified_pem().ok_or_else(missing)?
            }
            SecretName::KubeletClient => {
                let certified = certified(driver)
                    .ok_or_else(|| key_failure("the journal has no certificate for it"))?;
                let key = self.key_pem().await?;
                combined(&certified.chain, key.expose())
            }
            made => self.make(driver, made, attempt).await?,
        };
        self.secrets.put(name, secret);
        Ok(())
    }

    /// A repeated attempt keeps the key that the former one may already have shown to the cluster. A first attempt
    /// never takes a key that was there before: it is not known whose it is.
    async fn new_or_former_key(
        &self,
        path: &str,
        attempt: u32,
    ) -> Result<Secret<Vec<u8>>, Failure> {
        if attempt > 1
            && let Some(former) = on_disk(self.host, path).await?
            && PrivateKey::from_pem(former.expose()).is_ok()
        {
            return Ok(former);
        }
        let mut entropy = self.entropy;
        let key = PrivateKey::generate(&mut entropy).map_err(|e| key_failure(&e.to_string()))?;
        Ok(Secret::new(key.to_pem().expose().as_bytes().to_vec()))
    }

    /// The certificate for the serving key, which is on disk by now.
    async fn serving_certificate(&self) -> Result<Secret<Vec<u8>>, Failure> {
        let path = paths::KUBELET_SERVING_KEY;
        let key = on_disk(self.host, path).await?;
        let key = key.ok_or_else(|| key_failure("its serving key is no longer on disk"))?;
        let key = PrivateKey::from_pem(key.expose());
        let key = key.map_err(|error| key_failure(&error.to_string()))?;
        let mut entropy = self.entropy;
        let made = serving::self_signed(&self.node_name, &key, Timestamp::now(), &mut entropy);
        let made = made.map_err(|error| key_failure(&error.to_string()))?;
        Ok(Secret::new(made.into_bytes()))
    }

    /// Whether the kubelet can go on serving with what was there before the join.
    pub(super) async fn serving_stands(&self, name: SecretName) -> Result<bool, Failure> {
        let Some(key) = on_disk(self.host, paths::KUBELET_SERVING_KEY).await? else {
            return Ok(false);
        };
        if name == SecretName::KubeletServingKey {
            return Ok(PrivateKey::from_pem(key.expose()).is_ok());
        }
        let certificate = on_disk(self.host, paths::KUBELET_SERVING_CRT).await?;
        Ok(certificate.is_some_and(|found| serving::belong_together(found.expose(), key.expose())))
    }

    /// The key's text, from memory or from the disk.
    async fn key_pem(&self) -> Result<Secret<Vec<u8>>, Failure> {
        if let Some(key) = self.secrets.get(SecretName::KubeletKey) {
            return Ok(key.clone());
        }
        let found = on_disk(self.host, paths::KUBELET_KEY_TMP).await?;
        found.ok_or_else(|| key_failure("it is no longer on disk"))
    }

    pub(super) async fn key(&self) -> Result<PrivateKey, Failure> {
        let pem = self.key_pem().await?;
        PrivateKey::from_pem(pem.expose()).map_err(|error| key_failure(&error.to_string()))
    }
}

/// Whether this join asks for a certificate, rather than bringing one along.
fn requests_certificate(driver: &Driver) -> bool {
    let id = StepId::new("request-certificate");
    driver.state().is_some_and(|state| {
        let steps = state.header().definition.steps();
        steps.iter().any(|spec| spec.id == id)
    })
}

/// The certificate that the journal says was issued.
fn certified(driver: &Driver) -> Option<Certified> {
    let receipt = driver
        .state()?
        .step(&StepId::new("request-certificate"))?
        .receipt
        .clone()?;
    serde_json::from_value(receipt).ok()
}

/// Certificates first, then the key, as the kubelet's certificate store writes them.
fn combined(chain: &str, key: &[u8]) -> Secret<Vec<u8>> {
    let mut pem = chain.as_bytes().to_vec();
    if !pem.ends_with(b"\n") {
        pem.push(b'\n');
    }
    pem.extend_from_slice(key);
    Secret::new(pem)
}
