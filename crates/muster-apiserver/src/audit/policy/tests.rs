//! Which rule decides, and which policies cannot be meant.

use http::Method;

use super::*;

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:kube-proxy"]
  verbs: ["watch"]
  resources:
  - group: ""
    resources: ["endpoints", "services"]
- level: None
  userGroups: ["system:authenticated"]
  nonResourceURLs: ["/api*", "/version"]
- level: Request
  resources:
  - resources: ["configmaps"]
    resourceNames: ["controller-leader"]
  namespaces: ["kube-system"]
- level: Metadata
  resources:
  - group: ""
    resources: ["secrets", "pods/*", "*/status"]
- level: RequestResponse
  omitManagedFields: true
  omitStages: [ResponseStarted]
  resources:
  - group: "*"
    resources: ["deployments"]
"#;

fn level(user: &str, method: Method, path: &str) -> Level {
    let policy = AuditPolicy::parse(POLICY).unwrap();
    let user = UserInfo::new(user, ["system:authenticated"]);
    let (path, query) = path
        .split_once('?')
        .map_or((path, None), |(p, q)| (p, Some(q)));
    policy
        .scope(Some(&user), &RequestInfo::parse(&method, path, query))
        .level
}

#[test]
fn the_first_rule_that_matches_decides() {
    let get = Method::GET;
    let cases = [
        ("system:kube-proxy", "/api/v1/services?watch=1", Level::None),
        ("u", "/version", Level::None),
        ("u", "/apis", Level::None),
        ("u", "/metrics", Level::None),
        (
            "u",
            "/api/v1/namespaces/kube-system/configmaps/controller-leader",
            Level::Request,
        ),
        (
            "u",
            "/api/v1/namespaces/default/configmaps/controller-leader",
            Level::None,
        ),
        ("u", "/api/v1/namespaces/default/secrets/s", Level::Metadata),
        (
            "u",
            "/api/v1/namespaces/default/pods/p/log",
            Level::Metadata,
        ),
        (
            "u",
            "/api/v1/namespaces/default/services/s/status",
            Level::Metadata,
        ),
        ("u", "/api/v1/namespaces/default/services/s", Level::None),
        (
            "u",
            "/apis/apps/v1/namespaces/default/deployments/d",
            Level::RequestResponse,
        ),
        (
            "u",
            "/apis/apps/v1/namespaces/default/deployments/d/scale",
            Level::None,
        ),
    ];
    for (user, path, expected) in cases {
        assert_eq!(level(user, get.clone(), path), expected, "{user} {path}");
    }
}

#[test]
fn a_rule_adds_to_the_stages_that_the_policy_omits() {
    let policy = AuditPolicy::parse(POLICY).unwrap();
    let path = "/apis/apps/v1/deployments";
    let info = RequestInfo::parse(&Method::GET, path, None);
    let scope = policy.scope(None, &info);
    assert_eq!(
        scope.omit_stages,
        [Stage::RequestReceived, Stage::ResponseStarted]
    );
    assert!(scope.omit_managed_fields);
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    let rule =
        |rule: &str| format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {rule}\n");
    for (text, expected) in [
        (String::new(), "it cannot be read: it is empty"),
        (
            "kind: Policy\napiVersion: audit.k8s.io/v1beta1".to_owned(),
            "it holds \"audit.k8s.io/v1beta1\", kind \"Policy\"; wanted is \"audit.k8s.io/v1\", kind \"Policy\"",
        ),
        (rule("users: []"), "rules[0].level: Required value"),
        (
            rule("level: All"),
            "rules[0].level: Unsupported value: \"All\": supported values: \"Metadata\", \"None\", \"Request\", \"RequestResponse\"",
        ),
        (
            rule("{level: None, user: [a]}"),
            "rules[0].user: unknown field",
        ),
        (
            rule("{level: None, nonResourceURLs: ['/a*b']}"),
            "rules[0].nonResourceURLs[0]: non-resource URL wildcards '*' must be the final character of the rule",
        ),
        (
            rule("{level: None, nonResourceURLs: ['/a'], namespaces: [name]}"),
            "rules[0].nonResourceURLs: rules cannot apply to both regular resources and non-resource URLs",
        ),
        (
            rule("{level: None, resources: [{resourceNames: [a]}]}"),
            "rules[0].resources.resourceNames: using resourceNames requires at least one resource",
        ),
        (
            rule("{level: None, omitStages: [Never]}"),
            "rules[0].omitStages: Invalid value: \"Never\": allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic",
        ),
    ] {
        assert_eq!(AuditPolicy::parse(&text).unwrap_err().to_string(), expected);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]
    #[test]
    fn no_text_makes_it_panic(text in "[ -~\n]{0,200}") {
        let _ = AuditPolicy::parse(&text);
        let _ = AuditPolicy::parse(&format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {text}"));
    }
}
