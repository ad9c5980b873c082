//! The fuzzer's corpora, run through its targets: what once broke a parser, or nearly, is tried in every test run.

use std::{collections::BTreeSet, fs, path::PathBuf};

#[expect(
    unreachable_pub,
    reason = "the file is a library's for the fuzzer, and a module here"
)]
#[path = "../../../../fuzz/src/targets.rs"]
mod targets;

use targets::TARGETS;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let corpora = fs::read_dir(folder()).unwrap();
    let corpora = corpora.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(targets, corpora.collect());
}

#[test]
fn nothing_in_a_corpus_breaks_its_target() {
    for (name, target) in TARGETS {
        let mut files = 0;
        for entry in fs::read_dir(folder().join(name)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let held = std::panic::catch_unwind(|| target(&bytes));
            assert!(held.is_ok(), "{}", path.display());
            files += 1;
        }
        assert!(files > 0, "the corpus of {name} is empty");
    }
}
