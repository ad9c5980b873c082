//! Admission webhooks: called as configured, over TLS, and what becomes of their answers.

use serde_json::{Value, json};

use crate::{
    harness::{CONFIG_MAPS, Client, Cluster, config_map},
    webhook_server::{Webhook, configuration, patched},
};

const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

async fn validate(admin: &Client<'_>, hooks: Value) {
    let one = configuration("ValidatingWebhookConfiguration", "v", hooks);
    admin.post(VALIDATING, &one).await.ok();
}

async fn mutate(admin: &Client<'_>, name: &str, hooks: Value) {
    let one = configuration("MutatingWebhookConfiguration", name, hooks);
    admin.post(MUTATING, &one).await.ok();
}

fn allow(_: &Value) -> Value {
    json!({"allowed": true})
}

#[tokio::test]
async fn a_webhook_is_asked_in_full_and_its_refusal_reaches_the_client() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let webhook = Webhook::start(|request| {
        if request["object"]["data"]["a"] == "bad" {
            return json!({"allowed": false, "status": {
                "code": 418, "reason": "Teapot", "message": "bad data",
                "details": {"causes": [{"message": "because"}]},
            }});
        }
        json!({"allowed": true, "warnings": ["mind the gap"]})
    })
    .await;
    validate(&admin, json!([webhook.hook("deny.example.com")])).await;

    let mut bad = config_map("c");
    bad["data"]["a"] = "bad".into();
    let refused = admin.post(CONFIG_MAPS, &bad).await;
    let status = refused.json();
    assert_eq!(refused.code, 418);
    assert_eq!(status["reason"], "Teapot");
    assert_eq!(
        status["message"],
        "admission webhook \"deny.example.com\" denied the request: bad data"
    );
    assert_eq!(status["details"]["causes"][0]["message"], "because");

    let made = admin.post(CONFIG_MAPS, &config_map("c")).await;
    assert_eq!(made.headers["warning"], "299 - \"mind the gap\"");
    admin
        .merge(&format!("{CONFIG_MAPS}/c"), &json!({"data": {"b": "2"}}))
        .await
        .ok();
    admin
        .delete(&format!("{CONFIG_MAPS}/c"), &Value::Null)
        .await
        .ok();

    let asked = webhook.asked();
    let told: Vec<_> = asked
        .iter()
        .map(|one| one["operation"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["CREATE", "CREATE", "UPDATE", "DELETE"]);
    let create = &asked[1];
    assert_eq!(create["_path"], "/review?timeout=10s");
    assert_eq!(
        create["kind"],
        json!({"group": "", "version": "v1", "kind": "ConfigMap"})
    );
    assert_eq!(
        create["requestResource"],
        json!({"group": "", "version": "v1", "resource": "configmaps"})
    );
    assert_eq!(
        (&create["name"], &create["namespace"]),
        (&json!("c"), &json!("default"))
    );
    assert_eq!(create["userInfo"]["username"], "admin");
    assert_eq!(create["options"]["kind"], "CreateOptions");
    assert_eq!(
        (&create["oldObject"], &create["dryRun"]),
        (&Value::Null, &json!(false))
    );
    assert_eq!(asked[2]["oldObject"]["data"], json!({"a": "1"}));
    assert_eq!(asked[2]["object"]["data"], json!({"a": "1", "b": "2"}));
    assert_eq!(asked[2]["options"]["kind"], "PatchOptions");
    assert_eq!(asked[3]["object"], Value::Null);
    assert_eq!(asked[3]["oldObject"]["metadata"]["name"], "c");
    assert_eq!(webhook.connections(), 1, "the connection is used again");
}

#[tokio::test]
async fn patches_are_applied_in_the_order_of_names_and_defaults_follow() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let first = Webhook::start(|_| {
        patched(json!([{"op": "add", "path": "/data/order", "value": "first"}]))
    })
    .await;
    let second = Webhook::start(|request| {
        let seen = request["object"]["data"]["order"]
            .as_str()
            .unwrap_or("none");
        patched(json!([{"op": "add", "path": "/data/order", "value": format!("{seen}, second")}]))
    })
    .await;
    let judge = Webhook::start(allow).await;
    mutate(&admin, "b", json!([second.hook("second.example.com")])).await;
    mutate(&admin, "a", json!([first.hook("first.example.com")])).await;
    validate(&admin, json!([judge.hook("judge.example.com")])).await;
    let made = admin.post(CONFIG_MAPS, &config_map("c")).await.ok();
    assert_eq!(made["data"]["order"], "first, second");
    assert_eq!(judge.asked()[0]["object"]["data"]["order"], "first, second");
    let owned = made["metadata"]["managedFields"].to_string();
    assert!(
        !owned.contains("f:order"),
        "what webhooks add belongs to nobody: {owned}"
    );

    let sidecar = Webhook::start(|_| {
        let container = json!({"name": "side", "image": "side:1"});
        patched(json!([{"op": "add", "path": "/spec/initContainers", "value": [container]}]))
    })
    .await;
    let mut hook = sidecar.hook("sidecar.example.com");
    hook["rules"][0]["resources"] = json!(["pods"]);
    mutate(&admin, "c", json!([hook])).await;
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pod = admin
        .post("/api/v1/namespaces/default/pods", &pod)
        .await
        .ok();
    let side = &pod["spec"]["initContainers"][0];
    assert_eq!(side["terminationMessagePolicy"], "File", "defaulted");
    assert_eq!(
        side["volumeMounts"][0]["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount",
        "the built-in plugins are asked again"
    );
}

#[tokio::test]
async fn a_webhook_that_wants_it_is_asked_again_after_later_changes() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let careful = Webhook::start(allow).await;
    let once = Webhook::start(allow).await;
    let late = Webhook::start(|request| match request["object"]["data"].get("late") {
        Some(_) => allow(request),
        None => patched(json!([{"op": "add", "path": "/data/late", "value": "x"}])),
    })
    .await;
    let mut hook = careful.hook("careful.example.com");
    hook["reinvocationPolicy"] = "IfNeeded".into();
    let hooks = json!([
        hook,
        once.hook("once.example.com"),
        late.hook("late.example.com")
    ]);
    mutate(&admin, "m", hooks).await;
    admin.post(CONFIG_MAPS, &config_map("c")).await.ok();
    let seen = |one: &Value| one["object"]["data"].get("late").is_some();
    assert_eq!(
        careful.asked().iter().map(seen).collect::<Vec<_>>(),
        [false, true]
    );
    assert_eq!((once.asked().len(), late.asked().len()), (1, 1));
}

#[tokio::test]
async fn rules_and_selectors_say_who_is_asked() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let labelled = json!({"metadata": {"name": "labelled", "labels": {"watched": "yes"}}});
    admin.post("/api/v1/namespaces", &labelled).await.ok();
    let webhook = Webhook::start(|request| {
        json!({
            "allowed": false, "status": {"message": request["resource"]["resource"]},
        })
    })
    .await;
    let selector = json!({"matchLabels": {"watched": "yes"}});
    let mut by_namespace = webhook.hook("namespace.example.com");
    by_namespace["namespaceSelector"] = selector.clone();
    let mut by_object = webhook.hook("object.example.com");
    by_object["objectSelector"] = selector;
    let mut by_scope = webhook.hook("scope.example.com");
    by_scope["rules"] = json!([{
        "operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"],
        "resources": ["namespaces", "nodes/status"], "scope": "Namespaced",
    }]);
    let mut subresources = webhook.hook("sub.example.com");
    subresources["rules"] = json!([{
        "operations": ["UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"],
        "resources": ["*/scale"],
    }]);
    validate(
        &admin,
        json!([by_namespace, by_object, by_scope, subresources]),
    )
    .await;

    admin.post(CONFIG_MAPS, &config_map("free")).await.ok();
    let there = "/api/v1/namespaces/labelled/configmaps";
    assert_eq!(admin.post(there, &config_map("c")).await.code, 400);
    let mut object = config_map("c");
    object["metadata"]["labels"] = json!({"watched": "yes"});
    assert_eq!(admin.post(CONFIG_MAPS, &object).await.code, 400);
    let other = json!({"metadata": {"name": "other"}});
    admin.post("/api/v1/namespaces", &other).await.ok();

    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    let labels = json!({"a": "b"});
    let set = json!({"metadata": {"name": "s"}, "spec": {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }});
    admin.post(sets, &set).await.ok();
    let scaled = admin
        .merge(
            &format!("{sets}/s/scale"),
            &json!({"spec": {"replicas": 3}}),
        )
        .await;
    assert_eq!(scaled.code, 400);
    let asked = webhook.asked();
    let last = asked.last().unwrap();
    assert_eq!(last["subResource"], "scale");
    assert_eq!(
        last["kind"],
        json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
    );
    assert_eq!(last["object"]["spec"]["replicas"], 3);
    assert_eq!(last["oldObject"]["spec"]["replicas"], 1);
}

#[tokio::test]
async fn another_version_of_the_same_objects_counts_unless_exactness_is_wanted() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let webhook = Webhook::start(allow).await;
    let scaler = |name: &str| {
        json!({
            "metadata": {"name": name},
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}},
        })
    };
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    for (policy, asked) in [("Exact", 0), ("Equivalent", 1)] {
        let mut hook = webhook.hook("scaler.example.com");
        hook["matchPolicy"] = policy.into();
        hook["rules"] = json!([{
            "operations": ["CREATE"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"],
            "resources": ["horizontalpodautoscalers"],
        }]);
        let one = configuration("MutatingWebhookConfiguration", "m", json!([hook]));
        admin.delete(&format!("{MUTATING}/m"), &Value::Null).await;
        admin.post(MUTATING, &one).await.ok();
        let made = admin.post(path, &scaler(&policy.to_lowercase())).await.ok();
        assert_eq!(made["apiVersion"], "autoscaling/v2");
        assert_eq!(webhook.asked().len(), asked, "{policy}");
    }
    let asked = &webhook.asked()[0];
    assert_eq!(asked["kind"]["version"], "v1");
    assert_eq!(asked["requestKind"]["version"], "v2");
    assert_eq!(asked["object"]["apiVersion"], "autoscaling/v1");
}

#[tokio::test]
async fn a_webhook_that_cannot_be_asked_fails_the_request_or_is_passed_over() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let webhook = Webhook::start(allow).await;
    let other = Webhook::start(allow).await;
    let silent = Webhook::start(|_| json!({"_silent": true})).await;
    let broken = Webhook::start(|_| json!({"_http": 500})).await;
    let liar = Webhook::start(|_| json!({"uid": "another", "allowed": true})).await;
    let gone = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let mut stranger = webhook.hook("stranger.example.com");
    stranger["clientConfig"]["caBundle"] = other.bundle().into();
    let mut absent = webhook.hook("absent.example.com");
    absent["clientConfig"]["url"] = format!("https://{gone}/").into();
    let mut late = silent.hook("late.example.com");
    late["timeoutSeconds"] = 1.into();
    let cases = [
        (
            stranger,
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        ),
        (absent, "connect: connection refused"),
        (late, "?timeout=1s\": context deadline exceeded"),
        (
            broken.hook("broken.example.com"),
            "an error on the server (\"broken\") has prevented the request from succeeding",
        ),
        (
            liar.hook("liar.example.com"),
            "received invalid webhook response: expected response.uid=",
        ),
    ];
    for (mut hook, expected) in cases {
        let name = hook["name"].as_str().unwrap().to_owned();
        let one = configuration("ValidatingWebhookConfiguration", "v", json!([hook]));
        admin.post(VALIDATING, &one).await.ok();
        let refused = admin.post(CONFIG_MAPS, &config_map("c")).await;
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(refused.code, 500, "{message}");
        let begin = format!("Internal error occurred: failed calling webhook \"{name}\": ");
        assert!(
            message.starts_with(&begin) && message.contains(expected),
            "{message}"
        );
        hook["failurePolicy"] = "Ignore".into();
        let changed = json!({"webhooks": [hook]});
        admin.merge(&format!("{VALIDATING}/v"), &changed).await.ok();
        admin.post(CONFIG_MAPS, &config_map("c")).await.ok();
        admin
            .delete(&format!("{VALIDATING}/v"), &Value::Null)
            .await
            .ok();
        admin
            .delete(&format!("{CONFIG_MAPS}/c"), &Value::Null)
            .await
            .ok();
    }
    let text = admin.get("/metrics").await.text();
    for expected in [
        r#"apiserver_admission_webhook_rejection_count{name="late.example.com",type="validating",operation="CREATE",error_type="calling_webhook_error",rejection_code="503"} 1"#,
        r#"apiserver_admission_webhook_fail_open_count{name="late.example.com",type="validating"} 1"#,
        r#"apiserver_admission_webhook_request_total{name="broken.example.com",type="validating",operation="CREATE",code="500",rejected="true"} 1"#,
    ] {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
}

#[tokio::test]
async fn a_webhook_behind_a_service_is_found_through_its_endpoints() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let webhook = Webhook::start_as(
        &["hook.default.svc"],
        |_| json!({"allowed": false, "status": {"message": "no"}}),
    )
    .await;
    let mut hook = webhook.hook("service.example.com");
    hook["clientConfig"] = json!({
        "service": {"namespace": "default", "name": "hook", "path": "/ask", "port": 8443},
        "caBundle": webhook.bundle(),
    });
    validate(&admin, json!([hook])).await;
    let message =
        |answer: crate::harness::Answer| answer.json()["message"].as_str().unwrap().to_owned();
    assert_eq!(
        message(admin.post(CONFIG_MAPS, &config_map("c")).await),
        "Internal error occurred: failed calling webhook \"service.example.com\": failed to call webhook: \
         Post \"https://hook.default.svc:8443/ask?timeout=10s\": service \"hook\" not found"
    );
    let service =
        json!({"metadata": {"name": "hook"}, "spec": {"ports": [{"name": "https", "port": 8443}]}});
    admin
        .post("/api/v1/namespaces/default/services", &service)
        .await
        .ok();
    let slice = json!({
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4", "ports": [{"name": "https", "port": webhook.address.port()}],
        "endpoints": [
            {"addresses": ["127.0.0.2"], "conditions": {"ready": false}},
            {"addresses": ["127.0.0.1"], "conditions": {"ready": true}},
        ],
    });
    admin
        .post(
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            &slice,
        )
        .await
        .ok();
    assert_eq!(
        message(admin.post(CONFIG_MAPS, &config_map("c")).await),
        "admission webhook \"service.example.com\" denied the request: no"
    );
    assert_eq!(webhook.asked()[0]["_path"], "/ask?timeout=10s");
}

#[tokio::test]
async fn dry_runs_reach_only_webhooks_without_side_effects_and_write_nothing() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let webhook = Webhook::start(allow).await;
    validate(&admin, json!([webhook.hook("dry.example.com")])).await;
    let path = format!("{CONFIG_MAPS}?dryRun=All");
    admin.post(&path, &config_map("c")).await.ok();
    assert_eq!(webhook.asked()[0]["dryRun"], true);
    assert_eq!(webhook.asked()[0]["options"]["dryRun"], json!(["All"]));
    assert_eq!(admin.get(&format!("{CONFIG_MAPS}/c")).await.code, 404);
}

#[tokio::test]
async fn nobody_is_asked_about_configurations_of_webhooks() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let webhook = Webhook::start(|_| json!({"allowed": false})).await;
    let mut hook = webhook.hook("all.example.com");
    hook["rules"] = json!([{
        "operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"],
    }]);
    validate(&admin, json!([hook])).await;
    assert_eq!(
        admin.post(CONFIG_MAPS, &config_map("c")).await.json()["message"],
        "admission webhook \"all.example.com\" denied the request without explanation"
    );
    admin
        .merge(
            &format!("{VALIDATING}/v"),
            &json!({"metadata": {"labels": {"a": "b"}}}),
        )
        .await
        .ok();
    admin
        .delete(&format!("{VALIDATING}/v"), &Value::Null)
        .await
        .ok();
    admin.post(CONFIG_MAPS, &config_map("c")).await.ok();
}

#[tokio::test]
async fn broken_owners_of_a_webhooks_making_are_put_back_with_a_warning() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let webhook = Webhook::start(|_| {
        patched(json!([
            {"op": "replace", "path": "/metadata/managedFields", "value": [{"manager": "x"}]},
            {"op": "replace", "path": "/metadata/uid", "value": "mine"},
        ]))
    })
    .await;
    mutate(&admin, "m", json!([webhook.hook("owners.example.com")])).await;
    let made = admin.post(CONFIG_MAPS, &config_map("c")).await;
    let warning = made.headers["warning"].to_str().unwrap().to_owned();
    assert!(warning.contains(".metadata.managedFields was in an invalid state after admission"));
    let made = made.ok();
    assert_eq!(made["metadata"]["managedFields"][0]["operation"], "Update");
    assert_ne!(made["metadata"]["uid"], "mine");
}

#[tokio::test]
async fn the_older_form_of_the_question_is_spoken_to_those_who_know_no_other() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let webhook = Webhook::start(|_| json!({"uid": "", "allowed": false})).await;
    let mut hook = webhook.hook("old.example.com");
    hook["admissionReviewVersions"] = json!(["v2", "v1beta1"]);
    validate(&admin, json!([hook])).await;
    assert_eq!(admin.post(CONFIG_MAPS, &config_map("c")).await.code, 400);
    assert_eq!(webhook.asked()[0]["_version"], "admission.k8s.io/v1beta1");
}
