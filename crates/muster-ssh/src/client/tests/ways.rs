//! The way there: jump hosts and commands.

use super::*;

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
