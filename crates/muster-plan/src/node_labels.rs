//! Labels and annotations as Kubernetes takes them, and which labels a node may give itself.
//!
//! Sources: `k8s.io/kubelet/pkg/apis` and the admission plugin NodeRestriction; a kubelet refuses to start with a label
//! outside its list, and the API server refuses it to nodes.

use std::collections::BTreeMap;

/// The labels of Kubernetes that a kubelet may set (`KubeletLabels`).
const KUBELET_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];
/// The name spaces of Kubernetes in which a kubelet may set labels (`KubeletLabelNamespaces`).
const KUBELET_NAMESPACES: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];
/// The name space that only administrators set (NodeRestriction).
const RESTRICTED: &str = "node-restriction.kubernetes.io";

/// The text is no label or annotation; write `key=value`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// There is no `=`.
    #[error("{text:?} is not of the form key=value")]
    Form {
        /// The text.
        text: String,
    },
    /// The key is no qualified name: `[PREFIX/]NAME`.
    #[error("{key:?} is not a qualified name such as example.com/name")]
    Key {
        /// The key.
        key: String,
    },
    /// The value of a label has at most 63 letters, digits, `-`, `_` and `.`, with letters or digits at both ends.
    #[error("{value:?} is not the value of a label")]
    Value {
        /// The value.
        value: String,
    },
}

/// Whether a node may have this label from its own kubelet. Others need an administrator.
#[must_use]
pub fn may_node_set(key: &str) -> bool {
    let space = key.split_once('/').map_or("", |(space, _)| space);
    if is_in(space, RESTRICTED) {
        return false;
    }
    if !is_in(space, "kubernetes.io") && !is_in(space, "k8s.io") {
        return true;
    }
    KUBELET_LABELS.contains(&key) || KUBELET_NAMESPACES.iter().any(|known| is_in(space, known))
}

/// The command with which an administrator sets labels that a node may not set.
#[must_use]
pub fn label_command(node: &str, labels: &[(String, String)]) -> String {
    let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    format!("kubectl label node {node} {}", pairs.join(" "))
}

/// Reads `key=value` texts as labels; a later one of the same key replaces an earlier one.
///
/// # Errors
/// [`LabelError`] for the first that is none.
pub fn parse_labels(texts: &[String]) -> Result<Vec<(String, String)>, LabelError> {
    parse(texts, |value| {
        if is_label_value(value) {
            return Ok(());
        }
        Err(LabelError::Value {
            value: value.chars().take(128).collect(),
        })
    })
}

/// Reads `key=value` texts as annotations, whose values are free.
///
/// # Errors
/// [`LabelError`] for the first that is none.
pub fn parse_annotations(texts: &[String]) -> Result<Vec<(String, String)>, LabelError> {
    parse(texts, |_| Ok(()))
}

fn parse(
    texts: &[String],
    judge: impl Fn(&str) -> Result<(), LabelError>,
) -> Result<Vec<(String, String)>, LabelError> {
    let mut found = BTreeMap::new();
    for text in texts {
        let (key, value) = text.split_once('=').ok_or_else(|| LabelError::Form {
            text: text.chars().take(256).collect(),
        })?;
        if !is_qualified(key) {
            return Err(LabelError::Key {
                key: key.chars().take(256).collect(),
            });
        }
        judge(value)?;
        found.insert(key.to_owned(), value.to_owned());
    }
    Ok(found.into_iter().collect())
}

fn is_in(space: &str, parent: &str) -> bool {
    space
        .strip_suffix(parent)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn is_qualified(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_subdomain = |text: &str| {
        !text.is_empty()
            && text.len() <= 253
            && text.split('.').all(|part| {
                let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
                !part.is_empty()
                    && part.bytes().all(plain)
                    && !part.starts_with('-')
                    && !part.ends_with('-')
            })
    };
    prefix.is_none_or(is_subdomain) && !name.is_empty() && is_label_value(name)
}

fn is_label_value(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let ends = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(plain)
        && ends(text.chars().next())
        && ends(text.chars().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_may_set_what_the_kubelet_and_node_restriction_let_it() {
        for (key, allowed) in [
            ("rack", true),
            ("example.com/rack", true),
            ("topology.kubernetes.io/zone", true),
            ("node.kubernetes.io/pool", true),
            ("a.node.kubernetes.io/pool", true),
            ("kubernetes.io/hostname", true),
            ("node-role.kubernetes.io/worker", false),
            ("kubernetes.io/role", false),
            ("foo.k8s.io/bar", false),
            ("k8s.io/bar", false),
            ("node-restriction.kubernetes.io/x", false),
            ("x.node-restriction.kubernetes.io/x", false),
            ("notkubernetes.io/x", true),
        ] {
            assert_eq!(may_node_set(key), allowed, "{key}");
        }
    }

    #[test]
    fn labels_are_read_and_what_is_none_is_refused() {
        let texts = |all: &[&str]| {
            all.iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        let read = parse_labels(&texts(&["b=2", "a/x=", "b=3"])).unwrap();
        assert_eq!(
            read,
            [("a/x".into(), String::new()), ("b".into(), "3".into())]
        );
        for bad in [
            "a", "=1", "A/b=1", "a b=1", "-a=1", "a/=1", "a=b c", "a=-", "a=\n",
        ] {
            assert!(parse_labels(&texts(&[bad])).is_err(), "{bad:?}");
        }
        assert!(parse_labels(&[format!("a={}", "x".repeat(64))]).is_err());
        let free = parse_annotations(&texts(&["a/note=any text = here"])).unwrap();
        assert_eq!(free[0].1, "any text = here");
    }
}
