//! Machines over SSH against a server in this process: what they promise, and every way in which they fail.

mod double;

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
async fn an_unknown_host_is_refused_and_the_cure_makes_it_known() {
    let lab = Lab::new();
    let server = Double::start(lab.nature()).await;
    let target = Lab::target(server.address.port());
    let error = lab.refusal(&target).await;
    assert_eq!(error.id(), "ssh-host-key-unknown");
    let fingerprint = lab
        .host_key
        .public_key()
        .fingerprint(HashAlg::Sha256)
        .to_string();
    assert!(error.to_string().contains(&fingerprint), "{error}");
    let cure = error.cure();
    let command = cure.split_once("then: ").unwrap().1;
    let status = std::process::Command::new("sh")
        .args(["-c", command])
        .status()
        .unwrap();
    assert!(status.success());
    lab.machine(server.address.port()).await;
}

#[tokio::test]
async fn a_new_host_is_written_down_where_that_is_wanted_and_a_changed_one_never_passes() {
    let lab = Lab::new();
    lab.configure("StrictHostKeyChecking no");
    let server = Double::start(lab.nature()).await;
    let port = server.address.port();
    lab.machine(port).await;
    let text = std::fs::read_to_string(lab.known_hosts()).unwrap();
    assert!(
        text.starts_with(&format!("[127.0.0.1]:{port} ssh-ed25519 ")),
        "{text}"
    );
    lab.machine(port).await;
    assert_eq!(std::fs::read_to_string(lab.known_hosts()).unwrap(), text);
    std::fs::remove_file(lab.known_hosts()).unwrap();
    lab.know(1, &new_key());
    lab.know(port, &new_key());
    let error = lab.refusal(&Lab::target(port)).await;
    assert_eq!(error.id(), "ssh-host-key-changed");
    let place = format!("{}:2 ", lab.known_hosts().display());
    assert!(error.to_string().contains(&place), "{error}");
    // The cure is the command that OpenSSH has for it.
    let cure = error.cure();
    let command = format!("ssh-keygen{}", cure.split_once("ssh-keygen").unwrap().1);
    assert!(
        std::process::Command::new("sh")
            .args(["-c", &command])
            .status()
            .unwrap()
            .success()
    );
    lab.machine(port).await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_whatever_else_is_known() {
    let lab = Lab::new();
    let server = lab.server().await;
    let key = lab.host_key.public_key().to_openssh().unwrap();
    crate::known_hosts::append(&lab.known_hosts(), &format!("@revoked * {key}")).unwrap();
    let error = lab.refusal(&Lab::target(server.address.port())).await;
    assert_eq!(error.id(), "ssh-host-key-revoked");
    let list = lab.folder.path().join("revoked");
    std::fs::write(&list, key).unwrap();
    lab.configure(&format!("RevokedHostKeys {}", list.display()));
    std::fs::remove_file(lab.known_hosts()).unwrap();
    lab.know(server.address.port(), &lab.host_key);
    let error = lab.refusal(&Lab::target(server.address.port())).await;
    assert!(error.to_string().contains("revoked:1"), "{error}");
}

#[tokio::test]
async fn a_host_with_keys_of_several_kinds_shows_the_known_one() {
    let lab = Lab::new();
    let rng = &mut russh::keys::key::safe_rng();
    let curve = russh::keys::EcdsaCurve::NistP256;
    let other = PrivateKey::random(rng, russh::keys::Algorithm::Ecdsa { curve }).unwrap();
    let nature = Nature {
        keys: vec![lab.host_key.clone(), other.clone()],
        ..lab.nature()
    };
    let server = Double::start(nature).await;
    lab.know(server.address.port(), &other);
    lab.machine(server.address.port()).await;
}

#[tokio::test]
async fn a_certificate_vouches_for_a_host_as_long_as_it_holds() {
    let lab = Lab::new();
    let authority = new_key();
    let line = authority.public_key().to_openssh().unwrap();
    crate::known_hosts::append(
        &lab.known_hosts(),
        &format!("@cert-authority [127.0.0.1]:* {line}"),
    )
    .unwrap();
    let show = async |certificate| {
        let nature = Nature {
            certificates: vec![certificate],
            ..lab.nature()
        };
        let server = Double::start(nature).await;
        let target = Lab::target(server.address.port());
        lab.client
            .connect(&target)
            .await
            .map(|_| ())
            .map_err(|error| (error.id(), error.to_string()))
    };
    let host = lab.host_key.public_key();
    show(certify(&authority, host, "127.0.0.1", -60, 60))
        .await
        .unwrap();
    for (certificate, word) in [
        (
            certify(&authority, host, "other", -60, 60),
            "it is for other",
        ),
        (certify(&authority, host, "127.0.0.1", -60, -1), "expired"),
        (
            certify(&authority, host, "127.0.0.1", 60, 120),
            "not valid yet",
        ),
    ] {
        let (id, text) = show(certificate).await.unwrap_err();
        assert_eq!(id, "ssh-host-certificate-invalid");
        assert!(text.contains(word), "{text}");
    }
    // The authority of somebody else makes the key just unknown.
    let (id, _) = show(certify(&new_key(), host, "127.0.0.1", -60, 60))
        .await
        .unwrap_err();
    assert_eq!(id, "ssh-host-key-unknown");
    crate::known_hosts::append(&lab.known_hosts(), &format!("@revoked * {line}")).unwrap();
    let (id, _) = show(certify(&authority, host, "127.0.0.1", -60, 60))
        .await
        .unwrap_err();
    assert_eq!(id, "ssh-host-key-revoked");
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
async fn a_port_on_which_nothing_listens_and_a_name_that_is_none_are_told_apart() {
    let lab = Lab::new();
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let error = lab.refusal(&Lab::target(port)).await;
    assert_eq!(error.id(), "ssh-refused");
    assert!(error.is_transient());
    let error = lab.refusal(&SshTarget::new("no..such..name")).await;
    assert_eq!(error.id(), "ssh-name-unknown");
}

#[tokio::test]
async fn somebody_who_never_speaks_is_given_up_and_everything_freed() {
    let lab = Lab::with(|options| options.login_timeout = Duration::from_millis(300));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Ends when the other side does.
        tokio::io::copy(&mut stream, &mut tokio::io::sink())
            .await
            .unwrap()
    });
    let error = lab.refusal(&Lab::target(port)).await;
    assert_eq!(error.id(), "ssh-timed-out");
    tokio::time::timeout(Duration::from_secs(10), silent)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn something_else_than_ssh_is_told() {
    let lab = Lab::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let text = format!("HTTP/1.1 400 Bad Request\r\n\r\n{}", "x".repeat(100_000));
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, text.as_bytes()).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    });
    let error = lab.refusal(&Lab::target(port)).await;
    assert_eq!(error.id(), "ssh-protocol", "{error}");
}

/// A lab whose machines are asked for signs of life five times a second.
fn impatient() -> Lab {
    Lab::with(|options| options.alive_interval = Duration::from_millis(200))
}

#[tokio::test]
async fn a_machine_that_hangs_in_the_middle_of_a_command_is_noticed() {
    let lab = impatient();
    let server = lab.server().await;
    let relay = Relay::to(server.address).await;
    lab.know(relay.address.port(), &lab.host_key);
    let machine = lab.machine(relay.address.port()).await;
    let mut begun = |_: crate::OutputLine| relay.freeze();
    let error = machine
        .run(sh("echo begun; sleep 60"), &mut begun)
        .await
        .unwrap_err();
    assert_eq!(error.id(), "ssh-connection-lost");
    assert!(error.to_string().contains("no sign of life"), "{error}");
    assert!(error.is_transient() && machine.is_closed());
    eventually("the end of the stream", || {
        relay.open.load(Ordering::SeqCst) == 0
    })
    .await;
}

#[tokio::test]
async fn a_machine_that_hangs_in_the_middle_of_an_upload_is_noticed() {
    let lab = impatient();
    let server = lab.server().await;
    let relay = Relay::to(server.address).await;
    lab.know(relay.address.port(), &lab.host_key);
    let machine = lab.machine(relay.address.port()).await;
    let upload = Upload {
        payload: Payload::bytes(Secret::new(vec![1; 64 << 20])),
        path: lab.folder.path().join("file").to_str().unwrap().to_owned(),
        mode: 0o600,
        as_root: false,
    };
    let freeze = async {
        let begun = || {
            std::fs::read_dir(lab.folder.path())
                .unwrap()
                .flatten()
                .any(|entry| {
                    entry.file_name().to_string_lossy().starts_with("file.")
                        && entry.metadata().is_ok_and(|about| about.len() > 0)
                })
        };
        eventually("the beginning", begun).await;
        relay.freeze();
    };
    let (error, ()) = tokio::join!(machine.upload(upload), freeze);
    assert_eq!(error.unwrap_err().id(), "ssh-connection-lost");
    // Once the machine hears of it, too.
    relay.cut();
    let gone = || {
        std::fs::read_dir(lab.folder.path())
            .unwrap()
            .flatten()
            .all(|entry| !entry.file_name().to_string_lossy().starts_with("file"))
    };
    eventually("the removal of the part that arrived", gone).await;
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_and_its_command_ends() {
    let lab = Lab::new();
    let server = lab.server().await;
    let relay = Relay::to(server.address).await;
    lab.know(relay.address.port(), &lab.host_key);
    let machine = lab.machine(relay.address.port()).await;
    let beat = lab.folder.path().join("beat");
    let script = "echo begun; while :; do date +%s%N >\"$BEAT\"; sleep 0.05; done";
    let mut begun = |_: crate::OutputLine| relay.cut();
    let command = sh(script).env("BEAT", beat.to_str().unwrap());
    let error = machine.run(command, &mut begun).await.unwrap_err();
    assert_eq!(error.id(), "ssh-connection-lost");
    for _ in 0..30 {
        let before = std::fs::read(&beat).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(200)).await;
        if std::fs::read(&beat).unwrap_or_default() == before {
            return;
        }
    }
    panic!("the command outlives its connection");
}

#[tokio::test]
async fn a_command_whose_caller_goes_away_ends_and_its_place_is_free_again() {
    let lab = Lab::new();
    let server = lab.server().await;
    let machine = lab.machine(server.address.port()).await;
    for _ in 0..12 {
        let command = sh("sleep 60").time_limit(Duration::from_millis(50));
        assert_eq!(
            machine.output(command).await.unwrap_err().id(),
            "ssh-timed-out"
        );
    }
    assert_eq!(
        machine.output(sh("echo here")).await.unwrap().stdout,
        "here\n"
    );
}

#[tokio::test]
async fn a_machine_that_opens_no_session_says_so() {
    let lab = Lab::new();
    let server = Double::start(Nature {
        no_sessions: true,
        ..lab.nature()
    })
    .await;
    lab.know(server.address.port(), &lab.host_key);
    let machine = lab.machine(server.address.port()).await;
    let error = machine.output(sh("true")).await.unwrap_err();
    assert_eq!(error.id(), "ssh-session-refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_machines_share_one_connection_to_their_jump_host() {
    const MACHINES: usize = 120;
    let lab = Lab::with(|options| {
        options.connect_timeout = Duration::from_secs(60);
        options.login_timeout = Duration::from_secs(60);
    });
    let (jump, server) = (lab.server().await, lab.server().await);
    let target = SshTarget {
        jump: Some(format!("ada@127.0.0.1:{}", jump.address.port())),
        ..Lab::target(server.address.port())
    };
    let opening = (0..MACHINES).map(|_| lab.client.connect(&target));
    let machines: Vec<SshMachine> = futures::future::try_join_all(opening).await.unwrap();
    assert_eq!(jump.opened.load(Ordering::SeqCst), 1);
    assert_eq!(server.open.load(Ordering::SeqCst), MACHINES);
    assert_eq!(lab.client.inner.jumps.count(), 1);
    let command = Command::new(["true"]);
    let runs = machines
        .iter()
        .take(20)
        .map(|machine| machine.output(command.clone()));
    for output in futures::future::join_all(runs).await {
        assert!(output.unwrap().exit.success());
    }
    assert_eq!(machines[0].jumps(), 1);
    drop(machines);
    eventually("the end of the jump host", || {
        jump.open.load(Ordering::SeqCst) == 0
    })
    .await;
    eventually("the end of the machines", || {
        server.open.load(Ordering::SeqCst) == 0
    })
    .await;
    assert_eq!(lab.client.inner.jumps.count(), 0);
    // Who comes later opens it anew.
    lab.client.connect(&target).await.unwrap();
    assert_eq!(jump.opened.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_jump_host_that_cannot_be_passed_is_named_to_all_who_wait() {
    let lab = Lab::new();
    let (stranger, server) = (Double::start(lab.nature()).await, lab.server().await);
    let through = |port: u16| SshTarget {
        jump: Some(format!("127.0.0.1:{port}")),
        ..Lab::target(server.address.port())
    };
    let target = through(stranger.address.port());
    let both = tokio::join!(lab.client.connect(&target), lab.client.connect(&target));
    for error in [both.0.unwrap_err(), both.1.unwrap_err()] {
        let MachineError::JumpFailed { source, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(source.id(), "ssh-host-key-unknown");
        assert!(error.cure().contains("known_hosts"));
    }
    let mean = Double::start(Nature {
        no_forwarding: true,
        ..lab.nature()
    })
    .await;
    lab.know(mean.address.port(), &lab.host_key);
    let error = lab.refusal(&through(mean.address.port())).await;
    assert_eq!(error.id(), "ssh-jump-failed");
    let jump = lab.server().await;
    let nothing = SshTarget {
        port: Some(1),
        ..through(jump.address.port())
    };
    assert_eq!(lab.refusal(&nothing).await.id(), "ssh-unreachable");
}

#[tokio::test]
async fn a_chain_of_jump_hosts_is_passed_in_order() {
    let lab = Lab::new();
    let (one, two, server) = (lab.server().await, lab.server().await, lab.server().await);
    let ports = [one.address.port(), two.address.port()];
    let target = SshTarget {
        jump: Some(format!("127.0.0.1:{},127.0.0.1:{}", ports[0], ports[1])),
        ..Lab::target(server.address.port())
    };
    let machine = lab.client.connect(&target).await.unwrap();
    assert_eq!(machine.jumps(), 2);
    assert_eq!(machine.output(sh("echo hi")).await.unwrap().stdout, "hi\n");
}

#[tokio::test]
async fn settings_that_jump_in_a_circle_end() {
    let lab = Lab::new();
    lab.configure("Host a\n  ProxyJump b\nHost b\n  ProxyJump a\nHost *");
    let error = lab.refusal(&SshTarget::new("a")).await;
    assert_eq!(error.id(), "ssh-jump-failed");
    assert!(error.cure().contains("ssh -G"), "{}", error.cure());
    let (one, other) = (SshTarget::new("a"), SshTarget::new("b"));
    let both = tokio::join!(lab.client.connect(&one), lab.client.connect(&other));
    assert!(both.0.is_err() && both.1.is_err());
}

#[tokio::test]
async fn a_proxy_command_leads_to_the_machine_or_says_why_not() {
    let lab = Lab::new();
    let server = lab.server().await;
    let port = server.address.port();
    lab.configure(&format!(
        "Host good\n  HostName 127.0.0.1\n  Port {port}\n  ProxyCommand bash -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & exec cat >&3'\n\
         Host bad\n  ProxyCommand echo no way to %h >&2; exit 1\nHost *"
    ));
    let machine = lab.client.connect(&SshTarget::new("good")).await.unwrap();
    assert_eq!(machine.output(sh("echo hi")).await.unwrap().stdout, "hi\n");
    let error = lab.refusal(&SshTarget::new("bad")).await;
    assert_eq!(error.id(), "ssh-proxy-command-failed");
    assert!(error.to_string().contains("no way to bad"), "{error}");
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
