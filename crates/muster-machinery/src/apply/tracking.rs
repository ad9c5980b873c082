//! Who owns the fields after a write: the bookkeeping of creates, updates and patches, and the part of it that applies
//! share.
//!
//! Upstream: structured-merge-diff `merge.Updater`. Pure: objects and entries in, entries out.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::compare::{Comparison, compare};
use super::extract::is_shallow;
use super::field_set::FieldSet;
use super::managed::{self, Managed, Manager, Operation, Owned};
use super::typing::Type;
use super::{FieldManager, MAX_DEPTH, Typing};
use crate::meta;

/// Fields that nobody owns: they identify the object, or the server alone writes them.
static NEVER_TRACKED: LazyLock<FieldSet> = LazyLock::new(|| {
    const METADATA: [&str; 11] = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    let mut set = FieldSet::of_fields(&[&["apiVersion"], &["kind"], &["metadata"]]);
    for name in METADATA {
        set.extend(&FieldSet::of_fields(&[&["metadata", name]]));
    }
    set
});

/// What a write would take, by owner.
pub(super) type Taken = BTreeMap<Manager, FieldSet>;

/// How a change looks in every version that an entry speaks of.
struct Comparisons<'m, 'a> {
    context: &'m FieldManager<'a>,
    old: &'m Value,
    new: &'m Value,
    by_version: BTreeMap<String, Option<Comparison>>,
}

impl Comparisons<'_, '_> {
    /// The change in one version; `None` when the version is gone.
    fn in_version(&mut self, version: &str) -> Option<&Comparison> {
        if !self.by_version.contains_key(version) {
            let comparison = self.context.compared(self.old, self.new, version);
            self.by_version.insert(version.to_owned(), comparison);
        }
        self.by_version.get(version)?.as_ref()
    }
}

impl FieldManager<'_> {
    /// The type in one version; `None` when the version is gone.
    pub(super) fn root(&self, api_version: &str) -> Option<Type<'_>> {
        let is_known = || {
            let table = crate::schema::table();
            table.by_api_version(api_version, self.kind).is_some()
        };
        match self.typing {
            // Nothing tells which versions a kind without types has.
            Typing::BuiltIn if api_version != self.api_version && !is_known() => None,
            typing => typing.root(api_version, self.kind),
        }
    }

    fn compared(&self, old: &Value, new: &Value, version: &str) -> Option<Comparison> {
        let ty = self.root(version)?;
        let from = self.api_version;
        let old = self.typing.convert(old, self.kind, from, version)?;
        let new = self.typing.convert(new, self.kind, from, version)?;
        let comparison = compare(&old, &new, ty);
        Some(match self.ignored {
            Some(ignored) => comparison.without(ignored),
            None => comparison,
        })
    }

    /// Brings the entries in line with types that became atomic, and drops those of versions that are gone.
    pub(super) fn reconcile(&self, managed: &mut Managed) {
        managed
            .0
            .retain(|_, owned| match self.root(&owned.api_version) {
                Some(ty) => {
                    if !owned.fields.is_reconciled(ty) {
                        owned.fields = owned.fields.reconciled(ty);
                    }
                    true
                }
                None => false,
            });
    }

    /// Takes from all managers but one what a change wrote or removed. Without force, writing what others own is a
    /// conflict.
    pub(super) fn take(
        &self,
        (old, new): (&Value, &Value),
        managed: &mut Managed,
        writer: &Manager,
        force: bool,
    ) -> Result<Comparison, Taken> {
        let mut comparisons = Comparisons {
            context: self,
            old,
            new,
            by_version: BTreeMap::new(),
        };
        let mut conflicts = BTreeMap::new();
        let mut left = Managed::default();
        for (manager, owned) in &managed.0 {
            if manager == writer {
                left.0.insert(manager.clone(), owned.clone());
                continue;
            }
            let Some(comparison) = comparisons.in_version(&owned.api_version) else {
                continue;
            };
            if comparison.is_empty() {
                left.0.insert(manager.clone(), owned.clone());
                continue;
            }
            let taken = owned.fields.intersection(&comparison.written());
            let fields = owned.fields.difference(&taken);
            let fields = fields.difference(&comparison.removed);
            if !taken.is_empty() {
                conflicts.insert(manager.clone(), taken);
            }
            let owned = Owned {
                fields,
                ..owned.clone()
            };
            left.0.insert(manager.clone(), owned);
        }
        if !force && !conflicts.is_empty() {
            return Err(conflicts);
        }
        left.0.retain(|_, owned| !owned.fields.is_empty());
        *managed = left;
        comparisons.in_version(self.api_version);
        let own = comparisons.by_version.remove(self.api_version);
        Ok(own.flatten().unwrap_or_default())
    }

    /// The set without the fields that are reset on this endpoint or never tracked.
    pub(super) fn trackable(&self, mut fields: FieldSet) -> FieldSet {
        if let Some(ignored) = self.ignored {
            fields.subtract_recursive(ignored);
        }
        fields.subtract(&NEVER_TRACKED);
        fields
    }

    /// Gives the fields that a change wrote to an updater.
    pub(super) fn update(&self, old: &Value, new: &Value, managed: &mut Managed, name: &str) {
        self.reconcile(managed);
        let manager = Manager::new(name, Operation::Update, self.api_version, self.subresource);
        // The updater's own entry is treated as any other first, so that its time changes only when it wrote something.
        let nobody = Manager::new("", Operation::Update, "", "");
        let Ok(comparison) = self.take((old, new), managed, &nobody, true) else {
            return;
        };
        let written = self.trackable(comparison.into_written());
        if !written.is_empty() {
            let entry = managed.0.entry(manager).or_insert_with(|| Owned {
                fields: FieldSet::new(),
                api_version: self.api_version.into(),
                time: None,
            });
            entry.fields.extend(&written);
            entry.time = Some(self.now);
        }
        managed.cap();
    }

    /// Writes `metadata.managedFields` of an object about to be stored by a create, update or patch.
    ///
    /// `live` is the stored object, `None` for a create. Both are in this manager's version, with defaults, as they are
    /// stored. Call it before anything drops the empty list or empty entry with which a client resets the field.
    pub fn track(&self, live: Option<&Value>, new: &mut Value) {
        let is_bounded = |object: &Value| is_shallow(object, MAX_DEPTH);
        if !is_bounded(new) || !live.is_none_or(is_bounded) {
            return keep_entries(live, new);
        }
        let mut managed = self.entries_of(live, new);
        if live.is_some() && managed.0.is_empty() {
            // Tracking starts with the object or with the first apply.
            return managed.write(new);
        }
        let blank;
        let old = match live {
            Some(live) => live,
            None => {
                blank = self.typing.blank(self.api_version, self.kind);
                &blank
            }
        };
        self.update(old, new, &mut managed, self.manager);
        managed.write(new);
    }

    /// The entries to start from: those sent, unless there are none or they are malformed. A subresource cannot send
    /// any.
    fn entries_of(&self, live: Option<&Value>, new: &Value) -> Managed {
        if self.subresource.is_empty() {
            if managed::is_reset(new) {
                return Managed::default();
            }
            if let Ok(managed) = Managed::read(new)
                && !managed.0.is_empty()
            {
                return managed;
            }
        }
        live.and_then(|live| Managed::read(live).ok())
            .unwrap_or_default()
    }
}

fn keep_entries(live: Option<&Value>, new: &mut Value) {
    let entries = live.and_then(managed::of).cloned();
    let Some(metadata) = meta::metadata_mut(new) else {
        return;
    };
    match entries {
        Some(entries) => metadata.insert("managedFields".into(), entries),
        None => metadata.remove("managedFields"),
    };
}

/// Makes a write that changes nothing but times in `managedFields` no change at all: the entries of `live` stay.
///
/// Call it last, after admission and validation; when `new` then equals `live`, nothing needs to be stored. Versions and
/// generation of the objects do not count.
pub fn keep_times_when_unchanged(live: &Value, new: &mut Value) {
    if !is_same_content(live, new) {
        return;
    }
    let untimed = |object: &Value| {
        let mut managed = Managed::read(object).ok()?;
        managed.0.values_mut().for_each(|owned| owned.time = None);
        Some(managed)
    };
    if let (Some(before), Some(after)) = (untimed(live), untimed(new))
        && before == after
    {
        keep_entries(Some(live), new);
    }
}

/// Whether two objects are equal but for the metadata that the server writes with every change.
fn is_same_content(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return a == b;
    };
    a.len() == b.len()
        && a.iter().zip(b).all(|((a_name, a), (b_name, b))| {
            a_name == b_name
                && match (a.as_object(), b.as_object()) {
                    (Some(a), Some(b)) if a_name == "metadata" => {
                        client_members(a).eq(client_members(b))
                    }
                    _ => a == b,
                }
        })
}

fn client_members(metadata: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    const SERVER: [&str; 3] = ["managedFields", "resourceVersion", "generation"];
    metadata
        .iter()
        .filter(|(name, _)| !SERVER.contains(&name.as_str()))
}
