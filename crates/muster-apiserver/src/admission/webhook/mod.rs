//! Admission webhooks: programs of the cluster's own that are asked about writes. Those that may change objects are
//! called one after the other, in the order of their configurations' names; those that judge, side by side.
//!
//! Refuses to know: the built-in plugins.

mod caller;
pub(super) mod configuration;
mod connector;
pub(super) mod matching;
pub(super) mod review;
mod trust;

use std::{collections::HashSet, sync::Arc, time::Instant};

use futures::future::join_all;
use muster_machinery::{defaulting, meta, patch, status::Status, typed_form};
use serde_json::{Value, json};

use super::{AdmissionRequest, Admitted, Judged, expressions::Facts};
use crate::{
    entropy::random_uuid,
    registry::Conversion,
    request::ObjectReader,
    system::{AdmissionMetrics, Called},
};
use caller::Caller;
use configuration::{Configurations, Hook};
use matching::{Form, Matched};
use review::{Objects, Verdict};

const MUTATING: &str = "mutatingwebhookconfigurations";
const VALIDATING: &str = "validatingwebhookconfigurations";

/// Every webhook of the cluster.
pub(super) struct Webhooks {
    reader: Arc<dyn ObjectReader>,
    metrics: Arc<AdmissionMetrics>,
    mutating: Configurations,
    validating: Configurations,
    caller: Caller,
}

/// What is remembered between the first and the second round of changing webhooks.
#[derive(Debug, Default)]
pub(super) struct Reinvocation {
    round: usize,
    /// Those that want to hear of later changes and have been called.
    called: HashSet<String>,
    /// Those that are called in the second round.
    again: HashSet<String>,
    /// How the first round left the object.
    left: Option<Value>,
}

/// Why a webhook did not let a request pass.
enum Refused {
    /// It could not be asked, for this reason. The code is for metrics.
    Call(String, u16),
    /// It said no.
    Denied(Box<Status>),
    /// Something else does not go together.
    Other(Box<Status>),
}

impl Webhooks {
    pub(super) fn new(reader: Arc<dyn ObjectReader>, metrics: Arc<AdmissionMetrics>) -> Self {
        Self {
            caller: Caller::new(Arc::clone(&reader)),
            reader,
            metrics,
            mutating: Configurations::of(MUTATING),
            validating: Configurations::of(VALIDATING),
        }
    }

    /// Lets webhooks change the object, in the stored form. Says whether one did.
    pub(super) async fn change(
        &self,
        request: &AdmissionRequest<'_>,
        mut object: Option<&mut Value>,
        old: Option<&Value>,
        again: &mut Reinvocation,
    ) -> Result<bool, Box<Status>> {
        let hooks = self.mutating.hooks(self.reader.as_ref());
        if hooks.is_empty() || matching::is_exempt(request) {
            return Ok(false);
        }
        let is_second = again.round > 0;
        if is_second && again.left.as_ref() != object.as_deref() {
            let called = std::mem::take(&mut again.called);
            again.again.extend(called);
        }
        let owners = object.as_deref().map(|object| owners_of(object).cloned());
        let mut changed_any = false;
        for (index, hook) in hooks.iter().enumerate() {
            let matched = Matched {
                request,
                object: object.as_deref(),
                old,
            };
            let Some(form) = matched.form(&hook.meant, self.reader.as_ref())? else {
                continue;
            };
            if is_second && !again.again.remove(&hook.id) {
                continue;
            }
            if !self.conditions_hold(hook, &form, &matched)? {
                continue;
            }
            let changed = self
                .change_by(
                    hook,
                    &form,
                    request,
                    object.as_deref_mut(),
                    old,
                    (again.round, index),
                )
                .await?;
            if changed {
                changed_any = true;
                let called = std::mem::take(&mut again.called);
                again.again.extend(called);
            }
            if hook.asks_again {
                again.called.insert(hook.id.clone());
            }
        }
        if let (Some(object), Some(owners)) = (object.as_deref_mut(), owners) {
            keep_sane_owners(request, object, owners);
        }
        again.round += 1;
        again.left = object.as_deref().filter(|_| !is_second).cloned();
        Ok(changed_any)
    }

    /// Calls one webhook and applies its patch.
    async fn change_by(
        &self,
        hook: &Hook,
        form: &Form,
        request: &AdmissionRequest<'_>,
        object: Option<&mut Value>,
        old: Option<&Value>,
        (round, index): (usize, usize),
    ) -> Result<bool, Box<Status>> {
        let begun = Instant::now();
        let place = format!("round_{round}_index_{index}");
        let outcome = self
            .patch_by(hook, form, request, object, old, &place)
            .await;
        let changed = matches!(outcome, Ok(true));
        let remark = json!({
            "configuration": hook.configuration, "webhook": hook.name, "mutated": changed,
        });
        let key = format!("mutation.webhook.admission.k8s.io/{place}");
        request.notes.annotate(&key, remark.to_string());
        let call = Called {
            webhook: &hook.name,
            sort: "admit",
            operation: request.operation,
        };
        let key = format!("failed-open.mutation.webhook.admission.k8s.io/{place}");
        self.settle(hook, request, outcome.map(|_| ()), call, begun, &key)?;
        Ok(changed)
    }

    async fn patch_by(
        &self,
        hook: &Hook,
        form: &Form,
        request: &AdmissionRequest<'_>,
        object: Option<&mut Value>,
        old: Option<&Value>,
        place: &str,
    ) -> Result<bool, Refused> {
        let shown = object.as_deref().map(|object| show(request, form, object));
        let shown_old = old.map(|old| show(request, form, old));
        let objects = Objects {
            object: shown.as_ref(),
            old: shown_old.as_ref(),
        };
        let verdict = self.ask(hook, form, request, &objects, true).await?;
        if !verdict.allowed {
            return Err(Refused::Denied(review::refusal(hook, &verdict.status)));
        }
        let operations: Value = match verdict.patch.as_slice() {
            [] => Value::Null,
            patch => serde_json::from_slice(patch).map_err(|error| {
                let why = format!("received undecodable patch in webhook response: {error}");
                Refused::Call(why, 503)
            })?,
        };
        if operations.as_array().is_none_or(Vec::is_empty) {
            return Ok(false);
        }
        let (Some(object), Some(shown)) = (object, shown) else {
            let why = format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                hook.name
            );
            return Err(Refused::Other(Status::internal(why).into()));
        };
        let patched = patch::json::apply(shown, &verdict.patch)
            .map_err(|error| Refused::Other(Status::internal(error).into()))?;
        let patched = store(request, form, patched).map_err(Refused::Other)?;
        let remark = json!({
            "configuration": hook.configuration, "webhook": hook.name,
            "patch": operations, "patchType": "JSONPatch",
        });
        let key = format!("patch.webhook.admission.k8s.io/{place}");
        request
            .notes
            .annotate_in_detail(&key, || remark.to_string());
        let changed = patched != *object;
        *object = patched;
        Ok(changed)
    }

    /// Lets webhooks judge the objects, in the stored form.
    pub(super) async fn judge(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Admitted {
        let hooks = self.validating.hooks(self.reader.as_ref());
        if hooks.is_empty() || matching::is_exempt(request) {
            return Ok(());
        }
        let matched = Matched {
            request,
            object,
            old,
        };
        let mut asked = Vec::new();
        for hook in hooks.iter() {
            if let Some(form) = matched.form(&hook.meant, self.reader.as_ref())?
                && self.conditions_hold(hook, &form, &matched)?
            {
                asked.push((hook, form));
            }
        }
        let calls = asked.iter().enumerate();
        let calls = calls.map(|(index, (hook, form))| async move {
            let begun = Instant::now();
            let shown = object.map(|object| show(request, form, object));
            let shown_old = old.map(|old| show(request, form, old));
            let objects = Objects {
                object: shown.as_ref(),
                old: shown_old.as_ref(),
            };
            let outcome = match self.ask(hook, form, request, &objects, false).await {
                Ok(verdict) if verdict.allowed => Ok(()),
                Ok(verdict) => Err(Refused::Denied(review::refusal(hook, &verdict.status))),
                Err(refused) => Err(refused),
            };
            let call = Called {
                webhook: &hook.name,
                sort: "validating",
                operation: request.operation,
            };
            let key =
                format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}");
            self.settle(hook, request, outcome, call, begun, &key)
        });
        join_all(calls).await.into_iter().collect()
    }

    /// Whether a webhook's `matchConditions` hold for a request that is otherwise meant.
    fn conditions_hold(
        &self,
        hook: &Hook,
        form: &Form,
        matched: &Matched<'_>,
    ) -> Result<bool, Box<Status>> {
        if hook.conditions.is_empty() {
            return Ok(true);
        }
        let request = matched.request;
        let facts = Facts::of(request, form, (matched.object, matched.old), Value::Null);
        match hook.conditions.hold(&facts, None) {
            Ok(hold) => Ok(hold),
            Err(_) if hook.ignores_failure => Ok(false),
            Err(why) => {
                tracing::warn!(
                    webhook = hook.name,
                    why,
                    "the conditions of an admission webhook cannot be evaluated, and the request fails"
                );
                let judged = Judged::of(request, matched.object, matched.old);
                Err(judged.forbidden(&why))
            }
        }
    }

    /// Asks one webhook.
    async fn ask(
        &self,
        hook: &Hook,
        form: &Form,
        request: &AdmissionRequest<'_>,
        objects: &Objects<'_>,
        may_patch: bool,
    ) -> Result<Verdict, Refused> {
        if request.options.dry_run() && !hook.takes_dry_run {
            let why = format!("admission webhook {:?} does not support dry run", hook.name);
            return Err(Refused::Other(Status::bad_request(why).into()));
        }
        let Some(version) = hook.review_version else {
            let why = "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)";
            return Err(Refused::Call(why.to_owned(), 400));
        };
        let uid = random_uuid();
        let question = review::question(request, form, objects, (version, &uid));
        let answer = self.caller.call(hook, &question).await;
        let answer = answer.map_err(|failed| {
            Refused::Call(
                format!("failed to call webhook: {}", failed.why),
                failed.code,
            )
        })?;
        let verdict = review::verdict(&answer, version, &uid, may_patch);
        let verdict = verdict.map_err(|why| {
            Refused::Call(format!("received invalid webhook response: {why}"), 503)
        })?;
        for (key, value) in &verdict.annotations {
            request
                .notes
                .annotate(&format!("{}/{key}", hook.name), value.clone());
        }
        for warning in &verdict.warnings {
            request.notes.warn(warning);
        }
        Ok(verdict)
    }

    /// Counts a call and turns its outcome into the answer, as the webhook's failure policy has it.
    fn settle(
        &self,
        hook: &Hook,
        request: &AdmissionRequest<'_>,
        outcome: Result<(), Refused>,
        call: Called<'_>,
        begun: Instant,
        fail_open_key: &str,
    ) -> Admitted {
        let took = begun.elapsed();
        request.notes.wait(took);
        match outcome {
            Ok(()) => {
                self.metrics.webhook(call, false, 200, took);
                Ok(())
            }
            Err(Refused::Call(why, code)) => {
                let rejected = !hook.ignores_failure;
                self.metrics.webhook(call, rejected, code, took);
                let why = format!("failed calling webhook {:?}: {why}", hook.name);
                if rejected {
                    self.metrics.rejection(call, "calling_webhook_error", code);
                    tracing::warn!(why, "an admission webhook failed, and the request with it");
                    return Err(Status::internal(why).into());
                }
                self.metrics.fail_open(call);
                request.notes.annotate(fail_open_key, hook.name.clone());
                tracing::warn!(why, "an admission webhook failed and was passed over");
                Ok(())
            }
            Err(Refused::Denied(status)) => {
                self.metrics.webhook(call, true, status.code(), took);
                self.metrics.rejection(call, "no_error", status.code());
                Err(status)
            }
            Err(Refused::Other(status)) => {
                self.metrics.webhook(call, true, 0, took);
                self.metrics.rejection(call, "apiserver_internal_error", 0);
                Err(status)
            }
        }
    }
}

/// Whether the objects are of a subresource's own type, which has only one form.
fn has_own_type(request: &AdmissionRequest<'_>) -> bool {
    request
        .sub
        .is_some_and(|sub| sub.kind != request.served.kind)
}

/// A stored object in the form that a webhook wants.
pub(super) fn show(request: &AdmissionRequest<'_>, form: &Form, object: &Value) -> Value {
    let mut object = object.clone();
    if has_own_type(request) {
        return object;
    }
    if let Some(built_in) =
        muster_machinery::resources::find(&form.group, &form.version, &form.resource)
    {
        Conversion::of(built_in).serve(built_in, &mut object);
    }
    let (group, version, kind) = &form.kind;
    let api_version = muster_machinery::gvk::join_api_version(group, version);
    meta::set_gvk(&mut object, &api_version, kind);
    object
}

/// What a webhook made of an object, in the stored form, complete.
fn store(
    request: &AdmissionRequest<'_>,
    form: &Form,
    mut object: Value,
) -> Result<Value, Box<Status>> {
    if !object.is_object() {
        return Err(Status::internal("a webhook's patch leaves no object").into());
    }
    if has_own_type(request) {
        return Ok(object);
    }
    let owners = meta::metadata_mut(&mut object).and_then(|own| own.remove("managedFields"));
    typed_form::apply(&mut object);
    if let Some(metadata) = meta::metadata_mut(&mut object) {
        metadata.extend(owners.map(|owners| ("managedFields".to_owned(), owners)));
    }
    let built_in = muster_machinery::resources::find(&form.group, &form.version, &form.resource);
    if let Some(built_in) = built_in {
        Conversion::of(built_in).store(built_in, &mut object);
    }
    if built_in.is_none() {
        // Custom resources are in the form that was asked for, and their schema is applied later.
        let served = request.served;
        meta::set_gvk(&mut object, &served.api_version(), &served.kind);
        return Ok(object);
    }
    let stored = request.stored;
    meta::set_gvk(&mut object, &stored.api_version(), &stored.kind);
    defaulting::apply(stored, &mut object);
    Ok(object)
}

fn owners_of(object: &Value) -> Option<&Value> {
    meta::at(object, &["metadata", "managedFields"])
}

/// Puts the owners of fields back as they were if webhooks left something there that is no list of owners.
fn keep_sane_owners(request: &AdmissionRequest<'_>, object: &mut Value, owners: Option<Value>) {
    let is_sane = |entry: &Value| {
        let text = |field| meta::str_at(entry, &[field]).unwrap_or_default();
        matches!(text("operation"), "Apply" | "Update")
            && !text("apiVersion").is_empty()
            && text("fieldsType") == "FieldsV1"
            && entry.get("fieldsV1").is_some_and(Value::is_object)
    };
    let sane = match owners_of(object) {
        None | Some(Value::Null) => true,
        Some(Value::Array(entries)) => entries.iter().all(is_sane),
        Some(_) => false,
    };
    if sane {
        return;
    }
    request.notes.warn(
        ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests: the entries cannot be decoded",
    );
    if let Some(metadata) = meta::metadata_mut(object) {
        match owners {
            Some(owners) => metadata.insert("managedFields".to_owned(), owners),
            None => metadata.remove("managedFields"),
        };
    }
}

#[cfg(test)]
mod tests;
