//! Approves and signs certificate signing requests, and clears old ones away.
//!
//! One watch feeds all of it. A request is carried from pending to signed in one go, with the
//! object that each write returns, so that a join waits for two writes and nothing else; a thousand
//! pending requests do not wait on each other. A request that waits for its Node to report an
//! address is looked at again when that Node changes.

mod decide;

pub use decide::{Approval, Decision, Facts, decide};

use crate::events::{Change, changes};
use crate::failure::{is_outdated, outcome_of};
use crate::keyed::{self, Outcome};
use futures::{Stream, StreamExt, future, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use muster_identity::pki::{CertificateAuthority, IssueRequest};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How many requests are worked on at the same time.
const LIMIT: usize = 64;
/// How often requests are looked at that nothing happens to; the shortest life of one is an hour.
const SWEEP_INTERVAL: Duration = Duration::from_secs(600);

/// What the certificate controllers need to know.
#[derive(Clone)]
pub struct CertificateSettings {
    /// The CA that signs for all four signers of kubernetes.io.
    pub authority: Arc<CertificateAuthority>,
    /// The longest life of a certificate (`--cluster-signing-duration`; one year upstream).
    pub longest_life: SignedDuration,
    /// Fills serial numbers; must be cryptographically secure.
    pub entropy: fn(&mut [u8]),
    /// Whether requests of kubernetes.io/kubelet-serving are approved after a check of their
    /// addresses against the Node. kube-controller-manager never approves these.
    pub approve_kubelet_serving: bool,
}

struct Certificates {
    client: Client,
    requests: Api<CertificateSigningRequest>,
    settings: CertificateSettings,
    /// Serving requests that wait for their Node: Node name → names of requests.
    waiting: Mutex<HashMap<String, HashSet<String>>>,
    /// Uids of requests signed here whose certificate the watch has not shown yet: an older event of
    /// them is no reason to sign again.
    signed: Mutex<HashSet<String>>,
    again: mpsc::UnboundedSender<String>,
}

type Keyed = (String, Item);

/// What the worker is given: the object of an event, or a name to look up again.
#[derive(Clone)]
enum Item {
    Seen(Arc<CertificateSigningRequest>),
    Named(String),
}

/// Works on requests for ever.
pub(crate) async fn run(client: Client, settings: CertificateSettings) {
    let (again, named) = mpsc::unbounded_channel();
    let requests = Api::all(client.clone());
    let controller = Arc::new(Certificates {
        client,
        requests,
        settings,
        waiting: Mutex::new(HashMap::new()),
        signed: Mutex::new(HashSet::new()),
        again,
    });
    let work = keyed::run(controller.items(named), LIMIT, |item: Item| {
        let controller = Arc::clone(&controller);
        async move { controller.handle(item).await }
    });
    future::join3(work, controller.follow_nodes(), controller.sweep()).await;
}

impl Certificates {
    fn items(
        self: &Arc<Self>,
        named: mpsc::UnboundedReceiver<String>,
    ) -> impl Stream<Item = Keyed> + use<> {
        let controller = Arc::clone(self);
        let seen = changes(self.requests.clone(), watcher::Config::default())
            .filter_map(move |change| {
                future::ready(match change {
                    Change::Present(csr) => Some((csr.name_any(), Item::Seen(Arc::new(csr)))),
                    Change::Gone(former) => {
                        controller.signed.lock().remove(&former.uid);
                        None
                    }
                    Change::Listed => None,
                })
            })
            .boxed();
        let named = stream::unfold(named, |mut named| async move {
            let name: String = named.recv().await?;
            Some(((name.clone(), Item::Named(name)), named))
        });
        stream::select(seen, named.boxed())
    }

    /// Wakes requests that wait for a Node when that Node changes.
    async fn follow_nodes(&self) {
        if !self.settings.approve_kubelet_serving {
            return future::pending().await;
        }
        let nodes = Api::<Node>::all(self.client.clone());
        let mut nodes = std::pin::pin!(changes(nodes, watcher::Config::default()));
        while let Some(change) = nodes.next().await {
            let Change::Present(node) = change else {
                continue;
            };
            let woken = self
                .waiting
                .lock()
                .remove(&node.name_any())
                .unwrap_or_default();
            for name in woken {
                // The receiver lives as long as this future.
                let _ = self.again.send(name);
            }
        }
    }

    /// Sends every request through the decision now and then: time passes without an event.
    async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            match self.requests.list_metadata(&ListParams::default()).await {
                // The receiver lives as long as this future.
                Ok(all) => all.items.iter().for_each(|one| {
                    let _ = self.again.send(one.name_any());
                }),
                Err(error) => tracing::debug!(%error, "old requests could not be listed"),
            }
        }
    }

    async fn handle(&self, item: Item) -> Outcome {
        let (name, mut csr) = match item {
            Item::Seen(csr) => (csr.name_any(), Arc::unwrap_or_clone(csr)),
            Item::Named(name) => match self.requests.get_opt(&name).await {
                Ok(Some(csr)) => (name, csr),
                Ok(None) => return Outcome::Done,
                Err(error) => return outcome_of::<()>("reading a request", &name, Err(error)),
            },
        };
        loop {
            match self.step(&name, csr).await {
                Ok(Step::Next(newer)) => csr = *newer,
                Ok(Step::Stop(outcome)) => return outcome,
                Err(error) => return outcome_of::<()>("a signing request", &name, Err(error)),
            }
        }
    }

    /// Takes one decision and carries it out.
    async fn step(&self, name: &str, csr: CertificateSigningRequest) -> Result<Step, kube::Error> {
        let now = Timestamp::now();
        if self.is_signed_already(&csr) {
            return Ok(Step::Stop(Outcome::Done));
        }
        let facts = self.facts(name, &csr).await?;
        let next = match decide(&csr, &facts, self.settings.longest_life, now) {
            // What waits was noted before its Node was read.
            Decision::Nothing | Decision::WaitForNode(_) => Step::Stop(Outcome::Done),
            Decision::Approve(reasons) => match self.first_allowed(&csr, reasons).await? {
                Some(reason) => Step::Next(Box::new(self.approve(name, csr, reason, now).await?)),
                None => {
                    tracing::info!(
                        request = name,
                        "its requester may not be approved by itself"
                    );
                    Step::Stop(Outcome::Done)
                }
            },
            Decision::Sign(order) => {
                self.sign(name, csr, &order, now).await?;
                Step::Stop(Outcome::Done)
            }
            Decision::Fail { message } => {
                self.fail(name, csr, &message, now).await?;
                Step::Stop(Outcome::Done)
            }
            Decision::Remove => {
                self.remove(name, &csr).await?;
                Step::Stop(Outcome::Done)
            }
        };
        Ok(next)
    }

    /// Whether this is the state of a request from before it was signed here.
    fn is_signed_already(&self, csr: &CertificateSigningRequest) -> bool {
        let Some(uid) = csr.uid() else { return false };
        let shown = csr
            .status
            .as_ref()
            .is_some_and(|status| status.certificate.is_some());
        let mut signed = self.signed.lock();
        if shown {
            signed.remove(&uid);
            return false;
        }
        signed.contains(&uid)
    }

    /// What the decision needs beyond the request itself.
    async fn facts(
        &self,
        name: &str,
        csr: &CertificateSigningRequest,
    ) -> Result<Facts, kube::Error> {
        let Some(node) = decide::serving_node(csr) else {
            return Ok(Facts::default());
        };
        if !self.settings.approve_kubelet_serving {
            return Ok(Facts::default());
        }
        // Noted before the Node is read: a change right after the reading must wake the request.
        self.waiting
            .lock()
            .entry(node.clone())
            .or_default()
            .insert(name.to_owned());
        let found = Api::<Node>::all(self.client.clone()).get_opt(&node).await?;
        Ok(Facts {
            approve_kubelet_serving: true,
            node: found,
        })
    }

    /// The first reason for an approval that needs no person.
    async fn first_allowed(
        &self,
        csr: &CertificateSigningRequest,
        reasons: &[Approval],
    ) -> Result<Option<Approval>, kube::Error> {
        for reason in reasons {
            let allowed = match reason.review() {
                Some(subresource) => self.is_allowed(csr, subresource).await?,
                None => true,
            };
            if allowed {
                return Ok(Some(*reason));
            }
        }
        Ok(None)
    }

    /// Asks whether the requester may create this subresource of requests.
    async fn is_allowed(
        &self,
        csr: &CertificateSigningRequest,
        subresource: &str,
    ) -> Result<bool, kube::Error> {
        let question = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: csr.spec.username.clone(),
                uid: csr.spec.uid.clone(),
                groups: csr.spec.groups.clone(),
                extra: csr.spec.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some("certificates.k8s.io".to_owned()),
                    resource: Some("certificatesigningrequests".to_owned()),
                    subresource: Some(subresource.to_owned()),
                    verb: Some("create".to_owned()),
                    version: Some("*".to_owned()),
                    ..ResourceAttributes::default()
                }),
                non_resource_attributes: None,
            },
            ..SubjectAccessReview::default()
        };
        let api = Api::<SubjectAccessReview>::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &question).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    async fn approve(
        &self,
        name: &str,
        mut csr: CertificateSigningRequest,
        approval: Approval,
        now: Timestamp,
    ) -> Result<CertificateSigningRequest, kube::Error> {
        add_condition(
            &mut csr,
            "Approved",
            "AutoApproved",
            approval.message(),
            now,
        );
        self.requests
            .replace_subresource("approval", name, &PostParams::default(), &csr)
            .await
    }

    async fn sign(
        &self,
        name: &str,
        mut csr: CertificateSigningRequest,
        order: &IssueRequest,
        now: Timestamp,
    ) -> Result<(), kube::Error> {
        let mut entropy = self.settings.entropy;
        let certificate = match self.settings.authority.issue(order, now, &mut entropy) {
            Ok(certificate) => certificate,
            Err(error) => {
                let message = format!("the CA cannot sign: {error}");
                return self.fail(name, csr, &message, now).await;
            }
        };
        let pem = ByteString(certificate.to_pem().into_bytes());
        csr.status.get_or_insert_default().certificate = Some(pem);
        let written = self
            .requests
            .replace_status(name, &PostParams::default(), &csr)
            .await?;
        // The event of this very write takes the note away again.
        self.signed.lock().extend(written.uid());
        Ok(())
    }

    async fn fail(
        &self,
        name: &str,
        mut csr: CertificateSigningRequest,
        message: &str,
        now: Timestamp,
    ) -> Result<(), kube::Error> {
        tracing::warn!(request = name, message, "a request cannot be signed");
        add_condition(&mut csr, "Failed", "SignerValidationFailure", message, now);
        self.requests
            .replace_status(name, &PostParams::default(), &csr)
            .await
            .map(|_| ())
    }

    async fn remove(&self, name: &str, csr: &CertificateSigningRequest) -> Result<(), kube::Error> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: csr.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.requests.delete(name, &parameters).await {
            Err(error) if !is_outdated(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

enum Step {
    Next(Box<CertificateSigningRequest>),
    Stop(Outcome),
}

fn add_condition(
    csr: &mut CertificateSigningRequest,
    type_: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let conditions = csr
        .status
        .get_or_insert_default()
        .conditions
        .get_or_insert_default();
    conditions.push(CertificateSigningRequestCondition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}
