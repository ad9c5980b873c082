//! Subresources that are not just a part of their object: binding, eviction, service-account tokens.
//!
//! Refuses to know: streams to kubelets (`exec`, `log`, `proxy`); the router refuses those.

use muster_machinery::{
    meta,
    selector::LabelSelector,
    status::{Cause, Status},
};
use serde_json::Value;

use super::{Call, DeleteOptions, Refusal, Registry, WriteOptions, strategy, value_of};
use crate::{
    request::{ObjectReader, ResourceRequest},
};

impl Registry {
    /// Puts a pod on a node.
    pub(crate) async fn bind(
        &self,
        call: &Call<'_>,
        mut binding: Value,
        options: &WriteOptions,
    ) -> Result<Status, Refusal> {
        self.admit_action(call, &mut binding, options).await?;
        let mut stored = self.current(call).await?;
        for _ in 0..super::CONFLICT_RETRIES {
            let old = value_of(&stored)?;
            let uid = meta::uid(&binding);
            if !uid.is_empty() && uid != meta::uid(&old) {
                return Err(call.conflict());
            }
            let bound = strategy::bind(call, &old, &binding)?;
            if options.dry_run {
                return Ok(Status::success(201));
            }
            match self.replace(call, &stored, &bound).await? {
                Ok(_) => return Ok(Status::success(201)),
                Err(newer) => stored = newer.ok_or_else(|| call.not_found())?,
            }
        }
        Err(call.conflict())
    }

    /// Deletes a pod, if its disruption budget allows.
    pub(crate) async fn evict(
        &self,
        call: &Call<'_>,
        mut eviction: Value,
        options: &WriteOptions,
    ) -> Result<Status, Refusal> {
        self.admit_action(call, &mut eviction, options).await?;
        let body = eviction
            .get("deleteOptions")
            .filter(|options| !options.is_null());
        let mut delete = DeleteOptions::parse(None, body)?;
        delete.dry_run |= options.dry_run;
        delete.is_admitted = true;
        let pod = self.current(call).await?;
        self.check_budgets(call, &value_of(&pod)?)?;
        // What follows is the deletion of the pod itself.
        let request = ResourceRequest {
            subresource: None,
            ..call.request.clone()
        };
        let deletion = Call {
            request: &request,
            sub: None,
            ..*call
        };
        self.delete_stored(&deletion, pod, &delete).await?;
        Ok(Status::success(201))
    }

    fn check_budgets(&self, call: &Call<'_>, pod: &Value) -> Result<(), Refusal> {
        let phase = meta::str_at(pod, &["status", "phase"]).unwrap_or_default();
        if matches!(phase, "Succeeded" | "Failed" | "Pending") || meta::is_being_deleted(pod) {
            return Ok(());
        }
        for budget in self
            .cache
            .list("policy", "poddisruptionbudgets", call.namespace())
        {
            let selector = LabelSelector::from_object(meta::at(&budget, &["spec", "selector"]))
                .unwrap_or_else(|_| LabelSelector::nothing());
            let allowed = meta::at(&budget, &["status", "disruptionsAllowed"])
                .and_then(Value::as_i64)
                .unwrap_or(0);
            if !selector.matches(pod) || allowed > 0 {
                continue;
            }
            let name = meta::name(&budget);
            let cause = Cause {
                reason: "DisruptionBudget".to_owned(),
                message: format!("The disruption budget {name} does not allow a disruption now"),
                field: String::new(),
            };
            return Err(Status::too_many_requests(
                "Cannot evict pod as it would violate the pod's disruption budget.",
                10,
            )
            .with_cause(cause)
            .into());
        }
        Ok(())
    }

    /// Issues a token for a service account: answers the `TokenRequest` with its status.
    pub(crate) async fn issue_token(
        &self,
        call: &Call<'_>,
        mut request: Value,
        options: &WriteOptions,
    ) -> Result<Value, Refusal> {
        self.current(call).await?;
        self.admit_action(call, &mut request, options).await?;
        let namespace = call.namespace().unwrap_or_default();
        let issuer = self.authenticator.issuer();
        issuer.answer(
            self.cache.as_ref(),
            namespace,
            call.name(),
            &request,
            call.now,
        )
    }
}
