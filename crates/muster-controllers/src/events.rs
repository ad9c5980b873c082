//! Turns a watch of the API into a stream of (name, object) pairs that never ends by itself:
//! a broken watch is resumed with a growing pause. It keeps no objects.

use futures::{Stream, StreamExt, future};
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// One change of a watched object.
#[derive(Clone, Debug)]
pub(crate) enum Change<K> {
    /// It exists and looks like this.
    Present(K),
    /// It is gone.
    Gone(K),
}

/// Every object that exists, then every change, as they come. Errors are logged and retried.
pub(crate) fn changes<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = Change<K>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(api, config).default_backoff().filter_map(|event| {
        future::ready(match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                Some(Change::Present(object))
            }
            Ok(watcher::Event::Delete(object)) => Some(Change::Gone(object)),
            Ok(watcher::Event::Init | watcher::Event::InitDone) => None,
            Err(error) => {
                tracing::debug!(%error, "a watch broke off and is resumed");
                None
            }
        })
    })
}

/// As [`changes`], only what exists, keyed by its name.
pub(crate) fn present<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = (String, K)> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    changes(api, config).filter_map(|change| {
        future::ready(match change {
            Change::Present(object) => Some((object.name_any(), object)),
            Change::Gone(_) => None,
        })
    })
}
