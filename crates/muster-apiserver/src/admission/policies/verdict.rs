//! What one policy says of one request with one parameter (`validator.Validate` upstream).
//!
//! Refuses to know: bindings, and what follows from it.

use muster_machinery::{
    cel::{Session, Val},
    policy::BUDGET,
};
use serde_json::Value;

use super::{
    super::expressions::{Facts, OUT_OF_BUDGET, Worked},
    configuration::{Policy, Validation},
};

/// The longest message that an expression makes, in bytes (`MaxEvaluatedMessageExpressionSizeBytes`).
const MAX_MESSAGE: usize = 5 * 1024;

/// What became of one demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It is met, or nobody minds.
    Admitted,
    /// It is not.
    Denied {
        message: String,
        reason: &'static str,
    },
}

/// All that a policy says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// One for each demand, in order.
    pub(super) findings: Vec<Finding>,
    /// Remarks for the audit log.
    pub(super) remarks: Vec<(String, String)>,
    /// Why remarks could not be made.
    pub(super) failed_remarks: Vec<String>,
}

/// Lets a policy judge. `params` is none where the policy has no parameters, null where nobody names one.
pub(super) fn of(policy: &Policy, facts: &Facts, params: Option<&Value>) -> Verdict {
    let failed = |message: String| match policy.ignores_failure {
        true => Finding::Admitted,
        false => Finding::Denied {
            message,
            reason: "Invalid",
        },
    };
    let only = |finding: Finding| Verdict {
        findings: vec![finding],
        ..Verdict::default()
    };
    let composed = match &policy.variables {
        Ok(composed) => composed,
        Err(why) => return only(failed(format!("compilation error: {why}"))),
    };
    match policy.conditions.hold(facts, params) {
        Ok(true) => {}
        Ok(false) => return Verdict::default(),
        Err(why) => return only(failed(why)),
    }
    let mut verdict = Verdict::default();
    let mut session = facts.session(params, composed);
    let mut budget = BUDGET;
    for validation in &policy.validations {
        let finding = match validation.demand.run(&mut session, &mut budget) {
            Worked::Gives(Val::Bool(true)) => Finding::Admitted,
            Worked::Gives(_) => match message(validation, &mut session, &mut budget) {
                Some(message) => Finding::Denied {
                    message,
                    reason: validation.reason,
                },
                None => failed(format!("failed messageExpression: {OUT_OF_BUDGET}")),
            },
            Worked::Failed(why) => failed(why),
            Worked::Spent => return only(failed(OUT_OF_BUDGET.to_owned())),
        };
        verdict.findings.push(finding);
    }
    let mut budget = BUDGET;
    for (key, expression) in &policy.remarks {
        let why = match expression.run(&mut session, &mut budget) {
            Worked::Gives(Val::Text(text)) => {
                let text = text.trim();
                if !text.is_empty() {
                    verdict.remarks.push((key.clone(), text.to_owned()));
                }
                continue;
            }
            Worked::Gives(Val::Null) => continue,
            Worked::Gives(_) => format!(
                "valueExpression '{}' resulted in unsupported return type. Return type must be either string or null.",
                expression.text
            ),
            Worked::Failed(_) if policy.ignores_failure => continue,
            Worked::Failed(why) => why,
            Worked::Spent => return only(failed(OUT_OF_BUDGET.to_owned())),
        };
        verdict.failed_remarks.push(why);
    }
    verdict
}

/// What is said of a demand that is not met; nothing where the budget is spent.
fn message<'a>(
    validation: &'a Validation,
    session: &mut Session<'a>,
    budget: &mut u64,
) -> Option<String> {
    let made = match &validation.message_expression {
        None => None,
        Some(expression) => match expression.run(session, budget) {
            Worked::Gives(Val::Text(text)) => Some(text.trim().to_owned()),
            Worked::Gives(_) | Worked::Failed(_) => None,
            Worked::Spent => return None,
        },
    };
    let made =
        made.filter(|text| !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n'));
    Some(made.unwrap_or_else(|| match validation.message.as_str() {
        "" => format!("failed expression: {}", validation.demand.text.trim()),
        message => message.to_owned(),
    }))
}
