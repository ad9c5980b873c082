//! A certificate that is wanted, as the CertificateSigningRequest that asks for it.
//!
//! Knows the API's words for signers and usages; knows neither the private key nor what the
//! cluster decides.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_identity::{CaPin, Csr, KeyKind, SignerName};
use serde_json::{Value, json};

use super::cluster::decode_request;

/// A certificate that is wanted: what to ask of which signer.
#[derive(Debug, Clone)]
pub struct CertificateWish {
    /// Who shall sign.
    pub signer: SignerName,
    /// The PKCS#10 request, signed with the key that the certificate is for.
    pub csr: Csr,
    /// Key usages in the words of the CertificateSigningRequest API.
    pub usages: Vec<String>,
    /// Wished life in seconds; the signer's own default when absent.
    pub expiration_seconds: Option<u32>,
}

impl CertificateWish {
    /// A node's client certificate, as the kubelet asks for it
    /// (`kubernetes.io/kube-apiserver-client-kubelet`).
    pub fn kubelet_client(csr: Csr) -> Self {
        let usages = usages_for(&csr, "client auth");
        Self {
            signer: SignerName::KubeApiserverClientKubelet,
            csr,
            usages,
            expiration_seconds: None,
        }
    }

    /// A node's serving certificate (`kubernetes.io/kubelet-serving`).
    pub fn kubelet_serving(csr: Csr) -> Self {
        let usages = usages_for(&csr, "server auth");
        Self {
            signer: SignerName::KubeletServing,
            csr,
            usages,
            expiration_seconds: None,
        }
    }

    /// The object to create: named after the key, or by the server when `name` is absent.
    pub(super) fn to_object(&self, name: Option<&str>) -> Value {
        let request = STANDARD.encode(self.csr.to_pem());
        let metadata = match name {
            Some(name) => json!({"name": name}),
            None => json!({"generateName": "node-csr-"}),
        };
        let mut spec = json!({
            "request": request,
            "signerName": self.signer.as_str(),
            "usages": self.usages,
        });
        if let Some(seconds) = self.expiration_seconds {
            spec["expirationSeconds"] = json!(seconds);
        }
        json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": metadata,
            "spec": spec,
        })
    }

    /// Whether a request found in the cluster asks for the same: key, subject, signer, usages and life. Anybody
    /// who may list requests can put our key's PKCS#10 text under our name again, with other words around it.
    pub(super) fn is_asked_by(&self, object: &Value) -> bool {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let usages = spec.get("usages").and_then(Value::as_array);
        let usages: BTreeSet<&str> = usages
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let life = spec.get("expirationSeconds").and_then(Value::as_u64);
        if usages != self.usages.iter().map(String::as_str).collect()
            || life != self.expiration_seconds.map(u64::from)
        {
            return false;
        }
        let found = spec
            .get("request")
            .and_then(Value::as_str)
            .and_then(decode_request)
            .and_then(|pem| Csr::from_pem(&pem).ok());
        spec.get("signerName").and_then(Value::as_str) == Some(self.signer.as_str())
            && found.is_some_and(|found| {
                found.public_key() == self.csr.public_key() && found.subject() == self.csr.subject()
            })
    }
}

/// RSA keys also encipher (kubelet `certificate_bootstrap`); others only sign.
fn usages_for(csr: &Csr, purpose: &str) -> Vec<String> {
    let mut usages = vec!["digital signature".to_owned()];
    if matches!(csr.public_key().kind(), KeyKind::Rsa { .. }) {
        usages.push("key encipherment".to_owned());
    }
    usages.push(purpose.to_owned());
    usages
}

/// The name of the request for a key: `node-csr-` and the SHA-256 of the DER SubjectPublicKeyInfo
/// in hexadecimal digits, which is always a valid object name.
pub fn csr_name(spki_der: &[u8]) -> String {
    format!("node-csr-{}", CaPin::of_spki(spki_der).hex())
}
