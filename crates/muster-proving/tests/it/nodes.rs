//! Nodes that fall silent and speak again, whatever their clocks say.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use muster_proving::{Scenery, World, in_time, node, owner, until};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

const GRACE: Duration = Duration::from_millis(1500);
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const NOT_READY: &str = "node.kubernetes.io/not-ready";

struct Machine {
    name: &'static str,
    nodes: Api<Node>,
    leases: Api<Lease>,
    /// How wrong its clock is.
    offset: SignedDuration,
}

impl Machine {
    async fn register(world: &World, name: &'static str, offset: SignedDuration) -> Self {
        let client = world.kubelet(name);
        let machine = Self {
            name,
            nodes: Api::all(client.clone()),
            leases: Api::namespaced(client, "kube-node-lease"),
            offset,
        };
        let made = machine
            .nodes
            .create(&PostParams::default(), &node(name, &[], "True"))
            .await
            .unwrap();
        let mut lease: Lease = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40},
        }))
        .unwrap();
        lease.metadata.owner_references = Some(vec![owner(&made, false)]);
        machine
            .leases
            .create(&PostParams::default(), &lease)
            .await
            .unwrap();
        machine.post("True").await;
        machine
    }

    fn clock(&self) -> Timestamp {
        Timestamp::now() + self.offset
    }

    /// Posts the Ready condition as a kubelet does.
    async fn post(&self, ready: &str) {
        let at = self.clock().to_string();
        let condition = json!({"type": "Ready", "status": ready, "reason": "KubeletReady",
            "lastHeartbeatTime": at, "lastTransitionTime": at});
        let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
        let parameters = PatchParams::default();
        self.nodes
            .patch_status(self.name, &parameters, &patch)
            .await
            .unwrap();
    }

    async fn renew(&self) {
        let at = MicroTime(self.clock());
        let patch = Patch::Merge(json!({"spec": {"renewTime": at}}));
        self.leases
            .patch(self.name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// Status of the Ready condition, and the taints.
    async fn seen(&self) -> (String, BTreeSet<(String, String)>) {
        let node = self.nodes.get(self.name).await.unwrap();
        let conditions = node
            .status
            .unwrap_or_default()
            .conditions
            .unwrap_or_default();
        let ready = conditions.into_iter().find(|one| one.type_ == "Ready");
        let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        let taints = taints.into_iter().map(|taint| (taint.key, taint.effect));
        (
            ready.map(|one| one.status).unwrap_or_default(),
            taints.collect(),
        )
    }

    async fn shows(&self, ready: &str, taint: Option<&str>) {
        let wanted: BTreeSet<_> = taint
            .iter()
            .flat_map(|key| {
                ["NoSchedule", "NoExecute"].map(|effect| ((*key).to_owned(), effect.to_owned()))
            })
            .collect();
        until(&format!("{} {ready} {taint:?}", self.name), async || {
            let (status, taints) = self.seen().await;
            (status == ready && taints == wanted).then_some(())
        })
        .await;
    }
}

fn scenery() -> Scenery {
    Scenery {
        grace_period: GRACE,
        ..Scenery::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_is_marked_and_freed_when_it_speaks() {
    in_time(async {
        let world = World::with(scenery()).await;
        let machine = Machine::register(&world, "n1", SignedDuration::ZERO).await;
        machine.shows("True", None).await;
        machine.post("False").await;
        machine.shows("False", Some(NOT_READY)).await;
        machine.post("True").await;
        machine.shows("True", None).await;
        let nodes = Api::<Node>::all(world.admin());
        machine.shows("Unknown", Some(UNREACHABLE)).await;
        machine.renew().await;
        machine.post("True").await;
        machine.shows("True", None).await;
        // A person's taint is nobody else's business.
        let own = json!({"spec": {"taints": [{"key": "own", "effect": "NoExecute"}]}});
        let parameters = PatchParams::default();
        nodes
            .patch("n1", &parameters, &Patch::Strategic(own))
            .await
            .unwrap();
        until("all three taints", async || {
            let (ready, taints) = machine.seen().await;
            (ready == "Unknown" && taints.len() == 3).then_some(())
        })
        .await;
    })
    .await;
}

/// One node's clock is a year ahead, the other's a year behind; both only renew their leases, as a
/// kubelet does between its reports. A third one is silent and shows that time passed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_clock_is_no_silence_and_silence_with_a_wrong_clock_is_noticed() {
    in_time(async {
        let world = World::with(scenery()).await;
        let year = SignedDuration::from_hours(365 * 24);
        let ahead = Machine::register(&world, "ahead", year).await;
        let behind = Machine::register(&world, "behind", -year).await;
        let silent = Machine::register(&world, "silent", year).await;
        let renewing = async {
            loop {
                tokio::join!(ahead.renew(), behind.renew());
                tokio::time::sleep(GRACE / 10).await;
            }
        };
        let waiting = async {
            silent.shows("Unknown", Some(UNREACHABLE)).await;
            // Its clock is set right, a year back, and it speaks again.
            let mended = Machine {
                offset: SignedDuration::ZERO,
                ..silent
            };
            mended.post("True").await;
            mended.shows("True", None).await;
            mended.shows("Unknown", Some(UNREACHABLE)).await;
        };
        tokio::select! {
            () = renewing => {}
            () = waiting => {}
        }
        for machine in [&ahead, &behind] {
            let (ready, taints) = machine.seen().await;
            assert_eq!(
                (ready.as_str(), taints.len()),
                ("True", 0),
                "{}",
                machine.name
            );
        }
        ahead.shows("Unknown", Some(UNREACHABLE)).await;
        behind.shows("Unknown", Some(UNREACHABLE)).await;
    })
    .await;
}
