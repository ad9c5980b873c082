//! Machines that refuse, hang, break or speak something else; and callers who go away.

use super::*;

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
