//! Who answers: known, unknown, changed and revoked keys, and certificates.

use super::*;

#[tokio::test]
async fn an_unknown_host_is_refused_and_the_cure_makes_it_known() {
    let lab = Lab::new();
    let server = Double::start(lab.nature()).await;
    let target = Lab::target(server.address.port());
    let error = lab.refusal(&target).await;
    assert_eq!(error.id(), "ssh-host-key-unknown");
    let fingerprint = lab
        .host_key
        .public_key()
        .fingerprint(HashAlg::Sha256)
        .to_string();
    assert!(error.to_string().contains(&fingerprint), "{error}");
    let cure = error.cure();
    let command = cure.split_once("then: ").unwrap().1;
    let status = std::process::Command::new("sh")
        .args(["-c", command])
        .status()
        .unwrap();
    assert!(status.success());
    lab.machine(server.address.port()).await;
}

#[tokio::test]
async fn a_new_host_is_written_down_where_that_is_wanted_and_a_changed_one_never_passes() {
    let lab = Lab::new();
    lab.configure("StrictHostKeyChecking no");
    let server = Double::start(lab.nature()).await;
    let port = server.address.port();
    lab.machine(port).await;
    let text = std::fs::read_to_string(lab.known_hosts()).unwrap();
    assert!(
        text.starts_with(&format!("[127.0.0.1]:{port} ssh-ed25519 ")),
        "{text}"
    );
    lab.machine(port).await;
    assert_eq!(std::fs::read_to_string(lab.known_hosts()).unwrap(), text);
    std::fs::remove_file(lab.known_hosts()).unwrap();
    lab.know(1, &new_key());
    lab.know(port, &new_key());
    let error = lab.refusal(&Lab::target(port)).await;
    assert_eq!(error.id(), "ssh-host-key-changed");
    let place = format!("{}:2 ", lab.known_hosts().display());
    assert!(error.to_string().contains(&place), "{error}");
    // The cure is the command that OpenSSH has for it.
    let cure = error.cure();
    let command = format!("ssh-keygen{}", cure.split_once("ssh-keygen").unwrap().1);
    assert!(
        std::process::Command::new("sh")
            .args(["-c", &command])
            .status()
            .unwrap()
            .success()
    );
    lab.machine(port).await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_whatever_else_is_known() {
    let lab = Lab::new();
    let server = lab.server().await;
    let key = lab.host_key.public_key().to_openssh().unwrap();
    crate::known_hosts::append(&lab.known_hosts(), &format!("@revoked * {key}")).unwrap();
    let error = lab.refusal(&Lab::target(server.address.port())).await;
    assert_eq!(error.id(), "ssh-host-key-revoked");
    let list = lab.folder.path().join("revoked");
    std::fs::write(&list, key).unwrap();
    lab.configure(&format!("RevokedHostKeys {}", list.display()));
    std::fs::remove_file(lab.known_hosts()).unwrap();
    lab.know(server.address.port(), &lab.host_key);
    let error = lab.refusal(&Lab::target(server.address.port())).await;
    assert!(error.to_string().contains("revoked:1"), "{error}");
}

#[tokio::test]
async fn a_host_with_keys_of_several_kinds_shows_the_known_one() {
    let lab = Lab::new();
    let rng = &mut russh::keys::key::safe_rng();
    let curve = russh::keys::EcdsaCurve::NistP256;
    let other = PrivateKey::random(rng, russh::keys::Algorithm::Ecdsa { curve }).unwrap();
    let nature = Nature {
        keys: vec![lab.host_key.clone(), other.clone()],
        ..lab.nature()
    };
    let server = Double::start(nature).await;
    lab.know(server.address.port(), &other);
    lab.machine(server.address.port()).await;
}

#[tokio::test]
async fn a_certificate_vouches_for_a_host_as_long_as_it_holds() {
    let lab = Lab::new();
    let authority = new_key();
    let line = authority.public_key().to_openssh().unwrap();
    crate::known_hosts::append(
        &lab.known_hosts(),
        &format!("@cert-authority [127.0.0.1]:* {line}"),
    )
    .unwrap();
    let show = async |certificate| {
        let nature = Nature {
            certificates: vec![certificate],
            ..lab.nature()
        };
        let server = Double::start(nature).await;
        let target = Lab::target(server.address.port());
        lab.client
            .connect(&target)
            .await
            .map(|_| ())
            .map_err(|error| (error.id(), error.to_string()))
    };
    let host = lab.host_key.public_key();
    show(certify(&authority, host, "127.0.0.1", -60, 60))
        .await
        .unwrap();
    for (certificate, word) in [
        (
            certify(&authority, host, "other", -60, 60),
            "it is for other",
        ),
        (certify(&authority, host, "127.0.0.1", -60, -1), "expired"),
        (
            certify(&authority, host, "127.0.0.1", 60, 120),
            "not valid yet",
        ),
    ] {
        let (id, text) = show(certificate).await.unwrap_err();
        assert_eq!(id, "ssh-host-certificate-invalid");
        assert!(text.contains(word), "{text}");
    }
    // The authority of somebody else makes the key just unknown.
    let (id, _) = show(certify(&new_key(), host, "127.0.0.1", -60, 60))
        .await
        .unwrap_err();
    assert_eq!(id, "ssh-host-key-unknown");
    crate::known_hosts::append(&lab.known_hosts(), &format!("@revoked * {line}")).unwrap();
    let (id, _) = show(certify(&authority, host, "127.0.0.1", -60, 60))
        .await
        .unwrap_err();
    assert_eq!(id, "ssh-host-key-revoked");
}
