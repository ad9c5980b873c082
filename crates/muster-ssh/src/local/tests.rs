//! What every machine promises, tried on this one.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use muster_identity::Secret;

use super::*;
use crate::{Payload, Stream};

fn here() -> LocalMachine {
    LocalMachine::new("here", Sudo::Passwordless)
}

fn sh(script: &str) -> Command {
    Command::new(["sh", "-c", script])
}

async fn output(command: Command) -> crate::Output {
    here().output(command).await.unwrap()
}

#[tokio::test]
async fn a_commands_lines_status_arguments_and_environment_are_its_own() {
    let command = sh("echo \"$WORD\"; echo oops >&2; exit 7").env("WORD", "a 'b' $c \\ !");
    let got = output(command).await;
    assert_eq!(got.stdout, "a 'b' $c \\ !\n");
    assert_eq!(got.stderr, "oops\n");
    assert_eq!(got.exit, Exit::Code(7));
    let odd = ["", " ", "'", "\"$HOME\"", "*", "\n", "ü", "!!", "\\"];
    let argv = ["printf", "%s|"].iter().chain(&odd).copied();
    let got = output(Command::new(argv)).await;
    assert_eq!(
        got.stdout.trim_end(),
        odd.map(|word| format!("{word}|")).concat()
    );
}

#[tokio::test]
async fn lines_come_while_the_command_runs() {
    let mut seen = Vec::new();
    let mut on_line = |line: crate::OutputLine| seen.push((line.text, Instant::now()));
    let command = sh("echo first; sleep 0.3; echo second");
    here().run(command, &mut on_line).await.unwrap();
    let [(first, then), (second, later)] = seen.try_into().unwrap();
    assert_eq!((first.as_str(), second.as_str()), ("first", "second"));
    assert!(later > then + Duration::from_millis(200));
}

#[tokio::test]
async fn input_arrives_whole_and_then_ends() {
    let bytes: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let got = output(sh("sha256sum; wc -c").stdin(Secret::new(bytes.clone()))).await;
    let expected = Payload::bytes(Secret::new(bytes)).sha256().to_owned();
    assert_eq!(got.stdout, format!("{expected}  -\n0\n"));
    let got = output(sh("wc -c")).await;
    assert_eq!(got.stdout.trim(), "0");
}

#[tokio::test]
async fn a_command_that_reads_nothing_of_its_input_ends_all_the_same() {
    let input = Secret::new(vec![b'x'; 200_000]);
    let got = output(sh("exit 3").stdin(input)).await;
    assert_eq!(got.exit, Exit::Code(3));
}

#[tokio::test]
async fn much_output_does_not_stop_the_feeding() {
    let input = Secret::new(vec![b'x'; 100_000]);
    let script = "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done; wc -c";
    let got = output(sh(script).stdin(input)).await;
    assert!(got.stdout.ends_with("\n100000\n"));
    assert_eq!(got.stdout.lines().count(), 3001);
}

#[tokio::test]
async fn a_program_that_is_not_there_has_a_name() {
    let error = here()
        .output(Command::new(["muster-no-such-program", "x"]))
        .await
        .unwrap_err();
    assert_eq!(error.id(), "ssh-command-not-found");
    assert!(error.to_string().contains("muster-no-such-program"));
    for argv in [vec![], vec![""], vec!["-c", "id"]] {
        let error = here().output(Command::new(argv)).await.unwrap_err();
        assert_eq!(error.id(), "ssh-local-failed");
    }
}

#[tokio::test]
async fn a_daemon_that_stays_and_holds_the_output_open_does_not_hold_us() {
    let begin = Instant::now();
    let got = output(sh("setsid sleep 20 & echo done")).await;
    assert_eq!((got.stdout.as_str(), got.exit), ("done\n", Exit::Code(0)));
    assert!(begin.elapsed() < Duration::from_secs(15));
}

/// A file that a process keeps fresh while it lives.
async fn is_alive(beat: &std::path::Path) -> bool {
    let read = || std::fs::read(beat).unwrap_or_default();
    let before = read();
    tokio::time::sleep(Duration::from_millis(300)).await;
    read() != before
}

#[tokio::test]
async fn a_command_does_not_outlive_whoever_waited_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let beat = folder.path().join("beat");
    let script = "while :; do date +%s%N >\"$BEAT\"; sleep 0.05; done";
    let command = sh(script)
        .env("BEAT", beat.to_str().unwrap())
        .time_limit(Duration::from_millis(400));
    let error = here().output(command).await.unwrap_err();
    assert_eq!(error.id(), "ssh-timed-out");
    for _ in 0..30 {
        if !is_alive(&beat).await {
            return;
        }
    }
    panic!("it still runs");
}

#[tokio::test]
async fn a_file_is_written_once_and_only_its_mode_is_set_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b c/tool");
    let payload = Payload::bytes(Secret::new(b"#!/bin/sh\n".repeat(40_000)));
    let upload = |payload: &Payload, mode| {
        let upload = Upload {
            payload: payload.clone(),
            path: path.to_str().unwrap().to_owned(),
            mode,
            as_root: false,
        };
        async move { here().upload(upload).await.unwrap() }
    };
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(upload(&payload, 0o755).await, Uploaded::Created);
    assert_eq!(std::fs::read(&path).unwrap(), b"#!/bin/sh\n".repeat(40_000));
    assert_eq!(mode(), 0o755);
    let stamp = std::fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(upload(&payload, 0o700).await, Uploaded::AlreadyThere);
    assert_eq!(mode(), 0o700);
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), stamp);
    let other = folder.path().join("other");
    std::fs::write(&other, b"other").unwrap();
    let payload = Payload::file(&other).await.unwrap();
    assert_eq!(upload(&payload, 0o600).await, Uploaded::Replaced);
    assert_eq!(std::fs::read(&path).unwrap(), b"other");
    let beside = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1);
}

#[tokio::test]
async fn an_upload_that_cannot_be_done_changes_nothing_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"old").unwrap();
    let try_it = |path: String, payload: Payload| async move {
        let upload = Upload {
            payload,
            path,
            mode: 0o644,
            as_root: false,
        };
        here().upload(upload).await.unwrap_err()
    };
    let bytes = || Payload::bytes(Secret::new(b"new".to_vec()));
    let below_a_file = file.join("x").to_str().unwrap().to_owned();
    let error = try_it(below_a_file, bytes()).await;
    assert_eq!(error.id(), "ssh-upload-failed");
    let error = try_it(folder.path().to_str().unwrap().to_owned(), bytes()).await;
    assert!(error.to_string().contains("is a directory"), "{error}");
    // The file changes between hashing and sending.
    let source = folder.path().join("source");
    std::fs::write(&source, b"as it was").unwrap();
    let payload = Payload::file(&source).await.unwrap();
    std::fs::write(&source, b"as it is").unwrap();
    let error = try_it(file.to_str().unwrap().to_owned(), payload).await;
    assert_eq!(error.id(), "ssh-upload-corrupt");
    assert_eq!(std::fs::read(&file).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn what_a_profile_says_is_not_taken_for_the_commands_words() {
    let mut command = tokio::process::Command::new("true");
    command.kill_on_drop(true);
    let noisy = [
        "sh",
        "-c",
        "echo welcome; printf 'no end'; echo hello >&2; exec \"$@\"",
        "sh",
    ];
    let mut machine = here();
    machine.here.enter = noisy.map(str::to_owned).to_vec();
    let mut seen = Vec::new();
    let mut on_line = |line: crate::OutputLine| seen.push((line.stream, line.text));
    machine
        .run(sh("echo mine; echo mine >&2"), &mut on_line)
        .await
        .unwrap();
    seen.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
    let mine = "mine".to_owned();
    assert_eq!(
        seen,
        [(Stream::Stdout, mine.clone()), (Stream::Stderr, mine)]
    );
    let refusing = [
        "sh",
        "-c",
        "echo This account is currently not available.; exit 1",
        "sh",
    ];
    machine.here.enter = refusing.map(str::to_owned).to_vec();
    let error = machine.output(sh("true")).await.unwrap_err();
    assert_eq!(error.id(), "ssh-session-refused");
    assert!(error.to_string().contains("not available"));
}
