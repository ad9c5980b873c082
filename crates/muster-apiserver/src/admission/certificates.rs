//! Certificate signing requests: what may be asked for, and who may approve or sign. CertificateApproval,
//! CertificateSigning and CertificateSubjectRestriction, with the checks of a fresh request that need its
//! bytes read.
//!
//! Refuses to know: whether to approve, and how a certificate is made.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use muster_identity::{Csr, CsrError, SignerName};
use muster_machinery::{
    meta::{self, at, items, str_at},
    status::Status,
    validation::FieldError,
};
use serde_json::{Map, Value};

use super::{Admitted, Judged, Operation};
use crate::{
    authz::{Authorizer, MASTERS},
    request::{ResourceRequest, UserInfo},
};

pub(super) const GROUP: &str = "certificates.k8s.io";
pub(super) const REQUESTS: &str = "certificatesigningrequests";

/// Reads the PKCS #10 request out of the object and verifies its signature.
pub(super) fn parse(object: &Value) -> Result<Csr, CsrError> {
    let encoded = str_at(object, &["spec", "request"]).unwrap_or_default();
    let pem = STANDARD
        .decode(encoded)
        .map_err(|_| CsrError::NotOneRequest)?;
    Csr::from_pem(&pem)
}

/// Writes into a new request who asks: approvers rely on it, so nothing the client says there counts.
pub(super) fn record_requester(object: &mut Value, user: &UserInfo) {
    let extra: Map<String, Value> = user
        .extra
        .iter()
        .map(|(key, values)| (key.clone(), values.clone().into()))
        .collect();
    let Some(spec) = meta::map_mut(object, "spec") else {
        return;
    };
    for field in ["username", "uid", "groups", "extra"] {
        spec.remove(field);
    }
    spec.insert("username".to_owned(), user.name.clone().into());
    if !user.uid.is_empty() {
        spec.insert("uid".to_owned(), user.uid.clone().into());
    }
    if !user.groups.is_empty() {
        spec.insert("groups".to_owned(), user.groups.clone().into());
    }
    if !extra.is_empty() {
        spec.insert("extra".to_owned(), extra.into());
    }
}

pub(super) fn admit(authorizer: &Authorizer, request: &Judged<'_>) -> Admitted {
    let (true, Some(object)) = (request.is_about(GROUP, REQUESTS), request.object) else {
        return Ok(());
    };
    match (request.operation, request.subresource()) {
        (Operation::Create, "") => fresh(request, object),
        (Operation::Update, "approval") => {
            // The stored signer counts: the one in the body could be another.
            let signer = signer_of(request.old.unwrap_or(object));
            permitted(authorizer, request, "approve", signer)
        }
        (Operation::Update, "status") => {
            let old = request.old.unwrap_or(&Value::Null);
            let same = |path: &[&str]| at(old, path) == at(object, path);
            if same(&["status", "certificate"])
                && items(old, &["status", "conditions"]) == items(object, &["status", "conditions"])
            {
                return Ok(());
            }
            permitted(authorizer, request, "sign", signer_of(old))
        }
        _ => Ok(()),
    }
}

fn signer_of(object: &Value) -> &str {
    str_at(object, &["spec", "signerName"]).unwrap_or_default()
}

/// `approve` and `sign` are rights on `signers/NAME` or on all of a domain, `signers/DOMAIN/*`.
fn permitted(authorizer: &Authorizer, request: &Judged<'_>, verb: &str, signer: &str) -> Admitted {
    let domain = signer
        .split_once('/')
        .map(|(domain, _)| format!("{domain}/*"));
    let allowed = std::iter::once(signer.to_owned())
        .chain(domain)
        .any(|name| {
            let right = ResourceRequest {
                group: GROUP.to_owned(),
                version: "*".to_owned(),
                resource: "signers".to_owned(),
                name: Some(name),
                ..ResourceRequest::default()
            };
            request.also_may(authorizer, verb, right).is_allowed()
        });
    if allowed {
        return Ok(());
    }
    Err(request.forbidden(&format!(
        "user not permitted to {verb} requests with signerName {signer:?}"
    )))
}

/// What validation cannot tell of a new request: whether its bytes are one, and what they ask for.
fn fresh(request: &Judged<'_>, object: &Value) -> Admitted {
    let invalid = |error| {
        let name = request.name();
        Box::new(Status::invalid(
            GROUP,
            "CertificateSigningRequest",
            name,
            &[error],
        ))
    };
    let csr = parse(object).map_err(|error| {
        let shown = at(object, &["spec", "request"])
            .cloned()
            .unwrap_or_default();
        let why = match error {
            CsrError::Pem(_) | CsrError::NotOneRequest => {
                "PEM block type must be CERTIFICATE REQUEST".to_owned()
            }
            error => error.to_string(),
        };
        invalid(FieldError::invalid("spec.request", shown, why))
    })?;
    let signer = SignerName::parse(signer_of(object));
    if signer == SignerName::LegacyUnknown {
        let why = "the legacy signerName is not allowed via this API version";
        let error = FieldError::invalid("spec.signerName", signer.as_str().into(), why);
        return Err(invalid(error));
    }
    let organizations = &csr.subject().organizations;
    if signer == SignerName::KubeApiserverClient && organizations.iter().any(|one| one == MASTERS) {
        return Err(request.forbidden(&format!(
            "use of {} signer with {MASTERS} group is not allowed",
            signer.as_str()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
