//! The document itself, field by field (`k8s.io/client-go/tools/clientcmd/api/v1`), and its YAML.
//!
//! It refuses to know what the fields mean together; that is `resolve`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::KubeconfigError;
use crate::secret::Secret;

type Extra = BTreeMap<String, Value>;

/// The whole file. Fields stand in the order in which kubectl writes them.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Document {
    #[serde(rename = "apiVersion", default)]
    pub(super) api_version: String,
    #[serde(default)]
    pub(super) clusters: Option<Vec<NamedCluster>>,
    #[serde(default)]
    pub(super) contexts: Option<Vec<NamedContext>>,
    #[serde(
        rename = "current-context",
        default,
        deserialize_with = "null_is_empty"
    )]
    pub(super) current_context: String,
    #[serde(default)]
    pub(super) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) preferences: Option<Value>,
    #[serde(default)]
    pub(super) users: Option<Vec<NamedUser>>,
    #[serde(flatten)]
    pub(super) extra: Extra,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct NamedCluster {
    #[serde(default)]
    pub(super) cluster: Cluster,
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Cluster {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) certificate_authority: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) certificate_authority_data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) insecure_skip_tls_verify: Option<bool>,
    #[serde(default)]
    pub(super) server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tls_server_name: Option<String>,
    #[serde(flatten)]
    pub(super) extra: Extra,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct NamedContext {
    #[serde(default)]
    pub(super) context: Context,
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Context {
    #[serde(default)]
    pub(super) cluster: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    #[serde(default)]
    pub(super) user: String,
    #[serde(flatten)]
    pub(super) extra: Extra,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct NamedUser {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) user: User,
}

#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct User {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client_certificate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client_certificate_data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client_key_data: Option<Hidden>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<Hidden>,
    #[serde(rename = "tokenFile", default, skip_serializing_if = "Option::is_none")]
    pub(super) token_file: Option<String>,
    #[serde(flatten)]
    pub(super) extra: Extra,
}

/// A secret that may be written into a kubeconfig, the one place where that is its purpose.
#[derive(Clone, PartialEq)]
pub(super) struct Hidden(pub(super) Secret<String>);

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

pub(super) fn read(text: &[u8]) -> Result<Document, KubeconfigError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_documents: 1,
            max_aliases: 64,
            max_nodes: 50_000,
        },
        // As Kubernetes reads YAML.
        legacy_octal_numbers: true,
        // A snippet of the source could show a credential.
        with_snippet: false,
    };
    let document: Document =
        serde_saphyr::from_slice_with_options(text, options).map_err(|error| {
            let place = error.location().map_or_else(
                || "the whole file".to_owned(),
                |at| format!("line {} column {}", at.line(), at.column()),
            );
            KubeconfigError::Unreadable { place }
        })?;
    // kubectl takes a file without a kind, but nothing of another kind.
    if document.kind.is_empty() || document.kind == "Config" {
        Ok(document)
    } else {
        Err(KubeconfigError::Kind {
            found: document.kind.chars().take(64).collect(),
        })
    }
}

pub(super) fn write(document: &Document) -> Secret<String> {
    let options = serde_saphyr::ser_options! {
        // Go never folds.
        prefer_block_scalars: false,
        empty_as_braces: true,
    };
    let yaml = serde_saphyr::to_string_with_options(document, options);
    Secret::new(yaml.expect("maps with text keys, lists, texts and numbers have a YAML form"))
}
