//! Requests by OpenSSL, by a real kubelet and by ourselves.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::entropy::counting;
use crate::pki::KeyKind;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../fixtures/csr-", $name, ".pem"))
    };
}

#[rstest]
#[case(fixture!("rsa"), KeyKind::Rsa { bits: 2048 }, "jane", &["team-a", "team-b"])]
#[case(fixture!("p384"), KeyKind::P384, "system:node:node2", &["system:nodes"])]
#[case(fixture!("p521"), KeyKind::P521, "p521", &[])]
#[case(fixture!("ed25519"), KeyKind::Ed25519, "ed25519", &[])]
#[case(fixture!("kubelet"), KeyKind::P256, "system:node:node2", &["system:nodes"])]
#[case(fixture!("multi-valued"), KeyKind::P256, "multi", &["beta", "alpha", "gamma"])]
fn requests_of_every_kind_verify(
    #[case] pem: &[u8],
    #[case] kind: KeyKind,
    #[case] common_name: &str,
    #[case] organizations: &[&str],
) {
    let csr = Csr::from_pem(pem).unwrap();
    assert_eq!(csr.public_key().kind(), kind);
    assert_eq!(csr.subject().common_name, common_name);
    let mut found = csr.subject().organizations.clone();
    let mut wanted = organizations.to_vec();
    if wanted.len() > 2 {
        // In one RDN the order is the encoder's.
        found.sort();
        wanted.sort_unstable();
    }
    assert_eq!(found, wanted);
    assert!(csr.subject_alt_names().is_empty());
}

#[test]
fn names_are_told_by_kind_and_unknown_extensions_ignored() {
    let csr = Csr::from_pem(fixture!("names")).unwrap();
    let names = csr.subject_alt_names();
    assert_eq!(names.dns, ["node2", "node2.example.com"]);
    assert_eq!(
        names.ip,
        [
            "10.0.0.2".parse::<std::net::IpAddr>().unwrap(),
            "fd00::2".parse().unwrap()
        ]
    );
    assert_eq!(names.email, ["a@example.com"]);
    assert_eq!(names.uri, ["spiffe://x/y"]);
    assert_eq!(names.others, 1);
    assert_eq!(csr.subject().other.len(), 1);
    assert_eq!(csr.subject().other[0].value, "unit");
}

#[test]
fn a_request_for_a_ca_is_refused() {
    assert_eq!(
        Csr::from_pem(fixture!("asks-for-ca")),
        Err(CsrError::AsksForCa)
    );
}

#[test]
fn sha1_is_not_accepted() {
    assert!(matches!(
        Csr::from_pem(fixture!("sha1")),
        Err(CsrError::Key(KeyError::Unsupported { .. }))
    ));
}

#[test]
fn a_request_for_anothers_key_is_refused() {
    let mut der = Csr::from_pem(fixture!("kubelet")).unwrap().der().to_vec();
    let at = der
        .windows(5)
        .position(|window| window == b"node2")
        .unwrap();
    der[at + 4] = b'3';
    assert_eq!(Csr::from_der(&der), Err(CsrError::Signature));
}

#[test]
fn a_text_is_exactly_one_request() {
    let one: &[u8] = fixture!("rsa");
    let two = [one, one].concat();
    assert_eq!(Csr::from_pem(&two), Err(CsrError::NotOneRequest));
    assert_eq!(Csr::from_pem(b""), Err(CsrError::NotOneRequest));
    let key = include_bytes!("../../../fixtures/p256-sec1.pem");
    assert_eq!(Csr::from_pem(key), Err(CsrError::NotOneRequest));
}

#[test]
fn what_we_build_reads_back_in_order() {
    let subject = Subject::new("jane", ["zeta", "alpha", "müller", "alpha"]);
    let sans = SubjectAltNames::new(["a", "b.example"], ["::1".parse().unwrap()]);
    for key in [
        PrivateKey::generate(&mut counting::from(1)).unwrap(),
        PrivateKey::generate_p384(&mut counting::from(2)).unwrap(),
        PrivateKey::from_pem(include_bytes!("../../../fixtures/rsa-pkcs1.pem")).unwrap(),
    ] {
        let csr = Csr::build(&key, &subject, &sans).unwrap();
        assert_eq!(csr.subject(), &subject);
        assert_eq!(Csr::from_pem(csr.to_pem().as_bytes()), Ok(csr));
    }
}

#[test]
fn our_request_has_the_shape_of_the_kubelets() {
    let real = Csr::from_pem(fixture!("kubelet")).unwrap();
    let key = PrivateKey::generate(&mut counting::from(1)).unwrap();
    let subject = Subject::new("system:node:node2", ["system:nodes"]);
    let ours = Csr::build(&key, &subject, &SubjectAltNames::none()).unwrap();
    let (ours, real) = (
        first_element(ours.der()).unwrap(),
        first_element(real.der()).unwrap(),
    );
    assert_eq!(ours.len(), real.len());
    let differing = ours.iter().zip(real).filter(|(a, b)| a != b).count();
    assert!(
        differing <= 64,
        "only the 64 bytes of the point may differ, not {differing}"
    );
}

#[test]
fn a_name_beyond_ascii_is_no_dns_name() {
    let key = PrivateKey::generate(&mut counting::from(1)).unwrap();
    let sans = SubjectAltNames::new(["nöde"], []);
    let built = Csr::build(&key, &Subject::default(), &sans);
    assert!(matches!(built, Err(CsrError::Damaged { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn damaged_requests_never_panic_and_never_pass(at in 0_usize..1000, value in any::<u8>()) {
        let mut der = Csr::from_pem(fixture!("names")).unwrap().der().to_vec();
        let at = at % der.len();
        prop_assume!(der[at] != value);
        der[at] = value;
        prop_assert!(Csr::from_der(&der).is_err());
        prop_assert!(Csr::from_der(&der[..at]).is_err());
    }

    #[test]
    fn any_subject_survives(common_name in ".{0,80}", organizations in prop::collection::vec(".{0,40}", 0..6)) {
        let key = PrivateKey::generate(&mut counting::from(1)).unwrap();
        let subject = Subject::new(common_name, organizations);
        let csr = Csr::build(&key, &subject, &SubjectAltNames::none()).unwrap();
        let read = Csr::from_der(csr.der()).unwrap();
        prop_assert_eq!(read.subject(), &subject);
    }
}
