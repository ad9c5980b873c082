//! Which chains, tables and interfaces have a known owner: kube-proxy, the kubelet, and network plugins.
//!
//! What has another name is nobody's that is known here, and stays.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Prefixes of chains, each of one owner.
const CHAINS: &[&str] = &["KUBE-", "CNI-", "FLANNEL-", "cali-", "CILIUM_", "WEAVE"];
/// nftables' tables of kube-proxy, the portmap plugin and flannel.
const TABLES: &[&str] = &["kube-proxy", "cni_hostport", "flannel-ipv4", "flannel-ipv6"];
/// No table that is read is larger; those of large clusters have some megabytes.
const MOST_LINES: usize = 1_000_000;

fn is_owned(chain: &str) -> bool {
    CHAINS.iter().any(|prefix| chain.starts_with(prefix))
}

/// Whether a table of nftables is one that a node's programs made.
#[must_use]
pub fn is_foreign_table(name: &str) -> bool {
    TABLES.contains(&name)
}

/// Who made an interface of that name; `None` for one with no known owner.
#[must_use]
pub fn network_link(name: &str) -> Option<&'static str> {
    let hex = |text: &str| text.len() >= 10 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match name {
        "cni0" | "kube-bridge" => Some("bridge plugin"),
        "kube-ipvs0" => Some("kube-proxy"),
        "nodelocaldns" => Some("NodeLocal DNSCache"),
        "weave" | "vethwe-bridge" | "vxlan-6784" => Some("Weave Net"),
        "vxlan.calico" | "vxlan-v6.calico" | "wireguard.cali" | "wg-v6.cali" | "bpfin.cali"
        | "bpfout.cali" => Some("Calico"),
        "antrea-gw0" => Some("Antrea"),
        _ if name.starts_with("flannel.")
            || name.starts_with("flannel-v6.")
            || name == "flannel-wg" =>
        {
            Some("flannel")
        }
        _ if name.starts_with("cilium_") => Some("Cilium"),
        _ if name.strip_prefix("cali").is_some_and(hex) => Some("Calico"),
        _ => None,
    }
}

/// From what `iptables-save` says, what `iptables-restore --noflush` must be given so that the chains with known owners and
/// the rules that lead to them go; and the names of these chains. `None` when there are none.
#[must_use]
pub fn chains_removal(saved: &str) -> Option<(String, Vec<String>)> {
    let mut script = String::new();
    let mut names = Vec::new();
    let mut table = Table::default();
    for line in saved.lines().take(MOST_LINES) {
        if let Some(name) = line.strip_prefix('*') {
            table = Table {
                name: name.trim(),
                ..Table::default()
            };
        } else if let Some(chain) = line.strip_prefix(':') {
            let chain = chain.split_ascii_whitespace().next().unwrap_or_default();
            if is_owned(chain) {
                table.owned.insert(chain);
            }
        } else if let Some(rule) = line.strip_prefix("-A ") {
            table.rules.push(rule);
        } else if line.trim() == "COMMIT" {
            table.write(&mut script, &mut names);
            table = Table::default();
        }
    }
    (!names.is_empty()).then_some((script, names))
}

#[derive(Default)]
struct Table<'a> {
    name: &'a str,
    owned: BTreeSet<&'a str>,
    rules: Vec<&'a str>,
}

impl Table<'_> {
    fn write(&self, script: &mut String, names: &mut Vec<String>) {
        if self.owned.is_empty() {
            return;
        }
        // Writing into a String cannot fail.
        let _ = writeln!(script, "*{}", self.name);
        for rule in &self.rules {
            let from = rule.split_ascii_whitespace().next().unwrap_or_default();
            if !self.owned.contains(from) && self.leads_to_owned(rule) {
                let _ = writeln!(script, "-D {rule}");
            }
        }
        for chain in &self.owned {
            let _ = writeln!(script, "-F {chain}");
        }
        for chain in &self.owned {
            let _ = writeln!(script, "-X {chain}");
            names.push(format!("{} {chain}", self.name));
        }
        let _ = writeln!(script, "COMMIT");
    }

    /// The target stands after `-j` or `-g`, outside of quotes.
    fn leads_to_owned(&self, rule: &str) -> bool {
        let mut words = unquoted(rule).peekable();
        while let Some(word) = words.next() {
            if (word == "-j" || word == "-g")
                && words
                    .peek()
                    .is_some_and(|target| self.owned.contains(target.as_str()))
            {
                return true;
            }
        }
        false
    }
}

/// The words of a rule; what is quoted is one word with a mark before it, so that it never looks like an option.
fn unquoted(rule: &str) -> impl Iterator<Item = String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut escaped = false;
    for c in rule.chars() {
        match c {
            _ if escaped => {
                word.push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => {
                quoted = !quoted;
                word.push('"');
            }
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    words.push(word);
    words.into_iter().filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAVED: &str = "# Generated\n*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-X - [0:0]\n\
        -A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
        -A PREROUTING -m comment --comment \"to -j KUBE-SERVICES\" -j DOCKER\n\
        -A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-X\nCOMMIT\n\
        *filter\n:INPUT ACCEPT [0:0]\n:DOCKER-USER - [0:0]\n-A INPUT -j DOCKER-USER\nCOMMIT\n";

    #[test]
    fn owned_chains_go_with_the_rules_that_lead_to_them_and_nothing_else() {
        let (script, names) = chains_removal(SAVED).unwrap();
        assert_eq!(
            script,
            "*nat\n-D PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
             -F KUBE-SERVICES\n-F KUBE-SVC-X\n-X KUBE-SERVICES\n-X KUBE-SVC-X\nCOMMIT\n"
        );
        assert_eq!(names, ["nat KUBE-SERVICES", "nat KUBE-SVC-X"]);
    }

    #[test]
    fn a_filter_without_owned_chains_is_left_alone() {
        assert_eq!(
            chains_removal(
                "*filter\n:INPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n-A INPUT -j DOCKER\nCOMMIT\n"
            ),
            None
        );
        assert_eq!(chains_removal(""), None);
    }

    #[test]
    fn interfaces_are_told_by_names_that_only_their_owner_gives() {
        for ours in [
            "cni0",
            "flannel.1",
            "cali0123456789a",
            "cilium_vxlan",
            "kube-ipvs0",
            "vxlan.calico",
        ] {
            assert!(network_link(ours).is_some(), "{ours}");
        }
        for other in [
            "eth0",
            "docker0",
            "cali",
            "california0",
            "flannelette",
            "tunl0",
            "veth1234",
            "lxcbr0",
            "br-1",
            "wg0",
        ] {
            assert_eq!(network_link(other), None, "{other}");
        }
        assert!(is_foreign_table("kube-proxy") && !is_foreign_table("filter"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn whatever_is_saved_only_owned_chains_are_named(lines in proptest::collection::vec("[-*:A-Z \"\\\\a-z]{0,40}", 0..30)) {
            let saved = format!("*nat\n:KUBE-A - [0:0]\n{}\nCOMMIT\n", lines.join("\n"));
            if let Some((script, names)) = chains_removal(&saved) {
                for name in names {
                    let chain = name.rsplit(' ').next().unwrap_or_default();
                    prop_assert!(is_owned(chain), "{chain}");
                }
                for line in script.lines().filter(|line| line.starts_with("-X") || line.starts_with("-F")) {
                    prop_assert!(is_owned(&line[3..]), "{line}");
                }
            }
        }
    }
}
