//! Which tokens of ours stand in target clusters, by the request that they were made for: an index, fed by watches.
//!
//! It refuses to know which of them should.

use crate::join_token_requests::request::Place;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};

/// A token of ours in a target cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Standing {
    /// The target cluster.
    pub(crate) cluster: Place,
    pub(crate) id: String,
    pub(crate) request_uid: String,
}

/// The index.
#[derive(Default)]
pub(crate) struct StandingTokens(Mutex<HashMap<Place, HashSet<Standing>>>);

impl StandingTokens {
    /// The tokens of a request that stand in target clusters, as far as known.
    pub(crate) fn of(&self, request: &Place) -> Vec<Standing> {
        let standing = self.0.lock();
        standing
            .get(request)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// A token stands in a cluster; whether that is news.
    pub(crate) fn note(&self, request: Place, token: Standing) -> bool {
        self.0.lock().entry(request).or_default().insert(token)
    }

    /// A token does not stand there any more; whether that is news.
    pub(crate) fn forget(&self, request: &Place, cluster: &Place, id: &str) -> bool {
        let mut standing = self.0.lock();
        let Some(tokens) = standing.get_mut(request) else {
            return false;
        };
        let before = tokens.len();
        tokens.retain(|token| token.id != id || token.cluster != *cluster);
        let is_news = tokens.len() < before;
        if tokens.is_empty() {
            standing.remove(request);
        }
        is_news
    }

    /// Of the tokens in a cluster only these are left. Answers with the requests of the others.
    pub(super) fn keep(&self, cluster: &Place, ids: &HashSet<String>) -> Vec<Place> {
        let mut changed = Vec::new();
        self.0.lock().retain(|request, tokens| {
            let before = tokens.len();
            tokens.retain(|token| token.cluster != *cluster || ids.contains(&token.id));
            if tokens.len() < before {
                changed.push(request.clone());
            }
            !tokens.is_empty()
        });
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(cluster: &str, id: &str) -> Standing {
        Standing {
            cluster: Place::new("ns", cluster),
            id: id.to_owned(),
            request_uid: "u".to_owned(),
        }
    }

    #[test]
    fn what_a_list_of_a_cluster_leaves_out_stands_there_no_more() {
        let tokens = StandingTokens::default();
        let (one, two) = (Place::new("ns", "one"), Place::new("ns", "two"));
        assert!(tokens.note(one.clone(), token("c", "a")));
        assert!(!tokens.note(one.clone(), token("c", "a")), "no news");
        tokens.note(one.clone(), token("d", "b"));
        tokens.note(two.clone(), token("c", "e"));
        let changed = tokens.keep(&Place::new("ns", "c"), &HashSet::from(["e".to_owned()]));
        assert_eq!(changed, vec![one.clone()]);
        assert_eq!(tokens.of(&one), vec![token("d", "b")], "of another cluster");
        assert_eq!(tokens.of(&two), vec![token("c", "e")]);
        assert!(tokens.forget(&two, &Place::new("ns", "c"), "e"));
        assert!(!tokens.forget(&two, &Place::new("ns", "c"), "e"));
        assert!(tokens.of(&two).is_empty());
    }
}
