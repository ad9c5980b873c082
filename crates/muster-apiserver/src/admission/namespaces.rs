//! NamespaceLifecycle: nothing is made in a namespace that is not there or is going away, and the namespaces
//! of the system stay.
//!
//! Refuses to know: how a namespace is emptied.

use muster_machinery::{
    gvk::GroupResource,
    meta,
    status::{Cause, Status},
};

use super::{Admitted, Judged, Operation};
use crate::request::ObjectReader;

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) fn admit(reader: &dyn ObjectReader, request: &Judged<'_>) -> Admitted {
    if request.is_about("", "namespaces") {
        let refused = request.operation == Operation::Delete && IMMORTAL.contains(&request.name());
        return if refused {
            Err(request.forbidden("this namespace may not be deleted"))
        } else {
            Ok(())
        };
    }
    // Kubernetes answers access reviews for any namespace: whether it exists is not to be found out.
    let is_review = request.is_about("authorization.k8s.io", "localsubjectaccessreviews");
    let wanted = matches!(request.operation, Operation::Create | Operation::Update);
    let Some(name) = request.info.namespace.as_deref() else {
        return Ok(());
    };
    if is_review || !wanted {
        return Ok(());
    }
    let Some(namespace) = reader.get("", "namespaces", None, name) else {
        let resource = GroupResource::new("", "namespaces");
        return Err(Box::new(Status::not_found(resource, name)));
    };
    let terminating = meta::str_at(&namespace, &["status", "phase"]) == Some("Terminating")
        || meta::is_being_deleted(&namespace);
    if request.operation != Operation::Create || !terminating {
        return Ok(());
    }
    let why =
        format!("unable to create new content in namespace {name} because it is being terminated");
    let cause = Cause {
        reason: "NamespaceTerminating".into(),
        message: format!("namespace {name} is being terminated"),
        field: "metadata.namespace".into(),
    };
    Err(Box::new(request.forbidden(&why).with_cause(cause)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::admission::{Operation, harness::Bench};

    fn namespace(name: &str, phase: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "status": {"phase": phase}})
    }

    fn config() -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
    }

    #[test]
    fn nothing_is_created_where_there_is_no_namespace() {
        let refused = Bench::new([])
            .create("none/configmaps", config())
            .expect_err("refused");
        assert_eq!(
            (refused.code(), refused.message()),
            (404, r#"namespaces "none" not found"#)
        );
    }

    #[test]
    fn a_terminating_namespace_takes_changes_but_nothing_new() {
        let bench = Bench::new([namespace("old", "Terminating")]);
        let refused = bench
            .create("old/configmaps", config())
            .expect_err("refused");
        assert_eq!(
            refused.message(),
            r#"configmaps "a" is forbidden: unable to create new content in namespace old because it is being terminated"#
        );
        let causes = &refused.details().expect("details").causes;
        assert_eq!(causes[0].reason, "NamespaceTerminating");
        assert!(bench.update("old/configmaps/a", config(), config()).is_ok());
    }

    #[test]
    fn the_namespaces_of_the_system_cannot_be_deleted() {
        let bench = Bench::new([]);
        for name in [
            "default",
            "kube-system",
            "kube-public",
            "kube-node-lease",
            "mine",
        ] {
            let target = format!("{name}/namespaces/{name}");
            let admitted = bench.run(
                Operation::Delete,
                &target,
                None,
                Some(namespace(name, "Active")),
            );
            assert_eq!(
                admitted.is_ok(),
                matches!(name, "kube-node-lease" | "mine"),
                "{name}"
            );
        }
    }

    #[test]
    fn reviews_do_not_tell_whether_a_namespace_exists() {
        let review = json!({"kind": "LocalSubjectAccessReview"});
        let target = "none/localsubjectaccessreviews.authorization.k8s.io";
        assert!(Bench::new([]).create(target, review).is_ok());
    }
}
