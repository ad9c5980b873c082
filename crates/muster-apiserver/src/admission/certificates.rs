//! Certificate signing requests: what may be asked for, and who may approve or sign. CertificateApproval,
//! CertificateSigning and CertificateSubjectRestriction, with the checks of a fresh request that need its
//! bytes read.
//!
//! Refuses to know: whether to approve, and how a certificate is made.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use muster_identity::{Csr, CsrError, SignerName, Usage, pki::MIN_EXPIRATION_SECONDS};
use muster_machinery::{
    meta::{self, at, items, str_at},
    status::Status,
    validation::{FieldError, names},
};
use serde_json::{Map, Value};

use super::{Admitted, Judged, Operation};
use crate::{
    authz::{Authorizer, MASTERS},
    request::{ResourceRequest, UserInfo},
};

pub(super) const GROUP: &str = "certificates.k8s.io";
pub(super) const REQUESTS: &str = "certificatesigningrequests";
/// Longest `spec.signerName`: a domain, a slash and a path of 253 characters each, as upstream.
const MAX_SIGNER_NAME: usize = 571;

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

fn fresh(request: &Judged<'_>, object: &Value) -> Admitted {
    let mut errors = Vec::new();
    let csr = parse(object).map_err(|error| {
        let shown = at(object, &["spec", "request"])
            .cloned()
            .unwrap_or_default();
        errors.push(FieldError::invalid(
            "spec.request",
            shown,
            error.to_string(),
        ));
    });
    check_usages(object, &mut errors);
    check_signer(signer_of(object), &mut errors);
    check_life(object, &mut errors);
    if !errors.is_empty() {
        let name = request.name();
        return Err(Box::new(Status::invalid(
            GROUP,
            "CertificateSigningRequest",
            name,
            &errors,
        )));
    }
    let signer = SignerName::parse(signer_of(object));
    let asks_for_masters = |csr: Csr| {
        csr.subject()
            .organizations
            .iter()
            .any(|group| group == MASTERS)
    };
    if signer == SignerName::KubeApiserverClient && csr.is_ok_and(asks_for_masters) {
        return Err(request.forbidden(&format!(
            "use of {} signer with {MASTERS} group is not allowed",
            signer.as_str()
        )));
    }
    Ok(())
}

fn check_usages(object: &Value, errors: &mut Vec<FieldError>) {
    let usages = items(object, &["spec", "usages"]);
    if usages.is_empty() {
        errors.push(FieldError::required("spec.usages", ""));
    }
    for (index, usage) in usages.iter().enumerate() {
        let field = format!("spec.usages[{index}]");
        if usages[..index].contains(usage) {
            errors.push(FieldError::duplicate(field, usage.clone()));
        } else if usage
            .as_str()
            .and_then(|word| Usage::parse(word).ok())
            .is_none()
        {
            errors.push(FieldError::not_supported(field, usage.clone(), &[]));
        }
    }
}

/// A signer is named `DOMAIN/PATH`, the domain of two parts at least.
fn check_signer(signer: &str, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.signerName";
    let mut refuse = |why: &str| errors.push(FieldError::invalid(FIELD, signer.into(), why));
    if signer.is_empty() {
        errors.push(FieldError::required(FIELD, ""));
        return;
    }
    if signer == SignerName::LegacyUnknown.as_str() {
        return refuse("the legacy signerName is not allowed via this API version");
    }
    if signer.len() > MAX_SIGNER_NAME {
        errors.push(FieldError::too_long(FIELD, MAX_SIGNER_NAME));
        return;
    }
    let Some((domain, path)) = signer
        .split_once('/')
        .filter(|(_, path)| !path.contains('/'))
    else {
        return refuse(
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        );
    };
    for problem in names::dns_subdomain_problems(domain) {
        refuse(&format!("validating label {domain:?}: {problem}"));
    }
    if !domain.contains('.') {
        refuse("should be a domain with at least two segments separated by dots");
    }
    for problem in names::dns_subdomain_problems(path) {
        refuse(&format!("validating label {path:?}: {problem}"));
    }
}

fn check_life(object: &Value, errors: &mut Vec<FieldError>) {
    let seconds = at(object, &["spec", "expirationSeconds"]).and_then(Value::as_i64);
    if let Some(seconds) = seconds.filter(|seconds| *seconds < MIN_EXPIRATION_SECONDS) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid(
            "spec.expirationSeconds",
            seconds.into(),
            why,
        ));
    }
}

#[cfg(test)]
mod tests;
