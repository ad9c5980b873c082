//! `muster node list`: the nodes of a cluster, as kubectl shows them, with their addresses.

use crate::args::node::List;
use crate::cluster::{self, api_failure};
use crate::columns;
use crate::exit::Failure;
use crate::printer::{Output, Printer};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use muster_identity::human_duration;

const ROLE: &str = "node-role.kubernetes.io/";
const HEAD: [&str; 6] = ["NAME", "STATUS", "ROLES", "AGE", "VERSION", "INTERNAL-IP"];

/// Carries out `muster node list`.
pub(super) async fn run(list: &List, printer: Printer) -> Result<(), Failure> {
    let cluster = cluster::connect(list.kubeconfig.as_deref()).await?;
    let nodes: Api<Node> = Api::all(cluster.client);
    let found = nodes
        .list(&ListParams::default())
        .await
        .map_err(|error| api_failure("the nodes could not be listed", &error))?;
    show(&found.items, printer);
    Ok(())
}

/// One node.
pub(super) async fn show_one(client: Client, name: &str, printer: Printer) -> Result<(), Failure> {
    let nodes: Api<Node> = Api::all(client);
    let node = nodes
        .get(name)
        .await
        .map_err(|error| api_failure(&format!("node {name} cannot be read"), &error))?;
    show(&[node], printer);
    Ok(())
}

fn show(nodes: &[Node], printer: Printer) {
    if printer.output() != Output::Text {
        nodes.iter().for_each(|node| printer.json(node));
        return;
    }
    if nodes.is_empty() {
        printer.note("there are no nodes");
        return;
    }
    let now = Timestamp::now();
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(nodes.iter().map(|node| row(node, now)));
    printer.text(columns::aligned(&rows));
}

fn row(node: &Node, now: Timestamp) -> [String; 6] {
    let created = node.creation_timestamp().map_or(now, |at| at.0);
    let status = node.status.as_ref();
    let version = status.and_then(|status| status.node_info.as_ref());
    let mut addresses = status
        .and_then(|status| status.addresses.as_ref())
        .into_iter()
        .flatten();
    let address = addresses.find(|address| address.type_ == "InternalIP");
    [
        node.name_any(),
        condition(node),
        roles(node),
        human_duration(now.duration_since(created)),
        version
            .map(|info| info.kubelet_version.clone())
            .unwrap_or_default(),
        address.map_or_else(|| "<none>".to_owned(), |address| address.address.clone()),
    ]
}

/// As kubectl's column.
fn condition(node: &Node) -> String {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready");
    let mut text = match ready {
        None => "Unknown",
        Some(ready) if ready.status == "True" => "Ready",
        Some(_) => "NotReady",
    }
    .to_owned();
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        text.push_str(",SchedulingDisabled");
    }
    text
}

fn roles(node: &Node) -> String {
    let roles: Vec<&str> = node
        .labels()
        .keys()
        .filter_map(|key| key.strip_prefix(ROLE))
        .collect();
    if roles.is_empty() {
        return "<none>".to_owned();
    }
    roles.join(",")
}
