//! What a namespace says of its own removal: the five conditions of the upstream namespace controller, in its words.
//!
//! Pure: what was found goes in, conditions come out. It refuses to know how anything is deleted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NamespaceCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What one attempt to empty a namespace left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// How many objects of each `plural.group` are still there.
    pub(crate) objects: BTreeMap<String, usize>,
    /// How many objects wait for each finalizer.
    pub(crate) finalizers: BTreeMap<String, usize>,
    /// Why the cluster could not say what it serves.
    pub(crate) discovery: Option<String>,
    /// What could not be deleted, and why.
    pub(crate) failures: Vec<String>,
}

impl Left {
    /// Counts what was found of one resource.
    pub(crate) fn count<'a>(
        &mut self,
        resource: String,
        finalizers: impl Iterator<Item = &'a [String]>,
    ) {
        let mut objects = 0;
        for names in finalizers {
            objects += 1;
            for name in names {
                *self.finalizers.entry(name.clone()).or_default() += 1;
            }
        }
        if objects > 0 {
            self.objects.insert(resource, objects);
        }
    }

    /// Nothing is left, and nothing went wrong.
    pub(crate) fn is_nothing(&self) -> bool {
        self.objects.is_empty() && self.discovery.is_none() && self.failures.is_empty()
    }

    fn said(&self, kind: &Kind) -> Option<String> {
        let listed = |counts: &BTreeMap<String, usize>, verb: &str| {
            let parts = counts
                .iter()
                .map(|(name, count)| format!("{name} {verb} {count} resource instances"));
            (!counts.is_empty()).then(|| parts.collect::<Vec<_>>().join(", "))
        };
        match kind.of {
            "NamespaceDeletionDiscoveryFailure" => self.discovery.clone(),
            "NamespaceDeletionContentFailure" => (!self.failures.is_empty()).then(|| {
                format!(
                    "Failed to delete all resource types, {} remaining: {}",
                    self.failures.len(),
                    self.failures.join(", ")
                )
            }),
            "NamespaceContentRemaining" => listed(&self.objects, "has")
                .map(|list| format!("Some resources are remaining: {list}")),
            "NamespaceFinalizersRemaining" => listed(&self.finalizers, "in").map(|list| {
                format!("Some content in the namespace has finalizers remaining: {list}")
            }),
            _ => None,
        }
    }
}

/// One condition: its type, and reason and message of the good and the bad.
struct Kind {
    of: &'static str,
    well: (&'static str, &'static str),
    ill: &'static str,
}

const KINDS: [Kind; 5] = [
    Kind {
        of: "NamespaceDeletionDiscoveryFailure",
        well: (
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        ill: "DiscoveryFailed",
    },
    Kind {
        of: "NamespaceDeletionGVParsingFailure",
        well: (
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        ill: "GroupVersionParsingFailed",
    },
    Kind {
        of: "NamespaceDeletionContentFailure",
        well: (
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        ill: "ContentDeletionFailed",
    },
    Kind {
        of: "NamespaceContentRemaining",
        well: ("ContentRemoved", "All content successfully removed"),
        ill: "SomeResourcesRemain",
    },
    Kind {
        of: "NamespaceFinalizersRemaining",
        well: (
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
        ill: "SomeFinalizersRemain",
    },
];

/// Brings the conditions up to date; says whether anything changed.
pub(crate) fn update(
    conditions: &mut Vec<NamespaceCondition>,
    left: &Left,
    now: Timestamp,
) -> bool {
    let mut changed = false;
    for kind in &KINDS {
        let said = left.said(kind);
        let status = if said.is_some() { "True" } else { "False" };
        let reason = if said.is_some() {
            kind.ill
        } else {
            kind.well.0
        };
        let message = said.unwrap_or_else(|| kind.well.1.to_owned());
        let at = conditions
            .iter()
            .position(|condition| condition.type_ == kind.of);
        let mut next = NamespaceCondition {
            type_: kind.of.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(Time(now)),
        };
        match at {
            None => conditions.push(next),
            Some(at) => {
                let old = &conditions[at];
                if old.status == next.status {
                    next.last_transition_time = old.last_transition_time.clone();
                }
                if *old == next {
                    continue;
                }
                conditions[at] = next;
            }
        }
        changed = true;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(conditions: &[NamespaceCondition], of: &str) -> (String, String) {
        let found = conditions
            .iter()
            .find(|condition| condition.type_ == of)
            .expect("the condition");
        (
            found.status.clone(),
            found.message.clone().unwrap_or_default(),
        )
    }

    #[test]
    fn what_is_left_is_said_in_the_words_of_the_upstream_controller() {
        let mut left = Left::default();
        let finalizers = [vec!["example.com/a".to_owned()], Vec::new()];
        left.count("pods.".to_owned(), finalizers.iter().map(Vec::as_slice));
        let mut conditions = Vec::new();
        assert!(update(&mut conditions, &left, Timestamp::UNIX_EPOCH));
        assert_eq!(conditions.len(), 5);
        assert_eq!(
            told(&conditions, "NamespaceContentRemaining"),
            (
                "True".to_owned(),
                "Some resources are remaining: pods. has 2 resource instances".to_owned()
            )
        );
        assert_eq!(
            told(&conditions, "NamespaceFinalizersRemaining").1,
            "Some content in the namespace has finalizers remaining: example.com/a in 1 resource instances"
        );
        assert_eq!(
            told(&conditions, "NamespaceDeletionContentFailure").0,
            "False"
        );
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes_and_nothing_new_is_no_change() {
        let mut left = Left::default();
        left.count("pods.".to_owned(), [Vec::new()].iter().map(Vec::as_slice));
        let mut conditions = Vec::new();
        update(&mut conditions, &left, Timestamp::UNIX_EPOCH);
        let later = Timestamp::from_second(60).expect("a time");
        assert!(!update(&mut conditions, &left, later));
        let was = conditions.clone();
        assert!(update(&mut conditions, &Left::default(), later));
        let changed: Vec<_> = conditions
            .iter()
            .filter(|now| !was.contains(now))
            .map(|now| (now.type_.as_str(), now.last_transition_time.clone()))
            .collect();
        assert_eq!(changed, [("NamespaceContentRemaining", Some(Time(later)))]);
    }
}
