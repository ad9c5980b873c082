//! Installs the Debian packages that the tests need, when it may; otherwise it says what is missing.
//! It never changes a machine that already has the programs.

use crate::command::{in_path, root, run};
use anyhow::{Result, bail};
use std::path::PathBuf;

/// A program that tests run, and the Debian package that brings it.
struct Needed {
    program: &'static str,
    package: &'static str,
}

const NEEDED: &[Needed] = &[
    Needed {
        program: "ip",
        package: "iproute2",
    },
    Needed {
        program: "openssl",
        package: "openssl",
    },
    Needed {
        program: "containerd",
        package: "containerd",
    },
];

/// Makes sure that every program the tests run is there.
///
/// # Errors
/// When something is missing and cannot be installed; the message names the packages.
pub(crate) fn ensure() -> Result<()> {
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|needed| !in_path(needed.program) && !in_system_folders(needed.program))
        .map(|needed| needed.package)
        .collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    ensure_kubectl()
}

fn in_system_folders(program: &str) -> bool {
    ["/usr/sbin", "/sbin", "/usr/bin"]
        .iter()
        .any(|folder| PathBuf::from(folder).join(program).is_file())
}

fn is_root() -> bool {
    crate::command::output("id", &["-u"]).is_ok_and(|uid| uid.trim() == "0")
}

fn install(packages: &[&str]) -> Result<()> {
    if !is_root() || !in_path("apt-get") {
        bail!(
            "the tests need these packages, and only root on Debian can install them here: {}",
            packages.join(" ")
        );
    }
    run("apt-get", &["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend_from_slice(packages);
    run("apt-get", &arguments)
}

/// kubectl must be a recent one. Debian stable's own is too old for today's API, so a current one is
/// unpacked under `target/tools/`, without installing it.
fn ensure_kubectl() -> Result<()> {
    if in_path("kubectl") || tools().join("kubectl").is_file() {
        return Ok(());
    }
    if !in_path("apt-get") {
        bail!("the tests need kubectl 1.30 or newer in PATH");
    }
    let script = root().join("xtask/unpack-kubectl.sh");
    run(
        "sh",
        &[&script.to_string_lossy(), &tools().to_string_lossy()],
    )
}

/// Where unpacked tools live; it is put in front of `PATH` for the tests.
pub(crate) fn tools() -> PathBuf {
    root().join("target/tools")
}
