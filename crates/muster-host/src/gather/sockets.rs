//! Which process holds a port, and which programs run: `/proc`, read within a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Instant;

use muster_plan::paths;

/// Listening sockets of this network namespace: port and inode.
pub(super) fn listening() -> Vec<(u16, u64)> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .flat_map(|path| listening_in(&fs::read_to_string(path).unwrap_or_default()))
        .collect()
}

/// State LISTEN is 0A; the inode is the tenth field.
fn listening_in(table: &str) -> Vec<(u16, u64)> {
    let read = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        (*fields.get(3)? == "0A").then_some(())?;
        let port = u16::from_str_radix(fields.get(1)?.rsplit_once(':')?.1, 16).ok()?;
        let inode = fields.get(9).and_then(|inode| inode.parse().ok());
        Some((port, inode.unwrap_or(0)))
    };
    table.lines().skip(1).filter_map(read).collect()
}

/// What the processes of this machine tell: who holds a listening port, and which of the watched programs run.
#[derive(Default)]
pub(super) struct Running {
    pub(super) holders: BTreeMap<u16, String>,
    pub(super) programs: BTreeSet<String>,
}

/// Looks at every process until `deadline`; what was not reached is left out.
pub(super) fn running(listening: &[(u16, u64)], deadline: Instant) -> Running {
    let ports: BTreeMap<u64, u16> = listening
        .iter()
        .map(|(port, inode)| (*inode, *port))
        .collect();
    let mut found = Running::default();
    let Ok(processes) = fs::read_dir("/proc") else {
        return found;
    };
    for process in processes.flatten() {
        if Instant::now() >= deadline {
            break;
        }
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(program) = fs::read_to_string(format!("/proc/{pid}/comm")) else {
            continue;
        };
        let program = program.trim();
        if paths::WATCHED_PROGRAMS.contains(&program) {
            found.programs.insert(program.to_owned());
        }
        if found.holders.len() < ports.len() {
            holds(pid, program, &ports, &mut found.holders);
        }
    }
    found
}

fn holds(pid: u32, program: &str, ports: &BTreeMap<u64, u16>, holders: &mut BTreeMap<u16, String>) {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return;
    };
    for descriptor in descriptors.flatten() {
        let Ok(target) = fs::read_link(descriptor.path()) else {
            continue;
        };
        let inode = target.to_str().and_then(|text| {
            text.strip_prefix("socket:[")?
                .strip_suffix(']')?
                .parse()
                .ok()
        });
        let port = inode.and_then(|inode: u64| ports.get(&inode));
        if let Some(port) = port {
            let holder = || format!("{program} (pid {pid})");
            holders.entry(*port).or_insert_with(holder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn listening_ports_are_read_and_others_are_not() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:280A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n\
            1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n\
            nonsense\n";
        assert_eq!(listening_in(table), [(10250, 4711)]);
    }

    #[test]
    fn the_holder_of_a_port_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sockets = listening();
        assert!(sockets.iter().any(|(listening, _)| *listening == port));
        let mut holders = BTreeMap::new();
        let ports = sockets
            .iter()
            .map(|(port, inode)| (*inode, *port))
            .collect();
        holds(std::process::id(), "me", &ports, &mut holders);
        assert_eq!(holders[&port], format!("me (pid {})", std::process::id()));
        let late = running(&sockets, Instant::now());
        assert!(late.holders.is_empty(), "the time was over before it began");
        let _ = running(&sockets, Instant::now() + Duration::from_secs(5));
    }
}
