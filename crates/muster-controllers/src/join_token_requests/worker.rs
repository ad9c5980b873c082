//! Works on one request, or one debt: looks, decides, does one thing, and looks again.
//!
//! It refuses to know when something is due (the operator's watches say so) and what to do (`decide` does).

use super::announce::{Announcer, News};
use super::debt::Debt;
use super::decide::{ClusterState, SecretState, Step, View, decide, delivered, without};
use super::flavour::Origin;
use super::hands::{self, Pace, Standing, Trouble};
use super::metrics::Metrics;
use super::names::fingerprint;
use super::request::{Issue, Phase, Place, Request, Status};
use super::targets::{self, Item, Targets};
use super::world::{SeenSecret, World};
use crate::failure::told;
use crate::keyed::Outcome;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret as SecretObject};
use kube::{Api, Client};
use muster_identity::BootstrapToken;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How many steps one look may lead to, before others have their turn.
const STEPS: usize = 24;
/// The longest time until something is looked at that nothing happens to: clocks are set, too.
const LONGEST_REST: Duration = Duration::from_secs(600);

/// Everything that work needs.
pub(crate) struct Worker {
    pub(crate) client: Client,
    pub(crate) world: Arc<World>,
    pub(crate) targets: Arc<Targets>,
    pub(crate) debts: Api<ConfigMap>,
    pub(crate) announcer: Announcer,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) pace: Pace,
    pub(crate) entropy: fn(&mut [u8]),
}

/// What one step led to.
enum Next {
    /// Look again, with the request as it is now.
    Look(Arc<Request>),
    /// Done, until this time.
    Rest(Option<Timestamp>),
}

impl Worker {
    /// Works on an item until nothing is left to do.
    pub(crate) async fn work(&self, item: Item) -> Outcome {
        let done = match &item {
            Item::Request(place) => self.work_on_request(&item, place).await,
            Item::Debt(name) => self.work_on_debt(&item, name).await,
        };
        match done {
            Ok(until) => {
                self.metrics.reconciled(true);
                until.map_or(Outcome::Done, |until| {
                    let left = until.duration_since(Timestamp::now());
                    let left = Duration::try_from(left).unwrap_or_default();
                    Outcome::Later(left.min(LONGEST_REST))
                })
            }
            Err(trouble) => {
                self.metrics.reconciled(false);
                tracing::warn!(
                    ?item,
                    error = told(&trouble),
                    "could not be done and is tried again"
                );
                Outcome::Retry
            }
        }
    }

    async fn work_on_request(
        &self,
        item: &Item,
        place: &Place,
    ) -> Result<Option<Timestamp>, Trouble> {
        let mut request = self.world.request(place);
        let (mut is_fresh, mut is_absent) = (false, false);
        for _ in 0..STEPS {
            let strays = self.strays(place, request.as_deref());
            self.want(item, request.as_deref(), &strays);
            if !strays.is_empty() && !is_fresh {
                request = self.read(place).await?;
                is_fresh = true;
                continue;
            }
            let left = self.sweep(place, &strays).await?;
            let Some(known) = request.clone() else {
                if !strays.is_empty() && !left {
                    continue;
                }
                return Ok(None);
            };
            match self.step(&known, &mut is_absent).await {
                Ok(Next::Look(newer)) => request = Some(newer),
                Ok(Next::Rest(until)) => return Ok(until),
                Err(Trouble::Outdated) => {
                    request = self.read(place).await?;
                    is_fresh = true;
                }
                Err(trouble) => {
                    if matches!(trouble, Trouble::Target(_) | Trouble::TargetSilent) {
                        for issue in &known.status.tokens {
                            self.targets.suspect(&issue.place());
                        }
                    }
                    return Err(trouble);
                }
            }
        }
        Ok(Some(Timestamp::now()))
    }

    /// Says with which clusters a request has to do.
    fn want(&self, item: &Item, request: Option<&Request>, strays: &[targets::Standing]) {
        let mut places: HashSet<Place> = strays.iter().map(|stray| stray.cluster.clone()).collect();
        if let Some(request) = request {
            places.extend(request.status.tokens.iter().map(Issue::place));
            if let (Ok(wish), false) = (&request.wish, request.deleting) {
                places.insert(wish.cluster.clone());
            }
        }
        self.targets.set_wants(item, places);
    }

    /// The request as it is now; `None` when it is gone.
    async fn read(&self, place: &Place) -> Result<Option<Arc<Request>>, Trouble> {
        let api = hands::requests(&self.client, &place.namespace);
        let found = api.get_opt(&place.name).await.map_err(Trouble::Api)?;
        if found.is_none()
            && let Some(known) = self.world.request(place)
        {
            self.world.drop_request(place, &known.uid);
        }
        Ok(found.map(|object| self.world.put_request(Request::read(&object))))
    }

    /// Tokens that stand in a target cluster for this request and are not on its record.
    fn strays(&self, place: &Place, request: Option<&Request>) -> Vec<targets::Standing> {
        let mut standing = self.targets.standing.of(place);
        standing.retain(|token| {
            let on_record = request.is_some_and(|request| {
                request.uid == token.request_uid
                    && request
                        .status
                        .tokens
                        .iter()
                        .any(|issue| issue.id == token.id)
            });
            !on_record && !self.world.owes(&token.cluster, &token.id)
        });
        standing
    }

    /// Removes tokens that nobody answers for: of an operator that was stopped for a long time in the middle of its work,
    /// or of requests that vanished without us.
    /// Answers whether some are left because their cluster does not answer.
    async fn sweep(&self, place: &Place, strays: &[targets::Standing]) -> Result<bool, Trouble> {
        let mut are_left = false;
        for stray in strays {
            let Some(target) = self.targets.target(&stray.cluster) else {
                are_left = true;
                continue;
            };
            tracing::warn!(request = %place, cluster = %stray.cluster, token = stray.id, "a token without a record is removed");
            hands::remove(&target, &stray.id, &stray.request_uid).await?;
            self.targets
                .standing
                .forget(place, &stray.cluster, &stray.id);
            self.metrics.removed();
        }
        Ok(are_left)
    }

    /// `is_absent` remembers from step to step that there is no Secret; whoever makes one finds out otherwise.
    async fn step(&self, request: &Arc<Request>, is_absent: &mut bool) -> Result<Next, Trouble> {
        if let Some(lost) = self.lost(request).await? {
            self.announcer.tell(request, News::Lost { id: &lost });
            return self.write(request, &without(request, &lost)).await;
        }
        let secret = self.secret_of(request, *is_absent).await?;
        *is_absent = request.is_held() && secret == SecretState::Absent;
        let fresh = BootstrapToken::generate(&mut { self.entropy });
        let view = View {
            request,
            cluster: &|place| self.targets.state(place),
            secret: &secret,
            now: Timestamp::now(),
            fresh: fresh.id().as_str(),
        };
        match decide(&view) {
            Step::Rest(until) => Ok(Next::Rest(until)),
            Step::Hold => {
                self.pace.turn().await;
                let held = hands::set_held(&self.client, request, true).await?;
                Ok(Next::Look(self.world.put_request(held)))
            }
            Step::Write(status) => self.write(request, &status).await,
            Step::Deliver(issue) => {
                *is_absent = false;
                self.deliver(request, &issue, &secret).await
            }
            Step::Remove(issue, status) => self.remove(request, &issue, &status).await,
            Step::Owe(issue, status) => {
                let debt = Debt::of(&issue, request.place.clone(), &request.uid);
                hands::write_debt(&self.debts, &debt).await?;
                self.world.put_debt(debt);
                self.announcer.tell(request, News::Owed { issue: &issue });
                self.write(request, &status).await
            }
            Step::Release => {
                match hands::set_held(&self.client, request, false).await {
                    Ok(_) | Err(Trouble::Outdated) => {}
                    Err(trouble) => return Err(trouble),
                }
                Ok(Next::Rest(None))
            }
        }
    }

    async fn write(&self, request: &Arc<Request>, status: &Status) -> Result<Next, Trouble> {
        let written = hands::write_status(&self.client, request, status).await?;
        self.announcer.tell_difference(request, &written);
        Ok(Next::Look(self.world.put_request(written)))
    }

    /// The id of the token in use, if somebody else removed it from the target cluster.
    async fn lost(&self, request: &Request) -> Result<Option<String>, Trouble> {
        let Some(issue) = request.status.current() else {
            return Ok(None);
        };
        let is_expected = issue.phase == Phase::Delivered
            && !issue.is_past(Timestamp::now())
            && !request.deleting;
        let (Some(target), true) = (self.targets.target(&issue.place()), is_expected) else {
            return Ok(None);
        };
        let known = self.targets.standing.of(&request.place);
        if target.ready.uid != issue.cluster_uid || known.iter().any(|token| token.id == issue.id) {
            return Ok(None);
        }
        Ok(
            match hands::look_up(&target, &issue.id, &request.uid).await? {
                Standing::Ours(_) | Standing::Made(_) => {
                    self.note(request, issue);
                    None
                }
                Standing::Nothing | Standing::Taken => Some(issue.id.clone()),
            },
        )
    }

    fn note(&self, request: &Request, issue: &Issue) {
        let token = targets::Standing {
            cluster: issue.place(),
            id: issue.id.clone(),
            request_uid: request.uid.clone(),
        };
        self.targets.standing.note(request.place.clone(), token);
    }

    async fn secret_of(&self, request: &Request, is_absent: bool) -> Result<SecretState, Trouble> {
        let needs_look = request.is_held() && !request.deleting && request.wish.is_ok();
        if !needs_look {
            return Ok(SecretState::Absent);
        }
        let seen = match self.world.secret(&request.place) {
            Some(seen) => Some(seen),
            None if is_absent => None,
            None => {
                let api =
                    Api::<SecretObject>::namespaced(self.client.clone(), &request.place.namespace);
                let found = api
                    .get_opt(&request.place.name)
                    .await
                    .map_err(Trouble::Api)?;
                found.as_ref().map(SeenSecret::of)
            }
        };
        Ok(match (seen, &request.wish) {
            (Some(seen), Ok(wish)) if seen.owner.as_ref() == Some(&request.uid) => {
                let labels = hands::labels_of(request, wish);
                let has = |(key, value)| seen.labels.get(key) == Some(value);
                SecretState::Ours {
                    is_whole: labels.iter().all(has) && seen.type_ == hands::SECRET_TYPE,
                    digest: seen.digest,
                }
            }
            (Some(_), _) => SecretState::Foreign,
            (None, _) => SecretState::Absent,
        })
    }

    async fn deliver(
        &self,
        request: &Arc<Request>,
        issue: &Issue,
        secret: &SecretState,
    ) -> Result<Next, Trouble> {
        let (Some(target), Ok(wish)) = (self.targets.target(&issue.place()), &request.wish) else {
            return Ok(Next::Rest(None));
        };
        if target.ready.uid != issue.cluster_uid {
            return Ok(Next::Look(Arc::clone(request)));
        }
        self.pace.turn().await;
        let origin = Origin {
            manager: &self.targets.manager,
            request: &request.place,
            uid: &request.uid,
        };
        let standing = if issue.phase == Phase::Decided {
            hands::make(&target, issue, wish, origin, self.entropy).await?
        } else {
            hands::look_up(&target, &issue.id, &request.uid).await?
        };
        let token = match standing {
            Standing::Made(token) => {
                self.metrics.minted();
                token
            }
            Standing::Ours(token) => token,
            Standing::Nothing | Standing::Taken => {
                return self.write(request, &without(request, &issue.id)).await;
            }
        };
        self.note(request, issue);
        let text = wish.flavour.text(wish.role, &target.way, &token);
        let Some(written) = hands::put_secret(&self.client, request, wish, &text).await? else {
            self.world.drop_secret(&request.place);
            return Ok(Next::Look(Arc::clone(request)));
        };
        self.world.put_secret(&written);
        if issue.phase == Phase::Delivered && *secret != SecretState::Absent {
            self.announcer.tell(request, News::Restored);
        } else if issue.phase == Phase::Delivered {
            self.announcer.tell(request, News::Refilled);
        }
        let digest = fingerprint(text.expose().as_bytes());
        let status = delivered(
            request,
            &issue.id,
            &digest,
            &target.ready.way,
            Timestamp::now(),
        );
        if status == request.status {
            return Ok(Next::Look(Arc::clone(request)));
        }
        let next = self.write(request, &status).await?;
        self.metrics.delivered(&request.uid);
        Ok(next)
    }

    async fn remove(
        &self,
        request: &Arc<Request>,
        issue: &Issue,
        status: &Status,
    ) -> Result<Next, Trouble> {
        let Some(target) = self.targets.target(&issue.place()) else {
            return Ok(Next::Look(Arc::clone(request)));
        };
        if hands::remove(&target, &issue.id, &request.uid).await? {
            self.metrics.removed();
            self.announcer.tell(request, News::Removed { issue });
        }
        self.targets
            .standing
            .forget(&request.place, &issue.place(), &issue.id);
        self.write(request, status).await
    }

    async fn work_on_debt(&self, item: &Item, name: &str) -> Result<Option<Timestamp>, Trouble> {
        let Some(debt) = self.world.debt(name) else {
            self.targets.set_wants(item, HashSet::new());
            return Ok(None);
        };
        self.targets
            .set_wants(item, HashSet::from([debt.cluster.clone()]));
        let strike = async |why: &str| {
            tracing::info!(cluster = %debt.cluster, token = debt.id, request = %debt.request, "a debt is struck out: {why}");
            hands::strike_debt(&self.debts, name).await?;
            self.world.drop_debt(name);
            self.targets.set_wants(item, HashSet::new());
            Ok(None)
        };
        if debt.end.is_some_and(|end| end <= Timestamp::now()) {
            return strike("the token has expired").await;
        }
        match self.targets.state(&debt.cluster) {
            ClusterState::Ready(ready) if ready.uid == debt.cluster_uid => {
                let Some(target) = self.targets.target(&debt.cluster) else {
                    return Ok(debt.end);
                };
                match hands::remove(&target, &debt.id, &debt.request_uid).await {
                    Ok(removed) => {
                        if removed {
                            self.metrics.removed();
                        }
                        self.targets
                            .standing
                            .forget(&debt.request, &debt.cluster, &debt.id);
                        strike("the token is removed").await
                    }
                    Err(trouble) => {
                        self.targets.suspect(&debt.cluster);
                        Err(trouble)
                    }
                }
            }
            ClusterState::Ready(_) => strike("the cluster is another one now").await,
            ClusterState::Missing if debt.cluster_object => strike("the cluster is gone").await,
            _ => Ok(debt.end),
        }
    }
}
