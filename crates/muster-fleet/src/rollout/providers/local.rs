//! Machines that are network namespaces of this one, each with a link to it and a directory of its own.
//!
//! Only what this made is unmade: a mark in the directory says so. It refuses to know what runs in the namespace.

use muster_rollout::StageFailure;
use muster_rollout::fleet_file::{HostSpec, LocalSettings};
use muster_ssh::{Command, Machine as _};

use super::{Providers, failed};
use crate::rollout::fault;
use crate::rollout::machines::Made;

/// `$1` name, `$2` link, `$3` our address, `$4` its address, `$5` directory. 75: the addresses are taken, 76: not ours.
const CREATE: &str = r#"set -eu
mark="$5/made-by-muster"
has() { ip netns list | awk '{print $1}' | grep -qxF -- "$1"; }
if has "$1" && [ ! -e "$mark" ]; then exit 76; fi
if ip -o address show to "$3/30" | awk '{print $2}' | grep -vxF -- "$2" | grep -q .; then exit 75; fi
mkdir -p "$5/root"
: >"$mark"
has "$1" || ip netns add "$1"
ip link show "$2" >/dev/null 2>&1 || ip link add "$2" type veth peer name eth0 netns "$1"
ip address replace "$3/30" dev "$2"
ip link set "$2" up
ip -n "$1" address replace "$4/30" dev eth0
ip -n "$1" link set lo up
ip -n "$1" link set eth0 up
ip -n "$1" route replace default via "$3"
"#;

/// `$1` name, `$2` link, `$3` directory.
const DESTROY: &str = r#"set -eu
[ -e "$3/made-by-muster" ] || exit 0
has() { ip netns list | awk '{print $1}' | grep -qxF -- "$1"; }
if has "$1"; then
  for signal in TERM KILL; do
    left=$(ip netns pids "$1")
    [ -z "$left" ] && break
    kill -s $signal $left 2>/dev/null || :
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      [ -z "$(ip netns pids "$1")" ] && break
      sleep 0.2
    done
  done
  ip netns delete "$1"
fi
ip link delete "$2" 2>/dev/null || :
rm -rf --one-file-system -- "$3"
"#;

/// How many pairs of addresses are tried.
const TRIES: u32 = 64;
/// Pairs in 10.217.0.0/16.
const PAIRS: u32 = 1 << 14;

/// The name's hash (FNV-1a): names of links are short, and the same machine gets the same addresses again.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn link(name: &str) -> String {
    format!("mn-{:08x}", hash(name))
}

/// Our address and its.
fn addresses(pair: u32) -> (String, String) {
    let at = (pair % PAIRS) << 2;
    let text = |host: u32| format!("10.217.{}.{}", at >> 8, (at & 0xff) + host);
    (text(1), text(2))
}

fn directory(host: &HostSpec, settings: &LocalSettings) -> String {
    format!("{}/{}", settings.directory.trim_end_matches('/'), host.name)
}

fn script(script: &str, words: &[&str]) -> Command {
    let argv = ["/bin/sh", "-c", script, "muster"]
        .into_iter()
        .chain(words.iter().copied());
    Command::new(argv).as_root()
}

pub(super) async fn create(
    providers: &Providers,
    host: &HostSpec,
    settings: &LocalSettings,
) -> Result<Made, StageFailure> {
    let name = host.name.as_str();
    let directory = directory(host, settings);
    for offset in 0..TRIES {
        let (ours, theirs) = addresses(hash(name).wrapping_add(offset));
        let command = script(CREATE, &[name, &link(name), &ours, &theirs, &directory]);
        let output = providers
            .here
            .output(command)
            .await
            .map_err(|error| fault::of_machine(&error))?;
        match output.exit {
            muster_ssh::Exit::Code(0) => return Ok(Made::default()),
            muster_ssh::Exit::Code(75) => {}
            muster_ssh::Exit::Code(76) => {
                return Err(failed(format!(
                    "there is a network namespace {name} already, and it was not made here"
                ))
                .with_cure(format!(
                    "choose another name, or remove it: ip netns delete {name}"
                )));
            }
            exit => {
                let words = fault::last_words(&output.stderr);
                return Err(failed(format!(
                    "cannot make the namespace {name}: {words} ({exit})"
                ))
                .with_cure("it takes root and iproute2's ip on this machine"));
            }
        }
    }
    Err(failed("no addresses are free in 10.217.0.0/16".to_owned()))
}

pub(super) async fn destroy(
    providers: &Providers,
    host: &HostSpec,
    settings: &LocalSettings,
) -> Result<(), StageFailure> {
    let name = host.name.as_str();
    let command = script(DESTROY, &[name, &link(name), &directory(host, settings)]);
    providers
        .must(command, "unmake the namespace")
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_addresses_lies_in_the_network_and_is_a_pair_of_one_link() {
        for pair in [0, 1, 63, 64, PAIRS - 1, PAIRS, u32::MAX] {
            let (ours, theirs) = addresses(pair);
            let parse = |text: &str| u32::from(text.parse::<std::net::Ipv4Addr>().unwrap());
            assert_eq!(parse(&ours) & !3, parse(&theirs) & !3);
            assert_eq!(parse(&ours) >> 16, (10 << 8) | 217);
        }
        assert!(link("a-very-long-name-of-a-machine.example.com").len() <= 15);
    }
}
