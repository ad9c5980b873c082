//! How its owner would reach a machine: the settings of OpenSSH for it.
//!
//! `ssh -G` resolves them (Host, Match, Include, canonical names), so that a machine is reached here as it is by hand. Where
//! no `ssh` is installed, the defaults and the caller's own words count. This file refuses to know what is done with them.

mod expand;
mod resolve;
mod text;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use resolve::resolve;

/// Everything that we do as OpenSSH is set to do it.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// What the user typed.
    pub(crate) typed: String,
    pub(crate) hostname: String,
    pub(crate) user: String,
    pub(crate) port: u16,
    pub(crate) family: Family,
    pub(crate) bind_address: Option<String>,
    pub(crate) identity_files: Vec<PathBuf>,
    pub(crate) certificate_files: Vec<PathBuf>,
    pub(crate) identities_only: bool,
    pub(crate) agent: Option<PathBuf>,
    pub(crate) pubkey: bool,
    pub(crate) password: bool,
    pub(crate) keyboard_interactive: bool,
    pub(crate) user_known_hosts: Vec<PathBuf>,
    pub(crate) global_known_hosts: Vec<PathBuf>,
    pub(crate) revoked_host_keys: Option<PathBuf>,
    pub(crate) strict: Strict,
    pub(crate) hash_known_hosts: bool,
    pub(crate) host_key_alias: Option<String>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) alive_interval: Option<Duration>,
    pub(crate) alive_count: usize,
    /// The machines on the way, from here to there.
    pub(crate) jumps: Vec<String>,
    /// With all its tokens expanded.
    pub(crate) proxy_command: Option<String>,
}

/// Which addresses may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Any,
    V4,
    V6,
}

/// What becomes of a key that no file knows. A changed key is refused whatever is set here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strict {
    /// It is refused: there is nobody to ask.
    Refuse,
    /// It is written down and accepted.
    AcceptNew,
}

impl Settings {
    /// The name that known_hosts files are searched for.
    pub(crate) fn search_name(&self) -> String {
        match &self.host_key_alias {
            Some(alias) => alias.to_lowercase(),
            None => crate::known_hosts::search_name(&self.hostname, self.port),
        }
    }

    /// The name that a host certificate must be for.
    pub(crate) fn principal(&self) -> String {
        let name = self.host_key_alias.as_ref().unwrap_or(&self.hostname);
        name.to_lowercase()
    }

    /// Address and port, for messages.
    pub(crate) fn address(&self) -> String {
        if self.hostname.contains(':') {
            return format!("[{}]:{}", self.hostname, self.port);
        }
        format!("{}:{}", self.hostname, self.port)
    }
}
