//! The settings of a host, complete: what was left out has its default, paths stand below the file's directory, and what
//! hosts have in common is kept once.
//!
//! It refuses to know where the settings were written.

use super::fleet::{HookCommand, Hooks, HostSettings, HostSpec};
use super::host::{
    CommandSettings, Connection, ForeignMethod, HostMethod, JumpHost, LocalSettings, Provider,
    Role, SecretSource, Size, SshSettings, Sudo, VagrantSettings,
};
use super::words::MethodName;
use super::words::{Positive, is_label_key, is_label_value};
use super::written::{JoinBlock, OneOrMore, Settings, Ssh};
use crate::document::{At, Faults, Position};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Where Vagrant's machines are kept if nothing is said.
const VAGRANT_DIRECTORY: &str = "~/.local/share/muster/vagrant";
/// Where machines that are namespaces are kept if nothing is said.
const LOCAL_DIRECTORY: &str = "/var/lib/muster-machines";

/// What a fleet file does not say itself.
#[derive(Clone, Copy, Debug)]
pub struct Ambient<'a> {
    /// The fleet's name if the file gives none; a DNS-1123 label.
    pub name: &'a str,
    /// The directory that relative paths in the file are below; empty: as they stand.
    pub directory: &'a str,
}

/// Completes settings, and keeps what is equal once.
pub(super) struct Completion<'a> {
    directory: &'a str,
    known: HashSet<Arc<HostSettings>>,
    pub(super) jumps: Vec<Arc<[JumpHost]>>,
    ways: HashMap<Vec<JumpHost>, u32>,
}

impl<'a> Completion<'a> {
    pub(super) fn new(ambient: &Ambient<'a>) -> Self {
        Self {
            directory: ambient.directory,
            known: HashSet::new(),
            jumps: Vec::new(),
            ways: HashMap::new(),
        }
    }

    /// A path on this machine: `/…` and `~/…` as they stand, others below the file's directory.
    pub(super) fn path(&self, path: &str) -> String {
        let stands = path.starts_with('/') || path.starts_with('~') || self.directory.is_empty();
        if stands {
            return path.to_owned();
        }
        format!("{}/{path}", self.directory.trim_end_matches('/'))
    }

    fn path_or(&self, path: Option<&String>, default: &str) -> String {
        path.map_or_else(|| default.to_owned(), |path| self.path(path))
    }

    pub(super) fn secret(&self, source: &SecretSource) -> SecretSource {
        match source {
            SecretSource::File(path) => SecretSource::File(self.path(path)),
            other => other.clone(),
        }
    }

    /// The settings complete. `None`: something is wrong with them.
    pub(super) fn settings(
        &mut self,
        written: &Settings,
        groups: Vec<u32>,
        position: Position,
        field: &str,
        faults: &mut Faults,
    ) -> Option<Arc<HostSettings>> {
        let mut say = |at: Option<Position>, what: &str, wrong: String, cure: &str| {
            faults.push(
                at.unwrap_or(position),
                format!("{field}.{what}"),
                wrong,
                cure,
            );
        };
        let mut fine = true;
        if let Some((wrong, cure)) = two_connections(written) {
            say(None, "ssh", wrong, cure);
            fine = false;
        }
        for (key, value) in &written.labels.0 {
            if !is_label_key(&key.value) || !is_label_value(value) {
                say(
                    Some(key.position),
                    "labels",
                    format!("{}={value} is no label", key.value),
                    "use at most 63 letters, digits, -, _ and ., with a letter or digit at both ends",
                );
                fine = false;
            }
        }
        let join = written.join.as_ref().map(|join| &join.0);
        if let Some((at, what, wrong, cure)) = join.and_then(foreign_setting) {
            say(Some(at), what, wrong, cure);
            fine = false;
        }
        let role = written.role.unwrap_or_default();
        let join = self.method(join);
        if role == Role::ControlPlane && matches!(join, HostMethod::K3s(_) | HostMethod::K0s(_)) {
            say(
                None,
                "role",
                format!("{} joins workers only", join.as_str()),
                "use join: muster or join: kubeadm for control-plane hosts",
            );
            fine = false;
        }
        let provider = match self.provider(written) {
            Ok(provider) => provider,
            Err((at, wrong, cure)) => {
                say(Some(at), "provider", wrong.to_owned(), cure);
                return None;
            }
        };
        let (connection, jump) = self.connection(written);
        let (connection, join) = made(&provider, written, connection, join);
        let complete = HostSettings {
            connection,
            sudo: match &written.sudo {
                Some(Sudo::Password(source)) => Sudo::Password(self.secret(source)),
                other => other.clone().unwrap_or_default(),
            },
            role,
            labels: labels(written),
            taints: written.taints.clone(),
            join,
            hooks: Hooks {
                before_join: commands(written.hooks.before_join.as_deref()),
                after_join: commands(written.hooks.after_join.as_deref()),
            },
            provider,
            groups: sorted(groups),
            jump,
        };
        fine.then(|| self.kept(complete))
    }

    fn kept(&mut self, settings: HostSettings) -> Arc<HostSettings> {
        if let Some(known) = self.known.get(&settings) {
            return known.clone();
        }
        let new = Arc::new(settings);
        self.known.insert(new.clone());
        new
    }

    fn connection(&mut self, written: &Settings) -> (Connection, Option<u32>) {
        if written.namespace.is_some() {
            return (Connection::Namespace, None);
        }
        if written.local.is_some_and(|local| local.value) {
            return (Connection::Local, None);
        }
        let Some(ssh) = &written.ssh else {
            return (Connection::default(), None);
        };
        let files = |paths: &[String]| paths.iter().map(|path| self.path(path)).collect();
        let settings = SshSettings {
            user: ssh.user.clone(),
            port: ssh.port.map(|port| port.0),
            identity_files: files(ssh.identity_file.as_ref().map_or(&[], |list| &list.0)),
            jump: self.hops(ssh),
            config_file: ssh.config_file.as_ref().map(|path| self.path(path)),
            known_hosts_file: ssh.known_hosts_file.as_ref().map(|path| self.path(path)),
        };
        let way = (!settings.jump.is_empty()).then(|| self.way(&settings.jump));
        (Connection::Ssh(settings), way)
    }

    fn hops(&self, ssh: &Ssh) -> Vec<JumpHost> {
        let hop = |hop: &JumpHost| JumpHost {
            identity_files: hop
                .identity_files
                .iter()
                .map(|path| self.path(path))
                .collect(),
            ..hop.clone()
        };
        ssh.jump.iter().flatten().map(|jump| hop(&jump.0)).collect()
    }

    fn way(&mut self, hops: &[JumpHost]) -> u32 {
        if let Some(known) = self.ways.get(hops) {
            return *known;
        }
        let index = u32::try_from(self.jumps.len()).unwrap_or(u32::MAX);
        self.jumps.push(hops.into());
        self.ways.insert(hops.to_vec(), index);
        index
    }

    fn method(&self, written: Option<&JoinBlock>) -> HostMethod {
        let Some(written) = written else {
            return HostMethod::default();
        };
        let mut method = written.method.unwrap_or(MethodName::Muster).plain();
        let args = written.extra_args.clone().unwrap_or_default();
        let value = |text: &Option<At<String>>| text.as_ref().map(|text| text.value.clone());
        let ignored = || {
            let list = written.ignore_preflight_errors.as_ref();
            list.map(|list| list.value.clone()).unwrap_or_default()
        };
        match &mut method {
            HostMethod::Muster(method) => {
                method.binary = written.binary.as_ref().map(|path| self.path(path));
                method.root = value(&written.root);
                method.kubelet = written
                    .kubelet
                    .map(|choice| choice.value)
                    .unwrap_or_default();
                method.runtime = written
                    .runtime
                    .map(|choice| choice.value)
                    .unwrap_or_default();
                method.cri_socket = value(&written.cri_socket);
                method.ignore_preflight_errors = ignored();
                method.extra_args = args;
            }
            HostMethod::Kubeadm(method) => {
                method.binary.clone_from(&written.binary);
                method.cri_socket = value(&written.cri_socket);
                method.ignore_preflight_errors = ignored();
                method.extra_args = args;
            }
            HostMethod::K3s(method) | HostMethod::K0s(method) => {
                *method = ForeignMethod {
                    binary: written.binary.clone(),
                    extra_args: args,
                };
            }
        }
        method
    }

    fn provider(
        &self,
        written: &Settings,
    ) -> Result<Provider, (Position, &'static str, &'static str)> {
        let Some(entry) = &written.provider else {
            return Ok(Provider::None);
        };
        let block = &entry.value.0;
        match (&block.vagrant, &block.command, &block.local) {
            (None, None, None) => Ok(Provider::None),
            (Some(vagrant), None, None) => Ok(Provider::Vagrant(VagrantSettings {
                directory: self.path_or(vagrant.directory.as_ref(), VAGRANT_DIRECTORY),
                image: vagrant.image.clone(),
                size: size(vagrant.cpus, vagrant.memory),
            })),
            (None, Some(command), None) => Ok(Provider::Command(CommandSettings {
                create: command.create.clone(),
                destroy: command.destroy.clone(),
                size: size(command.cpus, command.memory),
            })),
            (None, None, Some(local)) => Ok(Provider::Local(LocalSettings {
                directory: self.path_or(local.directory.as_ref(), LOCAL_DIRECTORY),
            })),
            _ => Err((
                entry.position,
                "one machine is made by one provider",
                "keep one of vagrant, command, local",
            )),
        }
    }
}

/// What follows from the way in which a machine is made, where the file says nothing else.
fn made(
    provider: &Provider,
    written: &Settings,
    mut connection: Connection,
    mut join: HostMethod,
) -> (Connection, HostMethod) {
    match (provider, &mut connection) {
        (Provider::Local(local), _) if written.ssh.is_none() => {
            if let HostMethod::Muster(method) = &mut join {
                let root = || format!("{}/{{name}}/root", local.directory);
                method.root.get_or_insert_with(root);
            }
            (Connection::Namespace, join)
        }
        (Provider::Vagrant(vagrant), Connection::Ssh(ssh)) => {
            let config = || format!("{}/ssh_config", vagrant.directory);
            ssh.config_file.get_or_insert_with(config);
            (connection, join)
        }
        _ => (connection, join),
    }
}

fn two_connections(written: &Settings) -> Option<(String, &'static str)> {
    let local = written.local.is_some_and(|local| local.value);
    let said = [written.ssh.is_some(), written.namespace.is_some(), local];
    (said.iter().filter(|said| **said).count() > 1).then(|| {
        (
            "a host is reached in one way".to_owned(),
            "keep one of ssh, namespace and local",
        )
    })
}

/// A setting that the method does not have.
fn foreign_setting(written: &JoinBlock) -> Option<(Position, &'static str, String, &'static str)> {
    let method = written.method.unwrap_or(MethodName::Muster);
    let muster_only = [
        ("join.root", written.root.as_ref().map(|it| it.position)),
        ("join.kubelet", written.kubelet.map(|it| it.position)),
        ("join.runtime", written.runtime.map(|it| it.position)),
    ];
    let not_foreign = [
        (
            "join.criSocket",
            written.cri_socket.as_ref().map(|it| it.position),
        ),
        (
            "join.ignorePreflightErrors",
            written
                .ignore_preflight_errors
                .as_ref()
                .map(|it| it.position),
        ),
    ];
    let wrong: &[(&'static str, Option<Position>)] = match method {
        MethodName::Muster => &[],
        MethodName::Kubeadm => &muster_only,
        MethodName::K3s | MethodName::K0s => {
            &[muster_only, [not_foreign[0], not_foreign[1], ("", None)]].concat()
        }
    };
    let (what, position) = wrong
        .iter()
        .find_map(|(what, position)| Some((*what, (*position)?)))?;
    let name = method.plain().as_str();
    Some((
        position,
        what,
        format!("{name} knows nothing like it"),
        "take it out, say it by extraArgs, or use join: muster",
    ))
}

fn labels(written: &Settings) -> BTreeMap<String, String> {
    let pairs = written.labels.0.iter();
    pairs
        .map(|(key, value)| (key.value.clone(), value.clone()))
        .collect()
}

fn commands(written: Option<&[OneOrMore]>) -> Vec<HookCommand> {
    let command = |words: &OneOrMore| match words.0.as_slice() {
        [line] => HookCommand::Shell(line.clone()),
        words => HookCommand::Program(words.to_vec()),
    };
    written.unwrap_or_default().iter().map(command).collect()
}

fn sorted(mut groups: Vec<u32>) -> Vec<u32> {
    groups.sort_unstable();
    groups
}

fn size(cpus: Option<Positive>, memory: Option<Positive>) -> Size {
    let default = Size::default();
    Size {
        cpus: cpus.map_or(default.cpus, |cpus| cpus.0),
        memory: memory.map_or(default.memory, |memory| memory.0),
    }
}

/// What says where a host is.
pub(super) fn address_of(settings: &Settings) -> Option<&At<String>> {
    match &settings.namespace {
        Some(namespace) => Some(namespace),
        None => settings.ssh.as_ref()?.address.as_ref(),
    }
}

/// The name of the field that says where a host is.
pub(super) const fn address_field(settings: &Settings) -> &'static str {
    match settings.namespace {
        Some(_) => "namespace",
        None => "ssh.address",
    }
}

/// Whether address and node addresses are such.
pub(super) fn check_place(host: &HostSpec) -> Result<(), (String, &'static str)> {
    if let Some(address) = &host.address {
        check_address(address, &host.settings.connection)?;
    }
    let Some(node_ip) = &host.node_ip else {
        return Ok(());
    };
    let addresses: Vec<_> = node_ip
        .split(',')
        .map(|text| text.trim().parse::<IpAddr>())
        .collect();
    let fits =
        **node_ip == *"auto" || (addresses.len() <= 2 && addresses.iter().all(Result::is_ok));
    if fits {
        return Ok(());
    }
    Err((
        format!("the node address {node_ip:?} is none"),
        "write an IP address, one of each family with a comma, or auto",
    ))
}

fn check_address(address: &str, connection: &Connection) -> Result<(), (String, &'static str)> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '\'' | '"' | '`');
    let bad = address.is_empty()
        || address.len() > 253
        || address.starts_with(['-', '.'])
        || address.contains(odd);
    if bad {
        return Err((
            format!("{address:?} is no address"),
            "write a name, an IP address or an alias of ssh_config",
        ));
    }
    if matches!(connection, Connection::Ssh(_)) {
        if address.contains('@') {
            return Err((
                format!("the address {address:?} has a login in it"),
                "write the login as ssh.user",
            ));
        }
        if address.matches(':').count() == 1 || address.starts_with('[') {
            return Err((
                format!("the address {address:?} has a port or brackets in it"),
                "write the address bare and the port as ssh.port",
            ));
        }
    }
    Ok(())
}

/// What two hosts may not have in common: the machine with the directory that stands for its `/`. `None`: the machine is
/// not made yet.
pub(super) fn place_of(host: &HostSpec) -> Option<String> {
    let settings = &host.settings;
    if settings.provider != Provider::None {
        return None;
    }
    let root = match &settings.join {
        HostMethod::Muster(method) => method.root.as_deref().map(|root| host.fill(root)),
        HostMethod::Kubeadm(_) | HostMethod::K3s(_) | HostMethod::K0s(_) => None,
    };
    let root = root.unwrap_or_default();
    Some(match &settings.connection {
        Connection::Ssh(ssh) => format!(
            "ssh {} {} {} {root}",
            host.address(),
            ssh.port.unwrap_or_default(),
            settings.jump.unwrap_or(u32::MAX)
        ),
        Connection::Namespace => format!("namespace {} {root}", host.address()),
        Connection::Local => format!("local {root}"),
    })
}
