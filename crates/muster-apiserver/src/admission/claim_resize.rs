//! PersistentVolumeClaimResize: only a bound claim grows, and only if its class allows it.
//!
//! Refuses to know: who makes the volume larger.

use muster_machinery::{meta, quantity::Quantity};
use serde_json::Value;

use super::{Admitted, Judged, Operation};
use crate::request::ObjectReader;

pub(super) fn admit(reader: &dyn ObjectReader, request: &Judged<'_>) -> Admitted {
    let is_change = request.operation == Operation::Update
        && request.is_about("", "persistentvolumeclaims")
        && request.subresource().is_empty();
    let (Some(new), Some(old)) = (request.object, request.old) else {
        return Ok(());
    };
    if !is_change || size(new) <= size(old) {
        return Ok(());
    }
    if meta::str_at(old, &["status", "phase"]) != Some("Bound") {
        return Err(request.forbidden("Only bound persistent volume claims can be expanded"));
    }
    let class = class(new);
    let grows = !class.is_empty()
        && class == self::class(old)
        && reader
            .get("storage.k8s.io", "storageclasses", None, class)
            .is_some_and(|class| class.get("allowVolumeExpansion") == Some(&Value::Bool(true)));
    if grows {
        return Ok(());
    }
    Err(request.forbidden(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
    ))
}

fn size(claim: &Value) -> Quantity {
    meta::at(claim, &["spec", "resources", "requests", "storage"])
        .and_then(|size| Quantity::from_json(size).ok())
        .unwrap_or(Quantity::ZERO)
}

fn class(claim: &Value) -> &str {
    meta::annotation(claim, "volume.beta.kubernetes.io/storage-class")
        .or_else(|| meta::str_at(claim, &["spec", "storageClassName"]))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::admission::harness::{Bench, namespace};

    #[test]
    fn a_claim_grows_when_it_is_bound_and_its_class_lets_it() {
        let class = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": "elastic"}, "allowVolumeExpansion": true,
        });
        let bench = Bench::new([namespace("default"), class]);
        let claim = |class: &str, size: &str, phase: &str| {
            json!({
                "metadata": {"name": "c"}, "status": {"phase": phase},
                "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}},
            })
        };
        let grow = |class, phase| {
            let (old, new) = (claim(class, "1Gi", phase), claim(class, "2Gi", phase));
            let target = "default/persistentvolumeclaims/c";
            bench
                .update(target, old, new)
                .map_err(|refused| refused.message().to_owned())
        };
        assert!(grow("elastic", "Bound").is_ok());
        let refused = grow("elastic", "Pending").expect_err("refused");
        assert!(
            refused.contains("Only bound persistent volume claims"),
            "{refused}"
        );
        let refused = grow("stiff", "Bound").expect_err("refused");
        assert!(refused.contains("must support resize"), "{refused}");
        let same = claim("stiff", "1Gi", "Bound");
        let target = "default/persistentvolumeclaims/c";
        assert!(bench.update(target, same.clone(), same).is_ok());
    }
}
