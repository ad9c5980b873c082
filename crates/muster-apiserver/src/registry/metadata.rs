//! What the server, and not the client, says about an object: its identity, its times, its place.
//!
//! Refuses to know: kinds, except which of them must name a version and which a `PUT` can make.

use muster_machinery::{meta, resources::Resource, status::Status, typed_form};
use serde_json::{Map, Value};

use super::{Call, Refusal};
use crate::entropy::random_uuid;

/// Metadata that clients send and the server decides alone.
const SERVER_OWNED: [&str; 5] = [
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Checks that the body is an object of the right kind and names, writes them where they are missing, and
/// leaves of it what a server with typed structs would keep: nothing unknown, nothing empty. Owners of fields stay as
/// they were sent.
pub(super) fn place(call: &Call<'_>, object: &mut Value) -> Result<(), Refusal> {
    let Some(map) = object.as_object_mut() else {
        return Err(Status::bad_request("the body of the request is not an object").into());
    };
    if !matches!(
        map.get("metadata"),
        None | Some(Value::Null | Value::Object(_))
    ) {
        return Err(Status::bad_request("metadata is not an object").into());
    }
    let metadata = map.entry("metadata").or_insert(Value::Null);
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    // An empty list of owners means something: it resets them.
    let owners = meta::metadata_mut(object).and_then(|metadata| metadata.remove("managedFields"));
    typed_form::apply(object);
    place_in_namespace(call, object)?;
    if let Some(metadata) = meta::metadata_mut(object) {
        metadata.remove("selfLink");
        metadata.extend(owners.map(|owners| ("managedFields".to_owned(), owners)));
        metadata.retain(|_, value| !value.is_null());
    }
    Ok(())
}

fn place_in_namespace(call: &Call<'_>, object: &mut Value) -> Result<(), Refusal> {
    let Some(namespace) = call.namespace() else {
        if !meta::namespace(object).is_empty() && !call.resource.namespaced {
            meta::set_namespace(object, "");
        }
        return Ok(());
    };
    match meta::namespace(object) {
        "" => meta::set_namespace(object, namespace),
        own if own == namespace => {}
        _ => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            )
            .into());
        }
    }
    Ok(())
}

/// Checks that the body names the addressed object.
pub(super) fn check_name(call: &Call<'_>, object: &mut Value) -> Result<(), Refusal> {
    match meta::name(object) {
        "" => meta::set_name(object, call.name()),
        name if name == call.name() => {}
        name => {
            return Err(Status::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                call.name()
            ))
            .into());
        }
    }
    Ok(())
}

/// Gives a new object its identity.
pub(super) fn begin(call: &Call<'_>, object: &mut Value) {
    let uid = random_uuid();
    let created = meta::format_time(call.now);
    if let Some(metadata) = meta::metadata_mut(object) {
        for field in SERVER_OWNED {
            metadata.remove(field);
        }
        metadata.remove("resourceVersion");
        metadata.insert("uid".to_owned(), uid.into());
        metadata.insert("creationTimestamp".to_owned(), created.into());
    }
}

/// Gives a new object back the identity that admission has no say in.
pub(super) fn keep_identity(object: &mut Value, given: Option<&Value>) {
    let Some(metadata) = meta::metadata_mut(object) else {
        return;
    };
    let kept = SERVER_OWNED
        .into_iter()
        .chain(["namespace", "resourceVersion"]);
    for field in kept {
        match given.and_then(|given| given.get(field)) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
}

/// Carries over to a changed object what clients cannot change.
pub(super) fn carry_over(object: &mut Value, old: &Value) -> Result<(), Refusal> {
    let old_metadata = old.get("metadata").and_then(Value::as_object);
    let Some(metadata) = meta::metadata_mut(object) else {
        return Err(Status::bad_request("the body of the request is not an object").into());
    };
    for field in SERVER_OWNED {
        match old_metadata.and_then(|old| old.get(field)) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
    Ok(())
}

/// Counts a change of what the object asks for, for kinds that were given a generation when they were made.
pub(super) fn count_generation(object: &mut Value, old: &Value) {
    let generation = meta::generation(old);
    if generation > 0 && asks_differently(object, old) {
        meta::set_generation(object, generation + 1);
    }
}

fn asks_differently(object: &Value, old: &Value) -> bool {
    let asked = |value: &Value| -> Vec<(String, Value)> {
        let entries = value.as_object().into_iter().flatten();
        let asked = entries.filter(|(key, _)| {
            !matches!(key.as_str(), "metadata" | "status" | "kind" | "apiVersion")
        });
        asked
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    asked(object) != asked(old)
}

/// Whether an update must say which version it changes (`AllowUnconditionalUpdate` is false upstream).
pub(super) fn needs_version(resource: &Resource) -> bool {
    match &*resource.group {
        ""
        | "apps"
        | "autoscaling"
        | "batch"
        | "certificates.k8s.io"
        | "discovery.k8s.io"
        | "events.k8s.io"
        | "flowcontrol.apiserver.k8s.io"
        | "networking.k8s.io"
        | "rbac.authorization.k8s.io"
        | "resource.k8s.io"
        | "scheduling.k8s.io" => false,
        "storage.k8s.io" => !matches!(
            &*resource.plural,
            "storageclasses" | "volumeattributesclasses"
        ),
        _ => true,
    }
}

/// Whether a `PUT` on a name that is not there makes the object (`AllowCreateOnUpdate` upstream).
pub(super) fn may_create_on_update(resource: &Resource) -> bool {
    match &*resource.group {
        "" => matches!(
            &*resource.plural,
            "endpoints" | "events" | "limitranges" | "services"
        ),
        "rbac.authorization.k8s.io" | "coordination.k8s.io" | "events.k8s.io" | "node.k8s.io" => {
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use muster_machinery::resources;
    use serde_json::json;

    use super::*;

    #[test]
    fn controllers_may_replace_what_upstream_lets_them_replace_unread() {
        let asks = |group, plural| needs_version(resources::find(group, "v1", plural).unwrap());
        // kube-controller-manager reuses the name of an EndpointSlice without its version.
        for (group, plural) in [
            ("discovery.k8s.io", "endpointslices"),
            ("networking.k8s.io", "ingresses"),
            ("resource.k8s.io", "resourceslices"),
            ("", "serviceaccounts"),
            ("storage.k8s.io", "storageclasses"),
        ] {
            assert!(!asks(group, plural), "{plural}");
        }
        for (group, plural) in [
            ("coordination.k8s.io", "leases"),
            ("policy", "poddisruptionbudgets"),
            ("storage.k8s.io", "csinodes"),
            ("node.k8s.io", "runtimeclasses"),
            ("apiextensions.k8s.io", "customresourcedefinitions"),
        ] {
            assert!(asks(group, plural), "{plural}");
        }
    }

    #[test]
    fn what_the_server_owns_survives_a_change() {
        let old = json!({"metadata": {"name": "a", "uid": "u", "creationTimestamp": "t"}});
        let mut new = json!({"metadata": {"name": "a", "uid": "other", "generation": 9}});
        carry_over(&mut new, &old).unwrap();
        assert_eq!(new, old);
    }

    #[test]
    fn only_what_is_asked_for_counts_as_a_generation() {
        let old = json!({"metadata": {"labels": {}}, "spec": {"a": 1}, "status": {"b": 1}});
        let same = json!({"metadata": {"labels": {"x": "y"}}, "spec": {"a": 1}, "status": {}});
        assert!(!asks_differently(&same, &old));
        assert!(asks_differently(&json!({"spec": {"a": 2}}), &old));
    }
}
