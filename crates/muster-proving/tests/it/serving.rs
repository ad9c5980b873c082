//! Serving certificates of kubelets: what the Node reports is what is certified.

use crate::certificates::{certificate_of, has_no_verdict, let_them_look};
use futures::future::join_all;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use muster_identity::{Subject, SubjectAltNames, Usage};
use muster_proving::{World, csr, in_time, key, node, request};
use serde_json::json;
use std::net::IpAddr;

const SERVING: &str = "kubernetes.io/kubelet-serving";
const USAGES: &[&str] = &["digital signature", "server auth"];

type Requests = Api<CertificateSigningRequest>;

fn serving(name: &str, node: &str, dns: &[&str], ip: &[&str]) -> CertificateSigningRequest {
    let subject = Subject::new(format!("system:node:{node}"), ["system:nodes"]);
    let ip: Vec<IpAddr> = ip.iter().map(|ip| ip.parse().unwrap()).collect();
    let names = SubjectAltNames::new(dns.iter().copied(), ip);
    request(name, &csr(&key(), &subject, &names), SERVING, USAGES)
}

async fn ask(world: &World, as_node: &str, asked: &CertificateSigningRequest) {
    let requests = Requests::all(world.kubelet(as_node));
    requests
        .create(&PostParams::default(), asked)
        .await
        .unwrap();
}

async fn report(world: &World, name: &str, addresses: &[(&str, &str)]) {
    let nodes = Api::<Node>::all(world.kubelet(name));
    let status = node(name, addresses, "True").status;
    let patch = Patch::Merge(json!({"status": {"addresses": status.unwrap().addresses}}));
    nodes
        .patch_status(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serving_certificate_waits_for_the_nodes_own_addresses() {
    in_time(async {
        let world = World::start().await;
        let requests = Requests::all(world.admin());
        ask(&world, "n1", &serving("own", "n1", &["n1"], &["10.1.2.3"])).await;
        ask(
            &world,
            "n1",
            &serving("other-address", "n1", &["n1"], &["10.9.9.9"]),
        )
        .await;
        ask(
            &world,
            "n1",
            &serving("other-name", "n1", &["n2"], &["10.1.2.3"]),
        )
        .await;
        // For another node it may not even ask.
        let foreign = serving("other-node", "n2", &["n2"], &["10.2.2.2"]);
        let refused = Requests::all(world.kubelet("n1"))
            .create(&PostParams::default(), &foreign)
            .await;
        assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 403));
        // Nor does it help when somebody else asks who may.
        let admins = Requests::all(world.admin());
        admins
            .create(&PostParams::default(), &foreign)
            .await
            .unwrap();
        let all = ["own", "other-address", "other-name", "other-node"];
        let_them_look(&world, "without-node").await;
        for name in all {
            has_no_verdict(&requests, name).await;
        }

        let nodes = Api::<Node>::all(world.kubelet("n1"));
        let silent = node("n1", &[], "True");
        nodes.create(&PostParams::default(), &silent).await.unwrap();
        let two = node(
            "n2",
            &[("Hostname", "n2"), ("InternalIP", "10.2.2.2")],
            "True",
        );
        let others = Api::<Node>::all(world.kubelet("n2"));
        others.create(&PostParams::default(), &two).await.unwrap();
        let_them_look(&world, "without-addresses").await;
        report(
            &world,
            "n1",
            &[("Hostname", "n1"), ("InternalIP", "10.1.2.4")],
        )
        .await;
        let_them_look(&world, "with-another-address").await;
        for name in all {
            has_no_verdict(&requests, name).await;
        }

        report(
            &world,
            "n1",
            &[("Hostname", "N1"), ("InternalIP", "10.1.2.3")],
        )
        .await;
        let certificate = certificate_of(&requests, "own").await;
        certificate
            .verify_signed_by(world.ca().certificate())
            .unwrap();
        let names = SubjectAltNames::new(["n1"], ["10.1.2.3".parse().unwrap()]);
        assert_eq!(*certificate.subject_alt_names(), names);
        assert!(certificate.usages().contains(&Usage::ServerAuth));
        assert!(!certificate.usages().contains(&Usage::ClientAuth));
        let_them_look(&world, "with-its-address").await;
        for name in &all[1..] {
            has_no_verdict(&requests, name).await;
        }

        // The machine got a second address; the request for it has waited all the time.
        let both = [
            ("Hostname", "n1"),
            ("InternalIP", "10.1.2.3"),
            ("ExternalIP", "10.9.9.9"),
        ];
        report(&world, "n1", &both).await;
        certificate_of(&requests, "other-address").await;
        let_them_look(&world, "at-last").await;
        has_no_verdict(&requests, "other-name").await;
        has_no_verdict(&requests, "other-node").await;
    })
    .await;
}

/// The request, the Node and its addresses may come in any order, at the same moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_forgotten_when_its_node_reports_at_the_same_moment() {
    in_time(async {
        let world = World::start().await;
        let requests = Requests::all(world.admin());
        let names: Vec<String> = (0..60).map(|number| format!("n{number}")).collect();
        let joins = names.iter().enumerate().map(|(number, name)| {
            let world = &world;
            async move {
                let address = format!("10.0.0.{number}");
                let asked = serving(name, name, &[name], &[&address]);
                let addresses = [
                    ("Hostname", name.as_str()),
                    ("InternalIP", address.as_str()),
                ];
                let bare = node(name, &[], "True");
                let nodes = Api::<Node>::all(world.kubelet(name));
                nodes.create(&PostParams::default(), &bare).await.unwrap();
                tokio::join!(ask(world, name, &asked), report(world, name, &addresses));
            }
        });
        join_all(joins).await;
        for name in &names {
            certificate_of(&requests, name).await;
        }
    })
    .await;
}
