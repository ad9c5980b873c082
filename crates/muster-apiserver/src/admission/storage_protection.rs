//! StorageObjectInUseProtection: new claims and volumes are held back by a finalizer, so that none goes while somebody
//! uses it.
//!
//! Refuses to know: who lets them go; controllers do.

use muster_machinery::meta;
use serde_json::{Value, json};

use super::AdmissionRequest;

const PROTECTED: [(&str, &str, &str); 2] = [
    ("", "persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    ("", "persistentvolumes", "kubernetes.io/pv-protection"),
];

pub(super) fn protect(request: &AdmissionRequest<'_>, object: &mut Value) {
    let mut protected = PROTECTED.iter();
    let Some((_, _, finalizer)) =
        protected.find(|(group, resource, _)| request.creates(group, resource))
    else {
        return;
    };
    if meta::finalizers(object).any(|own| own == *finalizer) {
        return;
    }
    let Some(metadata) = meta::metadata_mut(object) else {
        return;
    };
    let finalizers = metadata.entry("finalizers").or_insert(Value::Null);
    match finalizers.as_array_mut() {
        Some(own) => own.push((*finalizer).into()),
        None => *finalizers = json!([finalizer]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::admission::harness::{Bench, namespace};

    #[test]
    fn claims_and_volumes_are_held_back_once() {
        let bench = Bench::new([namespace("default")]);
        let claim = json!({"metadata": {"name": "c", "finalizers": ["a/b"]}, "spec": {}});
        let target = "default/persistentvolumeclaims";
        let made = bench.create(target, claim).expect("admitted");
        let held = json!(["a/b", "kubernetes.io/pvc-protection"]);
        assert_eq!(made["metadata"]["finalizers"], held);
        let again = bench.create(target, made).expect("admitted");
        assert_eq!(again["metadata"]["finalizers"], held);
        let volume = json!({"metadata": {"name": "v"}, "spec": {}});
        let made = bench.create("persistentvolumes", volume).expect("admitted");
        assert_eq!(
            made["metadata"]["finalizers"][0],
            "kubernetes.io/pv-protection"
        );
    }
}
