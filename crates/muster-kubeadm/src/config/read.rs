//! From the text of a file to a configuration that can be used.
//!
//! Kinds that are not asked for are passed over with a warning; so are unknown fields, unless the reading is strict.
//! It refuses to know where the text comes from.

use super::ambient::Ambient;
use super::document::{Document, split};
use super::error::{ConfigError, Unusable};
use super::types::{
    ClusterConfiguration, GROUP, InitConfiguration, JoinConfiguration, ResetConfiguration, Span,
};
use super::{convert, defaults, shape, validation};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Whether unknown and repeated fields are errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// They are told, and passed over: join and reset.
    Lenient,
    /// They are errors: migrate and validate.
    Strict,
}

/// What was read, and what is to be told besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading<T> {
    /// The configuration.
    pub value: T,
    /// For people.
    pub warnings: Vec<String>,
}

/// InitConfiguration and ClusterConfiguration, with the configurations of components that stood beside them.
#[derive(Clone, Debug, PartialEq)]
pub struct Initial {
    /// The node's part.
    pub init: InitConfiguration,
    /// The cluster's part.
    pub cluster: ClusterConfiguration,
    /// `KubeletConfiguration` and `KubeProxyConfiguration` as they were given.
    pub components: Vec<Document>,
}

const OLD_VERSIONS: [(&str, &str); 5] = [
    ("v1alpha1", "v1.11"),
    ("v1alpha2", "v1.12"),
    ("v1alpha3", "v1.14"),
    ("v1beta1", "v1.15"),
    ("v1beta2", "v1.22"),
];

/// Refuses what is too old, and tells of what will be.
pub(super) fn supported(
    document: &Document,
    tell_deprecated: bool,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    if document.group != GROUP {
        return Ok(());
    }
    let version = document.group_version();
    if let Some((_, release)) = OLD_VERSIONS
        .iter()
        .find(|(old, _)| *old == document.version)
    {
        return Err(ConfigError::OldVersion {
            version,
            kind: document.kind.clone(),
            release,
        });
    }
    if document.version == "v1beta3" && tell_deprecated {
        warnings.push(format!(
            "your configuration file uses a deprecated API spec: {version:?} (kind: {:?}). Please use 'kubeadm config migrate --old-config old-config-file --new-config new-config-file', which will write the new, similar spec using a newer API version.",
            document.kind
        ));
    }
    Ok(())
}

/// Refuses a kind in a group or version that nobody knows.
fn registered(document: &Document) -> Result<(), ConfigError> {
    let known = document.group == GROUP && shape::of(&document.version, &document.kind).is_some();
    if known {
        return Ok(());
    }
    Err(ConfigError::Missing {
        text: format!(
            "no kind {:?} is registered for version {:?} in scheme \"k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm/scheme/scheme.go:32\"",
            document.kind,
            document.group_version()
        ),
    })
}

/// How a file is read.
pub(super) struct Reader<'a> {
    pub(super) ambient: &'a Ambient,
    pub(super) strictness: Strictness,
    pub(super) tell_deprecated: bool,
    pub(super) warnings: Vec<String>,
}

impl Reader<'_> {
    fn fields(&mut self, document: &Document) -> Result<(), ConfigError> {
        let shape = (document.group == GROUP)
            .then(|| shape::of(&document.version, &document.kind))
            .flatten();
        let Some(shape) = shape else {
            return Ok(());
        };
        let wrong = |reason: String| ConfigError::Fields {
            kind: document.go_syntax(),
            reason,
        };
        if let Some(reason) = shape::mistyped(&document.value, shape, &document.version) {
            return Err(wrong(reason));
        }
        let mut odd: Vec<String> = document.repeated_keys.iter().cloned().collect();
        let unknown = shape::unknown_fields(&document.value, shape);
        odd.extend(unknown.iter().map(|path| format!("unknown field {path:?}")));
        if odd.is_empty() {
            return Ok(());
        }
        let error = wrong(format!("strict decoding error: {}", odd.join(", ")));
        match self.strictness {
            Strictness::Strict => Err(error),
            Strictness::Lenient => {
                self.warnings.push(error.to_string());
                Ok(())
            }
        }
    }

    fn decode<T: DeserializeOwned>(
        &self,
        document: &Document,
    ) -> Result<(T, convert::Displaced), ConfigError> {
        let mut value = document.value.clone();
        let displaced = if document.version == "v1beta3" {
            convert::from_v1beta3(&document.kind, &mut value)
        } else {
            convert::Displaced::default()
        };
        // As in Go, null means not given.
        drop_nulls(&mut value);
        let decoded = serde_json::from_value(value).map_err(|error| ConfigError::Fields {
            kind: document.go_syntax(),
            reason: error.to_string(),
        })?;
        Ok((decoded, displaced))
    }

    /// The one document of a kind; the others are passed over with a warning.
    fn only<'d>(
        &mut self,
        documents: &'d [Document],
        kind: &str,
    ) -> Result<&'d Document, ConfigError> {
        let mut found = None;
        for document in documents {
            if document.kind != kind {
                self.ignored(document);
                continue;
            }
            supported(document, self.tell_deprecated, &mut self.warnings)?;
            registered(document)?;
            self.fields(document)?;
            found = Some(document);
        }
        found.ok_or_else(|| ConfigError::Missing {
            text: format!("no {kind} found in the supplied config"),
        })
    }

    fn ignored(&mut self, document: &Document) {
        self.warnings.push(format!(
            "[config] WARNING: Ignored configuration document with GroupVersionKind {}",
            document.brief()
        ));
    }

    pub(super) fn join(
        &mut self,
        documents: &[Document],
    ) -> Result<JoinConfiguration, ConfigError> {
        let document = self.only(documents, "JoinConfiguration")?;
        let (mut join, _): (JoinConfiguration, _) = self.decode(document)?;
        defaults::join_static(&mut join);
        self.join_rest(join)
    }

    fn join_rest(&mut self, mut join: JoinConfiguration) -> Result<JoinConfiguration, ConfigError> {
        defaults::join_dynamic(&mut join, self.ambient, &mut self.warnings)?;
        valid(join, |join| validation::validate_join(join, self.ambient))
    }

    pub(super) fn reset(
        &mut self,
        documents: &[Document],
    ) -> Result<ResetConfiguration, ConfigError> {
        let document = self.only(documents, "ResetConfiguration")?;
        let (mut reset, _): (ResetConfiguration, _) = self.decode(document)?;
        defaults::reset_static(&mut reset);
        self.reset_rest(reset)
    }

    fn reset_rest(
        &mut self,
        mut reset: ResetConfiguration,
    ) -> Result<ResetConfiguration, ConfigError> {
        defaults::reset_dynamic(&mut reset, self.ambient, &mut self.warnings)?;
        valid(reset, validation::validate_reset)
    }

    /// The upgrade's document, checked as far as it is used here: it is only validated.
    pub(super) fn upgrade(&mut self, documents: &[Document]) -> Result<Value, ConfigError> {
        let document = self.only(documents, "UpgradeConfiguration")?;
        let mut errors = Vec::new();
        for part in ["apply", "node"] {
            let part_value = &document.value[part];
            if let Some(directory) = part_value
                .pointer("/patches/directory")
                .and_then(Value::as_str)
                && !directory.starts_with('/')
            {
                let path = format!("{part}.patches.directory");
                errors.push(super::FieldError::invalid(
                    path,
                    directory,
                    "path is not absolute",
                ));
            }
            let policy = part_value["imagePullPolicy"].as_str().unwrap_or_default();
            validation::pull_policy(policy, &format!("{part}.imagePullPolicy"), &mut errors);
        }
        if errors.is_empty() {
            Ok(document.value.clone())
        } else {
            Err(ConfigError::Invalid { errors })
        }
    }

    pub(super) fn init(&mut self, documents: &[Document]) -> Result<Initial, ConfigError> {
        let mut sorted: Vec<&Document> = documents.iter().collect();
        sorted.sort_by_key(|document| document.brief());
        let mut init = None;
        let mut cluster = None;
        let mut components = Vec::new();
        let mut control_plane: Option<Span> = None;
        for document in sorted {
            supported(document, self.tell_deprecated, &mut self.warnings)?;
            let own =
                ["InitConfiguration", "ClusterConfiguration"].contains(&document.kind.as_str());
            if own {
                registered(document)?;
            }
            self.fields(document)?;
            match (document.group.as_str(), document.kind.as_str()) {
                (GROUP, "InitConfiguration") => {
                    let (read, _): (InitConfiguration, _) = self.decode(document)?;
                    init = Some(read);
                }
                (GROUP, "ClusterConfiguration") => {
                    let (read, displaced): (ClusterConfiguration, _) = self.decode(document)?;
                    control_plane = displaced.control_plane;
                    cluster = Some(read);
                }
                ("kubelet.config.k8s.io" | "kubeproxy.config.k8s.io", _) => {
                    components.push(document.clone());
                }
                _ => self.ignored(document),
            }
        }
        if init.is_none() && cluster.is_none() {
            return Err(ConfigError::Missing {
                text: "no InitConfiguration or ClusterConfiguration kind was found in the configuration file".into(),
            });
        }
        let mut init = init.unwrap_or_default();
        if control_plane.is_some() {
            init.timeouts.control_plane_component_health_check = control_plane;
        }
        let cluster = cluster.unwrap_or_default();
        self.init_rest(Initial {
            init,
            cluster,
            components,
        })
    }

    fn init_rest(&mut self, mut initial: Initial) -> Result<Initial, ConfigError> {
        let Initial { init, cluster, .. } = &mut initial;
        defaults::init_static(init);
        defaults::cluster_static(cluster);
        defaults::init_dynamic(init, cluster, self.ambient, &mut self.warnings)?;
        let errors = validation::validate_init(init, cluster);
        if errors.is_empty() {
            Ok(initial)
        } else {
            Err(ConfigError::Invalid { errors })
        }
    }
}

fn valid<T>(value: T, check: impl Fn(&T) -> Vec<super::FieldError>) -> Result<T, ConfigError> {
    let errors = check(&value);
    if errors.is_empty() {
        Ok(value)
    } else {
        Err(ConfigError::Invalid { errors })
    }
}

pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn reading<T>(
    ambient: &Ambient,
    strictness: Strictness,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, ConfigError>,
) -> Result<Reading<T>, Unusable> {
    let mut reader = Reader {
        ambient,
        strictness,
        tell_deprecated: true,
        warnings: Vec::new(),
    };
    let value = match read(&mut reader) {
        Ok(value) => value,
        Err(error) => {
            return Err(Unusable {
                error,
                warnings: reader.warnings,
            });
        }
    };
    Ok(Reading {
        value,
        warnings: reader.warnings,
    })
}

/// Reads a file with a JoinConfiguration, fills in what it leaves open and checks it.
///
/// # Errors
/// [`Unusable`], in kubeadm's words.
pub fn read_join(
    text: &str,
    ambient: &Ambient,
    strictness: Strictness,
) -> Result<Reading<JoinConfiguration>, Unusable> {
    let documents = split(text)?;
    reading(ambient, strictness, |reader| reader.join(&documents))
}

/// The same for a configuration that was made from flags.
///
/// # Errors
/// [`Unusable`], in kubeadm's words.
pub fn resolve_join(
    mut join: JoinConfiguration,
    ambient: &Ambient,
) -> Result<Reading<JoinConfiguration>, Unusable> {
    defaults::join_static(&mut join);
    reading(ambient, Strictness::Lenient, |reader| {
        reader.join_rest(join)
    })
}

/// Reads a file with a ResetConfiguration, fills in what it leaves open and checks it.
///
/// # Errors
/// [`Unusable`], in kubeadm's words.
pub fn read_reset(
    text: &str,
    ambient: &Ambient,
    strictness: Strictness,
) -> Result<Reading<ResetConfiguration>, Unusable> {
    let documents = split(text)?;
    reading(ambient, strictness, |reader| reader.reset(&documents))
}

/// The same for a configuration that was made from flags.
///
/// # Errors
/// [`Unusable`], in kubeadm's words.
pub fn resolve_reset(
    mut reset: ResetConfiguration,
    ambient: &Ambient,
) -> Result<Reading<ResetConfiguration>, Unusable> {
    defaults::reset_static(&mut reset);
    reading(ambient, Strictness::Lenient, |reader| {
        reader.reset_rest(reset)
    })
}

/// Reads a file with an InitConfiguration, a ClusterConfiguration or both.
///
/// # Errors
/// [`Unusable`], in kubeadm's words.
pub fn read_init(
    text: &str,
    ambient: &Ambient,
    strictness: Strictness,
) -> Result<Reading<Initial>, Unusable> {
    let documents = split(text)?;
    reading(ambient, strictness, |reader| reader.init(&documents))
}

/// The same for configurations that were made from flags.
///
/// # Errors
/// [`Unusable`], in kubeadm's words.
pub fn resolve_init(
    init: InitConfiguration,
    cluster: ClusterConfiguration,
    ambient: &Ambient,
) -> Result<Reading<Initial>, Unusable> {
    let initial = Initial {
        init,
        cluster,
        components: Vec::new(),
    };
    reading(ambient, Strictness::Lenient, |reader| {
        reader.init_rest(initial)
    })
}

/// Reads and checks a file with an UpgradeConfiguration.
///
/// # Errors
/// [`Unusable`], in kubeadm's words.
pub fn read_upgrade(
    text: &str,
    ambient: &Ambient,
    strictness: Strictness,
) -> Result<Reading<Value>, Unusable> {
    let documents = split(text)?;
    reading(ambient, strictness, |reader| reader.upgrade(&documents))
}
