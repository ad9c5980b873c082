//! This machine's kernel, through `/proc`, `/sys` and the programs that every distribution has for it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use muster_plan::{chains_removal, is_foreign_table};

use super::commands::{ask, run, run_with_input};
use crate::HostError;
use crate::kernel::{Kernel, Swap};
use crate::steps::io_error;

/// This machine's kernel.
pub(crate) struct RealKernel;

/// Save and restore of both families; machines have either the legacy or the nftables flavour behind these names.
const TABLES: [(&str, &str); 2] = [
    ("iptables-save", "iptables-restore"),
    ("ip6tables-save", "ip6tables-restore"),
];

fn program(name: &str) -> PathBuf {
    name.into()
}

fn is_in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).exists())
}

fn setting_path(key: &str) -> Result<String, HostError> {
    let path = format!("/proc/sys/{key}");
    if crate::disk::is_plain(&path) {
        Ok(path)
    } else {
        Err(HostError::BadPath { path })
    }
}

#[async_trait]
impl Kernel for RealKernel {
    fn has_module(&self, name: &str) -> bool {
        crate::gather::has_module(name)
    }

    async fn load_module(&self, name: &str) -> Result<(), HostError> {
        if self.has_module(name) {
            return Ok(());
        }
        run(&program("modprobe"), &["--", name]).await.map(drop)
    }

    async fn unload_module(&self, name: &str) -> Result<(), HostError> {
        if !self.has_module(name) {
            return Ok(());
        }
        run(&program("modprobe"), &["-r", "--", name])
            .await
            .map(drop)
    }

    fn setting(&self, key: &str) -> Result<Option<String>, HostError> {
        let path = setting_path(key)?;
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim_end().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    fn set(&self, key: &str, value: &str) -> Result<(), HostError> {
        let path = setting_path(key)?;
        fs::write(&path, value).map_err(io_error("write", &path))
    }

    fn swaps(&self) -> Result<Vec<Swap>, HostError> {
        let path = "/proc/swaps";
        match fs::read_to_string(path) {
            Ok(text) => Ok(read_swaps(&text)),
            // A kernel without swap.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(io_error("read", path)(error)),
        }
    }

    async fn swap_off(&self, device: &str) -> Result<(), HostError> {
        run(&program("swapoff"), &["--", device]).await.map(drop)
    }

    async fn swap_on(&self, swap: &Swap) -> Result<(), HostError> {
        let priority = swap.priority.to_string();
        let mut args = Vec::new();
        if swap.priority >= 0 {
            args.extend(["-p", priority.as_str()]);
        }
        args.extend(["--", swap.device.as_str()]);
        run(&program("swapon"), &args).await.map(drop)
    }

    fn links(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir("/sys/class/net") else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    async fn remove_link(&self, name: &str) -> Result<(), HostError> {
        run(&program("ip"), &["link", "delete", "dev", name])
            .await
            .map(drop)
    }

    async fn filters(&self) -> Result<Vec<String>, HostError> {
        let mut found = Vec::new();
        for (save, _) in TABLES {
            if let Some((_, chains)) = removal(save).await? {
                let family = save.trim_end_matches("-save");
                found.extend(
                    chains
                        .into_iter()
                        .map(|chain| format!("{family} chain {chain}")),
                );
            }
        }
        found.extend(
            tables()
                .await?
                .iter()
                .map(|(family, name)| format!("nftables table {family} {name}")),
        );
        if serves_virtually() {
            found.push("IPVS virtual servers".to_owned());
        }
        Ok(found)
    }

    async fn clear_filters(&self) -> Result<(), HostError> {
        for (save, restore) in TABLES {
            if let Some((script, _)) = removal(save).await? {
                run_with_input(&program(restore), &["--noflush"], script).await?;
            }
        }
        for (family, name) in tables().await? {
            run(&program("nft"), &["delete", "table", &family, &name]).await?;
        }
        if serves_virtually() {
            run(&program("ipvsadm"), &["--clear"]).await?;
        }
        Ok(())
    }
}

async fn removal(save: &str) -> Result<Option<(String, Vec<String>)>, HostError> {
    if !is_in_path(save) {
        return Ok(None);
    }
    Ok(chains_removal(&run(&program(save), &[]).await?))
}

/// Tables with known owners.
async fn tables() -> Result<Vec<(String, String)>, HostError> {
    if !is_in_path("nft") {
        return Ok(Vec::new());
    }
    // Where the kernel has no nftables there is nothing of theirs.
    let said = ask(&program("nft"), &["list", "tables"]).await?;
    Ok(read_tables(&said.stdout))
}

/// Lines `table FAMILY NAME`.
fn read_tables(text: &str) -> Vec<(String, String)> {
    let read = |line: &str| {
        let mut words = line.strip_prefix("table ")?.split_ascii_whitespace();
        let (family, name) = (words.next()?, words.next()?);
        is_foreign_table(name).then(|| (family.to_owned(), name.to_owned()))
    };
    text.lines().filter_map(read).collect()
}

/// kube-proxy's own interface tells that the virtual servers are its.
fn serves_virtually() -> bool {
    let lines = fs::read_to_string("/proc/net/ip_vs")
        .unwrap_or_default()
        .lines()
        .count();
    Path::new("/sys/class/net/kube-ipvs0").exists() && lines > 3
}

/// `/proc/swaps`: a heading, then `device type size used priority`; spaces in names are octal.
fn read_swaps(text: &str) -> Vec<Swap> {
    let read = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        Some(Swap {
            device: super::disk::unescape(fields.first()?),
            priority: fields.get(4)?.parse().ok()?,
        })
    };
    text.lines().skip(1).filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_read_with_its_priority() {
        let text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/sda2                               partition\t1048572\t\t0\t\t-2\n/a\\040b file 1 0 5\n";
        let swap = |device: &str, priority| Swap {
            device: device.into(),
            priority,
        };
        assert_eq!(read_swaps(text), [swap("/dev/sda2", -2), swap("/a b", 5)]);
        assert_eq!(read_swaps(""), []);
    }

    #[test]
    fn only_tables_with_known_owners_are_seen() {
        let text = "table ip kube-proxy\ntable inet filter\ntable ip6 kube-proxy\nnonsense\n";
        let own = |family: &str| (family.to_owned(), "kube-proxy".to_owned());
        assert_eq!(read_tables(text), [own("ip"), own("ip6")]);
    }

    #[test]
    fn a_setting_outside_of_proc_sys_is_refused() {
        assert!(matches!(
            RealKernel.set("../../etc/passwd", "x"),
            Err(HostError::BadPath { .. })
        ));
        assert!(matches!(
            RealKernel.setting("a//b"),
            Err(HostError::BadPath { .. })
        ));
        assert!(RealKernel.setting("kernel/ostype").unwrap().is_some());
        assert_eq!(RealKernel.setting("kernel/no_such_setting").unwrap(), None);
    }
}
