//! Making an object.
//!
//! Refuses to know: what single kinds add to a new object: that is `strategy`.

use std::sync::Arc;

use muster_machinery::{crd, meta, status::Status, validation};
use serde_json::Value;

use super::{
    Call, Owners, Refusal, Registry, WriteOptions, identity::generated_name, metadata, ownership,
    strategy,
};
use crate::{
    admission::{AdmissionOptions, AdmissionRequest, Operation},
    custom,
    watch::{StoredObject, encode_stored},
};

/// How many generated names are tried.
const NAME_TRIES: usize = 8;

impl Registry {
    /// Makes an object and answers its stored state.
    pub(crate) async fn create(
        &self,
        call: &Call<'_>,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Arc<StoredObject>, Refusal> {
        self.create_as(call, object, options, Owners::Track).await
    }

    /// Makes an object whose owners may already be known.
    pub(super) async fn create_as(
        &self,
        call: &Call<'_>,
        mut object: Value,
        options: &WriteOptions,
        owners: Owners,
    ) -> Result<Arc<StoredObject>, Refusal> {
        metadata::place(call, &mut object)?;
        if !call.name().is_empty() {
            metadata::check_name(call, &mut object)?;
        }
        // "0" is the version of what was never stored; manifests of other tools carry it.
        if !matches!(meta::resource_version(&object), "" | "0") {
            return Err(Status::bad_request(
                "resourceVersion should not be set on objects to be created",
            )
            .into());
        }
        let base = match meta::name(&object) {
            "" => meta::generate_name(&object).to_owned(),
            _ => String::new(),
        };
        for _ in 0..NAME_TRIES {
            let mut attempt = object.clone();
            if !base.is_empty() {
                meta::set_name(&mut attempt, &generated_name(&base));
            }
            let attempt = self.prepare_new(call, attempt, options, owners).await?;
            let inserted = self.insert_new(call, &attempt, options).await;
            self.release_addresses(call, &attempt);
            if let Some(stored) = inserted? {
                return Ok(stored);
            }
            if base.is_empty() {
                let name = meta::name(&attempt);
                return Err(Status::already_exists(call.resource.group_resource(), name).into());
            }
        }
        Err(Status::generated_name_exists(call.resource.group_resource(), &base).into())
    }

    /// Everything that happens to a new object before it is written.
    async fn prepare_new(
        &self,
        call: &Call<'_>,
        mut object: Value,
        options: &WriteOptions,
        owners: Owners,
    ) -> Result<Value, Refusal> {
        metadata::begin(call, &mut object);
        strategy::complete_new(call, &mut object);
        // Before what the server decides for the client: that belongs to nobody.
        if owners == Owners::Track {
            ownership::track(call, options, None, &mut object);
        }
        strategy::prepare_create(call, &mut object);
        let given = object.get("metadata").cloned();
        let request = admission_request(call, Operation::Create, options.into());
        if self.admission.change(&request, &mut object, None).await? {
            metadata::keep_identity(&mut object, given.as_ref());
            strategy::complete_new(call, &mut object);
        }
        if call.is("", "services") {
            self.addresses.assign(&mut object, None)?;
        }
        let judged = self.judge_new(call, &object, &request).await;
        if judged.is_err() {
            self.release_addresses(call, &object);
        }
        judged.map(|()| object)
    }

    /// Whether a completed new object may be written.
    async fn judge_new(
        &self,
        call: &Call<'_>,
        object: &Value,
        request: &AdmissionRequest<'_>,
    ) -> Result<(), Refusal> {
        let errors = match call.custom {
            Some(custom) => custom.validate(call.resource, object),
            None => validation::validate_create(call.resource, object),
        };
        if !errors.is_empty() {
            let (group, kind) = (&call.resource.group, &call.resource.kind);
            return Err(Status::invalid(group, kind, meta::name(object), &errors).into());
        }
        warn_of_definition(call, object, None);
        self.admission.judge(request, Some(object), None).await?;
        self.charge(call, request, object, None).await
    }

    /// Addresses and ports given out for a service need no more remembering: it is stored or refused.
    pub(super) fn release_addresses(&self, call: &Call<'_>, object: &Value) {
        if call.is("", "services") && call.sub.is_none() {
            self.addresses.release(object);
        }
    }

    async fn insert_new(
        &self,
        call: &Call<'_>,
        object: &Value,
        options: &WriteOptions,
    ) -> Result<Option<Arc<StoredObject>>, Refusal> {
        let key = call.key_of(meta::name(object));
        if !options.dry_run {
            return self.insert(call, &key, object).await;
        }
        self.catch_up().await?;
        if self.resource_cache(call).get(&key).is_some() {
            return Ok(None);
        }
        let stored = encode_stored(object).map_err(Status::internal)?;
        Ok(Some(Arc::new(StoredObject::new(key.into(), 0, &stored))))
    }

    /// Passes an object that is sent to a subresource and not stored through admission.
    pub(super) async fn admit_action(
        &self,
        call: &Call<'_>,
        object: &mut Value,
        options: &WriteOptions,
    ) -> Result<(), Refusal> {
        let request = admission_request(call, Operation::Create, options.into());
        self.admission.change(&request, object, None).await?;
        self.admission.judge(&request, Some(object), None).await
    }
}

/// Tells the writer of a definition what will not be as it says.
pub(super) fn warn_of_definition(call: &Call<'_>, object: &Value, old: Option<&Value>) {
    if call.is(custom::GROUP, custom::DEFINITIONS) && call.sub.is_none() {
        for warning in crd::definition_warnings(object, old) {
            call.notes.warn(&warning);
        }
    }
}

/// A call as admission sees it.
pub(super) fn admission_request<'a>(
    call: &'a Call<'_>,
    operation: Operation,
    options: AdmissionOptions<'a>,
) -> AdmissionRequest<'a> {
    AdmissionRequest {
        user: call.user,
        info: call.request,
        operation,
        stored: call.resource,
        served: call.served,
        sub: call.sub,
        options,
        notes: call.notes,
    }
}
