//! Verdicts, beside what OpenSSH's own ssh-keygen finds in the same files.

use super::*;
use proptest::prelude::*;
use std::process::Command;

/// A key on the wire that contains nothing but its own number.
fn key(number: u8) -> Vec<u8> {
    let algorithm = b"ssh-ed25519";
    let mut bytes = vec![0, 0, 0, 11];
    bytes.extend_from_slice(algorithm);
    bytes.extend_from_slice(&[0, 0, 0, 32]);
    bytes.extend_from_slice(&[number; 32]);
    bytes
}

fn line(names: &str, number: u8) -> String {
    format!("{names} ssh-ed25519 {}", base64_of(&key(number)))
}

fn known(text: &str) -> KnownHosts {
    let mut known = KnownHosts::default();
    known.read(Path::new("/k"), text);
    known
}

fn place(line: usize) -> Place {
    Place {
        file: PathBuf::from("/k"),
        line,
    }
}

#[test]
fn a_key_is_known_unknown_or_changed() {
    let text = format!(
        "# comment\n\n{}\n{}\n",
        line("web1,web2", 1),
        line("[db]:2222", 2)
    );
    let known = known(&text);
    assert_eq!(known.judge("web1", &key(1)), Verdict::Known);
    assert_eq!(known.judge("web2", &key(2)), Verdict::Changed(place(3)));
    assert_eq!(known.judge("web3", &key(1)), Verdict::Unknown);
    assert_eq!(
        known.judge(&search_name("DB", 2222), &key(2)),
        Verdict::Known
    );
    assert_eq!(
        known.judge(&search_name("db", 22), &key(2)),
        Verdict::Unknown
    );
}

#[test]
fn any_of_several_known_keys_will_do() {
    let known = known(&format!("{}\n{}\n", line("web", 1), line("web", 2)));
    assert_eq!(known.judge("web", &key(2)), Verdict::Known);
    assert_eq!(known.judge("web", &key(3)), Verdict::Changed(place(1)));
}

#[test]
fn a_revocation_beats_everything() {
    let text = format!("{}\n@revoked {}\n", line("web", 1), line("*", 1));
    let known = known(&text);
    assert_eq!(known.judge("web", &key(1)), Verdict::Revoked(place(2)));
    assert_eq!(known.judge("other", &key(1)), Verdict::Revoked(place(2)));
    assert_eq!(known.judge("web", &key(2)), Verdict::Changed(place(1)));
    // A revocation makes nobody known.
    assert_eq!(known.judge("other", &key(2)), Verdict::Unknown);
}

#[test]
fn an_authority_vouches_for_its_names_only_and_is_no_host_key() {
    let text = format!("@cert-authority {}\n", line("*.lab,!evil.lab", 9));
    let known = known(&text);
    assert!(known.is_authority("a.lab", &key(9)));
    assert!(known.has_authority("a.lab"));
    assert!(!known.is_authority("evil.lab", &key(9)));
    assert!(!known.is_authority("a.lab", &key(8)));
    assert!(!known.has_authority("a.home"));
    assert_eq!(known.judge("a.lab", &key(9)), Verdict::Unknown);
}

#[test]
fn hashed_names_match_and_hide() {
    let hidden = line_for("[web]:2222", &key(4), Some(&[7; 20]));
    assert!(!hidden.contains("web"));
    let known = known(&hidden);
    assert_eq!(known.judge("[web]:2222", &key(4)), Verdict::Known);
    assert_eq!(known.judge("web", &key(4)), Verdict::Unknown);
}

#[test]
fn lines_that_are_none_are_passed_over() {
    let damaged = base64_of(&key(1)).replacen('A', "B", 1);
    let text = [
        "web".to_owned(),
        "web ssh-ed25519".to_owned(),
        "web ssh-ed25519 !!!".to_owned(),
        format!("web ssh-ed25519 {damaged}"),
        format!("web ssh-rsa {}", base64_of(&key(1))),
        format!("@unknown {}", line("web", 1)),
        format!("|1|x {}", line("", 1)),
        line(&"a,".repeat(LONGEST_LINE), 1),
    ]
    .join("\n");
    assert!(known(&text).entries.is_empty());
}

#[test]
fn the_kinds_of_known_keys_are_told_in_order() {
    let mut rsa = vec![0, 0, 0, 7];
    rsa.extend_from_slice(b"ssh-rsa");
    let text = format!(
        "web ssh-rsa {}\n{}\n{}",
        base64_of(&rsa),
        line("web", 1),
        line("web", 2)
    );
    assert_eq!(known(&text).algorithms("web"), ["ssh-rsa", "ssh-ed25519"]);
    assert!(known(&text).algorithms("db").is_empty());
}

#[test]
fn a_new_line_goes_behind_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new/known_hosts");
    append(&file, "one").unwrap();
    std::fs::write(&file, "one\ntwo").unwrap();
    append(&file, "three").unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\ntwo\nthree\n");
    append(Path::new("/dev/null"), "nowhere").unwrap();
}

/// Whether OpenSSH finds a name in a file of one line.
fn found_by_openssh(line: &str, name: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_hosts");
    std::fs::write(&file, format!("{line}\n")).unwrap();
    let output = Command::new("ssh-keygen")
        .arg("-F")
        .arg(name)
        .arg("-f")
        .arg(&file)
        .output();
    output
        .expect("ssh-keygen is there: cargo xtask test brings it")
        .status
        .success()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn patterns_mean_what_they_mean_to_openssh(
        patterns in proptest::collection::vec("!?[ab.*?]{1,5}", 1..4),
        name in "[ab.]{1,5}",
    ) {
        let text = line(&patterns.join(","), 1);
        let ours = known(&text).judge(&name, &key(1)) == Verdict::Known;
        prop_assert_eq!(ours, found_by_openssh(&text, &name), "{} {}", text, name);
    }

    #[test]
    fn any_text_can_be_read(text in "\\PC{0,300}", name in "[a-z.]{0,10}", bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let known = known(&text);
        let _ = known.judge(&name, &bytes);
        let _ = known.algorithms(&name);
    }

    #[test]
    fn a_line_that_was_made_here_is_found_by_openssh(name in "[a-z][a-z0-9.]{0,12}", salt in proptest::array::uniform20(any::<u8>())) {
        let hidden = line_for(&name, &key(1), Some(&salt));
        prop_assert!(found_by_openssh(&hidden, &name));
        prop_assert_eq!(known(&hidden).judge(&name, &key(1)), Verdict::Known);
    }

    #[test]
    fn a_star_is_any_run(front in "[ab]{0,4}", middle in "[ab]{0,6}", back in "[ab]{0,4}") {
        let text = format!("{front}{middle}{back}");
        let pattern = format!("{front}*{back}");
        prop_assert!(glob(&pattern, &text));
    }
}
