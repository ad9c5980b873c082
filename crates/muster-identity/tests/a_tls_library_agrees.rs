//! An independent judge: what our authority issues, the certificate verifier of rustls accepts, for the
//! right purpose, name and time only.

use jiff::{SignedDuration, Timestamp};
use muster_identity::pki::{
    CertificateAuthority, Csr, IssueRequest, PrivateKey, SignerName, SigningOrder, Subject,
    SubjectAltNames, Usage,
};
use muster_identity::{Certificate, NodeName};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::aws_lc_rs::{ECDSA_P256_SHA256, ECDSA_P384_SHA384, RSA_PKCS1_2048_8192_SHA256};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

fn now() -> Timestamp {
    "2026-11-21T05:50:05Z".parse().expect("a timestamp")
}

fn counting(seed: u8) -> impl FnMut(&mut [u8]) {
    let mut next = seed;
    move |bytes: &mut [u8]| {
        for byte in bytes {
            next = next.wrapping_mul(5).wrapping_add(1);
            *byte = next;
        }
    }
}

fn key(seed: u8) -> PrivateKey {
    PrivateKey::generate(&mut counting(seed)).expect("a key")
}

/// One CA of each kind of key.
fn authorities() -> Vec<CertificateAuthority> {
    let rsa = include_bytes!("../fixtures/rsa-pkcs1.pem");
    let keys = [
        key(1),
        PrivateKey::generate_p384(&mut counting(1)).expect("a key"),
        PrivateKey::from_pem(rsa).expect("the fixture"),
    ];
    let sign = |key| {
        let entropy = &mut counting(2);
        CertificateAuthority::self_signed_with(key, "kubernetes", now(), YEAR * 10, entropy)
    };
    keys.into_iter()
        .map(|key| sign(key).expect("a CA"))
        .collect()
}

fn accepts(
    ca: &CertificateAuthority,
    leaf: &Certificate,
    usage: KeyUsage,
    at: Timestamp,
) -> Result<(), webpki::Error> {
    let ca_der = CertificateDer::from(ca.certificate().der());
    let anchor = anchor_from_trusted_cert(&ca_der)?;
    let leaf_der = CertificateDer::from(leaf.der());
    let entity = EndEntityCert::try_from(&leaf_der)?;
    let seconds = u64::try_from(at.as_second()).expect("a time after 1970");
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let algorithms = &[
        ECDSA_P256_SHA256,
        ECDSA_P384_SHA384,
        RSA_PKCS1_2048_8192_SHA256,
    ];
    entity
        .verify_for_usage(algorithms, &[anchor], &[], time, usage, None, None)
        .map(|_| ())
}

fn names(leaf: &Certificate, name: &str) -> bool {
    let der = CertificateDer::from(leaf.der());
    let name = ServerName::try_from(name).expect("a server name");
    EndEntityCert::try_from(&der)
        .is_ok_and(|leaf| leaf.verify_is_valid_for_subject_name(&name).is_ok())
}

#[test]
fn a_server_certificate_serves_its_names_and_nothing_else() {
    for ca in authorities() {
        let sans = SubjectAltNames::new(
            ["kubernetes", "api.example.com"],
            ["10.96.0.1", "fd00::1"].map(|ip| ip.parse().expect("an address")),
        );
        let request =
            IssueRequest::server("kube-apiserver", sans, key(3).public_key().clone(), YEAR);
        let leaf = ca
            .issue(&request, now(), &mut counting(4))
            .expect("a certificate");
        assert_eq!(accepts(&ca, &leaf, KeyUsage::server_auth(), now()), Ok(()));
        assert!(accepts(&ca, &leaf, KeyUsage::client_auth(), now()).is_err());
        for name in ["kubernetes", "api.example.com", "10.96.0.1", "fd00::1"] {
            assert!(names(&leaf, name), "{name}");
        }
        assert!(!names(&leaf, "kube-apiserver") && !names(&leaf, "10.96.0.2"));
    }
}

#[test]
fn a_nodes_certificate_is_for_clients_from_its_first_to_its_last_second() {
    for ca in authorities() {
        let node = NodeName::parse("node2").expect("a name");
        let request = IssueRequest::node_client(&node, key(3).public_key().clone(), YEAR);
        let leaf = ca
            .issue(&request, now(), &mut counting(4))
            .expect("a certificate");
        let second = SignedDuration::from_secs(1);
        let check = |at| accepts(&ca, &leaf, KeyUsage::client_auth(), at);
        assert_eq!(check(leaf.not_before()), Ok(()));
        assert_eq!(check(leaf.not_after()), Ok(()));
        assert!(check(leaf.not_before() - second).is_err());
        assert!(check(leaf.not_after() + second).is_err());
        assert!(accepts(&ca, &leaf, KeyUsage::server_auth(), now()).is_err());
    }
}

#[test]
fn another_ca_of_the_same_name_is_no_issuer() {
    let [first, second, _] = &authorities()[..] else {
        unreachable!("three CAs")
    };
    let request = IssueRequest::client(
        Subject::new("jane", ["dev"]),
        key(3).public_key().clone(),
        YEAR,
    );
    let leaf = first
        .issue(&request, now(), &mut counting(4))
        .expect("a certificate");
    assert!(accepts(second, &leaf, KeyUsage::client_auth(), now()).is_err());
}

#[test]
fn a_signed_request_of_a_kubelet_logs_in() {
    let csr = Csr::from_pem(include_bytes!("../fixtures/csr-kubelet.pem")).expect("the fixture");
    let order = SigningOrder {
        usages: vec![Usage::DigitalSignature, Usage::ClientAuth],
        expiration_seconds: Some(3600),
        requester: None,
    };
    for ca in authorities() {
        let signer = SignerName::KubeApiserverClientKubelet;
        let request = signer
            .issue_request(&csr, &order, YEAR)
            .expect("a good request");
        let leaf = ca
            .issue(&request, now(), &mut counting(4))
            .expect("a certificate");
        assert_eq!(accepts(&ca, &leaf, KeyUsage::client_auth(), now()), Ok(()));
    }
}
