//! Certificates of a real cluster are read and verified; damaged ones are refused.

use proptest::prelude::*;

use super::*;
use crate::pin::{CaPin, PinError, pinned_only, pins_for};

const KUBEADM_CA: &[u8] = include_bytes!("../../../fixtures/kubeadm-ca.pem");
const KUBELET: &[u8] = include_bytes!("../../../fixtures/kubelet-client.pem");
const RSA_CA: &[u8] = include_bytes!("../../../fixtures/rsa-ca.pem");
const RSA_CA_PIN: &str = include_str!("../../../fixtures/rsa-ca.pin");

#[test]
fn a_certificate_by_kube_controller_manager_is_read_in_full() {
    let certificate = Certificate::from_pem(KUBELET).unwrap();
    assert_eq!(
        certificate.subject(),
        &Subject::new("system:node:node2", ["system:nodes"])
    );
    assert_eq!(certificate.issuer().common_name, "kubernetes");
    assert_eq!(certificate.not_before().to_string(), "2026-11-21T05:45:05Z");
    assert_eq!(certificate.not_after().to_string(), "2027-11-21T05:45:05Z");
    assert_eq!(
        certificate.usages(),
        [Usage::DigitalSignature, Usage::ClientAuth]
    );
    assert!(!certificate.is_ca() && certificate.subject_alt_names().is_empty());
    assert_eq!(certificate.serial()[..3], [0x68, 0x0d, 0xc3]);
    assert_eq!(certificate.to_pem().as_bytes(), KUBELET);
    let ca = Certificate::from_pem(KUBEADM_CA).unwrap();
    assert!(ca.is_ca());
    assert_eq!(ca.subject_alt_names().dns, ["kubernetes"]);
}

#[test]
fn its_issuer_is_recognised_and_no_other() {
    let leaf = Certificate::from_pem(KUBELET).unwrap();
    let ca = Certificate::from_pem(KUBEADM_CA).unwrap();
    let same_name = Certificate::from_pem(RSA_CA).unwrap();
    assert_eq!(leaf.verify_signed_by(&ca), Ok(()));
    assert_eq!(ca.verify_signed_by(&ca), Ok(()));
    let refused = Err(CertificateError::NotSignedBy {
        issuer: "kubernetes".into(),
    });
    assert_eq!(leaf.verify_signed_by(&same_name), refused);
    assert!(leaf.verify_signed_by(&leaf).is_err());
}

#[test]
fn validity_includes_both_ends() {
    let certificate = Certificate::from_pem(KUBELET).unwrap();
    let second = jiff::SignedDuration::from_secs(1);
    assert!(certificate.is_valid_at(certificate.not_before()));
    assert!(certificate.is_valid_at(certificate.not_after()));
    assert!(!certificate.is_valid_at(certificate.not_before() - second));
    assert!(!certificate.is_valid_at(certificate.not_after() + second));
}

#[test]
fn a_changed_certificate_does_not_verify() {
    let ca = Certificate::from_pem(KUBEADM_CA).unwrap();
    let mut der = Certificate::from_pem(KUBELET).unwrap().der().to_vec();
    let at = der
        .windows(5)
        .position(|window| window == b"node2")
        .unwrap();
    der[at + 4] = b'3';
    let forged = Certificate::from_der(&der).unwrap();
    assert_eq!(forged.subject().common_name, "system:node:node3");
    assert!(forged.verify_signed_by(&ca).is_err());
}

#[test]
fn a_bundle_keeps_its_order_and_skips_other_blocks() {
    let mut text = KUBEADM_CA.to_vec();
    text.extend(include_bytes!("../../../fixtures/p256-sec1.pem"));
    text.extend(RSA_CA);
    let bundle = CertificateBundle::from_pem(&text).unwrap();
    assert_eq!(bundle.len(), 2);
    assert_eq!(
        CertificateBundle::from_pem(bundle.to_pem().as_bytes()),
        Ok(bundle)
    );
    let none = CertificateBundle::from_pem(include_bytes!("../../../fixtures/p256-sec1.pem"));
    assert_eq!(none, Err(CertificateError::Missing));
}

#[test]
fn the_pin_is_the_one_that_openssl_computes() {
    let ca = Certificate::from_pem(RSA_CA).unwrap();
    let pin = CaPin::parse(RSA_CA_PIN).unwrap();
    assert_eq!(CaPin::of(&ca), pin);
    assert_eq!(CaPin::parse(&RSA_CA_PIN.to_uppercase()), Ok(pin));
    assert_eq!(pin.to_string(), RSA_CA_PIN.trim());
    assert!(pin.matches(&ca));
    assert!(!pin.matches(&Certificate::from_pem(KUBEADM_CA).unwrap()));
}

#[test]
fn a_pin_vouches_for_no_neighbour() {
    let text = [KUBEADM_CA, RSA_CA, KUBEADM_CA].concat();
    let bundle = CertificateBundle::from_pem(&text).unwrap();
    let pins = pins_for(&bundle);
    assert_eq!(pins.len(), 2);
    let kept = pinned_only(&bundle, &pins[1..]);
    assert_eq!(
        kept.certificates(),
        [Certificate::from_pem(RSA_CA).unwrap()]
    );
    assert!(pinned_only(&bundle, &[]).is_empty());
}

#[test]
fn broken_pins_are_told_apart() {
    assert_eq!(CaPin::parse("md5:00"), Err(PinError::UnknownFormat));
    assert_eq!(CaPin::parse("sha"), Err(PinError::UnknownFormat));
    assert_eq!(
        CaPin::parse("sha256:00"),
        Err(PinError::NotHex { found: 2 })
    );
    let odd = format!("sha256:{}", "g".repeat(64));
    assert_eq!(CaPin::parse(&odd), Err(PinError::NotHex { found: 64 }));
    assert!(CaPin::parse("sha256é:").is_err() && CaPin::parse("sha25é").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn damaged_certificates_never_panic_and_never_verify(at in 0_usize..1000, value in any::<u8>()) {
        let ca = Certificate::from_pem(KUBEADM_CA).unwrap();
        let mut der = Certificate::from_pem(KUBELET).unwrap().der().to_vec();
        let at = at % der.len();
        prop_assume!(der[at] != value);
        der[at] = value;
        if let Ok(changed) = Certificate::from_der(&der) {
            prop_assert!(changed.verify_signed_by(&ca).is_err());
        }
        let _ = Certificate::from_der(&der[..at]);
    }

    #[test]
    fn any_text_is_a_pin_or_refused(text in "(sha256:)?[0-9a-fA-F]{60,66}|.{0,80}") {
        if let Ok(pin) = CaPin::parse(&text) {
            prop_assert_eq!(CaPin::parse(&pin.to_string()), Ok(pin));
        }
    }
}
