//! Applying a configuration (server-side apply): the object is made where it is not there, and otherwise changed as
//! far as nobody else owns what would change.
//!
//! Refuses to know: merging and ownership; those are the data model's.

use muster_machinery::{
    meta,
    status::{Reason, Status},
};
use serde_json::Value;

use super::{
    CONFLICT_RETRIES, Call, Conversion, Outcome, Owners, Refusal, Registry, WriteOptions, metadata,
    ownership::Writer,
};

impl Registry {
    /// Applies a configuration, which is given as the client sent it. The flag tells whether the object was made by
    /// this.
    pub(crate) async fn apply(
        &self,
        call: &Call<'_>,
        config: &Value,
        options: &WriteOptions,
    ) -> Result<(Outcome, bool), Refusal> {
        for _ in 0..CONFLICT_RETRIES {
            let changed = self
                .modify(call, options, Owners::Given, |old| {
                    applied(call, options, Some(old), config)
                })
                .await;
            match changed {
                Err(refusal)
                    if refusal.reason() == Reason::NotFound
                        && call.sub.is_none()
                        && !self.exists(call) => {}
                outcome => return Ok((outcome?, false)),
            }
            let object = applied(call, options, None, config)?;
            check_unborn(call, config)?;
            match self.create_as(call, object, options, Owners::Given).await {
                // Made by somebody else meanwhile.
                Err(refusal) if refusal.reason() == Reason::AlreadyExists => {}
                made => return Ok((Outcome::Stored(made?), true)),
            }
        }
        Err(call.conflict())
    }
}

/// The stored form of the object after the apply.
fn applied(
    call: &Call<'_>,
    options: &WriteOptions,
    live: Option<&Value>,
    config: &Value,
) -> Result<Value, Refusal> {
    let conversion = Conversion::of(call.served);
    let live = live.map(|live| {
        let mut live = live.clone();
        conversion.serve(call.served, &mut live);
        live
    });
    let writer = Writer::of(call, options);
    let mut object = writer.apply(live.as_ref(), config, options.force)?;
    if let Some(custom) = call.custom {
        custom.coerce(&mut object);
    }
    metadata::place(call, &mut object)?;
    metadata::check_name(call, &mut object)?;
    conversion.store(call.served, &mut object);
    Ok(object)
}

/// Who names a uid or a version means an object that was there, not a new one.
fn check_unborn(call: &Call<'_>, config: &Value) -> Result<(), Refusal> {
    let uid = meta::uid(config);
    if !uid.is_empty() {
        let why = format!(
            "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        );
        let resource = call.resource.group_resource();
        return Err(Status::conflict_because(resource, call.name(), &why).into());
    }
    match meta::resource_version(config) {
        "" | "0" => Ok(()),
        _ => Err(call.conflict()),
    }
}
