//! What the authority signs, read back and verified; and what it refuses.

use super::*;
use crate::entropy::counting;
use crate::pki::{Csr, SignerName, SigningOrder};

const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

fn now() -> Timestamp {
    "2026-11-21T05:50:05Z".parse().unwrap()
}

fn ca() -> CertificateAuthority {
    let life = SignedDuration::from_hours(10 * 365 * 24);
    CertificateAuthority::new_self_signed(CLUSTER_CA_NAME, now(), life, &mut counting::from(1))
        .unwrap()
}

fn client(life: SignedDuration) -> IssueRequest {
    let key = PrivateKey::generate(&mut counting::from(2)).unwrap();
    IssueRequest::client(
        Subject::new("jane", ["z", "a", "z"]),
        key.public_key().clone(),
        life,
    )
}

#[test]
fn a_new_ca_has_kubeadms_profile() {
    let ca = ca();
    let certificate = ca.certificate();
    assert!(certificate.is_ca());
    assert_eq!(
        certificate.subject(),
        &Subject::new::<String>("kubernetes", [])
    );
    assert_eq!(certificate.subject_alt_names().dns, ["kubernetes"]);
    assert_eq!(
        certificate.usages(),
        [
            Usage::DigitalSignature,
            Usage::KeyEncipherment,
            Usage::CertSign
        ]
    );
    assert_eq!(certificate.not_before(), now() - BACKDATE);
    assert_eq!(
        certificate.not_after(),
        now() + SignedDuration::from_hours(87_600)
    );
    assert_eq!(certificate.verify_signed_by(certificate), Ok(()));
    assert!(ca.pin().matches(certificate));
}

#[test]
fn a_ca_loads_from_what_it_was_written_to() {
    let ca = ca();
    let loaded = CertificateAuthority::load(
        ca.certificate().to_pem().as_bytes(),
        ca.key().to_pem().expose().as_bytes(),
    );
    assert_eq!(loaded, Ok(ca));
}

#[test]
fn an_rsa_ca_by_openssl_signs_too() {
    let ca = CertificateAuthority::load(
        include_bytes!("../../../fixtures/rsa-ca.pem"),
        include_bytes!("../../../fixtures/rsa-pkcs8.pem"),
    )
    .unwrap();
    let now = ca.certificate().not_before() + YEAR;
    let issued = ca
        .issue(&client(YEAR), now, &mut counting::from(3))
        .unwrap();
    assert_eq!(issued.verify_signed_by(ca.certificate()), Ok(()));
    let p384 = PrivateKey::generate_p384(&mut counting::from(3)).unwrap();
    let ca = CertificateAuthority::self_signed_with(p384, "x", now, YEAR, &mut counting::from(4))
        .unwrap();
    let issued = ca
        .issue(&client(YEAR), now, &mut counting::from(3))
        .unwrap();
    assert_eq!(issued.verify_signed_by(ca.certificate()), Ok(()));
}

#[test]
fn a_key_of_another_ca_and_a_leaf_are_no_ca() {
    let ca = ca();
    let other = include_bytes!("../../../fixtures/p256-sec1.pem");
    assert_eq!(
        CertificateAuthority::load(ca.certificate().to_pem().as_bytes(), other),
        Err(AuthorityError::Mismatch {
            subject: "kubernetes".into()
        })
    );
    let key = PrivateKey::generate(&mut counting::from(2)).unwrap();
    let leaf = ca
        .issue(&client(YEAR), now(), &mut counting::from(3))
        .unwrap();
    assert_eq!(
        CertificateAuthority::from_parts(leaf, key),
        Err(AuthorityError::NotACa {
            subject: "jane".into()
        })
    );
}

#[test]
fn a_client_certificate_keeps_every_group_in_order() {
    let ca = ca();
    let issued = ca
        .issue(&client(YEAR), now(), &mut counting::from(3))
        .unwrap();
    assert_eq!(issued.subject(), &Subject::new("jane", ["z", "a", "z"]));
    assert_eq!(issued.issuer(), ca.certificate().subject());
    assert_eq!(
        issued.usages(),
        [
            Usage::DigitalSignature,
            Usage::KeyEncipherment,
            Usage::ClientAuth
        ]
    );
    assert!(!issued.is_ca() && issued.subject_alt_names().is_empty());
    assert_eq!(issued.verify_signed_by(ca.certificate()), Ok(()));
}

#[test]
fn a_server_certificate_names_its_hosts_and_a_nodes_its_node() {
    let (ca, key) = (ca(), PrivateKey::generate(&mut counting::from(2)).unwrap());
    let sans = SubjectAltNames::new(["kubernetes", "localhost"], ["10.96.0.1".parse().unwrap()]);
    let server = IssueRequest::server(
        "kube-apiserver",
        sans.clone(),
        key.public_key().clone(),
        YEAR,
    );
    let server = ca.issue(&server, now(), &mut counting::from(3)).unwrap();
    assert_eq!(server.subject_alt_names(), &sans);
    assert!(server.usages().contains(&Usage::ServerAuth));
    let node = NodeName::parse("node2").unwrap();
    let node = IssueRequest::node_client(&node, key.public_key().clone(), YEAR);
    let node = ca.issue(&node, now(), &mut counting::from(3)).unwrap();
    assert_eq!(
        node.subject(),
        &Subject::new("system:node:node2", ["system:nodes"])
    );
    assert_eq!(node.usages(), [Usage::DigitalSignature, Usage::ClientAuth]);
}

#[test]
fn a_year_counts_from_the_back_dated_start_and_a_short_life_in_full() {
    let ca = ca();
    let issued = ca
        .issue(&client(YEAR), now(), &mut counting::from(3))
        .unwrap();
    assert_eq!(issued.not_before().to_string(), "2026-11-21T05:45:05Z");
    assert_eq!(issued.not_after().to_string(), "2027-11-21T05:45:05Z");
    let short = client(SignedDuration::from_mins(10));
    let issued = ca.issue(&short, now(), &mut counting::from(3)).unwrap();
    assert_eq!(issued.not_before().to_string(), "2026-11-21T05:45:05Z");
    assert_eq!(issued.not_after().to_string(), "2026-11-21T06:00:05Z");
}

#[test]
fn nothing_outlives_its_ca_and_an_ended_ca_signs_nothing() {
    let ca = ca();
    let issued = ca
        .issue(&client(YEAR * 50), now(), &mut counting::from(3))
        .unwrap();
    assert_eq!(issued.not_after(), ca.certificate().not_after());
    let after = ca.certificate().not_after() + SignedDuration::from_secs(1);
    let not_after = ca.certificate().not_after();
    assert_eq!(
        ca.issue(&client(YEAR), after, &mut counting::from(3)),
        Err(AuthorityError::Ended { not_after })
    );
}

#[test]
fn times_of_the_callers_own_choice_are_kept_beyond_2049() {
    let life = SignedDuration::from_hours(24 * 365 * 50);
    let ca = CertificateAuthority::new_self_signed("x", now(), life, &mut counting::from(1));
    let ca = ca.unwrap();
    let (not_before, not_after) = (now(), "2060-01-01T00:00:00Z".parse().unwrap());
    let mut request = client(YEAR);
    request.validity = Validity::Between {
        not_before,
        not_after,
    };
    let issued = ca.issue(&request, now(), &mut counting::from(3)).unwrap();
    assert_eq!(
        (issued.not_before(), issued.not_after()),
        (not_before, not_after)
    );
}

#[test]
fn serial_numbers_are_20_positive_bytes_and_come_from_the_entropy() {
    let ca = ca();
    for byte in [0x00, 0xff, 0x80] {
        let mut entropy = |bytes: &mut [u8]| bytes.fill(byte);
        let issued = ca.issue(&client(YEAR), now(), &mut entropy).unwrap();
        assert_eq!(issued.serial().len(), 20);
        assert!(issued.serial()[0] < 0x80);
        assert_eq!(issued.serial()[1], byte);
    }
}

#[test]
fn a_name_that_cannot_be_encoded_is_an_error() {
    let key = PrivateKey::generate(&mut counting::from(2)).unwrap();
    let sans = SubjectAltNames::new(["nöde"], []);
    let request = IssueRequest::server("x", sans, key.public_key().clone(), YEAR);
    let issued = ca().issue(&request, now(), &mut counting::from(3));
    assert!(matches!(issued, Err(AuthorityError::Encoding { .. })));
}

#[test]
fn a_real_kubelets_request_becomes_the_certificate_that_a_real_cluster_gave() {
    let csr = Csr::from_pem(include_bytes!("../../../fixtures/csr-kubelet.pem")).unwrap();
    let real = Certificate::from_pem(include_bytes!("../../../fixtures/kubelet-client.pem"));
    let real = real.unwrap();
    let order = SigningOrder {
        usages: vec![Usage::DigitalSignature, Usage::ClientAuth],
        expiration_seconds: None,
        requester: Some("system:bootstrap:mysj49".into()),
    };
    let request = SignerName::KubeApiserverClientKubelet.issue_request(&csr, &order, YEAR);
    let ours = ca()
        .issue(&request.unwrap(), now(), &mut counting::from(3))
        .unwrap();
    assert_eq!(ours.subject(), real.subject());
    assert_eq!(ours.usages(), real.usages());
    assert_eq!(ours.spki_der(), real.spki_der());
    assert_eq!(
        (ours.not_before(), ours.not_after()),
        (real.not_before(), real.not_after())
    );
}

#[test]
fn no_extension_of_a_request_is_copied() {
    let csr = Csr::from_pem(include_bytes!("../../../fixtures/csr-names.pem")).unwrap();
    let order = SigningOrder {
        usages: vec![Usage::ServerAuth],
        ..SigningOrder::default()
    };
    let request = SignerName::LegacyUnknown
        .issue_request(&csr, &order, YEAR)
        .unwrap();
    let issued = ca().issue(&request, now(), &mut counting::from(3)).unwrap();
    assert_eq!(issued.subject_alt_names().dns, csr.subject_alt_names().dns);
    assert_eq!(issued.subject_alt_names().others, 0);
    assert_eq!(issued.subject().other, csr.subject().other);
    assert_eq!(issued.usages(), [Usage::ServerAuth]);
    // The request's private extension 1.2.3.4 with the text "unknown".
    assert!(!issued.der().windows(7).any(|window| window == b"unknown"));
}
