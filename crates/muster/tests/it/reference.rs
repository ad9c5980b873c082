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
