//! Shared certificates: what kubeadm encrypts is opened, and a wrong key is told from damage.

use muster_identity::BootstrapToken;
use proptest::prelude::*;

use super::*;

fn counting(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed;
    move |bytes: &mut [u8]| {
        for byte in bytes {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = (state >> 33) as u8;
        }
    }
}

fn key(seed: u64) -> CertificateKey {
    CertificateKey::generate(&mut counting(seed))
}

fn some() -> SharedCerts {
    let mut certs = SharedCerts::new();
    certs.put("ca.crt", Secret::new(b"certificate".to_vec()));
    certs.put("ca.key", Secret::new(b"hunter2".to_vec()));
    certs.put("external-etcd.key", Secret::new(Vec::new()));
    certs
}

fn uploaded(key: &CertificateKey) -> Value {
    let sealed = some().seal(key, &mut counting(9)).unwrap();
    secret(&sealed, "bootstrap-token-abcdef", "a-uid")
}

/// AES-256-GCM test case 14 of the GCM specification (McGrew, Viega): zero key, zero nonce, 16 zero bytes.
#[test]
fn the_cipher_is_the_standards_with_the_nonce_in_front() {
    let key = CertificateKey::parse(&"0".repeat(64)).unwrap();
    let value = encrypt(&[0; 16], &key, &mut |bytes: &mut [u8]| bytes.fill(0)).unwrap();
    let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "000000000000000000000000cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"
    );
    assert_eq!(decrypt(&value, &key).unwrap().expose(), &[0; 16]);
}

#[test]
fn a_key_is_sixty_four_digits_and_shows_nothing() {
    let key = key(1);
    let text = key.to_text();
    assert_eq!(text.expose().len(), 64);
    assert_eq!(CertificateKey::parse(text.expose()).unwrap(), key);
    assert_eq!(
        CertificateKey::parse(&text.expose().to_uppercase()).unwrap(),
        key
    );
    assert_eq!(format!("{key:?}"), "CertificateKey(****)");
    for bad in [
        "",
        "00",
        &"0".repeat(63),
        &"0".repeat(65),
        &"g".repeat(64),
        &"ä".repeat(32),
    ] {
        assert!(CertificateKey::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn what_was_uploaded_is_opened_and_empty_files_stay_empty() {
    let key = key(1);
    let opened = SharedCerts::open(&uploaded(&key), &key).unwrap();
    assert_eq!(opened, some());
    assert_eq!(opened.get("external-etcd.key"), None);
    assert!(!format!("{opened:?}").contains("hunter2"));
}

#[test]
fn a_wrong_key_is_told_from_a_damaged_value() {
    let object = uploaded(&key(1));
    assert_eq!(
        SharedCerts::open(&object, &key(2)),
        Err(SharedCertsError::WrongKey)
    );
    let mut damaged = object.clone();
    damaged["data"]["ca.key"] = Value::from(STANDARD.encode([7; 60]));
    assert_eq!(
        SharedCerts::open(&damaged, &key(1)),
        Err(SharedCertsError::Damaged {
            name: "ca.key".into()
        })
    );
    damaged["data"] = serde_json::json!({"ca.crt": STANDARD.encode([1; 20])});
    assert_eq!(
        SharedCerts::open(&damaged, &key(1)),
        Err(SharedCertsError::Damaged {
            name: "ca.crt".into()
        })
    );
    damaged["data"] = serde_json::json!({"ca.crt": "%"});
    assert_eq!(
        SharedCerts::open(&damaged, &key(1)),
        Err(SharedCertsError::NotASecret)
    );
}

#[test]
fn the_secret_ends_with_its_token_which_opens_no_door() {
    let token = BootstrapToken::parse("abcdef.0123456789abcdef").unwrap();
    let object = token_secret(token, "2026-11-21T12:00:00Z".parse().unwrap());
    assert_eq!(object["metadata"]["name"], "bootstrap-token-abcdef");
    let data = object["data"].as_object().unwrap();
    let keys: Vec<&str> = data.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        ["description", "expiration", "token-id", "token-secret"]
    );
    let owner = &uploaded(&key(1))["metadata"]["ownerReferences"][0];
    assert_eq!(owner["controller"], true);
    assert_eq!(owner["uid"], "a-uid");
}

#[test]
fn a_secret_without_a_needed_file_is_refused_by_name() {
    let cluster = crate::blueprint::tests::cluster("");
    let error = some().require(&cluster).unwrap_err();
    assert_eq!(
        error,
        SharedCertsError::Missing {
            name: "front-proxy-ca.crt".into()
        }
    );
    let names: Vec<&str> = shared_files(&cluster)
        .iter()
        .map(|file| file.file.name())
        .collect();
    assert_eq!(
        names,
        [
            "ca.crt",
            "ca.key",
            "front-proxy-ca.crt",
            "front-proxy-ca.key",
            "sa.pub",
            "sa.key",
            "etcd-ca.crt",
            "etcd-ca.key"
        ]
    );
    let external = crate::blueprint::tests::cluster(
        "etcd: {external: {endpoints: ['https://e:2379'], caFile: /e/ca, certFile: /e/crt, keyFile: /e/key}}\n",
    );
    let files = shared_files(&external);
    assert_eq!(files.last().unwrap().path, "/e/key");
    assert_eq!(files.last().unwrap().file.name(), "external-etcd.key");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_text_comes_back_and_every_changed_bit_is_noticed(
        plain in prop::collection::vec(any::<u8>(), 1..200),
        at in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let key = key(seed);
        let mut value = encrypt(&plain, &key, &mut counting(seed ^ 1)).unwrap();
        let opened = decrypt(&value, &key).unwrap();
        prop_assert_eq!(opened.expose(), &plain);
        let at = at.index(value.len());
        value[at] ^= 1;
        prop_assert!(decrypt(&value, &key).is_none());
    }

    #[test]
    fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decrypt(&value, &key(1));
    }
}
