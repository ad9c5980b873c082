//! The public CAs that this machine trusts, from where Go looks for them on Linux.
//!
//! Read only where nobody gave a CA: a discovery file over https, or one without a CA of its own.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor};

/// Bundles, the first that is there counts (`crypto/x509/root_linux.go`).
pub const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Largest bundle that is read, in bytes.
const LARGEST_BUNDLE: u64 = 8 * 1024 * 1024;

/// The trust anchors of `$SSL_CERT_FILE`, else of the first bundle that is there. What cannot serve as one is left out.
pub(crate) fn anchors() -> Vec<TrustAnchor<'static>> {
    let named = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty());
    let places = match named {
        Some(path) => vec![PathBuf::from(path)],
        None => SYSTEM_BUNDLES.iter().map(PathBuf::from).collect(),
    };
    places
        .iter()
        .find_map(|path| read(path))
        .map(|pem| of_pem(&pem))
        .unwrap_or_default()
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(LARGEST_BUNDLE).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn of_pem(pem: &[u8]) -> Vec<TrustAnchor<'static>> {
    CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .filter_map(|der| {
            webpki::anchor_from_trusted_cert(&der)
                .ok()
                .map(|anchor| anchor.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_left_out() {
        let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\nnothing";
        assert!(of_pem(garbage).is_empty());
        assert!(of_pem(b"").is_empty());
    }
}
