//! Continue tokens: a page's place in a list, in kube-apiserver's form, and bound to the collection that the
//! list is of. A token can name a place in its own collection and nothing else.
//!
//! Refuses to know: how a page is read.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use muster_machinery::status::Status;
use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::watch::ROOT;

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

/// The longest token that is looked at, in bytes: far more than any key makes.
const MAX_TOKEN: usize = 4096;

/// The collection a list is of: a resource, in all namespaces or in one.
#[derive(Clone, Debug)]
pub(super) struct ListPath {
    /// The store's keys of the list begin so.
    prefix: String,
    /// How much of it is the resource's.
    resource: usize,
}

impl ListPath {
    pub(super) fn new(resource: String, namespace: Option<&str>) -> Self {
        let length = resource.len();
        let prefix = match namespace {
            Some(namespace) => format!("{resource}{namespace}/"),
            None => resource,
        };
        Self {
            prefix,
            resource: length,
        }
    }

    /// What all keys of the list begin with in the store.
    pub(super) fn store_prefix(&self) -> &str {
        &self.prefix
    }

    /// What all keys of the resource begin with.
    pub(super) fn resource_prefix(&self) -> &str {
        &self.prefix[..self.resource]
    }
}

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Behind this key of the resource (`namespace/name` or `name`), exclusive.
    pub(super) after: String,
    /// The revision of the whole list; `None` for the newest, which the earlier pages did not show.
    pub(super) revision: Option<u64>,
}

/// The token is this as JSON in base64, as kube-apiserver makes it.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    /// `meta.k8s.io/v1`.
    v: String,
    /// The revision of the whole list; -1 for the newest.
    rv: i64,
    /// The key below the store's root where the next page begins: the last that was given out, with a NUL.
    start: String,
}

impl Place {
    /// Behind `key`, in the list at `revision`.
    pub(super) fn at(key: &str, revision: u64) -> Self {
        Self {
            after: key.to_owned(),
            revision: Some(revision),
        }
    }

    /// Behind `key`, in whatever there is then.
    pub(super) fn newest(key: &str) -> Self {
        Self {
            after: key.to_owned(),
            revision: None,
        }
    }

    /// The token for clients.
    pub(super) fn token(&self, path: &ListPath) -> String {
        let resource = path.resource_prefix();
        let resource = resource.strip_prefix(ROOT).unwrap_or(resource);
        let rv = self
            .revision
            .map(|revision| i64::try_from(revision).unwrap_or(i64::MAX));
        let token = Token {
            v: TOKEN_VERSION.to_owned(),
            rv: rv.unwrap_or(-1),
            start: format!("{resource}{}\0", self.after),
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    /// Reads a token that was made for a list of `path`.
    pub(super) fn parse(token: &str, path: &ListPath) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(refuse("continue key is not valid: too long"));
        }
        let invalid =
            |why: &dyn std::fmt::Display| refuse(&format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|error| invalid(&error))?;
        let token: Token = serde_json::from_slice(&bytes).map_err(|error| invalid(&error))?;
        if token.v != TOKEN_VERSION {
            let why = "continue key is not valid: server does not recognize this encoded version";
            return Err(refuse(&format!("{why} {}", token.v)));
        }
        let own = |why: &str| {
            refuse(&format!(
                "continue key is not valid: {why} (version {TOKEN_VERSION})"
            ))
        };
        let revision = match token.rv {
            0 => return Err(own("incorrect encoded start resourceVersion")),
            rv => u64::try_from(rv).ok(),
        };
        if token.start.is_empty() {
            return Err(own("encoded start key empty"));
        }
        let place = format!(
            "{ROOT}{}",
            token.start.strip_suffix('\0').unwrap_or(&token.start)
        );
        let traverses = place
            .split('/')
            .skip(1)
            .any(|part| matches!(part, "" | "." | ".."));
        match place.strip_prefix(path.resource_prefix()) {
            Some(after) if place.starts_with(path.store_prefix()) && !traverses => Ok(Self {
                after: after.to_owned(),
                revision,
            }),
            _ => Err(invalid(&format_args!("{:?}", token.start))),
        }
    }
}

fn refuse(why: &str) -> Refusal {
    Status::bad_request(format!("invalid continue token: {why}")).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(namespace: Option<&str>) -> ListPath {
        ListPath::new("/registry/core/pods/".to_owned(), namespace)
    }

    #[test]
    fn a_place_is_found_again_in_its_own_list() {
        for place in [Place::at("ns/pod-1", 77), Place::newest("ns/pod-1")] {
            for namespace in [None, Some("ns")] {
                let path = path(namespace);
                assert_eq!(Place::parse(&place.token(&path), &path).unwrap(), place);
            }
        }
    }

    #[test]
    fn a_token_is_of_no_use_in_another_list() {
        let token = Place::at("ns/pod-1", 77).token(&path(None));
        let other = ListPath::new("/registry/core/secrets/".to_owned(), None);
        for path in [path(Some("n")), path(Some("other")), other] {
            let refusal = Place::parse(&token, &path).unwrap_err();
            assert_eq!(refusal.code(), 400);
            assert!(refusal.message().starts_with("invalid continue token: "));
        }
    }

    #[test]
    fn a_forged_token_is_refused() {
        let token = |json: &str| URL_SAFE_NO_PAD.encode(json);
        for forged in [
            String::new(),
            "%%%".to_owned(),
            "AAAA".to_owned(),
            "A".repeat(MAX_TOKEN + 1),
            token(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../x"}"#),
            token(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"core/pods/../secrets/x"}"#),
            token(r#"{"v":"meta.k8s.io/v1","rv":1,"start":""}"#),
            token(r#"{"v":"meta.k8s.io/v1","rv":0,"start":"core/pods/a/b"}"#),
            token(r#"{"v":"meta.k8s.io/v2","rv":1,"start":"core/pods/a/b"}"#),
        ] {
            let parsed = Place::parse(&forged, &path(None));
            assert_eq!(parsed.unwrap_err().code(), 400, "{forged}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_token_leads_out_of_its_list(start in "[a-z./]{0,30}", rv in any::<i64>()) {
            let token = Token { v: TOKEN_VERSION.to_owned(), rv, start: format!("core/pods/{start}") };
            let token = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap());
            if let Ok(place) = Place::parse(&token, &path(Some("ns"))) {
                prop_assert!(place.after.starts_with("ns/") && !place.after.contains(".."));
            }
        }
    }
}
