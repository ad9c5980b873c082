//! The way to the API server, and the interfaces of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use muster_plan::{Interface, Route};

/// Interfaces with what packets they take, without loopback.
pub(super) fn interfaces() -> BTreeMap<String, Interface> {
    let Ok(entries) = fs::read_dir("/sys/class/net") else {
        return BTreeMap::new();
    };
    let number = |path: String| fs::read_to_string(path).ok()?.trim().parse::<u32>().ok();
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name != "lo")
        .map(|name| {
            let state =
                fs::read_to_string(format!("/sys/class/net/{name}/operstate")).unwrap_or_default();
            let fact = Interface {
                mtu: number(format!("/sys/class/net/{name}/mtu")).unwrap_or(0),
                // Tunnels and bridges of their own say `unknown` while they work.
                up: state.trim() != "down",
            };
            (name, fact)
        })
        .collect()
}

/// The way to an address: the kernel chooses as for a real packet, none is sent.
pub(super) fn to(target: SocketAddr) -> Option<Route> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => [0, 0, 0, 0].into(),
        SocketAddr::V6(_) => [0_u16; 8].into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(target).ok()?;
    let IpAddr::V4(ip) = target.ip() else {
        // The kernel tells the packets' size of IPv4 only.
        return None;
    };
    let table = fs::read_to_string("/proc/net/route").ok()?;
    Some(Route {
        interface: interface_to(&table, ip)?,
        mtu: rustix::net::sockopt::ip_mtu(&socket).ok()?,
    })
}

/// The interface of the longest match in `/proc/net/route`: addresses there are hexadecimal in the machine's order.
fn interface_to(table: &str, ip: Ipv4Addr) -> Option<String> {
    let ip = u32::from_ne_bytes(ip.octets());
    let hex = |text: &str| u32::from_str_radix(text, 16).ok();
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (network, mask) = (hex(fields.get(1)?)?, hex(fields.get(7)?)?);
            (ip & mask == network).then(|| {
                (
                    mask.count_ones(),
                    (*fields.first().unwrap_or(&"")).to_owned(),
                )
            })
        })
        .max_by_key(|(bits, _)| *bits)
        .map(|(_, interface)| interface)
}

/// `nameserver` lines of resolv.conf.
pub(super) fn nameservers(text: &str) -> Vec<String> {
    let servers = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"));
    servers
        .map(|server| server.trim().to_owned())
        .filter(|server| !server.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_longest_match_is_the_way() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            wg0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n";
        assert_eq!(
            interface_to(table, [10, 1, 2, 3].into()).as_deref(),
            Some("wg0")
        );
        assert_eq!(
            interface_to(table, [8, 8, 8, 8].into()).as_deref(),
            Some("eth0")
        );
        assert_eq!(interface_to("x\n", [8, 8, 8, 8].into()), None);
    }

    #[test]
    fn name_servers_are_read() {
        assert_eq!(
            nameservers("# x\nnameserver 127.0.0.53\nsearch a\n nameserver ::1\n"),
            ["127.0.0.53", "::1"]
        );
    }
}
