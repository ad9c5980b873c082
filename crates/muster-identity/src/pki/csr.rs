//! Certificate signing requests: [`Csr`] (PKCS #10, RFC 2986).
//!
//! It refuses to know who may ask for what. Of a request only subject, alternative names and key are ever
//! used; every other extension is ignored, and a request for a CA is refused at the door.

use const_oid::db::rfc5280::{ID_CE_BASIC_CONSTRAINTS, ID_CE_SUBJECT_ALT_NAME};
use const_oid::db::rfc5912::ID_EXTENSION_REQ;
use der::asn1::BitString;
use der::{Decode as _, Encode as _};
use x509_cert::attr::Attributes;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::ext::{Extension, ToExtension as _};
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq, Version};
use x509_cert::spki::{DynSignatureAlgorithmIdentifier as _, SubjectPublicKeyInfoOwned};

use super::certificate::first_element;
use super::x509_signing::KeySigner;
use super::{KeyError, PemError, PrivateKey, PublicKey, Subject, SubjectAltNames, pem};

const LABEL: &str = "CERTIFICATE REQUEST";
/// The label of old OpenSSL.
const OLD_LABEL: &str = "NEW CERTIFICATE REQUEST";
/// Largest DER request that is looked at, in bytes.
const MAX_DER: usize = 64 * 1024;

/// A certificate signing request whose own signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    der: Vec<u8>,
    subject: Subject,
    sans: SubjectAltNames,
    public_key: PublicKey,
}

/// Why something is not an acceptable request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// The text is not PEM.
    #[error("the request is not PEM")]
    Pem(#[source] PemError),
    /// There is no block `CERTIFICATE REQUEST` in the text, or it is not the only one.
    #[error("a request is exactly one PEM block CERTIFICATE REQUEST")]
    NotOneRequest,
    /// The bytes are no PKCS #10 request.
    #[error("the request is damaged: {detail}")]
    Damaged {
        /// What the decoder says.
        detail: String,
    },
    /// Its key is of no known kind, damaged, or could not sign.
    #[error("the request's key cannot be used")]
    Key(#[source] KeyError),
    /// The requester does not hold the key that it asks a certificate for.
    #[error("the request's signature does not verify")]
    Signature,
    /// The request asks for a CA certificate; none is ever given.
    #[error("the request asks for a CA certificate")]
    AsksForCa,
}

impl Csr {
    /// Builds and signs a request.
    ///
    /// # Errors
    /// [`CsrError::Damaged`] when a name cannot be encoded, [`CsrError::Key`] when the key cannot sign.
    pub fn build(
        key: &PrivateKey,
        subject: &Subject,
        sans: &SubjectAltNames,
    ) -> Result<Self, CsrError> {
        let damaged = |error: der::Error| CsrError::Damaged {
            detail: error.to_string(),
        };
        let info = request_info(key, subject, sans).map_err(damaged)?;
        let signature = key
            .sign(&info.to_der().map_err(damaged)?)
            .map_err(CsrError::Key)?;
        let request = CertReq {
            info,
            algorithm: KeySigner(key)
                .signature_algorithm_identifier()
                .map_err(|_| {
                    CsrError::Key(KeyError::Unsupported {
                        kind: format!("{:?}", key.kind()),
                    })
                })?,
            signature: BitString::from_bytes(&signature).map_err(damaged)?,
        };
        Ok(Self {
            der: request.to_der().map_err(damaged)?,
            subject: subject.clone(),
            sans: sans.clone(),
            public_key: key.public_key().clone(),
        })
    }

    /// Reads a PEM request, exactly one block, and verifies its signature.
    ///
    /// # Errors
    /// [`CsrError`] says what is wrong.
    pub fn from_pem(text: &[u8]) -> Result<Self, CsrError> {
        let blocks = pem::parse(text).map_err(CsrError::Pem)?;
        match blocks.as_slice() {
            [block] if block.label == LABEL || block.label == OLD_LABEL => {
                Self::from_der(block.der.expose())
            }
            _ => Err(CsrError::NotOneRequest),
        }
    }

    /// Reads a DER request and verifies its signature.
    ///
    /// # Errors
    /// [`CsrError`] says what is wrong.
    pub fn from_der(der: &[u8]) -> Result<Self, CsrError> {
        let damaged = |error: der::Error| CsrError::Damaged {
            detail: error.to_string(),
        };
        if der.len() > MAX_DER {
            return Err(CsrError::Damaged {
                detail: format!("{} bytes", der.len()),
            });
        }
        let request = CertReq::from_der(der).map_err(damaged)?;
        let public_key = PublicKey::from_spki(&request.info.public_key).map_err(CsrError::Key)?;
        let signed = first_element(der).map_err(damaged)?;
        let signature = request.signature.as_bytes().ok_or(CsrError::Signature)?;
        match public_key.verify_x509(request.algorithm.oid, signed, signature) {
            Ok(()) => {}
            Err(KeyError::BadSignature) => return Err(CsrError::Signature),
            Err(other) => return Err(CsrError::Key(other)),
        }
        let subject = Subject::from_name(&request.info.subject).map_err(damaged)?;
        let extensions = requested_extensions(&request).map_err(damaged)?;
        if asks_for_ca(&extensions).map_err(damaged)? {
            return Err(CsrError::AsksForCa);
        }
        let sans = requested_names(&extensions).map_err(damaged)?;
        Ok(Self {
            der: der.to_vec(),
            subject,
            sans,
            public_key,
        })
    }

    /// PEM `CERTIFICATE REQUEST`.
    pub fn to_pem(&self) -> String {
        pem::encode(LABEL, &self.der)
    }

    /// The DER bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whom the certificate is asked for.
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The alternative names asked for.
    pub const fn subject_alt_names(&self) -> &SubjectAltNames {
        &self.sans
    }

    /// The key to be certified.
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}

/// What is signed. Without names there is no attribute at all, as in the kubelet's requests.
fn request_info(
    key: &PrivateKey,
    subject: &Subject,
    sans: &SubjectAltNames,
) -> der::Result<CertReqInfo> {
    let subject = subject.to_name()?;
    let mut attributes = Attributes::default();
    if let Some(names) = sans.to_extension()? {
        let extension = names.to_extension(&subject, &[])?;
        attributes.insert(ExtensionReq(vec![extension]).try_into()?)?;
    }
    let public_key = SubjectPublicKeyInfoOwned::from_der(key.public_key().spki_der())?;
    Ok(CertReqInfo {
        version: Version::V1,
        subject,
        public_key,
        attributes,
    })
}

/// All extensions asked for; the same one twice is an error, as in Go.
fn requested_extensions(request: &CertReq) -> der::Result<Vec<Extension>> {
    let mut extensions: Vec<Extension> = Vec::new();
    for attribute in request
        .info
        .attributes
        .iter()
        .filter(|a| a.oid == ID_EXTENSION_REQ)
    {
        for value in attribute.values.iter() {
            extensions.extend(value.decode_as::<Vec<Extension>>()?);
        }
    }
    for (index, extension) in extensions.iter().enumerate() {
        if extensions[..index]
            .iter()
            .any(|earlier| earlier.extn_id == extension.extn_id)
        {
            return Err(der::Tag::Sequence.value_error().into());
        }
    }
    Ok(extensions)
}

fn asks_for_ca(extensions: &[Extension]) -> der::Result<bool> {
    let constraints = extensions
        .iter()
        .find(|e| e.extn_id == ID_CE_BASIC_CONSTRAINTS);
    match constraints {
        Some(e) => Ok(BasicConstraints::from_der(e.extn_value.as_bytes())?.ca),
        None => Ok(false),
    }
}

fn requested_names(extensions: &[Extension]) -> der::Result<SubjectAltNames> {
    match extensions
        .iter()
        .find(|e| e.extn_id == ID_CE_SUBJECT_ALT_NAME)
    {
        Some(e) => {
            SubjectAltNames::from_extension(&SubjectAltName::from_der(e.extn_value.as_bytes())?)
        }
        None => Ok(SubjectAltNames::default()),
    }
}

#[cfg(test)]
mod tests;
