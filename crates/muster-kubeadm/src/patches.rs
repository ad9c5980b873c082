//! A patches directory as kubeadm reads it: `target[suffix][+type].ext`, applied in alphabetical order.
//!
//! Files in as names and bytes, patched objects out. It refuses to know where the directory is and what the objects
//! are for. Source: kubeadm 1.36, `app/util/patches`.

use muster_machinery::patch::{PatchError, json, merge, strategic};
use serde_json::Value;

/// Largest patch file that is read, in bytes.
const LARGEST: usize = 1 << 20;
const MAX_DEPTH: usize = 64;
/// Most documents of one file.
const MOST_DOCUMENTS: usize = 64;

/// What a patch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The static pod of etcd.
    Etcd,
    /// The static pod of the API server.
    KubeApiserver,
    /// The static pod of the controller manager.
    KubeControllerManager,
    /// The static pod of the scheduler.
    KubeScheduler,
    /// The kubelet's configuration.
    KubeletConfiguration,
    /// The Deployment of CoreDNS.
    CorednsDeployment,
}

impl Target {
    /// All of them, in kubeadm's order.
    pub const ALL: [Self; 6] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::KubeletConfiguration,
        Self::CorednsDeployment,
    ];

    /// The beginning of the names of its files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::KubeletConfiguration => "kubeletconfiguration",
            Self::CorednsDeployment => "corednsdeployment",
        }
    }
}

/// How a patch is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// Kubernetes' strategic merge patch, the default.
    Strategic,
    /// A JSON merge patch (RFC 7386).
    Merge,
    /// A JSON patch (RFC 6902).
    Json,
}

impl PatchType {
    /// The word in file names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strategic => "strategic",
            Self::Merge => "merge",
            Self::Json => "json",
        }
    }
}

/// One patch of a file.
#[derive(Clone, Debug, PartialEq)]
struct Patch {
    file: String,
    target: Target,
    kind: PatchType,
    content: Value,
}

/// The patches of a directory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patches {
    patches: Vec<Patch>,
    ignored: Vec<String>,
}

/// Why patches cannot be read or applied: correct the file that is named.
#[derive(Debug, thiserror::Error)]
pub enum PatchesError {
    /// The file's name has a `+` without a known type behind it.
    #[error(
        "{file}: unknown or missing patch type after '+', must be one of json, merge, strategic"
    )]
    Type {
        /// The file.
        file: String,
    },
    /// The file is larger than 1 MiB.
    #[error("{file} is larger than 1 MiB")]
    TooLarge {
        /// The file.
        file: String,
    },
    /// The file is not YAML or JSON.
    #[error("{file} is neither YAML nor JSON: {reason}")]
    Malformed {
        /// The file.
        file: String,
        /// Where and why.
        reason: String,
    },
    /// The patch does not fit its target.
    #[error("the patch {file} of type {kind} does not fit {target}")]
    Apply {
        /// The file.
        file: String,
        /// Its type.
        kind: &'static str,
        /// Its target.
        target: &'static str,
        /// Why.
        #[source]
        source: PatchError,
    },
}

impl Patches {
    /// Reads the files of a directory, in any order. Files of other names, and empty ones, are left out.
    ///
    /// # Errors
    /// [`PatchesError`] for a file that is meant as a patch and is none.
    pub fn read(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Self, PatchesError> {
        let mut files: Vec<_> = files.into_iter().collect();
        files.sort();
        let mut read = Self::default();
        for (file, content) in files {
            match meaning(&file)? {
                Some((target, kind)) if !content.is_empty() => {
                    for content in documents(&file, &content)? {
                        read.patches.push(Patch {
                            file: file.clone(),
                            target,
                            kind,
                            content,
                        });
                    }
                }
                _ => read.ignored.push(file),
            }
        }
        Ok(read)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patches.is_empty()
    }

    /// The files that were left out.
    #[must_use]
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The files with patches for a target and their types, in the order in which they are applied.
    pub fn of(&self, target: Target) -> impl Iterator<Item = (&str, PatchType)> {
        self.patches
            .iter()
            .filter(move |patch| patch.target == target)
            .map(|patch| (patch.file.as_str(), patch.kind))
    }

    /// Applies everything that is meant for a target.
    ///
    /// # Errors
    /// [`PatchesError::Apply`] at the first patch that does not fit.
    pub fn apply(&self, target: Target, mut object: Value) -> Result<Value, PatchesError> {
        for patch in self.patches.iter().filter(|patch| patch.target == target) {
            let applied = match (patch.kind, target) {
                (PatchType::Json, _) => json::apply(object, patch.content.to_string().as_bytes()),
                (PatchType::Merge, _) => merge::apply(object, &patch.content),
                // No list of a KubeletConfiguration has a merge key: they are replaced whole.
                (PatchType::Strategic, Target::KubeletConfiguration) => {
                    strategic::apply_without_schema(object, patch.content.clone())
                }
                (PatchType::Strategic, _) => strategic::apply(object, patch.content.clone()),
            };
            object = applied.map_err(|source| PatchesError::Apply {
                file: patch.file.clone(),
                kind: patch.kind.name(),
                target: target.name(),
                source,
            })?;
        }
        Ok(object)
    }
}

/// What a file's name says: `^(target)([^.+\n]*)?(\+)?(type)?`, then an extension.
fn meaning(file: &str) -> Result<Option<(Target, PatchType)>, PatchesError> {
    let stem = file
        .strip_suffix(".yaml")
        .or_else(|| file.strip_suffix(".json"));
    if stem.is_none_or(str::is_empty) {
        return Ok(None);
    }
    // The first target in kubeadm's list that fits counts; none is the beginning of another.
    let target = Target::ALL
        .into_iter()
        .find(|target| file.starts_with(target.name()));
    let Some(target) = target else {
        return Ok(None);
    };
    let rest = &file[target.name().len()..];
    let end = rest.find(['.', '+', '\n']).unwrap_or(rest.len());
    let Some(kind) = rest[end..].strip_prefix('+') else {
        return Ok(Some((target, PatchType::Strategic)));
    };
    [PatchType::Json, PatchType::Merge, PatchType::Strategic]
        .into_iter()
        .find(|known| kind.starts_with(known.name()))
        .map(|kind| Some((target, kind)))
        .ok_or_else(|| PatchesError::Type {
            file: file.to_owned(),
        })
}

fn documents(file: &str, content: &[u8]) -> Result<Vec<Value>, PatchesError> {
    if content.len() > LARGEST {
        return Err(PatchesError::TooLarge {
            file: file.to_owned(),
        });
    }
    let malformed = |reason: String| PatchesError::Malformed {
        file: file.to_owned(),
        reason,
    };
    let text = std::str::from_utf8(content).map_err(|error| malformed(error.to_string()))?;
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, max_documents: MOST_DOCUMENTS },
    };
    let mut found = Vec::new();
    for document in split(text) {
        if document.trim().is_empty() {
            continue;
        }
        let value: Value = serde_saphyr::from_str_with_options(document, options.clone())
            .map_err(|error| malformed(error.to_string()))?;
        if !value.is_null() {
            found.push(value);
        }
        if found.len() > MOST_DOCUMENTS {
            return Err(malformed("it has too many documents".to_owned()));
        }
    }
    Ok(found)
}

/// Documents end at a line that begins with `---`.
fn split(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut begin = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with("---") {
            found.push(&text[begin..at]);
            begin = at + line.len();
        }
        at += line.len();
    }
    found.push(&text[begin..]);
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn of(files: &[(&str, &str)]) -> Result<Patches, PatchesError> {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), text.as_bytes().to_vec());
        Patches::read(files.iter().map(owned))
    }

    #[test]
    fn names_say_target_and_type() {
        use PatchType::{Json, Merge, Strategic};
        for (name, meant) in [
            (
                "kubeletconfiguration.yaml",
                Some((Target::KubeletConfiguration, Strategic)),
            ),
            (
                "kubeletconfiguration0+merge.yaml",
                Some((Target::KubeletConfiguration, Merge)),
            ),
            (
                "kube-apiserver1+json.json",
                Some((Target::KubeApiserver, Json)),
            ),
            ("etcd+strategic.yaml", Some((Target::Etcd, Strategic))),
            (
                "corednsdeployment-x.json",
                Some((Target::CorednsDeployment, Strategic)),
            ),
            ("kubeletconfiguration.yml", None),
            ("README.yaml", None),
            (".yaml", None),
        ] {
            assert_eq!(meaning(name).unwrap(), meant, "{name}");
        }
        assert!(matches!(
            meaning("etcd+what.yaml"),
            Err(PatchesError::Type { .. })
        ));
    }

    #[test]
    fn patches_are_applied_in_the_order_of_their_names() {
        let patches = of(&[
            (
                "kubeletconfiguration1+json.json",
                r#"[{"op": "replace", "path": "/maxPods", "value": 3}]"#,
            ),
            (
                "kubeletconfiguration0.yaml",
                "maxPods: 2\nclusterDNS: [10.0.0.9]\nevictionHard: null\n",
            ),
            (
                "kubeletconfiguration2+merge.yaml",
                "port: 1\n---\nport: 2\n",
            ),
            ("etcd.yaml", "a: b"),
            ("notes.txt", "x"),
            ("kube-scheduler.yaml", ""),
        ])
        .unwrap();
        let config =
            json!({"maxPods": 1, "clusterDNS": ["10.96.0.10"], "evictionHard": {"a": "b"}});
        let patched = patches.apply(Target::KubeletConfiguration, config).unwrap();
        assert_eq!(
            patched,
            json!({"maxPods": 3, "clusterDNS": ["10.0.0.9"], "port": 2})
        );
        assert_eq!(patches.ignored(), ["kube-scheduler.yaml", "notes.txt"]);
        let files: Vec<_> = patches
            .of(Target::KubeletConfiguration)
            .map(|(file, _)| file)
            .collect();
        assert_eq!(files.len(), 4);
    }

    #[test]
    fn pods_are_patched_by_their_merge_keys() {
        let patches = of(&[(
            "kube-apiserver.yaml",
            "spec:\n  containers:\n  - name: kube-apiserver\n    resources: {requests: {cpu: 1}}\n",
        )])
        .unwrap();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "spec": {"containers": [{"name": "kube-apiserver", "image": "i"}]},
        });
        let patched = patches.apply(Target::KubeApiserver, pod).unwrap();
        assert_eq!(patched["spec"]["containers"][0]["image"], "i");
        assert_eq!(
            patched["spec"]["containers"][0]["resources"]["requests"]["cpu"],
            1
        );
    }

    #[test]
    fn a_patch_that_does_not_fit_names_its_file() {
        let patches = of(&[("etcd+json.yaml", "- {op: remove, path: /no/such}\n")]).unwrap();
        let error = patches.apply(Target::Etcd, json!({})).unwrap_err();
        assert!(error.to_string().contains("etcd+json.yaml"), "{error}");
        assert!(of(&[("etcd.yaml", "a: [")]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_file_is_read_or_refused(name in "(etcd|kubeletconfiguration)?[a-z+.]{0,12}(.yaml|.json)?", text in "[-a-z:{}\\[\\], \n0-9]{0,80}") {
            if let Ok(patches) = of(&[(&name, &text)]) {
                for target in Target::ALL {
                    let _ = patches.apply(target, json!({"a": 1}));
                }
            }
        }
    }
}
