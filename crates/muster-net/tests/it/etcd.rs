//! Membership and health against real etcds: three members, a learner, a killed one, and a stranger.

use std::time::Duration;

use muster_identity::CertificateBundle;
use muster_net::etcd::Departure;
use muster_net::etcd::testing::{Etcds, authority, certified};
use muster_net::{EtcdClient, EtcdError};

/// etcd itself waits five seconds until it believes that all members are connected.
const PATIENCE: Duration = Duration::from_secs(30);

fn text(members: &[muster_net::etcd::Member], new: &str) -> String {
    let words: Vec<String> = members
        .iter()
        .map(|member| {
            let name = if member.has_started() {
                member.name.as_str()
            } else {
                new
            };
            format!("{name}={}", member.peer_urls[0])
        })
        .collect();
    words.join(",")
}

#[tokio::test]
async fn a_learner_is_taken_in_once_promoted_once_and_removed_once() {
    let mut etcds = Etcds::start(&["a", "b", "c"]).await;
    let mut client = etcds.client();
    let seat = etcds.seat("d");
    let added = client.add_learner(&seat.peer_url, PATIENCE).await.unwrap();
    assert!(!added.already);
    assert_eq!(added.members.len(), 4);
    let again = client.add_learner(&seat.peer_url, PATIENCE).await.unwrap();
    assert!(again.already);
    assert_eq!(again.id, added.id);

    // One that has not started gets no vote, and another learner has to wait for its turn.
    let error = client.promote(added.id, Duration::ZERO).await.unwrap_err();
    assert!(error.to_string().contains("has not started"), "{error}");
    let other = client
        .add_learner("https://127.0.0.1:1", Duration::ZERO)
        .await
        .unwrap_err();
    assert!(other.to_string().contains("too many learner"), "{other}");

    etcds.join(&seat, &text(&added.members, "d"));
    let promoted = client.promote(added.id, PATIENCE).await;
    promoted.unwrap_or_else(|error| panic!("{error}\n{}", etcds.logs()));
    client.promote(added.id, Duration::ZERO).await.unwrap();
    let health = client
        .await_health(Some(&seat.peer_url), PATIENCE)
        .await
        .unwrap();
    assert_eq!(health.iter().filter(|one| one.state.is_ok()).count(), 4);
    assert!(health.iter().all(|one| !one.member.is_learner));

    let left = client.remove(&seat.peer_url, PATIENCE).await.unwrap();
    assert_eq!(left, Departure::Removed);
    let again = client.remove(&seat.peer_url, PATIENCE).await.unwrap();
    assert_eq!(again, Departure::Gone);
    assert_eq!(client.members().await.unwrap().len(), 3);
    assert_eq!(client.alarms().await.unwrap(), []);
}

#[tokio::test]
async fn a_dead_member_is_named_and_no_removal_costs_the_quorum() {
    let mut etcds = Etcds::start(&["a", "b", "c"]).await;
    let mut client = etcds.client();
    client.members().await.unwrap();
    let (dead, alive) = (etcds.peer_url("c"), etcds.peer_url("b"));
    etcds.kill("c");

    let health = client.await_health(None, PATIENCE).await.unwrap();
    let ailing: Vec<&str> = health
        .iter()
        .filter(|one| one.state.is_err())
        .map(|one| one.member.name.as_str())
        .collect();
    assert_eq!(ailing, ["c"]);

    // Of a and c only a would be left alive.
    let error = client.remove(&alive, PATIENCE).await.unwrap_err();
    let EtcdError::WouldLoseQuorum {
        name,
        healthy,
        needed,
        dead: named,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((name.as_str(), *healthy, *needed), ("b", 1, 2));
    assert_eq!(*named, ["c"]);

    let left = client.remove(&dead, PATIENCE).await.unwrap();
    assert_eq!(left, Departure::Removed);
    assert_eq!(client.members_within(PATIENCE).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_last_member_stays() {
    let etcds = Etcds::start(&["a"]).await;
    let mut client = etcds.client();
    let left = client.remove(&etcds.peer_url("a"), PATIENCE).await.unwrap();
    assert_eq!(left, Departure::Last);
    assert_eq!(etcds.client().members().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_stranger_is_refused_and_an_imposter_is_not_believed() {
    let etcds = Etcds::start(&["a"]).await;
    let theirs = CertificateBundle::from_pem(etcds.ca().certificate().to_pem().as_bytes()).unwrap();
    let other = authority();
    let others = CertificateBundle::from_pem(other.certificate().to_pem().as_bytes()).unwrap();

    let mut stranger =
        EtcdClient::new(etcds.client_urls(), &theirs, &certified(&other, "client")).unwrap();
    let error = stranger.members().await.unwrap_err();
    assert!(matches!(error, EtcdError::Unreachable { .. }), "{error}");
    assert!(
        error.to_string().contains(&etcds.client_urls()[0]),
        "{error}"
    );

    let mut sceptic = EtcdClient::new(
        etcds.client_urls(),
        &others,
        &certified(etcds.ca(), "client"),
    )
    .unwrap();
    let error = sceptic.members().await.unwrap_err();
    assert!(matches!(error, EtcdError::Unreachable { .. }), "{error}");
    assert!(EtcdClient::new(Vec::new(), &theirs, &certified(etcds.ca(), "client")).is_err());
}
