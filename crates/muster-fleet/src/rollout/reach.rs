//! The machines of a fleet as its file says: over SSH, in a namespace, or here.
//!
//! Secrets (passwords for sudo) come from whoever runs the command, once each. It refuses to know what is done on a
//! machine.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_identity::Secret;
use muster_rollout::StageFailure;
use muster_rollout::fleet_file::{Connection, HostSpec, JumpHost, SecretSource, SshSettings, Sudo};
use muster_ssh::{
    Command, Exit, LocalMachine, Machine, MachineError, NamespaceMachine, NamespaceOf, OnLine,
    SshClient, SshOptions, SshTarget, Upload, Uploaded,
};
use parking_lot::Mutex;

use super::fault::{self, ids};
use super::machines::Machines;

/// Finds a secret: asks, or reads a variable or a file.
pub type Secrets = Arc<dyn Fn(&SecretSource) -> Result<Secret<String>, String> + Send + Sync>;

/// Opens the machines of a fleet.
pub struct Reach {
    connect: Duration,
    accept_new_host_keys: bool,
    secrets: Secrets,
    known_secrets: Mutex<HashMap<SecretSource, Secret<String>>>,
    clients: Mutex<HashMap<Option<String>, SshClient>>,
}

impl Reach {
    /// `connect`: how long reaching a machine may take. `accept_new_host_keys`: machines whose key nobody knows yet are
    /// trusted and their keys written down; changed keys never are.
    #[must_use]
    pub fn new(connect: Duration, accept_new_host_keys: bool, secrets: Secrets) -> Self {
        Self {
            connect,
            accept_new_host_keys,
            secrets,
            known_secrets: Mutex::default(),
            clients: Mutex::default(),
        }
    }

    fn secret(&self, source: &SecretSource) -> Result<Secret<String>, StageFailure> {
        // One question at a time, and each only once.
        let mut known = self.known_secrets.lock();
        if let Some(secret) = known.get(source) {
            return Ok(secret.clone());
        }
        let secret = (self.secrets)(source).map_err(|reason| {
            StageFailure::terminal(ids::ACCESS, format!("a password cannot be had: {reason}"))
                .with_cure("see sudo.password of the host in the fleet file")
        })?;
        known.insert(source.clone(), secret.clone());
        Ok(secret)
    }

    fn sudo(&self, sudo: &Sudo) -> Result<muster_ssh::Sudo, StageFailure> {
        Ok(match sudo {
            Sudo::Auto | Sudo::Never | Sudo::Passwordless => muster_ssh::Sudo::Passwordless,
            Sudo::Password(source) => muster_ssh::Sudo::Password(self.secret(source)?),
        })
    }

    fn client(&self, config_file: Option<&String>) -> SshClient {
        let mut clients = self.clients.lock();
        let client = clients.entry(config_file.cloned()).or_insert_with(|| {
            SshClient::new(SshOptions {
                config_file: config_file.map(|file| PathBuf::from(home(file))),
                accept_new_host_keys: self.accept_new_host_keys,
                connect_timeout: self.connect,
                ..SshOptions::default()
            })
        });
        client.clone()
    }

    async fn ssh(
        &self,
        host: &HostSpec,
        ssh: &SshSettings,
        address: &str,
    ) -> Result<Arc<dyn Machine>, StageFailure> {
        let target = target(host, ssh, address, self.sudo(&host.settings.sudo)?);
        let client = self.client(ssh.config_file.as_ref());
        let machine = client
            .connect(&target)
            .await
            .map_err(|error| fault::of_machine(&error))?;
        Ok(Arc::new(machine))
    }
}

fn target(host: &HostSpec, ssh: &SshSettings, address: &str, sudo: muster_ssh::Sudo) -> SshTarget {
    let files = |files: &[String]| -> Vec<PathBuf> {
        files.iter().map(|file| PathBuf::from(home(file))).collect()
    };
    let mut jump_identity_files: Vec<PathBuf> = ssh
        .jump
        .iter()
        .flat_map(|jump| files(&jump.identity_files))
        .collect();
    jump_identity_files.dedup();
    let jump: Vec<String> = ssh.jump.iter().map(JumpHost::to_string).collect();
    let mut options = Vec::new();
    if let Some(file) = &ssh.known_hosts_file {
        options.push(("UserKnownHostsFile".to_owned(), file.clone()));
    }
    SshTarget {
        host: address.to_owned(),
        name: Some(host.name.to_string()),
        user: ssh.user.clone(),
        port: ssh.port,
        identity_files: files(&ssh.identity_files),
        jump_identity_files,
        jump_options: options.clone(),
        jump: (!jump.is_empty()).then(|| jump.join(",")),
        options,
        password: None,
        sudo,
    }
}

pub(crate) fn home(path: &str) -> String {
    match (path.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ => path.to_owned(),
    }
}

/// A machine whose login is all there is: what should be root's is done by the login, root or not.
#[derive(Debug)]
struct AsLogin(Arc<dyn Machine>);

#[async_trait]
impl Machine for AsLogin {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn run(&self, command: Command, on_line: OnLine<'_>) -> Result<Exit, MachineError> {
        let command = Command {
            as_root: false,
            ..command
        };
        self.0.run(command, on_line).await
    }

    async fn upload(&self, upload: Upload) -> Result<Uploaded, MachineError> {
        let upload = Upload {
            as_root: false,
            ..upload
        };
        self.0.upload(upload).await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

#[async_trait]
impl Machines for Reach {
    async fn open(
        &self,
        host: &HostSpec,
        address: Option<&str>,
    ) -> Result<Arc<dyn Machine>, StageFailure> {
        let machine = self.reached(host, address).await?;
        Ok(match host.settings.sudo {
            Sudo::Never => Arc::new(AsLogin(machine)),
            _ => machine,
        })
    }
}

impl Reach {
    async fn reached(
        &self,
        host: &HostSpec,
        address: Option<&str>,
    ) -> Result<Arc<dyn Machine>, StageFailure> {
        let address = address.unwrap_or_else(|| host.address());
        match &host.settings.connection {
            Connection::Local => Ok(Arc::new(LocalMachine::new(
                host.name.as_str(),
                self.sudo(&host.settings.sudo)?,
            ))),
            Connection::Namespace => {
                let namespace = NamespaceOf::Name(address.to_owned());
                Ok(Arc::new(NamespaceMachine::new(
                    host.name.as_str(),
                    &namespace,
                )))
            }
            Connection::Ssh(ssh) => self.ssh(host, ssh, address).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_rollout::FleetConfiguration;
    use muster_rollout::fleet_file::Ambient;

    /// Puts down what it is told, and does nothing.
    #[derive(Debug, Default)]
    struct Paper(Mutex<Vec<bool>>);

    #[async_trait]
    impl Machine for Paper {
        fn name(&self) -> &str {
            "paper"
        }

        async fn run(&self, command: Command, _: OnLine<'_>) -> Result<Exit, MachineError> {
            self.0.lock().push(command.as_root);
            Ok(Exit::Code(0))
        }

        async fn upload(&self, upload: Upload) -> Result<Uploaded, MachineError> {
            self.0.lock().push(upload.as_root);
            Ok(Uploaded::Created)
        }

        async fn close(&self) {}
    }

    #[tokio::test]
    async fn without_sudo_nothing_is_asked_to_become_root() {
        let paper = Arc::new(Paper::default());
        let machine = AsLogin(Arc::<Paper>::clone(&paper));
        let command = Command::new(["true"]).as_root();
        assert!(machine.output(command).await.unwrap().exit.success());
        assert_eq!(*paper.0.lock(), [false]);
    }

    #[tokio::test]
    async fn a_host_says_whether_sudo_is_used() {
        let text = "apiVersion: muster.dev/v1alpha1\nkind: FleetConfiguration\n\
                    hosts: [{name: a, local: true, sudo: none}, {name: b, namespace: b}]\n";
        let ambient = Ambient {
            name: "x",
            directory: "",
        };
        let fleet = FleetConfiguration::parse(text)
            .unwrap()
            .resolve(&ambient)
            .unwrap();
        let secrets: Secrets = Arc::new(|_| Err("none".to_owned()));
        let reach = Reach::new(Duration::from_secs(1), false, secrets);
        let mut debugs = Vec::new();
        for host in &fleet.hosts {
            debugs.push(format!("{:?}", reach.open(host, None).await.unwrap()));
        }
        assert!(debugs[0].starts_with("AsLogin"), "{}", debugs[0]);
        assert!(!debugs[1].starts_with("AsLogin"), "{}", debugs[1]);
    }
}
