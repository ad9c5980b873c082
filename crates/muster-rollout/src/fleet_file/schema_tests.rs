//! The published schema says what the code says: the same fields, and the same verdict on files.

use super::written::{
    Cluster, CommandEntry, ConcurrencyEntry, FleetConfiguration, GroupEntry, HooksEntry, HostEntry,
    JoinBlock, JumpBlock, K8s, K8sKubeadm, LocalEntry, Metadata, MintOnEntry, PolicyEntry,
    ProbePod, ProviderBlock, ReadinessEntry, Settings, Ssh, TimeoutsEntry, TokenEntry,
    VagrantEntry,
};
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

const SCHEMA: &str = include_str!("../../../../docs/reference/fleet-schema.json");
const PAGE: &str = include_str!("../../../../docs/reference/fleet.md");
const README: &str = include_str!("../../../../README.md");

/// Asks a type for its fields instead of filling them.
struct Probe;

/// The fields, on the way out.
#[derive(Debug)]
struct Fields(&'static [&'static str]);

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Fields {}

impl serde::de::Error for Fields {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

impl<'de> Deserializer<'de> for Probe {
    type Error = Fields;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fields> {
        Err(Fields(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Fields> {
        Err(Fields(fields))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn fields_of<'de, T: Deserialize<'de>>() -> BTreeSet<&'static str> {
    match T::deserialize(Probe) {
        Err(Fields(fields)) => fields.iter().copied().collect(),
        Ok(_) => panic!("the probe gives no values"),
    }
}

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

#[test]
fn every_block_of_the_schema_has_the_fields_that_the_code_reads() {
    let schema = schema();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    let mut compare = |name: &'static str, block: &Value, code: BTreeSet<&'static str>| {
        let said: BTreeSet<&str> = block["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(said, code, "{name}");
        assert_eq!(block["additionalProperties"], false, "{name}");
        known.insert(name);
    };
    compare("", &schema, fields_of::<FleetConfiguration>());
    let defs = &schema["$defs"];
    for (name, code) in [
        ("metadata", fields_of::<Metadata>()),
        ("cluster", fields_of::<Cluster>()),
        ("mintOn", fields_of::<MintOnEntry>()),
        ("settings", fields_of::<Settings>()),
        ("group", fields_of::<GroupEntry>()),
        ("host", fields_of::<HostEntry>()),
        ("ssh", fields_of::<Ssh>()),
        ("jump", fields_of::<JumpBlock>()),
        ("joinBlock", fields_of::<JoinBlock>()),
        ("hooks", fields_of::<HooksEntry>()),
        ("providerBlock", fields_of::<ProviderBlock>()),
        ("vagrant", fields_of::<VagrantEntry>()),
        ("command", fields_of::<CommandEntry>()),
        ("local", fields_of::<LocalEntry>()),
        ("policy", fields_of::<PolicyEntry>()),
        ("concurrency", fields_of::<ConcurrencyEntry>()),
        ("timeouts", fields_of::<TimeoutsEntry>()),
        ("token", fields_of::<TokenEntry>()),
        ("readiness", fields_of::<ReadinessEntry>()),
        ("probePod", fields_of::<ProbePod>()),
        ("k8s", fields_of::<K8s>()),
        ("k8sKubeadm", fields_of::<K8sKubeadm>()),
    ] {
        compare(name, &defs[name], code);
    }
    let blocks = defs
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, def)| def["properties"].is_object());
    for (name, _) in blocks {
        assert!(
            known.contains(name.as_str()),
            "{name} is compared with nothing"
        );
    }
}

/// As much of JSON Schema as the file uses.
fn fits(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let def = root
            .pointer(&name[1..])
            .ok_or_else(|| format!("no {name}"))?;
        return fits(root, def, value);
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let one = choices
            .iter()
            .any(|choice| fits(root, choice, value).is_ok());
        return if one {
            Ok(())
        } else {
            Err(format!("{value} fits no choice"))
        };
    }
    if let Some(constant) = schema.get("const") {
        return if constant == value {
            Ok(())
        } else {
            Err(format!("{value} is not {constant}"))
        };
    }
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        return if choices.contains(value) {
            Ok(())
        } else {
            Err(format!("{value} is no choice"))
        };
    }
    let wrong = |what: &str| Err(format!("{value} is not {what}"));
    match schema["type"]
        .as_str()
        .ok_or_else(|| format!("no type in {schema}"))?
    {
        "string" => {
            let Some(text) = value.as_str() else {
                return wrong("a string");
            };
            match schema.get("pattern").and_then(Value::as_str) {
                Some(pattern) if !regex::Regex::new(pattern).unwrap().is_match(text) => {
                    wrong(pattern)
                }
                _ => Ok(()),
            }
        }
        "boolean" if value.is_boolean() => Ok(()),
        "integer" => {
            let Some(number) = value.as_i64() else {
                return wrong("an integer");
            };
            let least = schema["minimum"].as_i64().unwrap();
            let most = schema["maximum"].as_i64().unwrap();
            if (least..=most).contains(&number) {
                Ok(())
            } else {
                wrong("in range")
            }
        }
        "array" => {
            let Some(items) = value.as_array() else {
                return wrong("a list");
            };
            items
                .iter()
                .try_for_each(|item| fits(root, &schema["items"], item))
        }
        "object" => {
            let Some(fields) = value.as_object() else {
                return wrong("a block");
            };
            for required in schema
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                if !fields.contains_key(required.as_str().unwrap()) {
                    return Err(format!("{required} is missing"));
                }
            }
            for (name, value) in fields {
                let known = schema.get("properties").and_then(|known| known.get(name));
                let free = schema
                    .get("additionalProperties")
                    .filter(|free| free.is_object());
                let Some(schema) = known.or(free) else {
                    return Err(format!("no field {name}"));
                };
                fits(root, schema, value).map_err(|error| format!("{name}: {error}"))?;
            }
            Ok(())
        }
        other => wrong(other),
    }
}

fn verdicts(text: &str) -> (Result<(), String>, Result<(), String>) {
    let schema = schema();
    let value: Value = serde_saphyr::from_str(text).unwrap();
    let code = FleetConfiguration::parse(text)
        .map(|_| ())
        .map_err(|error| error.to_string());
    (fits(&schema, &schema, &value), code)
}

/// Everything that can be said, at once.
const ALL: &str = r#"
apiVersion: muster.dev/v1alpha1
kind: FleetConfiguration
metadata: {name: east}
cluster:
  kubeconfig: admin.conf
  context: east
  mintOn: {ssh: {address: cp}, local: false, sudo: none, kubeadm: /k, kubeconfig: /a}
  endpoint: h:6443
  caCertHashes: ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]
  certificateKey: {env: KEY}
defaults: &all
  ssh:
    address: "{name}.x"
    user: root
    port: 22
    identityFile: [a, b]
    jump: [u@j:22, {address: k, user: u, port: 1, identityFile: x}]
    configFile: c
    knownHostsFile: k
  sudo: {password: {file: pw}}
  role: worker
  labels: {a: b}
  taints: ["a=b:NoSchedule", "c:NoExecute"]
  join:
    method: muster
    binary: ./muster
    nodeIP: auto
    root: /r
    kubelet: system
    runtime: hollow
    criSocket: unix:///run/x.sock
    ignorePreflightErrors: [all]
    extraArgs: [--x]
  hooks: {beforeJoin: [echo, [a, b]], afterJoin: []}
  provider: {command: {create: a, destroy: b, cpus: 1, memory: 512}}
groups:
  one: {concurrency: 2, namespace: x, join: k3s, provider: {vagrant: {directory: d, box: b, cpus: 1, memory: 1}}}
hosts:
- {name: a, groups: [one], local: true, sudo: auto, provider: {local: {directory: x}}}
policy: {onFailure: keepAtLeast, keepAtLeast: 80%, maxFailures: 3, canary: 1, waves: [10%, 5], waveFailures: 0}
concurrency: {limit: auto, undo: 5, perJumpHost: 10, perGroup: 4}
timeouts: {connect: 1s, stage: 1m30s, run: 0s, ready: 1.5h, undo: 100ms}
token: {ttl: 1h, margin: 5m}
readiness: {until: Registered, servingCertificate: true, probePod: {image: x}}
k8s: {kubeadm: {join_parallelism: auto}}
"#;

#[test]
fn what_says_everything_fits_the_schema_and_is_read() {
    assert_eq!(verdicts(ALL), (Ok(()), Ok(())));
}

#[test]
fn what_the_code_refuses_for_its_shape_does_not_fit_the_schema_either() {
    for (from, to) in [
        ("kind: FleetConfiguration", "kind: Fleet"),
        ("metadata:", "metadatas:"),
        ("port: 22\n", "port: 0\n"),
        ("user: root\n", "user: 1\n"),
        ("role: worker", "role: boss"),
        ("labels: {a: b}", "labels: {a: 1}"),
        ("c:NoExecute", "c:Never"),
        ("method: muster", "method: rke"),
        ("kubelet: system", "kubelet: other"),
        ("{address: k, ", "{"),
        ("create: a, ", ""),
        ("concurrency: 2", "concurrency: 0"),
        ("{name: a, groups", "{groups"),
        ("keepAtLeast: 80%", "keepAtLeast: 0%"),
        ("limit: auto", "limit: -1"),
        ("stage: 1m30s", "stage: 90"),
        ("ttl: 1h", "ttl: hour"),
        ("servingCertificate: true", "servingCertificate: 'yes'"),
        ("probePod: {image: x}", "probePod: {}"),
        ("join_parallelism: auto", "joinParallelism: 3"),
        ("sudo: auto", "sudo: doas"),
        ("{password: {file: pw}}", "{password: hunter2}"),
        (
            "certificateKey: {env: KEY}",
            "certificateKey: {env: KEY, file: x}",
        ),
        ("provider: {local: {directory: x}}", "provider: cloud"),
    ] {
        assert!(ALL.contains(from), "{from}");
        let (schema, code) = verdicts(&ALL.replacen(from, to, 1));
        assert!(
            schema.is_err() && code.is_err(),
            "{to}: {schema:?}, {code:?}"
        );
    }
}

/// The fleet files of the pages, as they stand there.
fn examples() -> Vec<String> {
    let blocks = [PAGE, README]
        .into_iter()
        .flat_map(|page| page.split("```yaml\n").skip(1));
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned());
    blocks
        .filter(|block| block.contains("kind: FleetConfiguration"))
        .collect()
}

#[test]
fn the_examples_of_the_pages_fit_the_schema_and_mean_something() {
    let examples = examples();
    assert!(examples.len() >= 4, "{}", examples.len());
    for example in examples {
        assert_eq!(verdicts(&example), (Ok(()), Ok(())), "{example}");
        let ambient = super::Ambient {
            name: "x",
            directory: "",
        };
        let fleet = FleetConfiguration::parse(&example)
            .unwrap()
            .resolve(&ambient);
        assert!(fleet.is_ok(), "{example}\n{fleet:?}");
    }
}

#[test]
fn every_field_of_the_schema_stands_on_the_page() {
    let schema = schema();
    let defs = schema["$defs"].as_object().unwrap().values();
    for block in defs.chain([&schema]) {
        for name in block["properties"]
            .as_object()
            .into_iter()
            .flat_map(|fields| fields.keys())
        {
            let ways = [format!("`{name}`"), format!(".{name}`"), format!("{name}:")];
            let told = ways.iter().any(|way| PAGE.contains(way.as_str()));
            assert!(told, "{name} is not on the page");
        }
    }
}
