//! Settings as text: keywords and values, one in a line, as `ssh -G` prints them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::expand::{Tokens, expand, path};
use super::{Family, Settings, Strict};
use crate::SshOptions;

/// The most that is read of what `ssh -G` prints, in bytes.
const MOST_TEXT: usize = 1 << 20;

/// Keywords in lower case, with their values in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Words(BTreeMap<String, Vec<String>>);

/// What this machine's environment says.
pub(super) struct Surroundings<'a> {
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    pub(super) home: String,
    pub(super) local_user: String,
    pub(super) local_host: String,
    pub(super) uid: u32,
}

impl Words {
    /// Reads `keyword value` lines; others are passed over.
    pub(super) fn parse(text: &str) -> Self {
        let mut words = Self::default();
        for line in text.get(..MOST_TEXT).unwrap_or(text).lines() {
            if let Some((keyword, value)) = line.trim().split_once(' ') {
                words.add(keyword, value);
            }
        }
        words
    }

    pub(super) fn add(&mut self, keyword: &str, value: &str) {
        let values = self.0.entry(keyword.to_ascii_lowercase()).or_default();
        values.push(value.trim().to_owned());
    }

    /// The first value, which is the one that counts.
    fn one(&self, keyword: &str) -> Option<&str> {
        self.0.get(keyword)?.first().map(String::as_str)
    }

    /// As [`Words::one`]; `none` is nothing.
    fn some(&self, keyword: &str) -> Option<&str> {
        self.one(keyword)
            .filter(|value| !value.eq_ignore_ascii_case("none") && !value.is_empty())
    }

    fn all(&self, keyword: &str) -> impl Iterator<Item = &str> {
        self.0
            .get(keyword)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    fn flag(&self, keyword: &str, otherwise: bool) -> bool {
        match self.one(keyword) {
            Some("yes" | "true") => true,
            Some("no" | "false") => false,
            _ => otherwise,
        }
    }

    fn number(&self, keyword: &str) -> Option<u64> {
        self.some(keyword)?.parse().ok()
    }

    /// Values that are counted in seconds; 0 is nothing.
    fn seconds(&self, keyword: &str) -> Option<Duration> {
        let seconds = self.number(keyword).filter(|seconds| *seconds > 0)?;
        Some(Duration::from_secs(seconds))
    }

    /// What only the program `ssh` can do, or nobody.
    fn unsupported(&self) -> Option<String> {
        let asks = |keyword: &str| self.some(keyword).is_some();
        if asks("knownhostscommand") {
            return Some("KnownHostsCommand is not supported".to_owned());
        }
        self.flag("proxyusefdpass", false)
            .then(|| "ProxyUseFdpass is not supported".to_owned())
    }

    /// The settings that these words make.
    ///
    /// # Errors
    /// The value that cannot be used.
    pub(super) fn into_settings(
        self,
        typed: &str,
        here: &Surroundings<'_>,
        options: &SshOptions,
    ) -> Result<Settings, String> {
        if let Some(problem) = self.unsupported() {
            return Err(problem);
        }
        let hostname = self.one("hostname").unwrap_or(typed).to_owned();
        let user = self.one("user").unwrap_or(&here.local_user).to_owned();
        let port = match self.one("port") {
            None => 22,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| format!("Port {port} is none"))?,
        };
        for (what, word) in [("Hostname", &hostname), ("User", &user)] {
            if word.is_empty()
                || word.starts_with('-')
                || word.contains(|c: char| {
                    c.is_control() || c.is_whitespace() || "'`\"$\\;&<>|(){}".contains(c)
                })
            {
                return Err(format!("{what} {word:?} is not allowed"));
            }
        }
        let alias = self.some("hostkeyalias").map(str::to_owned);
        let tokens = Tokens {
            alias: alias.clone().unwrap_or_else(|| typed.to_owned()),
            hostname: hostname.clone(),
            typed: typed.to_owned(),
            port,
            user: user.clone(),
            local_user: here.local_user.clone(),
            home: here.home.clone(),
            uid: here.uid,
            local_host: here.local_host.clone(),
        };
        let file = |text: &str| path(text, &tokens, here.variable).map(PathBuf::from);
        let agent = match self.one("identityagent") {
            None => (here.variable)("SSH_AUTH_SOCK").map(PathBuf::from),
            Some("none") => None,
            Some("SSH_AUTH_SOCK") => (here.variable)("SSH_AUTH_SOCK").map(PathBuf::from),
            Some(text) => match text.strip_prefix('$').filter(|name| !name.starts_with('{')) {
                Some(name) => (here.variable)(name).map(PathBuf::from),
                None => Some(file(text)?),
            },
        };
        let some_files = |keyword: &str| {
            let words = self.all(keyword).filter(|word| *word != "none");
            words.map(file).collect::<Result<Vec<_>, _>>()
        };
        let file_list = |keyword: &str| {
            let words = self.one(keyword).unwrap_or_default().split_whitespace();
            words
                .filter(|word| *word != "none")
                .map(file)
                .collect::<Result<Vec<_>, _>>()
        };
        let strict = match self.one("stricthostkeychecking") {
            _ if options.accept_new_host_keys => Strict::AcceptNew,
            Some("accept-new" | "no" | "off" | "false") => Strict::AcceptNew,
            _ => Strict::Refuse,
        };
        let jumps = self.some("proxyjump").map_or_else(Vec::new, |jumps| {
            jumps
                .split(',')
                .map(|jump| jump.trim().to_owned())
                .filter(|jump| !jump.is_empty())
                .collect()
        });
        let proxy_command = match self.some("proxycommand") {
            Some(command) if jumps.is_empty() => Some(expand(command, &tokens)?),
            _ => None,
        };
        Ok(Settings {
            typed: typed.to_owned(),
            port,
            family: match self.one("addressfamily") {
                Some("inet") => Family::V4,
                Some("inet6") => Family::V6,
                _ => Family::Any,
            },
            bind_address: self.some("bindaddress").map(str::to_owned),
            identity_files: some_files("identityfile")?,
            certificate_files: some_files("certificatefile")?,
            identities_only: self.flag("identitiesonly", false),
            agent: agent.filter(|path| !path.as_os_str().is_empty()),
            // It may also be `unbound` or `host-bound`.
            pubkey: self.one("pubkeyauthentication") != Some("no")
                && self.one("pubkeyauthentication") != Some("false"),
            password: self.flag("passwordauthentication", true),
            keyboard_interactive: self.flag("kbdinteractiveauthentication", true),
            user_known_hosts: file_list("userknownhostsfile")?,
            global_known_hosts: file_list("globalknownhostsfile")?,
            revoked_host_keys: self.some("revokedhostkeys").map(file).transpose()?,
            strict,
            hash_known_hosts: self.flag("hashknownhosts", false),
            host_key_alias: alias,
            connect_timeout: self.seconds("connecttimeout"),
            alive_interval: self.seconds("serveraliveinterval"),
            alive_count: self
                .number("serveralivecountmax")
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(3),
            jumps,
            proxy_command,
            hostname,
            user,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings(text: &str) -> Result<Settings, String> {
        let variable = |name: &str| match name {
            "SSH_AUTH_SOCK" => Some("/run/agent".to_owned()),
            "OTHER" => Some("/run/other".to_owned()),
            _ => None,
        };
        let here = Surroundings {
            variable: &variable,
            home: "/home/ada".to_owned(),
            local_user: "ada".to_owned(),
            local_host: "desk".to_owned(),
            uid: 1000,
        };
        Words::parse(text).into_settings("web", &here, &SshOptions::default())
    }

    #[test]
    fn without_a_word_the_defaults_hold() {
        let settings = settings("").unwrap();
        assert_eq!((settings.hostname.as_str(), settings.port), ("web", 22));
        assert_eq!(settings.user, "ada");
        assert_eq!(settings.agent.unwrap().to_str(), Some("/run/agent"));
        assert_eq!(settings.strict, Strict::Refuse);
        assert!(settings.pubkey && settings.password && !settings.identities_only);
    }

    #[test]
    fn what_ssh_prints_is_understood() {
        let text = "host web\nhostname 10.1.1.1\nuser root\nport 2222\nidentityfile ~/.ssh/my key\nidentityfile /k/%r\n\
            identityagent $OTHER\nuserknownhostsfile ~/.ssh/a /b\nglobalknownhostsfile none\nstricthostkeychecking accept-new\n\
            hostkeyalias fleet\nconnecttimeout 7\nserveraliveinterval 0\nproxyjump u@one:2,two\nproxycommand nc %h %p\n";
        let settings = settings(text).unwrap();
        let files: Vec<_> = settings
            .identity_files
            .iter()
            .map(|file| file.to_str().unwrap())
            .collect();
        assert_eq!(files, ["/home/ada/.ssh/my key", "/k/root"]);
        assert_eq!(
            settings.agent.as_ref().unwrap().to_str(),
            Some("/run/other")
        );
        assert_eq!(settings.user_known_hosts.len(), 2);
        assert!(settings.global_known_hosts.is_empty());
        assert_eq!(settings.strict, Strict::AcceptNew);
        assert_eq!(settings.search_name(), "fleet");
        assert_eq!(settings.connect_timeout, Some(Duration::from_secs(7)));
        assert_eq!(settings.alive_interval, None);
        assert_eq!(settings.jumps, ["u@one:2", "two"]);
        // ProxyJump has won.
        assert_eq!(settings.proxy_command, None);
    }

    #[test]
    fn what_we_cannot_do_or_must_not_is_refused_by_name() {
        for (text, word) in [
            ("knownhostscommand /bin/x", "KnownHostsCommand"),
            ("proxyusefdpass yes", "ProxyUseFdpass"),
            ("hostname a;b", "Hostname"),
            ("user -oX", "User"),
            ("port 0", "Port"),
            ("proxycommand nc %C", "%C"),
        ] {
            let problem = settings(text).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_text_ends_in_settings_or_a_reason(text in "\\PC{0,200}", keyword in "(port|user|hostname|proxyjump|identityagent|userknownhostsfile)", value in "\\PC{0,40}") {
            let _ = settings(&text);
            let _ = settings(&format!("{keyword} {value}"));
        }
    }
}
