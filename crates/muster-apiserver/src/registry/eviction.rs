//! Evicting a pod: it is deleted, unless a disruption budget has nothing left; and what it takes from the budget is
//! written down there before, so that nobody else takes the same.
//!
//! Refuses to know: who counts healthy pods. The budget's status is its controller's.

use muster_machinery::{
    gvk::GroupResource,
    meta, resources,
    selector::LabelSelector,
    status::{Cause, Status},
};
use serde_json::{Value, json};

use super::{
    CONFLICT_RETRIES, Call, DeleteOptions, Owners, Refusal, Registry, WriteOptions, value_of,
};
use crate::{
    authz::MASTERS,
    request::{ObjectReader, ResourceRequest, UserInfo},
};

const GROUP: &str = "policy";
const BUDGETS: &str = "poddisruptionbudgets";
/// Evictions that a budget's controller has not seen yet, at most.
const MOST_DISRUPTED: usize = 2000;
const VIOLATES: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

impl Registry {
    /// Deletes a pod, if its disruption budget allows.
    pub(crate) async fn evict(
        &self,
        call: &Call<'_>,
        mut eviction: Value,
        options: &WriteOptions,
    ) -> Result<Status, Refusal> {
        let name = meta::name(&eviction);
        if !name.is_empty() && name != call.name() {
            let why = "name in URL does not match name in Eviction object";
            return Err(Status::bad_request(why).into());
        }
        self.admit_action(call, &mut eviction, options).await?;
        let body = eviction
            .get("deleteOptions")
            .filter(|options| !options.is_null());
        let mut delete = DeleteOptions::parse(None, body)?;
        delete.dry_run |= options.dry_run;
        delete.is_admitted = true;
        let stored = self.current(call).await?;
        let pod = value_of(&stored)?;
        // Whoever wants another pod is told so before anything is taken from a budget.
        check_uid(call, &delete, &pod)?;
        self.take_from_budget(call, &pod, delete.dry_run).await?;
        let request = ResourceRequest {
            subresource: None,
            ..call.request.clone()
        };
        // What follows is the deletion of the pod itself.
        let deletion = Call {
            request: &request,
            sub: None,
            ..*call
        };
        let mut stored = stored;
        if !delete.dry_run {
            stored = self.mark_as_disrupted(&deletion, &delete, stored).await?;
            if delete.resource_version.is_some() {
                delete.resource_version = Some(stored.revision().to_string());
            }
        }
        self.delete_stored(&deletion, stored, &delete).await?;
        Ok(Status::success(201))
    }

    /// Lets the pod's own status say why it goes.
    async fn mark_as_disrupted(
        &self,
        call: &Call<'_>,
        delete: &DeleteOptions,
        mut stored: std::sync::Arc<crate::watch::StoredObject>,
    ) -> Result<std::sync::Arc<crate::watch::StoredObject>, Refusal> {
        for _ in 0..CONFLICT_RETRIES {
            let mut pod = value_of(&stored)?;
            check_uid(call, delete, &pod)?;
            let asked = delete.resource_version.as_deref();
            if asked.is_some_and(|asked| asked != meta::resource_version(&pod)) {
                return Err(call.conflict());
            }
            let condition = json!({
                "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting",
            });
            set_condition(&mut pod, condition, &meta::format_time(call.now));
            match self.replace(call, &stored, &pod).await? {
                Ok(marked) => return Ok(marked),
                Err(newer) => stored = newer.ok_or_else(|| call.not_found())?,
            }
        }
        Err(call.conflict())
    }

    /// Takes one disruption from the pod's budget, if it has one that counts it.
    async fn take_from_budget(
        &self,
        call: &Call<'_>,
        pod: &Value,
        dry_run: bool,
    ) -> Result<(), Refusal> {
        let phase = meta::str_at(pod, &["status", "phase"]).unwrap_or_default();
        if matches!(phase, "Succeeded" | "Failed" | "Pending") || meta::is_being_deleted(pod) {
            return Ok(());
        }
        let budgets = self.cache.list(GROUP, BUDGETS, call.namespace());
        let mut guarding = budgets.iter().filter(|budget| {
            let selector = LabelSelector::from_object(meta::at(budget, &["spec", "selector"]));
            selector.is_ok_and(|selector| selector.matches(pod))
        });
        let Some(budget) = guarding.next() else {
            return Ok(());
        };
        if guarding.next().is_some() {
            let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Status::relayed(500, "", why, None).into());
        }
        if !is_ready(pod) && passes_unready(budget) {
            return Ok(());
        }
        let resource = resources::find(GROUP, "v1", BUDGETS)
            .ok_or_else(|| Status::internal("disruption budgets are not served"))?;
        let request = ResourceRequest {
            group: GROUP.to_owned(),
            version: "v1".to_owned(),
            resource: BUDGETS.to_owned(),
            subresource: Some("status".to_owned()),
            namespace: call.request.namespace.clone(),
            name: Some(meta::name(budget).to_owned()),
            ..ResourceRequest::default()
        };
        let user = UserInfo::new("system:apiserver", [MASTERS]);
        let taking = Call {
            user: &user,
            request: &request,
            resource,
            served: resource,
            sub: resource.subresource("status"),
            ..*call
        };
        let options = WriteOptions {
            dry_run,
            manager: "muster".to_owned(),
            ..WriteOptions::default()
        };
        let (pod, now) = (meta::name(pod), meta::format_time(call.now));
        let taken = self.modify(&taking, &options, Owners::Track, |budget| {
            take(budget, pod, &now)
        });
        taken.await.map(drop)
    }
}

fn check_uid(call: &Call<'_>, delete: &DeleteOptions, pod: &Value) -> Result<(), Refusal> {
    match &delete.uid {
        Some(uid) if uid != meta::uid(pod) => Err(Status::conflict_because(
            call.resource.group_resource(),
            call.name(),
            &format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                meta::uid(pod)
            ),
        )
        .into()),
        _ => Ok(()),
    }
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = meta::items(pod, &["status", "conditions"]).iter();
    conditions.any(|one| {
        meta::str_at(one, &["type"]) == Some("Ready")
            && meta::str_at(one, &["status"]) == Some("True")
    })
}

fn number(budget: &Value, field: &str) -> i64 {
    let number = meta::at(budget, &["status", field]).and_then(Value::as_i64);
    number.unwrap_or(0)
}

/// Whether a pod that is not ready may go without being counted.
fn passes_unready(budget: &Value) -> bool {
    let policy = meta::str_at(budget, &["spec", "unhealthyPodEvictionPolicy"]);
    let wanted = number(budget, "desiredHealthy");
    policy == Some("AlwaysAllow") || wanted > 0 && number(budget, "currentHealthy") >= wanted
}

/// The budget with one disruption less (`checkAndDecrement` upstream).
fn take(budget: &Value, pod: &str, now: &str) -> Result<Value, Refusal> {
    let name = meta::name(budget);
    if number(budget, "observedGeneration") < meta::generation(budget) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(too_many(10, why));
    }
    let allowed = number(budget, "disruptionsAllowed");
    let forbidden = |why: &str| {
        let resource = GroupResource::new(GROUP, "poddisruptionbudget");
        Refusal::from(Status::forbidden_because(resource, name, why))
    };
    if allowed < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    let disrupted = meta::at(budget, &["status", "disruptedPods"]).and_then(Value::as_object);
    if disrupted.is_some_and(|pods| pods.len() > MOST_DISRUPTED) {
        return Err(forbidden(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        return Err(too_many(0, exhausted(budget)));
    }
    let mut taken = budget.clone();
    if let Some(status) = meta::map_mut(&mut taken, "status") {
        status.insert("disruptionsAllowed".to_owned(), (allowed - 1).into());
        let pods = status.entry("disruptedPods").or_insert(Value::Null);
        if pods.is_null() {
            *pods = json!({});
        }
        if let Some(pods) = pods.as_object_mut() {
            pods.insert(pod.to_owned(), now.into());
        }
    }
    if allowed == 1 {
        let condition = json!({
            "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods",
            "message": "", "observedGeneration": number(budget, "observedGeneration"),
        });
        set_condition(&mut taken, condition, now);
    }
    Ok(taken)
}

fn exhausted(budget: &Value) -> String {
    let name = meta::name(budget);
    let conditions = meta::items(budget, &["status", "conditions"]).iter();
    let text = |one: &Value, field| meta::str_at(one, &[field]).unwrap_or_default().to_owned();
    let refusing = conditions
        .filter(|one| text(one, "type") == "DisruptionAllowed" && text(one, "status") == "False")
        .map(|one| (text(one, "reason"), text(one, "message")))
        .find(|(_, message)| !message.is_empty());
    let (wanted, healthy) = (
        number(budget, "desiredHealthy"),
        number(budget, "currentHealthy"),
    );
    match refusing {
        Some((reason, message)) if reason == "SyncFailed" => format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}"
        ),
        _ if healthy <= wanted => format!(
            "The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently"
        ),
        Some((reason, message)) => format!(
            "The disruption budget {name} does not allow evicting pods currently ({reason}): {message}"
        ),
        None => format!("The disruption budget {name} does not allow evicting pods currently"),
    }
}

fn too_many(retry_after: u32, message: String) -> Refusal {
    let cause = Cause {
        reason: "DisruptionBudget".to_owned(),
        message,
        field: String::new(),
    };
    Status::too_many_requests(VIOLATES, retry_after)
        .with_cause(cause)
        .into()
}

/// Sets a condition; its time changes with its status.
fn set_condition(object: &mut Value, mut condition: Value, now: &str) {
    let Some(status) = meta::map_mut(object, "status") else {
        return;
    };
    let conditions = status.entry("conditions").or_insert(Value::Null);
    if conditions.is_null() {
        *conditions = json!([]);
    }
    let Some(conditions) = conditions.as_array_mut() else {
        return;
    };
    let place = conditions
        .iter()
        .position(|one| one.get("type") == condition.get("type"));
    let before = place.map(|place| &conditions[place]);
    let same = before.filter(|before| before.get("status") == condition.get("status"));
    let since = same.and_then(|before| before.get("lastTransitionTime").cloned());
    condition["lastTransitionTime"] = since.unwrap_or_else(|| now.into());
    match place {
        Some(place) => conditions[place] = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(status: Value) -> Value {
        json!({"metadata": {"name": "b", "generation": 1}, "status": status})
    }

    fn causes(refused: &Refusal) -> &str {
        &refused.details().expect("details").causes[0].message
    }

    #[test]
    fn a_disruption_is_taken_and_the_last_one_closes_the_budget() {
        let full = budget(json!({"observedGeneration": 1, "disruptionsAllowed": 2}));
        let once = take(&full, "p", "now").expect("taken");
        assert_eq!(once["status"]["disruptionsAllowed"], 1);
        assert_eq!(once["status"]["disruptedPods"], json!({"p": "now"}));
        let twice = take(&once, "q", "then").expect("taken");
        assert_eq!(twice["status"]["conditions"][0]["status"], "False");
        let refused = take(&twice, "r", "later").expect_err("refused");
        assert_eq!(refused.code(), 429);
    }

    #[test]
    fn a_refusal_says_what_the_budget_lacks() {
        let empty = budget(json!({
            "observedGeneration": 1, "disruptionsAllowed": 0, "desiredHealthy": 3, "currentHealthy": 2,
        }));
        let refused = take(&empty, "p", "now").expect_err("refused");
        assert_eq!(
            causes(&refused),
            "The disruption budget b needs 3 healthy pods and has 2 currently"
        );
        let unseen = budget(json!({"disruptionsAllowed": 5}));
        let refused = take(&unseen, "p", "now").expect_err("refused");
        assert_eq!(refused.retry_after(), Some(10));
        assert!(causes(&refused).ends_with("is still being processed by the server."));
    }

    #[test]
    fn a_pod_that_is_not_ready_passes_a_budget_that_is_kept() {
        let kept = json!({"status": {"desiredHealthy": 2, "currentHealthy": 2}});
        let broken = json!({"status": {"desiredHealthy": 2, "currentHealthy": 1}});
        let lax = json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}, "status": {}});
        assert!(passes_unready(&kept) && passes_unready(&lax) && !passes_unready(&broken));
    }
}
