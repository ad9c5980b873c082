//! Ending an object: at once, or by marking it and waiting for finalizers, grace or its namespace's content.
//!
//! Refuses to know: who does the waiting work; controllers and kubelets watch for the mark.

use std::sync::Arc;

use muster_machinery::{meta, status::Status};
use serde_json::{Value, json};

use super::{
    CONFLICT_RETRIES, Call, DeleteOptions, Outcome, Refusal, Registry, create::admission_request,
    options::Propagation, strategy,
};
use crate::{
    admission::Operation,
    watch::{StoredObject, encode_stored},
};

/// The finalizer that keeps an object until its dependents are gone.
const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer that keeps an object until its dependents are orphaned.
const ORPHAN: &str = "orphan";

/// What a deletion comes to.
enum Ending {
    /// The object goes at once.
    Remove,
    /// The object is marked and stays for now.
    Mark(Value),
    /// The object is on its way already, and nothing changes.
    Nothing,
}

impl Registry {
    /// Deletes the addressed object.
    pub(crate) async fn delete(
        &self,
        call: &Call<'_>,
        options: &DeleteOptions,
    ) -> Result<Outcome, Refusal> {
        let stored = self.current(call).await?;
        self.delete_stored(call, stored, options).await
    }

    /// Deletes an object that was read before.
    pub(super) async fn delete_stored(
        &self,
        call: &Call<'_>,
        mut stored: Arc<StoredObject>,
        options: &DeleteOptions,
    ) -> Result<Outcome, Refusal> {
        for _ in 0..CONFLICT_RETRIES {
            let object = call.read(&stored)?;
            check_preconditions(call, options, &object)?;
            if !options.is_admitted {
                let request = admission_request(call, Operation::Delete, options.into());
                self.admission.delete(&request, &object).await?;
            }
            let raced = match ending(call, options, &object) {
                Ending::Nothing => return Ok(Outcome::Stored(stored)),
                Ending::Remove if options.dry_run => {
                    return Ok(Outcome::Removed(stored));
                }
                Ending::Mark(marked) if options.dry_run => {
                    let bytes = encode_stored(&marked).map_err(Status::internal)?;
                    let key = Arc::clone(stored.key());
                    let object = StoredObject::new(key, stored.revision(), &bytes);
                    return Ok(Outcome::Stored(Arc::new(object)));
                }
                Ending::Remove => match self.remove(call, &stored).await? {
                    Ok(gone) => return Ok(Outcome::Removed(gone)),
                    Err(newer) => newer,
                },
                Ending::Mark(marked) => match self.replace(call, &stored, &marked).await? {
                    Ok(marked) => return Ok(Outcome::Stored(marked)),
                    Err(newer) => newer,
                },
            };
            stored = raced.ok_or_else(|| call.not_found())?;
        }
        Err(call.conflict())
    }
}

fn check_preconditions(
    call: &Call<'_>,
    options: &DeleteOptions,
    object: &Value,
) -> Result<(), Refusal> {
    let conditions = [
        ("UID", "UID", options.uid.as_deref(), meta::uid(object)),
        (
            "ResourceVersion",
            "ResourceVersion",
            options.resource_version.as_deref(),
            meta::resource_version(object),
        ),
    ];
    for (what, of_meta, asked, actual) in conditions {
        if let Some(asked) = asked
            && asked != actual
        {
            return Err(Status::conflict_because(
                call.resource.group_resource(),
                meta::name(object),
                &format!(
                    "Precondition failed: {what} in precondition: {asked}, {of_meta} in object meta: {actual}"
                ),
            )
            .into());
        }
    }
    Ok(())
}

/// Decides how an object ends.
fn ending(call: &Call<'_>, options: &DeleteOptions, object: &Value) -> Ending {
    let marked_before = meta::is_being_deleted(object);
    let mut marked = object.clone();
    set_propagation(&mut marked, options.propagation);
    strategy::prepare_delete(call, &mut marked);
    let grace = strategy::grace(call, object, options.grace);
    let finalizers = meta::finalizers(&marked).next().is_some();
    let held = finalizers || strategy::held(call, &marked);
    if grace == 0 && !held {
        return Ending::Remove;
    }
    let shortened = !marked_before || grace < old_grace(object);
    if shortened {
        mark(call, &mut marked, grace, marked_before);
    }
    if marked == *object {
        Ending::Nothing
    } else {
        Ending::Mark(marked)
    }
}

fn old_grace(object: &Value) -> i64 {
    object
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(i64::MAX)
}

fn mark(call: &Call<'_>, object: &mut Value, grace: i64, marked_before: bool) {
    let end = call
        .now
        .checked_add(jiff::SignedDuration::from_secs(grace))
        .unwrap_or(call.now);
    if !marked_before && meta::generation(object) > 0 {
        let generation = meta::generation(object) + 1;
        meta::set_generation(object, generation);
    }
    if let Some(metadata) = meta::metadata_mut(object) {
        metadata.insert(
            "deletionTimestamp".to_owned(),
            meta::format_time(end).into(),
        );
        metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
    }
}

/// Puts the garbage collector's finalizers in order with the asked propagation.
fn set_propagation(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else {
        return;
    };
    let mut finalizers: Vec<String> = meta::finalizers(object).map(str::to_owned).collect();
    finalizers.retain(|finalizer| finalizer != FOREGROUND && finalizer != ORPHAN);
    match propagation {
        Propagation::Background => {}
        Propagation::Foreground => finalizers.push(FOREGROUND.to_owned()),
        Propagation::Orphan => finalizers.push(ORPHAN.to_owned()),
    }
    if let Some(metadata) = meta::metadata_mut(object) {
        if finalizers.is_empty() {
            metadata.remove("finalizers");
        } else {
            metadata.insert("finalizers".to_owned(), json!(finalizers));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn propagation_replaces_the_collectors_finalizers_and_no_others() {
        let mut object = json!({"metadata": {"finalizers": ["example.com/keep", "orphan"]}});
        set_propagation(&mut object, Some(Propagation::Foreground));
        assert_eq!(
            object["metadata"]["finalizers"],
            json!(["example.com/keep", "foregroundDeletion"])
        );
        let mut alone = json!({"metadata": {"finalizers": ["orphan"]}});
        set_propagation(&mut alone, Some(Propagation::Background));
        assert_eq!(alone, json!({"metadata": {}}));
        set_propagation(&mut alone, None);
        assert_eq!(alone, json!({"metadata": {}}));
    }
}
