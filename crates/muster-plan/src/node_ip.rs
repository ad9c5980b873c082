//! NodeIP: the addresses that a Node is to have are this machine's own.
//!
//! A kubelet with a foreign address starts, and then registers a Node that nobody reaches.

use std::net::IpAddr;

use crate::{ClusterAnswers, Facts, Finding, JoinRequest, NodeIp, Runtime};

pub(crate) fn check(
    facts: &Facts,
    request: &JoinRequest,
    answers: &ClusterAnswers,
) -> Vec<Finding> {
    match &request.node_ip {
        NodeIp::Unsaid => Vec::new(),
        NodeIp::ByRoute if answers.local_ip.is_some() => Vec::new(),
        NodeIp::ByRoute => vec![Finding::error(
            "NodeIP",
            "the way to the API server leads through a proxy and tells no address of this machine",
            "Give the address itself: --node-ip ADDRESS.",
        )],
        // A simulated machine has whatever address it is given.
        NodeIp::Given(_) if request.runtime == Runtime::Hollow => Vec::new(),
        NodeIp::Given(addresses) => foreign(facts, addresses),
    }
}

fn foreign(facts: &Facts, addresses: &[IpAddr]) -> Vec<Finding> {
    let own: Vec<&str> = facts
        .addresses
        .values()
        .flatten()
        .map(String::as_str)
        .collect();
    let is_own = |ip: &IpAddr| {
        ip.is_unspecified() || own.iter().any(|text| text.parse::<IpAddr>() == Ok(*ip))
    };
    let foreign = addresses.iter().filter(|ip| !own.is_empty() && !is_own(ip));
    foreign
        .map(|ip| {
            Finding::error(
                "NodeIP",
                format!("{ip} is no address of this machine, which has {}", own.join(", ")),
                "Give one of these with --node-ip, or `auto` for the one that leads to the API server.",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::request::tests::request;

    #[test]
    fn an_address_of_another_machine_stops_the_join() {
        let mut facts = Facts::plain("n1", Timestamp::UNIX_EPOCH);
        facts
            .addresses
            .insert("eth0".into(), vec!["10.0.0.5".into(), "fd00::5".into()]);
        let mut answers = ClusterAnswers::new("https://10.0.0.1:6443", "", Timestamp::UNIX_EPOCH);
        let mut request = request();
        let mut found = |node_ip: NodeIp, answers: &ClusterAnswers| {
            request.node_ip = node_ip;
            check(&facts, &request, answers)
        };
        let given = |texts: &[&str]| {
            NodeIp::Given(texts.iter().map(|text| text.parse().unwrap()).collect())
        };
        assert!(found(NodeIp::Unsaid, &answers).is_empty());
        assert!(found(given(&["10.0.0.5", "fd00::5"]), &answers).is_empty());
        let wrong = found(given(&["10.0.0.5", "fd00::6"]), &answers);
        assert!(
            wrong[0].is_fatal() && wrong[0].message.contains("fd00::6"),
            "{wrong:?}"
        );
        assert!(found(NodeIp::ByRoute, &answers)[0].is_fatal());
        answers.local_ip = Some("10.0.0.5".parse().unwrap());
        assert!(found(NodeIp::ByRoute, &answers).is_empty());
        let by_route = JoinRequest {
            node_ip: NodeIp::ByRoute,
            ..crate::request::tests::request()
        };
        assert_eq!(
            by_route.node_ip_argument(&answers).as_deref(),
            Some("10.0.0.5")
        );
    }
}
