//! The certificate with which a kubelet serves when nobody signs one for it: for its host name, by an authority that is
//! forgotten at once.
//!
//! A kubelet makes one by itself (client-go, `GenerateSelfSignedCertKey`) and keeps one that it finds. What is made here
//! has the same names, life and purposes, and an ECDSA key: two RSA keys are a good part of a kubelet's first start.
//! It refuses to know where the files are, and who reads them.

use jiff::{SignedDuration, Timestamp};
use muster_identity::pki::{IssueRequest, Validity};
use muster_identity::{
    AuthorityError, Certificate, CertificateAuthority, Entropy, PrivateKey, Subject,
    SubjectAltNames, Usage,
};

/// As long as the kubelet's own: a year of 365 days.
const LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// As far back as the kubelet's own.
const BACKDATE: SignedDuration = SignedDuration::from_hours(1);

/// Certificate and authority in one PEM text, in this order, for a kubelet on `host` with `key`.
///
/// # Errors
/// [`AuthorityError`] when a key cannot be made or the name cannot be encoded.
pub fn self_signed(
    host: &str,
    key: &PrivateKey,
    now: Timestamp,
    entropy: &mut dyn Entropy,
) -> Result<String, AuthorityError> {
    let not_before = now.checked_sub(BACKDATE).unwrap_or(now);
    let not_after = not_before.checked_add(LIFE).unwrap_or(Timestamp::MAX);
    // It signs once and its key is gone with this call.
    let authority =
        CertificateAuthority::new_self_signed(&format!("{host}-ca"), not_before, LIFE, entropy)?;
    let request = IssueRequest {
        subject: Subject::new::<String>(format!("{host}@{}", now.as_second()), []),
        sans: SubjectAltNames::new([host], []),
        usages: vec![
            Usage::DigitalSignature,
            Usage::KeyEncipherment,
            Usage::ServerAuth,
        ],
        public_key: key.public_key().clone(),
        validity: Validity::Between {
            not_before,
            not_after,
        },
    };
    let certificate = authority.issue(&request, now, entropy)?;
    Ok(certificate.to_pem() + &authority.certificate().to_pem())
}

/// Whether the first certificate of a PEM text is for this key: only then can a kubelet serve with both.
#[must_use]
pub fn belong_together(certificate_pem: &[u8], key_pem: &[u8]) -> bool {
    let (Ok(certificate), Ok(key)) = (
        Certificate::from_pem(certificate_pem),
        PrivateKey::from_pem(key_pem),
    ) else {
        return false;
    };
    certificate.spki_der() == key.public_key().spki_der()
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_identity::CertificateBundle;

    fn now() -> Timestamp {
        "2026-11-21T05:50:05Z".parse().unwrap()
    }

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::generate(&mut |bytes: &mut [u8]| bytes.fill(seed)).unwrap()
    }

    fn made(host: &str) -> String {
        let mut seed = 9_u8;
        let mut entropy = |bytes: &mut [u8]| {
            seed += 1;
            bytes.fill(seed);
        };
        self_signed(host, &key(7), now(), &mut entropy).unwrap()
    }

    #[test]
    fn it_is_for_the_host_and_signed_by_the_authority_behind_it() {
        let bundle = CertificateBundle::from_pem(made("node-1").as_bytes()).unwrap();
        let [leaf, authority] = bundle.certificates() else {
            panic!("{bundle:?}");
        };
        leaf.verify_signed_by(authority).unwrap();
        assert_eq!(
            leaf.subject_alt_names(),
            &SubjectAltNames::new(["node-1"], [])
        );
        assert_eq!(leaf.subject().common_name, "node-1@1795240205");
        assert!(leaf.usages().contains(&Usage::ServerAuth) && !leaf.is_ca());
        assert_eq!(leaf.not_before().to_string(), "2026-11-21T04:50:05Z");
        assert_eq!(leaf.not_after().to_string(), "2027-11-21T04:50:05Z");
    }

    #[test]
    fn the_longest_name_of_a_node_has_one_too() {
        let label = "a".repeat(62);
        let name = [label.as_str(), &label, &label, &label].join(".");
        assert!(CertificateBundle::from_pem(made(&name).as_bytes()).is_ok());
    }

    #[test]
    fn a_certificate_of_another_key_does_not_belong() {
        let certificate = made("node-1");
        let (own, other) = (key(7).to_pem(), key(8).to_pem());
        assert!(belong_together(
            certificate.as_bytes(),
            own.expose().as_bytes()
        ));
        assert!(!belong_together(
            certificate.as_bytes(),
            other.expose().as_bytes()
        ));
        assert!(!belong_together(b"", own.expose().as_bytes()));
    }
}
