//! The data directory: names, modes, what is kept, what is renewed, and what is refused.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _};

use muster_identity::{KeyKind, Kubeconfig};
use tempfile::TempDir;

use super::*;

fn now() -> Timestamp {
    "2026-11-21T08:00:00Z".parse().expect("a time")
}

fn settings() -> PkiSettings {
    PkiSettings {
        server: Endpoint::parse("10.78.0.1:6443").expect("an endpoint"),
        dns_names: vec!["cp".into()],
        addresses: vec![],
        service_address: IpAddr::from([10, 96, 0, 1]),
        dns_domain: "cluster.local".into(),
    }
}

fn load(dir: &TempDir, settings: &PkiSettings, now: Timestamp) -> Result<Pki, PkiError> {
    Pki::load_or_create(&dir.path().join("data"), settings, now)
}

fn fresh() -> (TempDir, Pki) {
    let dir = tempfile::tempdir().expect("a directory");
    let pki = load(&dir, &settings(), now()).expect("made");
    (dir, pki)
}

/// Every file below the directory with its mode and content.
fn files(dir: &TempDir) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.path().join("data")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path
                .strip_prefix(dir.path().join("data"))
                .expect("below")
                .display()
                .to_string();
            let mode = fs::metadata(&path).expect("a file").permissions().mode() & 0o7777;
            found.insert(name, (mode, fs::read(&path).expect("readable")));
        }
    }
    found
}

#[test]
fn files_have_kubeadms_names_and_only_the_owner_reads_secrets() {
    let (dir, _) = fresh();
    let modes: Vec<(String, u32)> = files(&dir)
        .into_iter()
        .map(|(name, (mode, _))| (name, mode))
        .collect();
    let expected = [
        ("admin.kubeconfig", 0o600),
        ("pki/apiserver-kubelet-client.crt", 0o644),
        ("pki/apiserver-kubelet-client.key", 0o600),
        ("pki/apiserver.crt", 0o644),
        ("pki/apiserver.key", 0o600),
        ("pki/ca.crt", 0o644),
        ("pki/ca.key", 0o600),
        ("pki/front-proxy-ca.crt", 0o644),
        ("pki/front-proxy-ca.key", 0o600),
        ("pki/front-proxy-client.crt", 0o644),
        ("pki/front-proxy-client.key", 0o600),
        ("pki/sa.key", 0o600),
        ("pki/sa.pub", 0o644),
        ("super-admin.kubeconfig", 0o600),
    ];
    assert_eq!(modes, expected.map(|(name, mode)| (name.to_owned(), mode)));
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
    assert_eq!(mode(&dir.path().join("data")), 0o700);
    assert_eq!(mode(&dir.path().join("data/pki")), 0o755);
}

#[test]
fn the_serving_certificate_has_every_name_of_an_api_server() {
    let (_dir, pki) = fresh();
    let certificate = &pki.server().certificate;
    let sans = certificate.subject_alt_names();
    for name in [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "cp",
    ] {
        assert!(sans.dns.iter().any(|own| own == name), "{name}");
    }
    for address in ["10.96.0.1", "127.0.0.1", "::1", "10.78.0.1"] {
        assert!(
            sans.ip.contains(&address.parse().expect("an address")),
            "{address}"
        );
    }
    assert_eq!(certificate.subject().common_name, "kube-apiserver");
    assert!(
        certificate
            .verify_signed_by(pki.authority().certificate())
            .is_ok()
    );
    assert_eq!(
        certificate.spki_der(),
        pki.server().key.public_key().spki_der()
    );
}

#[test]
fn the_kubeconfigs_lead_to_the_server_as_administrators() {
    let (_dir, pki) = fresh();
    for (path, user, group) in [
        (
            pki.admin_kubeconfig(),
            "kubernetes-admin",
            "kubeadm:cluster-admins",
        ),
        (
            pki.super_admin_kubeconfig(),
            "kubernetes-super-admin",
            "system:masters",
        ),
    ] {
        let config = Kubeconfig::parse(&fs::read(path).expect("there")).expect("a kubeconfig");
        let found = config.resolve().expect("resolved");
        assert_eq!(found.cluster.server, "https://10.78.0.1:6443");
        let Some(muster_identity::kubeconfig::Material::Data(pem)) = found.user.client_certificate
        else {
            panic!("no certificate");
        };
        let certificate = Certificate::from_pem(&pem).expect("a certificate");
        assert_eq!(certificate.subject(), &Subject::new(user, [group]));
    }
}

#[test]
fn a_second_start_changes_nothing() {
    let (dir, _) = fresh();
    let before = files(&dir);
    load(&dir, &settings(), now()).expect("loaded");
    assert_eq!(files(&dir), before);
}

#[test]
fn a_new_name_makes_a_new_serving_certificate_for_the_same_key() {
    let (dir, first) = fresh();
    let before = files(&dir);
    let mut wider = settings();
    wider.dns_names.push("api.example.com".into());
    let second = load(&dir, &wider, now()).expect("loaded");
    let after = files(&dir);
    let changed: Vec<&String> = after
        .iter()
        .filter(|(name, file)| before.get(*name) != Some(file))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(changed, ["pki/apiserver.crt"]);
    assert!(
        second
            .server()
            .certificate
            .subject_alt_names()
            .dns
            .contains(&"api.example.com".to_owned())
    );
    assert_eq!(
        first.server().key.public_key(),
        second.server().key.public_key()
    );
}

#[test]
fn a_certificate_is_renewed_in_its_last_thirty_days_and_the_ca_stays() {
    let (dir, first) = fresh();
    let before = files(&dir);
    let days = |days: i64| now() + SignedDuration::from_hours(24 * days);
    load(&dir, &settings(), days(330)).expect("loaded");
    assert_eq!(files(&dir), before);
    let renewed = load(&dir, &settings(), days(340)).expect("loaded");
    assert!(renewed.server().certificate.not_after() > first.server().certificate.not_after());
    let after = files(&dir);
    for name in [
        "pki/ca.crt",
        "pki/ca.key",
        "pki/sa.key",
        "pki/apiserver.key",
    ] {
        assert_eq!(after[name], before[name], "{name}");
    }
    assert_ne!(after["admin.kubeconfig"], before["admin.kubeconfig"]);
}

#[test]
fn another_server_address_goes_into_the_kubeconfigs() {
    let (dir, _) = fresh();
    let mut moved = settings();
    moved.server = Endpoint::parse("10.78.0.2:6443").expect("an endpoint");
    let pki = load(&dir, &moved, now()).expect("loaded");
    let text = fs::read_to_string(pki.admin_kubeconfig()).expect("there");
    assert!(text.contains("https://10.78.0.2:6443") && !text.contains("10.78.0.1"));
}

#[test]
fn a_ca_that_kubeadm_made_is_taken_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let folder = dir.path().join("data/pki");
    fs::create_dir_all(&folder).expect("made");
    let key = PrivateKey::generate_rsa_2048().expect("a key");
    let ca = CertificateAuthority::self_signed_with(
        key.clone(),
        "kubernetes",
        now(),
        CA_LIFE,
        &mut system_entropy(),
    )
    .expect("a CA");
    let pem = key.to_pem();
    assert!(pem.expose().starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    fs::write(folder.join("ca.key"), pem.expose()).expect("written");
    fs::write(folder.join("ca.crt"), ca.certificate().to_pem()).expect("written");
    let pki = load(&dir, &settings(), now()).expect("loaded");
    assert!(matches!(pki.authority().key().kind(), KeyKind::Rsa { .. }));
    assert!(
        pki.server()
            .certificate
            .verify_signed_by(ca.certificate())
            .is_ok()
    );
}

#[test]
fn a_crash_between_key_and_certificate_is_made_good() {
    let (dir, first) = fresh();
    for name in ["ca.crt", "apiserver.crt"] {
        fs::remove_file(dir.path().join("data/pki").join(name)).expect("removed");
    }
    let second = load(&dir, &settings(), now()).expect("made good");
    assert_eq!(
        second.authority().certificate().spki_der(),
        first.authority().certificate().spki_der()
    );
}

#[test]
fn a_ca_that_cannot_sign_is_refused_and_left_alone() {
    let (dir, _) = fresh();
    let key = dir.path().join("data/pki/ca.key");
    fs::remove_file(&key).expect("removed");
    let before = files(&dir);
    assert!(matches!(
        load(&dir, &settings(), now()),
        Err(PkiError::CaKeyMissing { .. })
    ));
    fs::write(&key, "nonsense").expect("written");
    assert!(matches!(
        load(&dir, &settings(), now()),
        Err(PkiError::Authority { .. })
    ));
    fs::remove_file(&key).expect("removed");
    assert_eq!(files(&dir), before);
}

#[test]
fn a_damaged_key_is_told_by_its_path_and_not_overwritten() {
    let (dir, _) = fresh();
    let path = dir.path().join("data/pki/sa.key");
    fs::write(&path, "nonsense").expect("written");
    let error = load(&dir, &settings(), now()).expect_err("refused");
    assert!(
        matches!(&error, PkiError::Key { path: told, .. } if *told == path),
        "{error}"
    );
    assert_eq!(fs::read(&path).expect("there"), b"nonsense");
}

#[test]
fn front_proxies_have_a_ca_of_their_own_as_kubeadm_makes_it() {
    let (_dir, pki) = fresh();
    let [authority] = pki.front_proxy_bundle().certificates() else {
        panic!("one CA");
    };
    assert_eq!(authority.subject().common_name, "front-proxy-ca");
    assert_ne!(
        authority.spki_der(),
        pki.authority().certificate().spki_der()
    );
    let client = &pki.front_proxy_client().certificate;
    assert_eq!(client.subject().common_name, "front-proxy-client");
    assert!(client.verify_signed_by(authority).is_ok());
    assert!(
        client
            .verify_signed_by(pki.authority().certificate())
            .is_err()
    );
}

#[test]
fn further_keys_for_tokens_are_read_and_a_damaged_list_is_told() {
    let (dir, pki) = fresh();
    assert!(pki.token_keys().is_empty());
    let path = dir.path().join("data/pki/sa.pub");
    let other = PrivateKey::generate(&mut system_entropy()).expect("a key");
    let own = fs::read_to_string(&path).expect("read");
    let both = format!("{}{own}", other.public_key().to_pem());
    fs::write(&path, &both).expect("written");
    let pki = load(&dir, &settings(), now()).expect("loaded");
    assert_eq!(pki.token_keys(), [other.public_key().clone()]);
    assert_eq!(fs::read_to_string(&path).expect("read"), both);
    fs::write(
        &path,
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    )
    .expect("written");
    assert!(matches!(
        load(&dir, &settings(), now()),
        Err(PkiError::Key { .. })
    ));
}
