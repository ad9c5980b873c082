//! The reference page of errors says what the code says.

use muster_handshake::ErrorKind;
use muster_handshake::error::ErrorClass;

const PAGE: &str = include_str!("../../../../docs/reference/errors.md");

/// The cells of the rows between two markers.
fn rows(section: &str) -> Vec<Vec<String>> {
    let begin = PAGE.find(&format!("<!-- {section}:begin")).unwrap();
    let end = PAGE.find(&format!("<!-- {section}:end")).unwrap();
    let is_row = |line: &&str| line.starts_with("| `");
    let cells = |line: &str| {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    PAGE[begin..end].lines().filter(is_row).map(cells).collect()
}

#[test]
fn every_error_of_the_handshake_stands_on_the_page_with_its_code_and_class() {
    let expected: Vec<_> = ErrorKind::ALL
        .iter()
        .map(|kind| {
            let transient = if kind.class() == ErrorClass::Transient {
                "yes"
            } else {
                "no"
            };
            (
                format!("`{}`", kind.id()),
                kind.exit_code().to_string(),
                transient.to_owned(),
            )
        })
        .collect();
    let found: Vec<_> = rows("handshake")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone(), row[2].clone()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn every_error_on_the_way_to_a_machine_stands_on_the_page_with_its_code_and_class() {
    let expected: Vec<_> = muster_ssh::MachineErrorKind::ALL
        .iter()
        .map(|kind| {
            let transient = if kind.is_transient() { "yes" } else { "no" };
            let (id, code) = (format!("`{}`", kind.id()), kind.exit_code().to_string());
            (id, code, transient.to_owned())
        })
        .collect();
    let found: Vec<_> = rows("machines")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone(), row[2].clone()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn no_id_stands_on_the_page_twice_and_no_code_is_empty() {
    let mut seen = std::collections::BTreeSet::new();
    for line in PAGE.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let (id, code) = (cells.next().unwrap(), cells.next().unwrap());
        assert!(seen.insert(id), "{id} stands there twice");
        assert!(code.parse::<u8>().is_ok_and(|code| code != 0), "{line}");
    }
    assert!(seen.len() > 30);
}

#[test]
fn every_check_stands_on_its_page_with_level_and_who_runs_it() {
    const CHECKS: &str = include_str!("../../../../docs/reference/preflight.md");
    let begin = CHECKS.find("<!-- checks:begin").unwrap();
    let end = CHECKS.find("<!-- checks:end").unwrap();
    let found: Vec<Vec<&str>> = CHECKS[begin..end]
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let expected: Vec<Vec<String>> = muster_plan::checks::CATALOGUE
        .iter()
        .map(|check| {
            let who = if check.control_plane {
                "control plane"
            } else {
                "all"
            };
            let kubeadm = if check.kubeadm { "yes" } else { "no" };
            let cells = [
                &format!("`{}`", check.name),
                check.level.word(),
                who,
                kubeadm,
            ];
            cells.map(str::to_owned).to_vec()
        })
        .collect();
    let names: Vec<Vec<String>> = found
        .iter()
        .map(|row| row[..4].iter().map(|cell| (*cell).to_owned()).collect())
        .collect();
    assert_eq!(names, expected);
    for row in found {
        assert!(
            row.len() == 6 && row[4..].iter().all(|cell| cell.len() > 3),
            "{row:?} says too little"
        );
    }
}

/// The text of every Rust file below a folder.
fn sources(folder: &std::path::Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_that_the_page_of_troubles_names_exists() {
    const TROUBLES: &str = include_str!("../../../../docs/reference/troubles.md");
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut text = String::new();
    sources(&crates, &mut text);
    let mut rows = 0;
    for row in TROUBLES.lines().filter(|line| line.starts_with("| ")) {
        let Some(tests) = row.trim_end_matches('|').rsplit('|').next() else {
            continue;
        };
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        rows += usize::from(!names.is_empty());
        for name in names {
            assert!(text.contains(&format!("fn {name}(")), "{name} is no test");
        }
    }
    assert_eq!(rows, 20);
}
