//! Certificate signing requests: the spec never changes, decisions are never taken back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{FieldError, at};
use crate::meta;
use crate::validation::names::{dns_subdomain_problems, path_segment_problems};

/// Shortest validity that can be asked for, in seconds (10 minutes).
const MIN_EXPIRATION: i64 = 600;

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

pub(super) fn signing_request(csr: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    spec(at(csr, &["spec"]), errors);
    conditions(csr, errors);
    let Some(old) = old else { return };
    if at(csr, &["spec"]) != at(old, &["spec"]) {
        let value = at(csr, &["spec"]).clone();
        errors.push(FieldError::immutable("spec", value));
    }
    decisions_stay(csr, old, errors);
    let (new, was) = (certificate(csr), certificate(old));
    if !was.is_empty() && new != was {
        let detail = "updates may not set or modify certificate content once set";
        errors.push(FieldError::forbidden("status.certificate", detail));
    }
}

fn certificate(csr: &Value) -> &str {
    meta::str_at(csr, &["status", "certificate"]).unwrap_or("")
}

fn spec(spec: &Value, errors: &mut Vec<FieldError>) {
    let usages = meta::items(spec, &["usages"]);
    if usages.is_empty() {
        errors.push(FieldError::required(
            "spec.usages",
            "usages must be provided",
        ));
    }
    let mut seen = Vec::new();
    for (i, usage) in usages.iter().enumerate() {
        let text = usage.as_str().unwrap_or("");
        let field = format!("spec.usages[{i}]");
        if !USAGES.contains(&text) {
            errors.push(FieldError::not_supported(field, text.into(), USAGES));
        } else if seen.contains(&text) {
            errors.push(FieldError::duplicate(field, text.into()));
        }
        seen.push(text);
    }
    signer_name(meta::str_at(spec, &["signerName"]).unwrap_or(""), errors);
    if let Some(seconds) = at(spec, &["expirationSeconds"]).as_i64()
        && seconds < MIN_EXPIRATION
    {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid(
            "spec.expirationSeconds",
            seconds.into(),
            detail,
        ));
    }
    request(meta::str_at(spec, &["request"]).unwrap_or(""), errors);
}

/// The request is base64 of PEM; what stands inside is checked by the signers.
fn request(text: &str, errors: &mut Vec<FieldError>) {
    let pem = STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let is_request = pem.is_some_and(|pem| {
        pem.contains("-----BEGIN CERTIFICATE REQUEST-----")
            && pem.contains("-----END CERTIFICATE REQUEST-----")
    });
    if !is_request {
        let detail = "PEM block type must be CERTIFICATE REQUEST";
        errors.push(FieldError::invalid("spec.request", text.into(), detail));
    }
}

/// A signer is `domain/path`, with a domain of at least two labels.
fn signer_name(name: &str, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.signerName";
    let mut refuse = |detail: String| errors.push(FieldError::invalid(FIELD, name.into(), detail));
    let Some((domain, path)) = name.split_once('/') else {
        if name.is_empty() {
            errors.push(FieldError::required(FIELD, ""));
        } else {
            refuse(
                "must be a fully qualified domain and path of the form 'example.com/signer-name'"
                    .into(),
            );
        }
        return;
    };
    if path.is_empty() || path.contains('/') {
        refuse(
            "must be a fully qualified domain and path of the form 'example.com/signer-name'"
                .into(),
        );
    }
    dns_subdomain_problems(domain)
        .into_iter()
        .for_each(&mut refuse);
    if !domain.contains('.') {
        refuse("should be a domain with at least two segments separated by dots".into());
    }
    path_segment_problems(path)
        .into_iter()
        .for_each(&mut refuse);
    if name.len() > 571 {
        errors.push(FieldError::too_long(FIELD, 571));
    }
}

fn types(csr: &Value) -> impl Iterator<Item = &str> {
    meta::items(csr, &["status", "conditions"])
        .iter()
        .filter_map(|c| meta::str_at(c, &["type"]))
}

fn conditions(csr: &Value, errors: &mut Vec<FieldError>) {
    let mut seen = Vec::new();
    for (i, condition) in meta::items(csr, &["status", "conditions"])
        .iter()
        .enumerate()
    {
        let path = format!("status.conditions[{i}]");
        let type_ = meta::str_at(condition, &["type"]).unwrap_or("");
        if type_.is_empty() {
            errors.push(FieldError::required(format!("{path}.type"), ""));
        }
        let status = meta::str_at(condition, &["status"]).unwrap_or("");
        match (type_, status) {
            (_, "") => errors.push(FieldError::required(format!("{path}.status"), "")),
            ("Approved" | "Denied" | "Failed", status) if status != "True" => {
                let field = format!("{path}.status");
                errors.push(FieldError::not_supported(field, status.into(), &["True"]));
            }
            (_, "True" | "False" | "Unknown") => {}
            _ => errors.push(FieldError::not_supported(
                format!("{path}.status"),
                status.into(),
                &["False", "True", "Unknown"],
            )),
        }
        let opposite = match type_ {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if !opposite.is_empty() && seen.contains(&opposite) {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(
                format!("{path}.type"),
                type_.into(),
                detail,
            ));
        }
        if seen.contains(&type_) {
            errors.push(FieldError::duplicate(format!("{path}.type"), type_.into()));
        }
        seen.push(type_);
    }
}

fn decisions_stay(csr: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    for type_ in ["Approved", "Denied", "Failed"] {
        let (now, before) = (
            types(csr).any(|t| t == type_),
            types(old).any(|t| t == type_),
        );
        if before && !now {
            let detail = format!("updates may not remove a condition of type {type_:?}");
            errors.push(FieldError::forbidden("status.conditions", detail));
        }
    }
}

/// On the status subresource verdicts can neither be given nor changed, and a certificate is written once.
pub(super) fn signers_do_not_decide(csr: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "status.conditions";
    for type_ in ["Approved", "Denied"] {
        let of = |csr: &Value| -> Vec<Value> {
            meta::items(csr, &["status", "conditions"])
                .iter()
                .filter(|condition| meta::str_at(condition, &["type"]) == Some(type_))
                .cloned()
                .collect()
        };
        let (now, before) = (of(csr), of(old));
        if now.len() > before.len() {
            let detail = format!("updates may not add a condition of type {type_:?}");
            errors.push(FieldError::forbidden(FIELD, detail));
        } else if now.len() == before.len() && now != before {
            let detail = format!("updates may not modify a condition of type {type_:?}");
            errors.push(FieldError::forbidden(FIELD, detail));
        }
    }
    let before = at(old, &["status", "certificate"]);
    if !super::is_empty(before) && before != "" && before != at(csr, &["status", "certificate"]) {
        errors.push(FieldError::forbidden(
            "status.certificate",
            "updates may not modify existing certificate content",
        ));
    }
}
