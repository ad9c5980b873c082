//! What a cluster needs so that nodes can join with tokens, as objects, and how objects are written.
//!
//! Names, rules and texts are kubeadm's. It refuses to know which command writes what.

use crate::cluster::Cluster;
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

/// The group of joiners with a bootstrap token.
pub(super) const JOINERS: &str = "system:bootstrappers:kubeadm:default-node-token";
/// The group of nodes.
const NODES: &str = "system:nodes";

/// Creates an object, or replaces it when it is there.
pub(super) async fn create_or_update(
    cluster: &Cluster,
    object: &Value,
    dry_run: bool,
) -> Result<(), kube::Error> {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (group, version) = text("/apiVersion")
        .split_once('/')
        .unwrap_or_else(|| ("", text("/apiVersion")));
    let kind = GroupVersionKind::gvk(group, version, text("/kind"));
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = match text("/metadata/namespace") {
        "" => Api::all_with(cluster.client.clone(), &resource),
        namespace => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
    };
    let name = text("/metadata/name");
    let parameters = PostParams {
        dry_run,
        ..PostParams::default()
    };
    let parsed: DynamicObject =
        serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
    match api.create(&parameters, &parsed).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            api.replace(name, &parameters, &parsed).await.map(|_| ())
        }
        other => other.map(|_| ()),
    }
}

fn rbac(kind: &str, namespace: Option<&str>, name: &str, mut body: Value) -> Value {
    body["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
    body["kind"] = json!(kind);
    body["metadata"] = match namespace {
        Some(namespace) => json!({"name": name, "namespace": namespace}),
        None => json!({"name": name}),
    };
    body
}

fn subject(kind: &str, name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name})
}

fn cluster_binding(name: &str, role: &str, subjects: &[Value]) -> Value {
    rbac(
        "ClusterRoleBinding",
        None,
        name,
        json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": subjects,
        }),
    )
}

/// A role that may get one object, and who has it.
fn reader(namespace: &str, name: &str, resource: &str, of: &str, subjects: &[Value]) -> [Value; 2] {
    let role = rbac(
        "Role",
        Some(namespace),
        name,
        json!({"rules": [{"apiGroups": [""], "resources": [resource], "resourceNames": [of], "verbs": ["get"]}]}),
    );
    let binding = rbac(
        "RoleBinding",
        Some(namespace),
        name,
        json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": subjects,
        }),
    );
    [role, binding]
}

/// What lets bearers of tokens become nodes: what is said, and what is written.
pub(super) fn bootstrap_rules() -> Vec<(&'static str, Vec<Value>)> {
    let joiners = subject("Group", JOINERS);
    let nodes = subject("Group", NODES);
    let get_nodes = rbac(
        "ClusterRole",
        None,
        "kubeadm:get-nodes",
        json!({"rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]}),
    );
    let requests = "system:certificates.k8s.io:certificatesigningrequests";
    vec![
        (
            "Configured RBAC rules to allow Node Bootstrap tokens to get nodes",
            vec![
                get_nodes,
                cluster_binding(
                    "kubeadm:get-nodes",
                    "kubeadm:get-nodes",
                    std::slice::from_ref(&joiners),
                ),
            ],
        ),
        (
            "Configured RBAC rules to allow Node Bootstrap tokens to post CSRs in order for nodes to get long term certificate credentials",
            vec![cluster_binding(
                "kubeadm:kubelet-bootstrap",
                "system:node-bootstrapper",
                std::slice::from_ref(&joiners),
            )],
        ),
        (
            "Configured RBAC rules to allow the csrapprover controller automatically approve CSRs from a Node Bootstrap Token",
            vec![cluster_binding(
                "kubeadm:node-autoapprove-bootstrap",
                &format!("{requests}:nodeclient"),
                std::slice::from_ref(&joiners),
            )],
        ),
        (
            "Configured RBAC rules to allow certificate rotation for all node client certificates in the cluster",
            vec![cluster_binding(
                "kubeadm:node-autoapprove-certificate-rotation",
                &format!("{requests}:selfnodeclient"),
                &[nodes],
            )],
        ),
        (
            "Configured RBAC rules to allow the API server kubelet client certificate to access the kubelet API",
            vec![cluster_binding(
                "kubeadm:apiserver-kubelet-client",
                "system:kubelet-api-admin",
                &[subject("User", "kube-apiserver-kubelet-client")],
            )],
        ),
    ]
}

/// Lets everybody read `cluster-info`.
pub(super) fn cluster_info_rules() -> [Value; 2] {
    let anonymous = [subject("User", "system:anonymous")];
    reader(
        "kube-public",
        "kubeadm:bootstrap-signer-clusterinfo",
        "configmaps",
        "cluster-info",
        &anonymous,
    )
}

/// A ConfigMap with one value.
pub(super) fn config_map(namespace: &str, name: &str, key: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {key: value},
    })
}

/// Lets nodes and joiners read `kubeadm-config`.
pub(super) fn kubeadm_config_rules() -> [Value; 2] {
    let readers = [subject("Group", JOINERS), subject("Group", NODES)];
    reader(
        "kube-system",
        "kubeadm:nodes-kubeadm-config",
        "configmaps",
        "kubeadm-config",
        &readers,
    )
}

/// Lets nodes and joiners read `kubelet-config`.
pub(super) fn kubelet_config_rules() -> [Value; 2] {
    let readers = [subject("Group", NODES), subject("Group", JOINERS)];
    reader(
        "kube-system",
        "kubeadm:kubelet-config",
        "configmaps",
        "kubelet-config",
        &readers,
    )
}

/// Cells between tabs as Go's `tabwriter` aligns them: every column at least `minimum` wide, `padding` between. The
/// last cell of a row is as long as it is. A row without a tab ends the columns above it.
pub(super) fn table(rows: &[String], minimum: usize, padding: usize) -> String {
    let mut text = String::new();
    for block in rows.split_inclusive(|row| !row.contains('\t')) {
        let cells: Vec<Vec<&str>> = block.iter().map(|row| row.split('\t').collect()).collect();
        let columns = cells
            .iter()
            .map(|row| row.len().saturating_sub(1))
            .max()
            .unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let of = cells.iter().filter(|row| row.len() > column + 1);
                let widest = of.map(|row| row[column].chars().count()).max().unwrap_or(0);
                (widest + padding).max(minimum)
            })
            .collect();
        for row in cells {
            for (column, cell) in row.iter().enumerate() {
                text.push_str(cell);
                if column + 1 < row.len() {
                    let pad = widths[column].saturating_sub(cell.chars().count());
                    text.push_str(&" ".repeat(pad));
                }
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_as_gos_tabwriter_does_it() {
        let rows = ["A\tBB\tC", "longer than ten\tx\ty", "", "D\tE", "f\tg"].map(str::to_owned);
        assert_eq!(
            table(&rows, 10, 3),
            "A                 BB        C\nlonger than ten   x         y\n\nD         E\nf         g\n"
        );
    }

    #[test]
    fn every_rule_for_joiners_has_kubeadms_name() {
        let names: Vec<String> = bootstrap_rules()
            .iter()
            .flat_map(|(_, objects)| objects)
            .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            names,
            [
                "kubeadm:get-nodes",
                "kubeadm:get-nodes",
                "kubeadm:kubelet-bootstrap",
                "kubeadm:node-autoapprove-bootstrap",
                "kubeadm:node-autoapprove-certificate-rotation",
                "kubeadm:apiserver-kubelet-client",
            ]
        );
    }
}
