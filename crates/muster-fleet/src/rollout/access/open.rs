//! Which way leads to the cluster of a fleet: the user's kubeconfig, or a control-plane host.

use std::sync::Arc;

use muster_identity::Secret;
use muster_identity::{CertificateBundle, Endpoint};
use muster_net::{ApiClient, RetryPolicy};
use muster_rollout::StageFailure;
use muster_rollout::fleet_file::{
    CertificateKey, Connection, Fleet, HostMethod, HostSpec, MintOn, Role, SecretSource,
};
use std::time::Duration;

use super::kubectl::Flavour;
use super::{Api, Direct, Kubectl};
use crate::rollout::fault;
use crate::rollout::machines::Machines;
use crate::rollout::token::{Cluster, KubeadmMint, Mint};

/// How long one request may take. Trying again is the coordinator's business, so that it feels what the server bears.
const REQUEST: Duration = Duration::from_secs(15);

/// A cluster as an administrator's kubeconfig names it.
#[derive(Clone, Debug)]
pub struct Kubeconfiged {
    /// A client for it.
    pub client: ApiClient,
    /// Its address.
    pub endpoint: Endpoint,
    /// Its CA, if the kubeconfig names one.
    pub ca: Option<CertificateBundle>,
}

/// The way to a cluster, its tokens, and what hosts are told about it.
pub(crate) struct Access {
    pub(crate) api: Arc<dyn Api>,
    pub(crate) mint: Mint,
    pub(crate) cluster: Cluster,
}

/// Opens the way. Without a kubeconfig the control-plane host that mints tokens is asked for everything.
pub(crate) async fn open(
    fleet: &Fleet,
    kubeconfig: Option<Kubeconfiged>,
    machines: &dyn Machines,
    secrets: &(dyn Fn(&SecretSource) -> Result<Secret<String>, String> + Send + Sync),
) -> Result<Access, StageFailure> {
    let mut cluster = Cluster {
        endpoint: fleet.cluster.endpoint.clone(),
        pins: fleet.cluster.pins.clone(),
        certificate_key: certificate_key(fleet, secrets)?,
        ..Cluster::default()
    };
    let host = match &fleet.cluster.mint_on {
        Some(mint_on) => Some((mint_on, machines.open(&mint_on.host, None).await?)),
        None => None,
    };
    let mut flavour = None;
    let api: Arc<dyn Api> = match (kubeconfig, &host) {
        (Some(kubeconfig), host) => {
            if host.is_none() {
                let endpoint = match cluster.endpoint.take() {
                    Some(endpoint) => endpoint,
                    None => for_hosts(fleet, kubeconfig.endpoint)?,
                };
                cluster.endpoint = Some(endpoint);
            }
            if let Some(ca) = &kubeconfig.ca
                && cluster.pins.is_empty()
                && host.is_none()
            {
                cluster.pins = muster_identity::pin::pins_for(ca);
            }
            cluster.ca = kubeconfig.ca;
            Arc::new(Direct(
                kubeconfig.client.with_policy(RetryPolicy::once(REQUEST)),
            ))
        }
        (None, Some((mint_on, machine))) => {
            let kubectl = Kubectl::on(Arc::clone(machine), mint_on.kubeconfig.as_deref()).await;
            let kubectl = kubectl.map_err(|error| fault::of_api("reach the cluster", &error))?;
            flavour = Some(kubectl.flavour());
            Arc::new(kubectl)
        }
        (None, None) => {
            return Err(StageFailure::terminal(
                fault::ids::ACCESS,
                "nothing says how the cluster is reached",
            )
            .with_cure("name cluster.kubeconfig or cluster.mintOn in the fleet file"));
        }
    };
    let mint = match host {
        Some((mint_on, machine)) if flavour.is_none_or(|flavour| flavour == Flavour::Kubeadm) => {
            Mint::Kubeadm(kubeadm(fleet, mint_on, machine))
        }
        _ => Mint::Api(Arc::clone(&api)),
    };
    if fleet
        .hosts
        .iter()
        .any(|host| matches!(host.settings.join, HostMethod::K3s(_)))
    {
        let served = api.text("/cacerts").await;
        let served =
            served.map_err(|error| fault::of_api("read the CA that K3s serves", &error))?;
        cluster.k3s_ca_hash = Some(
            muster_ssh::Payload::bytes(Secret::new(served))
                .sha256()
                .to_owned(),
        );
    }
    Ok(Access { api, mint, cluster })
}

/// A server under a name of this machine only is no address for hosts that are elsewhere: each would try it in vain.
fn for_hosts(fleet: &Fleet, endpoint: Endpoint) -> Result<Endpoint, StageFailure> {
    let elsewhere = |host: &&HostSpec| match &host.settings.connection {
        Connection::Local => false,
        Connection::Namespace => true,
        Connection::Ssh(_) => host.settings.jump.is_some() || !is_loopback(host.address()),
    };
    match fleet.hosts.iter().find(elsewhere) {
        Some(host) if is_loopback(&endpoint.server_name()) => Err(StageFailure::terminal(
            fault::ids::ACCESS,
            format!("the kubeconfig's server is {endpoint}, which {} cannot reach: it means itself by that", host.name),
        )
        .with_cure("name the API server as hosts reach it in the fleet file: cluster: {endpoint: 'HOST:PORT'}")),
        _ => Ok(endpoint),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn has_control_planes(fleet: &Fleet) -> bool {
    fleet
        .hosts
        .iter()
        .any(|host| host.settings.role == Role::ControlPlane)
}

fn kubeadm(fleet: &Fleet, mint_on: &MintOn, machine: Arc<dyn muster_ssh::Machine>) -> KubeadmMint {
    let upload =
        fleet.cluster.certificate_key == CertificateKey::Upload && has_control_planes(fleet);
    KubeadmMint {
        machine,
        program: mint_on
            .kubeadm
            .clone()
            .unwrap_or_else(|| "kubeadm".to_owned()),
        kubeconfig: mint_on.kubeconfig.clone(),
        upload_certificates: upload,
    }
}

fn certificate_key(
    fleet: &Fleet,
    secrets: &(dyn Fn(&SecretSource) -> Result<Secret<String>, String> + Send + Sync),
) -> Result<Option<Secret<String>>, StageFailure> {
    if !has_control_planes(fleet) {
        return Ok(None);
    }
    let failure = |message: String| StageFailure::terminal(fault::ids::ACCESS, message);
    match &fleet.cluster.certificate_key {
        CertificateKey::Known(source) => secrets(source)
            .map(Some)
            .map_err(|reason| failure(format!("the certificate key cannot be had: {reason}"))),
        CertificateKey::Upload if fleet.cluster.mint_on.is_none() => Err(failure(
            "control-plane hosts need the key of the shared certificates, and nothing here can upload them".to_owned(),
        )
        .with_cure("name cluster.mintOn, a control-plane host with kubeadm, or give cluster.certificateKey")),
        CertificateKey::Upload => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_rollout::fleet_file::{Ambient, FleetConfiguration};

    fn given(hosts: &str, server: &str) -> Result<Endpoint, StageFailure> {
        let text =
            format!("apiVersion: muster.dev/v1alpha1\nkind: FleetConfiguration\nhosts: {hosts}\n");
        let ambient = Ambient {
            name: "f",
            directory: "",
        };
        let fleet = FleetConfiguration::parse(&text).unwrap();
        for_hosts(
            &fleet.resolve(&ambient).unwrap(),
            Endpoint::parse(server).unwrap(),
        )
    }

    #[test]
    fn a_server_that_only_this_machine_reaches_is_refused_for_hosts_elsewhere() {
        let local = "[{name: a, local: true}, {name: b, ssh: {address: 127.0.0.1, port: 2222}}]";
        for server in ["127.0.0.1:6443", "localhost:6443", "[::1]:6443"] {
            assert!(given(local, server).is_ok(), "{server}");
            for elsewhere in [
                "[{name: a, local: true}, {name: w}]",
                "[{name: w, namespace: w}]",
                "[{name: w, ssh: {address: 127.0.0.1, jump: [bastion]}}]",
            ] {
                let failure = given(elsewhere, server).unwrap_err();
                assert_eq!(failure.id, fault::ids::ACCESS);
                assert!(failure.cure.unwrap().contains("endpoint"), "{server}");
            }
        }
        assert!(given("[{name: w}]", "10.0.0.1:6443").is_ok());
    }
}
