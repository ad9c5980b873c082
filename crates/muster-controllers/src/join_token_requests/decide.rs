//! What to do next about one request: a pure function from what is seen to one step.
//!
//! After each step everything is looked at anew, so that an operator that dies anywhere goes on where it stopped. The
//! order carries the promise: a token's id is on record before the token is made, and off the record only after the
//! token is gone or written down as a debt. It refuses to know the API, the clock and chance.

use super::request::{Issue, Phase, Place, Request, Status, Unfit, Wish};
use super::status::{NOT_FOUND, Verdict, assemble};
use jiff::Timestamp;

/// What is known of a target cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClusterState {
    /// Not yet known.
    Connecting,
    /// There is neither an object nor a kubeconfig.
    Missing,
    /// The object is there, its kubeconfig is not.
    NoKubeconfig,
    /// Its kubeconfig cannot be used.
    Unusable(String),
    /// It does not answer, or refuses us.
    Unreachable(String),
    /// It answers.
    Ready(Ready),
}

/// A cluster that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    /// Which cluster it is: the uid of its object, else of its `kube-system`.
    pub(crate) uid: String,
    /// Whether there is an object.
    pub(crate) has_object: bool,
    /// Fingerprint of where tokens lead.
    pub(crate) way: String,
}

/// What is known of the Secret with the request's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretState {
    /// There is none.
    Absent,
    /// It is not ours.
    Foreign,
    /// It is ours.
    Ours {
        /// SHA-256 of the token in it.
        digest: String,
        /// Whether labels, type and owner are as they should be.
        is_whole: bool,
    },
}

/// Everything that a decision rests on.
pub(crate) struct View<'a> {
    pub(crate) request: &'a Request,
    /// What is known of any cluster that the request has to do with.
    pub(crate) cluster: &'a dyn Fn(&Place) -> ClusterState,
    pub(crate) secret: &'a SecretState,
    pub(crate) now: Timestamp,
    /// An id for a token, should one be needed.
    pub(crate) fresh: &'a str,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing, until something happens or this time comes.
    Rest(Option<Timestamp>),
    /// Put our finalizer on the request.
    Hold,
    /// Write the status.
    Write(Box<Status>),
    /// See that the token stands in the target cluster, and put it into the Secret.
    Deliver(Box<Issue>),
    /// Remove the token from the target cluster, then write the status.
    Remove(Box<Issue>, Box<Status>),
    /// Write down that the token has to be removed later, then write the status.
    Owe(Box<Issue>, Box<Status>),
    /// Take our finalizer off.
    Release,
}

/// The next step.
pub(crate) fn decide(view: &View<'_>) -> Step {
    let request = view.request;
    if request.deleting {
        return depart(view);
    }
    if !request.is_held() {
        return Step::Hold;
    }
    let wish = match &request.wish {
        Ok(wish) => wish,
        Err(unfit) => return say(view, &Verdict::Unfit(unfit.clone())),
    };
    match (view.cluster)(&wish.cluster) {
        ClusterState::Ready(ready) => serve(view, wish, &ready),
        ClusterState::Connecting => Step::Rest(None),
        state => {
            let elsewhere = |issue: &Issue| issue.place() != wish.cluster;
            retire(view, elsewhere)
                .unwrap_or_else(|| say(view, &Verdict::Waiting(why(&state, wish))))
        }
    }
}

fn why(state: &ClusterState, wish: &Wish) -> Unfit {
    let cluster = &wish.cluster;
    let (reason, message) = match state {
        ClusterState::NoKubeconfig => (
            "ClusterNotReady",
            format!("the cluster {cluster} has no kubeconfig yet"),
        ),
        ClusterState::Unusable(why) => (
            "KubeconfigUnusable",
            format!("the kubeconfig of the cluster {cluster} cannot be used: {why}"),
        ),
        ClusterState::Unreachable(why) => (
            "ClusterUnreachable",
            format!("the cluster {cluster} does not answer: {why}"),
        ),
        ClusterState::Missing | ClusterState::Connecting | ClusterState::Ready(_) => (
            NOT_FOUND,
            format!(
                "there is no cluster {cluster}, and no Secret {}-kubeconfig in its namespace",
                cluster.name
            ),
        ),
    };
    Unfit { reason, message }
}

/// The cluster answers: see that there is a token and that it is in the Secret.
fn serve(view: &View<'_>, wish: &Wish, ready: &Ready) -> Step {
    let request = view.request;
    if *view.secret == SecretState::Foreign {
        // Nobody gets at these tokens.
        return retire(view, |_| true).unwrap_or_else(|| say(view, &Verdict::Foreign));
    }
    let current = request.status.current();
    let Some(issue) = current.filter(|issue| issue.answers(wish, &ready.uid)) else {
        return record(view, wish, ready);
    };
    if issue.is_past(view.now) || issue.phase == Phase::Ended {
        return expired(view, wish, ready, issue);
    }
    let is_there = matches!(
        view.secret,
        SecretState::Ours { digest, is_whole: true } if issue.digest.as_ref() == Some(digest)
    );
    if issue.phase == Phase::Decided || !is_there || issue.way.as_ref() != Some(&ready.way) {
        return Step::Deliver(Box::new(issue.clone()));
    }
    let former = |other: &Issue| other.id != issue.id;
    retire(view, former).unwrap_or_else(|| say(view, &Verdict::Delivered))
}

fn expired(view: &View<'_>, wish: &Wish, ready: &Ready, issue: &Issue) -> Step {
    if wish.renew {
        return record(view, wish, ready);
    }
    if issue.phase != Phase::Ended {
        // The cluster's own cleaner may be off.
        let mut tokens = view.request.status.tokens.clone();
        for token in tokens.iter_mut().filter(|token| token.id == issue.id) {
            token.phase = Phase::Ended;
        }
        let id = Some(issue.id.clone());
        let status = assemble(view.request, tokens, id, &Verdict::Expired, view.now);
        return Step::Remove(Box::new(issue.clone()), Box::new(status));
    }
    retire(view, |other| other.id != issue.id).unwrap_or_else(|| say(view, &Verdict::Expired))
}

/// Puts a fresh token on record. The former one stays there until it is removed.
fn record(view: &View<'_>, wish: &Wish, ready: &Ready) -> Step {
    let mut tokens = view.request.status.tokens.clone();
    tokens.push(Issue {
        id: view.fresh.to_owned(),
        namespace: wish.cluster.namespace.clone(),
        cluster: wish.cluster.name.clone(),
        cluster_uid: ready.uid.clone(),
        cluster_object: ready.has_object,
        role: wish.role.as_str().to_owned(),
        expiry: wish.expiry.clone(),
        format: wish.flavour.as_str().to_owned(),
        expiration_time: wish.life.and_then(|life| end_after(view.now, life)),
        phase: Phase::Decided,
        digest: None,
        way: None,
    });
    let id = Some(view.fresh.to_owned());
    Step::Write(Box::new(assemble(
        view.request,
        tokens,
        id,
        &Verdict::Creating,
        view.now,
    )))
}

/// Whole seconds, as the token's Secret has them; never earlier than asked for.
fn end_after(now: Timestamp, life: jiff::SignedDuration) -> Option<Timestamp> {
    let end = now.checked_add(life).unwrap_or(Timestamp::MAX);
    let up = i64::from(end.subsec_nanosecond() > 0);
    Timestamp::from_second(end.as_second() + up).ok()
}

/// The status after a token came into the Secret.
pub(crate) fn delivered(
    request: &Request,
    id: &str,
    digest: &str,
    way: &str,
    now: Timestamp,
) -> Status {
    let mut tokens = request.status.tokens.clone();
    for token in tokens.iter_mut().filter(|token| token.id == id) {
        token.phase = Phase::Delivered;
        token.digest = Some(digest.to_owned());
        token.way = Some(way.to_owned());
    }
    let id = request.status.token_id.clone();
    assemble(request, tokens, id, &Verdict::Delivered, now)
}

/// The status after it turned out that a token cannot be used: it vanished, or its id was taken.
pub(crate) fn without(request: &Request, id: &str) -> Status {
    let mut status = request.status.clone();
    status.tokens.retain(|token| token.id != id);
    if status.token_id.as_deref() == Some(id) {
        status.token_id = None;
    }
    status
}

/// Writes the status, if it says something new.
fn say(view: &View<'_>, verdict: &Verdict) -> Step {
    let request = view.request;
    let end = request
        .status
        .current()
        .and_then(|issue| issue.expiration_time);
    let again = end.filter(|end| *end > view.now);
    let tokens = request.status.tokens.clone();
    let id = request.status.token_id.clone();
    let status = assemble(request, tokens, id, verdict, view.now);
    if status == request.status {
        Step::Rest(again)
    } else {
        Step::Write(Box::new(status))
    }
}

/// The next step towards getting rid of the first of these tokens that can be dealt with now.
fn retire(view: &View<'_>, which: impl Fn(&Issue) -> bool) -> Option<Step> {
    let tokens = &view.request.status.tokens;
    tokens
        .iter()
        .filter(|issue| which(issue))
        .find_map(|issue| dismiss(view, issue))
}

/// `None` while it is not known how the cluster is.
fn dismiss(view: &View<'_>, issue: &Issue) -> Option<Step> {
    let issue_ = || Box::new(issue.clone());
    let after = Box::new(without(view.request, &issue.id));
    if issue.phase == Phase::Ended {
        return Some(Step::Write(after));
    }
    Some(match (view.cluster)(&issue.place()) {
        ClusterState::Connecting => return None,
        ClusterState::Ready(ready) if ready.uid == issue.cluster_uid => {
            Step::Remove(issue_(), after)
        }
        // The cluster that knew the token is gone.
        ClusterState::Ready(_) => Step::Write(after),
        ClusterState::Missing if issue.cluster_object => Step::Write(after),
        _ if issue.is_past(view.now) => Step::Write(after),
        _ => Step::Owe(issue_(), after),
    })
}

/// The request is being deleted.
fn depart(view: &View<'_>) -> Step {
    if !view.request.is_held() {
        return Step::Rest(None);
    }
    if view.request.status.tokens.is_empty() {
        return Step::Release;
    }
    retire(view, |_| true).unwrap_or(Step::Rest(None))
}

#[cfg(test)]
mod tests;
