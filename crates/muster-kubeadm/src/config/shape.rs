//! Which fields each kind has, of which type: for unknown fields and wrong types, with Go's words.
//!
//! It refuses to know what the fields mean.

use serde_json::Value;

/// What a field may hold.
pub(super) enum Shape {
    Text,
    Flag,
    Number,
    Span,
    List(&'static Self),
    /// Any keys, values of one shape.
    Map(&'static Self),
    Struct(&'static str, &'static [(&'static str, Self)]),
    /// Whatever Kubernetes' own types allow.
    Any,
}

use Shape::{Any, Flag, List, Map, Number, Span, Struct, Text};

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
pub(super) fn of(version: &str, kind: &str) -> Option<&'static Shape> {
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

/// The first value of a wrong type, in Go's words.
pub(super) fn mistyped(value: &Value, shape: &Shape, version: &str) -> Option<String> {
    look(value, shape, version, &mut Vec::new(), "")
}

fn look(
    value: &Value,
    shape: &Shape,
    version: &str,
    path: &mut Vec<String>,
    owner: &str,
) -> Option<String> {
    let wrong = |path: &[String]| {
        let found = match value {
            Value::Null => return None,
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let place = match (path, owner) {
            ([], _) => "value".to_owned(),
            (path, owner) => format!("struct field {owner}.{}", path.join(".")),
        };
        let wanted = go_type(shape, version);
        Some(format!(
            "json: cannot unmarshal {found} into Go {place} of type {wanted}"
        ))
    };
    match (shape, value) {
        (_, Value::Null) | (Any, _) | (Text, Value::String(_)) | (Flag, Value::Bool(_)) => None,
        (Number, Value::Number(number)) => match number.as_i64() {
            Some(whole) if i32::try_from(whole).is_ok() => None,
            _ => Some(format!(
                "json: cannot unmarshal number {number} into Go struct field {owner}.{} of type int32",
                path.join(".")
            )),
        },
        (Span, Value::String(text)) => {
            muster_identity::GoDuration::parse(text)
                .err()
                .map(|error| match error {
                    muster_identity::DurationError::MissingUnit { .. } => {
                        format!("time: missing unit in duration {text:?}")
                    }
                    _ => format!("time: invalid duration {text:?}"),
                })
        }
        (List(item), Value::Array(items)) => items
            .iter()
            .find_map(|value| look(value, item, version, path, owner)),
        (Map(item), Value::Object(map)) => map
            .values()
            .find_map(|value| look(value, item, version, path, owner)),
        (Struct(name, fields), Value::Object(map)) => fields.iter().find_map(|(field, shape)| {
            let value = map.get(*field)?;
            path.push((*field).to_owned());
            let wrong = look(value, shape, version, path, name);
            path.pop();
            wrong
        }),
        _ => wrong(path),
    }
}

fn go_type(shape: &Shape, version: &str) -> String {
    match shape {
        Text | Span => "string".into(),
        Flag => "bool".into(),
        Number => "int32".into(),
        Any => "interface {}".into(),
        List(item) => format!("[]{}", go_type(item, version)),
        Map(item) => format!("map[string]{}", go_type(item, version)),
        Struct(name, _) => match *name {
            "Taint" => "v1.Taint".into(),
            name => format!("{version}.{name}"),
        },
    }
}

/// The paths of all fields that the kind does not have, in Go's notation.
pub(super) fn unknown_fields(value: &Value, shape: &Shape) -> Vec<String> {
    let mut found = Vec::new();
    collect(value, shape, "", &mut found);
    found
}

fn collect(value: &Value, shape: &Shape, path: &str, found: &mut Vec<String>) {
    match (shape, value) {
        (List(item), Value::Array(items)) => {
            for (number, value) in items.iter().enumerate() {
                collect(value, item, &format!("{path}[{number}]"), found);
            }
        }
        (Struct(_, fields), Value::Object(map)) => {
            for (name, value) in map {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                match fields.iter().find(|(field, _)| field == name) {
                    Some((_, shape)) => collect(value, shape, &path, found),
                    None => found.push(path),
                }
            }
        }
        _ => {}
    }
}
