//! A stacked etcd member leaves its cluster: only when those who stay can go on without it.

use std::time::Duration;

use muster_host::Host;
use muster_identity::{CertificateBundle, PrivateKey};
use muster_net::EtcdClient;
use muster_net::tls::ClientCertificate;
use muster_plan::{EtcdVerdict, StackedMember, Voter, may_leave};
use muster_saga::Residue;

/// For the removal itself; members are asked side by side within the client's own limits.
const LIMIT: Duration = Duration::from_secs(30);

/// Takes the member out of its cluster, unless it is out already or the only one.
pub(super) async fn leave(host: &dyn Host, member: &StackedMember) -> Result<(), Residue> {
    let remains = |why: String| Residue {
        what: format!("etcd member {}", member.name),
        why,
        remedy: format!(
            "On another control-plane node: etcdctl member list, then etcdctl member remove ID for {}; then run the reset again",
            member.peer_url
        ),
    };
    let mut client = client(host, member).await.map_err(remains)?;
    let health = client
        .health()
        .await
        .map_err(|error| remains(words(&error)))?;
    let voters: Vec<Voter> = health
        .into_iter()
        .map(|health| Voter {
            id: health.member.id,
            name: health.member.display_name(),
            healthy: health.state.is_ok(),
            learner: health.member.is_learner,
            peer_urls: health.member.peer_urls,
        })
        .collect();
    match may_leave(&voters, &member.peer_url) {
        EtcdVerdict::Gone | EtcdVerdict::Last => Ok(()),
        EtcdVerdict::Remove { .. } => {
            let removed = client.remove(&member.peer_url, LIMIT).await;
            removed.map(drop).map_err(|error| remains(words(&error)))
        }
        EtcdVerdict::LosesQuorum {
            healthy,
            needed,
            silent,
        } => Err(remains(format!(
            "without it {healthy} of the others answer and {needed} must; silent: {}",
            silent.join(", ")
        ))),
    }
}

async fn client(host: &dyn Host, member: &StackedMember) -> Result<EtcdClient, String> {
    let read = async |path: &str| {
        let content = host.read(path).await.map_err(|error| words(&error))?;
        content.ok_or_else(|| format!("{path} is not there"))
    };
    let ca = CertificateBundle::from_pem(read(&member.ca).await?.expose())
        .map_err(|error| words(&error))?;
    let chain = read(&member.certificate).await?;
    let key = read(&member.key).await?;
    let identity = ClientCertificate {
        chain: CertificateBundle::from_pem(chain.expose()).map_err(|error| words(&error))?,
        key: PrivateKey::from_pem(key.expose()).map_err(|error| words(&error))?,
    };
    EtcdClient::new(member.client_urls.clone(), &ca, &identity).map_err(|error| words(&error))
}

fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
