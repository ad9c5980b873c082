//! Machines over SSH against a server in this process: what they promise, and every way in which they fail.

mod double;
mod faults;
mod host_keys;
mod ways;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use double::{Double, Nature, Relay, certify, new_key, write_key};
use muster_identity::Secret;
use russh::keys::{HashAlg, PrivateKey};
use tokio::net::TcpListener;

use super::*;
use crate::{Payload, Stream};

/// A key of a user, known hosts and settings of its own, and a client that knows no others.
struct Lab {
    folder: tempfile::TempDir,
    host_key: PrivateKey,
    user_key: PrivateKey,
    client: SshClient,
}

impl Lab {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut SshOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let user_key = new_key();
        write_key(&folder.path().join("id"), &user_key);
        let config = format!(
            "UserKnownHostsFile {0}/known_hosts\nGlobalKnownHostsFile none\nIdentityFile {0}/id\nIdentityAgent none\n\
             IdentitiesOnly yes\nUser ada\nHashKnownHosts no\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("config"), config).unwrap();
        let mut options = SshOptions {
            config_file: Some(folder.path().join("config")),
            ..SshOptions::default()
        };
        change(&mut options);
        Self {
            client: SshClient::new(options),
            host_key: new_key(),
            user_key,
            folder,
        }
    }

    fn known_hosts(&self) -> PathBuf {
        self.folder.path().join("known_hosts")
    }

    fn configure(&self, lines: &str) {
        let file = self.folder.path().join("config");
        let text = std::fs::read_to_string(&file).unwrap();
        // The first word that is said about a thing counts.
        std::fs::write(file, format!("{lines}\n{text}")).unwrap();
    }

    fn nature(&self) -> Nature {
        Nature {
            keys: vec![self.host_key.clone()],
            users_key: Some(self.user_key.public_key().clone()),
            ..Nature::default()
        }
    }

    /// Says that the key of this port is a certain one.
    fn know(&self, port: u16, key: &PrivateKey) {
        let key = key.public_key().to_bytes().unwrap();
        let name = crate::known_hosts::search_name("127.0.0.1", port);
        let line = crate::known_hosts::line_for(&name, &key, None);
        crate::known_hosts::append(&self.known_hosts(), &line).unwrap();
    }

    fn target(port: u16) -> SshTarget {
        SshTarget {
            port: Some(port),
            ..SshTarget::new("127.0.0.1")
        }
    }

    /// A server whose key is known.
    async fn server(&self) -> Double {
        let double = Double::start(self.nature()).await;
        self.know(double.address.port(), &self.host_key);
        double
    }

    async fn machine(&self, port: u16) -> SshMachine {
        self.client.connect(&Self::target(port)).await.unwrap()
    }

    async fn refusal(&self, target: &SshTarget) -> MachineError {
        self.client.connect(target).await.unwrap_err()
    }
}

fn sh(script: &str) -> Command {
    Command::new(["sh", "-c", script])
}

async fn eventually(what: &str, is: impl Fn() -> bool) {
    for _ in 0..500 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not come");
}

#[tokio::test]
async fn commands_lines_input_and_files_arrive() {
    let lab = Lab::new();
    let server = lab.server().await;
    let machine = lab.machine(server.address.port()).await;
    let command = sh("cat; echo \"$A\"; echo err >&2; exit 9")
        .stdin(Secret::new(b"line\n".to_vec()))
        .env("A", "b 'c'");
    let output = machine.output(command).await.unwrap();
    assert_eq!(output.stdout, "line\nb 'c'\n");
    assert_eq!(output.stderr, "err\n");
    assert_eq!(output.exit, Exit::Code(9));
    let missing = machine
        .output(Command::new(["no-such-program"]))
        .await
        .unwrap_err();
    assert_eq!(missing.id(), "ssh-command-not-found");
    let path = lab.folder.path().join("there/file");
    let upload = Upload {
        payload: Payload::bytes(Secret::new(vec![7; 5 << 20])),
        path: path.to_str().unwrap().to_owned(),
        mode: 0o750,
        as_root: false,
    };
    assert_eq!(
        machine.upload(upload.clone()).await.unwrap(),
        Uploaded::Created
    );
    assert_eq!(
        machine.upload(upload).await.unwrap(),
        Uploaded::AlreadyThere
    );
    assert_eq!(std::fs::read(&path).unwrap(), vec![7; 5 << 20]);
    machine.close().await;
    assert!(machine.is_closed());
    let error = machine.output(sh("true")).await.unwrap_err();
    assert_eq!(error.id(), "ssh-connection-lost");
    eventually("the end at the server", || {
        server.open.load(Ordering::SeqCst) == 0
    })
    .await;
}

#[tokio::test]
async fn many_commands_run_side_by_side_in_one_connection() {
    let lab = Lab::new();
    let server = lab.server().await;
    let machine = lab.machine(server.address.port()).await;
    let runs = (0..30).map(|number| machine.output(sh(&format!("echo {number}"))));
    for (number, output) in futures::future::join_all(runs)
        .await
        .into_iter()
        .enumerate()
    {
        assert_eq!(output.unwrap().stdout, format!("{number}\n"));
    }
    assert_eq!(server.opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_is_not_let_in_hears_what_was_tried() {
    let lab = Lab::new();
    let nature = Nature {
        users_key: Some(new_key().public_key().clone()),
        ..lab.nature()
    };
    let server = Double::start(nature).await;
    lab.know(server.address.port(), &lab.host_key);
    let locked = lab.folder.path().join("locked");
    let rng = &mut russh::keys::key::safe_rng();
    write_key(&locked, &new_key().encrypt(rng, "passphrase").unwrap());
    let open = lab.folder.path().join("open");
    write_key(&open, &new_key());
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let target = SshTarget {
        identity_files: vec![locked, open],
        ..Lab::target(server.address.port())
    };
    let error = lab.refusal(&target).await;
    let MachineError::AuthenticationFailed {
        tried,
        accepted,
        user,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(user, "ada");
    assert_eq!(accepted, &["publickey"]);
    let tried = tried.join("\n");
    for words in [
        "locked: it has a passphrase",
        "ssh-add",
        "open: others may read it (mode 0644)",
        "/id: not accepted",
    ] {
        assert!(tried.contains(words), "{words} in {tried}");
    }
    eventually("the end at the server", || {
        server.open.load(Ordering::SeqCst) == 0
    })
    .await;
}

#[tokio::test]
async fn a_password_is_given_only_where_there_is_one_and_the_machine_asks() {
    let lab = Lab::new();
    for only_questions in [false, true] {
        let nature = Nature {
            users_key: None,
            password: Some("open sesame".to_owned()),
            only_questions,
            ..lab.nature()
        };
        let server = Double::start(nature).await;
        lab.know(server.address.port(), &lab.host_key);
        let target = |password: Option<&str>| SshTarget {
            password: password.map(|text| Secret::new(text.to_owned())),
            ..Lab::target(server.address.port())
        };
        lab.client
            .connect(&target(Some("open sesame")))
            .await
            .unwrap();
        for password in [Some("wrong"), None] {
            let error = lab.refusal(&target(password)).await;
            assert_eq!(error.id(), "ssh-authentication-failed");
            assert!(
                !format!("{error:?} {error}").contains("wrong\""),
                "{error:?}"
            );
        }
    }
}

#[tokio::test]
async fn lines_of_both_streams_are_told_apart() {
    let lab = Lab::new();
    let server = lab.server().await;
    let machine = lab.machine(server.address.port()).await;
    let mut streams = Vec::new();
    let mut on_line = |line: crate::OutputLine| streams.push(line.stream);
    machine
        .run(sh("echo a; sleep 0.1; echo b >&2"), &mut on_line)
        .await
        .unwrap();
    assert_eq!(streams, [Stream::Stdout, Stream::Stderr]);
}
