//! Old files into new ones, and files that are only checked.
//!
//! It refuses to know where they lie.

use super::ambient::{Ambient, DEFAULT_CRI_SOCKET};
use super::document::{Document, split};
use super::error::{ConfigError, Unusable};
use super::print::document;
use super::read::{Reader, Reading, Strictness, supported};
use super::shape;
use super::types::GROUP;

/// Every kind must be kubeadm's, or a component's; those that are too old are judged later.
fn known(documents: &[Document]) -> Result<(), ConfigError> {
    let unknown: Vec<String> = documents
        .iter()
        .filter(|document| supported(document, false, &mut Vec::new()).is_ok())
        .filter(|document| match document.group.as_str() {
            GROUP => shape::of(&document.version, &document.kind).is_none(),
            "kubelet.config.k8s.io" => {
                (document.version.as_str(), document.kind.as_str())
                    != ("v1beta1", "KubeletConfiguration")
            }
            "kubeproxy.config.k8s.io" => {
                (document.version.as_str(), document.kind.as_str())
                    != ("v1alpha1", "KubeProxyConfiguration")
            }
            _ => true,
        })
        .map(Document::go_syntax)
        .collect();
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::UnknownKinds {
            kinds: unknown.join(", "),
        })
    }
}

fn has(documents: &[Document], kind: &str) -> bool {
    documents.iter().any(|document| document.kind == kind)
}

/// Writes a file anew in `v1beta4`; only kubeadm's own kinds are written.
///
/// # Errors
/// [`Unusable`], also for unknown and repeated fields.
pub fn migrate(text: &str, ambient: &Ambient) -> Result<Reading<String>, Unusable> {
    let documents = split(text)?;
    known(&documents)?;
    let mut reader = strict(ambient, false);
    let mut written = Vec::new();
    if has(&documents, "InitConfiguration") || has(&documents, "ClusterConfiguration") {
        let initial = reader.init(&documents)?;
        written.push(document("InitConfiguration", &initial.init));
        written.push(document("ClusterConfiguration", &initial.cluster));
    }
    if has(&documents, "JoinConfiguration") {
        written.push(document("JoinConfiguration", &reader.join(&documents)?));
    }
    if has(&documents, "ResetConfiguration") {
        written.push(document("ResetConfiguration", &reader.reset(&documents)?));
    }
    if has(&documents, "UpgradeConfiguration") {
        return Err(Unusable::from(ConfigError::Missing {
            text: "an UpgradeConfiguration cannot be migrated: it exists in v1beta4 only".into(),
        }));
    }
    Ok(Reading {
        value: written.join("---\n"),
        warnings: reader.warnings,
    })
}

/// Checks a file.
///
/// # Errors
/// [`Unusable`], also for unknown and repeated fields.
pub fn validate(
    text: &str,
    ambient: &Ambient,
    allow_deprecated: bool,
) -> Result<Reading<()>, Unusable> {
    let documents = split(text)?;
    known(&documents)?;
    // A file may be meant for another machine: this one's runtimes are no matter.
    let mut elsewhere = ambient.clone();
    elsewhere.cri_sockets = vec![DEFAULT_CRI_SOCKET.to_owned()];
    let mut reader = strict(&elsewhere, !allow_deprecated);
    if has(&documents, "InitConfiguration") || has(&documents, "ClusterConfiguration") {
        reader.init(&documents)?;
    }
    if has(&documents, "JoinConfiguration") {
        reader.join(&documents)?;
    }
    if has(&documents, "ResetConfiguration") {
        reader.reset(&documents)?;
    }
    if has(&documents, "UpgradeConfiguration") {
        reader.upgrade(&documents)?;
    }
    Ok(Reading {
        value: (),
        warnings: reader.warnings,
    })
}

fn strict(ambient: &Ambient, tell_deprecated: bool) -> Reader<'_> {
    Reader {
        ambient,
        strictness: Strictness::Strict,
        tell_deprecated,
        warnings: Vec::new(),
    }
}
