//! From `v1beta3` to `v1beta4`: a document in, the same document in the newer shape out.
//!
//! It refuses to know defaults: what a file leaves out stays left out.

use serde_json::{Map, Value, json};

/// What a `v1beta3` document says that has no place of its own kind in `v1beta4`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Displaced {
    /// `apiServer.timeoutForControlPlane`, now a timeout of Init- and JoinConfiguration.
    pub(super) control_plane: Option<super::Span>,
}

/// Converts a document in place.
pub(super) fn from_v1beta3(kind: &str, value: &mut Value) -> Displaced {
    let mut displaced = Displaced::default();
    let Some(map) = value.as_object_mut() else {
        return displaced;
    };
    if let Some(registration) = object(map, "nodeRegistration") {
        arguments(registration, "kubeletExtraArgs");
    }
    match kind {
        "JoinConfiguration" => {
            let timeout =
                object(map, "discovery").and_then(|discovery| discovery.remove("timeout"));
            if let Some(timeout) = timeout.filter(|timeout| !timeout.is_null()) {
                map.insert("timeouts".into(), json!({ "discovery": timeout }));
            }
        }
        "ClusterConfiguration" => {
            for component in ["apiServer", "controllerManager", "scheduler"] {
                if let Some(component) = object(map, component) {
                    arguments(component, "extraArgs");
                }
            }
            if let Some(server) = object(map, "apiServer") {
                let timeout = server.remove("timeoutForControlPlane");
                let timeout = timeout.and_then(|timeout| serde_json::from_value(timeout).ok());
                displaced.control_plane =
                    timeout.filter(|timeout: &super::Span| timeout.0.as_nanos() != 0);
            }
            if let Some(local) = object(map, "etcd").and_then(|etcd| object(etcd, "local")) {
                arguments(local, "extraArgs");
            }
        }
        _ => {}
    }
    displaced
}

fn object<'a>(map: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Map<String, Value>> {
    map.get_mut(name)?.as_object_mut()
}

/// A map of arguments becomes a list, sorted by name.
fn arguments(owner: &mut Map<String, Value>, name: &str) {
    let Some(Value::Object(map)) = owner.get(name) else {
        return;
    };
    let mut arguments: Vec<(String, Value)> = map.clone().into_iter().collect();
    arguments.sort_by(|one, other| one.0.cmp(&other.0));
    let list = arguments
        .into_iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    owner.insert(name.to_owned(), Value::Array(list));
}
