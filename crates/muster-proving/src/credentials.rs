//! Keys, requests and certificates of the people in a story. Knows no cluster.

use aws_lc_rs::rand;
use jiff::{SignedDuration, Timestamp};
use muster_identity::pki::IssueRequest;
use muster_identity::{
    CertificateAuthority, CertificateBundle, Csr, NodeName, PrivateKey, Subject, SubjectAltNames,
};
use muster_net::Identity;

/// Random bytes of the system.
pub fn random(bytes: &mut [u8]) {
    rand::fill(bytes).unwrap();
}

/// A random number below `end`.
pub fn below(end: usize) -> usize {
    let mut bytes = [0; 8];
    random(&mut bytes);
    usize::from_le_bytes(bytes) % end
}

/// A fresh P-256 key.
pub fn key() -> PrivateKey {
    PrivateKey::generate(&mut random).unwrap()
}

/// A request for a certificate in PEM, signed with `key`.
pub fn csr(key: &PrivateKey, subject: &Subject, names: &SubjectAltNames) -> String {
    Csr::build(key, subject, names).unwrap().to_pem()
}

/// A node's client certificate of `authority` with its key.
pub fn node_credential(authority: &CertificateAuthority, node: &str) -> Identity {
    let (node, key) = (NodeName::parse(node).unwrap(), key());
    let life = SignedDuration::from_hours(1);
    let order = IssueRequest::node_client(&node, key.public_key().clone(), life);
    let certificate = authority
        .issue(&order, Timestamp::now(), &mut random)
        .unwrap();
    Identity::Certificate {
        chain: CertificateBundle::from(certificate),
        key,
    }
}
