//! The Secret `kube-system/bootstrap-token-ID`, in both directions.
//!
//! It refuses to know the API that keeps it, and the time: `now` is an argument.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::kubeadm::{BootstrapToken, TokenId};
use super::role::JoinRole;
use crate::secret::Secret;

/// Namespace of the Secrets.
pub const SECRET_NAMESPACE: &str = "kube-system";
/// `type` of the Secrets.
pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
/// The group of everyone who comes with a bootstrap token.
pub const BOOTSTRAP_GROUP: &str = "system:bootstrappers";
/// The extra group that kubeadm gives its tokens.
pub const DEFAULT_NODE_TOKEN_GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";
/// The group that the embedded server gives to who comes with a token that names no extra group, as those of k0s do:
/// k0s lets in everyone in [`BOOTSTRAP_GROUP`], which would let in the bearers of all other tokens as well.
pub const K0S_NODE_TOKEN_GROUP: &str = "system:bootstrappers:k0s:default-node-token";

const GROUP_PREFIX: &str = "system:bootstrappers:";
const TOKEN_ID: &str = "token-id";
const TOKEN_SECRET: &str = "token-secret";
const EXPIRATION: &str = "expiration";
const DESCRIPTION: &str = "description";
const GROUPS: &str = "auth-extra-groups";
const USAGE_SIGNING: &str = "usage-bootstrap-signing";
const USAGE_AUTHENTICATION: &str = "usage-bootstrap-authentication";
const USAGE_CONTROLLER_JOIN: &str = "usage-bootstrap-controller-join";
/// The older spelling; k0s writes both and accepts either.
const USAGE_CONTROLLER_JOIN_LEGACY: &str = "usage-controller-join";

/// When a token ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiration {
    /// It does not.
    Never,
    /// At this moment and from then on it counts as expired.
    At(Timestamp),
    /// The Secret has a text here that is no RFC 3339 time: Kubernetes takes such a token as expired.
    Unreadable(String),
}

/// What a token may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TokenUsages {
    /// Signing the ConfigMap `cluster-info` (`usage-bootstrap-signing`).
    pub signing: bool,
    /// Logging in as a bearer (`usage-bootstrap-authentication`).
    pub authentication: bool,
    /// Joining the control plane of a k0s cluster through its join API (`usage-bootstrap-controller-join`, and in an
    /// older spelling `usage-controller-join`). Nothing else reads it.
    pub controller_join: bool,
}

/// The content of a bootstrap token's Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapTokenSecret {
    /// The token.
    pub token: BootstrapToken,
    /// Free text for people; empty when there is none.
    pub description: String,
    /// When it ends.
    pub expiration: Expiration,
    /// What it may be used for.
    pub usages: TokenUsages,
    /// Extra groups of a bearer, as they stand; see [`BootstrapTokenSecret::authenticated_groups`].
    pub groups: Vec<String>,
}

/// Why a Secret is not a usable bootstrap token. Its owner should mend or delete it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenSecretError {
    /// The object is not a Secret of the bootstrap token type.
    #[error("the secret's type is {found:?}, not bootstrap.kubernetes.io/token")]
    Type {
        /// The type found.
        found: String,
    },
    /// The object's name is not `bootstrap-token-ID` for the id inside.
    #[error("the secret's name {name:?} does not go with token id {id:?}")]
    Name {
        /// The name of the Secret.
        name: String,
        /// The id found inside.
        id: String,
    },
    /// A field is missing, not text or not base64.
    #[error("the field {field} is missing or unreadable")]
    Field {
        /// Key in `data`.
        field: &'static str,
    },
    /// A value of `data` is not base64 text.
    #[error("the value of {key:?} is not base64")]
    NotBase64 {
        /// Key in `data`.
        key: String,
    },
    /// Id and secret do not make a token.
    #[error("token-id and token-secret do not make a bootstrap token")]
    Malformed,
    /// A group is none that a token may give.
    #[error("{group:?} is not a group that a bootstrap token may give")]
    Group {
        /// The group found.
        group: String,
    },
}

impl TokenUsages {
    /// Both usages, as kubeadm creates tokens.
    pub const BOTH: Self = Self {
        signing: true,
        authentication: true,
        controller_join: false,
    };

    /// Reads kubeadm's `--usages` words; `None` at an unknown word.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut usages = Self::default();
        for word in words {
            match word {
                "signing" => usages.signing = true,
                "authentication" => usages.authentication = true,
                _ => return None,
            }
        }
        Some(usages)
    }

    /// The words, sorted as kubeadm lists them: authentication, controller-join, signing.
    pub fn words(self) -> Vec<&'static str> {
        let mut words = Vec::new();
        if self.authentication {
            words.push("authentication");
        }
        if self.controller_join {
            words.push("controller-join");
        }
        if self.signing {
            words.push("signing");
        }
        words
    }
}

impl BootstrapTokenSecret {
    /// A token with kubeadm's defaults: both usages, the default node group, no description, no end.
    pub fn new(token: BootstrapToken) -> Self {
        Self {
            token,
            description: String::new(),
            expiration: Expiration::Never,
            usages: TokenUsages::BOTH,
            groups: vec![DEFAULT_NODE_TOKEN_GROUP.to_owned()],
        }
    }

    /// As k0s makes tokens: a worker's may only log in, a controller's only join through the join API of k0s. Neither
    /// signs `cluster-info` (k0s has none) nor gives further groups.
    pub fn for_k0s(token: BootstrapToken, role: JoinRole, expiration: Expiration) -> Self {
        let (who, usages) = match role {
            JoinRole::Worker => (
                "Worker",
                TokenUsages {
                    authentication: true,
                    ..TokenUsages::default()
                },
            ),
            JoinRole::Controller => (
                "Controller",
                TokenUsages {
                    controller_join: true,
                    ..TokenUsages::default()
                },
            ),
        };
        Self {
            token,
            description: format!("{who} bootstrap token generated by k0s"),
            expiration,
            usages,
            groups: Vec::new(),
        }
    }

    /// Whom the token lets in: whoever may join a control plane is a controller, whoever may only log in a worker.
    pub const fn join_role(&self) -> Option<JoinRole> {
        if self.usages.controller_join {
            Some(JoinRole::Controller)
        } else if self.usages.authentication {
            Some(JoinRole::Worker)
        } else {
            None
        }
    }

    /// Reads a Secret object (`v1`), from its base64 `data` and, where given, plain `stringData`, which wins.
    ///
    /// # Errors
    /// [`TokenSecretError`] when type, name, id or secret do not make a token. An unreadable expiration is no
    /// error but [`Expiration::Unreadable`]; groups are checked when somebody logs in.
    pub fn from_object(secret: &Value) -> Result<Self, TokenSecretError> {
        let found = secret["type"].as_str().unwrap_or_default();
        if found != SECRET_TYPE {
            return Err(TokenSecretError::Type {
                found: found.to_owned(),
            });
        }
        let mut data = BTreeMap::new();
        for (key, value) in secret["data"].as_object().into_iter().flatten() {
            // Skipping it would make a token without end out of one with a broken end.
            let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok());
            let bytes = bytes.ok_or_else(|| TokenSecretError::NotBase64 { key: key.clone() })?;
            data.insert(key.clone(), Secret::new(bytes));
        }
        for (key, value) in secret["stringData"].as_object().into_iter().flatten() {
            if let Some(text) = value.as_str() {
                data.insert(key.clone(), Secret::new(text.as_bytes().to_vec()));
            }
        }
        Self::from_data(
            secret["metadata"]["name"].as_str().unwrap_or_default(),
            &data,
        )
    }

    /// Reads a Secret's decoded data; `name` is the object's name.
    ///
    /// # Errors
    /// As [`BootstrapTokenSecret::from_object`].
    pub fn from_data(
        name: &str,
        data: &BTreeMap<String, Secret<Vec<u8>>>,
    ) -> Result<Self, TokenSecretError> {
        let text = |field: &str| {
            data.get(field)
                .and_then(|bytes| std::str::from_utf8(bytes.expose()).ok())
        };
        let need = |field: &'static str| {
            text(field)
                .filter(|text| !text.is_empty())
                .ok_or(TokenSecretError::Field { field })
        };
        let (id, secret) = (need(TOKEN_ID)?, need(TOKEN_SECRET)?);
        let token =
            BootstrapToken::from_parts(id, secret).map_err(|_| TokenSecretError::Malformed)?;
        if TokenId::from_secret_name(name).as_ref() != Some(token.id()) {
            return Err(TokenSecretError::Name {
                name: name.to_owned(),
                id: id.to_owned(),
            });
        }
        let flag = |field| text(field) == Some("true");
        // Present but not even text is as unreadable as a wrong time.
        let expiration = match data.get(EXPIRATION) {
            Some(bytes) if !bytes.expose().is_empty() => {
                Expiration::parse(&String::from_utf8_lossy(bytes.expose()))
            }
            _ => Expiration::Never,
        };
        let groups = text(GROUPS).unwrap_or_default();
        Ok(Self {
            token,
            description: text(DESCRIPTION).unwrap_or_default().to_owned(),
            expiration,
            usages: TokenUsages {
                signing: flag(USAGE_SIGNING),
                authentication: flag(USAGE_AUTHENTICATION),
                controller_join: flag(USAGE_CONTROLLER_JOIN) || flag(USAGE_CONTROLLER_JOIN_LEGACY),
            },
            groups: groups
                .split(',')
                .filter(|g| !g.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    }

    /// The Secret's decoded data; absent usages, groups, description and end have no key, as with kubeadm.
    pub fn to_data(&self) -> BTreeMap<&'static str, Secret<String>> {
        let mut data = BTreeMap::new();
        let mut put = |key, value: String| {
            data.insert(key, Secret::new(value));
        };
        put(TOKEN_ID, self.token.id().as_str().to_owned());
        put(TOKEN_SECRET, self.token.secret().expose().clone());
        if !self.description.is_empty() {
            put(DESCRIPTION, self.description.clone());
        }
        match &self.expiration {
            Expiration::Never => {}
            end => put(EXPIRATION, end.to_string()),
        }
        for (key, set) in [
            (USAGE_SIGNING, self.usages.signing),
            (USAGE_AUTHENTICATION, self.usages.authentication),
            (USAGE_CONTROLLER_JOIN, self.usages.controller_join),
            (USAGE_CONTROLLER_JOIN_LEGACY, self.usages.controller_join),
        ] {
            if set {
                put(key, "true".to_owned());
            }
        }
        if !self.groups.is_empty() {
            let mut groups = self.groups.clone();
            groups.sort();
            put(GROUPS, groups.join(","));
        }
        data
    }

    /// The whole Secret object with base64 `data`, ready to be created. It contains the secret in the clear of
    /// base64: send it, do not log it.
    pub fn to_object(&self) -> Value {
        self.object("data", |text| STANDARD.encode(text))
    }

    /// The same with plain `stringData`, as in a manifest that a person writes.
    pub fn to_manifest(&self) -> Value {
        self.object("stringData", str::to_owned)
    }

    fn object(&self, field: &str, write: impl Fn(&str) -> String) -> Value {
        let data: Map<String, Value> = self
            .to_data()
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Value::String(write(value.expose()))))
            .collect();
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self.token.id().secret_name(), "namespace": SECRET_NAMESPACE},
            "type": SECRET_TYPE,
            field: data,
        })
    }

    /// Whether the token has ended at `now`. An unreadable end counts as past.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expiration.is_past(now)
    }

    /// The groups of a bearer: [`BOOTSTRAP_GROUP`] and the extra ones, sorted and without repeats.
    ///
    /// # Errors
    /// [`TokenSecretError::Group`] at a group that a token may not give; nobody may log in with it then.
    pub fn authenticated_groups(&self) -> Result<Vec<String>, TokenSecretError> {
        if let Some(group) = self.groups.iter().find(|group| !is_bootstrap_group(group)) {
            return Err(TokenSecretError::Group {
                group: group.clone(),
            });
        }
        let mut groups = self.groups.clone();
        groups.push(BOOTSTRAP_GROUP.to_owned());
        groups.sort();
        groups.dedup();
        Ok(groups)
    }
}

impl Expiration {
    /// Reads RFC 3339; anything else is [`Expiration::Unreadable`].
    pub fn parse(text: &str) -> Self {
        text.parse::<Timestamp>().map_or_else(
            |_| Self::Unreadable(text.chars().take(64).collect()),
            Self::At,
        )
    }

    /// Whether the end has come at `now`.
    pub fn is_past(&self, now: Timestamp) -> bool {
        match self {
            Self::Never => false,
            Self::At(end) => *end <= now,
            Self::Unreadable(_) => true,
        }
    }

    /// The moment, when there is one that can be read.
    pub const fn timestamp(&self) -> Option<Timestamp> {
        match self {
            Self::At(end) => Some(*end),
            Self::Never | Self::Unreadable(_) => None,
        }
    }
}

impl From<Option<Timestamp>> for Expiration {
    fn from(end: Option<Timestamp>) -> Self {
        end.map_or(Self::Never, Self::At)
    }
}

impl fmt::Display for Expiration {
    /// RFC 3339 in whole seconds, UTC; empty for never; an unreadable text as it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => Ok(()),
            Self::At(end) => write!(f, "{end:.0}"),
            Self::Unreadable(text) => f.write_str(text),
        }
    }
}

/// Whether a token may give this group: `\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\z`.
pub fn is_bootstrap_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix(GROUP_PREFIX) else {
        return false;
    };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = rest.as_bytes();
    (1..=256).contains(&bytes.len())
        && bytes
            .iter()
            .all(|&byte| plain(byte) || byte == b':' || byte == b'-')
        && bytes.last().is_some_and(|&byte| plain(byte))
}

#[cfg(test)]
mod tests;
