//! Whether an issued certificate is the one that was wished for.
//!
//! A signer is trusted to decide, not to be free of mistakes: key, subject and validity are
//! checked before anything is written. Knows neither the signer's CA nor the clock.

use jiff::Timestamp;
use muster_identity::CertificateBundle;

use super::{CertificateWish, Issued};
use crate::error::HandshakeError;

/// Checks the PEM from a request's status against the wish, at `now`.
///
/// # Errors
/// [`HandshakeError::CsrFailed`] when it is unreadable or for another key or subject;
/// [`HandshakeError::ClockSkew`] when its validity does not cover `now`.
pub fn check_certificate(
    wish: &CertificateWish,
    csr_name: &str,
    pem: &[u8],
    now: Timestamp,
) -> Result<Issued, HandshakeError> {
    let failed = |message: String| HandshakeError::CsrFailed {
        name: csr_name.to_owned(),
        message,
    };
    let chain = CertificateBundle::from_pem(pem)
        .map_err(|error| failed(format!("the issued certificate cannot be read: {error}")))?;
    let Some(leaf) = chain.certificates().first() else {
        return Err(failed("the signer issued no certificate".to_owned()));
    };
    if leaf.spki_der() != wish.csr.public_key().spki_der() {
        return Err(failed(
            "the issued certificate is for another key".to_owned(),
        ));
    }
    if leaf.subject() != wish.csr.subject() {
        return Err(failed(format!(
            "the issued certificate is for {:?} in {:?}, not for {:?} in {:?}",
            leaf.subject().common_name,
            leaf.subject().organizations,
            wish.csr.subject().common_name,
            wish.csr.subject().organizations,
        )));
    }
    let (not_before, not_after) = (leaf.not_before(), leaf.not_after());
    if !leaf.is_valid_at(now) {
        return Err(HandshakeError::ClockSkew {
            what: "the certificate that was just issued".to_owned(),
            local: now,
            server: None,
            not_before,
            not_after,
        });
    }
    Ok(Issued {
        csr_name: csr_name.to_owned(),
        not_before,
        not_after,
        chain,
    })
}
