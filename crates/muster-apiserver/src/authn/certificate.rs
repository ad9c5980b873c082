//! Users of client certificates: the common name is the user, every organisation a group.
//!
//! Refuses to know: chains and CAs. Whoever calls has verified that the cluster's CA signed the certificate
//! for client authentication.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use jiff::Timestamp;
use muster_identity::Certificate;

use super::Unauthenticated;
use crate::request::UserInfo;

/// Kubernetes' attribute that tells credentials of one user apart.
pub(super) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// The user that a leaf certificate names.
pub(super) fn user(der: &[u8], now: Timestamp) -> Result<UserInfo, Unauthenticated> {
    let unusable = |detail: String| Unauthenticated::Certificate { detail };
    let certificate = Certificate::from_der(der).map_err(|error| unusable(error.to_string()))?;
    if !certificate.is_valid_at(now) {
        let (from, until) = (certificate.not_before(), certificate.not_after());
        return Err(unusable(format!("it is valid from {from} to {until}")));
    }
    let subject = certificate.subject();
    if subject.common_name.is_empty() {
        return Err(unusable("it has no common name".to_owned()));
    }
    let mut user = UserInfo::new(
        subject.common_name.clone(),
        subject.organizations.iter().map(String::as_str),
    );
    let id = format!("X509SHA256={}", fingerprint(der));
    user.extra.insert(CREDENTIAL_ID.to_owned(), vec![id]);
    Ok(user)
}

fn fingerprint(der: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, der);
    digest
        .as_ref()
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // Writing into a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}
