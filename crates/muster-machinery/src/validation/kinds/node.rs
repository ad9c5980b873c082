//! Nodes and leases.

use std::net::IpAddr;

use serde_json::Value;

use super::{FieldError, at};
use crate::meta;
use crate::validation::names::{label_key_problems, label_value_problems};

pub(super) fn node(node: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    taints(node, errors);
    pod_cidrs(node, errors);
    let Some(old) = old else { return };
    set_once(
        node,
        old,
        "podCIDR",
        "node updates may not change podCIDR except from \"\" to valid",
        errors,
    );
    set_once(
        node,
        old,
        "podCIDRs",
        "node updates may not change podCIDR except from \"\" to valid",
        errors,
    );
    set_once(
        node,
        old,
        "providerID",
        "node updates may not change providerID except from \"\" to valid",
        errors,
    );
}

fn set_once(node: &Value, old: &Value, field: &str, detail: &str, errors: &mut Vec<FieldError>) {
    let (new, old) = (at(node, &["spec", field]), at(old, &["spec", field]));
    let unset = super::is_empty(old) || old.as_str() == Some("");
    if !unset && new != old {
        errors.push(FieldError::forbidden(format!("spec.{field}"), detail));
    }
}

fn taints(node: &Value, errors: &mut Vec<FieldError>) {
    let mut seen = Vec::new();
    for (i, taint) in meta::items(node, &["spec", "taints"]).iter().enumerate() {
        let path = format!("spec.taints[{i}]");
        let field = |key| meta::str_at(taint, &[key]).unwrap_or("");
        for problem in label_key_problems(field("key")) {
            errors.push(FieldError::invalid(
                format!("{path}.key"),
                field("key").into(),
                problem,
            ));
        }
        for problem in label_value_problems(field("value")) {
            errors.push(FieldError::invalid(
                format!("{path}.value"),
                field("value").into(),
                problem,
            ));
        }
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        match field("effect") {
            "" => errors.push(FieldError::required(format!("{path}.effect"), "")),
            effect if !effects.contains(&effect) => errors.push(FieldError::not_supported(
                format!("{path}.effect"),
                effect.into(),
                &effects,
            )),
            effect => {
                let pair = (field("key"), effect);
                if seen.contains(&pair) {
                    let mut error = FieldError::duplicate(path, taint.clone());
                    error.detail = "taints must be unique by key and effect pair".into();
                    errors.push(error);
                }
                seen.push(pair);
            }
        }
    }
}

fn pod_cidrs(node: &Value, errors: &mut Vec<FieldError>) {
    for (i, cidr) in meta::items(node, &["spec", "podCIDRs"]).iter().enumerate() {
        let text = cidr.as_str().unwrap_or("");
        if !is_cidr(text) {
            let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.push(FieldError::invalid(
                format!("spec.podCIDRs[{i}]"),
                text.into(),
                detail,
            ));
        }
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((ip, bits)) = text.split_once('/') else {
        return false;
    };
    let bits = bits.parse::<u8>().ok();
    match ip.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => bits.is_some_and(|bits| bits <= 32),
        Ok(IpAddr::V6(_)) => bits.is_some_and(|bits| bits <= 128),
        Err(_) => false,
    }
}

pub(super) fn lease(lease: &Value, errors: &mut Vec<FieldError>) {
    if let Some(seconds) = at(lease, &["spec", "leaseDurationSeconds"]).as_i64()
        && seconds <= 0
    {
        let field = "spec.leaseDurationSeconds";
        errors.push(FieldError::invalid(
            field,
            seconds.into(),
            "must be greater than 0",
        ));
    }
    if let Some(transitions) = at(lease, &["spec", "leaseTransitions"]).as_i64()
        && transitions < 0
    {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(
            "spec.leaseTransitions",
            transitions.into(),
            detail,
        ));
    }
}
