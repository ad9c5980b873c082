//! Subresources that are not just a part of their object: scale, binding, eviction, service-account tokens.
//!
//! Refuses to know: streams to kubelets (`exec`, `log`, `proxy`); the router refuses those.

use muster_machinery::{
    meta,
    selector::LabelSelector,
    status::{Cause, Status},
};
use serde_json::{Value, json};

use super::{
    Call, DeleteOptions, PatchKind, Refusal, Registry, WriteOptions, patch, strategy, value_of,
};
use crate::{
    admission::Operation,
    request::{ObjectReader, ResourceRequest},
};

impl Registry {
    /// The scale of an object.
    pub(crate) async fn scale(&self, call: &Call<'_>) -> Result<Value, Refusal> {
        scale_of(call, &value_of(&*self.current(call).await?)?)
    }

    /// Sets the scale of an object.
    pub(crate) async fn set_scale(
        &self,
        call: &Call<'_>,
        scale: &Value,
        options: &WriteOptions,
    ) -> Result<Value, Refusal> {
        let outcome = self
            .modify(call, options, |old| with_scale(call, old, scale))
            .await?;
        scale_of(call, &value_of(&outcome.object())?)
    }

    /// Patches the scale of an object.
    pub(crate) async fn patch_scale(
        &self,
        call: &Call<'_>,
        kind: PatchKind,
        body: &[u8],
        options: &WriteOptions,
    ) -> Result<Value, Refusal> {
        let outcome = self
            .modify(call, options, |old| {
                let scale = kind
                    .apply(scale_of(call, old)?, body)
                    .map_err(|error| patch::refuse(call, &error))?;
                with_scale(call, old, &scale)
            })
            .await?;
        scale_of(call, &value_of(&outcome.object())?)
    }

    /// Puts a pod on a node.
    pub(crate) async fn bind(
        &self,
        call: &Call<'_>,
        mut binding: Value,
        options: &WriteOptions,
    ) -> Result<Status, Refusal> {
        self.admit(call, Operation::Create, Some(&mut binding), None)?;
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
        self.admit(call, Operation::Create, Some(&mut eviction), None)?;
        let body = eviction
            .get("deleteOptions")
            .filter(|options| !options.is_null());
        let mut delete = DeleteOptions::parse(None, body)?;
        delete.dry_run |= options.dry_run;
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
    ) -> Result<Value, Refusal> {
        self.current(call).await?;
        self.admit(call, Operation::Create, Some(&mut request), None)?;
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

/// The `Scale` of a workload.
fn scale_of(call: &Call<'_>, object: &Value) -> Result<Value, Refusal> {
    let replicas = |path: &[&str]| meta::at(object, path).and_then(Value::as_i64).unwrap_or(0);
    let metadata = |field: &str| meta::at(object, &["metadata", field]).cloned();
    let selector = match call.resource.plural.as_ref() {
        "replicationcontrollers" => meta::at(object, &["spec", "selector"])
            .and_then(Value::as_object)
            .map(LabelSelector::from_map)
            .transpose(),
        _ => LabelSelector::from_object(meta::at(object, &["spec", "selector"])).map(Some),
    };
    let selector = selector.map_err(|error| Status::internal(error.to_string()))?;
    Ok(json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {
            "name": metadata("name"),
            "namespace": metadata("namespace"),
            "uid": metadata("uid"),
            "resourceVersion": metadata("resourceVersion"),
            "creationTimestamp": metadata("creationTimestamp"),
        },
        "spec": {"replicas": replicas(&["spec", "replicas"])},
        "status": {
            "replicas": replicas(&["status", "replicas"]),
            "selector": selector.map(|selector| selector.to_string()).unwrap_or_default(),
        },
    }))
}

/// The workload with the replicas of a `Scale`.
fn with_scale(call: &Call<'_>, old: &Value, scale: &Value) -> Result<Value, Refusal> {
    let replicas = match meta::at(scale, &["spec", "replicas"]) {
        None | Some(Value::Null) => 0,
        Some(replicas) => replicas
            .as_i64()
            .filter(|count| *count >= 0)
            .ok_or_else(|| {
                let error = muster_machinery::validation::FieldError::invalid(
                    "spec.replicas",
                    replicas.clone(),
                    "must be greater than or equal to 0",
                );
                Status::invalid("autoscaling", "Scale", call.name(), &[error])
            })?,
    };
    let mut object = old.clone();
    if let Some(spec) = meta::map_mut(&mut object, "spec") {
        spec.insert("replicas".to_owned(), replicas.into());
    }
    meta::set_resource_version(&mut object, meta::resource_version(scale));
    Ok(object)
}
