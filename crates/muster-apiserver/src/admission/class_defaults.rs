//! DefaultStorageClass and DefaultIngressClass: who names no class gets the newest of those that are marked as the
//! default.
//!
//! Refuses to know: what classes do.

use muster_machinery::meta;
use serde_json::Value;

use crate::request::ObjectReader;

const DEFAULT_STORAGE: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];
const STORAGE_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const DEFAULT_INGRESS: [&str; 1] = ["ingressclass.kubernetes.io/is-default-class"];
const INGRESS_CLASS: &str = "kubernetes.io/ingress.class";

/// Fills in the class of a new claim.
pub(super) fn storage(reader: &dyn ObjectReader, claim: &mut Value) {
    let says = meta::annotations(claim).is_some_and(|own| own.contains_key(STORAGE_CLASS))
        || meta::at(claim, &["spec", "storageClassName"]).is_some_and(|class| !class.is_null());
    if says {
        return;
    }
    let default = newest_default(
        reader,
        ("storage.k8s.io", "storageclasses"),
        &DEFAULT_STORAGE,
    );
    fill(claim, "storageClassName", default);
}

/// Fills in the class of a new ingress.
pub(super) fn ingress(reader: &dyn ObjectReader, ingress: &mut Value) {
    let says = meta::annotations(ingress).is_some_and(|own| own.contains_key(INGRESS_CLASS))
        || meta::at(ingress, &["spec", "ingressClassName"]).is_some_and(|class| !class.is_null());
    if says {
        return;
    }
    let classes = ("networking.k8s.io", "ingressclasses");
    let default = newest_default(reader, classes, &DEFAULT_INGRESS);
    fill(ingress, "ingressClassName", default);
}

fn fill(object: &mut Value, field: &str, class: Option<String>) {
    if let (Some(class), Some(spec)) = (class, meta::map_mut(object, "spec")) {
        spec.insert(field.to_owned(), class.into());
    }
}

fn newest_default(
    reader: &dyn ObjectReader,
    (group, resource): (&str, &str),
    marks: &[&str],
) -> Option<String> {
    let classes = reader.list(group, resource, None);
    let marked = |class: &Value| {
        let mut marks = marks.iter();
        marks.any(|mark| meta::annotation(class, mark) == Some("true"))
    };
    let created = |class: &Value| meta::creation_timestamp(class);
    let newest = classes.iter().filter(|class| marked(class)).max_by(|a, b| {
        let names = || meta::name(b).cmp(meta::name(a));
        created(a).cmp(&created(b)).then_with(names)
    });
    newest.map(|class| meta::name(class).to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::admission::harness::{Bench, namespace};

    fn class(name: &str, created: &str) -> serde_json::Value {
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {
                "name": name, "creationTimestamp": created,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
        })
    }

    #[test]
    fn a_claim_without_a_class_gets_the_newest_default() {
        let bench = Bench::new([
            namespace("default"),
            class("old", "2026-01-01T00:00:00Z"),
            class("new-b", "2026-02-01T00:00:00Z"),
            class("new-a", "2026-02-01T00:00:00Z"),
        ]);
        for (own, expected) in [
            (json!(null), json!("new-a")),
            (json!(""), json!("")),
            (json!("mine"), json!("mine")),
        ] {
            let claim = json!({"metadata": {"name": "c"}, "spec": {"storageClassName": own}});
            let made = bench
                .create("default/persistentvolumeclaims", claim)
                .expect("admitted");
            assert_eq!(made["spec"]["storageClassName"], expected);
        }
    }

    #[test]
    fn an_ingress_that_says_its_class_in_the_old_way_keeps_it() {
        let class = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": {
                "name": "default", "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"},
            },
        });
        let bench = Bench::new([namespace("default"), class]);
        let ingress = |annotations| json!({"metadata": {"name": "i", "annotations": annotations}, "spec": {}});
        let target = "default/ingresses.networking.k8s.io";
        let made = bench.create(target, ingress(json!({}))).expect("admitted");
        assert_eq!(made["spec"]["ingressClassName"], "default");
        let old = ingress(json!({"kubernetes.io/ingress.class": "nginx"}));
        let made = bench.create(target, old).expect("admitted");
        assert_eq!(made["spec"].get("ingressClassName"), None);
    }
}
