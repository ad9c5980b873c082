//! Certificates, leases, classes and registrations of the cluster itself.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::cell::{age_of, flag, int, name, text, text_or};
use super::column::{self, AGE, Column, NAME, Printer, boolean, integer};
use crate::duration_text::human_duration;
use crate::meta::{at, items, str_at};

const CSR: &[Column] = &[
    NAME,
    AGE,
    column::text(
        "SignerName",
        "signerName indicates the requested signer, and is a qualified name.",
    ),
    column::text(
        "Requestor",
        "username contains the name of the user that created the CertificateSigningRequest.",
    ),
    column::text(
        "RequestedDuration",
        "expirationSeconds is the requested duration of validity of the issued certificate.",
    ),
    column::text(
        "Condition",
        "conditions applied to the request. Known conditions are \"Approved\", \"Denied\", and \"Failed\".",
    ),
];

const LEASE: &[Column] = &[
    NAME,
    column::text(
        "Holder",
        "holderIdentity contains the identity of the holder of a current lease.",
    ),
    AGE,
];

const RUNTIME_CLASS: &[Column] = &[
    NAME,
    column::text(
        "Handler",
        "handler specifies the underlying runtime and configuration that the CRI implementation will use to handle pods of this class.",
    ),
    AGE,
];

const PRIORITY_CLASS: &[Column] = &[
    NAME,
    integer(
        "Value",
        "value represents the integer value of this priority class.",
    ),
    boolean(
        "Global-Default",
        "globalDefault specifies whether this PriorityClass should be considered as the default priority for pods that do not have any priority class.",
    ),
    AGE,
    column::text(
        "PreemptionPolicy",
        "preemptionPolicy is the Policy for preempting pods with lower priority.",
    ),
];

const API_SERVICE: &[Column] = &[
    NAME,
    column::text(
        "Service",
        "The reference to the service that hosts this API endpoint.",
    ),
    column::text("Available", "Whether this service is available."),
    AGE,
];

pub(super) fn printer(kind: &str) -> Option<Printer> {
    Some(match kind {
        "CertificateSigningRequest" => Printer::new(CSR, csr),
        "Lease" => Printer::new(LEASE, |o, now| {
            vec![
                name(o),
                text(o, &["spec", "holderIdentity"]),
                age_of(o, now),
            ]
        }),
        "RuntimeClass" => Printer::new(RUNTIME_CLASS, |o, now| {
            vec![name(o), text(o, &["handler"]), age_of(o, now)]
        }),
        "PriorityClass" => Printer::new(PRIORITY_CLASS, |o, now| {
            vec![
                name(o),
                int(o, &["value"]).into(),
                flag(o, &["globalDefault"], false).into(),
                age_of(o, now),
                text(o, &["preemptionPolicy"]),
            ]
        }),
        "APIService" => Printer::new(API_SERVICE, api_service),
        _ => return None,
    })
}

fn csr(csr: &Value, now: Timestamp) -> Vec<Value> {
    let duration = at(csr, &["spec", "expirationSeconds"])
        .and_then(Value::as_i64)
        .map_or_else(
            || "<none>".into(),
            |s| human_duration(SignedDuration::from_secs(s)),
        );
    vec![
        name(csr),
        age_of(csr, now),
        text_or(csr, &["spec", "signerName"], "<none>"),
        text(csr, &["spec", "username"]),
        duration.into(),
        csr_condition(csr).into(),
    ]
}

/// Denied outranks approved; failure and the certificate are told behind it.
fn csr_condition(csr: &Value) -> String {
    let has = |type_: &str| {
        items(csr, &["status", "conditions"])
            .iter()
            .any(|condition| str_at(condition, &["type"]) == Some(type_))
    };
    let mut text = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        text.push_str(",Failed");
    }
    if str_at(csr, &["status", "certificate"]).is_some_and(|pem| !pem.is_empty()) {
        text.push_str(",Issued");
    }
    text
}

fn api_service(service: &Value, now: Timestamp) -> Vec<Value> {
    let backend = |key| str_at(service, &["spec", "service", key]).unwrap_or("");
    let host = match backend("name") {
        "" => "Local".into(),
        name => format!("{}/{name}", backend("namespace")),
    };
    let available = items(service, &["status", "conditions"])
        .iter()
        .find(|condition| str_at(condition, &["type"]) == Some("Available"));
    let available = match available {
        None => "Unknown".into(),
        Some(condition) => match str_at(condition, &["status"]) {
            Some("True") => "True".into(),
            other => format!(
                "{} ({})",
                other.unwrap_or("Unknown"),
                str_at(condition, &["reason"]).unwrap_or("")
            ),
        },
    };
    vec![
        name(service),
        host.into(),
        available.into(),
        age_of(service, now),
    ]
}
