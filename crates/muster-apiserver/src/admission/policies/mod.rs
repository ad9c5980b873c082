//! `ValidatingAdmissionPolicy`: what a cluster demands of writes in expressions of its own, without a program that is asked.
//! A policy works through its bindings, each with the parameters it names.
//!
//! Refuses to know: what an expression means, and which requests are meant (webhooks say that in the same words).

mod configuration;
mod params;
mod verdict;

use std::collections::BTreeMap;

use muster_machinery::{
    gvk::GroupResource,
    meta,
    status::{Details, Status},
};
use serde_json::{Value, json};

use super::{
    AdmissionRequest, Admitted, Judged,
    expressions::{Facts, namespace_object},
    webhook::matching::{Form, Matched},
};
use crate::request::ObjectReader;
use configuration::{Binding, Configurations, Policy};
use verdict::Finding;

/// The longest remark of a policy in the audit log, in bytes (`maxAuditAnnotationValueLength`).
const MAX_REMARK: usize = 10 * 1024;

/// The policies of a cluster.
#[derive(Default)]
pub(super) struct Policies {
    configurations: Configurations,
}

/// One request on its way through the policies.
struct Round<'a> {
    reader: &'a dyn ObjectReader,
    matched: Matched<'a>,
    /// The first refusal, with the name of its reason.
    denied: Option<(String, &'static str)>,
}

/// Whether policies have no say: they do not judge each other, nor questions that are not stored.
fn is_exempt(request: &AdmissionRequest<'_>) -> bool {
    let info = request.info;
    match info.group.as_str() {
        "admissionregistration.k8s.io" => info.resource.contains("admissionpolic"),
        "authentication.k8s.io" | "authorization.k8s.io" => info.resource.ends_with("reviews"),
        _ => false,
    }
}

impl Policies {
    /// Lets every policy judge the objects, in the stored form.
    pub(super) fn judge(
        &self,
        reader: &dyn ObjectReader,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Admitted {
        if is_exempt(request) {
            return Ok(());
        }
        let policies = self.configurations.policies(reader);
        if policies.is_empty() {
            return Ok(());
        }
        let mut round = Round {
            reader,
            matched: Matched {
                request,
                object,
                old,
            },
            denied: None,
        };
        for policy in policies.iter() {
            round.ask(policy)?;
        }
        match round.denied {
            None => Ok(()),
            Some((message, reason)) => {
                Err(refusal(&Judged::of(request, object, old), &message, reason))
            }
        }
    }
}

impl Round<'_> {
    fn ask(&mut self, policy: &Policy) -> Admitted {
        let form = match self.matched.form(&policy.meant, self.reader) {
            Ok(Some(form)) => form,
            Ok(None) => return Ok(()),
            Err(status) => {
                let why = format!("failed to configure policy: {}", status.message());
                self.fail(policy, None, &why);
                return Ok(());
            }
        };
        let mut facts = None;
        let mut remarks: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for binding in &policy.bindings {
            let found = match self.matched.form(&binding.meant, self.reader) {
                Ok(None) => continue,
                Ok(Some(_)) => self.params(policy, binding),
                Err(status) => Err(status.message().to_owned()),
            };
            let all = match found {
                Ok(all) => all,
                Err(why) => {
                    let why = format!("failed to configure binding: {why}");
                    self.fail(policy, Some(binding), &why);
                    continue;
                }
            };
            if all.is_empty() {
                continue;
            }
            let facts = match &facts {
                Some(facts) => facts,
                None => facts.insert(self.facts(&form)?),
            };
            for params in &all {
                let params = policy.param_kind.is_some().then_some(params);
                let judged = verdict::of(policy, facts, params);
                for (index, finding) in judged.findings.iter().enumerate() {
                    self.note(policy, binding, index, finding);
                }
                for (key, value) in judged.remarks {
                    let value = cut(value);
                    let known = remarks.entry(key).or_default();
                    if !known.contains(&value) {
                        known.push(value);
                    }
                }
                for why in judged.failed_remarks {
                    self.deny(policy, Some(binding), &why, "Invalid");
                }
            }
        }
        for (key, values) in remarks {
            let key = format!("{}/{key}", policy.name);
            self.matched.request.notes.annotate(&key, values.join(", "));
        }
        Ok(())
    }

    fn params(&self, policy: &Policy, binding: &Binding) -> Result<Vec<Value>, String> {
        let namespace = self.matched.request.info.namespace.as_deref();
        params::collect(self.reader, policy, binding, namespace.unwrap_or_default())
    }

    fn facts(&self, form: &Form) -> Result<Facts, Box<Status>> {
        let Matched {
            request,
            object,
            old,
        } = self.matched;
        let name = request.info.namespace.as_deref().unwrap_or_default();
        let is_namespace = request.stored.group.is_empty() && request.stored.kind == "Namespace";
        let namespace = if name.is_empty() || is_namespace {
            Value::Null
        } else {
            let found = self.reader.get("", "namespaces", None, name);
            let missing = || Status::not_found(GroupResource::new("", "namespaces"), name);
            namespace_object(found.ok_or_else(missing)?.as_ref())
        };
        Ok(Facts::of(request, form, (object, old), namespace))
    }

    /// What became of one demand.
    fn note(&mut self, policy: &Policy, binding: &Binding, index: usize, finding: &Finding) {
        let Finding::Denied { message, reason } = finding else {
            return;
        };
        let notes = self.matched.request.notes;
        for action in &binding.actions {
            match action.as_str() {
                "Deny" => self.deny(policy, Some(binding), message, reason),
                "Warn" => notes.warn(&format!(
                    "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {message}",
                    policy.name, binding.name
                )),
                "Audit" => {
                    let remark = json!([{
                        "message": message, "policy": policy.name, "binding": binding.name,
                        "expressionIndex": index, "validationActions": binding.actions,
                    }]);
                    let key = "validation.policy.admission.k8s.io/validation_failure";
                    notes.annotate(key, remark.to_string());
                }
                _ => {}
            }
        }
    }

    /// Something about the policy or the binding itself does not go together.
    fn fail(&mut self, policy: &Policy, binding: Option<&Binding>, why: &str) {
        if !policy.ignores_failure {
            self.deny(policy, binding, why, "Invalid");
        }
    }

    fn deny(
        &mut self,
        policy: &Policy,
        binding: Option<&Binding>,
        why: &str,
        reason: &'static str,
    ) {
        self.denied.get_or_insert_with(|| {
            let name = &policy.name;
            let with = binding.map(|binding| format!(" with binding '{}'", binding.name));
            let with = with.unwrap_or_default();
            let message = format!("ValidatingAdmissionPolicy '{name}'{with} denied request: {why}");
            (message, reason)
        });
    }
}

fn cut(mut text: String) -> String {
    let mut end = text.len().min(MAX_REMARK);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// The answer to a denied request: worded as a prohibition, with the reason that the policy gives.
fn refusal(judged: &Judged<'_>, message: &str, reason: &'static str) -> Box<Status> {
    let code = match reason {
        "Forbidden" => 403,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    let details = Details::read(&json!({
        "name": judged.name(), "group": judged.info.group, "kind": judged.info.resource,
        "causes": [{"message": message}],
    }));
    let whole = judged.forbidden(message);
    Box::new(Status::relayed(code, reason, whole.message(), details))
}

/// The text at a field of a configuration, empty where there is none.
fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    meta::str_at(value, path).unwrap_or_default()
}

#[cfg(test)]
mod tests;
