//! What a cluster needs for the operator to run in it: the definition, an account with its rights, a Deployment.
//!
//! The rights are those that the code uses. It refuses to know who applies the manifests.

use super::definition::definition;
use super::names::{GROUP, PLURAL};
use serde_json::{Value, json};

/// The name of everything but the definition.
const NAME: &str = "muster-operator";
/// The port of health and metrics in the pod.
const PORT: u16 = 8080;

/// What the manifests can be told.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// The namespace of the operator; it is made.
    pub namespace: String,
    /// The image, which has `muster` as its entry point.
    pub image: String,
    /// How many operators run; one leads.
    pub replicas: u32,
}

/// All manifests, in the order in which they have to be applied.
#[must_use]
pub fn manifests(deployed: &Deployed) -> Vec<Value> {
    let Deployed { namespace, .. } = deployed;
    let account = json!({"kind": "ServiceAccount", "name": NAME, "namespace": namespace});
    let labels = json!({"app.kubernetes.io/name": NAME});
    vec![
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }),
        definition(),
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": NAME, "namespace": namespace, "labels": labels},
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": NAME, "labels": labels}, "rules": cluster_rules(),
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME, "labels": labels},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME},
            "subjects": [account],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": NAME, "namespace": namespace, "labels": labels}, "rules": rules(),
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": NAME, "namespace": namespace, "labels": labels},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
            "subjects": [account],
        }),
        deployment(deployed, &labels),
    ]
}

/// Rights everywhere.
fn cluster_rules() -> Value {
    json!([
        {
            "apiGroups": [GROUP], "resources": [PLURAL],
            "verbs": ["get", "list", "watch", "patch"],
        },
        {"apiGroups": [GROUP], "resources": [format!("{PLURAL}/status")], "verbs": ["patch"]},
        // An owner that blocks its deletion needs this where OwnerReferencesPermissionEnforcement is on.
        {"apiGroups": [GROUP], "resources": [format!("{PLURAL}/finalizers")], "verbs": ["update"]},
        {
            "apiGroups": [GROUP, "cluster.x-k8s.io"], "resources": ["clusters"],
            "verbs": ["list", "watch"],
        },
        {
            "apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"],
            "verbs": ["list", "watch"],
        },
        // Kubeconfigs are read, and tokens written, in any namespace.
        {
            "apiGroups": [""], "resources": ["secrets"],
            "verbs": ["get", "list", "watch", "create", "update", "delete"],
        },
        {
            "apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"],
            "verbs": ["get"],
        },
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
    ])
}

/// Rights in the operator's own namespace.
fn rules() -> Value {
    json!([
        {
            "apiGroups": [""], "resources": ["configmaps"],
            "verbs": ["list", "watch", "create", "delete"],
        },
        {
            "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
            "verbs": ["get", "create", "update"],
        },
    ])
}

fn deployment(deployed: &Deployed, labels: &Value) -> Value {
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": 5});
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let container = json!({
        "name": "operator",
        "image": deployed.image,
        "args": ["operator", "--log-format=json", format!("--bind=0.0.0.0:{PORT}")],
        "env": [field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace")],
        "ports": [{"name": "http", "containerPort": PORT}],
        "livenessProbe": probe("/healthz"),
        "readinessProbe": probe("/readyz"),
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"memory": "256Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": deployed.namespace, "labels": labels},
        "spec": {
            "replicas": deployed.replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": PORT.to_string()},
                },
                "spec": {
                    "serviceAccountName": NAME,
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [container],
                },
            },
        },
    })
}
