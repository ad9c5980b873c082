//! Resource quotas: what a new or changed object takes is written down in the status of every quota that is on it,
//! before the object is stored; where a quota would not hold, the object is refused (`ResourceQuota` upstream).
//!
//! Refuses to know: what is given back. A controller counts anew what is there.

use std::sync::Arc;

use muster_machinery::{
    meta,
    quota::{self, Amounts, amounts},
    resources,
    status::Status,
};
use serde_json::{Map, Value};

use super::{CONFLICT_RETRIES, Call, Refusal, Registry, value_of};
use crate::{
    admission::{AdmissionRequest, Operation},
    request::ObjectReader,
    watch::StoredObject,
};

const QUOTAS: &str = "resourcequotas";

impl Registry {
    /// Takes what the object needs from the quotas of its namespace.
    pub(super) async fn charge(
        &self,
        call: &Call<'_>,
        request: &AdmissionRequest<'_>,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), Refusal> {
        let Some(namespace) = call.namespace() else {
            return Ok(());
        };
        if !handles(call, request.operation, object, old) {
            return Ok(());
        }
        let (group, plural) = (call.group(), &*call.resource.plural);
        let quotas = self.cache.list("", QUOTAS, Some(namespace));
        let on_it: Vec<&Arc<Value>> = quotas
            .iter()
            .filter(|one| quota::covers(one, group, plural, object))
            .collect();
        // All of them are asked before anything is written into the first.
        for one in &on_it {
            charged(one, call, object, old)?;
        }
        if request.options.dry_run() {
            return Ok(());
        }
        for one in on_it {
            self.charge_to(call, meta::name(one), object, old).await?;
        }
        Ok(())
    }

    async fn charge_to(
        &self,
        call: &Call<'_>,
        name: &str,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), Refusal> {
        let Some(resource) = resources::find("", "v1", QUOTAS) else {
            return Ok(());
        };
        let quota = Call {
            resource,
            served: resource,
            custom: None,
            sub: None,
            ..*call
        };
        let key = quota.key_of(name);
        let mut stored: Option<Arc<StoredObject>> = self.resource_cache(&quota).get(&key);
        for _ in 0..CONFLICT_RETRIES {
            // A quota that is gone limits nothing.
            let Some(current) = stored else {
                return Ok(());
            };
            let Some(new) = charged(&value_of(&current)?, call, object, old)? else {
                return Ok(());
            };
            match self.replace(&quota, &current, &new).await? {
                Ok(_) => return Ok(()),
                Err(newer) => stored = newer,
            }
        }
        Err(call.conflict())
    }
}

/// Whether this sort of write is one that quotas count.
fn handles(call: &Call<'_>, operation: Operation, object: &Value, old: Option<&Value>) -> bool {
    let has_deadline = |pod: &Value| {
        let deadline = meta::at(pod, &["spec", "activeDeadlineSeconds"]);
        deadline
            .and_then(Value::as_i64)
            .is_some_and(|seconds| seconds >= 0)
    };
    match (
        call.group(),
        &*call.resource.plural,
        call.sub_name(),
        operation,
    ) {
        (_, _, "", Operation::Create) => true,
        ("", "pods", "resize", Operation::Update) => true,
        // Its scope changes.
        ("", "pods", "", Operation::Update) => {
            old.is_some_and(|old| has_deadline(old) != has_deadline(object))
        }
        ("", "services" | "persistentvolumeclaims", "", Operation::Update) => true,
        _ => false,
    }
}

/// The quota with what the object takes; `None` if that is nothing.
fn charged(
    one: &Value,
    call: &Call<'_>,
    object: &Value,
    old: Option<&Value>,
) -> Result<Option<Value>, Refusal> {
    let (group, plural) = (call.group(), &*call.resource.plural);
    let name = meta::name(one);
    let forbidden = |why: &str| {
        let resource = call.resource.group_resource();
        Refusal::from(Status::forbidden_because(resource, meta::name(object), why))
    };
    let hard = amounts(one, &["status", "hard"]);
    let mut used = amounts(one, &["status", "used"]);
    let limited: Amounts = hard
        .iter()
        .filter(|(name, _)| quota::counts(group, plural, name))
        .map(|(name, amount)| (name.clone(), *amount))
        .collect();
    if (group, plural) == ("", "pods")
        && let Some(unsaid) = quota::unsaid(object, &limited)
    {
        return Err(forbidden(&format!("failed quota: {name}: {unsaid}")));
    }
    let unknown: Vec<&str> = limited
        .keys()
        .filter(|limited| !used.contains_key(*limited))
        .map(String::as_str)
        .collect();
    if !unknown.is_empty() {
        let why = format!(
            "status unknown for quota: {name}, resources: {}",
            unknown.join(",")
        );
        return Err(forbidden(&why));
    }
    let mut taken = quota::usage(group, plural, object, call.now);
    if let Some(old) = old.filter(|old| quota::covers(one, group, plural, old)) {
        let before = quota::usage(group, plural, old, call.now);
        for (name, amount) in &mut taken {
            if let Some(before) = before.get(name) {
                *amount = amount.minus(*before);
            }
        }
    }
    taken.retain(|name, amount| limited.contains_key(name) && amount.nano() > 0);
    if taken.is_empty() {
        return Ok(None);
    }
    let (mut asked, mut had, mut may) = (Vec::new(), Vec::new(), Vec::new());
    for (name, amount) in &taken {
        let (before, most) = (used[name], limited[name]);
        if before.plus(*amount) > most {
            asked.push(format!("{name}={amount}"));
            had.push(format!("{name}={before}"));
            may.push(format!("{name}={most}"));
        }
    }
    if !asked.is_empty() {
        return Err(forbidden(&format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            asked.join(","),
            had.join(","),
            may.join(",")
        )));
    }
    quota::add(&mut used, &taken);
    let used: Map<String, Value> = used
        .into_iter()
        .map(|(name, amount)| (name, amount.to_string().into()))
        .collect();
    let mut new = one.clone();
    if let Some(status) = meta::map_mut(&mut new, "status") {
        status.insert("used".to_owned(), Value::Object(used));
    }
    Ok(Some(new))
}
