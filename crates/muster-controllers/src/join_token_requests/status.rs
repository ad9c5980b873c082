//! What a request's status says: conditions, and the same in the words and fields of the older version.
//!
//! It refuses to decide what is so.

use super::request::{Deprecated, DeprecatedFields, Issue, Phase, Request, Status, Unfit, Wish};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The Secret is there, and the token in it is good.
pub(crate) const READY: &str = "Ready";
/// The Secret was made (k0smotron's condition).
pub(crate) const CREATED: &str = "JoinTokenSecretCreated";
/// The token has expired.
pub(crate) const EXPIRED: &str = "Expired";
/// The target cluster was found and answers.
pub(crate) const AVAILABLE: &str = "ClusterAvailable";

/// The reason when there is no such cluster.
pub(crate) const NOT_FOUND: &str = "ClusterNotFound";

/// What there is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The wish cannot be carried out.
    Unfit(Unfit),
    /// The cluster cannot be used now.
    Waiting(Unfit),
    /// A Secret of this name belongs to somebody else.
    Foreign,
    /// A token is being made.
    Creating,
    /// The token has expired and stays so.
    Expired,
    /// All is well.
    Delivered,
}

/// What k0smotron writes when all is well; scripts look for it.
const SUCCESS: &str = "Reconciliation successful";

struct Said<'a> {
    type_: &'static str,
    status: bool,
    reason: &'a str,
    message: &'a str,
}

/// The status of `request` with these tokens.
pub(crate) fn assemble(
    request: &Request,
    tokens: Vec<Issue>,
    token_id: Option<String>,
    verdict: &Verdict,
    now: Timestamp,
) -> Status {
    let mut status = request.status.clone();
    status.tokens = tokens;
    status.token_id = token_id;
    status.observed_generation = request.generation;
    if let Ok(wish) = &request.wish {
        status.cluster = shown_cluster(request, wish);
    }
    let current = status.current().cloned();
    status.cluster_uid = current.as_ref().map(|issue| issue.cluster_uid.clone());
    status.expiration_time = current.as_ref().and_then(|issue| issue.expiration_time);
    for said in conditions_of(verdict, current.as_ref(), now) {
        set(&mut status.conditions, &said, request.generation, now);
    }
    status.reconciliation_status = words(verdict);
    status.deprecated = Deprecated {
        v1beta1: DeprecatedFields {
            reconciliation_status: status.reconciliation_status.clone(),
            cluster_uid: status.cluster_uid.clone(),
        },
    };
    status
}

fn shown_cluster(request: &Request, wish: &Wish) -> String {
    if wish.cluster.namespace == request.place.namespace {
        wish.cluster.name.clone()
    } else {
        wish.cluster.to_string()
    }
}

fn words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Unfit(unfit) | Verdict::Waiting(unfit) => unfit.message.clone(),
        Verdict::Foreign => FOREIGN.to_owned(),
        Verdict::Creating => "A token is being made".to_owned(),
        Verdict::Expired => "The token has expired".to_owned(),
        Verdict::Delivered => SUCCESS.to_owned(),
    }
}

const FOREIGN: &str =
    "a Secret of this name exists and does not belong to the request; it is left as it is";

fn conditions_of<'a>(
    verdict: &'a Verdict,
    current: Option<&Issue>,
    now: Timestamp,
) -> Vec<Said<'a>> {
    let said = |type_, status, reason, message| Said {
        type_,
        status,
        reason,
        message,
    };
    let is_good =
        current.is_some_and(|issue| issue.phase == Phase::Delivered && !issue.is_past(now));
    let available = said(AVAILABLE, true, "Connected", "the cluster answers");
    let not_expired = said(EXPIRED, false, "Valid", "the token has not expired");
    match verdict {
        Verdict::Unfit(unfit) => {
            vec![said(READY, false, unfit.reason, &unfit.message)]
        }
        Verdict::Waiting(unfit) => {
            let mut all = vec![said(AVAILABLE, false, unfit.reason, &unfit.message)];
            // Of a cluster that is gone no token is good.
            if !is_good || unfit.reason == NOT_FOUND {
                all.push(said(READY, false, unfit.reason, &unfit.message));
                all.push(said(CREATED, false, unfit.reason, &unfit.message));
            }
            all
        }
        Verdict::Foreign => vec![
            said(READY, false, "SecretExists", FOREIGN),
            said(CREATED, false, "SecretExists", FOREIGN),
            available,
        ],
        Verdict::Creating => {
            let message = "a token is being made";
            vec![
                said(READY, false, "Creating", message),
                said(CREATED, false, "Creating", message),
                not_expired,
                available,
            ]
        }
        Verdict::Expired => {
            let message =
                "the token has expired; the annotation renew: \"true\" has a fresh one made";
            vec![
                said(READY, false, "Expired", message),
                said(EXPIRED, true, "Expired", message),
            ]
        }
        Verdict::Delivered => vec![
            said(READY, true, "Created", "the Secret holds a good token"),
            said(CREATED, true, "Created", "the Secret was made"),
            not_expired,
            available,
        ],
    }
}

fn set(conditions: &mut Vec<Condition>, said: &Said<'_>, generation: i64, now: Timestamp) {
    let status = if said.status { "True" } else { "False" };
    let at = conditions.iter().position(|one| one.type_ == said.type_);
    let since = at
        .map(|at| &conditions[at])
        .filter(|before| before.status == status)
        .map_or_else(|| Time(now), |before| before.last_transition_time.clone());
    let condition = Condition {
        type_: said.type_.to_owned(),
        status: status.to_owned(),
        reason: said.reason.to_owned(),
        message: said.message.to_owned(),
        observed_generation: Some(generation),
        last_transition_time: since,
    };
    match at {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}
