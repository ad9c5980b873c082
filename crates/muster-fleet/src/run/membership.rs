//! The place of a control-plane node among the etcds: how they are reached, the member that is added, and how it leaves.
//!
//! Whether it may leave is judged in one place, [`muster_net::etcd::may_leave`]; here it is said what follows. A member
//! that may not leave goes on: what it runs with stands under it in the saga and stays, and the next reset tries again.

use std::time::Duration;

use muster_kubeadm::Blueprint;
use muster_kubeadm::blueprint::Etcd;
use muster_kubeadm::manifests::initial_cluster;
use muster_net::EtcdError;
use muster_net::etcd::{Departure, Member};
use muster_plan::{Step, etcd_client_urls};
use muster_saga::{Driver, Failure, Residue, Status};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::control_plane::{blueprint, fail, no_blueprint, step_of};
use super::{Run, damaged, to_value};
use crate::cluster::{
    Administrator, EtcdAccess, Etcds, administration_failure, etcd_failure, words,
};

/// How long an undo waits for etcd: the cluster may be gone.
const UNDO_LIMIT: Duration = Duration::from_secs(30);
/// How long members that are known are asked before others are looked for.
const PROBE: Duration = Duration::from_secs(3);
/// How long the API may be unable to answer; kubeadm's `kubernetesAPICall`.
const API_LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(250);
/// The steps that add the member and give it its vote.
const ADDS: &str = "add-etcd-learner";
const PROMOTES: &str = "promote-etcd-member";
/// Where a pod of etcd says how its clients reach it.
const ETCD_ANNOTATION: &str = "kubeadm.kubernetes.io/etcd.advertise-client-urls";
/// The pods of stacked etcds.
pub(crate) const ETCD_PODS: &str =
    "/api/v1/namespaces/kube-system/pods?labelSelector=component%3Detcd%2Ctier%3Dcontrol-plane";

/// What becomes of the member here when its join is taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// It leaves if others stay: a join that failed must not end a cluster.
    #[default]
    AmongOthers,
    /// It leaves; the last one ends its cluster: somebody asked for a reset.
    EvenLast,
    /// It and its data stay, as somebody asked for.
    Stays,
}

/// A member that was added, as the journal remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Learner {
    /// etcd's id of it; texts, as JSON has no such numbers.
    id: String,
    /// The text of `--initial-cluster`.
    pub(super) members: String,
}

/// What was known of the member before it was added or promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "member", rename_all = "kebab-case")]
enum MemberBefore {
    Absent,
    Present,
}

/// The text of `--initial-cluster` once the new member is in. The new one has no name in etcd yet.
fn members_text(members: &[Member], name: &str, peer_url: &str) -> String {
    let each: Vec<(String, String)> = members
        .iter()
        .filter_map(|member| {
            let url = member.peer_urls.first()?.clone();
            let own = member.peer_urls.iter().any(|known| known == peer_url);
            Some(if own {
                (name.to_owned(), peer_url.to_owned())
            } else {
                (member.display_name(), url)
            })
        })
        .collect();
    initial_cluster(each.iter().map(|(name, url)| (name.as_str(), url.as_str())))
}

/// The step that adds the member, and the member as it was added.
pub(super) fn learner(driver: &Driver) -> Option<(Step, Option<Learner>)> {
    let (step, state) = step_of(driver, ADDS)?;
    let receipt = state.and_then(|state| state.receipt.clone());
    let learner = receipt.and_then(|receipt| serde_json::from_value(receipt).ok());
    Some((step, learner))
}

/// Where the etcds are reached, as their static pods tell. Pods that were just made may not tell it yet: it is asked
/// again until all do.
async fn endpoints(
    administrator: &dyn Administrator,
    limit: Duration,
) -> Result<Vec<String>, Failure> {
    let deadline = Instant::now() + limit;
    let mut told = Vec::new();
    loop {
        match administrator.get(ETCD_PODS).await {
            Ok(list) => {
                let pods = list.get("items").and_then(Value::as_array);
                let pods = pods.map_or(&[][..], Vec::as_slice);
                told = pods.iter().filter_map(client_url).collect();
                if !told.is_empty() && told.len() == pods.len() {
                    return Ok(told);
                }
            }
            Err(error) if error.is_forbidden() || Instant::now() >= deadline => {
                return Err(administration_failure("list the pods of etcd", &error));
            }
            Err(_) => {}
        }
        if Instant::now() >= deadline {
            break;
        }
        sleep(PAUSE).await;
    }
    if told.is_empty() {
        return Err(fail(
            "etcd-unhealthy",
            format!("no pod of etcd in kube-system has the annotation {ETCD_ANNOTATION}"),
            "See that the etcds of the other control-plane nodes run as static pods that kubeadm or muster made.",
        ));
    }
    Ok(told)
}

fn client_url(pod: &Value) -> Option<String> {
    let annotations = pod.pointer("/metadata/annotations")?;
    annotations
        .get(ETCD_ANNOTATION)?
        .as_str()
        .map(str::to_owned)
}

impl Run<'_> {
    pub(super) async fn observe_membership(
        &self,
        driver: &Driver,
        peer_url: &str,
    ) -> Result<Value, Failure> {
        let mut etcds = self.etcds(driver).await?;
        let members = etcds.members(UNDO_LIMIT).await;
        let members = members.map_err(|error| etcd_failure(&error))?;
        let is_own = |member: &Member| member.peer_urls.iter().any(|url| url == peer_url);
        to_value(&if members.iter().any(is_own) {
            MemberBefore::Present
        } else {
            MemberBefore::Absent
        })
    }

    pub(super) async fn await_etcd(
        &self,
        driver: &Driver,
        peer_url: Option<&str>,
        limit: Duration,
    ) -> Result<(), Failure> {
        let mut etcds = self.etcds(driver).await?;
        let health = etcds.await_health(peer_url, limit).await;
        for ailing in health.map_err(|error| etcd_failure(&error))? {
            if let Err(reason) = &ailing.state {
                let member = ailing.member.display_name();
                tracing::warn!(member, reason, "an etcd member is not well");
            }
        }
        Ok(())
    }

    pub(super) async fn add_learner(
        &self,
        driver: &Driver,
        name: &str,
        peer_url: &str,
        limit: Duration,
    ) -> Result<Value, Failure> {
        let mut etcds = self.etcds(driver).await?;
        let added = etcds.add_learner(peer_url, limit).await;
        let added = added.map_err(|error| etcd_failure(&error))?;
        to_value(&Learner {
            id: format!("{:x}", added.id),
            members: members_text(&added.members, name, peer_url),
        })
    }

    pub(super) async fn promote(
        &self,
        driver: &Driver,
        peer_url: &str,
        limit: Duration,
    ) -> Result<(), Failure> {
        let mut etcds = self.etcds(driver).await?;
        let members = etcds.members(limit).await;
        let members = members.map_err(|error| etcd_failure(&error))?;
        let own = members
            .iter()
            .find(|member| member.peer_urls.iter().any(|url| url == peer_url));
        let gone = || {
            etcd_failure(&EtcdError::NoMember {
                member: peer_url.to_owned(),
            })
        };
        let id = own.ok_or_else(gone)?.id;
        let promoted = etcds.promote(id, limit).await;
        promoted.map_err(|error| etcd_failure(&error))
    }

    /// Takes back what was done to the member, by the undo of either step that did something to it.
    pub(super) async fn undo_membership(
        &self,
        driver: &Driver,
        step: &Step,
        prior: &Value,
    ) -> Result<Vec<Residue>, Failure> {
        let (name, peer_url, before) = match step {
            // Whether it was there before is known from the step that added it.
            Step::PromoteEtcdMember { name, peer_url, .. } => {
                (name, peer_url, member_before(driver))
            }
            Step::AddEtcdLearner { name, peer_url, .. } => {
                let before = serde_json::from_value(prior.clone());
                let before = before.map_err(|error| damaged(&error))?;
                // Its vote was taken back while it ran, and all was said of it.
                if promotion(driver) == Status::Undone {
                    return Ok(Vec::new());
                }
                (name, peer_url, Some(before))
            }
            _ => return Ok(Vec::new()),
        };
        if before == Some(MemberBefore::Present) {
            return Ok(Vec::new());
        }
        if self.plane.farewell == Farewell::Stays {
            return Ok(vec![Residue {
                what: format!("etcd member {name} ({peer_url})"),
                why: "it was to be kept".into(),
                remedy: "etcdctl member list, then etcdctl member remove ID, on a control-plane node that stays".into(),
            }]);
        }
        self.leave(driver, name, peer_url)
            .await
            .map(|()| Vec::new())
    }

    async fn leave(&self, driver: &Driver, name: &str, peer_url: &str) -> Result<(), Failure> {
        let mut etcds = self.etcds_in_parting(driver).await.map_err(held)?;
        match etcds.remove(peer_url, UNDO_LIMIT).await {
            Ok(Departure::Removed | Departure::Gone) => Ok(()),
            Ok(Departure::Last) if self.plane.farewell == Farewell::EvenLast => Ok(()),
            Ok(Departure::Last) => Err(fail(
                "etcd-refused",
                format!("etcd member {name} is the only one left: its cluster would end with it"),
                "`muster reset` ends it; to keep it, join again.",
            )),
            Err(error) => Err(held(fail(
                etcd_failure(&error).id.as_str(),
                words(&error),
                "",
            ))),
        }
    }

    /// The data of a member that stays, when a step's undo would remove them.
    pub(super) fn data_of_one_who_stays(&self, driver: &Driver, step: &Step) -> Option<Residue> {
        let Step::ClaimDir { path, .. } = step else {
            return None;
        };
        if self.plane.farewell != Farewell::Stays {
            return None;
        }
        let Etcd::Local(etcd) = blueprint(driver)?.cluster.etcd else {
            return None;
        };
        let (_, added) = learner(driver)?;
        (etcd.data_dir == *path && added.is_some()).then(|| {
            let real = self.host.root().real(path);
            Residue {
                why: "its etcd member was to be kept".into(),
                remedy: format!("When its cluster needs it no more: rm -r {real}/*"),
                what: real,
            }
        })
    }

    /// The cluster's etcds, as the API knows them.
    async fn etcds(&self, driver: &Driver) -> Result<Box<dyn Etcds>, Failure> {
        let blueprint = stacked(driver)?;
        let endpoints = endpoints(&*self.administrator().await?, API_LIMIT).await?;
        self.etcds_at(&blueprint, endpoints).await
    }

    /// The cluster's etcds when the API may be gone: those that the join knew, and only if none of them answers the API's.
    async fn etcds_in_parting(&self, driver: &Driver) -> Result<Box<dyn Etcds>, Failure> {
        let blueprint = stacked(driver)?;
        let learner = learner(driver).and_then(|(_, learner)| learner);
        let others = learner.map_or_else(String::new, |learner| learner.members);
        let known = etcd_client_urls(&blueprint.node.etcd_client_url(), &others);
        let mut etcds = self.etcds_at(&blueprint, known.clone()).await?;
        if etcds.members(PROBE).await.is_ok() {
            return Ok(etcds);
        }
        let told = endpoints(&*self.administrator().await?, Duration::ZERO).await?;
        let all = known.into_iter().chain(told).collect();
        self.etcds_at(&blueprint, all).await
    }

    async fn etcds_at(
        &self,
        blueprint: &Blueprint,
        endpoints: Vec<String>,
    ) -> Result<Box<dyn Etcds>, Failure> {
        let access = EtcdAccess::of(&blueprint.cluster, endpoints);
        let plane = self.cluster.control_plane();
        plane.etcds(self.host, &access).await
    }
}

/// The same failure with what to do about a member that cannot leave.
fn held(failure: Failure) -> Failure {
    Failure {
        remedy: Some("Bring the members back that do not answer and reset again: until then the etcd here and its data stay. When its cluster is gone for good: muster reset --keep-etcd-member, then remove the data by hand.".into()),
        ..failure
    }
}

fn stacked(driver: &Driver) -> Result<Blueprint, Failure> {
    let blueprint = blueprint(driver).ok_or_else(no_blueprint)?;
    match blueprint.cluster.etcd {
        Etcd::Local(_) => Ok(blueprint),
        Etcd::External(_) => Err(no_blueprint()),
    }
}

fn promotion(driver: &Driver) -> Status {
    step_of(driver, PROMOTES)
        .and_then(|(_, state)| state)
        .map_or(Status::Pending, |state| state.status)
}

fn member_before(driver: &Driver) -> Option<MemberBefore> {
    let (_, state) = step_of(driver, ADDS)?;
    serde_json::from_value(state?.prior.clone()?).ok()
}
