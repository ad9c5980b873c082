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
    // Fleets are joined over real SSH, with real sudo.
    Needed {
        program: "ssh",
        package: "openssh-client",
    },
    Needed {
        program: "sshd",
        package: "openssh-server",
    },
    Needed {
        program: "sudo",
        package: "sudo",
    },
    Needed {
        program: "setpriv",
        package: "util-linux",
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
    UNPACKED.iter().try_for_each(ensure_unpacked)
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

/// Programs that are unpacked under `target/tools/` where they are missing, and their packages. Debian stable's own
/// kubectl is too old for today's API; installing etcd's package would start it as a service.
const UNPACKED: &[Needed] = &[
    Needed {
        program: "kubectl",
        package: "kubectl",
    },
    Needed {
        program: "etcd",
        package: "etcd-server",
    },
];

fn ensure_unpacked(needed: &Needed) -> Result<()> {
    if in_path(needed.program) || tools().join(needed.program).is_file() {
        return Ok(());
    }
    if !in_path("apt-get") {
        bail!(
            "the tests need {} in PATH (kubectl 1.30, etcd 3.5, or newer)",
            needed.program
        );
    }
    let script = root().join("xtask/unpack-debian.sh");
    run(
        "sh",
        &[
            &script.to_string_lossy(),
            &tools().to_string_lossy(),
            needed.package,
            needed.program,
        ],
    )
}

/// Where unpacked tools live; it is put in front of `PATH` for the tests.
pub(crate) fn tools() -> PathBuf {
    root().join("target/tools")
}
