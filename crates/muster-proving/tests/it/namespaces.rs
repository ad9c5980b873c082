//! Namespaces from furnishing to the last finalizer.

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, NamespaceCondition, Pod, Secret, ServiceAccount,
};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use muster_proving::{World, in_time, until};
use serde_json::{Value, json};

fn read<T: k8s_openapi::serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

async fn make_namespace(world: &World, name: &str) {
    let namespace: Namespace = read(json!({"metadata": {"name": name}}));
    Api::all(world.admin())
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_namespace_gets_its_account_and_the_root_ca_again_and_again() {
    in_time(async {
        let world = World::start().await;
        make_namespace(&world, "fresh").await;
        for namespace in ["fresh", "default", "kube-public"] {
            let accounts = Api::<ServiceAccount>::namespaced(world.admin(), namespace);
            let maps = Api::<ConfigMap>::namespaced(world.admin(), namespace);
            let furnished = async || {
                let account = accounts.get_opt("default").await.unwrap()?;
                let map = maps.get_opt("kube-root-ca.crt").await.unwrap()?;
                let right = map.data?["ca.crt"] == world.ca_bundle().to_pem();
                right.then_some((account.metadata.uid, map.metadata.uid))
            };
            let before = until("the furniture", furnished).await;
            let parameters = DeleteParams::default();
            accounts.delete("default", &parameters).await.unwrap();
            maps.delete("kube-root-ca.crt", &parameters).await.unwrap();
            let after = until("new furniture", furnished).await;
            assert!(before.0 != after.0 && before.1 != after.1);
            let forged = Patch::Merge(json!({"data": {"ca.crt": "forged"}}));
            let parameters = PatchParams::default();
            maps.patch("kube-root-ca.crt", &parameters, &forged)
                .await
                .unwrap();
            let mended = until("the right CA", furnished).await;
            assert_eq!(mended, after, "it is mended, not replaced");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_namespace_goes_when_the_last_finalizer_does() {
    in_time(async {
        let world = World::start().await;
        make_namespace(&world, "full").await;
        let namespaces = Api::<Namespace>::all(world.admin());
        let maps = Api::<ConfigMap>::namespaced(world.admin(), "full");
        let secrets = Api::<Secret>::namespaced(world.admin(), "full");
        stream::iter(0..300)
            .for_each_concurrent(16, |number| {
                let (maps, secrets) = (&maps, &secrets);
                async move {
                    let name = format!("object-{number}");
                    let object = json!({"metadata": {"name": name}});
                    let parameters = PostParams::default();
                    maps.create(&parameters, &read(object.clone()))
                        .await
                        .unwrap();
                    if number % 3 == 0 {
                        secrets.create(&parameters, &read(object)).await.unwrap();
                    }
                }
            })
            .await;
        let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/foreign"]}});
        maps.create(&PostParams::default(), &read(held))
            .await
            .unwrap();

        namespaces
            .delete("full", &DeleteParams::default())
            .await
            .unwrap();
        let refused = maps
            .create(
                &PostParams::default(),
                &read(json!({"metadata": {"name": "late"}})),
            )
            .await;
        let Err(kube::Error::Api(status)) = refused else {
            panic!("a namespace that goes takes nothing new");
        };
        assert_eq!(status.code, 403);
        assert!(
            status.message.contains("because it is being terminated"),
            "{}",
            status.message
        );

        let message = until("the condition", async || {
            let status = namespaces.get("full").await.unwrap().status?;
            assert_eq!(status.phase.as_deref(), Some("Terminating"));
            let mut conditions = status.conditions?.into_iter();
            let remaining = conditions.find(|one| one.type_ == "NamespaceContentRemaining")?;
            (remaining.status == "True").then_some(remaining.message?)
        })
        .await;
        assert!(message.contains("configmaps"), "{message}");
        until("the end of all others", async || {
            let left = maps.list(&ListParams::default()).await.unwrap().items;
            let secrets = secrets.list(&ListParams::default()).await.unwrap().items;
            (left.len() == 1 && secrets.is_empty()).then_some(())
        })
        .await;
        let held = maps.get("held").await.unwrap();
        assert!(held.metadata.deletion_timestamp.is_some());
        namespaces
            .get("full")
            .await
            .expect("it waits for the foreign finalizer");

        let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        maps.patch("held", &PatchParams::default(), &release)
            .await
            .unwrap();
        until("the end of the namespace", async || {
            let found = namespaces.get_opt("full").await.unwrap();
            found.is_none().then_some(())
        })
        .await;
        let left = world
            .store()
            .list("/registry/", None, None, 0)
            .await
            .unwrap();
        let left: Vec<_> = left
            .items
            .iter()
            .filter(|one| one.key.contains("/full"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        make_namespace(&world, "full").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_else_goes_as_long_as_a_namespace_has_pods() {
    in_time(async {
        let world = World::start().await;
        make_namespace(&world, "ordered").await;
        let namespaces = Api::<Namespace>::all(world.admin());
        let maps = Api::<ConfigMap>::namespaced(world.admin(), "ordered");
        let pods = Api::<Pod>::namespaced(world.admin(), "ordered");
        maps.create(
            &PostParams::default(),
            &read(json!({"metadata": {"name": "settings"}})),
        )
        .await
        .unwrap();
        until("the account of its pods", async || {
            let accounts = Api::<ServiceAccount>::namespaced(world.admin(), "ordered");
            accounts.get_opt("default").await.unwrap()
        })
        .await;
        let pod = json!({
            "metadata": {"name": "last", "finalizers": ["example.com/busy"]},
            "spec": {"containers": [{"name": "c", "image": "example.com/image"}]},
        });
        pods.create(&PostParams::default(), &read(pod))
            .await
            .unwrap();

        namespaces
            .delete("ordered", &DeleteParams::default())
            .await
            .unwrap();
        let conditions = until("what it waits for", async || {
            let conditions = namespaces
                .get("ordered")
                .await
                .unwrap()
                .status?
                .conditions?;
            let held = |one: &NamespaceCondition| {
                one.type_ == "NamespaceFinalizersRemaining" && one.status == "True"
            };
            conditions.iter().any(held).then_some(conditions)
        })
        .await;
        let kinds: Vec<_> = conditions.iter().map(|one| one.type_.as_str()).collect();
        assert!(
            kinds.contains(&"NamespaceDeletionContentFailure"),
            "{kinds:?}"
        );
        assert!(
            pods.get("last")
                .await
                .unwrap()
                .metadata
                .deletion_timestamp
                .is_some()
        );
        let settings = maps.get("settings").await.expect("it outlives the pod");
        assert_eq!(settings.metadata.deletion_timestamp, None);

        let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        pods.patch("last", &PatchParams::default(), &release)
            .await
            .unwrap();
        until("the end of the namespace", async || {
            let found = namespaces.get_opt("ordered").await.unwrap();
            found.is_none().then_some(())
        })
        .await;
    })
    .await;
}
