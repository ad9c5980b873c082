//! What can be seen of the API server and of other nodes from here: ApiServer, ClockSkew, NodeName and MachineId (ours).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Situation;
use crate::Finding;

/// Certificates are back-dated by five minutes; leases are judged by tens of seconds.
const TOLERABLE_SKEW: i64 = 30;
const INTOLERABLE_SKEW: i64 = 300;

/// What was seen of the API server from this machine, before anything was trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiSight {
    /// Why it cannot be reached, or does not speak TLS, as id, words and remedy.
    pub failure: Option<(String, String, String)>,
    /// The server's clock and this machine's at the same moment.
    pub clocks: Option<(Timestamp, Timestamp)>,
    /// `/version` of the server, when anybody may see it.
    pub version: Option<String>,
}

/// A Node of the cluster, as far as it may be this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeOfCluster {
    /// Its name.
    pub name: String,
    /// Whether it is Ready.
    pub ready: bool,
    /// `status.nodeInfo.machineID`
    pub machine_id: String,
    /// `status.nodeInfo.systemUUID`
    pub system_uuid: String,
}

/// The findings about the way to the API server.
#[must_use]
pub(super) fn sight(api: &ApiSight, endpoint: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some((_, words, remedy)) = &api.failure {
        findings.push(Finding::error(
            "ApiServer",
            format!("{endpoint}: {words}"),
            remedy.clone(),
        ));
    }
    if let Some((server, own)) = api.clocks {
        findings.extend(skew(server, own));
    }
    findings
}

fn skew(server: Timestamp, own: Timestamp) -> Option<Finding> {
    let seconds = own.as_second() - server.as_second();
    let size = seconds.abs();
    if size < TOLERABLE_SKEW {
        return None;
    }
    let direction = if seconds > 0 { "ahead of" } else { "behind" };
    let message = format!("this machine's clock is {size} s {direction} the API server's");
    let remedy = "Set the clock, and let a time service (chrony, systemd-timesyncd) keep it right.";
    Some(if size < INTOLERABLE_SKEW {
        Finding::warning("ClockSkew", message, remedy)
    } else {
        Finding::error("ClockSkew", message, remedy)
    })
}

/// The findings about nodes that are, or may be, this machine.
pub(super) fn nodes(
    situation: &Situation<'_>,
    nodes: &[NodeOfCluster],
    findings: &mut Vec<Finding>,
) {
    let facts = situation.facts;
    let name = situation.request.node_name.as_str();
    let same = |own: &Option<String>, theirs: &str| {
        let own = own.as_deref().unwrap_or_default();
        !own.is_empty() && own.eq_ignore_ascii_case(theirs)
    };
    for node in nodes {
        let is_us = same(&facts.machine_id, &node.machine_id)
            && same(&facts.product_uuid, &node.system_uuid);
        if node.name == name {
            if node.ready {
                findings.push(Finding::error(
                    "NodeName",
                    format!("a Node \"{name}\" is already in the cluster and Ready"),
                    format!("Choose another name with --node-name, or remove the old node: `kubectl delete node {name}`."),
                ));
            } else if !is_us && !node.machine_id.is_empty() {
                findings.push(Finding::warning(
                    "NodeName",
                    format!("a Node \"{name}\" of another machine is in the cluster; it is not Ready, and this machine would take it over"),
                    format!("If that is not meant: --node-name, or `kubectl delete node {name}`."),
                ));
            }
            continue;
        }
        if situation.is_hollow() {
            continue;
        }
        let what = if same(&facts.machine_id, &node.machine_id) {
            Some((
                "machine-id",
                "Make a new one: `rm /etc/machine-id && systemd-machine-id-setup`, then reboot.",
            ))
        } else if same(&facts.product_uuid, &node.system_uuid) {
            Some((
                "product_uuid",
                "Give the virtual machine an own UUID: it was probably cloned.",
            ))
        } else {
            None
        };
        if let Some((what, remedy)) = what {
            findings.push(Finding::warning(
                "MachineId",
                format!("Node \"{}\" has this machine's {what}: network plugins and storage may take them for one", node.name),
                remedy,
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_clock_is_told_with_direction_and_only_when_it_matters() {
        assert_eq!(skew(at(1000), at(1010)), None);
        let late = skew(at(1000), at(900)).unwrap();
        assert!(
            !late.is_fatal() && late.message.contains("100 s behind"),
            "{late:?}"
        );
        let early = skew(at(1000), at(5000)).unwrap();
        assert!(
            early.is_fatal() && early.message.contains("4000 s ahead of"),
            "{early:?}"
        );
    }

    #[test]
    fn an_unreachable_server_is_an_error_with_the_handshakes_words() {
        let api = ApiSight {
            failure: Some((
                "connection-refused".into(),
                "nobody listens".into(),
                "start it".into(),
            )),
            ..ApiSight::default()
        };
        let findings = sight(&api, "10.0.0.1:6443");
        assert_eq!(findings[0].id, "ApiServer");
        assert_eq!(findings[0].message, "10.0.0.1:6443: nobody listens");
        assert_eq!(sight(&ApiSight::default(), "x"), []);
    }
}
