//! Machines over SSH as they are: OpenSSH's server, real users, real sudo, a real agent.

use std::process::Stdio;
use std::time::Duration;

use muster_identity::Secret;
use muster_ssh::{
    Command, Exit, Machine, MachineError, Payload, SshClient, SshMachine, SshOptions, SshTarget,
    Sudo, Upload, Uploaded,
};

use super::fleet_bed::{FleetBed, PASSWORD, SudoThere};

const CANARY: &str = "canary0123456789";

fn client(bed: &FleetBed) -> SshClient {
    SshClient::new(SshOptions {
        config_file: Some(bed.path("ssh_config")),
        connect_timeout: Duration::from_secs(4),
        ..SshOptions::default()
    })
}

fn target(bed: &FleetBed, host: usize) -> SshTarget {
    SshTarget::new(bed.hosts[host].address.to_string())
}

async fn machine(bed: &FleetBed, host: usize, sudo: Sudo) -> SshMachine {
    let target = SshTarget {
        sudo,
        ..target(bed, host)
    };
    client(bed).connect(&target).await.unwrap()
}

fn sh(script: &str) -> Command {
    Command::new(["sh", "-c", script])
}

fn password(text: &str) -> Sudo {
    Sudo::Password(Secret::new(text.to_owned()))
}

async fn sudo_failure(machine: &SshMachine) -> MachineError {
    machine.output(sh("id -u").as_root()).await.unwrap_err()
}

#[tokio::test]
async fn each_way_of_sudo_works_or_says_what_it_wants() {
    let bed = FleetBed::start(&[
        SudoThere::Passwordless,
        SudoThere::Password,
        SudoThere::NotAllowed,
    ]);
    let input = || Secret::new(format!("{CANARY}\nsecond line").into_bytes());
    let whoami = || sh("id -u; cat; echo err >&2").as_root().stdin(input());
    // With a password at hand for a sudo that does not ask, the password must not become the command's input.
    for (host, sudo) in [
        (0, Sudo::Passwordless),
        (0, password(PASSWORD)),
        (1, password(PASSWORD)),
    ] {
        let machine = machine(&bed, host, sudo).await;
        assert_eq!(machine.user(), "ada");
        for _ in 0..2 {
            let output = machine.output(whoami()).await.unwrap();
            assert_eq!(output.stdout, format!("0\n{CANARY}\nsecond line\n"));
            assert_eq!(
                (output.stderr.as_str(), output.exit),
                ("err\n", Exit::Code(0))
            );
        }
        assert_eq!(machine.output(sh("id -u")).await.unwrap().stdout, "5001\n");
        let missing = machine
            .output(Command::new(["no-such-thing"]).as_root())
            .await
            .unwrap_err();
        assert_eq!(missing.id(), "ssh-command-not-found");
    }
    let asks = machine(&bed, 1, Sudo::Passwordless).await;
    assert_eq!(sudo_failure(&asks).await.id(), "ssh-sudo-password-needed");
    let wrong = machine(&bed, 1, password("wrong-horse")).await;
    assert_eq!(sudo_failure(&wrong).await.id(), "ssh-sudo-password-wrong");
    for sudo in [Sudo::Passwordless, password(PASSWORD)] {
        let error = sudo_failure(&machine(&bed, 2, sudo).await).await;
        // Without a password sudo does not even say that the user may not.
        assert!(
            ["ssh-sudo-not-allowed", "ssh-sudo-password-needed"].contains(&error.id()),
            "{error}"
        );
    }
    let refused = sudo_failure(&machine(&bed, 2, password(PASSWORD)).await).await;
    assert_eq!(refused.id(), "ssh-sudo-not-allowed");
    for host in &bed.hosts {
        let log = host.auth_log();
        assert!(!log.contains(CANARY) && !log.contains(PASSWORD), "{log}");
    }
}

#[tokio::test]
async fn what_is_fed_to_a_command_is_seen_in_no_process_list() {
    let bed = FleetBed::start(&[SudoThere::Password]);
    let machine = machine(&bed, 0, password(PASSWORD)).await;
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let watching = std::sync::Arc::clone(&seen);
    let watcher = std::thread::spawn(move || {
        let mut found = Vec::new();
        while watching.load(std::sync::atomic::Ordering::Relaxed) {
            let lines = super::harness::command_lines();
            found.extend(
                lines
                    .into_iter()
                    .filter(|(_, line)| line.contains(CANARY) || line.contains(PASSWORD)),
            );
        }
        found
    });
    for _ in 0..5 {
        let command = sh("cat >/dev/null; sleep 0.1")
            .as_root()
            .stdin(Secret::new(CANARY.as_bytes().to_vec()));
        assert!(machine.output(command).await.unwrap().exit.success());
    }
    seen.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(watcher.join().unwrap(), []);
}

#[tokio::test]
async fn root_writes_files_that_the_user_could_not() {
    let bed = FleetBed::start(&[SudoThere::Password]);
    let machine = machine(&bed, 0, password(PASSWORD)).await;
    let upload = |as_root| Upload {
        payload: Payload::bytes(Secret::new(b"content".repeat(100_000))),
        path: "/opt/tools/bin/tool".to_owned(),
        mode: 0o755,
        as_root,
    };
    let error = machine.upload(upload(false)).await.unwrap_err();
    assert_eq!(error.id(), "ssh-upload-failed");
    assert_eq!(
        machine.upload(upload(true)).await.unwrap(),
        Uploaded::Created
    );
    assert_eq!(
        machine.upload(upload(true)).await.unwrap(),
        Uploaded::AlreadyThere
    );
    let there = std::fs::read(bed.hosts[0].path("opt/tools/bin/tool")).unwrap();
    assert_eq!(there, b"content".repeat(100_000));
}

#[tokio::test]
async fn a_command_as_root_ends_when_its_caller_goes() {
    let bed = FleetBed::of(1);
    let machine = machine(&bed, 0, Sudo::Passwordless).await;
    let command = sh("exec sleep 4711")
        .as_root()
        .time_limit(Duration::from_millis(800));
    assert_eq!(
        machine.output(command).await.unwrap_err().id(),
        "ssh-timed-out"
    );
    let runs = || {
        String::from_utf8_lossy(&bed.openssh(0, "pgrep -x sleep -a || true").stdout)
            .contains("4711")
    };
    for _ in 0..100 {
        if !runs() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it still runs");
}

#[tokio::test]
async fn a_machine_that_is_not_there_one_that_is_another_and_one_behind_it_are_told_apart() {
    let bed = FleetBed::of(3);
    bed.unplug(0);
    let error = client(&bed).connect(&target(&bed, 0)).await.unwrap_err();
    assert_eq!(error.id(), "ssh-unreachable");
    let known = std::fs::read_to_string(bed.path("known_hosts")).unwrap();
    let lines: Vec<&str> = known.lines().collect();
    let [_, one, two] = lines[..] else {
        panic!("{known}")
    };
    // The second machine shows the key that is known for the third.
    let swapped = two.replace(
        &bed.hosts[2].address.to_string(),
        &bed.hosts[1].address.to_string(),
    );
    std::fs::write(bed.path("known_hosts"), format!("{swapped}\n{two}\n")).unwrap();
    let error = client(&bed).connect(&target(&bed, 1)).await.unwrap_err();
    assert_eq!(error.id(), "ssh-host-key-changed");
    std::fs::write(bed.path("known_hosts"), format!("{one}\n{two}\n")).unwrap();
    let through = SshTarget {
        jump: Some(format!("root@{}", bed.hosts[1].address)),
        ..target(&bed, 2)
    };
    let machine = client(&bed).connect(&through).await.unwrap();
    let output = machine
        .output(sh("hostname; echo $SSH_CONNECTION"))
        .await
        .unwrap();
    let from = bed.hosts[1].address.to_string();
    assert!(
        output.stdout.starts_with(&format!("host-2\n{from} ")),
        "{}",
        output.stdout
    );
}

#[tokio::test]
async fn keys_of_every_kind_certificates_and_the_agent_let_us_in() {
    let bed = FleetBed::of(1);
    let authorized = bed.hosts[0].path("home/ada/.ssh/authorized_keys");
    let key = |name: &str, arguments: &[&str]| {
        let file = bed.path(name);
        let status = std::process::Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-f"])
            .arg(&file)
            .args(arguments)
            .status();
        assert!(status.unwrap().success());
        (
            file.clone(),
            std::fs::read_to_string(file.with_extension("pub")).unwrap(),
        )
    };
    let only = |file: &std::path::Path| SshTarget {
        identity_files: vec![file.to_owned()],
        ..target(&bed, 0)
    };
    std::fs::write(
        bed.path("ssh_config"),
        std::fs::read_to_string(bed.path("ssh_config"))
            .unwrap()
            .replace("  IdentityFile", "  #IdentityFile"),
    )
    .unwrap();
    for (name, arguments) in [
        ("rsa", &["-t", "rsa", "-b", "2048"][..]),
        ("ecdsa", &["-t", "ecdsa", "-b", "384"]),
        ("pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
    ] {
        let (file, public) = key(name, arguments);
        std::fs::write(&authorized, public).unwrap();
        client(&bed).connect(&only(&file)).await.unwrap();
    }
    // A certificate of an authority that the machine trusts.
    let (authority, public) = key("authority", &["-t", "ed25519"]);
    std::fs::write(&authorized, format!("cert-authority {public}")).unwrap();
    let (file, _) = key("signed", &["-t", "ed25519"]);
    assert_eq!(
        client(&bed).connect(&only(&file)).await.unwrap_err().id(),
        "ssh-authentication-failed"
    );
    let sign = std::process::Command::new("ssh-keygen")
        .args(["-q", "-I", "test", "-n", "ada", "-s"])
        .arg(&authority)
        .arg(file.with_extension("pub"))
        .status();
    assert!(sign.unwrap().success());
    client(&bed).connect(&only(&file)).await.unwrap();
    // A key with a passphrase, held by the agent only.
    let (file, public) = key("locked", &["-t", "ed25519"]);
    std::fs::write(&authorized, public).unwrap();
    let socket = bed.path("agent");
    let mut agent = std::process::Command::new("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    super::harness::wait_for("the agent", || {
        socket.exists().then_some(()).ok_or_else(String::new)
    });
    let add = std::process::Command::new("ssh-add")
        .arg("-q")
        .arg(&file)
        .env("SSH_AUTH_SOCK", &socket)
        .status();
    assert!(add.unwrap().success());
    let lock = std::process::Command::new("ssh-keygen")
        .args(["-q", "-p", "-P", "", "-N", "passphrase", "-f"])
        .arg(&file)
        .status();
    assert!(lock.unwrap().success());
    let error = client(&bed).connect(&only(&file)).await.unwrap_err();
    assert!(error.to_string().contains("passphrase"), "{error}");
    let with_agent = SshTarget {
        options: vec![(
            "IdentityAgent".to_owned(),
            socket.to_str().unwrap().to_owned(),
        )],
        ..only(&file)
    };
    let result = client(&bed).connect(&with_agent).await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    result.unwrap();
}
