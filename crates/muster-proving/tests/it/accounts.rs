//! What accounts get from the controllers and the server together: tokens in Secrets, and the sum of roles.

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use muster_proving::{World, until};
use serde_json::json;

fn object<K: k8s_openapi::serde::de::DeserializeOwned>(value: serde_json::Value) -> K {
    serde_json::from_value(value).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_an_account_gets_a_token_that_is_good_until_the_account_goes() {
    let world = World::start().await;
    let accounts = Api::<ServiceAccount>::namespaced(world.admin(), "default");
    let secrets = Api::<Secret>::namespaced(world.admin(), "default");
    let account = object(json!({"metadata": {"name": "robot"}}));
    accounts
        .create(&PostParams::default(), &account)
        .await
        .unwrap();
    let secret = object(json!({
        "metadata": {
            "name": "robot-token",
            "annotations": {"kubernetes.io/service-account.name": "robot"},
        },
        "type": "kubernetes.io/service-account-token",
    }));
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    let token = until("the token", async || {
        let data = secrets.get("robot-token").await.unwrap().data?;
        let token = data.get("token")?.0.clone();
        (data.contains_key("ca.crt") && data.contains_key("namespace"))
            .then(|| String::from_utf8(token).unwrap())
    })
    .await;
    let review = || {
        let review = object(json!({"spec": {"token": token}}));
        let reviews = Api::<k8s_openapi::api::authentication::v1::TokenReview>::all(world.admin());
        async move {
            reviews
                .create(&PostParams::default(), &review)
                .await
                .unwrap()
                .status
                .unwrap()
        }
    };
    let status = review().await;
    assert_eq!(status.authenticated, Some(true), "{status:?}");
    let user = status.user.unwrap();
    assert_eq!(
        user.username.as_deref(),
        Some("system:serviceaccount:default:robot")
    );

    accounts
        .delete("robot", &DeleteParams::default())
        .await
        .unwrap();
    assert_ne!(review().await.authenticated, Some(true));
    until("the end of the Secret", async || {
        secrets
            .get_opt("robot-token")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_labelled_for_a_sum_becomes_part_of_it_and_stops_to_be() {
    let world = World::start().await;
    let roles = Api::<ClusterRole>::all(world.admin());
    let part: ClusterRole = object(json!({
        "metadata": {
            "name": "crontab-viewer",
            "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"},
        },
        "rules": [{"apiGroups": ["stable.example.com"], "resources": ["crontabs"], "verbs": ["get"]}],
    }));
    roles.create(&PostParams::default(), &part).await.unwrap();
    let shows = async |name: &'static str, wanted: bool| {
        let rules = roles.get(name).await.unwrap().rules.unwrap_or_default();
        let has = rules.iter().any(|rule| {
            let resources = rule.resources.as_deref().unwrap_or_default();
            resources.iter().any(|resource| resource == "crontabs")
        });
        (has == wanted).then_some(())
    };
    // What may view is part of what may edit, and that of what an administrator may.
    for name in ["view", "edit", "admin"] {
        until(name, async || shows(name, true).await).await;
    }
    roles
        .delete("crontab-viewer", &DeleteParams::default())
        .await
        .unwrap();
    for name in ["view", "edit", "admin"] {
        until(name, async || shows(name, false).await).await;
    }
}
