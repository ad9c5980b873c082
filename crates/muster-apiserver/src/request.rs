//! Who asks for what: the attributes of one request that every later stage reads (authorisation, limits,
//! admission, routing), and the reading port through which those stages look at stored objects.
//!
//! Refuses to know: bodies, wire formats, storage, and whether the asked resource exists at all. Paths are
//! read as Kubernetes' `RequestInfoFactory` reads them.

use std::{collections::BTreeMap, sync::Arc};

use http::Method;
use muster_machinery::{meta, selector::FieldSelector};
use serde_json::Value;

/// The authenticated caller, as in Kubernetes' `authentication.k8s.io/v1 UserInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// The user name, e.g. `system:node:worker-1`.
    pub name: String,
    /// A stable id of the user where the authenticator knows one, else empty.
    pub uid: String,
    /// The groups the user is in.
    pub groups: Vec<String>,
    /// Further attributes, e.g. the pod a service-account token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// A user with a name and groups and nothing else.
    pub fn new<'a>(name: impl Into<String>, groups: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            name: name.into(),
            groups: groups.into_iter().map(str::to_owned).collect(),
            ..Self::default()
        }
    }

    /// Whether the user is in `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}

/// What is done: the verbs of RBAC rules. On non-resource paths the verb is the lower-case HTTP method.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Read one object, or a non-resource path.
    Get,
    /// Read many objects.
    List,
    /// Follow changes.
    Watch,
    /// Make an object (`POST`).
    Create,
    /// Replace an object (`PUT`).
    Update,
    /// Change part of an object, or `PATCH` on a non-resource path.
    Patch,
    /// Remove one object, or `DELETE` on a non-resource path.
    Delete,
    /// Remove many objects.
    DeleteCollection,
    /// `POST` on a non-resource path.
    Post,
    /// `PUT` on a non-resource path.
    Put,
    /// `HEAD` on a non-resource path.
    Head,
    /// `OPTIONS` on a non-resource path.
    Options,
    /// A verb that only rules and reviews speak of: `impersonate`, `approve`, `sign`, `bind`, `escalate`, …
    Other(String),
}

impl Verb {
    /// The verb as RBAC rules spell it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Post => "post",
            Self::Put => "put",
            Self::Head => "head",
            Self::Options => "options",
            Self::Other(verb) => verb,
        }
    }

    /// Whether the verb only reads. Reading and writing requests are limited separately.
    pub fn is_read_only(&self) -> bool {
        matches!(
            self,
            Self::Get | Self::List | Self::Watch | Self::Head | Self::Options
        )
    }

    fn of_resource_method(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD => Self::Get,
            Method::POST => Self::Create,
            Method::PUT => Self::Update,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            // None that a rule could name: a method called `LIST` or `DELETECOLLECTION` would pass for the verb
            // of a collection on the path of one object.
            _ => Self::Other(String::new()),
        }
    }

    fn of_plain_method(method: &Method) -> Self {
        Self::from(method.as_str().to_ascii_lowercase().as_str())
    }
}

impl From<&str> for Verb {
    fn from(verb: &str) -> Self {
        match verb {
            "get" => Self::Get,
            "list" => Self::List,
            "watch" => Self::Watch,
            "create" => Self::Create,
            "update" => Self::Update,
            "patch" => Self::Patch,
            "delete" => Self::Delete,
            "deletecollection" => Self::DeleteCollection,
            "post" => Self::Post,
            "put" => Self::Put,
            "head" => Self::Head,
            "options" => Self::Options,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// What a request wants: the attributes an authorizer decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInfo {
    /// What is done.
    pub verb: Verb,
    /// The path without the query, as it was asked for.
    pub path: String,
    /// The resource, or `None` for a non-resource path such as `/healthz` or `/apis`.
    pub resource: Option<ResourceRequest>,
}

/// The resource part of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceRequest {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version within the group, e.g. `v1`.
    pub version: String,
    /// The plural resource name, e.g. `pods`.
    pub resource: String,
    /// The subresource, e.g. `status`.
    pub subresource: Option<String>,
    /// The namespace. For a request on one Namespace object this is its name, as Kubernetes has it.
    pub namespace: Option<String>,
    /// The object's name; `None` for collections and creations. A `metadata.name=X` field selector of a
    /// list or watch counts as the name.
    pub name: Option<String>,
    /// What a field selector pins to one value (`field=value`, `field==value`), in order. A node's right to
    /// list pods hangs on it. Empty unless the verb is list, watch or deletecollection.
    pub pinned_fields: Vec<(String, String)>,
}

impl ResourceRequest {
    /// The one value a field selector allows for `field`, if it pins it.
    pub fn pinned(&self, field: &str) -> Option<&str> {
        self.pinned_fields
            .iter()
            .find(|(name, _)| name == field)
            .map(|(_, value)| value.as_str())
    }
}

/// Subresources of a Namespace itself; any other third segment is a resource *in* the namespace.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

impl RequestInfo {
    /// Reads the attributes from method, path and raw query of a request.
    pub fn parse(method: &Method, path: &str, query: Option<&str>) -> Self {
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let plain = || Self {
            verb: Verb::of_plain_method(method),
            path: path.to_owned(),
            resource: None,
        };
        // No route upstream matches a path with an empty segment in it.
        if path.starts_with("//") || path.trim_end_matches('/').contains("//") {
            return plain();
        }
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => return plain(),
        };
        let mut verb = Verb::of_resource_method(method);
        let mut rest = rest;
        let mut forced_watch = false;
        if let ["watch", tail @ ..] = rest {
            if tail.is_empty() {
                return plain();
            }
            forced_watch = true;
            rest = tail;
        }
        let mut resource = ResourceRequest {
            group: group.to_owned(),
            version: version.to_owned(),
            ..ResourceRequest::default()
        };
        if let ["namespaces", namespace, tail @ ..] = rest {
            resource.namespace = Some(segment(namespace));
            if let [first, ..] = tail
                && !NAMESPACE_SUBRESOURCES.contains(first)
            {
                rest = tail;
            }
        }
        resource.resource = rest.first().map(|part| segment(part)).unwrap_or_default();
        resource.name = rest.get(1).map(|part| segment(part));
        resource.subresource = rest.get(2).map(|part| segment(part));

        if forced_watch {
            verb = Verb::Watch;
        } else if resource.name.is_none() {
            verb = match verb {
                Verb::Get if wants_watch(query) => Verb::Watch,
                Verb::Get => Verb::List,
                Verb::Delete => Verb::DeleteCollection,
                other => other,
            };
        }
        if resource.name.is_none()
            && matches!(verb, Verb::List | Verb::Watch | Verb::DeleteCollection)
        {
            resource.pinned_fields = pinned_fields(query);
            resource.name = resource.pinned("metadata.name").map(str::to_owned);
        }
        Self {
            verb,
            path: path.to_owned(),
            resource: Some(resource),
        }
    }
}

/// Percent-decodes one path segment; a malformed escape stays as it is and will name no object.
fn segment(raw: &str) -> String {
    decode_percent(raw, false).unwrap_or_else(|| raw.to_owned())
}

/// Percent-decodes `raw`; with `plus_is_space` as in queries. `None` if an escape or the UTF-8 is malformed.
pub(crate) fn decode_percent(raw: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut input = raw.bytes();
    while let Some(byte) = input.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(input.next()?).to_digit(16)?;
                let low = char::from(input.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The decoded pairs of a raw query, in order. Malformed pairs are left out.
pub(crate) fn query_pairs(query: Option<&str>) -> impl Iterator<Item = (String, String)> + '_ {
    query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode_percent(key, true)?, decode_percent(value, true)?))
        })
}

/// The first value of `key` in a raw query.
pub(crate) fn query_value(query: Option<&str>, key: &str) -> Option<String> {
    query_pairs(query)
        .find(|(name, _)| name == key)
        .map(|(_, value)| value)
}

fn wants_watch(query: Option<&str>) -> bool {
    query_value(query, "watch").is_some_and(|value| {
        !matches!(
            value.as_str(),
            "false" | "0" | "False" | "F" | "f" | "FALSE"
        )
    })
}

/// The equality terms of the `fieldSelector` parameter, as selection itself will read them: authorisation
/// must not see another selector than the list. A malformed one pins nothing.
fn pinned_fields(query: Option<&str>) -> Vec<(String, String)> {
    let text = query_value(query, "fieldSelector").unwrap_or_default();
    let selector = FieldSelector::parse(&text).unwrap_or_default();
    let equal = selector.requirements().iter().filter(|term| !term.negated);
    equal
        .filter(|term| !term.value.is_empty())
        .map(|term| (term.field.clone(), term.value.clone()))
        .collect()
}

/// Reads stored objects for stages that decide on them: authenticators (tokens, service accounts),
/// authorizers (roles, the node graph) and admission (namespaces, quotas). Never blocks, never fails: it
/// reads the watch cache.
pub trait ObjectReader: Send + Sync {
    /// One object by group, plural, namespace (for namespaced resources) and name.
    fn get(
        &self,
        group: &str,
        resource: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Option<Arc<Value>>;
    /// All objects of a resource, in one namespace or in all, in key order.
    fn list(&self, group: &str, resource: &str, namespace: Option<&str>) -> Vec<Arc<Value>>;
    /// A number that grows whenever any object of the resource changes, for derived indexes.
    fn generation(&self, group: &str, resource: &str) -> u64;

    /// What has changed since an earlier call told `Changes::until`, for indexes that follow a resource.
    fn changes(&self, group: &str, resource: &str, since: Option<u64>) -> Changes {
        let until = self.generation(group, resource);
        if since == Some(until) {
            return Changes {
                is_everything: false,
                until,
                objects: Vec::new(),
            };
        }
        let key = |object: &Value| {
            let (namespace, name) = (meta::namespace(object), meta::name(object));
            if namespace.is_empty() {
                return name.to_owned();
            }
            format!("{namespace}/{name}")
        };
        let objects = self.list(group, resource, None);
        Changes {
            is_everything: true,
            until,
            objects: objects
                .into_iter()
                .map(|object| (key(&object), Some(object)))
                .collect(),
        }
    }
}

/// What has changed in a resource.
#[derive(Debug)]
pub struct Changes {
    /// Whether this is everything there is; what was known before and is not named is gone.
    pub is_everything: bool,
    /// What to name in the next call.
    pub until: u64,
    /// The objects by key (`namespace/name` or `name`), in the order of their changes; `None` for one that is gone.
    pub objects: Vec<(String, Option<Arc<Value>>)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(method: Method, path: &str, query: &str) -> RequestInfo {
        RequestInfo::parse(&method, path, (!query.is_empty()).then_some(query))
    }

    fn resource(info: &RequestInfo) -> (&str, Option<&str>, Option<&str>, Option<&str>) {
        let r = info.resource.as_ref().expect("a resource request");
        (
            &r.resource,
            r.namespace.as_deref(),
            r.name.as_deref(),
            r.subresource.as_deref(),
        )
    }

    #[test]
    fn collections_are_listed_watched_and_deleted_as_collections() {
        let path = "/api/v1/namespaces/default/pods";
        assert_eq!(info(Method::GET, path, "").verb, Verb::List);
        assert_eq!(info(Method::GET, path, "watch=true").verb, Verb::Watch);
        assert_eq!(info(Method::GET, path, "watch=0").verb, Verb::List);
        assert_eq!(info(Method::DELETE, path, "").verb, Verb::DeleteCollection);
        assert_eq!(info(Method::POST, path, "").verb, Verb::Create);
        assert_eq!(
            resource(&info(Method::GET, path, "")),
            ("pods", Some("default"), None, None)
        );
    }

    #[test]
    fn namespaces_are_both_a_resource_and_a_prefix() {
        let one = info(Method::GET, "/api/v1/namespaces/kube-system", "");
        assert_eq!(
            resource(&one),
            ("namespaces", Some("kube-system"), Some("kube-system"), None)
        );
        let fin = info(Method::PUT, "/api/v1/namespaces/x/finalize", "");
        assert_eq!(
            resource(&fin),
            ("namespaces", Some("x"), Some("x"), Some("finalize"))
        );
        let inside = info(
            Method::GET,
            "/apis/apps/v1/namespaces/x/deployments/d/scale",
            "",
        );
        assert_eq!(
            resource(&inside),
            ("deployments", Some("x"), Some("d"), Some("scale"))
        );
        assert_eq!(
            inside.resource.as_ref().map(|r| r.group.as_str()),
            Some("apps")
        );
    }

    #[test]
    fn a_name_in_a_field_selector_counts_as_the_name() {
        let watch = info(
            Method::GET,
            "/api/v1/nodes",
            "watch=1&fieldSelector=metadata.name%3Dn1",
        );
        assert_eq!(
            (watch.verb.as_str(), resource(&watch)),
            ("watch", ("nodes", None, Some("n1"), None))
        );
    }

    #[test]
    fn equality_terms_of_a_field_selector_are_kept_for_authorizers() {
        let query = "fieldSelector=spec.nodeName%3Dn1,status.phase!%3DFailed,a%3D%3Db";
        let list = info(Method::GET, "/api/v1/pods", query);
        let resource = list.resource.expect("a resource request");
        assert_eq!(resource.pinned("spec.nodeName"), Some("n1"));
        assert_eq!(resource.pinned("a"), Some("b"));
        assert_eq!(resource.pinned("status.phase"), None);
        assert_eq!(resource.name, None);
        let escaped = "fieldSelector=status.phase%3Dx%5C,spec.nodeName%3Dn1";
        let list = info(Method::GET, "/api/v1/pods", escaped);
        assert_eq!(
            list.resource
                .and_then(|r| r.pinned("spec.nodeName").map(str::to_owned)),
            None
        );
    }

    #[test]
    fn roots_and_versions_are_not_resources() {
        for path in [
            "/",
            "/api",
            "/api/v1",
            "/apis",
            "/apis/apps",
            "/apis/apps/v1",
            "/healthz/etcd",
        ] {
            let info = info(Method::GET, path, "");
            assert_eq!((info.verb, info.resource), (Verb::Get, None), "{path}");
        }
        assert_eq!(info(Method::POST, "/version", "").verb, Verb::Post);
    }

    #[test]
    fn the_old_watch_prefix_still_watches() {
        let watch = info(Method::GET, "/api/v1/watch/namespaces/default/pods/p", "");
        assert_eq!(watch.verb, Verb::Watch);
        assert_eq!(resource(&watch), ("pods", Some("default"), Some("p"), None));
    }

    #[test]
    fn malformed_escapes_do_not_panic() {
        assert_eq!(decode_percent("a%2", false), None);
        assert_eq!(decode_percent("a%zz", false), None);
        assert_eq!(decode_percent("%ff", false), None);
        assert_eq!(decode_percent("a%2Fb+c", true).as_deref(), Some("a/b c"));
    }
}
