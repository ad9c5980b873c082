//! Turns a watch of the API into a stream of changes that never ends by itself: a broken watch is
//! resumed with a growing pause, and what vanished meanwhile is told as gone. Of the objects it keeps
//! namespace, name and uid alone.

use futures::{Stream, StreamExt, future, stream};
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::{HashMap, HashSet};
use std::fmt::Debug;

/// One change of a watched object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change<K> {
    /// It exists and looks like this.
    Present(K),
    /// It is gone.
    Gone(Former),
    /// Everything that exists has been told of.
    Listed,
}

/// What is known of an object that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Former {
    /// Its namespace, if it lived in one.
    pub(crate) namespace: Option<String>,
    /// Its name.
    pub(crate) name: String,
    /// Its uid.
    pub(crate) uid: String,
}

/// Every object that exists, then every change, as they come. Errors are logged and retried.
pub(crate) fn changes<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = Change<K>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut ledger = Ledger::default();
    watcher(api, config)
        .default_backoff()
        .flat_map(move |event| {
            stream::iter(match event {
                Ok(event) => ledger.on(event),
                Err(error) => {
                    tracing::debug!(%error, "a watch broke off and is resumed");
                    Vec::new()
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
            Change::Gone(_) | Change::Listed => None,
        })
    })
}

/// Namespace and name.
type Place = (Option<String>, String);

/// Which objects were told of, so that a new list can be compared with it.
#[derive(Debug, Default)]
struct Ledger {
    known: HashMap<Place, String>,
    /// What the list under way has named so far.
    listed: HashSet<Place>,
}

impl Ledger {
    fn on<K: Resource>(&mut self, event: watcher::Event<K>) -> Vec<Change<K>> {
        match event {
            watcher::Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            watcher::Event::InitApply(object) => {
                self.listed.insert(place_of(&object));
                self.present(object)
            }
            watcher::Event::InitDone => self.end_list(),
            watcher::Event::Apply(object) => self.present(object),
            watcher::Event::Delete(object) => {
                let place = place_of(&object);
                let uid = self.known.remove(&place);
                let uid = object.uid().or(uid).unwrap_or_default();
                vec![Change::Gone(former(place, uid))]
            }
        }
    }

    /// An object of the same name with another uid means that the former one is gone.
    fn present<K: Resource>(&mut self, object: K) -> Vec<Change<K>> {
        let (place, uid) = (place_of(&object), object.uid().unwrap_or_default());
        let before = self.known.insert(place.clone(), uid.clone());
        let replaced = before
            .filter(|before| *before != uid)
            .map(|before| Change::Gone(former(place, before)));
        replaced
            .into_iter()
            .chain([Change::Present(object)])
            .collect()
    }

    fn end_list<K>(&mut self) -> Vec<Change<K>> {
        let listed = std::mem::take(&mut self.listed);
        let missed = self
            .known
            .extract_if(|place, _| !listed.contains(place))
            .map(|(place, uid)| Change::Gone(former(place, uid)));
        missed.chain([Change::Listed]).collect()
    }
}

fn place_of<K: Resource>(object: &K) -> Place {
    (object.namespace(), object.name_any())
}

fn former((namespace, name): Place, uid: String) -> Former {
    Former {
        namespace,
        name,
        uid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use watcher::Event;

    fn map(name: u8, uid: u32) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                namespace: Some("ns".to_owned()),
                name: Some(name.to_string()),
                uid: Some(uid.to_string()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    /// What a listener knows that does nothing but believe the changes.
    fn believe(known: &mut BTreeMap<String, String>, change: Change<ConfigMap>) {
        match change {
            Change::Present(map) => {
                known.insert(map.name_any(), map.uid().expect("a uid"));
            }
            Change::Gone(former) => {
                if known.get(&former.name) == Some(&former.uid) {
                    known.remove(&former.name);
                }
            }
            Change::Listed => {}
        }
    }

    #[test]
    fn what_vanished_between_two_lists_is_told_as_gone() {
        let mut ledger = Ledger::default();
        for event in [
            Event::Init,
            Event::InitApply(map(1, 1)),
            Event::InitApply(map(2, 2)),
        ] {
            ledger.on(event);
        }
        assert_eq!(ledger.on(Event::<ConfigMap>::InitDone), [Change::Listed]);
        ledger.on(Event::<ConfigMap>::Init);
        let told = ledger.on(Event::InitApply(map(2, 3)));
        let gone = |name: &str, uid: &str| {
            let place = (Some("ns".to_owned()), name.to_owned());
            Change::Gone(former(place, uid.to_owned()))
        };
        assert_eq!(told, [gone("2", "2"), Change::Present(map(2, 3))]);
        assert_eq!(
            ledger.on(Event::<ConfigMap>::InitDone),
            [gone("1", "1"), Change::Listed]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Objects come and go; the watch tells of it or breaks off, misses some, and lists again.
        #[test]
        fn whoever_believes_the_changes_knows_the_truth(
            steps in prop::collection::vec((0..6_u8, any::<bool>(), any::<bool>()), 0..60),
        ) {
            let mut truth: BTreeMap<u8, u32> = BTreeMap::new();
            let (mut ledger, mut known) = (Ledger::default(), BTreeMap::new());
            let mut next = 0;
            let mut missed = true;
            let mut tell = |event: Event<ConfigMap>, known: &mut BTreeMap<String, String>| {
                for change in ledger.on(event) {
                    believe(known, change);
                }
            };
            for (name, exists, watched) in steps {
                if watched && missed {
                    tell(Event::Init, &mut known);
                    for (name, uid) in &truth {
                        tell(Event::InitApply(map(*name, *uid)), &mut known);
                    }
                    tell(Event::InitDone, &mut known);
                }
                missed = !watched;
                let before = truth.get(&name).copied();
                match (exists, before) {
                    (true, before) => {
                        next += 1;
                        let uid = before.unwrap_or(next);
                        truth.insert(name, uid);
                        if watched {
                            tell(Event::Apply(map(name, uid)), &mut known);
                        }
                    }
                    (false, Some(uid)) => {
                        truth.remove(&name);
                        if watched {
                            tell(Event::Delete(map(name, uid)), &mut known);
                        }
                    }
                    (false, None) => {}
                }
                if watched {
                    let truth: BTreeMap<String, String> =
                        truth.iter().map(|(name, uid)| (name.to_string(), uid.to_string())).collect();
                    prop_assert_eq!(&known, &truth);
                }
            }
        }
    }
}
