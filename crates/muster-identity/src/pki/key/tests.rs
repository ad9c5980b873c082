//! Keys by OpenSSL load in every encoding; ours load again; nothing shows them.

use const_oid::db::rfc5912::ECDSA_WITH_SHA_256;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::entropy::counting;

const RSA_1: &str = include_str!("../../../fixtures/rsa-pkcs1.pem");
const RSA_8: &str = include_str!("../../../fixtures/rsa-pkcs8.pem");
const RSA_PUBLIC: &str = include_str!("../../../fixtures/rsa-public.pem");
const P256_1: &str = include_str!("../../../fixtures/p256-sec1.pem");
const P256_PARAMETERS: &str = include_str!("../../../fixtures/p256-sec1-with-parameters.pem");
const P256_8: &str = include_str!("../../../fixtures/p256-pkcs8.pem");
const P256_PUBLIC: &str = include_str!("../../../fixtures/p256-public.pem");
const P384_1: &str = include_str!("../../../fixtures/p384-sec1.pem");
const P384_8: &str = include_str!("../../../fixtures/p384-pkcs8.pem");
const P384_PUBLIC: &str = include_str!("../../../fixtures/p384-public.pem");

#[rstest]
#[case(RSA_1, KeyKind::Rsa { bits: 2048 }, RSA_PUBLIC, RSA_1)]
#[case(RSA_8, KeyKind::Rsa { bits: 2048 }, RSA_PUBLIC, RSA_1)]
#[case(P256_1, KeyKind::P256, P256_PUBLIC, P256_1)]
#[case(P256_PARAMETERS, KeyKind::P256, P256_PUBLIC, P256_1)]
#[case(P256_8, KeyKind::P256, P256_PUBLIC, P256_1)]
#[case(P384_1, KeyKind::P384, P384_PUBLIC, P384_1)]
#[case(P384_8, KeyKind::P384, P384_PUBLIC, P384_1)]
fn keys_by_openssl_load_and_are_written_in_the_traditional_form(
    #[case] pem: &str,
    #[case] kind: KeyKind,
    #[case] public: &str,
    #[case] traditional: &str,
) {
    let key = PrivateKey::from_pem(pem.as_bytes()).unwrap();
    assert_eq!(key.kind(), kind);
    assert_eq!(key.public_key().to_pem(), public);
    assert_eq!(key.to_pem().expose(), traditional);
    assert_eq!(
        PrivateKey::from_pkcs8_der(key.pkcs8_der().expose()).unwrap(),
        key
    );
    let signature = key.sign(b"message").unwrap();
    assert_eq!(key.public_key().verify(b"message", &signature), Ok(()));
    assert_eq!(
        key.public_key().verify(b"massage", &signature),
        Err(KeyError::BadSignature)
    );
}

#[rstest]
#[case(include_str!("../../../fixtures/rsa-1024.pem"), KeyError::Unsupported { kind: "RSA of 1024 bits".into() })]
#[case(include_str!("../../../fixtures/ed25519-pkcs8.pem"), KeyError::Unsupported { kind: "1.3.101.112".into() })]
#[case(include_str!("../../../fixtures/p521-sec1.pem"), KeyError::Unsupported { kind: "EC curve 1.3.132.0.35".into() })]
#[case(include_str!("../../../fixtures/p256-explicit.pem"), KeyError::Unsupported { kind: "EC with explicit parameters".into() })]
#[case(include_str!("../../../fixtures/p256-encrypted.pem"), KeyError::Encrypted)]
#[case(RSA_PUBLIC, KeyError::Missing)]
#[case("", KeyError::Missing)]
fn unusable_keys_are_told_apart(#[case] pem: &str, #[case] error: KeyError) {
    assert_eq!(PrivateKey::from_pem(pem.as_bytes()), Err(error));
}

#[test]
fn a_public_half_that_does_not_fit_is_noticed() {
    let mut der = pem::parse(P256_1.as_bytes()).unwrap()[0]
        .der
        .expose()
        .clone();
    let last = der.len() - 1;
    der[last] ^= 1;
    let text = pem::encode("EC PRIVATE KEY", &der);
    assert_eq!(
        PrivateKey::from_pem(text.as_bytes()),
        Err(KeyError::Damaged { encoding: "SEC1" })
    );
}

#[test]
fn generated_keys_depend_on_the_entropy_alone() {
    let first = PrivateKey::generate(&mut counting::from(1)).unwrap();
    let again = PrivateKey::generate(&mut counting::from(1)).unwrap();
    let other = PrivateKey::generate(&mut counting::from(2)).unwrap();
    assert_eq!(first.kind(), KeyKind::P256);
    assert_eq!(first.to_pem(), again.to_pem());
    assert_ne!(first.to_pem(), other.to_pem());
    let p384 = PrivateKey::generate_p384(&mut counting::from(1)).unwrap();
    assert_eq!(p384.kind(), KeyKind::P384);
    assert_eq!(
        PrivateKey::from_pem(p384.to_pem().expose().as_bytes()),
        Ok(p384)
    );
}

#[test]
fn a_broken_source_of_entropy_is_an_error_and_no_weak_key() {
    let zeros = PrivateKey::generate(&mut |bytes: &mut [u8]| bytes.fill(0));
    assert!(matches!(zeros, Err(KeyError::Crypto { .. })));
    let ones = PrivateKey::generate(&mut |bytes: &mut [u8]| bytes.fill(0xff));
    assert!(matches!(ones, Err(KeyError::Crypto { .. })));
}

#[test]
fn an_rsa_key_can_be_made() {
    let key = PrivateKey::generate_rsa_2048().unwrap();
    assert_eq!(key.kind(), KeyKind::Rsa { bits: 2048 });
    assert!(
        key.to_pem()
            .expose()
            .starts_with("-----BEGIN RSA PRIVATE KEY-----")
    );
    assert_eq!(
        PrivateKey::from_pem(key.to_pem().expose().as_bytes()),
        Ok(key)
    );
}

#[test]
fn a_signature_of_another_algorithm_than_the_keys_is_not_supported() {
    let rsa = PrivateKey::from_pem(RSA_1.as_bytes()).unwrap();
    let result = rsa.public_key().verify_x509(ECDSA_WITH_SHA_256, b"m", b"s");
    assert!(matches!(result, Err(KeyError::Unsupported { .. })));
}

fn cut_and_changed() -> impl Strategy<Value = (usize, usize, u8)> {
    (0_usize..2000, 0_usize..2000, any::<u8>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn damaged_keys_never_panic((len, at, value) in cut_and_changed(), which in 0_usize..4) {
        let pem = [RSA_1, RSA_8, P256_1, P384_8][which];
        let block = &pem::parse(pem.as_bytes()).unwrap()[0];
        let mut der = block.der.expose().clone();
        let at = at % der.len();
        der[at] = value;
        der.truncate(len.max(1));
        let _ = PrivateKey::from_pem(pem::encode(&block.label, &der).as_bytes());
        let _ = PublicKey::from_spki_der(&der);
    }

    #[test]
    fn any_bytes_are_refused_as_keys(der in prop::collection::vec(any::<u8>(), 0..100)) {
        for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "EC PARAMETERS"] {
            prop_assert!(PrivateKey::from_pem(pem::encode(label, &der).as_bytes()).is_err());
        }
        prop_assert!(PublicKey::from_spki_der(&der).is_err());
    }
}
