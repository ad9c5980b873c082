//! HTTPProxy: proxy variables that would catch the API server's address.
//!
//! Discovery and bootstrap here never use a proxy, but the kubelet's and the runtime's environment may.

use std::net::IpAddr;

use muster_identity::Host;

use super::Situation;
use crate::{Facts, Finding};

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    direct(situation.facts, situation.request.endpoint.host(), findings);
}

/// Says that a connection to `host` would go through a proxy.
pub(super) fn direct(facts: &Facts, host: &Host, findings: &mut Vec<Finding>) {
    if let Some(proxy) = proxy_for(facts, host) {
        findings.push(Finding::warning(
            "HTTPProxy",
            format!(
                "Connection to \"https://{host}\" uses proxy \"{}\". If that is not intended, adjust your proxy settings",
                without_password(proxy)
            ),
            format!("Add {host} to NO_PROXY, for the kubelet and the container runtime too."),
        ));
    }
}

/// HTTPProxyCIDR: says that connections to the first address of a network would go through a proxy.
pub(super) fn network(facts: &Facts, cidr: &str, findings: &mut Vec<Finding>) {
    let Some(first) = first_address(cidr) else {
        findings.push(Finding::error(
            "HTTPProxyCIDR",
            format!("error parsing CIDR \"{cidr}\": invalid CIDR address: {cidr}"),
            "Correct the networks in the cluster's kubeadm-config.",
        ));
        return;
    };
    if let Some(proxy) = proxy_for(facts, &Host::Ip(first)) {
        findings.push(Finding::warning(
            "HTTPProxyCIDR",
            format!(
                "connection to \"{cidr}\" uses proxy \"{}\". This may lead to malfunctional cluster setup. Make sure that Pod and Services IP ranges specified correctly as exceptions in proxy configuration",
                without_password(proxy)
            ),
            format!("Add {cidr} to NO_PROXY."),
        ));
    }
}

fn proxy_for<'a>(facts: &'a Facts, host: &Host) -> Option<&'a str> {
    let proxy = facts
        .proxies
        .get("HTTPS_PROXY")
        .filter(|proxy| !proxy.is_empty())?;
    // As Go does it: nothing on this machine itself is reached through a proxy.
    let own = match host {
        Host::Dns(name) => name == "localhost",
        Host::Ip(ip) => ip.is_loopback(),
    };
    let exempt = facts.proxies.get("NO_PROXY").map_or("", String::as_str);
    let exempt = exempt.split(',').any(|entry| exempts(entry.trim(), host));
    (!own && !exempt).then_some(proxy.as_str())
}

/// The address after the network's own.
fn first_address(cidr: &str) -> Option<IpAddr> {
    let (network, bits) = cidr.split_once('/')?;
    let bits: u32 = bits.parse().ok()?;
    match network.parse().ok()? {
        IpAddr::V4(ip) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            Some(IpAddr::from(
                (ip.to_bits() & mask).saturating_add(1).to_be_bytes(),
            ))
        }
        IpAddr::V6(ip) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            Some(IpAddr::from(
                (ip.to_bits() & mask).saturating_add(1).to_be_bytes(),
            ))
        }
        _ => None,
    }
}

fn exempts(entry: &str, host: &Host) -> bool {
    if entry == "*" {
        return true;
    }
    match host {
        Host::Dns(name) => {
            let suffix = entry.trim_start_matches('.').to_ascii_lowercase();
            !suffix.is_empty() && (*name == suffix || name.ends_with(&format!(".{suffix}")))
        }
        Host::Ip(ip) => match entry.split_once('/') {
            None => entry.parse() == Ok(*ip),
            Some((network, bits)) => match (network.parse(), bits.parse()) {
                (Ok(network), Ok(bits)) => is_within(*ip, network, bits),
                _ => false,
            },
        },
    }
}

fn is_within(ip: std::net::IpAddr, network: std::net::IpAddr, bits: u32) -> bool {
    use std::net::IpAddr::{V4, V6};
    let (ip, network, width) = match (ip, network) {
        (V4(ip), V4(network)) => (u128::from(ip.to_bits()), u128::from(network.to_bits()), 32),
        (V6(ip), V6(network)) => (ip.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    bits <= width && (bits == 0 || (ip ^ network) >> (width - bits) == 0)
}

/// A proxy's URL may hold a password.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://****@{host}"),
        (None, Some((_, host))) => format!("****@{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exemptions_are_names_suffixes_addresses_and_networks() {
        let name = Host::parse("api.example.com").unwrap();
        let ip = Host::parse("10.1.2.3").unwrap();
        for (entry, host, expected) in [
            ("example.com", &name, true),
            (".example.com", &name, true),
            ("ample.com", &name, false),
            ("", &name, false),
            ("*", &ip, true),
            ("10.1.2.3", &ip, true),
            ("10.0.0.0/8", &ip, true),
            ("10.2.0.0/16", &ip, false),
            ("0.0.0.0/0", &ip, true),
            ("fd00::/8", &ip, false),
            ("10.0.0.0/99", &ip, false),
        ] {
            assert_eq!(exempts(entry, host), expected, "{entry} {host}");
        }
    }

    #[test]
    fn the_first_address_of_a_network_is_the_one_after_its_own() {
        let first = |cidr| first_address(cidr).map(|ip| ip.to_string());
        assert_eq!(first("10.96.0.0/12").as_deref(), Some("10.96.0.1"));
        assert_eq!(first("10.96.7.9/12").as_deref(), Some("10.96.0.1"));
        assert_eq!(first("fd00:1::/112").as_deref(), Some("fd00:1::1"));
        assert_eq!(first("0.0.0.0/0").as_deref(), Some("0.0.0.1"));
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "fd00::/129"] {
            assert_eq!(first(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_password_in_a_proxys_url_is_not_shown() {
        assert_eq!(
            without_password("http://me:hunter2@p:3128"),
            "http://****@p:3128"
        );
        assert_eq!(without_password("http://p:3128"), "http://p:3128");
    }
}
