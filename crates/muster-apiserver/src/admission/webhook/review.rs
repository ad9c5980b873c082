//! The question to a webhook and its answer (`admission.k8s.io` `AdmissionReview`, v1 and v1beta1).
//!
//! Refuses to know: how it travels.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use muster_machinery::{
    meta,
    status::{Details, Status},
};
use serde_json::{Map, Value, json};

use super::{
    super::{AdmissionRequest, Judged},
    configuration::Hook,
    matching::Form,
};

/// The most warnings of one answer, and the longest.
const MAX_WARNINGS: usize = 64;

/// What a webhook says.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) allowed: bool,
    /// A JSON patch.
    pub(super) patch: Vec<u8>,
    /// The status of a refusal.
    pub(super) status: Value,
    pub(super) warnings: Vec<String>,
    pub(super) annotations: Vec<(String, String)>,
}

/// The objects of a question, in the form in which the webhook wants them.
pub(in crate::admission) struct Objects<'a> {
    pub(in crate::admission) object: Option<&'a Value>,
    pub(in crate::admission) old: Option<&'a Value>,
}

/// The question.
pub(in crate::admission) fn question(
    request: &AdmissionRequest<'_>,
    form: &Form,
    objects: &Objects<'_>,
    (version, uid): (&str, &str),
) -> Value {
    let asked = Form::asked(request);
    let kind = |(group, version, kind): &(String, String, String)| json!({"group": group, "version": version, "kind": kind});
    let resource = |form: &Form| json!({"group": form.group, "version": form.version, "resource": form.resource});
    let mut body = json!({
        "uid": uid,
        "kind": kind(&form.kind),
        "resource": resource(form),
        "requestKind": kind(&asked.kind),
        "requestResource": resource(&asked),
        "operation": request.operation.as_str(),
        "userInfo": user(request),
        "object": objects.object,
        "oldObject": objects.old,
        "dryRun": request.options.dry_run(),
        "options": request.options.to_value(request.operation),
    });
    let judged = Judged::of(request, objects.object, objects.old);
    let texts = [
        ("subResource", judged.subresource()),
        ("requestSubResource", judged.subresource()),
        ("name", judged.name()),
        ("namespace", judged.namespace()),
    ];
    for (field, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        body[field] = text.into();
    }
    json!({
        "kind": "AdmissionReview",
        "apiVersion": format!("admission.k8s.io/{version}"),
        "request": body,
    })
}

fn user(request: &AdmissionRequest<'_>) -> Value {
    let user = request.user;
    let mut value = Map::new();
    let mut put = |field: &str, content: Value| value.insert(field.to_owned(), content);
    if !user.name.is_empty() {
        put("username", user.name.as_str().into());
    }
    if !user.uid.is_empty() {
        put("uid", user.uid.as_str().into());
    }
    if !user.groups.is_empty() {
        put("groups", json!(user.groups));
    }
    if !user.extra.is_empty() {
        put("extra", json!(user.extra));
    }
    Value::Object(value)
}

/// Reads the answer to the question `uid`.
pub(super) fn verdict(
    answer: &Value,
    version: &str,
    uid: &str,
    may_patch: bool,
) -> Result<Verdict, String> {
    let Some(response) = answer.get("response").filter(|one| one.is_object()) else {
        return Err("webhook response was absent".to_owned());
    };
    let text = |field: &str| meta::str_at(response, &[field]).unwrap_or_default();
    let (patch, patch_type) = (text("patch"), response.get("patchType"));
    let patch_type = patch_type.filter(|one| !one.is_null());
    if version == "v1" {
        if text("uid") != uid {
            return Err(format!(
                "expected response.uid={uid:?}, got {:?}",
                text("uid")
            ));
        }
        let (api_version, kind) = (meta::api_version(answer), meta::kind(answer));
        if (api_version, kind) != ("admission.k8s.io/v1", "AdmissionReview") {
            let got = match api_version.split_once('/') {
                Some((group, version)) => format!("{group}/{version}, Kind={kind}"),
                None => format!("/{api_version}, Kind={kind}"),
            };
            return Err(format!(
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {got}"
            ));
        }
        check_patch(patch, patch_type, may_patch)?;
    }
    let patch = if may_patch { patch } else { "" };
    let patch = STANDARD
        .decode(patch)
        .map_err(|error| format!("illegal base64 data in response.patch: {error}"))?;
    let warnings = meta::items(response, &["warnings"]).iter();
    let warnings = warnings.filter_map(Value::as_str).take(MAX_WARNINGS);
    let annotations = response.get("auditAnnotations").and_then(Value::as_object);
    Ok(Verdict {
        allowed: response.get("allowed") == Some(&Value::Bool(true)),
        patch,
        status: response.get("status").cloned().unwrap_or_default(),
        warnings: warnings.map(str::to_owned).collect(),
        annotations: annotations
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
    })
}

fn check_patch(patch: &str, patch_type: Option<&Value>, may_patch: bool) -> Result<(), String> {
    let refused = match (may_patch, patch.is_empty(), patch_type) {
        (false, false, _) => "validating webhook may not return response.patch".to_owned(),
        (false, true, Some(_)) => "validating webhook may not return response.patchType".to_owned(),
        (true, false, None) => {
            "webhook returned response.patch but not response.patchType".to_owned()
        }
        (true, true, Some(_)) => {
            "webhook returned response.patchType but not response.patch".to_owned()
        }
        (true, false, Some(sort)) if sort != "JSONPatch" => match sort.as_str() {
            Some("") | None => "webhook returned invalid response.patchType of \"\"".to_owned(),
            Some(sort) => format!("unsupported patch type {sort:?}"),
        },
        _ => return Ok(()),
    };
    Err(refused)
}

/// The refusal that a webhook's answer stands for (`ToStatusErr` upstream).
pub(super) fn refusal(hook: &Hook, status: &Value) -> Box<Status> {
    let text = |field: &str| meta::str_at(status, &[field]).unwrap_or_default();
    let denied = format!("admission webhook {:?} denied the request", hook.name);
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let code = status.get("code").and_then(Value::as_u64).unwrap_or(0);
    let code = u16::try_from(code).unwrap_or(u16::MAX).clamp(400, 599);
    let details = status.get("details").and_then(Details::read);
    Box::new(Status::relayed(code, text("reason"), message, details))
}
