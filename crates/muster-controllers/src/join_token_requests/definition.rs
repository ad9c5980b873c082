//! The CustomResourceDefinition of join token requests.
//!
//! k0smotron's two versions differ in how they name the cluster and in what their status says. Both are served here
//! without a conversion webhook: each version's schema has the fields of both, so that nothing is pruned on the way
//! through the stored version, and a rule says that exactly one way of naming the cluster is used.
//!
//! It refuses to know who applies it.

use super::names::{DEFINITION, GROUP, KIND, PLURAL, STORED_VERSION};
use serde_json::{Value, json};

/// What `expiry` has to be: a duration of Go that is not negative and can be computed with.
const EXPIRY_RULE: &str = r"self.matches('^([+]?([0-9]+([.][0-9]*)?|[.][0-9]+)(ns|us|µs|ms|s|m|h))+$|^0$') && duration(self == '0' ? '0s' : self) >= duration('0s')";
const CLUSTER_RULE: &str = "has(self.clusterRef) != has(self.clusterName)";

/// The definition, ready to be applied.
#[must_use]
pub fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": DEFINITION},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": "JoinTokenRequestList",
                "plural": PLURAL,
                "singular": "jointokenrequest",
                "shortNames": ["jtr"],
            },
            "conversion": {"strategy": "None"},
            "versions": [version("v1beta1", false), version(STORED_VERSION, true)],
        },
    })
}

fn version(name: &str, storage: bool) -> Value {
    json!({
        "name": name,
        "served": true,
        "storage": storage,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            column("Role", ".spec.role", 0),
            column("Cluster", ".status.cluster", 0),
            column("Expiry", ".spec.expiry", 0),
            column("Ready", ".status.conditions[?(@.type==\"Ready\")].status", 0),
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
            column("Reason", ".status.conditions[?(@.type==\"Ready\")].reason", 1),
            column("Expires", ".status.expirationTime", 1),
            column("Token", ".status.tokenID", 1),
        ],
        "schema": {"openAPIV3Schema": {
            "type": "object",
            "description": "A wish for a join token of a cluster. The answer is a Secret of the same name.",
            "required": ["spec"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"type": "object"},
                "spec": spec(),
                "status": status(),
            },
        }},
    })
}

fn column(name: &str, path: &str, priority: i32) -> Value {
    json!({"name": name, "type": "string", "jsonPath": path, "priority": priority})
}

fn spec() -> Value {
    json!({
        "type": "object",
        "description": "Which cluster the token is for, how long it lives, and what it lets machines become.",
        "x-kubernetes-validations": [{
            "rule": CLUSTER_RULE,
            "message": "name the cluster either by clusterRef or by clusterName",
        }],
        "properties": {
            "clusterRef": {
                "type": "object",
                "description": "The cluster, in any namespace.",
                "required": ["name", "namespace"],
                "properties": {
                    "name": {"type": "string", "minLength": 1, "maxLength": 253},
                    "namespace": {"type": "string", "minLength": 1, "maxLength": 63},
                },
            },
            "clusterName": {
                "type": "string",
                "description": "The cluster, in the namespace of the request.",
                "minLength": 1,
                "maxLength": 63,
            },
            "expiry": {
                "type": "string",
                "description": "How long the token lives, as 1.5h, 2h45m or 300ms; 0s is for ever.",
                "default": "0s",
                "maxLength": 32,
                "x-kubernetes-validations": [{
                    "rule": EXPIRY_RULE,
                    "message": "expiry is a duration such as 1h30m that is not negative; 0s is for ever",
                }],
            },
            "role": {
                "type": "string",
                "description": "What a machine becomes with the token.",
                "enum": ["worker", "controller"],
                "default": "worker",
            },
        },
    })
}

fn status() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let old = json!({
        "type": "object",
        "properties": {"reconciliationStatus": {"type": "string"}, "clusterUID": {"type": "string"}},
    });
    json!({
        "type": "object",
        "description": "What became of the wish.",
        "properties": {
            "reconciliationStatus": text("How it went, in words."),
            "tokenID": text("The public half of the token."),
            "clusterUID": text("Which cluster the token is for: the uid of the Cluster, or of kube-system in the target."),
            "cluster": text("The cluster that is meant."),
            "expirationTime": {
                "type": "string", "format": "date-time", "description": "When the token expires; not there for never.",
            },
            "observedGeneration": {"type": "integer", "format": "int64"},
            "conditions": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": condition(),
            },
            "tokens": {
                "type": "array",
                "description": "Every token of this request that may stand in a target cluster. Written before it is made.",
                "items": token(),
            },
            "deprecated": {"type": "object", "properties": {"v1beta1": old}},
        },
    })
}

/// `metav1.Condition`.
fn condition() -> Value {
    json!({
        "type": "object",
        "required": ["type", "status", "lastTransitionTime", "reason", "message"],
        "properties": {
            "type": {"type": "string", "maxLength": 316},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "reason": {"type": "string", "minLength": 1, "maxLength": 1024},
            "message": {"type": "string", "maxLength": 32768},
        },
    })
}

fn token() -> Value {
    json!({
        "type": "object",
        "required": ["id", "namespace", "cluster", "clusterUID", "phase"],
        "properties": {
            "id": {"type": "string"},
            "namespace": {"type": "string"},
            "cluster": {"type": "string"},
            "clusterUID": {"type": "string"},
            "clusterObject": {"type": "boolean"},
            "role": {"type": "string"},
            "expiry": {"type": "string"},
            "format": {"type": "string"},
            "expirationTime": {"type": "string", "format": "date-time"},
            "phase": {"type": "string", "enum": ["Decided", "Delivered", "Ended"]},
            "digest": {"type": "string", "description": "SHA-256 of what the Secret holds."},
            "way": {"type": "string", "description": "Fingerprint of the server and the CA that the token leads to."},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_machinery::crd::{
        Definition, Judged, Schema, coerce, prepare_definition, validate_custom,
        validate_definition,
    };
    use muster_machinery::resources::find;
    use rstest::rstest;

    #[test]
    fn the_definition_is_one_that_an_api_server_takes() {
        let resource = find("apiextensions.k8s.io", "v1", "customresourcedefinitions");
        let mut definition = definition();
        prepare_definition(&mut definition);
        let errors = validate_definition(resource.expect("the resource"), &definition);
        assert!(errors.is_empty(), "{errors:?}");
    }

    /// The object as it is kept, and what is wrong with it.
    #[test]
    fn whoever_has_a_request_explained_reads_what_its_halves_are() {
        let definition = definition();
        for version in definition["spec"]["versions"].as_array().unwrap() {
            let schema = &version["schema"]["openAPIV3Schema"];
            for half in ["spec", "status"] {
                let words = &schema["properties"][half]["description"];
                assert!(
                    words.as_str().is_some_and(|words| !words.is_empty()),
                    "{half}"
                );
            }
        }
    }

    fn judge(version: &str, spec: Value) -> (Value, String) {
        let definition = definition();
        let schema = Definition::schema_in(&definition, version).expect("a schema");
        let schema = Schema::parse(schema).expect("a structural schema");
        let mut object = json!({
            "apiVersion": format!("{GROUP}/{version}"), "kind": KIND, "metadata": {"name": "n"}, "spec": spec,
        });
        coerce(&mut object, &schema);
        let errors = validate_custom(&Judged {
            schema: &schema,
            scale: None,
            object: &object,
            old: None,
        });
        let errors: Vec<String> = errors.iter().map(|error| format!("{error:?}")).collect();
        (object, errors.join("; "))
    }

    #[rstest]
    fn both_versions_take_both_ways_to_name_a_cluster(
        #[values("v1beta1", "v1beta2")] version: &str,
        #[values(
            json!({"clusterName": "c"}),
            json!({"clusterRef": {"name": "c", "namespace": "ns"}})
        )]
        spec: Value,
    ) {
        let (object, errors) = judge(version, spec.clone());
        assert_eq!(errors, "");
        let mut expected = spec;
        expected["expiry"] = json!("0s");
        expected["role"] = json!("worker");
        assert_eq!(object["spec"], expected);
    }

    #[rstest]
    #[case(json!({}), "clusterRef")]
    #[case(json!({"clusterName": "c", "clusterRef": {"name": "c", "namespace": "ns"}}), "clusterRef")]
    #[case(json!({"clusterRef": {"name": "c"}}), "namespace")]
    #[case(json!({"clusterName": "c", "role": "queen"}), "role")]
    #[case(json!({"clusterName": "c", "expiry": 0}), "expiry")]
    fn what_cannot_be_meant_is_refused_at_the_door(#[case] spec: Value, #[case] names: &str) {
        let (_, errors) = judge("v1beta1", spec);
        assert!(errors.contains(names), "{errors:?}");
    }

    #[rstest]
    #[case("0s", true)]
    #[case("0", true)]
    #[case("1h", true)]
    #[case("1.5h", true)]
    #[case("2h45m", true)]
    #[case("300ms", true)]
    #[case("-1h", false)]
    #[case("1d", false)]
    #[case("1h30", false)]
    #[case("", false)]
    #[case("1h; rm -rf /", false)]
    #[case("$(reboot)", false)]
    #[case("99999999999h", false)]
    fn an_expiry_is_a_duration_of_go_that_is_not_negative(
        #[case] expiry: &str,
        #[case] is_taken: bool,
    ) {
        let (_, errors) = judge("v1beta2", json!({"clusterName": "c", "expiry": expiry}));
        assert_eq!(errors.is_empty(), is_taken, "{errors}");
    }
}
