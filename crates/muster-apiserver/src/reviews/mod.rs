//! Questions that are answered and not stored: who is this token, may this user, may I, who am I, what may I
//! do. The virtual resources of `authentication.k8s.io/v1` and `authorization.k8s.io/v1`.
//!
//! Refuses to know: whether the caller may ask; that is decided before.

mod access;
mod identity;

use jiff::Timestamp;
use muster_machinery::{gvk::GroupResource, status::Status};
use serde_json::{Map, Value};

use crate::{
    authn::Authenticator,
    authz::Authorizer,
    request::{ResourceRequest, UserInfo},
};

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// What answering needs.
#[derive(Clone, Copy)]
pub struct ReviewDeps<'a> {
    /// Answers about tokens.
    pub authenticator: &'a Authenticator,
    /// Answers about rights.
    pub authorizer: &'a Authorizer,
    /// The time of the request.
    pub now: Timestamp,
}

/// Whether a resource is one of the reviews.
pub fn is_review(group: &str, resource: &str) -> bool {
    match group {
        AUTHENTICATION => matches!(resource, "tokenreviews" | "selfsubjectreviews"),
        AUTHORIZATION => matches!(
            resource,
            "subjectaccessreviews"
                | "localsubjectaccessreviews"
                | "selfsubjectaccessreviews"
                | "selfsubjectrulesreviews"
        ),
        _ => false,
    }
}

/// Answers a posted review: the same object with its status filled in.
///
/// # Errors
/// 400 or 422 for a review that asks nothing or contradicts itself, 404 for a resource that is none.
pub fn review(
    info: &ResourceRequest,
    body: &Value,
    user: &UserInfo,
    deps: &ReviewDeps<'_>,
) -> Result<Value, Box<Status>> {
    let status = match (info.group.as_str(), info.resource.as_str()) {
        (AUTHENTICATION, "selfsubjectreviews") => identity::self_subject(user),
        (AUTHENTICATION, "tokenreviews") => identity::token(body, deps)?,
        (AUTHORIZATION, "selfsubjectaccessreviews") => access::of_self(body, user, deps)?,
        (AUTHORIZATION, "subjectaccessreviews") => access::of_subject(body, deps)?,
        (AUTHORIZATION, "localsubjectaccessreviews") => {
            access::of_subject_in(info.namespace.as_deref(), body, deps)?
        }
        (AUTHORIZATION, "selfsubjectrulesreviews") => access::rules_of_self(body, user, deps)?,
        (group, resource) => {
            return Err(Box::new(Status::not_found(
                GroupResource::new(group, resource),
                "",
            )));
        }
    };
    let mut answer = body.clone();
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("status".to_owned(), status);
        let metadata = answer
            .entry("metadata")
            .or_insert_with(|| Value::Object(Map::new()));
        if metadata.is_null() {
            *metadata = Value::Object(Map::new());
        }
        // What was asked is not repeated in the list of rules (upstream builds that answer anew).
        if info.resource == "selfsubjectrulesreviews" {
            answer.insert("spec".to_owned(), Value::Object(Map::new()));
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests;
