//! OwnerReferencesPermissionEnforcement: whoever names another owner for a stored object could have deleted
//! it, and whoever makes an owner wait for its dependents could have changed that owner.
//!
//! Refuses to know: garbage collection itself.

use muster_machinery::{
    crd::Definition,
    gvk::split_api_version,
    meta::{self, str_at},
    resources::{self, Resource},
};
use serde_json::Value;

use super::{Admitted, Judged, Operation};
use crate::{
    authz::{Authorizer, Decision},
    custom::{DEFINITIONS, GROUP},
    request::{ObjectReader, ResourceRequest},
};

pub(super) fn admit(
    reader: &dyn ObjectReader,
    authorizer: &Authorizer,
    request: &Judged<'_>,
) -> Admitted {
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    let (true, Some(new)) = (writes, request.object) else {
        return Ok(());
    };
    // The kubelet writes whole pods to this subresource; owners are not taken from it.
    if request.is_about("", "pods") && request.subresource() == "status" {
        return Ok(());
    }
    let old = request.old.unwrap_or(&Value::Null);
    if meta::owner_references(new) == meta::owner_references(old) {
        return Ok(());
    }
    if request.operation == Operation::Update {
        may_delete(authorizer, request)?;
    }
    let blocking = |object| {
        meta::owner_references(object)
            .iter()
            .filter(|owner| owner.get("blockOwnerDeletion") == Some(&Value::Bool(true)))
    };
    let uid = |owner: &Value| str_at(owner, &["uid"]).unwrap_or_default().to_owned();
    let known: Vec<String> = blocking(old).map(uid).collect();
    blocking(new)
        .filter(|owner| !known.contains(&uid(owner)))
        .try_for_each(|owner| may_block(reader, authorizer, request, owner))
}

fn may_delete(authorizer: &Authorizer, request: &Judged<'_>) -> Admitted {
    let own = ResourceRequest {
        subresource: None,
        name: Some(request.name().to_owned()),
        ..request.info.clone()
    };
    match request.also_may(authorizer, "delete", own) {
        Decision::Allow => Ok(()),
        Decision::Deny { reason } => Err(request.forbidden(&format!(
            "cannot set an ownerRef on a resource you can't delete: {reason}, <nil>"
        ))),
    }
}

/// The resource of a kind, built in or of a definition that is established.
fn resource_of(
    reader: &dyn ObjectReader,
    group: &str,
    version: &str,
    kind: &str,
) -> Option<Resource> {
    if let Some(resource) = resources::find_kind(group, version, kind) {
        return Some(resource.clone());
    }
    let definitions = reader.list(GROUP, DEFINITIONS, None);
    let mut of_group = definitions
        .iter()
        .filter(|object| str_at(object, &["spec", "group"]) == Some(group));
    of_group.find_map(|object| {
        let definition = Definition::parse(object);
        let mut served = definition.versions.iter().filter(|one| one.served);
        let served = served.find(|one| one.name == version)?;
        let is_meant = definition.is("Established") && definition.accepted.kind == kind;
        is_meant.then(|| definition.resource(served, ""))
    })
}

fn may_block(
    reader: &dyn ObjectReader,
    authorizer: &Authorizer,
    request: &Judged<'_>,
    owner: &Value,
) -> Admitted {
    let text = |field| str_at(owner, &[field]).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let found = split_api_version(version).and_then(|(group, version)| {
        let resource = resource_of(reader, group, version, kind)?;
        Some((group, version, resource))
    });
    let Some((group, version, resource)) = found else {
        return Err(request.forbidden(&format!(
            "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion \
             {version} Kind {kind}: no matches for kind {kind:?} in version {version:?}"
        )));
    };
    let finalizers = ResourceRequest {
        group: group.to_owned(),
        version: version.to_owned(),
        resource: resource.plural.to_string(),
        subresource: Some("finalizers".to_owned()),
        namespace: resource.namespaced.then(|| request.namespace().to_owned()),
        name: Some(text("name").to_owned()),
        ..ResourceRequest::default()
    };
    match request.also_may(authorizer, "update", finalizers) {
        Decision::Allow => Ok(()),
        Decision::Deny { reason } => Err(request.forbidden(&format!(
            "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set \
             finalizers on: {reason}, <nil>"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        admission::harness::{Bench, namespace},
        authz::sample,
        request::UserInfo,
    };

    fn editor(rules: Value) -> Bench {
        let bench = Bench::new(
            sample::grant("u", "default", rules)
                .into_iter()
                .chain([namespace("default")]),
        );
        bench.by(UserInfo::new("u", []))
    }

    fn owned(block: bool) -> Value {
        json!({"metadata": {"name": "c", "ownerReferences": [{
            "apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "1", "blockOwnerDeletion": block,
        }]}})
    }

    fn rule(verb: &str, resource: &str) -> Value {
        json!({"verbs": [verb], "apiGroups": [""], "resources": [resource]})
    }

    #[test]
    fn naming_an_owner_of_a_stored_object_takes_the_right_to_delete_it() {
        let target = "default/configmaps/c";
        let free = json!({"metadata": {"name": "c"}});
        let refused = editor(json!([])).update(target, free.clone(), owned(false));
        assert_eq!(
            refused.expect_err("refused").message(),
            r#"configmaps "c" is forbidden: cannot set an ownerRef on a resource you can't delete: , <nil>"#
        );
        let deleter = editor(json!([rule("delete", "configmaps")]));
        assert!(deleter.update(target, free, owned(false)).is_ok());
        assert!(
            editor(json!([]))
                .update(target, owned(true), owned(true))
                .is_ok()
        );
    }

    #[test]
    fn blocking_an_owner_takes_the_right_to_its_finalizers() {
        let target = "default/configmaps";
        assert!(editor(json!([])).create(target, owned(false)).is_ok());
        let refused = editor(json!([]))
            .create(target, owned(true))
            .expect_err("refused");
        assert!(
            refused.message().contains("can't set finalizers on"),
            "{refused}"
        );
        let allowed = editor(json!([rule("update", "secrets/finalizers")]));
        assert!(allowed.create(target, owned(true)).is_ok());
    }

    #[test]
    fn an_owner_of_a_defined_kind_can_be_blocked_by_who_may_write_its_finalizers() {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "wishes.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced",
                "names": {"kind": "Wish", "plural": "wishes"},
                "versions": [{"name": "v1", "served": true, "storage": true}],
            },
            "status": {
                "acceptedNames": {"kind": "Wish", "plural": "wishes"},
                "conditions": [{"type": "Established", "status": "True"}],
            },
        });
        let owned = json!({"metadata": {"name": "c", "ownerReferences": [{
            "apiVersion": "example.com/v1", "kind": "Wish", "name": "w", "uid": "1",
            "blockOwnerDeletion": true, "controller": true,
        }]}});
        let may = |rules: Value| {
            let granted = sample::grant("u", "default", rules).into_iter();
            let objects = granted.chain([namespace("default"), definition.clone()]);
            let bench = Bench::new(objects).by(UserInfo::new("u", []));
            bench.create("default/configmaps", owned.clone())
        };
        let rule = json!({"verbs": ["update"], "apiGroups": ["example.com"], "resources": ["wishes/finalizers"]});
        assert!(may(json!([rule])).is_ok());
        let refused = may(json!([])).expect_err("refused");
        assert!(
            refused.message().contains("can't set finalizers on"),
            "{refused}"
        );
    }

    #[test]
    fn an_owner_of_an_unknown_kind_cannot_be_blocked() {
        let mut object = owned(true);
        object["metadata"]["ownerReferences"][0]["kind"] = "Unicorn".into();
        let refused = editor(json!([]))
            .create("default/configmaps", object)
            .expect_err("refused");
        assert!(
            refused.message().contains("cannot find RESTMapping"),
            "{refused}"
        );
    }
}
