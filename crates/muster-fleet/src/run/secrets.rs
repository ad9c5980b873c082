//! Where the secrets of a join come from: made once, put on disk by a step, and found there again after a crash.

use muster_host::Host;
use muster_identity::{PrivateKey, Secret};
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

/// The key that an earlier attempt put on disk.
async fn key_on_disk(host: &dyn Host) -> Result<Option<Secret<Vec<u8>>>, Failure> {
    host.read(paths::KUBELET_KEY_TMP)
        .await
        .map_err(|error| error.to_failure())
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
            SecretName::KubeletKey => self.new_or_former_key(attempt).await?,
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
    async fn new_or_former_key(&self, attempt: u32) -> Result<Secret<Vec<u8>>, Failure> {
        if attempt > 1
            && let Some(former) = key_on_disk(self.host).await?
            && PrivateKey::from_pem(former.expose()).is_ok()
        {
            return Ok(former);
        }
        let mut entropy = self.entropy;
        let key = PrivateKey::generate(&mut entropy).map_err(|e| key_failure(&e.to_string()))?;
        Ok(Secret::new(key.to_pem().expose().as_bytes().to_vec()))
    }

    /// The key's text, from memory or from the disk.
    async fn key_pem(&self) -> Result<Secret<Vec<u8>>, Failure> {
        if let Some(key) = self.secrets.get(SecretName::KubeletKey) {
            return Ok(key.clone());
        }
        let found = key_on_disk(self.host).await?;
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
