//! The scale of a workload: how many pods it asks for, as an object of its own.
//!
//! Refuses to know: who makes pods of it. The owner of a scale's replicas owns those of the workload.

use muster_machinery::{
    apply::{Path, scale as owners},
    crd::scale::{ScalePaths, parts},
    meta,
    selector::LabelSelector,
    status::Status,
};
use serde_json::{Value, json};

use super::{
    Call, Owners, PatchKind, Refusal, Registry, WriteOptions,
    ownership::{Writer, set_entries},
    patch,
};
use crate::admission::AdmissionRequest;
use crate::custom::CustomVersion;

const API_VERSION: &str = "autoscaling/v1";
const KIND: &str = "Scale";

impl Registry {
    /// The scale of an object.
    pub(crate) async fn scale(&self, call: &Call<'_>) -> Result<Value, Refusal> {
        let object = call.read(&*self.current(call).await?)?;
        if let Some(paths) = call.custom.and_then(CustomVersion::scale)
            && paths.wanted(&object).is_none()
        {
            let path = &paths.spec_replicas;
            let why = format!("the spec replicas field {path:?} does not exist");
            return Err(Status::internal(why).into());
        }
        scale_of(call, &object)
    }

    /// Sets the scale of an object.
    pub(crate) async fn set_scale(
        &self,
        call: &Call<'_>,
        scale: &Value,
        options: &WriteOptions,
    ) -> Result<Value, Refusal> {
        let writer = Writer::of_type(call, options, (API_VERSION, KIND));
        self.rescale(call, options, |old| {
            let mut scale = scale.clone();
            writer.field_manager().track(Some(old), &mut scale);
            Ok(scale)
        })
        .await
    }

    /// Patches the scale of an object.
    pub(crate) async fn patch_scale(
        &self,
        call: &Call<'_>,
        kind: PatchKind,
        body: &[u8],
        options: &WriteOptions,
    ) -> Result<Value, Refusal> {
        let writer = Writer::of_type(call, options, (API_VERSION, KIND));
        self.rescale(call, options, |old| {
            let patched = kind.apply(old.clone(), body);
            let mut scale = patched.map_err(|error| patch::refuse(call, &error))?;
            writer.field_manager().track(Some(old), &mut scale);
            Ok(scale)
        })
        .await
    }

    /// Applies a configuration to the scale of an object.
    pub(crate) async fn apply_scale(
        &self,
        call: &Call<'_>,
        config: &Value,
        options: &WriteOptions,
    ) -> Result<Value, Refusal> {
        let writer = Writer::of_type(call, options, (API_VERSION, KIND));
        self.rescale(call, options, |old| {
            writer.apply(Some(old), config, options.force)
        })
        .await
    }

    /// Lets admission change the scale behind a changed workload. Says whether it did.
    pub(super) async fn change_scale(
        &self,
        call: &Call<'_>,
        request: &AdmissionRequest<'_>,
        new: &mut Value,
        old: &Value,
    ) -> Result<bool, Refusal> {
        let (mut scale, old_scale) = (scale_of(call, new)?, scale_of(call, old)?);
        let changed = self.admission.change(request, &mut scale, Some(&old_scale));
        if !changed.await? {
            return Ok(false);
        }
        let replicas = meta::at(&scale, &["spec", "replicas"]).cloned();
        if let (Some(spec), Some(replicas)) = (meta::map_mut(new, "spec"), replicas) {
            spec.insert("replicas".to_owned(), replicas);
        }
        Ok(true)
    }

    /// Lets admission judge the scale behind a changed workload.
    pub(super) async fn judge_scale(
        &self,
        call: &Call<'_>,
        request: &AdmissionRequest<'_>,
        new: &Value,
        old: &Value,
    ) -> Result<(), Refusal> {
        let (scale, old_scale) = (scale_of(call, new)?, scale_of(call, old)?);
        let judged = self
            .admission
            .judge(request, Some(&scale), Some(&old_scale));
        judged.await
    }

    /// Changes a workload by a function of its scale.
    async fn rescale(
        &self,
        call: &Call<'_>,
        options: &WriteOptions,
        mut change: impl FnMut(&Value) -> Result<Value, Refusal> + Send,
    ) -> Result<Value, Refusal> {
        let outcome = self
            .modify(call, options, Owners::Given, |old| {
                let scale = change(&owned_scale_of(call, old)?)?;
                with_scale(call, old, &scale)
            })
            .await?;
        scale_of(call, &call.read(&outcome.object())?)
    }
}

/// Where workloads have their replicas, in every version.
fn replicas_path(_api_version: &str) -> Option<Path> {
    Some(Path::fields(&["spec", "replicas"]))
}

/// Where a version of the scaled kind has its replicas.
fn replicas_of<'a>(call: &Call<'a>) -> impl Fn(&str) -> Option<Path> + use<'a> {
    let custom = call.custom;
    move |api_version| match custom {
        None => replicas_path(api_version),
        Some(custom) => {
            let names: Vec<&str> = parts(&custom.scale_of(api_version)?.spec_replicas).collect();
            Some(Path::fields(&names))
        }
    }
}

/// The `Scale` of a workload with those who own it.
fn owned_scale_of(call: &Call<'_>, object: &Value) -> Result<Value, Refusal> {
    let mut scale = scale_of(call, object)?;
    let entries = owners::to_scale(object, &replicas_of(call)).map_err(Status::internal)?;
    let entries = Some(entries).filter(|entries| !entries.is_empty());
    set_entries(&mut scale, entries.map(Value::Array));
    Ok(scale)
}

/// The `Scale` of a workload.
fn scale_of(call: &Call<'_>, object: &Value) -> Result<Value, Refusal> {
    if let Some(paths) = call.custom.and_then(CustomVersion::scale) {
        return Ok(custom_scale(paths, object));
    }
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
        "apiVersion": API_VERSION,
        "kind": KIND,
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

/// The `Scale` of a custom resource.
fn custom_scale(paths: &ScalePaths, object: &Value) -> Value {
    let metadata = |field: &str| meta::at(object, &["metadata", field]).cloned();
    let mut status = json!({"replicas": paths.present(object)});
    if !paths.selector(object).is_empty() {
        status["selector"] = paths.selector(object).into();
    }
    json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": metadata("name"),
            "namespace": metadata("namespace"),
            "uid": metadata("uid"),
            "resourceVersion": metadata("resourceVersion"),
            "creationTimestamp": metadata("creationTimestamp"),
        },
        "spec": {"replicas": paths.wanted(object).unwrap_or(0)},
        "status": status,
    })
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
                Status::invalid("autoscaling", KIND, call.name(), &[error])
            })?,
    };
    let mut object = old.clone();
    if let Some(paths) = call.custom.and_then(CustomVersion::scale) {
        paths.set_wanted(&mut object, replicas);
    } else if let Some(spec) = meta::map_mut(&mut object, "spec") {
        spec.insert("replicas".to_owned(), replicas.into());
    }
    let api_version = call.resource.api_version();
    let entries = owners::to_parent(old, scale, &api_version, &replicas_of(call));
    let entries = entries.map_err(|error| Status::bad_request(error.to_string()))?;
    let entries = Some(entries).filter(|entries| !entries.is_empty());
    set_entries(&mut object, entries.map(Value::Array));
    // What the scale names must be what the workload has.
    meta::set_resource_version(&mut object, meta::resource_version(scale));
    if !meta::uid(scale).is_empty()
        && let Some(metadata) = meta::metadata_mut(&mut object)
    {
        metadata.insert("uid".to_owned(), meta::uid(scale).into());
    }
    Ok(object)
}
