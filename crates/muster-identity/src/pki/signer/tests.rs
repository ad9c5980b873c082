//! Each signer's rules, one broken at a time.

use rstest::rstest;

use super::*;
use crate::entropy::counting;
use crate::pki::{PrivateKey, Subject, SubjectAltNames};

const NODE: &str = "system:node:node2";

fn csr(common_name: &str, organizations: &[&str], sans: SubjectAltNames) -> Csr {
    let key = PrivateKey::generate(&mut counting::from(1)).unwrap();
    let subject = Subject::new(common_name, organizations.iter().copied());
    Csr::build(&key, &subject, &sans).unwrap()
}

fn order(usages: &[Usage], requester: &str) -> SigningOrder {
    SigningOrder {
        usages: usages.to_vec(),
        expiration_seconds: None,
        requester: Some(requester.to_owned()),
    }
}

fn sans(kind: &str) -> SubjectAltNames {
    let mut sans = SubjectAltNames::none();
    match kind {
        "dns" => sans.dns.push("node2".into()),
        "ip" => sans.ip.push("10.0.0.2".parse().unwrap()),
        "email" => sans.email.push("a@example.com".into()),
        "uri" => sans.uri.push("spiffe://x".into()),
        _ => {}
    }
    sans
}

#[test]
fn names_read_back() {
    for name in [
        "kubernetes.io/kube-apiserver-client-kubelet",
        "kubernetes.io/kubelet-serving",
        "kubernetes.io/kube-apiserver-client",
        "kubernetes.io/legacy-unknown",
        "example.com/mine",
    ] {
        assert_eq!(SignerName::parse(name).to_string(), name);
    }
    assert_eq!(
        SignerName::parse("example.com/mine"),
        SignerName::Other("example.com/mine".into())
    );
}

#[rstest]
#[case(&[Usage::DigitalSignature, Usage::ClientAuth])]
#[case(&[Usage::ClientAuth, Usage::KeyEncipherment, Usage::DigitalSignature])]
fn a_nodes_client_request_is_signed(#[case] usages: &[Usage]) {
    let csr = csr(NODE, &["system:nodes"], sans(""));
    let order = order(usages, "system:bootstrap:abcdef");
    assert_eq!(
        SignerName::KubeApiserverClientKubelet.validate(&csr, &order),
        Ok(())
    );
}

#[rstest]
#[case(NODE, &[], "", SignerRefusal::OrganizationNotSystemNodes)]
#[case(NODE, &["system:nodes", "x"], "", SignerRefusal::OrganizationNotSystemNodes)]
#[case(NODE, &["system:masters"], "", SignerRefusal::OrganizationNotSystemNodes)]
#[case("node2", &["system:nodes"], "", SignerRefusal::CommonNameNotSystemNode)]
#[case(NODE, &["system:nodes"], "dns", SignerRefusal::DnsNotAllowed)]
#[case(NODE, &["system:nodes"], "ip", SignerRefusal::IpNotAllowed)]
#[case(NODE, &["system:nodes"], "email", SignerRefusal::EmailNotAllowed)]
#[case(NODE, &["system:nodes"], "uri", SignerRefusal::UriNotAllowed)]
fn a_nodes_client_request_that_breaks_a_rule_is_refused(
    #[case] common_name: &str,
    #[case] organizations: &[&str],
    #[case] names: &str,
    #[case] refusal: SignerRefusal,
) {
    let csr = csr(common_name, organizations, sans(names));
    let order = order(
        &[Usage::DigitalSignature, Usage::ClientAuth],
        "system:bootstrap:abcdef",
    );
    assert_eq!(
        SignerName::KubeApiserverClientKubelet.validate(&csr, &order),
        Err(refusal)
    );
    assert_eq!(
        node_request(&SignerName::KubeApiserverClientKubelet, &csr, &order),
        None
    );
}

#[rstest]
#[case(&[Usage::ClientAuth])]
#[case(&[Usage::Signing, Usage::ClientAuth])]
#[case(&[Usage::DigitalSignature, Usage::ClientAuth, Usage::ServerAuth])]
#[case(&[Usage::DigitalSignature, Usage::ServerAuth])]
#[case(&[])]
fn other_usages_are_refused_for_a_nodes_client(#[case] usages: &[Usage]) {
    let csr = csr(NODE, &["system:nodes"], sans(""));
    let validated = SignerName::KubeApiserverClientKubelet.validate(&csr, &order(usages, "anyone"));
    assert!(matches!(validated, Err(SignerRefusal::Usages { .. })));
}

#[test]
fn a_node_asks_only_for_itself() {
    let csr = csr(NODE, &["system:nodes"], sans(""));
    let usages = [Usage::DigitalSignature, Usage::ClientAuth];
    let signer = SignerName::KubeApiserverClientKubelet;
    assert_eq!(signer.validate(&csr, &order(&usages, NODE)), Ok(()));
    assert_eq!(
        signer.validate(&csr, &order(&usages, "system:node:node3")),
        Err(SignerRefusal::NotTheRequester {
            requester: "system:node:node3".into(),
            common_name: NODE.into()
        })
    );
}

#[rstest]
#[case("dns")]
#[case("ip")]
fn a_nodes_serving_request_is_signed_for_the_node_itself(#[case] names: &str) {
    let csr = csr(NODE, &["system:nodes"], sans(names));
    let usages = [
        Usage::DigitalSignature,
        Usage::KeyEncipherment,
        Usage::ServerAuth,
    ];
    assert_eq!(
        SignerName::KubeletServing.validate(&csr, &order(&usages, NODE)),
        Ok(())
    );
    assert!(matches!(
        SignerName::KubeletServing.validate(&csr, &order(&usages, "system:bootstrap:abcdef")),
        Err(SignerRefusal::NotTheRequester { .. })
    ));
}

#[rstest]
#[case("", SignerRefusal::DnsOrIpRequired)]
#[case("email", SignerRefusal::DnsOrIpRequired)]
fn a_serving_request_needs_a_name(#[case] names: &str, #[case] refusal: SignerRefusal) {
    let csr = csr(NODE, &["system:nodes"], sans(names));
    let order = order(&[Usage::DigitalSignature, Usage::ServerAuth], NODE);
    assert_eq!(
        SignerName::KubeletServing.validate(&csr, &order),
        Err(refusal)
    );
}

#[test]
fn a_serving_request_has_no_other_names_and_no_other_subject() {
    let order = order(&[Usage::DigitalSignature, Usage::ServerAuth], NODE);
    let check = |csr: &Csr| SignerName::KubeletServing.validate(csr, &order);
    let mut names = sans("dns");
    names.email.push("a@example.com".into());
    let with_email = csr(NODE, &["system:nodes"], names.clone());
    assert_eq!(check(&with_email), Err(SignerRefusal::EmailNotAllowed));
    names.email.clear();
    names.uri.push("spiffe://x".into());
    let with_uri = csr(NODE, &["system:nodes"], names);
    assert_eq!(check(&with_uri), Err(SignerRefusal::UriNotAllowed));
    let stranger = csr("node2", &["system:nodes"], sans("dns"));
    assert_eq!(
        check(&stranger),
        Err(SignerRefusal::CommonNameNotSystemNode)
    );
    let fixture = include_bytes!("../../../fixtures/csr-names.pem");
    let registered = Csr::from_pem(fixture).unwrap();
    assert!(check(&registered).is_err());
}

#[test]
fn anyone_may_become_a_client_but_no_master() {
    let check = |organizations: &[&str], usages: &[Usage]| {
        let csr = csr("jane", organizations, sans("dns"));
        SignerName::KubeApiserverClient.validate(&csr, &order(usages, "jane"))
    };
    assert_eq!(check(&["dev"], &[Usage::ClientAuth]), Ok(()));
    let all = [
        Usage::ClientAuth,
        Usage::DigitalSignature,
        Usage::KeyEncipherment,
    ];
    assert_eq!(check(&[], &all), Ok(()));
    assert_eq!(
        check(&["dev", "system:masters"], &[Usage::ClientAuth]),
        Err(SignerRefusal::SystemMasters)
    );
    assert_eq!(
        check(&[], &[Usage::DigitalSignature]),
        Err(SignerRefusal::ClientAuthRequired)
    );
    assert_eq!(
        check(&[], &[Usage::ClientAuth, Usage::ServerAuth]),
        Err(SignerRefusal::UsageNotAllowed {
            usage: "server auth"
        })
    );
}

#[test]
fn legacy_unknown_signs_anything_and_other_signers_are_not_ours() {
    let csr = csr("x", &["system:masters"], sans("uri"));
    let order = order(&[Usage::CodeSigning], "jane");
    assert_eq!(SignerName::LegacyUnknown.validate(&csr, &order), Ok(()));
    assert_eq!(
        SignerName::Other("a/b".into()).validate(&csr, &order),
        Err(SignerRefusal::NotOurs {
            signer: "a/b".into()
        })
    );
}

#[rstest]
#[case(None, MAX_CERTIFICATE_LIFE)]
#[case(Some(600), SignedDuration::from_secs(600))]
#[case(Some(i64::MAX), MAX_CERTIFICATE_LIFE)]
fn the_life_is_the_one_asked_for_within_the_signers_bound(
    #[case] seconds: Option<i64>,
    #[case] life: SignedDuration,
) {
    let csr = csr("jane", &[], sans(""));
    let order = SigningOrder {
        expiration_seconds: seconds,
        ..order(&[Usage::ClientAuth], "jane")
    };
    let request = SignerName::KubeApiserverClient
        .issue_request(&csr, &order, MAX_CERTIFICATE_LIFE)
        .unwrap();
    assert_eq!(request.validity, Validity::For(life));
}

#[rstest]
#[case(599)]
#[case(0)]
#[case(i64::MIN)]
fn less_than_ten_minutes_is_refused(#[case] seconds: i64) {
    let csr = csr("jane", &[], sans(""));
    let order = SigningOrder {
        expiration_seconds: Some(seconds),
        ..order(&[Usage::ClientAuth], "jane")
    };
    assert_eq!(
        SignerName::LegacyUnknown.validate(&csr, &order),
        Err(SignerRefusal::ExpirationTooShort { seconds })
    );
}

#[test]
fn the_approver_tells_a_nodes_own_request_from_a_strangers() {
    let csr = csr(NODE, &["system:nodes"], sans(""));
    let usages = [Usage::DigitalSignature, Usage::ClientAuth];
    let signer = SignerName::KubeApiserverClientKubelet;
    let node = NodeName::parse("node2").unwrap();
    let own = node_request(&signer, &csr, &order(&usages, NODE)).unwrap();
    assert_eq!(own, (NodeRequest::SelfNodeClient, node.clone()));
    assert_eq!(own.0.subresources(), ["selfnodeclient", "nodeclient"]);
    let joining = node_request(&signer, &csr, &order(&usages, "system:bootstrap:abcdef")).unwrap();
    assert_eq!(joining, (NodeRequest::NodeClient, node));
    assert_eq!(joining.0.subresources(), ["nodeclient"]);
    assert_eq!(
        node_request(&SignerName::LegacyUnknown, &csr, &order(&usages, NODE)),
        None
    );
}
