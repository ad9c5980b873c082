//! k0sctl's `kind: Cluster` (`k0sctl.k0sproject.io/v1beta1`).
//!
//! Workers become hosts that k0s joins; the first controller mints tokens. It refuses to know k0s.

use super::{Format, Inventory, Note};
use crate::document::{At, Fault, Faults, FileError, Node, Position, read_as};
use crate::fleet_file::written::{
    HooksEntry, HostEntry, Join, JoinBlock, Jump, MintOnEntry, OneOrMore, Port, Settings, Ssh,
};
use crate::fleet_file::{Cap, JumpHost, MethodName};
use muster_identity::NodeName;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

const API_VERSION: &str = "k0sctl.k0sproject.io/v1beta1";

#[derive(Deserialize)]
struct Cluster {
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    hosts: Vec<At<Host>>,
    #[serde(rename = "k0s")]
    _k0s: Option<IgnoredAny>,
    options: Option<Options>,
}

#[derive(Deserialize)]
struct Options {
    concurrency: Option<Concurrency>,
}

#[derive(Deserialize)]
struct Concurrency {
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Host {
    role: At<String>,
    ssh: Option<Login>,
    #[serde(rename = "openSSH")]
    open_ssh: Option<OpenSsh>,
    #[serde(rename = "winRM", alias = "winrm")]
    win_rm: Option<At<IgnoredAny>>,
    localhost: Option<Localhost>,
    hostname: Option<At<String>>,
    private_address: Option<At<String>>,
    data_dir: Option<String>,
    kubelet_root_dir: Option<String>,
    #[serde(rename = "k0sInstallPath")]
    k0s_install_path: Option<String>,
    #[serde(default)]
    install_flags: Vec<String>,
    #[serde(default)]
    hooks: BTreeMap<String, Hook>,
    reset: Option<bool>,
    environment: Option<At<IgnoredAny>>,
    files: Option<At<IgnoredAny>>,
    upload_binary: Option<At<IgnoredAny>>,
    #[serde(rename = "useExistingK0s")]
    _use_existing_k0s: Option<IgnoredAny>,
    #[serde(rename = "k0sBinaryPath")]
    k0s_binary_path: Option<At<IgnoredAny>>,
    #[serde(rename = "k0sDownloadURL")]
    k0s_download_url: Option<At<IgnoredAny>>,
    #[serde(rename = "os")]
    _os: Option<IgnoredAny>,
    #[serde(rename = "privateInterface")]
    _private_interface: Option<IgnoredAny>,
    #[serde(rename = "noTaints")]
    _no_taints: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Hook {
    #[serde(default)]
    before: Vec<String>,
    #[serde(default)]
    after: Vec<String>,
}

#[derive(Deserialize)]
struct Localhost {
    enabled: Option<bool>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Login {
    address: At<String>,
    user: Option<String>,
    port: Option<Port>,
    key_path: Option<String>,
    bastion: Option<Box<Self>>,
    #[serde(rename = "hostKey")]
    _host_key: Option<IgnoredAny>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OpenSsh {
    address: At<String>,
    user: Option<String>,
    port: Option<Port>,
    key_path: Option<String>,
    config_path: Option<String>,
    options: Option<At<IgnoredAny>>,
    #[serde(rename = "disableMultiplexing")]
    _disable_multiplexing: Option<IgnoredAny>,
}

/// Reads a cluster file.
pub(super) fn read(node: &Node) -> Result<Inventory, FileError> {
    let found = |field: &str| node.get(field).and_then(Node::scalar).unwrap_or_default();
    if found("apiVersion") != API_VERSION || found("kind") != "Cluster" {
        let cure = match found("kind").as_str() {
            "FleetConfiguration" => "give a fleet file by -f".to_owned(),
            _ => format!("give an Ansible inventory or apiVersion: {API_VERSION}, kind: Cluster"),
        };
        return Err(Fault {
            position: node.position,
            field: "kind".to_owned(),
            what: "this kind of inventory is not known".to_owned(),
            cure,
        }
        .into());
    }
    let cluster: Cluster = read_as(node)?;
    let mut reading = Reading {
        faults: Faults::default(),
        inventory: Inventory {
            format: Format::K0sctl,
            defaults: Settings {
                join: Some(Join(JoinBlock {
                    method: Some(MethodName::K0s),
                    ..JoinBlock::default()
                })),
                ..Settings::default()
            },
            ..Inventory::default()
        },
    };
    for (index, host) in cluster.spec.hosts.iter().enumerate() {
        reading.host(index, host);
    }
    let limit = cluster
        .spec
        .options
        .and_then(|options| options.concurrency?.limit);
    reading.inventory.limit = limit.filter(|limit| *limit > 0).map(Cap::Count);
    if reading.inventory.hosts.is_empty() {
        reading.faults.push(
            node.position,
            "spec.hosts",
            "there are no workers",
            "add hosts with role: worker",
        );
    }
    reading.faults.end(reading.inventory)
}

struct Reading {
    faults: Faults,
    inventory: Inventory,
}

/// How a host is reached.
#[derive(Default)]
struct Reached {
    ssh: Option<Ssh>,
    local: Option<At<bool>>,
    address: Option<String>,
}

impl Reading {
    fn host(&mut self, index: usize, host: &At<Host>) {
        let field = format!("spec.hosts[{index}]");
        let position = host.position;
        let host = &host.value;
        if host.reset == Some(true) {
            self.note(position, "a host with reset: true is left out".to_owned());
            return;
        }
        let Some(reached) = self.reached(host, position, &field) else {
            return;
        };
        match host.role.value.as_str() {
            "worker" => self.worker(host, reached, position, &field),
            "controller" | "controller+worker" | "single" => self.controller(reached, position),
            _ => self.faults.push(
                host.role.position,
                format!("{field}.role"),
                "there is no such role",
                "write controller, controller+worker, single or worker",
            ),
        }
    }

    fn reached(&mut self, host: &Host, position: Position, field: &str) -> Option<Reached> {
        let local = host
            .localhost
            .as_ref()
            .is_some_and(|local| local.enabled == Some(true));
        let said = [host.ssh.is_some(), host.open_ssh.is_some(), local];
        let wrong = match said.iter().filter(|said| **said).count() {
            1 if host.win_rm.is_none() => None,
            _ if host.win_rm.is_some() => Some("Windows machines are not joined"),
            0 => Some("nothing says how the host is reached"),
            _ => Some("a host is reached in one way"),
        };
        if let Some(wrong) = wrong {
            let at = host.win_rm.as_ref().map_or(position, |it| it.position);
            self.faults.push(
                at,
                field,
                wrong,
                "give it ssh, openSSH or localhost: {enabled: true}",
            );
            return None;
        }
        if let Some(login) = &host.ssh {
            return self.ssh(login, field);
        }
        if let Some(login) = &host.open_ssh {
            return self.open_ssh(login, field);
        }
        Some(Reached {
            local: Some(At::nowhere(true)),
            ..Reached::default()
        })
    }

    fn ssh(&mut self, login: &Login, field: &str) -> Option<Reached> {
        let mut hops = Vec::new();
        let mut next = login.bastion.as_deref();
        while let Some(hop) = next {
            hops.push(Jump(JumpHost {
                address: self.filled_in(&hop.address, field)?,
                user: hop.user.clone().or_else(|| Some("root".to_owned())),
                port: hop.port.map(|port| port.0),
                identity_files: hop.key_path.iter().cloned().collect(),
            }));
            next = hop.bastion.as_deref();
        }
        // The outermost machine is reached first.
        hops.reverse();
        let address = self.filled_in(&login.address, field)?;
        Some(Reached {
            ssh: Some(Ssh {
                address: Some(At::nowhere(address.clone())),
                // What k0sctl does if nothing is said.
                user: login.user.clone().or_else(|| Some("root".to_owned())),
                port: login.port,
                identity_file: login.key_path.clone().map(|path| OneOrMore(vec![path])),
                jump: (!hops.is_empty()).then_some(hops),
                ..Ssh::default()
            }),
            local: None,
            address: Some(address),
        })
    }

    fn open_ssh(&mut self, login: &OpenSsh, field: &str) -> Option<Reached> {
        if let Some(options) = &login.options {
            self.note(
                options.position,
                "openSSH.options are not used; say them in ssh_config".to_owned(),
            );
        }
        let address = self.filled_in(&login.address, field)?;
        Some(Reached {
            ssh: Some(Ssh {
                address: Some(At::nowhere(address.clone())),
                user: login.user.clone(),
                port: login.port,
                identity_file: login.key_path.clone().map(|path| OneOrMore(vec![path])),
                config_file: login.config_path.clone(),
                ..Ssh::default()
            }),
            local: None,
            address: Some(address),
        })
    }

    /// k0sctl fills `${VARIABLES}` in; here they stand as they were written, which is never meant.
    fn filled_in(&mut self, text: &At<String>, field: &str) -> Option<String> {
        if text.value.contains("${") {
            self.faults.push(
                text.position,
                format!("{field}.address"),
                "variables are not filled in",
                "run the file through envsubst first",
            );
            return None;
        }
        Some(text.value.clone())
    }

    fn controller(&mut self, reached: Reached, position: Position) {
        if self.inventory.mint_on.is_some() {
            self.note(
                position,
                "a further controller is left out: it is there already".to_owned(),
            );
            return;
        }
        self.note(
            position,
            "the first controller mints the tokens; it is not joined".to_owned(),
        );
        self.inventory.mint_on = Some(MintOnEntry {
            ssh: reached.ssh,
            local: reached.local,
            ..MintOnEntry::default()
        });
    }

    fn worker(&mut self, host: &Host, reached: Reached, position: Position, field: &str) {
        let written = host.hostname.as_ref().map(|name| name.value.clone());
        let name = written
            .or_else(|| reached.address.clone())
            .unwrap_or_default();
        if NodeName::parse(&name).is_err() {
            let at = host
                .hostname
                .as_ref()
                .map_or(position, |name| name.position);
            self.faults.push(
                at,
                format!("{field}.hostname"),
                "the Node needs a name, and this cannot be one",
                "add hostname: with lower-case letters, digits, - and .",
            );
            return;
        }
        self.passed_over(host);
        let mut args = host.install_flags.clone();
        args.extend(host.data_dir.iter().map(|dir| format!("--data-dir={dir}")));
        args.extend(
            host.kubelet_root_dir
                .iter()
                .map(|dir| format!("--kubelet-root-dir={dir}")),
        );
        let hook = |lines: fn(&Hook) -> &Vec<String>| {
            let lines = host.hooks.get("apply").map(lines)?;
            let commands = lines.iter().map(|line| OneOrMore(vec![line.clone()]));
            (!lines.is_empty()).then(|| commands.collect::<Vec<_>>())
        };
        let entry = HostEntry {
            name: At::nowhere(name),
            ssh: reached.ssh,
            local: reached.local,
            join: Some(Join(JoinBlock {
                binary: host.k0s_install_path.clone(),
                node_ip: host
                    .private_address
                    .as_ref()
                    .map(|ip| At::nowhere(ip.value.clone())),
                extra_args: (!args.is_empty()).then_some(args),
                ..JoinBlock::default()
            })),
            hooks: HooksEntry {
                before_join: hook(|hook| &hook.before),
                after_join: hook(|hook| &hook.after),
            },
            ..HostEntry::default()
        };
        self.inventory.hosts.push(At::nowhere(entry));
    }

    /// What k0sctl does around a join and we do not.
    fn passed_over(&mut self, host: &Host) {
        let fields = [
            (
                "environment",
                host.environment.as_ref().map(|it| it.position),
            ),
            ("files", host.files.as_ref().map(|it| it.position)),
            (
                "uploadBinary",
                host.upload_binary.as_ref().map(|it| it.position),
            ),
            (
                "k0sBinaryPath",
                host.k0s_binary_path.as_ref().map(|it| it.position),
            ),
            (
                "k0sDownloadURL",
                host.k0s_download_url.as_ref().map(|it| it.position),
            ),
        ];
        for (field, position) in fields {
            if let Some(position) = position {
                let text = format!("{field} is not carried out: k0s must be on the host");
                self.note(position, text);
            }
        }
        let others = host.hooks.keys().filter(|action| *action != "apply");
        let others: Vec<String> = others.cloned().collect();
        if !others.is_empty() {
            let text = format!("of the hooks only apply is run, not {}", others.join(", "));
            self.note(host.role.position, text);
        }
    }

    fn note(&mut self, position: Position, text: String) {
        let known = self.inventory.notes.iter().any(|note| note.text == text);
        if !known {
            self.inventory.notes.push(Note { position, text });
        }
    }
}
