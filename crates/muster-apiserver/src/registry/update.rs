//! Changing an object: replaced as a whole or by a patch, decided again when somebody else was faster.
//!
//! Refuses to know: where the new state comes from; that is the caller's function of the old one.

use std::sync::Arc;

use muster_machinery::{apply::keep_times_when_unchanged, crd, meta, status::Status, validation};
use serde_json::Value;

use super::{
    CONFLICT_RETRIES, Call, Outcome, Owners, Refusal, Registry, WriteOptions,
    create::{admission_request, warn_of_definition},
    metadata, ownership, strategy,
};
use crate::{
    admission::{AdmissionRequest, Operation},
    custom,
    watch::{StoredObject, encode_stored},
};

impl Registry {
    /// Replaces an object. The flag tells whether it was made by this.
    pub(crate) async fn update(
        &self,
        call: &Call<'_>,
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<(Outcome, bool), Refusal> {
        metadata::place(call, &mut object)?;
        metadata::check_name(call, &mut object)?;
        let version = meta::resource_version(&object).to_owned();
        if version.is_empty() && metadata::needs_version(call.resource) {
            self.refuse_unversioned(call).await?;
        }
        let outcome = self
            .modify(call, options, Owners::Track, |_| Ok(object.clone()))
            .await;
        match outcome {
            Err(refusal)
                if refusal.code() == 404
                    && call.sub.is_none()
                    && metadata::may_create_on_update(call.resource) =>
            {
                // Who names a uid means an object that was there, not a new one.
                check_uid(call, &object, "")?;
                meta::set_resource_version(&mut object, "");
                let made = self.create(call, object, options).await?;
                Ok((Outcome::Stored(made), true))
            }
            outcome => Ok((outcome?, false)),
        }
    }

    async fn refuse_unversioned(&self, call: &Call<'_>) -> Result<(), Refusal> {
        self.catch_up().await?;
        if self.resource_cache(call).get(&call.key()).is_none() {
            return Ok(());
        }
        let error = validation::FieldError::invalid(
            "metadata.resourceVersion",
            Value::from(0),
            "must be specified for an update",
        );
        let (group, kind) = (&call.resource.group, &call.resource.kind);
        Err(Status::invalid(group, kind, call.name(), &[error]).into())
    }

    /// Changes the addressed object by a function of its present state. When the result names a resource
    /// version it must be the present one; otherwise a lost race is decided again on the newer state.
    pub(crate) async fn modify(
        &self,
        call: &Call<'_>,
        options: &WriteOptions,
        owners: Owners,
        mut change: impl FnMut(&Value) -> Result<Value, Refusal> + Send,
    ) -> Result<Outcome, Refusal> {
        let mut stored = self.current(call).await?;
        for _ in 0..CONFLICT_RETRIES {
            let old = call.read(&stored)?;
            let mut new = change(&old)?;
            check_preconditions(call, &new, &old)?;
            self.prepare_change(call, &mut new, &old, (options, owners))
                .await?;
            // Compared and stored without regard to it: the store says what it becomes.
            meta::set_resource_version(&mut new, meta::resource_version(&old));
            keep_times_when_unchanged(&old, &mut new);
            if strategy::is_finished(call, &new) {
                if options.dry_run {
                    return Ok(Outcome::Removed(stored));
                }
                match self.remove(call, &stored).await? {
                    Ok(gone) => return Ok(Outcome::Removed(gone)),
                    Err(newer) => stored = newer.ok_or_else(|| call.not_found())?,
                }
                continue;
            }
            if new == old && !is_outdated(call, &stored) {
                return Ok(Outcome::Stored(stored));
            }
            if options.dry_run {
                self.release_addresses(call, &new);
                return dry_state(&stored, &new).map(Outcome::Stored);
            }
            let replaced = self.replace(call, &stored, &new).await;
            self.release_addresses(call, &new);
            match replaced? {
                Ok(done) => return Ok(Outcome::Stored(done)),
                Err(newer) => stored = newer.ok_or_else(|| call.not_found())?,
            }
        }
        Err(call.conflict())
    }

    /// Everything that happens to a changed object before it is written.
    async fn prepare_change(
        &self,
        call: &Call<'_>,
        new: &mut Value,
        old: &Value,
        (options, owners): (&WriteOptions, Owners),
    ) -> Result<(), Refusal> {
        metadata::carry_over(new, old)?;
        strategy::prepare_update(call, new, old);
        metadata::count_generation(new, old);
        if owners == Owners::Track {
            ownership::track(call, options, Some(old), new);
        }
        let request = admission_request(call, Operation::Update, options.into());
        let changed = match call.sub_name() {
            "scale" => self.change_scale(call, &request, new, old).await?,
            _ => self.admission.change(&request, new, Some(old)).await?,
        };
        if changed {
            metadata::carry_over(new, old)?;
            strategy::prepare_update(call, new, old);
            metadata::count_generation(new, old);
        }
        if call.is("", "services") && call.sub.is_none() {
            self.addresses.assign(new, Some(old))?;
        }
        let judged = self.judge_change(call, new, old, &request).await;
        if judged.is_err() {
            self.release_addresses(call, new);
        }
        judged
    }

    /// Whether a completed change may be written.
    async fn judge_change(
        &self,
        call: &Call<'_>,
        new: &Value,
        old: &Value,
        request: &AdmissionRequest<'_>,
    ) -> Result<(), Refusal> {
        let errors = validate(call, new, old);
        if !errors.is_empty() {
            let (group, kind) = (&call.resource.group, &call.resource.kind);
            return Err(Status::invalid(group, kind, call.name(), &errors).into());
        }
        warn_of_definition(call, new, Some(old));
        match call.sub_name() {
            "scale" => self.judge_scale(call, request, new, old).await,
            _ => {
                self.admission.judge(request, Some(new), Some(old)).await?;
                self.charge(call, request, new, Some(old)).await
            }
        }
    }
}

fn validate(call: &Call<'_>, new: &Value, old: &Value) -> Vec<validation::FieldError> {
    match call.custom {
        Some(custom) => custom.validate_update(new, old, call.sub_name()),
        None if call.is(custom::GROUP, custom::DEFINITIONS) && call.sub_name() == "status" => {
            crd::validate_definition_status(new, old)
        }
        None => validation::validate_update(call.resource, call.sub_name(), new, old),
    }
}

/// Whether a custom resource is kept in a version that is no longer the one for that: writing it, even unchanged, brings it
/// up to date.
fn is_outdated(call: &Call<'_>, stored: &StoredObject) -> bool {
    call.custom.is_some_and(|custom| {
        let value = super::value_of(stored);
        value.is_ok_and(|value| !custom.is_stored_in(meta::api_version(&value)))
    })
}

/// The uid and version that the new state names must be those of the present one.
fn check_preconditions(call: &Call<'_>, new: &Value, old: &Value) -> Result<(), Refusal> {
    check_uid(call, new, meta::uid(old))?;
    let asked = meta::resource_version(new);
    if !asked.is_empty() && asked != "0" && asked != meta::resource_version(old) {
        return Err(call.conflict());
    }
    Ok(())
}

/// The uid that the new state names, if any, must be `actual`.
fn check_uid(call: &Call<'_>, new: &Value, actual: &str) -> Result<(), Refusal> {
    let asked = meta::uid(new);
    if asked.is_empty() || asked == actual {
        return Ok(());
    }
    Err(Status::conflict_because(
        call.resource.group_resource(),
        call.name(),
        &format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {actual}"),
    )
    .into())
}

fn dry_state(old: &StoredObject, new: &Value) -> Result<Arc<StoredObject>, Refusal> {
    let stored = encode_stored(new).map_err(Status::internal)?;
    Ok(Arc::new(StoredObject::new(
        Arc::clone(old.key()),
        old.revision(),
        &stored,
    )))
}
