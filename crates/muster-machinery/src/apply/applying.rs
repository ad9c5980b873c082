//! Server-side apply: lays a configuration over an object, takes away what its manager no longer mentions, and answers
//! with a conflict when that would change what others own.
//!
//! Upstream: structured-merge-diff `merge.Updater.Apply` and k8s.io/apimachinery `pkg/util/managedfields`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::conflict::{ApplyError, Conflicts};
use super::element::same;
use super::extract::{check, field_set, is_shallow};
use super::field_set::FieldSet;
use super::managed::{self, Managed, Manager, Operation, Owned};
use super::merge::{Emptied, merge, remove};
use super::tracking::Taken;
use super::typing::Type;
use super::{FieldManager, MAX_DEPTH, last_applied};
use crate::gvk::split_api_version;
use crate::meta;

/// Who owns what was there before the first apply to an object without entries.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

impl FieldManager<'_> {
    /// The object after an apply, with its new `metadata.managedFields`, before defaults and validation.
    ///
    /// `live` is the stored object in this manager's version, `None` when the apply creates it. `config` is the request's
    /// body as it was sent, without defaults. With `force`, fields of others are taken instead of refused.
    ///
    /// # Errors
    /// When others own fields that would change, and when the configuration is none of this kind.
    pub fn apply(
        &self,
        live: Option<&Value>,
        config: &Value,
        force: bool,
    ) -> Result<Value, ApplyError> {
        let ty = self.admit(live, config)?;
        let blank;
        let live = match live {
            Some(live) => live,
            None => {
                blank = {
                    let mut object = Value::Object(serde_json::Map::new());
                    meta::set_gvk(&mut object, self.api_version, self.kind);
                    object
                };
                &blank
            }
        };
        let mut managed = Managed::read(live).map_err(ApplyError::LiveManagedFields)?;
        if managed.0.is_empty() {
            let blank = self.typing.blank(self.api_version, self.kind);
            self.update(&blank, live, &mut managed, BEFORE_FIRST_APPLY);
        }
        let (mut object, managed) = self.apply_migrating(live, config, ty, managed, force)?;
        if self.manager == last_applied::MANAGER {
            last_applied::refresh(&mut object, config);
        }
        managed.write(&mut object);
        Ok(object)
    }

    /// What must hold before anything is looked at.
    fn admit(&self, live: Option<&Value>, config: &Value) -> Result<Type<'_>, ApplyError> {
        if !is_shallow(config, MAX_DEPTH) || !live.is_none_or(|live| is_shallow(live, MAX_DEPTH)) {
            return Err(ApplyError::TooDeep);
        }
        let wrong = || ApplyError::WrongKind(gvk_text(config));
        if meta::api_version(config) != self.api_version || meta::kind(config) != self.kind {
            return Err(wrong());
        }
        if managed::of(config).is_some() {
            return Err(ApplyError::ManagedFieldsGiven);
        }
        let ty = self.root(self.api_version).ok_or_else(wrong)?;
        let mistakes = check(config, ty);
        if mistakes.is_empty() {
            return Ok(ty);
        }
        let (namespace, name) = (meta::namespace(config), meta::name(config));
        Err(ApplyError::Unfit {
            object: format!("{namespace}/{name}; {}", gvk_text(config)),
            mistakes,
        })
    }

    /// Applies; when kubectl meets conflicts over nothing but what it applied itself on the client's side, it takes the
    /// fields.
    fn apply_migrating(
        &self,
        live: &Value,
        config: &Value,
        ty: Type<'_>,
        managed: Managed,
        force: bool,
    ) -> Result<(Value, Managed), ApplyError> {
        let applied = self.apply_once(live, config, ty, managed.clone(), force);
        let conflicts = match applied {
            Ok(done) => return Ok(done),
            Err(conflicts) => conflicts,
        };
        let allowed = match self.manager {
            last_applied::MANAGER => last_applied::fields(live, self.api_version, ty),
            _ => None,
        };
        let Some(allowed) = allowed else {
            return Err(ApplyError::Conflicts(Conflicts::of(&conflicts)));
        };
        let left: Taken = conflicts
            .into_iter()
            .map(|(manager, taken)| (manager, taken.difference(&allowed)))
            .filter(|(_, taken)| !taken.is_empty())
            .collect();
        if left.is_empty() {
            let forced = self.apply_once(live, config, ty, managed, true);
            return forced.map_err(|taken| ApplyError::Conflicts(Conflicts::of(&taken)));
        }
        Err(ApplyError::Conflicts(Conflicts::of(&left)))
    }

    fn apply_once(
        &self,
        live: &Value,
        config: &Value,
        ty: Type<'_>,
        mut managed: Managed,
        force: bool,
    ) -> Result<(Value, Managed), Taken> {
        self.reconcile(&mut managed);
        let applier = Manager::new(
            self.manager,
            Operation::Apply,
            self.api_version,
            self.subresource,
        );
        let last = managed.0.get(&applier).cloned();
        let fields = field_set(config, ty);
        let fields = match self.ignored {
            Some(ignored) => fields.recursive_difference(ignored),
            None => fields,
        };
        let owned = Owned {
            fields,
            api_version: self.api_version.into(),
            time: None,
        };
        managed.0.insert(applier.clone(), owned);
        let mut object = merge(live, config, ty);
        if let Some(last) = last.as_ref().filter(|last| !last.fields.is_empty()) {
            let pruned = self.prune(object, &managed, last);
            // An empty list or map that is applied has no fields that keep it.
            object = merge(&pruned, config, ty);
        }
        self.take((live, &object), &mut managed, &applier, force)?;
        if let Some(mut owned) = managed.0.remove(&applier) {
            owned.fields = self.trackable(owned.fields);
            let is_as_before = same(live, &object)
                && last.as_ref().is_some_and(|last| {
                    last.fields == owned.fields && last.api_version == owned.api_version
                });
            owned.time = match last.and_then(|last| last.time) {
                Some(time) if is_as_before => Some(time),
                _ => Some(self.now),
            };
            if !owned.fields.is_empty() {
                managed.0.insert(applier, owned);
            }
        }
        Ok((object, managed))
    }

    /// Takes away what the applier mentioned last time and not now, and what nobody else claims.
    fn prune(&self, merged: Value, managed: &Managed, last: &Owned) -> Value {
        self.pruned(&merged, managed, last).unwrap_or(merged)
    }

    /// `None` when the version of the last apply is gone.
    fn pruned(&self, merged: &Value, managed: &Managed, last: &Owned) -> Option<Value> {
        let here = self.api_version;
        let version = last.api_version.as_str();
        let ty = self.root(version)?;
        let merged_there = self.typing.convert(merged, self.kind, here, version)?;
        let last_fields = last.fields.ensure_named_fields(ty);
        let mut pruned = remove(&merged_there, &last_fields, ty, Emptied::Null);

        let mut claims: BTreeMap<&str, FieldSet> = BTreeMap::new();
        for owned in managed.0.values() {
            claims
                .entry(&owned.api_version)
                .or_default()
                .extend(&owned.fields);
        }
        // The version of the last apply first: what conversion needs must be back before it.
        let own = claims.remove_entry(version);
        for (claimed_in, claim) in own.into_iter().chain(claims) {
            let restored = self.add_back(merged, &pruned, version, (claimed_in, &claim));
            if let Some(restored) = restored {
                pruned = restored;
            }
        }

        // Only what the applier owned may go.
        let kept = field_set(&pruned, ty).ensure_named_fields(ty);
        let gone = field_set(&merged_there, ty)
            .ensure_named_fields(ty)
            .difference(&kept)
            .intersection(&last_fields);
        let pruned = remove(&merged_there, &gone, ty, Emptied::Empty);
        let back = self.typing.convert(&pruned, self.kind, version, here)?;
        Some(back.into_owned())
    }

    /// The pruned object with what is claimed in one version; both in `version`.
    fn add_back(
        &self,
        merged: &Value,
        pruned: &Value,
        version: &str,
        (claimed_in, claim): (&str, &FieldSet),
    ) -> Option<Value> {
        let ty = self.root(claimed_in)?;
        let convert = |object, from| self.typing.convert(object, self.kind, from, claimed_in);
        let merged = convert(merged, self.api_version)?;
        let pruned = convert(pruned, version)?;
        let named = |set: FieldSet| set.ensure_named_fields(ty);
        let kept = named(field_set(&pruned, ty)).union(&named(claim.clone()));
        let gone = named(field_set(&merged, ty)).difference(&kept);
        let restored = remove(&merged, &gone, ty, Emptied::Null);
        let back = self
            .typing
            .convert(&restored, self.kind, claimed_in, version)?;
        Some(back.into_owned())
    }
}

/// As Go prints a `GroupVersionKind`.
fn gvk_text(object: &Value) -> String {
    let (group, version) = split_api_version(meta::api_version(object)).unwrap_or_default();
    format!("{group}/{version}, Kind={}", meta::kind(object))
}
