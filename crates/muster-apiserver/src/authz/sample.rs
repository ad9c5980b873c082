//! Requests, users and stored objects for the tests of the access modules, in one line each.
//!
//! Refuses to be compiled into the product.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use serde_json::{Value, json};

use crate::request::{ObjectReader, RequestInfo, ResourceRequest, UserInfo, Verb};

/// A request from `[namespace/]resource[.group][/name[/subresource]]`, or from a path that starts with `/`.
///
/// Names can stand alone only behind a namespace; `-` stands for no namespace (`-/nodes/n1/status`).
pub(crate) fn ask(verb: &str, target: &str) -> RequestInfo {
    let resource = (!target.starts_with('/')).then(|| resource(target));
    RequestInfo {
        verb: Verb::from(verb),
        path: target.to_owned(),
        resource,
    }
}

/// The resource of [`ask`].
pub(crate) fn resource(target: &str) -> ResourceRequest {
    let parts: Vec<&str> = target.split('/').collect();
    let (namespace, rest) = match parts.as_slice() {
        [only] => ("-", vec![*only]),
        [namespace, rest @ ..] => (*namespace, rest.to_vec()),
        [] => ("-", Vec::new()),
    };
    let owned = |part: Option<&&str>| part.map(|part| (*part).to_owned());
    let full = rest.first().copied().unwrap_or_default();
    let (plural, group) = full.split_once('.').unwrap_or((full, ""));
    ResourceRequest {
        group: group.to_owned(),
        version: "v1".to_owned(),
        resource: plural.to_owned(),
        subresource: owned(rest.get(2)),
        namespace: (namespace != "-").then(|| namespace.to_owned()),
        name: owned(rest.get(1)),
        pinned_fields: Vec::new(),
    }
}

/// A node's user.
pub(crate) fn node(name: &str) -> UserInfo {
    UserInfo::new(
        format!("system:node:{name}"),
        ["system:nodes", "system:authenticated"],
    )
}

/// A Role with these rules in a namespace, bound to a user.
pub(crate) fn grant(user: &str, namespace: &str, rules: Value) -> [Value; 2] {
    let version = "rbac.authorization.k8s.io/v1";
    let name = format!("granted-{user}");
    let metadata = json!({"name": name, "namespace": namespace});
    let role = json!({"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": rules});
    let binding = json!({
        "apiVersion": version, "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"kind": "Role", "name": name}, "subjects": [{"kind": "User", "name": user}],
    });
    [role, binding]
}

/// A ClusterRole with these rules, bound to a subject everywhere.
pub(crate) fn grant_everywhere(kind: &str, name: &str, rules: Value) -> [Value; 2] {
    let version = "rbac.authorization.k8s.io/v1";
    let metadata = json!({"name": format!("granted-{name}")});
    let role =
        json!({"apiVersion": version, "kind": "ClusterRole", "metadata": metadata, "rules": rules});
    let binding = json!({
        "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": metadata,
        "roleRef": {"kind": "ClusterRole", "name": metadata["name"]},
        "subjects": [{"kind": kind, "name": name}],
    });
    [role, binding]
}

type Key = (String, String, String, String);

/// Objects in memory, read as the access modules read the watch cache.
#[derive(Default)]
pub(crate) struct Objects {
    stored: RwLock<(BTreeMap<Key, Arc<Value>>, u64)>,
}

impl Objects {
    /// A reader over the given objects; each carries `apiVersion` and `kind`.
    pub(crate) fn of(objects: impl IntoIterator<Item = Value>) -> Arc<Self> {
        let reader = Arc::new(Self::default());
        for object in objects {
            reader.put(object);
        }
        reader
    }

    /// Adds or replaces an object.
    pub(crate) fn put(&self, object: Value) {
        let key = key(&object);
        let mut stored = self.stored.write();
        stored.0.insert(key, Arc::new(object));
        stored.1 += 1;
    }

    /// Removes an object by the fields that name it.
    pub(crate) fn remove(&self, object: &Value) {
        let mut stored = self.stored.write();
        stored.0.remove(&key(object));
        stored.1 += 1;
    }
}

fn key(object: &Value) -> Key {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let version = text("/apiVersion");
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let kind = text("/kind").to_lowercase();
    let plural = match kind.as_str() {
        "endpoints" => kind,
        _ if kind.ends_with("ss") => format!("{kind}es"),
        _ if kind.ends_with("cy") => kind.replace("policy", "policies"),
        _ => format!("{kind}s"),
    };
    (
        group.to_owned(),
        plural,
        text("/metadata/namespace"),
        text("/metadata/name"),
    )
}

impl ObjectReader for Objects {
    fn get(
        &self,
        group: &str,
        resource: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Option<Arc<Value>> {
        let key = (
            group.to_owned(),
            resource.to_owned(),
            namespace.unwrap_or_default().to_owned(),
            name.to_owned(),
        );
        self.stored.read().0.get(&key).cloned()
    }

    fn list(&self, group: &str, resource: &str, namespace: Option<&str>) -> Vec<Arc<Value>> {
        let stored = self.stored.read();
        let wanted = |key: &Key| {
            key.0 == group && key.1 == resource && namespace.is_none_or(|only| only == key.2)
        };
        let found = stored.0.iter().filter(|(key, _)| wanted(key));
        found.map(|(_, object)| object.clone()).collect()
    }

    fn generation(&self, _group: &str, _resource: &str) -> u64 {
        self.stored.read().1
    }
}
