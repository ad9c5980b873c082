//! Which machine is meant, and what its owner says about it beyond the settings of OpenSSH.

use std::path::PathBuf;
use std::time::Duration;

use muster_identity::Secret;

use crate::Sudo;

/// A machine to be reached over SSH. What is not said here comes from the settings (`~/.ssh/config` and its like).
#[derive(Debug, Clone, Default)]
pub struct SshTarget {
    /// As one would type it behind `ssh`: a name, an address, or an alias of the settings.
    pub host: String,
    /// What to call it in messages; its `host` when there is nothing.
    pub name: Option<String>,
    /// The user there (`-l`).
    pub user: Option<String>,
    /// The port (`-p`).
    pub port: Option<u16>,
    /// Files of private keys (`-i`).
    pub identity_files: Vec<PathBuf>,
    /// Machines on the way, from here to there, as behind `ssh -J`: `[user@]host[:port]`, with commas; `none` for none.
    pub jump: Option<String>,
    /// Files of private keys for the machines on the way, beside those of their own settings.
    pub jump_identity_files: Vec<PathBuf>,
    /// Further settings for the machines on the way. (`ssh -J` has none: there only their own settings count.)
    pub jump_options: Vec<(String, String)>,
    /// Further settings (`-o`): keywords of ssh_config(5) and their values.
    pub options: Vec<(String, String)>,
    /// The password of the user, for machines that take no key. Only used when the machine asks for one.
    pub password: Option<Secret<String>>,
    /// How to become root there.
    pub sudo: Sudo,
}

impl SshTarget {
    /// A machine of which nothing but its name is said.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            ..Self::default()
        }
    }

    /// What to call it in messages.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.host)
    }
}

/// What holds for all machines of a client.
#[derive(Debug, Clone)]
pub struct SshOptions {
    /// A file of settings in place of the usual ones (`-F`).
    pub config_file: Option<PathBuf>,
    /// The program that resolves the settings. Where it is missing, defaults and the target's own words count.
    pub ssh_program: PathBuf,
    /// Whether a machine whose key nobody knows yet is accepted and its key written down, whatever the settings say.
    /// A key that has changed is refused all the same.
    pub accept_new_host_keys: bool,
    /// How long a connection may take to be opened, where the settings say nothing.
    pub connect_timeout: Duration,
    /// How long greeting and authentication may take together.
    pub login_timeout: Duration,
    /// After how long a silence the machine is asked whether it lives, where the settings say nothing. After three
    /// questions without an answer the connection ends.
    pub alive_interval: Duration,
}

impl Default for SshOptions {
    fn default() -> Self {
        Self {
            config_file: None,
            ssh_program: PathBuf::from("ssh"),
            accept_new_host_keys: false,
            connect_timeout: Duration::from_secs(10),
            login_timeout: Duration::from_secs(30),
            alive_interval: Duration::from_secs(10),
        }
    }
}
