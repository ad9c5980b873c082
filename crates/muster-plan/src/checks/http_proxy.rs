//! HTTPProxy: proxy variables that would catch the API server's address.
//!
//! Discovery and bootstrap here never use a proxy, but the kubelet's and the runtime's environment may.

use muster_identity::Host;

use super::Situation;
use crate::Finding;

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let facts = situation.facts;
    let Some(proxy) = facts
        .proxies
        .get("HTTPS_PROXY")
        .filter(|proxy| !proxy.is_empty())
    else {
        return;
    };
    let exempt = facts.proxies.get("NO_PROXY").map_or("", String::as_str);
    let host = situation.request.endpoint.host();
    if !exempt.split(',').any(|entry| exempts(entry.trim(), host)) {
        findings.push(Finding::warning(
            "HTTPProxy",
            format!(
                "connection to \"https://{}\" would use the proxy \"{}\"",
                situation.request.endpoint,
                without_password(proxy)
            ),
            format!("Add {host} to NO_PROXY, for the kubelet and the container runtime too."),
        ));
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
    fn a_password_in_a_proxys_url_is_not_shown() {
        assert_eq!(
            without_password("http://me:hunter2@p:3128"),
            "http://****@p:3128"
        );
        assert_eq!(without_password("http://p:3128"), "http://p:3128");
    }
}
