//! Names and addresses of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::PATIENCE;

/// Whether a host name resolves here; `None` when that cannot be told in time.
pub(super) async fn resolves(name: &str) -> Option<bool> {
    let look_up = tokio::net::lookup_host((name, 0));
    let found = tokio::time::timeout(PATIENCE, look_up).await.ok()?;
    Some(found.is_ok_and(|mut addresses| addresses.next().is_some()))
}

/// Addresses by interface as the kernel's tables tell them: IPv6 by interface, IPv4 as one list, as its table of
/// local addresses (`/proc/net/fib_trie`) does not name the interface.
pub(super) fn addresses() -> BTreeMap<String, Vec<String>> {
    let mut addresses = v6(&fs::read_to_string("/proc/net/if_inet6").unwrap_or_default());
    let v4 = v4(&fs::read_to_string("/proc/net/fib_trie").unwrap_or_default());
    if !v4.is_empty() {
        addresses.insert("*".into(), v4);
    }
    addresses
}

/// Lines `address index prefix scope flags name`; scope 00 is global.
fn v6(table: &str) -> BTreeMap<String, Vec<String>> {
    let mut addresses: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in table.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [address, _, _, "00", _, name] = fields.as_slice() else {
            continue;
        };
        let Ok(bits) = u128::from_str_radix(address, 16) else {
            continue;
        };
        let address = Ipv6Addr::from(bits).to_string();
        addresses
            .entry((*name).to_owned())
            .or_default()
            .push(address);
    }
    addresses
}

/// A line `|-- ADDRESS` followed by one that says `/32 host LOCAL`.
fn v4(table: &str) -> Vec<String> {
    let mut addresses: Vec<String> = Vec::new();
    let lines: Vec<&str> = table.lines().map(str::trim).collect();
    for pair in lines.windows(2) {
        let [address, kind] = pair else { continue };
        let Some(address) = address.strip_prefix("|-- ") else {
            continue;
        };
        if *kind != "/32 host LOCAL" {
            continue;
        }
        let Ok(ip) = address.parse::<Ipv4Addr>() else {
            continue;
        };
        if !ip.is_loopback() && !ip.is_link_local() && !addresses.contains(&ip.to_string()) {
            addresses.push(ip.to_string());
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_read_once_and_without_loopback() {
        let table = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.5\n        /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 10.0.0.5\n        /32 host LOCAL\n";
        assert_eq!(v4(table), ["10.0.0.5"]);
    }

    #[test]
    fn only_global_v6_addresses_count() {
        let table = "fd000000000000000000000000000001 02 40 00 80     eth0\nfe800000000000000000000000000001 02 40 20 80     eth0\n";
        assert_eq!(
            v6(table),
            BTreeMap::from([("eth0".to_owned(), vec!["fd00::1".to_owned()])])
        );
    }
}
