//! A fleet of one host: what a fleet file says about it, and over that what the command line says.
//!
//! It is written down as a fleet file of its own, so that the journal of its run is like any other's.

use crate::args::node::{HostFlags, Provider};
use crate::exit::Failure;
use muster_fleet::rollout::Source;
use muster_rollout::fleet_file::{Ambient, FleetConfiguration};
use muster_rollout::range::Pattern;
use muster_rollout::{FileError, Fleet};
use serde_json::{Map, Value, json};
use std::path::Path;

/// What the fleet file is, where there is none.
const NO_FILE: &str = "apiVersion: muster.dev/v1alpha1\nkind: FleetConfiguration\n";
/// Largest fleet file that is read, in bytes.
const LARGEST: u64 = 64 * 1024 * 1024;

/// A fleet of one.
pub(super) struct One {
    pub(super) fleet: Fleet,
    pub(super) source: Source,
}

/// Puts the fleet of one host together; `over` has further fields of the host.
pub(super) fn compose(
    name: &str,
    flags: &HostFlags,
    over: Map<String, Value>,
    file_over: Value,
) -> Result<One, Failure> {
    let path = flags.file.as_deref();
    let text = path.map_or_else(|| Ok(NO_FILE.to_owned()), read)?;
    let shown = path.map_or_else(
        || "the command line".to_owned(),
        |path| path.display().to_string(),
    );
    let wrong = |shown: &str, error: &FileError| {
        let mut failure = Failure::usage(format!("{shown} cannot be used"));
        failure
            .causes
            .extend(error.to_string().lines().map(str::to_owned));
        failure
    };
    // First as it stands: then what is wrong has its line.
    FleetConfiguration::parse(&text).map_err(|error| wrong(&shown, &error))?;
    let mut file: Value = serde_saphyr::from_str(&text)
        .map_err(|error| Failure::usage(format!("{shown} cannot be used")).because(&error))?;
    let mut host =
        found(&file, name).unwrap_or_else(|| Map::from_iter([("name".to_owned(), json!(name))]));
    let defaults = file.pointer("/defaults/provider").cloned();
    apply(&mut host, flags, defaults);
    for (field, value) in over {
        merge(host.entry(field).or_insert(Value::Null), value);
    }
    let fleet_name = fleet_name(name);
    if let Some(fields) = file.as_object_mut() {
        // One host is all or none.
        fields.remove("policy");
        fields.insert("hosts".to_owned(), json!([host]));
        fields.insert("metadata".to_owned(), json!({"name": fleet_name}));
    }
    merge(&mut file, file_over);
    let text = serde_json::to_string_pretty(&file)
        .map_err(|error| Failure::usage("the host cannot be written down").because(&error))?;
    let base = base_of(path)?;
    let ambient = Ambient {
        name: &fleet_name,
        directory: &base,
    };
    let fleet = FleetConfiguration::parse(&text)
        .and_then(|configuration| configuration.resolve(&ambient))
        .map_err(|mut error| {
            without_places(&mut error);
            wrong(&format!("what is said about {name}"), &error)
        })?;
    Ok(One {
        fleet,
        source: Source {
            path: shown,
            name: fleet_name,
            base,
            fleet_file: Some(text),
            inventory: None,
            limit: Vec::new(),
        },
    })
}

/// Lines of a text that nobody has written help nobody.
fn without_places(error: &mut FileError) {
    if let FileError::Faults { faults, .. } = error {
        for fault in faults {
            fault.position = muster_rollout::Position::default();
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let unreadable = |error: &std::io::Error| {
        Failure::usage(format!("{} cannot be read", path.display())).because(error)
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| unreadable(&error))?;
    std::io::Read::read_to_string(&mut std::io::Read::take(file, LARGEST), &mut text)
        .map_err(|error| unreadable(&error))?;
    Ok(text)
}

fn base_of(path: Option<&Path>) -> Result<String, Failure> {
    let absolute = std::path::absolute(path.unwrap_or_else(|| Path::new("./x")))
        .map_err(|error| Failure::usage("the working directory is unknown").because(&error))?;
    Ok(absolute
        .parent()
        .unwrap_or_else(|| Path::new("/"))
        .display()
        .to_string())
}

/// A DNS-1123 label for the run of one node.
fn fleet_name(node: &str) -> String {
    let label: String = format!("node-{node}")
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(50)
        .collect();
    label.trim_matches('-').to_owned()
}

/// The host's entry in the file, with its own of each range.
fn found(file: &Value, name: &str) -> Option<Map<String, Value>> {
    let hosts = file.get("hosts")?.as_array()?;
    hosts.iter().find_map(|host| {
        let names = Pattern::parse(host.get("name")?.as_str()?).ok()?;
        let index = (0..names.count()).find(|index| names.nth(*index) == name)?;
        let mut host = host.as_object()?.clone();
        host.insert("name".to_owned(), json!(name));
        for pointer in ["/ssh/address", "/namespace", "/join/nodeIP"] {
            let mut whole = Value::Object(host);
            if let Some(Value::String(text)) = whole.pointer_mut(pointer)
                && let Ok(pattern) = Pattern::parse(text)
            {
                *text = pattern.nth(index);
            }
            let Value::Object(fields) = whole else {
                return None;
            };
            host = fields;
        }
        Some(host)
    })
}

/// What the command line says wins.
fn apply(host: &mut Map<String, Value>, flags: &HostFlags, default_provider: Option<Value>) {
    let mut ssh = Map::new();
    let mut say = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            ssh.insert(field.to_owned(), value);
        }
    };
    say("address", flags.address.as_ref().map(|it| json!(it)));
    say("user", flags.ssh_user.as_ref().map(|it| json!(it)));
    say("port", flags.ssh_port.map(|it| json!(it)));
    say(
        "identityFile",
        flags.identity_file.as_ref().map(|it| json!(absolute(it))),
    );
    say("jump", (!flags.jump.is_empty()).then(|| json!(flags.jump)));
    if !ssh.is_empty() {
        merge(
            host.entry("ssh").or_insert_with(|| json!({})),
            Value::Object(ssh),
        );
    }
    if flags.namespace.is_some() || flags.local {
        host.remove("ssh");
        host.remove("namespace");
        host.remove("local");
    }
    if let Some(namespace) = &flags.namespace {
        host.insert("namespace".to_owned(), json!(namespace));
    }
    if flags.local {
        host.insert("local".to_owned(), json!(true));
    }
    if !flags.groups.is_empty() {
        host.insert("groups".to_owned(), json!(flags.groups));
    }
    let mut join = Map::new();
    if let Some(method) = &flags.method {
        join.insert("method".to_owned(), json!(method));
    }
    if let Some(root) = &flags.root {
        join.insert("root".to_owned(), json!(absolute(root)));
    }
    if !join.is_empty() {
        let own = host.entry("join").or_insert_with(|| json!({}));
        if let Value::String(method) = own {
            *own = json!({"method": method});
        }
        merge(own, Value::Object(join));
    }
    if let Some(provider) = provider(host.get("provider").cloned().or(default_provider), flags) {
        host.insert("provider".to_owned(), provider);
    }
}

/// The provider as the file has it, with what the command line says over it. `None`: nothing is said.
fn provider(written: Option<Value>, flags: &HostFlags) -> Option<Value> {
    let kind = match flags.provider {
        Some(Provider::None) => return Some(json!("none")),
        Some(Provider::Vagrant) => "vagrant",
        Some(Provider::Command) => "command",
        Some(Provider::Local) => "local",
        None => match written.as_ref()? {
            Value::Object(kinds) => ["vagrant", "command", "local"]
                .into_iter()
                .find(|kind| kinds.contains_key(*kind))?,
            other => return Some(other.clone()),
        },
    };
    let same = written
        .as_ref()
        .and_then(|written| written.get(kind))
        .and_then(Value::as_object);
    let mut block = same.cloned().unwrap_or_default();
    let mut say = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            block.insert(field.to_owned(), value);
        }
    };
    say(
        "directory",
        flags.directory.as_ref().map(|it| json!(absolute(it))),
    );
    say("box", flags.image.as_ref().map(|it| json!(it)));
    say("create", flags.create.as_ref().map(|it| json!(it)));
    say("destroy", flags.destroy.as_ref().map(|it| json!(it)));
    if kind != "local" {
        say("cpus", flags.cpus.map(|it| json!(it)));
        say("memory", flags.memory.map(|it| json!(it)));
    }
    Some(json!({kind: block}))
}

/// Paths of the command line are those of the working directory, not of the fleet file's.
fn absolute(path: &str) -> String {
    if path.starts_with('~') {
        return path.to_owned();
    }
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (field, value) in from {
                merge(into.entry(field).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_rollout::fleet_file::{Connection, HostMethod, Provider as Made};
    use std::io::Write as _;

    fn one(name: &str, flags: HostFlags) -> Fleet {
        compose(name, &flags, Map::new(), json!({}))
            .unwrap_or_else(|failure| panic!("{}", failure.render()))
            .fleet
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{NO_FILE}{text}").unwrap();
        file
    }

    #[test]
    fn without_a_file_the_name_says_it_all() {
        let fleet = one("W-4.lab", HostFlags::default());
        assert_eq!(fleet.name, "node-w-4-lab");
        assert_eq!(fleet.hosts.len(), 1);
        assert_eq!(fleet.hosts[0].name.as_str(), "w-4.lab");
        assert!(matches!(
            fleet.hosts[0].settings.join,
            HostMethod::Muster(_)
        ));
    }

    #[test]
    fn a_host_of_the_file_is_taken_out_of_its_range_and_the_command_line_wins() {
        let file = file(
            "cluster: {kubeconfig: admin.conf}\ndefaults: {join: kubeadm, ssh: {user: root}}\ngroups: {g: {labels: {a: b}}}\npolicy: {canary: 1}\nhosts:\n- {name: 'w-[1:9]', groups: [g], ssh: {address: '10.0.0.[11:19]', port: 22}}\n",
        );
        let flags = HostFlags {
            file: Some(file.path().to_owned()),
            ssh_port: Some(2222),
            ..HostFlags::default()
        };
        let fleet = one("w-4", flags);
        let host = &fleet.hosts[0];
        assert_eq!(host.address(), "10.0.0.14");
        let Connection::Ssh(ssh) = &host.settings.connection else {
            panic!()
        };
        assert_eq!((ssh.user.as_deref(), ssh.port), (Some("root"), Some(2222)));
        assert_eq!(host.settings.labels["a"], "b");
        assert!(matches!(host.settings.join, HostMethod::Kubeadm(_)));
        assert!(fleet.cluster.kubeconfig.unwrap().ends_with("/admin.conf"));
    }

    #[test]
    fn machines_are_made_as_large_as_asked_and_as_the_file_says_otherwise() {
        let file = file("defaults: {provider: {command: {create: a, destroy: b, memory: 512}}}\n");
        let flags = HostFlags {
            file: Some(file.path().to_owned()),
            cpus: Some(4),
            ..HostFlags::default()
        };
        let Made::Command(command) = &one("w", flags).hosts[0].settings.provider.clone() else {
            panic!()
        };
        assert_eq!((command.size.cpus, command.size.memory), (4, 512));
        let flags = HostFlags {
            provider: Some(Provider::Vagrant),
            image: Some("debian/bookworm64".to_owned()),
            memory: Some(16384),
            ..HostFlags::default()
        };
        let Made::Vagrant(vagrant) = &one("w", flags).hosts[0].settings.provider.clone() else {
            panic!()
        };
        assert_eq!((vagrant.size.cpus, vagrant.size.memory), (2, 16384));
    }

    #[test]
    fn what_is_wrong_has_a_line_in_the_file_and_none_on_the_command_line() {
        let file = file("hosts: [{nmae: x}]\n");
        let flags = HostFlags {
            file: Some(file.path().to_owned()),
            ..HostFlags::default()
        };
        let failure = compose("x", &flags, Map::new(), json!({})).err().unwrap();
        assert!(
            failure.causes[0].starts_with("line 3, column 10"),
            "{:?}",
            failure.causes
        );
        let failure = compose("A_B", &HostFlags::default(), Map::new(), json!({}))
            .err()
            .unwrap();
        assert!(
            failure.causes[0].starts_with("hosts[0].name: "),
            "{:?}",
            failure.causes
        );
    }
}
