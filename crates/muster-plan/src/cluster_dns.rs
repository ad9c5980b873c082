//! The cluster's DNS for its pods, where the cluster publishes no kubelet configuration: said, told, or guessed.
//!
//! A guess is told as a finding. Sources, best first: the request; `networking` of the ClusterConfiguration; the names
//! in the API server's certificate, which holds `kubernetes.default.svc.DOMAIN` and the first service address in
//! nearly every distribution; kubeadm's defaults.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use muster_identity::{Endpoint, Host};
use serde_json::Value;

use crate::{ClusterAnswers, Finding, JoinRequest, Runtime};

const MAX_DEPTH: usize = 32;
/// No ConfigMap is larger.
const MAX_BYTES: usize = 1 << 20;
const DEFAULT_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10));
const DEFAULT_DOMAIN: &str = "cluster.local";
/// Every API server's certificate names its Service.
const SERVICE_PREFIX: &str = "kubernetes.default.svc.";
/// The DNS Service is the tenth address of the range, as kubeadm has it; the first is the API server's.
const DNS_OFFSET: u8 = 10;

/// Where pods look up names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterDns {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) domain: String,
    /// Where the less certain of both is from; `None` when both were said.
    source: Option<&'static str>,
}

impl ClusterDns {
    /// Puts together what is known.
    pub(crate) fn of(request: &JoinRequest, answers: &ClusterAnswers) -> Self {
        let networking = answers
            .cluster_configuration
            .as_deref()
            .and_then(networking);
        let certificate = of_certificate(request, answers);
        let (mut source, default) = (None, "kubeadm's default");
        let mut pick = |said: bool, told: bool, shown: bool| {
            let from = match (said, told, shown) {
                (true, ..) => return,
                (_, true, _) => "the cluster's ClusterConfiguration",
                (_, _, true) => "the API server's certificate",
                _ => default,
            };
            if source != Some(default) {
                source = Some(from);
            }
        };
        let (told, shown) = (networking.unwrap_or_default(), certificate);
        pick(
            !request.cluster_dns.is_empty(),
            told.0.is_some(),
            shown.0.is_some(),
        );
        pick(
            request.cluster_domain.is_some(),
            told.1.is_some(),
            shown.1.is_some(),
        );
        let addresses = if request.cluster_dns.is_empty() {
            vec![told.0.or(shown.0).unwrap_or(DEFAULT_ADDRESS)]
        } else {
            request.cluster_dns.clone()
        };
        let domain = request.cluster_domain.clone().or(told.1).or(shown.1);
        Self {
            addresses,
            domain: domain.unwrap_or_else(|| DEFAULT_DOMAIN.to_owned()),
            source,
        }
    }
}

/// What had to be assumed about the cluster, because it does not tell it.
pub(crate) fn assumptions(request: &JoinRequest, answers: &ClusterAnswers) -> Vec<Finding> {
    if answers.kubelet_config.is_some() || request.runtime == Runtime::Hollow {
        return Vec::new();
    }
    let dns = ClusterDns::of(request, answers);
    let Some(source) = dns.source else {
        return Vec::new();
    };
    let addresses: Vec<String> = dns.addresses.iter().map(ToString::to_string).collect();
    vec![Finding::warning(
        "ClusterDNS",
        format!(
            "the cluster shows no kubelet-config; assuming clusterDNS {} and clusterDomain {} (from {source})",
            addresses.join(","),
            dns.domain
        ),
        "If the cluster's are others, give them with --cluster-dns and --cluster-domain.",
    )]
}

type Known = (Option<IpAddr>, Option<String>);

/// `networking.serviceSubnet` and `networking.dnsDomain` of a ClusterConfiguration.
fn networking(text: &str) -> Option<Known> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
    };
    let config: Value = serde_saphyr::from_str_with_options(text, options).ok()?;
    let field = |name: &str| {
        let value = config.pointer(&format!("/networking/{name}"))?.as_str()?;
        (!value.is_empty()).then(|| value.to_owned())
    };
    let address = field("serviceSubnet").and_then(|subnets| {
        let first = subnets.split(',').next()?.trim();
        let network = first.split_once('/')?.0.parse().ok()?;
        Some(nth(network, DNS_OFFSET))
    });
    Some((address, field("dnsDomain").filter(|name| is_domain(name))))
}

fn of_certificate(request: &JoinRequest, answers: &ClusterAnswers) -> Known {
    let domain = answers.server_names.iter().find_map(|name| {
        let domain = name.strip_prefix(SERVICE_PREFIX)?;
        is_domain(domain).then(|| domain.to_owned())
    });
    let server = Endpoint::parse(&answers.server).ok();
    let hosts = [Some(&request.endpoint), server.as_ref()];
    let is_host = |ip: IpAddr| {
        hosts
            .iter()
            .flatten()
            .any(|endpoint| *endpoint.host() == Host::Ip(ip))
    };
    let addresses = answers.server_names.iter();
    let service = addresses
        .filter_map(|name| name.parse::<IpAddr>().ok())
        .find(|ip| is_first(*ip) && !ip.is_loopback() && !is_host(*ip));
    let dns = service.map(|first| nth(first, DNS_OFFSET - 1));
    (dns, domain)
}

/// The first address of a range that ends on a whole byte, as those of Services do.
fn is_first(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() && ip.octets()[3] == 1,
        IpAddr::V6(ip) => ip.segments()[7] == 1 && (ip.segments()[0] & 0xfe00) == 0xfc00,
    }
}

fn nth(base: IpAddr, offset: u8) -> IpAddr {
    match base {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits().wrapping_add(offset.into())).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits().wrapping_add(offset.into())).into(),
    }
}

fn is_domain(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    !text.is_empty() && text.len() <= 253 && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::request::tests::request;

    fn answers(names: &[&str]) -> ClusterAnswers {
        ClusterAnswers {
            server_names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..ClusterAnswers::new("https://10.0.0.1:6443", "", Timestamp::UNIX_EPOCH)
        }
    }

    fn known(
        request: &JoinRequest,
        answers: &ClusterAnswers,
    ) -> (String, String, Option<&'static str>) {
        let dns = ClusterDns::of(request, answers);
        (dns.addresses[0].to_string(), dns.domain, dns.source)
    }

    #[test]
    fn the_certificate_of_the_api_server_tells_what_nobody_said() {
        let shown = answers(&[
            "kubernetes",
            "kubernetes.default.svc.corp.example",
            "10.0.0.1",
            "127.0.0.1",
            "10.43.0.1",
        ]);
        let (address, domain, source) = known(&request(), &shown);
        assert_eq!(
            (address.as_str(), domain.as_str()),
            ("10.43.0.10", "corp.example")
        );
        assert!(source.unwrap().contains("certificate"));
        let six = answers(&["fd00:10:96::1"]);
        assert_eq!(known(&request(), &six).0, "fd00:10:96::a");
    }

    #[test]
    fn what_was_said_goes_before_what_was_told_and_that_before_guesses() {
        let mut told = answers(&["10.43.0.1"]);
        told.cluster_configuration = Some(
            "networking: {serviceSubnet: '10.7.0.0/16,fd00::/108', dnsDomain: d.example}".into(),
        );
        let (address, domain, source) = known(&request(), &told);
        assert_eq!(
            (address.as_str(), domain.as_str()),
            ("10.7.0.10", "d.example")
        );
        assert!(source.unwrap().contains("ClusterConfiguration"));
        let mut request = request();
        request.cluster_dns = vec!["192.0.2.53".parse().unwrap()];
        request.cluster_domain = Some("said.example".into());
        let said = known(&request, &told);
        assert_eq!(said, ("192.0.2.53".into(), "said.example".into(), None));
    }

    #[test]
    fn an_assumption_is_a_warning_and_only_where_one_was_made() {
        let mut request = request();
        let found = assumptions(&request, &answers(&[]));
        assert!(found[0].message.contains("10.96.0.10"), "{found:?}");
        assert!(found[0].message.contains("kubeadm's default"), "{found:?}");
        assert!(!found[0].is_fatal());
        let mut published = answers(&[]);
        published.kubelet_config = Some(String::new());
        assert!(assumptions(&request, &published).is_empty());
        request.runtime = Runtime::Hollow;
        assert!(assumptions(&request, &answers(&[])).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_configuration_is_read(text in "[-a-zA-Z:{}\\[\\]', \n0-9/.]{0,200}") {
            let mut answers = answers(&[]);
            answers.cluster_configuration = Some(text);
            let _ = ClusterDns::of(&request(), &answers);
        }
    }
}
