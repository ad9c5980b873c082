//! From a target to its settings: by asking `ssh -G`, or without it where it is not installed.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Settings;
use super::text::{Surroundings, Words};
use crate::{MachineError, SshOptions, SshTarget};

/// How long `ssh -G` may take. A `Match exec` in the settings may be slow.
const TO_RESOLVE: Duration = Duration::from_secs(20);
/// The most that is read of its output, in bytes.
const MOST_TEXT: u64 = 1 << 20;

/// Settles everything about a target. `few` bounds how many processes run at once.
///
/// # Errors
/// When the settings cannot be read or used.
pub(crate) async fn resolve(
    target: &SshTarget,
    options: &SshOptions,
    few: &Semaphore,
) -> Result<Settings, MachineError> {
    let unusable = |detail: String| MachineError::SettingsUnusable {
        host: target.label().to_owned(),
        detail,
    };
    check(target).map_err(unusable)?;
    let words = {
        let _place = few.acquire().await;
        match ask(target, options).await {
            Ok(text) => Words::parse(&text.map_err(unusable)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if unread_settings(options) {
                    tracing::warn!("ssh is not installed, so its settings are not read");
                }
                plain(target)
            }
            Err(error) => {
                let program = options.ssh_program.display();
                return Err(MachineError::local(format!("start {program}"), error));
            }
        }
    };
    let variable = |name: &str| std::env::var(name).ok();
    let home = std::env::home_dir().unwrap_or_default();
    let here = Surroundings {
        home: home.to_string_lossy().into_owned(),
        local_user: local_user(),
        local_host: local_host(),
        uid: rustix::process::getuid().as_raw(),
        variable: &variable,
    };
    words
        .into_settings(&target.host, &here, options)
        .map_err(unusable)
}

fn check(target: &SshTarget) -> Result<(), String> {
    if target.host.is_empty() || target.host.starts_with('-') {
        return Err(format!("{:?} is no name of a machine", target.host));
    }
    let odd = |file: &&std::path::PathBuf| file.to_string_lossy().contains(['"', '\\', '\n']);
    if let Some(file) = target.identity_files.iter().find(odd) {
        return Err(format!("the path {} is not allowed", file.display()));
    }
    let keyword = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric());
    match target
        .options
        .iter()
        .find(|(word, value)| !keyword(word) || value.contains('\n'))
    {
        Some((word, _)) => Err(format!("the option {word:?} is not allowed")),
        None => Ok(()),
    }
}

/// What `ssh -G` prints; or its words when it refuses the settings.
async fn ask(target: &SshTarget, options: &SshOptions) -> io::Result<Result<String, String>> {
    let mut command = tokio::process::Command::new(&options.ssh_program);
    if let Some(file) = &options.config_file {
        command.arg("-F").arg(file);
    }
    for (keyword, value) in &target.options {
        command.arg("-o").arg(format!("{keyword}={value}"));
    }
    if let Some(port) = target.port {
        command.arg("-p").arg(port.to_string());
    }
    if let Some(user) = &target.user {
        command.arg("-l").arg(user);
    }
    for file in &target.identity_files {
        // Not `-i`: that leaves out files that are not there, and nobody would hear of the mistake.
        command
            .arg("-o")
            .arg(format!("IdentityFile=\"{}\"", file.display()));
    }
    if let Some(jump) = &target.jump {
        command.arg("-o").arg(format!("ProxyJump={jump}"));
    }
    command.arg("-T").arg("-G").arg(&target.host);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let read = async {
        let (mut text, mut errors) = (Vec::new(), Vec::new());
        if let (Some(stdout), Some(stderr)) = (stdout, stderr) {
            let (mut stdout, mut stderr) = (stdout.take(MOST_TEXT), stderr.take(MOST_TEXT));
            tokio::try_join!(
                stdout.read_to_end(&mut text),
                stderr.read_to_end(&mut errors)
            )?;
        }
        let status = child.wait().await?;
        io::Result::Ok((status, text, errors))
    };
    let Ok(read) = timeout(TO_RESOLVE, read).await else {
        return Ok(Err(
            "`ssh -G` does not end; does a `Match exec` hang?".to_owned()
        ));
    };
    let (status, text, errors) = read?;
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if status.success() {
        return Ok(Ok(lossy(&text)));
    }
    Ok(Err(lossy(&errors).replace(['\n', '\r'], " ")))
}

/// The words of the target and the defaults of OpenSSH.
fn plain(target: &SshTarget) -> Words {
    let mut words = Words::default();
    for (keyword, value) in &target.options {
        words.add(keyword, value);
    }
    if let Some(port) = target.port {
        words.add("port", &port.to_string());
    }
    if let Some(user) = &target.user {
        words.add("user", user);
    }
    if let Some(jump) = &target.jump {
        words.add("proxyjump", jump);
    }
    for file in &target.identity_files {
        words.add("identityfile", &file.to_string_lossy());
    }
    if target.identity_files.is_empty() {
        for kind in ["ed25519", "ecdsa", "rsa"] {
            words.add("identityfile", &format!("~/.ssh/id_{kind}"));
        }
    }
    words.add(
        "userknownhostsfile",
        "~/.ssh/known_hosts ~/.ssh/known_hosts2",
    );
    words.add(
        "globalknownhostsfile",
        "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2",
    );
    words
}

fn local_user() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if rustix::process::getuid().is_root() {
        return "root".to_owned();
    }
    variable("USER")
        .or_else(|| variable("LOGNAME"))
        .unwrap_or_default()
}

fn local_host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Whether a file of settings is left unread because the program that reads it is missing.
fn unread_settings(options: &SshOptions) -> bool {
    let Some(home) = std::env::home_dir() else {
        return false;
    };
    options.config_file.as_deref().is_some_and(Path::exists) || home.join(".ssh/config").exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    async fn resolved(target: &SshTarget, options: &SshOptions) -> Result<Settings, MachineError> {
        resolve(target, options, &Semaphore::new(1)).await
    }

    fn options(config: &str) -> (tempfile::TempDir, SshOptions) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, config).unwrap();
        let options = SshOptions {
            config_file: Some(file),
            ..SshOptions::default()
        };
        (folder, options)
    }

    #[tokio::test]
    async fn the_owners_settings_hold_and_the_targets_own_words_beat_them() {
        let config = "Host web*\n  HostName 10.9.9.9\n  Port 2200\n  User ada\n  ProxyJump gate\n  IdentityFile /k/a\n\
            Match host 10.9.9.9\n  ServerAliveInterval 3\n";
        let (_folder, options) = options(config);
        let settings = resolved(&SshTarget::new("web7"), &options).await.unwrap();
        assert_eq!(settings.address(), "10.9.9.9:2200");
        assert_eq!(settings.user, "ada");
        assert_eq!(settings.jumps, ["gate"]);
        assert_eq!(settings.identity_files, [PathBuf::from("/k/a")]);
        assert_eq!(settings.alive_interval, Some(Duration::from_secs(3)));
        let target = SshTarget {
            user: Some("root".to_owned()),
            port: Some(22),
            jump: Some("none".to_owned()),
            identity_files: vec![PathBuf::from("/k/b")],
            options: vec![("HostKeyAlias".to_owned(), "w".to_owned())],
            ..SshTarget::new("web7")
        };
        let settings = resolved(&target, &options).await.unwrap();
        assert_eq!(settings.address(), "10.9.9.9:22");
        assert_eq!(settings.user, "root");
        assert!(settings.jumps.is_empty());
        assert_eq!(settings.identity_files[0], PathBuf::from("/k/b"));
        assert_eq!(settings.search_name(), "w");
    }

    #[tokio::test]
    async fn a_mistake_in_the_settings_is_told_with_its_line() {
        let (_folder, options) = options("Host *\n  Bogus yes\n");
        let error = resolved(&SshTarget::new("web"), &options)
            .await
            .unwrap_err();
        assert_eq!(error.id(), "ssh-settings-unusable");
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[tokio::test]
    async fn where_no_ssh_is_installed_the_targets_own_words_count() {
        let options = SshOptions {
            ssh_program: PathBuf::from("/nowhere/ssh"),
            ..SshOptions::default()
        };
        let target = SshTarget {
            user: Some("ada".to_owned()),
            port: Some(2222),
            options: vec![("ConnectTimeout".to_owned(), "4".to_owned())],
            ..SshTarget::new("10.0.0.7")
        };
        let settings = resolved(&target, &options).await.unwrap();
        assert_eq!(settings.address(), "10.0.0.7:2222");
        assert_eq!(settings.user, "ada");
        assert_eq!(settings.connect_timeout, Some(Duration::from_secs(4)));
        assert!(
            settings
                .identity_files
                .iter()
                .any(|file| file.ends_with(".ssh/id_ed25519"))
        );
        assert!(settings.user_known_hosts[0].ends_with(".ssh/known_hosts"));
    }

    #[tokio::test]
    async fn names_that_could_be_taken_for_options_are_refused() {
        for host in ["", "-oProxyCommand=x"] {
            let error = resolved(&SshTarget::new(host), &SshOptions::default())
                .await
                .unwrap_err();
            assert_eq!(error.id(), "ssh-settings-unusable");
        }
    }
}
