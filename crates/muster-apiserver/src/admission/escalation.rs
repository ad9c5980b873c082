//! RBAC's guard against escalation: nobody writes a role with rights, or binds a role of rights, that they do
//! not have themselves, unless they were given `escalate` or `bind` on it. `system:masters` may.
//!
//! Refuses to know: requests for anything else than roles and bindings.

use muster_machinery::meta::{self, str_at};
use serde_json::Value;

use super::{Admitted, Judged, Operation};
use crate::{
    authz::{Authorizer, MASTERS, PolicyRule, compact, missing_rules, quoted},
    request::ResourceRequest,
};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn admit(authorizer: &Authorizer, request: &Judged<'_>) -> Admitted {
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    let (true, Some(new)) = (writes && request.info.group == GROUP, request.object) else {
        return Ok(());
    };
    if request.user.is_in(MASTERS) {
        return Ok(());
    }
    match request.info.resource.as_str() {
        "roles" | "clusterroles" => role(authorizer, request, new),
        "rolebindings" | "clusterrolebindings" => binding(authorizer, request, new),
        _ => Ok(()),
    }
}

fn role(authorizer: &Authorizer, request: &Judged<'_>, new: &Value) -> Admitted {
    let aggregation = |role: &Value| {
        role.get("aggregationRule")
            .filter(|rule| !rule.is_null())
            .cloned()
    };
    if request
        .old
        .is_some_and(|old| differ_for_collector(new, old))
    {
        return Ok(());
    }
    let rules = PolicyRule::all_of(new);
    let escalate = ResourceRequest {
        name: Some(request.name().to_owned()),
        ..request.info.clone()
    };
    if request
        .also_may(authorizer, "escalate", escalate)
        .is_allowed()
    {
        return Ok(());
    }
    let held = authorizer.rules_for(request.user, request.info.namespace.as_deref());
    let aggregates =
        aggregation(new).is_some() || request.old.is_some_and(|old| aggregation(old).is_some());
    if aggregates && !missing_rules(&held.rules, &everything()).is_empty() {
        return Err(
            request.forbidden("must have cluster-admin privileges to use the aggregationRule")
        );
    }
    confirm(authorizer, request, &rules)
}

/// Whether the two differ in nothing but what the garbage collector has to write. Everything else counts, the
/// labels above all: by its labels a role is taken into others, whoever holds those.
fn differ_for_collector(new: &Value, old: &Value) -> bool {
    let rest = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = meta::metadata_mut(&mut object) {
            for field in [
                "ownerReferences",
                "finalizers",
                "managedFields",
                "resourceVersion",
            ] {
                metadata.remove(field);
            }
        }
        object
    };
    rest(new) == rest(old)
}

/// What an aggregated role can come to contain.
fn everything() -> [PolicyRule; 2] {
    let all = || vec!["*".to_owned()];
    let resources = PolicyRule {
        verbs: all(),
        api_groups: all(),
        resources: all(),
        ..PolicyRule::default()
    };
    let paths = PolicyRule {
        verbs: all(),
        non_resource_urls: all(),
        ..PolicyRule::default()
    };
    [resources, paths]
}

fn binding(authorizer: &Authorizer, request: &Judged<'_>, new: &Value) -> Admitted {
    if request
        .old
        .is_some_and(|old| differ_for_collector(new, old))
    {
        return Ok(());
    }
    let reference = |field| str_at(new, &["roleRef", field]).unwrap_or_default();
    let (kind, name) = (reference("kind"), reference("name"));
    let plural = match kind {
        "Role" => "roles",
        "ClusterRole" => "clusterroles",
        // Validation refuses it in the proper words.
        _ => return Ok(()),
    };
    let bind = ResourceRequest {
        group: GROUP.to_owned(),
        version: "*".to_owned(),
        resource: plural.to_owned(),
        namespace: request.info.namespace.clone(),
        name: Some(name.to_owned()),
        ..ResourceRequest::default()
    };
    if request.also_may(authorizer, "bind", bind).is_allowed() {
        return Ok(());
    }
    match authorizer.rules_of_role(kind, name, request.info.namespace.as_deref()) {
        Ok(rules) => confirm(authorizer, request, &rules),
        // Without the role nobody can tell what is given away.
        Err(missing) => Err(request.forbidden(&missing)),
    }
}

fn confirm(authorizer: &Authorizer, request: &Judged<'_>, wanted: &[PolicyRule]) -> Admitted {
    let held = authorizer.rules_for(request.user, request.info.namespace.as_deref());
    let missing = missing_rules(&held.rules, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let user = request.user;
    let mut why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        quoted(&user.groups),
        compact(&missing).join("\n")
    );
    if !held.errors.is_empty() {
        why.push_str(&format!(
            "; resolution errors: [{}]",
            held.errors.join(", ")
        ));
    }
    Err(request.forbidden(&why))
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

    fn by(rules: Value) -> Bench {
        let objects = sample::grant("u", "default", rules);
        let target = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "reader"}, "rules": [read("secrets")],
        });
        Bench::new(objects.into_iter().chain([namespace("default"), target]))
            .by(UserInfo::new("u", ["g"]))
    }

    fn read(resource: &str) -> Value {
        json!({"verbs": ["get"], "apiGroups": [""], "resources": [resource]})
    }

    fn role(rules: Value) -> Value {
        json!({"metadata": {"name": "r", "namespace": "default"}, "rules": rules})
    }

    fn binding(role: &str) -> Value {
        json!({
            "metadata": {"name": "b", "namespace": "default"},
            "roleRef": {"kind": "ClusterRole", "name": role, "apiGroup": GROUP},
            "subjects": [{"kind": "User", "name": "someone"}],
        })
    }

    const ROLES: &str = "default/roles.rbac.authorization.k8s.io";
    const BINDINGS: &str = "default/rolebindings.rbac.authorization.k8s.io";

    #[test]
    fn a_role_holds_no_more_than_its_author() {
        let bench = by(json!([read("pods")]));
        assert!(bench.create(ROLES, role(json!([read("pods")]))).is_ok());
        let refused = bench.create(ROLES, role(json!([read("pods"), read("secrets")])));
        assert_eq!(
            refused.expect_err("refused").message(),
            "roles.rbac.authorization.k8s.io \"r\" is forbidden: user \"u\" (groups=[\"g\"]) is attempting to \
             grant RBAC permissions not currently held:\n\
             {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}"
        );
    }

    #[test]
    fn a_binding_gives_no_more_than_its_author_has() {
        assert!(
            by(json!([read("pods")]))
                .create(BINDINGS, binding("reader"))
                .is_err()
        );
        assert!(
            by(json!([read("secrets")]))
                .create(BINDINGS, binding("reader"))
                .is_ok()
        );
    }

    #[test]
    fn escalate_and_bind_lift_the_limit() {
        let right = |verb: &str, resource: &str| json!([{"verbs": [verb], "apiGroups": [GROUP], "resources": [resource]}]);
        let escalating = by(right("escalate", "roles"));
        assert!(
            escalating
                .create(ROLES, role(json!([read("secrets")])))
                .is_ok()
        );
        let binder = by(right("bind", "clusterroles"));
        assert!(binder.create(BINDINGS, binding("reader")).is_ok());
    }

    #[test]
    fn a_binding_to_a_role_that_is_not_there_is_refused() {
        let refused = by(json!([]))
            .create(BINDINGS, binding("absent"))
            .expect_err("refused");
        assert!(
            refused.message().ends_with("\"absent\" not found"),
            "{refused}"
        );
    }

    /// With the label of an aggregate, a role's rights reach everybody who holds that aggregate.
    #[test]
    fn a_role_is_not_relabelled_by_one_who_does_not_hold_it() {
        let target = "-/clusterroles.rbac.authorization.k8s.io/all";
        let old = json!({"metadata": {"name": "all"}, "rules": [read("secrets")]});
        let mut new = old.clone();
        new["metadata"]["labels"] = json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"});
        assert!(
            by(json!([]))
                .update(target, old.clone(), new.clone())
                .is_err()
        );
        let holder = sample::grant_everywhere("User", "u", json!([read("secrets")]));
        let bench = Bench::new(holder.into_iter().chain([namespace("default")]))
            .by(UserInfo::new("u", ["g"]));
        assert!(bench.update(target, old, new).is_ok());
    }

    #[test]
    fn the_collector_may_release_a_role_that_it_does_not_hold() {
        let target = format!("{ROLES}/r");
        let mut old = role(json!([read("secrets")]));
        old["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
        let mut new = old.clone();
        new["metadata"]["finalizers"] = json!([]);
        assert!(by(json!([])).update(&target, old.clone(), new).is_ok());
        let mut widened = old.clone();
        widened["rules"] = json!([read("secrets"), read("nodes")]);
        assert!(by(json!([])).update(&target, old, widened).is_err());
    }

    /// Rules that did not count while the role was a sum count from then on.
    #[test]
    fn a_role_stops_being_a_sum_by_the_hand_of_one_with_all_rights_only() {
        let target = "-/clusterroles.rbac.authorization.k8s.io/sum";
        let new = json!({"metadata": {"name": "sum"}, "rules": []});
        let mut old = new.clone();
        old["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
        assert!(by(json!([read("pods")])).update(target, old, new).is_err());
    }

    #[test]
    fn an_aggregated_role_takes_all_rights() {
        let target = "clusterroles.rbac.authorization.k8s.io";
        let aggregated = json!({
            "metadata": {"name": "sum"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]},
        });
        let refused = by(json!([read("pods")]))
            .create(target, aggregated)
            .expect_err("refused");
        assert!(
            refused.message().ends_with("to use the aggregationRule"),
            "{refused}"
        );
    }

    #[test]
    fn masters_are_not_asked() {
        let bench = Bench::new([namespace("default")]);
        assert!(bench.create(ROLES, role(json!([read("secrets")]))).is_ok());
    }
}
