//! The fields of every kind, by version.
//!
//! It refuses to know how they are compared with a file.

use super::Shape::{self, Any, Flag, List, Map, Number, Span, Struct, Text};

const ARG: Shape = Struct("Arg", &[("name", Text), ("value", Text)]);
static ARG_SHAPE: Shape = ARG;
static TEXT: Shape = Text;
static FLAG: Shape = Flag;
static ANY: Shape = Any;
static TAINT: Shape = Struct(
    "Taint",
    &[
        ("key", Text),
        ("value", Text),
        ("effect", Text),
        ("timeAdded", Text),
    ],
);
static MOUNT: Shape = Struct(
    "HostPathMount",
    &[
        ("name", Text),
        ("hostPath", Text),
        ("mountPath", Text),
        ("readOnly", Flag),
        ("pathType", Text),
    ],
);
static TOKEN: Shape = Struct(
    "BootstrapToken",
    &[
        ("token", Text),
        ("description", Text),
        ("ttl", Span),
        ("expires", Text),
        ("usages", List(&TEXT)),
        ("groups", List(&TEXT)),
    ],
);

const TEXTS: Shape = List(&TEXT);
const ARGS: Shape = List(&ARG_SHAPE);
const ARG_MAP: Shape = Map(&TEXT);
const API_ENDPOINT: Shape = Struct(
    "APIEndpoint",
    &[("advertiseAddress", Text), ("bindPort", Number)],
);
const PATCHES: Shape = Struct("Patches", &[("directory", Text)]);
const TIMEOUTS: Shape = Struct(
    "Timeouts",
    &[
        ("controlPlaneComponentHealthCheck", Span),
        ("kubeletHealthCheck", Span),
        ("kubernetesAPICall", Span),
        ("etcdAPICall", Span),
        ("tlsBootstrap", Span),
        ("discovery", Span),
        ("upgradeManifests", Span),
    ],
);
const NODE_REGISTRATION: Shape = Struct(
    "NodeRegistrationOptions",
    &[
        ("name", Text),
        ("criSocket", Text),
        ("taints", List(&TAINT)),
        ("kubeletExtraArgs", ARGS),
        ("ignorePreflightErrors", TEXTS),
        ("imagePullPolicy", Text),
        ("imagePullSerial", Flag),
    ],
);
const OLD_NODE_REGISTRATION: Shape = Struct(
    "NodeRegistrationOptions",
    &[
        ("name", Text),
        ("criSocket", Text),
        ("taints", List(&TAINT)),
        ("kubeletExtraArgs", ARG_MAP),
        ("ignorePreflightErrors", TEXTS),
        ("imagePullPolicy", Text),
    ],
);
const TOKEN_DISCOVERY: Shape = Struct(
    "BootstrapTokenDiscovery",
    &[
        ("token", Text),
        ("apiServerEndpoint", Text),
        ("caCertHashes", TEXTS),
        ("unsafeSkipCAVerification", Flag),
    ],
);
const FILE_DISCOVERY: Shape = Struct("FileDiscovery", &[("kubeConfigPath", Text)]);
const JOIN_CONTROL_PLANE: Shape = Struct(
    "JoinControlPlane",
    &[("localAPIEndpoint", API_ENDPOINT), ("certificateKey", Text)],
);

static JOIN: Shape = Struct(
    "JoinConfiguration",
    &[
        ("apiVersion", Text),
        ("kind", Text),
        ("dryRun", Flag),
        ("nodeRegistration", NODE_REGISTRATION),
        ("caCertPath", Text),
        (
            "discovery",
            Struct(
                "Discovery",
                &[
                    ("bootstrapToken", TOKEN_DISCOVERY),
                    ("file", FILE_DISCOVERY),
                    ("tlsBootstrapToken", Text),
                ],
            ),
        ),
        ("controlPlane", JOIN_CONTROL_PLANE),
        ("skipPhases", TEXTS),
        ("patches", PATCHES),
        ("timeouts", TIMEOUTS),
    ],
);

static OLD_JOIN: Shape = Struct(
    "JoinConfiguration",
    &[
        ("apiVersion", Text),
        ("kind", Text),
        ("nodeRegistration", OLD_NODE_REGISTRATION),
        ("caCertPath", Text),
        (
            "discovery",
            Struct(
                "Discovery",
                &[
                    ("bootstrapToken", TOKEN_DISCOVERY),
                    ("file", FILE_DISCOVERY),
                    ("tlsBootstrapToken", Text),
                    ("timeout", Span),
                ],
            ),
        ),
        ("controlPlane", JOIN_CONTROL_PLANE),
        ("skipPhases", TEXTS),
        ("patches", PATCHES),
    ],
);

static INIT: Shape = Struct(
    "InitConfiguration",
    &[
        ("apiVersion", Text),
        ("kind", Text),
        ("bootstrapTokens", List(&TOKEN)),
        ("dryRun", Flag),
        ("nodeRegistration", NODE_REGISTRATION),
        ("localAPIEndpoint", API_ENDPOINT),
        ("certificateKey", Text),
        ("skipPhases", TEXTS),
        ("patches", PATCHES),
        ("timeouts", TIMEOUTS),
    ],
);

static OLD_INIT: Shape = Struct(
    "InitConfiguration",
    &[
        ("apiVersion", Text),
        ("kind", Text),
        ("bootstrapTokens", List(&TOKEN)),
        ("nodeRegistration", OLD_NODE_REGISTRATION),
        ("localAPIEndpoint", API_ENDPOINT),
        ("certificateKey", Text),
        ("skipPhases", TEXTS),
        ("patches", PATCHES),
    ],
);

const COMPONENT: Shape = Struct(
    "ControlPlaneComponent",
    &[
        ("extraArgs", ARGS),
        ("extraVolumes", List(&MOUNT)),
        ("extraEnvs", List(&ANY)),
    ],
);
const OLD_COMPONENT: Shape = Struct(
    "ControlPlaneComponent",
    &[("extraArgs", ARG_MAP), ("extraVolumes", List(&MOUNT))],
);
const NETWORKING: Shape = Struct(
    "Networking",
    &[
        ("serviceSubnet", Text),
        ("podSubnet", Text),
        ("dnsDomain", Text),
    ],
);

static CLUSTER: Shape = Struct(
    "ClusterConfiguration",
    &[
        ("apiVersion", Text),
        ("kind", Text),
        (
            "etcd",
            Struct(
                "Etcd",
                &[
                    (
                        "local",
                        Struct(
                            "LocalEtcd",
                            &[
                                ("imageRepository", Text),
                                ("imageTag", Text),
                                ("dataDir", Text),
                                ("extraArgs", ARGS),
                                ("extraEnvs", List(&ANY)),
                                ("serverCertSANs", TEXTS),
                                ("peerCertSANs", TEXTS),
                            ],
                        ),
                    ),
                    (
                        "external",
                        Struct(
                            "ExternalEtcd",
                            &[
                                ("endpoints", TEXTS),
                                ("httpEndpoints", TEXTS),
                                ("caFile", Text),
                                ("certFile", Text),
                                ("keyFile", Text),
                            ],
                        ),
                    ),
                ],
            ),
        ),
        ("networking", NETWORKING),
        ("kubernetesVersion", Text),
        ("controlPlaneEndpoint", Text),
        (
            "apiServer",
            Struct(
                "APIServer",
                &[
                    ("extraArgs", ARGS),
                    ("extraVolumes", List(&MOUNT)),
                    ("extraEnvs", List(&ANY)),
                    ("certSANs", TEXTS),
                ],
            ),
        ),
        ("controllerManager", COMPONENT),
        ("scheduler", COMPONENT),
        (
            "dns",
            Struct(
                "DNS",
                &[
                    ("imageRepository", Text),
                    ("imageTag", Text),
                    ("disabled", Flag),
                ],
            ),
        ),
        ("proxy", Struct("Proxy", &[("disabled", Flag)])),
        ("certificatesDir", Text),
        ("imageRepository", Text),
        ("featureGates", Map(&FLAG)),
        ("clusterName", Text),
        ("encryptionAlgorithm", Text),
        ("certificateValidityPeriod", Span),
        ("caCertificateValidityPeriod", Span),
    ],
);

static OLD_CLUSTER: Shape = Struct(
    "ClusterConfiguration",
    &[
        ("apiVersion", Text),
        ("kind", Text),
        (
            "etcd",
            Struct(
                "Etcd",
                &[
                    (
                        "local",
                        Struct(
                            "LocalEtcd",
                            &[
                                ("imageRepository", Text),
                                ("imageTag", Text),
                                ("dataDir", Text),
                                ("extraArgs", ARG_MAP),
                                ("serverCertSANs", TEXTS),
                                ("peerCertSANs", TEXTS),
                            ],
                        ),
                    ),
                    (
                        "external",
                        Struct(
                            "ExternalEtcd",
                            &[
                                ("endpoints", TEXTS),
                                ("caFile", Text),
                                ("certFile", Text),
                                ("keyFile", Text),
                            ],
                        ),
                    ),
                ],
            ),
        ),
        ("networking", NETWORKING),
        ("kubernetesVersion", Text),
        ("controlPlaneEndpoint", Text),
        (
            "apiServer",
            Struct(
                "APIServer",
                &[
                    ("extraArgs", ARG_MAP),
                    ("extraVolumes", List(&MOUNT)),
                    ("certSANs", TEXTS),
                    ("timeoutForControlPlane", Span),
                ],
            ),
        ),
        ("controllerManager", OLD_COMPONENT),
        ("scheduler", OLD_COMPONENT),
        (
            "dns",
            Struct("DNS", &[("imageRepository", Text), ("imageTag", Text)]),
        ),
        ("certificatesDir", Text),
        ("imageRepository", Text),
        ("featureGates", Map(&FLAG)),
        ("clusterName", Text),
    ],
);

static RESET: Shape = Struct(
    "ResetConfiguration",
    &[
        ("apiVersion", Text),
        ("kind", Text),
        ("cleanupTmpDir", Flag),
        ("certificatesDir", Text),
        ("criSocket", Text),
        ("dryRun", Flag),
        ("force", Flag),
        ("ignorePreflightErrors", TEXTS),
        ("skipPhases", TEXTS),
        ("unmountFlags", TEXTS),
        ("timeouts", TIMEOUTS),
    ],
);

static UPGRADE: Shape = Struct(
    "UpgradeConfiguration",
    &[
        ("apiVersion", Text),
        ("kind", Text),
        (
            "apply",
            Struct(
                "UpgradeApplyConfiguration",
                &[
                    ("kubernetesVersion", Text),
                    ("allowExperimentalUpgrades", Flag),
                    ("allowRCUpgrades", Flag),
                    ("certificateRenewal", Flag),
                    ("dryRun", Flag),
                    ("etcdUpgrade", Flag),
                    ("forceUpgrade", Flag),
                    ("ignorePreflightErrors", TEXTS),
                    ("patches", PATCHES),
                    ("printConfig", Flag),
                    ("skipPhases", TEXTS),
                    ("imagePullPolicy", Text),
                    ("imagePullSerial", Flag),
                ],
            ),
        ),
        (
            "diff",
            Struct(
                "UpgradeDiffConfiguration",
                &[("kubernetesVersion", Text), ("contextLines", Number)],
            ),
        ),
        (
            "node",
            Struct(
                "UpgradeNodeConfiguration",
                &[
                    ("certificateRenewal", Flag),
                    ("dryRun", Flag),
                    ("etcdUpgrade", Flag),
                    ("ignorePreflightErrors", TEXTS),
                    ("skipPhases", TEXTS),
                    ("patches", PATCHES),
                    ("imagePullPolicy", Text),
                    ("imagePullSerial", Flag),
                ],
            ),
        ),
        (
            "plan",
            Struct(
                "UpgradePlanConfiguration",
                &[
                    ("kubernetesVersion", Text),
                    ("allowExperimentalUpgrades", Flag),
                    ("allowRCUpgrades", Flag),
                    ("dryRun", Flag),
                    ("etcdUpgrade", Flag),
                    ("ignorePreflightErrors", TEXTS),
                    ("printConfig", Flag),
                ],
            ),
        ),
        ("timeouts", TIMEOUTS),
    ],
);

/// The shape of a kind of kubeadm's; `None` when there is no such kind in that version.
pub(in crate::config) fn of(version: &str, kind: &str) -> Option<&'static Shape> {
    match (version, kind) {
        ("v1beta4", "JoinConfiguration") => Some(&JOIN),
        ("v1beta4", "InitConfiguration") => Some(&INIT),
        ("v1beta4", "ClusterConfiguration") => Some(&CLUSTER),
        ("v1beta4", "ResetConfiguration") => Some(&RESET),
        ("v1beta4", "UpgradeConfiguration") => Some(&UPGRADE),
        ("v1beta3", "JoinConfiguration") => Some(&OLD_JOIN),
        ("v1beta3", "InitConfiguration") => Some(&OLD_INIT),
        ("v1beta3", "ClusterConfiguration") => Some(&OLD_CLUSTER),
        _ => None,
    }
}
