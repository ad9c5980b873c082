//! The table itself: one line for each resource.

use super::{ALL_VERBS, CREATE_ONLY, Nature, READ_WRITE_VERBS, Resource, Subresource, Text};

const NO_COLLECTION_DELETE: &[&str] = &[
    "create", "delete", "get", "list", "patch", "update", "watch",
];
const READ_ONLY: &[&str] = &["get", "list"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];
const STREAM: &[&str] = &["create", "get"];

/// A line of the table under construction.
struct Line(Resource);

fn line(plural: &'static str, kind: &'static str, namespaced: bool) -> Line {
    Line(Resource {
        group: Text::Borrowed(""),
        version: Text::Borrowed(""),
        plural: Text::Borrowed(plural),
        singular: kind.to_ascii_lowercase().into(),
        kind: Text::Borrowed(kind),
        list_kind: format!("{kind}List").into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced,
        verbs: texts(ALL_VERBS),
        subresources: Vec::new(),
        nature: Nature::Stored,
        storage_group_version: (Text::Borrowed(""), Text::Borrowed("")),
        storage_version_hash: Text::Borrowed(""),
        selectable: Vec::new(),
    })
}

fn texts(items: &'static [&'static str]) -> Vec<Text> {
    items.iter().copied().map(Text::Borrowed).collect()
}

fn namespaced(plural: &'static str, kind: &'static str) -> Line {
    line(plural, kind, true)
}

fn cluster(plural: &'static str, kind: &'static str) -> Line {
    line(plural, kind, false)
}

impl Line {
    fn short(mut self, names: &'static [&'static str]) -> Self {
        self.0.short_names = texts(names);
        self
    }

    fn category(mut self, name: &'static str) -> Self {
        self.0.categories.push(Text::Borrowed(name));
        self
    }

    fn verbs(mut self, verbs: &'static [&'static str]) -> Self {
        self.0.verbs = texts(verbs);
        self
    }

    fn asked(mut self) -> Self {
        self.0.nature = Nature::Virtual;
        self.verbs(CREATE_ONLY)
    }

    fn computed(mut self) -> Self {
        self.0.nature = Nature::Computed;
        self.verbs(READ_ONLY)
    }

    fn hash(mut self, hash: &'static str) -> Self {
        self.0.storage_version_hash = Text::Borrowed(hash);
        self
    }

    fn stored_as(mut self, group: &'static str, version: &'static str) -> Self {
        self.0.storage_group_version = (Text::Borrowed(group), Text::Borrowed(version));
        self
    }

    fn sub(
        mut self,
        name: &'static str,
        kind: &'static str,
        group_version: Option<(&'static str, &'static str)>,
        verbs: &'static [&'static str],
    ) -> Self {
        self.0.subresources.push(Subresource {
            name: Text::Borrowed(name),
            kind: Text::Borrowed(kind),
            group_version: group_version.map(|(g, v)| (Text::Borrowed(g), Text::Borrowed(v))),
            verbs: texts(verbs),
        });
        self
    }

    /// A subresource of the parent's own kind.
    fn own(mut self, name: &'static str, verbs: &'static [&'static str]) -> Self {
        let kind = self.0.kind.clone();
        self.0.subresources.push(Subresource {
            name: Text::Borrowed(name),
            kind,
            group_version: None,
            verbs: texts(verbs),
        });
        self
    }

    fn status(self) -> Self {
        self.own("status", READ_WRITE_VERBS)
    }

    fn scale(self) -> Self {
        self.sub(
            "scale",
            "Scale",
            Some(("autoscaling", "v1")),
            READ_WRITE_VERBS,
        )
    }
}

fn group_version(
    group: &'static str,
    version: &'static str,
    lines: Vec<Line>,
) -> impl Iterator<Item = Resource> {
    lines.into_iter().map(move |Line(mut resource)| {
        resource.group = Text::Borrowed(group);
        resource.version = Text::Borrowed(version);
        if resource.storage_group_version.1.is_empty() {
            resource.storage_group_version = (Text::Borrowed(group), Text::Borrowed(version));
        }
        resource.subresources.sort_by(|a, b| a.name.cmp(&b.name));
        resource
    })
}

/// Every built-in resource, group by group in kube-apiserver's order.
pub(super) fn all() -> Vec<Resource> {
    group_version("", "v1", core())
        .chain(group_version(
            "apiregistration.k8s.io",
            "v1",
            apiregistration(),
        ))
        .chain(group_version("apps", "v1", apps()))
        .chain(group_version("events.k8s.io", "v1", events()))
        .chain(group_version(
            "authentication.k8s.io",
            "v1",
            authentication(),
        ))
        .chain(group_version("authorization.k8s.io", "v1", authorization()))
        .chain(group_version("autoscaling", "v2", autoscaling()))
        .chain(group_version("autoscaling", "v1", autoscaling()))
        .chain(group_version("batch", "v1", batch()))
        .chain(group_version("certificates.k8s.io", "v1", certificates()))
        .chain(group_version("networking.k8s.io", "v1", networking()))
        .chain(group_version("policy", "v1", policy()))
        .chain(group_version("rbac.authorization.k8s.io", "v1", rbac()))
        .chain(group_version("storage.k8s.io", "v1", storage()))
        .chain(group_version(
            "admissionregistration.k8s.io",
            "v1",
            admission(),
        ))
        .chain(group_version("apiextensions.k8s.io", "v1", apiextensions()))
        .chain(group_version("scheduling.k8s.io", "v1", scheduling()))
        .chain(group_version("coordination.k8s.io", "v1", coordination()))
        .chain(group_version("node.k8s.io", "v1", node()))
        .chain(group_version("discovery.k8s.io", "v1", discovery()))
        .chain(group_version(
            "flowcontrol.apiserver.k8s.io",
            "v1",
            flowcontrol(),
        ))
        .chain(group_version("resource.k8s.io", "v1", resource()))
        .collect()
}

fn core() -> Vec<Line> {
    vec![
        namespaced("bindings", "Binding").asked(),
        cluster("componentstatuses", "ComponentStatus")
            .short(&["cs"])
            .computed(),
        namespaced("configmaps", "ConfigMap")
            .short(&["cm"])
            .hash("qFsyl6wFWjQ="),
        namespaced("endpoints", "Endpoints")
            .short(&["ep"])
            .hash("fWeeMqaN/OA="),
        namespaced("events", "Event")
            .short(&["ev"])
            .hash("r2yiGXH7wu8="),
        namespaced("limitranges", "LimitRange")
            .short(&["limits"])
            .hash("EBKMFVe6cwo="),
        cluster("namespaces", "Namespace")
            .short(&["ns"])
            .verbs(NO_COLLECTION_DELETE)
            .own("finalize", &["update"])
            .status()
            .hash("Q3oi5N2YM8M="),
        cluster("nodes", "Node")
            .short(&["no"])
            .sub("proxy", "NodeProxyOptions", None, PROXY)
            .status()
            .hash("XwShjMxG9Fs="),
        namespaced("persistentvolumeclaims", "PersistentVolumeClaim")
            .short(&["pvc"])
            .status()
            .hash("QWTyNDq0dC4="),
        cluster("persistentvolumes", "PersistentVolume")
            .short(&["pv"])
            .status()
            .hash("HN/zwEC+JgM="),
        pods(),
        namespaced("podtemplates", "PodTemplate").hash("LIXB2x4IFpk="),
        namespaced("replicationcontrollers", "ReplicationController")
            .short(&["rc"])
            .category("all")
            .scale()
            .status()
            .hash("Jond2If31h0="),
        namespaced("resourcequotas", "ResourceQuota")
            .short(&["quota"])
            .status()
            .hash("8uhSgffRX6w="),
        namespaced("secrets", "Secret").hash("S6u1pOWzb84="),
        namespaced("serviceaccounts", "ServiceAccount")
            .short(&["sa"])
            .sub(
                "token",
                "TokenRequest",
                Some(("authentication.k8s.io", "v1")),
                CREATE_ONLY,
            )
            .hash("pbx9ZvyFpBE="),
        namespaced("services", "Service")
            .short(&["svc"])
            .category("all")
            .sub("proxy", "ServiceProxyOptions", None, PROXY)
            .status()
            .hash("0/CO1lhkEBI="),
    ]
}

fn pods() -> Line {
    namespaced("pods", "Pod")
        .short(&["po"])
        .category("all")
        .sub("attach", "PodAttachOptions", None, STREAM)
        .sub("binding", "Binding", None, CREATE_ONLY)
        .own("ephemeralcontainers", READ_WRITE_VERBS)
        .sub("eviction", "Eviction", Some(("policy", "v1")), CREATE_ONLY)
        .sub("exec", "PodExecOptions", None, STREAM)
        .own("log", &["get"])
        .sub("portforward", "PodPortForwardOptions", None, STREAM)
        .sub("proxy", "PodProxyOptions", None, PROXY)
        .own("resize", READ_WRITE_VERBS)
        .status()
        .hash("xPOwRZ+Yhw8=")
}

fn apiregistration() -> Vec<Line> {
    vec![
        cluster("apiservices", "APIService")
            .category("api-extensions")
            .status()
            .hash("InPBPD7+PqM="),
    ]
}

fn apps() -> Vec<Line> {
    vec![
        namespaced("controllerrevisions", "ControllerRevision").hash("85nkx63pcBU="),
        namespaced("daemonsets", "DaemonSet")
            .short(&["ds"])
            .category("all")
            .status()
            .hash("dd7pWHUlMKQ="),
        namespaced("deployments", "Deployment")
            .short(&["deploy"])
            .category("all")
            .scale()
            .status()
            .hash("8aSe+NMegvE="),
        namespaced("replicasets", "ReplicaSet")
            .short(&["rs"])
            .category("all")
            .scale()
            .status()
            .hash("P1RzHs8/mWQ="),
        namespaced("statefulsets", "StatefulSet")
            .short(&["sts"])
            .category("all")
            .scale()
            .status()
            .hash("H+vl74LkKdo="),
    ]
}

fn events() -> Vec<Line> {
    vec![
        namespaced("events", "Event")
            .short(&["ev"])
            .stored_as("", "v1")
            .hash("r2yiGXH7wu8="),
    ]
}

fn authentication() -> Vec<Line> {
    vec![
        cluster("selfsubjectreviews", "SelfSubjectReview").asked(),
        cluster("tokenreviews", "TokenReview").asked(),
    ]
}

fn authorization() -> Vec<Line> {
    vec![
        namespaced("localsubjectaccessreviews", "LocalSubjectAccessReview").asked(),
        cluster("selfsubjectaccessreviews", "SelfSubjectAccessReview").asked(),
        cluster("selfsubjectrulesreviews", "SelfSubjectRulesReview").asked(),
        cluster("subjectaccessreviews", "SubjectAccessReview").asked(),
    ]
}

fn autoscaling() -> Vec<Line> {
    vec![
        namespaced("horizontalpodautoscalers", "HorizontalPodAutoscaler")
            .short(&["hpa"])
            .category("all")
            .status()
            .stored_as("autoscaling", "v2")
            .hash("qwQve8ut294="),
    ]
}

fn batch() -> Vec<Line> {
    vec![
        namespaced("cronjobs", "CronJob")
            .short(&["cj"])
            .category("all")
            .status()
            .hash("sd5LIXh4Fjs="),
        namespaced("jobs", "Job")
            .category("all")
            .status()
            .hash("mudhfqk/qZY="),
    ]
}

fn certificates() -> Vec<Line> {
    vec![
        cluster("certificatesigningrequests", "CertificateSigningRequest")
            .short(&["csr"])
            .own("approval", READ_WRITE_VERBS)
            .status()
            .hash("95fRKMXA+00="),
    ]
}

fn networking() -> Vec<Line> {
    vec![
        cluster("ingressclasses", "IngressClass").hash("l/iqIbDgFyQ="),
        namespaced("ingresses", "Ingress")
            .short(&["ing"])
            .status()
            .hash("39NQlfNR+bo="),
        cluster("ipaddresses", "IPAddress")
            .short(&["ip"])
            .hash("3f/plJFChNE="),
        namespaced("networkpolicies", "NetworkPolicy")
            .short(&["netpol"])
            .hash("YpfwF18m1G8="),
        cluster("servicecidrs", "ServiceCIDR")
            .status()
            .hash("gNLvruQhW2g="),
    ]
}

fn policy() -> Vec<Line> {
    vec![
        namespaced("poddisruptionbudgets", "PodDisruptionBudget")
            .short(&["pdb"])
            .status()
            .hash("EVWiDmWqyJw="),
    ]
}

fn rbac() -> Vec<Line> {
    vec![
        cluster("clusterrolebindings", "ClusterRoleBinding").hash("48tpQ8gZHFc="),
        cluster("clusterroles", "ClusterRole").hash("bYE5ZWDrJ44="),
        namespaced("rolebindings", "RoleBinding").hash("eGsCzGH6b1g="),
        namespaced("roles", "Role").hash("7FuwZcIIItM="),
    ]
}

fn storage() -> Vec<Line> {
    vec![
        cluster("csidrivers", "CSIDriver").hash("hL6j/rwBV5w="),
        cluster("csinodes", "CSINode").hash("Pe62DkZtjuo="),
        namespaced("csistoragecapacities", "CSIStorageCapacity").hash("xeVl+2Ly1kE="),
        cluster("storageclasses", "StorageClass")
            .short(&["sc"])
            .hash("K+m6uJwbjGY="),
        cluster("volumeattachments", "VolumeAttachment")
            .status()
            .hash("tJx/ezt6UDU="),
        cluster("volumeattributesclasses", "VolumeAttributesClass")
            .short(&["vac"])
            .hash("tIjydgKBC5w="),
    ]
}

fn admission() -> Vec<Line> {
    vec![
        cluster("mutatingadmissionpolicies", "MutatingAdmissionPolicy")
            .category("api-extensions")
            .hash("mHCkTKpUTrE="),
        cluster(
            "mutatingadmissionpolicybindings",
            "MutatingAdmissionPolicyBinding",
        )
        .category("api-extensions")
        .hash("ZKgZT1uTmZ0="),
        cluster(
            "mutatingwebhookconfigurations",
            "MutatingWebhookConfiguration",
        )
        .category("api-extensions")
        .hash("Sqi0GUgDaX0="),
        cluster("validatingadmissionpolicies", "ValidatingAdmissionPolicy")
            .category("api-extensions")
            .status()
            .hash("6OxvlMmQ6is="),
        cluster(
            "validatingadmissionpolicybindings",
            "ValidatingAdmissionPolicyBinding",
        )
        .category("api-extensions")
        .hash("v9715VZqakg="),
        cluster(
            "validatingwebhookconfigurations",
            "ValidatingWebhookConfiguration",
        )
        .category("api-extensions")
        .hash("B0wHjQmsGNk="),
    ]
}

fn apiextensions() -> Vec<Line> {
    vec![
        cluster("customresourcedefinitions", "CustomResourceDefinition")
            .short(&["crd", "crds"])
            .category("api-extensions")
            .status()
            .hash("jfWCUB31mvA="),
    ]
}

fn scheduling() -> Vec<Line> {
    vec![
        cluster("priorityclasses", "PriorityClass")
            .short(&["pc"])
            .hash("1QwjyaZjj3Y="),
    ]
}

fn coordination() -> Vec<Line> {
    vec![namespaced("leases", "Lease").hash("gqkMMb/YqFM=")]
}

fn node() -> Vec<Line> {
    vec![cluster("runtimeclasses", "RuntimeClass").hash("WQTu1GL3T2Q=")]
}

fn discovery() -> Vec<Line> {
    vec![namespaced("endpointslices", "EndpointSlice").hash("Nx3SIv6I0mE=")]
}

fn flowcontrol() -> Vec<Line> {
    vec![
        cluster("flowschemas", "FlowSchema")
            .status()
            .hash("GJVAJZSZBIw="),
        cluster("prioritylevelconfigurations", "PriorityLevelConfiguration")
            .status()
            .hash("Kir5PVfvNeI="),
    ]
}

fn resource() -> Vec<Line> {
    vec![
        cluster("deviceclasses", "DeviceClass").hash("Yk2PTc1Ybxk="),
        namespaced("resourceclaims", "ResourceClaim")
            .status()
            .hash("wgAZaHcZxUg="),
        namespaced("resourceclaimtemplates", "ResourceClaimTemplate").hash("TuzjC49aUfM="),
        cluster("resourceslices", "ResourceSlice").hash("KsC072WgaEY="),
    ]
}
