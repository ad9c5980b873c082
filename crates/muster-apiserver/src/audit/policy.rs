//! The audit policy (`audit.k8s.io/v1` `Policy`): how much is written down about which requests. The first rule that
//! matches decides; where none does, nothing is written.
//!
//! Refuses to know: where events go.

use muster_machinery::meta;
use serde_json::Value;

use crate::request::{RequestInfo, UserInfo};

/// The largest policy file, in bytes.
const MAX_POLICY: usize = 1024 * 1024;

/// How much is written down about a request. Later ones include earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Who did what, and how it ended.
    Metadata,
    /// And what was sent.
    Request,
    /// And what was answered.
    RequestResponse,
}

/// When an event is made in a request's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The request is there, and nothing has been done with it.
    RequestReceived,
    /// The head of an answer that goes on for long has been sent.
    ResponseStarted,
    /// The answer has been sent.
    ResponseComplete,
    /// The server broke on it.
    Panic,
}

/// What the policy says about one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// How much is written down.
    pub level: Level,
    /// The stages of which nothing is told.
    pub omit_stages: Vec<Stage>,
    /// Whether owners of fields are left out of objects.
    pub omit_managed_fields: bool,
}

/// A policy that can be used.
#[derive(Clone, Debug)]
pub struct AuditPolicy {
    rules: Vec<Rule>,
    otherwise: Scope,
}

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file is no YAML or JSON; look at it again.
    #[error("it cannot be read: {detail}")]
    Unreadable {
        /// What the reader says.
        detail: String,
    },
    /// The file holds something else than a policy of a known version; write `audit.k8s.io/v1`, kind `Policy`.
    #[error(
        "it holds {api_version:?}, kind {kind:?}; wanted is \"audit.k8s.io/v1\", kind \"Policy\""
    )]
    Kind {
        /// The version found.
        api_version: String,
        /// The kind found.
        kind: String,
    },
    /// A field is missing, unknown or has a value that it cannot have; correct it.
    #[error("{field}: {why}")]
    Field {
        /// The path of the field.
        field: String,
        /// What is wrong with it.
        why: String,
    },
}

#[derive(Clone, Debug)]
struct Rule {
    scope: Scope,
    users: Vec<String>,
    groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    urls: Vec<String>,
}

#[derive(Clone, Debug)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    names: Vec<String>,
}

impl Level {
    /// As in policies and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [
            Self::None,
            Self::Metadata,
            Self::Request,
            Self::RequestResponse,
        ]
        .into_iter()
        .find(|level| level.as_str() == text)
    }
}

impl Stage {
    const ALL: [Self; 4] = [
        Self::RequestReceived,
        Self::ResponseStarted,
        Self::ResponseComplete,
        Self::Panic,
    ];

    /// As in policies and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

impl AuditPolicy {
    /// Reads a policy file, YAML or JSON. A field that is not known is an error: a rule with a misspelt condition would
    /// match more than it says.
    ///
    /// # Errors
    /// [`PolicyError`], which says what to correct.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let unreadable = |detail: String| PolicyError::Unreadable { detail };
        if text.len() > MAX_POLICY {
            return Err(unreadable(format!("it is larger than {MAX_POLICY} bytes")));
        }
        let policy: Value =
            serde_saphyr::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        if !policy.is_object() {
            return Err(unreadable("it is empty".to_owned()));
        }
        let (api_version, kind) = (meta::api_version(&policy), meta::kind(&policy));
        if (api_version, kind) != ("audit.k8s.io/v1", "Policy") {
            return Err(PolicyError::Kind {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
            });
        }
        let known = [
            "apiVersion",
            "kind",
            "metadata",
            "rules",
            "omitStages",
            "omitManagedFields",
        ];
        check_fields(&policy, &known, "")?;
        let otherwise = Scope {
            level: Level::None,
            omit_stages: stages(&policy, "omitStages")?,
            omit_managed_fields: flag(&policy, "omitManagedFields", "")?.unwrap_or(false),
        };
        let rules = list(&policy, "rules", "")?;
        if rules.is_empty() {
            return Err(invalid(
                "rules",
                "there is none, so nothing would be written",
            ));
        }
        let rules = rules.iter().enumerate();
        let rules =
            rules.map(|(index, rule)| Rule::read(rule, &format!("rules[{index}]"), &otherwise));
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
            otherwise,
        })
    }

    /// What is written down about a request. Without a user nobody has been authenticated.
    pub fn scope(&self, user: Option<&UserInfo>, info: &RequestInfo) -> Scope {
        self.rules
            .iter()
            .find(|rule| rule.matches(user, info))
            .map_or_else(|| self.otherwise.clone(), |rule| rule.scope.clone())
    }
}

impl Rule {
    fn read(rule: &Value, path: &str, otherwise: &Scope) -> Result<Self, PolicyError> {
        let known = [
            "level",
            "users",
            "userGroups",
            "verbs",
            "resources",
            "namespaces",
            "nonResourceURLs",
            "omitStages",
            "omitManagedFields",
        ];
        check_fields(rule, &known, path)?;
        let level = meta::str_at(rule, &["level"]).unwrap_or_default();
        let level = Level::parse(level).ok_or_else(|| {
            let why = if level.is_empty() {
                "Required value".to_owned()
            } else {
                format!(
                    "Unsupported value: {level:?}: supported values: \"Metadata\", \"None\", \"Request\", \"RequestResponse\""
                )
            };
            invalid(&format!("{path}.level"), &why)
        })?;
        let mut omit_stages = otherwise.omit_stages.clone();
        omit_stages.extend(stages_at(rule, "omitStages", path)?);
        let own = flag(rule, "omitManagedFields", path)?;
        let read = Self {
            scope: Scope {
                level,
                omit_stages,
                omit_managed_fields: own.unwrap_or(otherwise.omit_managed_fields),
            },
            users: texts(rule, "users", path)?,
            groups: texts(rule, "userGroups", path)?,
            verbs: texts(rule, "verbs", path)?,
            namespaces: texts(rule, "namespaces", path)?,
            urls: texts(rule, "nonResourceURLs", path)?,
            resources: list(rule, "resources", path)?
                .iter()
                .map(|one| GroupResources::read(one, &format!("{path}.resources")))
                .collect::<Result<_, _>>()?,
        };
        read.check(path)?;
        Ok(read)
    }

    fn check(&self, path: &str) -> Result<(), PolicyError> {
        let urls = format!("{path}.nonResourceURLs");
        for (index, url) in self.urls.iter().enumerate() {
            let at = format!("{urls}[{index}]");
            if url != "*" && !url.starts_with('/') {
                let why = "non-resource URL rules must begin with a '/' character";
                return Err(invalid(&at, why));
            }
            if url.trim_end_matches('*').contains('*') || url.ends_with("**") {
                let why = "non-resource URL wildcards '*' must be the final character of the rule";
                return Err(invalid(&at, why));
            }
        }
        let is_on_resources = !self.resources.is_empty() || !self.namespaces.is_empty();
        if is_on_resources && !self.urls.is_empty() {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            return Err(invalid(&urls, why));
        }
        Ok(())
    }

    fn matches(&self, user: Option<&UserInfo>, info: &RequestInfo) -> bool {
        let name = user.map(|user| user.name.as_str());
        let in_group = |group: &String| user.is_some_and(|user| user.is_in(group));
        if !self.users.is_empty() && !name.is_some_and(|name| holds(&self.users, name))
            || !self.groups.is_empty() && !self.groups.iter().any(in_group)
            || !self.verbs.is_empty() && !holds(&self.verbs, info.verb.as_str())
        {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return self.matches_resource(info);
        }
        self.urls.is_empty()
            || info.resource.is_none() && self.urls.iter().any(|url| is_path(url, &info.path))
    }

    fn matches_resource(&self, info: &RequestInfo) -> bool {
        let Some(asked) = &info.resource else {
            return false;
        };
        let namespace = asked.namespace.as_deref().unwrap_or_default();
        if !self.namespaces.is_empty() && !holds(&self.namespaces, namespace) {
            return false;
        }
        let sub = asked.subresource.as_deref().unwrap_or_default();
        let name = asked.name.as_deref().unwrap_or_default();
        let is_resource = |rule: &str| {
            if sub.is_empty() {
                rule == asked.resource || rule == "*" || is_below(rule, &asked.resource)
            } else {
                rule == "*"
                    || rule
                        .strip_prefix("*/")
                        .is_some_and(|of_rule| of_rule == sub)
                    || is_below(rule, &asked.resource)
                    || rule.split_once('/') == Some((asked.resource.as_str(), sub))
            }
        };
        self.resources.is_empty()
            || self.resources.iter().any(|one| {
                (one.group == "*" || one.group == asked.group)
                    && (one.resources.is_empty()
                        || (one.names.is_empty() || holds(&one.names, name))
                            && one.resources.iter().any(|rule| is_resource(rule)))
            })
    }
}

/// Whether the rule is `RESOURCE/*`.
fn is_below(rule: &str, resource: &str) -> bool {
    rule.strip_suffix("/*") == Some(resource)
}

fn is_path(rule: &str, path: &str) -> bool {
    rule == "*"
        || rule == path
        || rule
            .strip_suffix('*')
            .is_some_and(|prefix| path.starts_with(prefix))
}

fn holds(items: &[String], item: &str) -> bool {
    items.iter().any(|own| own == item)
}

impl GroupResources {
    fn read(value: &Value, path: &str) -> Result<Self, PolicyError> {
        check_fields(value, &["group", "resources", "resourceNames"], path)?;
        let read = Self {
            group: meta::str_at(value, &["group"])
                .unwrap_or_default()
                .to_owned(),
            resources: texts(value, "resources", path)?,
            names: texts(value, "resourceNames", path)?,
        };
        if read.group.contains('/') || read.group.to_lowercase() != read.group {
            let why = format!(
                "{:?} is no API group; a version does not belong here",
                read.group
            );
            return Err(invalid(&format!("{path}.group"), &why));
        }
        if !read.names.is_empty() && read.resources.is_empty() {
            let why = "using resourceNames requires at least one resource";
            return Err(invalid(&format!("{path}.resourceNames"), why));
        }
        Ok(read)
    }
}

fn invalid(field: &str, why: &str) -> PolicyError {
    PolicyError::Field {
        field: field.to_owned(),
        why: why.to_owned(),
    }
}

fn child(path: &str, field: &str) -> String {
    if path.is_empty() {
        field.to_owned()
    } else {
        format!("{path}.{field}")
    }
}

fn check_fields(value: &Value, known: &[&str], path: &str) -> Result<(), PolicyError> {
    let Some(map) = value.as_object() else {
        return Err(invalid(path, "it is not a map"));
    };
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        Some(unknown) => Err(invalid(&child(path, unknown), "unknown field")),
        None => Ok(()),
    }
}

fn list<'a>(value: &'a Value, field: &str, path: &str) -> Result<&'a [Value], PolicyError> {
    match value.get(field) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(invalid(&child(path, field), "it is not a list")),
    }
}

fn texts(value: &Value, field: &str, path: &str) -> Result<Vec<String>, PolicyError> {
    let items = list(value, field, path)?.iter();
    items
        .map(|item| {
            let text = item.as_str().map(str::to_owned);
            text.ok_or_else(|| invalid(&child(path, field), "it is not a list of strings"))
        })
        .collect()
}

fn flag(value: &Value, field: &str, path: &str) -> Result<Option<bool>, PolicyError> {
    match value.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(invalid(&child(path, field), "it is neither true nor false")),
    }
}

fn stages(value: &Value, field: &str) -> Result<Vec<Stage>, PolicyError> {
    stages_at(value, field, "")
}

fn stages_at(value: &Value, field: &str, path: &str) -> Result<Vec<Stage>, PolicyError> {
    let names = texts(value, field, path)?;
    names
        .iter()
        .map(|name| {
            let stage = Stage::ALL.into_iter().find(|stage| stage.as_str() == name);
            stage.ok_or_else(|| {
                let why = format!(
                    "Invalid value: {name:?}: allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic"
                );
                invalid(&child(path, field), &why)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
