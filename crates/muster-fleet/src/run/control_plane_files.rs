//! The files of a control-plane node that are made while a join runs: shared certificates, its own, kubeconfigs, the
//! etcd manifest. What is there already and right stays; what is there and wrong stops the join.

use jiff::Timestamp;
use muster_host::Prior;
use muster_identity::kubeconfig::Material;
use muster_identity::{Certificate, CertificateAuthority, Kubeconfig, PrivateKey, Secret};
use muster_kubeadm::kubeconfigs::ControlPlaneConf;
use muster_kubeadm::manifests::{StaticPod, manifest, with_initial_cluster, with_secrets};
use muster_kubeadm::pki::{Authority, Leaf, Verdict, judge};
use muster_kubeadm::{Blueprint, ClusterBlueprint};
use muster_plan::{SecretName, Step};
use muster_saga::{Driver, Failure};
use serde_json::Value;

use super::Run;
use super::control_plane::{blueprint, no_blueprint, withheld_pod};
use super::membership::learner;
use crate::cluster::administration_failure;

/// Where the cluster keeps what it was made from.
pub(crate) const CONFIGURATION: &str = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config";

fn unusable(path: &str, reason: impl std::fmt::Display) -> Failure {
    Failure {
        id: "certificate-unusable".into(),
        message: format!("{path} cannot be used: {reason}"),
        remedy: Some(format!(
            "Remove {path} (and the key or certificate beside it), so that it is made anew, or replace it by a right one."
        )),
    }
}

fn bytes(text: &Secret<String>) -> Secret<Vec<u8>> {
    Secret::new(text.expose().as_bytes().to_vec())
}

fn leaf_path(blueprint: &Blueprint, leaf: Leaf, suffix: &str) -> String {
    blueprint
        .cluster
        .certificate_path(&format!("{}.{suffix}", leaf.base_name()))
}

impl Run<'_> {
    /// Whether a file that was there before the join is right and stays.
    pub(super) async fn stands(
        &self,
        driver: &Driver,
        name: SecretName,
        prior: &Prior,
    ) -> Result<bool, Failure> {
        if !matches!(prior, Prior::File(_) | Prior::Link { .. }) {
            return Ok(false);
        }
        let blueprint = || blueprint(driver).ok_or_else(no_blueprint);
        match name {
            SecretName::LeafKey(leaf) => {
                let path = leaf_path(&blueprint()?, leaf, "key");
                let text = self.pki_file(&path).await?;
                PrivateKey::from_pem(&text)
                    .map(|_| true)
                    .map_err(|error| unusable(&path, error))
            }
            SecretName::Leaf(leaf) => self.leaf_stands(&blueprint()?, leaf).await.map(|()| true),
            SecretName::Conf(conf) => self.conf_stands(&blueprint()?, conf).await.map(|()| true),
            SecretName::KubeletServingKey | SecretName::KubeletServing => {
                self.serving_stands(name).await
            }
            _ => Ok(false),
        }
    }

    async fn leaf_stands(&self, blueprint: &Blueprint, leaf: Leaf) -> Result<(), Failure> {
        let path = leaf_path(blueprint, leaf, "crt");
        let text = self.pki_file(&path).await?;
        let certificate = Certificate::from_pem(&text).map_err(|error| unusable(&path, error))?;
        let authority = self
            .authority_certificate(blueprint, leaf.authority())
            .await?;
        let profile = leaf
            .profile(blueprint)
            .map_err(|error| unusable(&path, error))?;
        let wrong = match judge(&certificate, &profile, &authority, Timestamp::now()) {
            Verdict::Right => return Ok(()),
            Verdict::Stranger => "another authority signed it".to_owned(),
            Verdict::Subject { found } => format!("it is for {found:?}"),
            Verdict::Names { missing } => format!("it is not for {}", missing.join(", ")),
            Verdict::Purpose { missing } => format!("it may not be used for {missing}"),
            Verdict::NotYet { not_before } => format!("it is valid from {not_before} on"),
            Verdict::Expired { not_after } => format!("it expired at {not_after}"),
        };
        Err(unusable(&path, wrong))
    }

    async fn conf_stands(
        &self,
        blueprint: &Blueprint,
        conf: ControlPlaneConf,
    ) -> Result<(), Failure> {
        let path = format!("/etc/kubernetes/{}", conf.file_name());
        let text = self.pki_file(&path).await?;
        let resolved = Kubeconfig::parse(&text).and_then(|conf| conf.resolve());
        let resolved = resolved.map_err(|error| unusable(&path, error))?;
        let authority = self
            .authority_certificate(blueprint, Authority::Cluster)
            .await?;
        let trusted = match resolved.cluster.certificate_authority {
            Some(Material::Data(pem)) => {
                Certificate::from_pem(&pem).is_ok_and(|found| found.der() == authority.der())
            }
            Some(Material::File(_)) => true,
            None => false,
        };
        if trusted {
            Ok(())
        } else {
            Err(unusable(&path, "it trusts another authority"))
        }
    }

    async fn authority_certificate(
        &self,
        blueprint: &Blueprint,
        authority: Authority,
    ) -> Result<Certificate, Failure> {
        let path = blueprint
            .cluster
            .certificate_path(&format!("{}.crt", authority.base_name()));
        let text = self.pki_file(&path).await?;
        Certificate::from_pem(&text).map_err(|error| unusable(&path, error))
    }

    /// An authority with its key, which must be on the node for anything to be made.
    async fn authority(
        &self,
        blueprint: &Blueprint,
        authority: Authority,
    ) -> Result<CertificateAuthority, Failure> {
        let path = |suffix: &str| {
            blueprint
                .cluster
                .certificate_path(&format!("{}.{suffix}", authority.base_name()))
        };
        let (certificate, key) = (path("crt"), path("key"));
        let text = self.pki_file(&certificate).await?;
        let found = self
            .host
            .read(&key)
            .await
            .map_err(|error| error.to_failure())?;
        let key_text = found.ok_or_else(|| Failure {
            id: "certificate-unusable".into(),
            message: format!("{key} is not on this node, so nothing that {} signs can be made", authority.name()),
            remedy: Some("With an authority elsewhere, put every certificate and kubeconfig of the node in place before it joins (`kubeadm certs generate-csr`).".into()),
        })?;
        CertificateAuthority::load(&text, key_text.expose())
            .map_err(|error| unusable(&certificate, error))
    }

    /// Makes the content of a file.
    pub(super) async fn make(
        &self,
        driver: &Driver,
        name: SecretName,
        attempt: u32,
    ) -> Result<Secret<Vec<u8>>, Failure> {
        let blueprint = blueprint(driver).ok_or_else(no_blueprint)?;
        match name {
            SecretName::Shared(file) => {
                let shared = self.shared(driver).await?;
                Ok(shared
                    .get(file.name())
                    .cloned()
                    .unwrap_or_else(|| Secret::new(Vec::new())))
            }
            SecretName::LeafKey(leaf) => self.leaf_key(&blueprint, leaf, attempt).await,
            SecretName::Leaf(leaf) => self.leaf(&blueprint, leaf).await,
            SecretName::Conf(conf) => {
                let authority = self.authority(&blueprint, Authority::Cluster).await?;
                let made = conf.make(
                    &blueprint,
                    &authority,
                    Timestamp::now(),
                    &mut self.entropy.clone(),
                );
                made.map(|text| bytes(&text))
                    .map_err(|error| unusable(conf.file_name(), error))
            }
            SecretName::EtcdManifest => self.etcd_manifest(driver).await,
            SecretName::Manifest(component) => {
                let pod = withheld_pod(driver, component).ok_or_else(no_blueprint)?;
                let text = self.completed(component, &pod).await?;
                Ok(Secret::new(text.into_bytes()))
            }
            SecretName::KubeletKey
            | SecretName::KubeletClient
            | SecretName::KubeletServingKey
            | SecretName::KubeletServing => Err(no_blueprint()),
        }
    }

    /// etcd's manifest with the members as they were when this one was added.
    async fn etcd_manifest(&self, driver: &Driver) -> Result<Secret<Vec<u8>>, Failure> {
        let (step, added) = learner(driver).ok_or_else(no_blueprint)?;
        let (Step::AddEtcdLearner { template, .. }, Some(added)) = (step, added) else {
            return Err(no_blueprint());
        };
        let text = match withheld_pod(driver, StaticPod::Etcd) {
            Some(pod) => self.completed(StaticPod::Etcd, &pod).await?,
            None => template,
        };
        let text = with_initial_cluster(&text, &added.members);
        Ok(Secret::new(text.into_bytes()))
    }

    /// A static pod with what the journal does not hold: the proxies of this call's environment, and what the cluster's
    /// configuration gives, read again as the administrator.
    async fn completed(&self, component: StaticPod, pod: &Value) -> Result<String, Failure> {
        let unusable = |message: String, remedy: &str| Failure {
            id: "plan-unusable".into(),
            message,
            remedy: Some(remedy.to_owned()),
        };
        let facts = self.host.gather().await;
        let facts = facts.map_err(|error| error.to_failure())?;
        let object = self.administrator().await?.get(CONFIGURATION).await;
        let object = object
            .map_err(|error| administration_failure("read the cluster's configuration", &error))?;
        let text = object.pointer("/data/ClusterConfiguration");
        let text = text.and_then(Value::as_str).unwrap_or_default();
        let cluster = ClusterBlueprint::parse(text).map_err(|error| {
            let mend = "Mend the ConfigMap kube-system/kubeadm-config on the cluster.";
            unusable(error.to_string(), mend)
        })?;
        let whole = with_secrets(component, pod, &facts.proxies, &cluster).map_err(|lacking| {
            let again = "Bring it back and join again: its value is in no journal.";
            unusable(lacking.to_string(), again)
        })?;
        Ok(manifest(&whole))
    }

    /// A repeated attempt keeps the key of the former one, whose certificate may be on disk already.
    async fn leaf_key(
        &self,
        blueprint: &Blueprint,
        leaf: Leaf,
        attempt: u32,
    ) -> Result<Secret<Vec<u8>>, Failure> {
        let path = leaf_path(blueprint, leaf, "key");
        if attempt > 1
            && let Some(former) = self
                .host
                .read(&path)
                .await
                .map_err(|error| error.to_failure())?
            && PrivateKey::from_pem(former.expose()).is_ok()
        {
            return Ok(former);
        }
        let key = blueprint
            .cluster
            .key_algorithm
            .generate(&mut self.entropy.clone());
        key.map(|key| bytes(&key.to_pem()))
            .map_err(|error| unusable(&path, error))
    }

    async fn leaf(&self, blueprint: &Blueprint, leaf: Leaf) -> Result<Secret<Vec<u8>>, Failure> {
        let path = leaf_path(blueprint, leaf, "crt");
        let key_path = leaf_path(blueprint, leaf, "key");
        let key = self.pki_file(&key_path).await?;
        let key = PrivateKey::from_pem(&key).map_err(|error| unusable(&key_path, error))?;
        let authority = self.authority(blueprint, leaf.authority()).await?;
        let profile = leaf
            .profile(blueprint)
            .map_err(|error| unusable(&path, error))?;
        let life = blueprint.cluster.certificate_validity;
        let issued = profile.issue(
            &key,
            &authority,
            life,
            Timestamp::now(),
            &mut self.entropy.clone(),
        );
        let issued = issued.map_err(|error| unusable(&path, error))?;
        Ok(Secret::new(issued.to_pem().into_bytes()))
    }
}
