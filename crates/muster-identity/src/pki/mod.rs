//! Keys, certificates, requests and the authority that signs them (X.509, RFC 5280; PKCS #10, RFC 2986).
//!
//! It refuses to know files, clocks and the API; and it copies no extension out of a request.

mod authority;
mod certificate;
mod csr;
mod key;
mod key_der;
pub mod pem;
mod public_key;
mod signer;
mod subject;
mod usage;
mod x509_signing;

pub use authority::{
    AuthorityError, BACKDATE, CLUSTER_CA_NAME, CertificateAuthority, IssueRequest, Validity,
};
pub use certificate::{Certificate, CertificateBundle, CertificateError};
pub use csr::{Csr, CsrError};
pub use key::{KeyError, PrivateKey};
pub use pem::{PemBlock, PemError};
pub use public_key::{KeyKind, PublicKey};
pub use signer::{
    MAX_CERTIFICATE_LIFE, MIN_EXPIRATION_SECONDS, NodeRequest, SignerName, SignerRefusal,
    SigningOrder, node_request,
};
pub use subject::{Subject, SubjectAltNames, SubjectAttribute};
pub use usage::{UnknownUsage, Usage};
