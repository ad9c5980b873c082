//! What a run does to a host, and how it takes that back, as a page for people: before anything is done, and for what
//! could not be taken back.

use muster_rollout::Manual;
use muster_rollout::fleet_file::{
    Connection, Fleet, HookCommand, HostMethod, HostSpec, Provider, Role, SshSettings, Until,
};
use serde::Serialize;

use super::muster::DIR;
use super::{k0s, k3s, kubeadm};

/// One thing that is done to a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deed {
    /// In which stage.
    pub stage: &'static str,
    /// What is done.
    pub does: String,
    /// How it is taken back.
    pub undo: String,
}

/// Everything that is done to a host, in order.
pub fn deeds(fleet: &Fleet, host: &HostSpec) -> Vec<Deed> {
    let mut deeds = Vec::new();
    let mut deed = |stage, does: String, undo: &str| {
        deeds.push(Deed {
            stage,
            does,
            undo: undo.to_owned(),
        });
    };
    let settings = &host.settings;
    match &settings.provider {
        Provider::None => {}
        Provider::Vagrant(_) => deed(
            "provision",
            "make the machine: vagrant up".into(),
            "vagrant destroy",
        ),
        Provider::Command(command) => {
            deed(
                "provision",
                format!("make the machine: {}", host.fill(&command.create)),
                &host.fill(&command.destroy),
            );
        }
        Provider::Local(_) => deed(
            "provision",
            "make a network namespace and a root directory".into(),
            "remove them",
        ),
    }
    deed(
        "lock",
        format!(
            "take the Lease {}",
            super::super::host_lease(host.name.as_str())
        ),
        "give it back",
    );
    match &settings.join {
        HostMethod::Muster(_) if matches!(settings.connection, Connection::Ssh(_)) => {
            deed(
                "prepare",
                format!("copy our program to {DIR}, unless it is there"),
                "remove it, if this run brought it",
            );
        }
        _ => deed(
            "prepare",
            format!("see that {} runs there", settings.join.as_str()),
            "nothing to do",
        ),
    }
    for hook in &settings.hooks.before_join {
        deed(
            "join",
            format!("hook: {}", line_of(host, hook)),
            "nothing to do: hooks look after themselves",
        );
    }
    let (join, reset) = commands(host);
    let delete = format!("{reset}; delete the Node {}", host.name);
    deed("join", join, &delete);
    let labels = settings
        .labels
        .keys()
        .filter(|key| !muster_plan::may_node_set(key));
    let labels: Vec<&str> = labels.map(String::as_str).collect();
    if !labels.is_empty() {
        deed(
            "ready",
            format!("label the Node with {}", labels.join(", ")),
            "gone with the Node",
        );
    }
    let readiness = &fleet.readiness;
    let mut until = match readiness.until {
        Until::Registered => format!("wait until the Node {} is there", host.name),
        Until::Ready => format!("wait until the Node {} is Ready", host.name),
    };
    if readiness.serving_certificate {
        until.push_str(", until its serving certificate is issued");
    }
    if let Some(image) = &readiness.probe_pod {
        until.push_str(&format!(", until a pod of {image} has run there"));
    }
    deed("ready", until, "nothing to do");
    for hook in &settings.hooks.after_join {
        deed(
            "ready",
            format!("hook: {}", line_of(host, hook)),
            "nothing to do: hooks look after themselves",
        );
    }
    deeds
}

fn line_of(host: &HostSpec, hook: &HookCommand) -> String {
    match hook {
        HookCommand::Shell(line) => host.fill(line),
        HookCommand::Program(words) => host.fill(&words.join(" ")),
    }
}

/// The command that joins and the one that takes back, as they are run on the host.
fn commands(host: &HostSpec) -> (String, String) {
    let role = match host.settings.role {
        Role::Worker => "",
        Role::ControlPlane => " --control-plane",
    };
    match &host.settings.join {
        HostMethod::Muster(method) => {
            let root = method
                .root
                .as_ref()
                .map(|root| format!(" --root {}", host.fill(root)));
            let root = root.unwrap_or_default();
            (
                format!(
                    "muster join --node-name {}{role}{root}, the token over standard input",
                    host.name
                ),
                format!("muster reset --force{root}"),
            )
        }
        HostMethod::Kubeadm(method) => {
            let program = method.binary.as_deref().unwrap_or(kubeadm::PROGRAM);
            (
                format!(
                    "{program} join --config FILE, written to memory over standard input{role}"
                ),
                format!("{program} reset --force"),
            )
        }
        HostMethod::K3s(method) => {
            let program = method.binary.as_deref().unwrap_or(k3s::PROGRAM);
            (
                format!("{program} agent, the token in memory"),
                "stop k3s-agent, remove what it made".to_owned(),
            )
        }
        HostMethod::K0s(method) => {
            let program = method.binary.as_deref().unwrap_or(k0s::PROGRAM);
            (
                format!("{program} install worker; {program} start, the token in memory"),
                format!("{program} reset"),
            )
        }
    }
}

/// What a person does by hand where a run could not take something back.
pub(crate) fn manual(host: &HostSpec) -> Manual {
    let on = on_host(host);
    let (_, reset) = commands(host);
    let provision = match &host.settings.provider {
        Provider::None => String::new(),
        Provider::Vagrant(vagrant) => {
            format!("cd {} && vagrant destroy -f {{name}}", vagrant.directory)
        }
        Provider::Command(command) => {
            super::super::providers::filled(host, &command.destroy, command.size)
        }
        Provider::Local(local) => format!(
            "sudo ip netns delete {{name}}; sudo rm -r {}/{{name}}",
            local.directory
        ),
    };
    let prepare = match &host.settings.join {
        HostMethod::Muster(_) => format!("{on}rm -f {DIR}/*.placed-by-* {DIR}/muster-*"),
        _ => String::new(),
    };
    let lease = super::super::host_lease("{name}");
    Manual {
        provision,
        lock: format!("kubectl -n kube-system delete lease {lease}"),
        prepare,
        join: format!(
            "{on}{}; kubectl delete node {{name}}",
            reset.replace("muster reset", &format!("{DIR}/muster-* reset"))
        ),
    }
}

/// How a person gets onto the host.
fn on_host(host: &HostSpec) -> String {
    match &host.settings.connection {
        Connection::Local => "sudo ".to_owned(),
        Connection::Namespace => format!("sudo ip netns exec {} ", host.address()),
        Connection::Ssh(ssh) => format!("ssh {}sudo ", ssh_words(ssh, host.address())),
    }
}

fn ssh_words(ssh: &SshSettings, address: &str) -> String {
    let mut words = String::new();
    if let Some(file) = &ssh.config_file {
        words.push_str(&format!("-F {file} "));
    }
    if let Some(port) = ssh.port {
        words.push_str(&format!("-p {port} "));
    }
    let jumps: Vec<String> = ssh.jump.iter().map(ToString::to_string).collect();
    if !jumps.is_empty() {
        words.push_str(&format!("-J {} ", jumps.join(",")));
    }
    match &ssh.user {
        Some(user) => words.push_str(&format!("{user}@{address} ")),
        None => words.push_str(&format!("{address} ")),
    }
    words
}
