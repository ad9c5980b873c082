//! The watch cache and what is read from it: objects, snapshots, changes.
//!
//! Refuses to know: requests, users and wire formats.

mod attributes;
mod cache;
mod object;
mod reader;
mod resource;

pub(crate) use attributes::Selectable;
pub(crate) use cache::{Behind, WatchCache, resource_prefix, split_key};
pub(crate) use object::{StoredObject, encode_stored};
pub(crate) use resource::{
    CacheEvent, Change, Interest, ResourceCache, Snapshot, Subscription, TooOld,
};
