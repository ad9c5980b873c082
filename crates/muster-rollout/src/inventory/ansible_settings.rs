//! What Ansible's variables say about reaching a host.
//!
//! Passwords are never taken out of an inventory. It refuses to know the variables of playbooks.

use super::ansible::{Member, Model, Var, Vars};
use super::{Format, Inventory, Note};
use crate::document::{At, Faults, FileError, Position};
use crate::fleet_file::written::{HostEntry, Jump, OneOrMore, Port, Ssh};
use crate::fleet_file::{JumpHost, Role, SecretSource, Sudo};
use muster_identity::NodeName;

/// More notes than anybody reads.
const MAX_NOTES: usize = 50;
/// Kubespray's group of control-plane machines.
const CONTROL_PLANE_GROUP: &str = "kube_control_plane";

/// Puts an inventory together.
pub(super) fn inventory(mut model: Model, format: Format) -> Result<Inventory, FileError> {
    let mut faults = Faults::default();
    let mut reading = Reading {
        faults: Faults::default(),
        notes: Vec::new(),
    };
    let members = model.members(&mut faults);
    let mut hosts = Vec::with_capacity(members.len());
    for member in &members {
        hosts.push(At::nowhere(reading.host(member)));
    }
    if hosts.is_empty() {
        faults.push(
            Position::default(),
            "",
            "there are no hosts in the inventory",
            "write one host per line, or hosts below a group",
        );
    }
    faults.end(())?;
    let Reading { faults, mut notes } = reading;
    notes.dedup_by(|one, other| one.text == other.text);
    notes.truncate(MAX_NOTES);
    faults.end(Inventory {
        format,
        hosts,
        notes,
        ..Inventory::default()
    })
}

struct Reading {
    faults: Faults,
    notes: Vec<Note>,
}

/// Variables by their present and former names; the first that is there counts.
fn first<'a>(vars: &'a Vars, names: &[&str]) -> Option<&'a Var> {
    names.iter().find_map(|name| vars.get(*name))
}

fn is_true(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "yes" | "true" | "1" | "on" | "y" | "t"
    )
}

impl Reading {
    fn host(&mut self, member: &Member<'_>) -> HostEntry {
        let name = &member.host.name;
        if NodeName::parse(name).is_err() {
            self.faults.push(
                member.host.position,
                name.chars().take(64).collect::<String>(),
                "a host has its Node's name, and this cannot be one",
                "use lower-case letters, digits, - and ., and say where it is by ansible_host",
            );
        }
        let mut entry = HostEntry {
            name: At::nowhere(name.clone()),
            groups: Some(
                member
                    .groups
                    .iter()
                    .map(|group| At::nowhere((*group).to_owned()))
                    .collect(),
            ),
            ..HostEntry::default()
        };
        if member.groups.contains(&CONTROL_PLANE_GROUP) {
            entry.role = Some(Role::ControlPlane);
        }
        self.connection(&mut entry, name, &member.vars);
        entry.sudo = self.sudo(name, &member.vars);
        entry
    }

    fn connection(&mut self, entry: &mut HostEntry, name: &str, vars: &Vars) {
        let kind = vars.get("ansible_connection");
        match kind.map_or("ssh", |var| var.value.as_str()) {
            "ssh" | "smart" | "paramiko" | "paramiko_ssh" | "ansible.builtin.ssh" => {
                entry.ssh = Some(self.ssh(name, vars));
            }
            "local" | "ansible.builtin.local" => entry.local = Some(At::nowhere(true)),
            other => {
                let position = kind.map(|var| var.position).unwrap_or_default();
                self.fault(
                    position,
                    name,
                    "ansible_connection",
                    format!("hosts are not reached by {other}"),
                    "use ssh or local",
                );
            }
        }
    }

    fn ssh(&mut self, name: &str, vars: &Vars) -> Ssh {
        let address = first(vars, &["ansible_host", "ansible_ssh_host"]);
        let user = first(vars, &["ansible_user", "ansible_ssh_user"]);
        let key = first(
            vars,
            &["ansible_ssh_private_key_file", "ansible_private_key_file"],
        );
        let text = |this: &mut Self, what: &str, var: &Var| this.plain(name, what, var);
        let ssh = Ssh {
            address: address
                .and_then(|var| text(self, "ansible_host", var))
                .map(At::nowhere),
            user: user.and_then(|var| text(self, "ansible_user", var)),
            port: self.port(name, vars),
            identity_file: key
                .and_then(|var| text(self, "ansible_ssh_private_key_file", var))
                .map(|path| OneOrMore(vec![path])),
            jump: self.jump(name, vars),
            ..Ssh::default()
        };
        let passwords = [
            "ansible_password",
            "ansible_ssh_pass",
            "ansible_ssh_password",
        ];
        if let Some(var) = first(vars, &passwords) {
            self.note(
                var.position,
                "passwords for SSH are not taken from an inventory: keys and the agent are used"
                    .to_owned(),
            );
        }
        ssh
    }

    fn port(&mut self, name: &str, vars: &Vars) -> Option<Port> {
        let var = first(vars, &["ansible_port", "ansible_ssh_port"])?;
        let text = self.plain(name, "ansible_port", var)?;
        match text.parse::<u16>() {
            Ok(port) if port > 0 => Some(Port(port)),
            _ => {
                let what = format!(
                    "{:?} is not a port",
                    text.chars().take(16).collect::<String>()
                );
                self.fault(
                    var.position,
                    name,
                    "ansible_port",
                    what,
                    "write a number from 1 to 65535",
                );
                None
            }
        }
    }

    /// `-J` and `ProxyJump` among the arguments for ssh; other arguments belong into `ssh_config`.
    fn jump(&mut self, name: &str, vars: &Vars) -> Option<Vec<Jump>> {
        let names = ["ansible_ssh_common_args", "ansible_ssh_extra_args"];
        let var = first(vars, &names)?;
        let text = self.plain(name, "ansible_ssh_common_args", var)?;
        let mut words = text
            .split_whitespace()
            .map(|word| word.trim_matches(['"', '\'']));
        let mut hops = None;
        let mut other = false;
        while let Some(word) = words.next() {
            let said = match word {
                "-J" | "-o" => words.next().unwrap_or_default(),
                attached => attached
                    .strip_prefix("-J")
                    .or_else(|| attached.strip_prefix("-o"))
                    .unwrap_or_default(),
            };
            let way = match word.starts_with("-J") {
                true => Some(said),
                false => said
                    .strip_prefix("ProxyJump=")
                    .or_else(|| said.strip_prefix("proxyjump=")),
            };
            match way {
                Some(way) => hops = Some(way),
                None => other = true,
            }
        }
        if other {
            self.note(
                var.position,
                format!(
                    "of {}, only -J and ProxyJump are used; say the rest in ssh_config",
                    names[0]
                ),
            );
        }
        let parsed: Option<Vec<Jump>> = hops?
            .split(',')
            .map(|hop| JumpHost::parse(hop).map(Jump))
            .collect();
        if parsed.is_none() {
            self.fault(
                var.position,
                name,
                names[0],
                "its jump host is none".to_owned(),
                "write -J USER@ADDRESS:PORT",
            );
        }
        parsed
    }

    fn sudo(&mut self, name: &str, vars: &Vars) -> Option<Sudo> {
        if let Some(var) = vars.get("ansible_become_user")
            && var.value != "root"
        {
            self.fault(
                var.position,
                name,
                "ansible_become_user",
                format!(
                    "joining takes root, not {}",
                    var.value.chars().take(32).collect::<String>()
                ),
                "take it out, or write root",
            );
        }
        if let Some(var) = vars.get("ansible_become_method")
            && !matches!(var.value.as_str(), "sudo" | "ansible.builtin.sudo")
        {
            self.fault(
                var.position,
                name,
                "ansible_become_method",
                format!(
                    "commands become root's by sudo, not by {}",
                    var.value.chars().take(32).collect::<String>()
                ),
                "allow the login sudo, or log in as root",
            );
        }
        let passwords = [
            "ansible_become_password",
            "ansible_become_pass",
            "ansible_sudo_pass",
        ];
        if let Some(var) = first(vars, &passwords) {
            if let Some(variable) = looked_up(&var.value) {
                return Some(Sudo::Password(SecretSource::Env(variable.to_owned())));
            }
            self.note(
                var.position,
                "the password for sudo is not taken from the inventory: you are asked for it"
                    .to_owned(),
            );
            return Some(Sudo::Password(SecretSource::Prompt));
        }
        let wished = vars
            .get("ansible_become")
            .or_else(|| vars.get("ansible_sudo"))?;
        is_true(&wished.value).then_some(Sudo::Auto)
    }

    /// A value that is none of Ansible's templates.
    fn plain(&mut self, name: &str, what: &str, var: &Var) -> Option<String> {
        if var.value.contains("{{") || var.value.contains("{%") {
            self.fault(
                var.position,
                name,
                what,
                "templates are not understood".to_owned(),
                "write the value, or give `ansible-inventory --list --yaml` as the inventory",
            );
            return None;
        }
        (!var.value.is_empty()).then(|| var.value.clone())
    }

    fn fault(&mut self, position: Position, name: &str, what: &str, wrong: String, cure: &str) {
        self.faults
            .push(position, format!("{name}.{what}"), wrong, cure);
    }

    fn note(&mut self, position: Position, text: String) {
        if self.notes.len() < MAX_NOTES * 20 {
            self.notes.push(Note { position, text });
        }
    }
}

/// The variable in `{{ lookup('env', 'NAME') }}`.
fn looked_up(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let arguments = inner.strip_prefix("lookup(")?.strip_suffix(')')?;
    let (kind, name) = arguments.split_once(',')?;
    let bare = |text: &str| -> Option<(usize, usize)> {
        let trimmed = text.trim();
        (trimmed.len() >= 2).then_some((1, trimmed.len() - 1))
    };
    let kind = kind.trim();
    let name = name.trim();
    let (from, to) = bare(kind)?;
    if kind.get(from..to)? != "env" {
        return None;
    }
    let (from, to) = bare(name)?;
    let name = name.get(from..to)?;
    let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    fits.then_some(name)
}
