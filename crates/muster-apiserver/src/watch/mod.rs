//! The watch cache and what is read from it: objects, snapshots, changes.
//!
//! Refuses to know: requests, users and wire formats.

mod attributes;
mod cache;
mod delivery;
mod object;
mod reader;
mod resource;

pub(crate) use attributes::Selectable;
pub(crate) use cache::{Behind, ROOT, WatchCache, resource_prefix};
pub(crate) use delivery::{Delivery, Form};
pub(crate) use object::{StoredObject, encode_stored};
pub(crate) use resource::{
    CacheEvent, Change, Interest, ResourceCache, Snapshot, Subscription, TooOld,
};
