//! `cargo xtask tidy`: the architecture's invariants that a program can check.
//!
//! Edges between the crates equal `docs/floors.toml`; nothing with I/O is in the closure of a crate
//! below the waterline; every file opens with what it is for; no bags named util or common; every
//! crate takes the workspace's lints; `lib.rs` stays a table of contents.

use crate::command::{output, root};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The longest `lib.rs` that still reads as a table of contents, in lines.
const LONGEST_CONTENTS_PAGE: usize = 120;

#[derive(serde::Deserialize)]
struct Floors {
    pure: Pure,
    floors: BTreeMap<String, BTreeSet<String>>,
}

#[derive(serde::Deserialize)]
struct Pure {
    crates: Vec<String>,
    banned: Vec<String>,
}

/// Checks everything and prints each finding.
///
/// # Errors
/// When there is at least one finding.
pub(crate) fn run() -> Result<()> {
    let text = fs::read_to_string(root().join("docs/floors.toml")).context("docs/floors.toml")?;
    let floors: Floors = toml::from_str(&text).context("docs/floors.toml")?;
    let metadata: Value = serde_json::from_str(&output(
        "cargo",
        &["metadata", "--format-version", "1", "--locked"],
    )?)?;
    let mut findings = Vec::new();
    check_edges(&metadata, &floors, &mut findings);
    check_closures(&metadata, &floors.pure, &mut findings);
    check_files(&mut findings)?;
    check_manifests(&mut findings)?;
    check_bans(&floors.pure, &mut findings)?;
    for finding in &findings {
        println!("tidy: {finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} crates keep to their floors", floors.floors.len());
        return Ok(());
    }
    bail!("tidy found {} things to mend", findings.len())
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

fn check_edges(metadata: &Value, floors: &Floors, findings: &mut Vec<String>) {
    for package in packages(metadata).filter(|package| package["source"].is_null()) {
        let name = text(package, "name");
        let Some(allowed) = floors.floors.get(name) else {
            if !matches!(name, "muster" | "muster-proving" | "xtask") {
                findings.push(format!("{name} has no line in docs/floors.toml"));
            }
            continue;
        };
        // Development dependencies count too: a test may not lean on what leans on its crate.
        let used: BTreeSet<String> = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|dependency| text(dependency, "name").to_owned())
            .filter(|dependency| dependency.starts_with("muster") && dependency != name)
            .collect();
        for edge in used.difference(allowed) {
            findings.push(format!(
                "{name} leans on {edge}, which docs/floors.toml does not allow"
            ));
        }
        for edge in allowed.difference(&used) {
            findings.push(format!(
                "docs/floors.toml lets {name} lean on {edge}, which it does not"
            ));
        }
    }
}

/// Follows the normal dependencies of each pure crate.
fn check_closures(metadata: &Value, pure: &Pure, findings: &mut Vec<String>) {
    let names: BTreeMap<&str, &str> = packages(metadata)
        .map(|package| (text(package, "id"), text(package, "name")))
        .collect();
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|node| (text(node, "id"), node))
        .collect();
    for start in nodes.keys().filter(|id| {
        names
            .get(*id)
            .is_some_and(|name| pure.crates.iter().any(|pure| pure == name))
    }) {
        let mut seen = BTreeSet::new();
        let mut waiting = vec![*start];
        while let Some(id) = waiting.pop() {
            if !seen.insert(id) {
                continue;
            }
            waiting.extend(
                nodes
                    .get(id)
                    .into_iter()
                    .flat_map(|node| normal_dependencies(node)),
            );
        }
        for name in seen.iter().filter_map(|id| names.get(id)) {
            if pure.banned.iter().any(|banned| banned == name) {
                let of = names.get(start).copied().unwrap_or_default();
                findings.push(format!("{of} is below the waterline but reaches {name}"));
            }
        }
    }
}

fn normal_dependencies(node: &Value) -> Vec<&str> {
    let is_normal = |dependency: &Value| {
        dependency["dep_kinds"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|kind| kind["kind"].is_null())
    };
    node["deps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|dependency| is_normal(dependency))
        .map(|dependency| text(dependency, "pkg"))
        .collect()
}

/// A crate's `clippy.toml` replaces the one at the root, so the bans stand in each pure crate.
fn check_bans(pure: &Pure, findings: &mut Vec<String>) -> Result<()> {
    let read = |name: &String| {
        let path = root().join("crates").join(name).join("clippy.toml");
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let Some(first) = pure.crates.first() else {
        return Ok(());
    };
    let wanted = read(first)?;
    for name in &pure.crates {
        let text = read(name)?;
        if text != wanted || !text.contains("disallowed-methods") {
            findings.push(format!(
                "crates/{name}/clippy.toml is not the bans of {first}"
            ));
        }
    }
    Ok(())
}

fn check_files(findings: &mut Vec<String>) -> Result<()> {
    let mut files = Vec::new();
    rust_files(&root().join("crates"), &mut files)?;
    rust_files(&root().join("xtask"), &mut files)?;
    for file in files {
        let content = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let shown = file.strip_prefix(root()).unwrap_or(&file).display();
        if !content.trim_start().starts_with("//!") {
            findings.push(format!("{shown} does not open with what it is for (`//!`)"));
        }
        let stem = file
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        if matches!(
            stem,
            "util" | "utils" | "helper" | "helpers" | "common" | "misc"
        ) {
            findings.push(format!(
                "{shown}: a bag is no room; name the file after what is in it"
            ));
        }
        if stem == "lib" && content.lines().count() > LONGEST_CONTENTS_PAGE {
            findings.push(format!("{shown} has outgrown a table of contents"));
        }
    }
    Ok(())
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                rust_files(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn check_manifests(findings: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(root().join("crates"))? {
        let folder = entry?.path();
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(folder.join("Cargo.toml")).with_context(|| name.clone())?;
        let manifest: toml::Table = toml::from_str(&text).with_context(|| name.clone())?;
        if manifest
            .get("package")
            .and_then(|package| package.get("name"))
            .and_then(|v| v.as_str())
            != Some(name.as_str())
        {
            findings.push(format!(
                "crates/{name}: the folder and the crate have different names"
            ));
        }
        let takes_lints = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(toml::Value::as_bool);
        if takes_lints != Some(true) {
            findings.push(format!("crates/{name} does not take the workspace's lints"));
        }
    }
    Ok(())
}
