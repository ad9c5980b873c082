//! The constructors of failures, each with the message text of kube-apiserver.

use super::{Cause, Details, FieldError, GroupResource, Reason, Status, details};
use crate::go_quote::quoted;

/// The reason text of an update that lost a race.
pub const OBJECT_MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// The texts for a list at a compacted revision: without a token, and with one that is too old.
const LIST_EXPIRED: &str = "The resourceVersion for the provided list is too old.";
const INCONSISTENT_CONTINUE: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// Who wanted to do what: the input of [`Status::forbidden`].
#[derive(Debug, Clone, Copy, Default)]
pub struct AccessAttributes<'a> {
    /// User name.
    pub user: &'a str,
    /// Verb, such as `get`.
    pub verb: &'a str,
    /// API group; empty for core.
    pub group: &'a str,
    /// Plural resource; empty for a path outside the resource tree.
    pub resource: &'a str,
    /// Subresource, or empty.
    pub subresource: &'a str,
    /// Namespace, or empty for the whole cluster.
    pub namespace: &'a str,
    /// Object name, or empty.
    pub name: &'a str,
    /// Request path; used when there is no resource.
    pub path: &'a str,
}

impl AccessAttributes<'_> {
    /// The sentence `User "u" cannot get resource "nodes" in API group "" at the cluster scope`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self {
            user,
            verb,
            group,
            resource,
            subresource,
            namespace,
            path,
            ..
        } = *self;
        let user = quoted(user);
        if resource.is_empty() {
            return format!("User {user} cannot {verb} path {}", quoted(path));
        }
        let resource = if subresource.is_empty() {
            resource.to_owned()
        } else {
            format!("{resource}/{subresource}")
        };
        let (resource, group) = (quoted(&resource), quoted(group));
        let head = format!("User {user} cannot {verb} resource {resource} in API group {group}");
        if namespace.is_empty() {
            format!("{head} at the cluster scope")
        } else {
            format!("{head} in the namespace {}", quoted(namespace))
        }
    }
}

impl Status {
    /// 404: there is no object of this name.
    #[must_use]
    pub fn not_found(resource: GroupResource<'_>, name: &str) -> Self {
        let message = format!("{resource} {} not found", quoted(name));
        Self::about(Reason::NotFound, message, details(resource, name))
    }

    /// 404: there is no such path or resource at all.
    #[must_use]
    pub fn unknown_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self::about(Reason::NotFound, message, Details::default())
    }

    /// 409: an object of this name exists.
    #[must_use]
    pub fn already_exists(resource: GroupResource<'_>, name: &str) -> Self {
        let message = format!("{resource} {} already exists", quoted(name));
        Self::about(Reason::AlreadyExists, message, details(resource, name))
    }

    /// 409: every name made from `generateName` was taken; the client may try again at once.
    #[must_use]
    pub fn generated_name_exists(resource: GroupResource<'_>, name: &str) -> Self {
        let message = format!(
            "{resource} {} already exists, the server was not able to generate a unique name for the object",
            quoted(name)
        );
        let details = Details {
            retry_after_seconds: 1,
            ..details(resource, name)
        };
        Self::about(Reason::AlreadyExists, message, details)
    }

    /// 409 with the text for a stale resourceVersion.
    #[must_use]
    pub fn conflict(resource: GroupResource<'_>, name: &str) -> Self {
        Self::conflict_because(resource, name, OBJECT_MODIFIED)
    }

    /// 409 with a text of its own, such as
    /// `Precondition failed: UID in precondition: a, UID in object meta: b`.
    #[must_use]
    pub fn conflict_because(resource: GroupResource<'_>, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {resource} {}: {why}",
            quoted(name)
        );
        Self::about(Reason::Conflict, message, details(resource, name))
    }

    /// 409 of a server-side apply against fields of other managers. Each cause names a field and its
    /// manager.
    #[must_use]
    pub fn apply_conflict(causes: Vec<Cause>, message: &str) -> Self {
        Self::about(
            Reason::Conflict,
            message,
            Details {
                causes,
                ..Details::default()
            },
        )
    }

    /// 422: the object does not pass validation. `kind` is the object's kind, not the resource.
    #[must_use]
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = GroupResource::new(group, kind);
        let mut texts: Vec<String> = Vec::new();
        for text in errors.iter().map(ToString::to_string) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let subject = format!("{qualified} {}", quoted(name));
        let message = match texts.as_slice() {
            [] => format!("{subject} is invalid"),
            [one] => format!("{subject} is invalid: {one}"),
            many => format!("{subject} is invalid: [{}]", many.join(", ")),
        };
        let causes = errors.iter().map(Cause::from).collect();
        Self::about(
            Reason::Invalid,
            message,
            Details {
                causes,
                ..details(qualified, name)
            },
        )
    }

    /// 403 by the authorizer. `reason` is the authorizer's own text, empty for none.
    #[must_use]
    pub fn forbidden(attributes: &AccessAttributes<'_>, reason: &str) -> Self {
        let mut why = attributes.sentence();
        if !reason.is_empty() {
            why.push_str(": ");
            why.push_str(reason);
        }
        let resource = GroupResource::new(attributes.group, attributes.resource);
        Self::forbidden_because(resource, attributes.name, &why)
    }

    /// 403 with a text of its own, as admission gives it: `pods "x" is forbidden: why`.
    #[must_use]
    pub fn forbidden_because(resource: GroupResource<'_>, name: &str, why: &str) -> Self {
        let message = match (resource.resource, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{resource} is forbidden: {why}"),
            _ => format!("{resource} {} is forbidden: {why}", quoted(name)),
        };
        let details = match resource.resource {
            "" => Details::default(),
            _ => details(resource, name),
        };
        Self::about(Reason::Forbidden, message, details)
    }

    /// 401 without saying what was wrong with the credentials.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::failure(Reason::Unauthorized, "Unauthorized")
    }

    /// 400.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(Reason::BadRequest, message)
    }

    /// 410: a revision or continue token is too old; list again.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(Reason::Expired, message)
    }

    /// 410 for a list at a compacted revision.
    #[must_use]
    pub fn list_expired() -> Self {
        Self::expired(LIST_EXPIRED)
    }

    /// 410 for the next page of a list whose revision has been compacted. `token` goes on with what is there
    /// at the newest revision.
    #[must_use]
    pub fn continue_expired(token: String) -> Self {
        let mut status = Self::expired(INCONSISTENT_CONTINUE);
        status.metadata.continue_token = token;
        status
    }

    /// 410 for a watch from a compacted revision.
    #[must_use]
    pub fn too_old_resource_version(requested: u64, oldest: u64) -> Self {
        Self::expired(format!("too old resource version: {requested} ({oldest})"))
    }

    /// 504: the client asks for a revision this server has not seen yet; try again in a second.
    #[must_use]
    pub fn too_large_resource_version(requested: u64, current: u64) -> Self {
        let cause = Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            field: String::new(),
        };
        Self::timeout(
            &format!("Too large resource version: {requested}, current: {current}"),
            1,
        )
        .with_cause(cause)
    }

    /// 410: gone for good, with no way to continue.
    #[must_use]
    pub fn gone(message: impl Into<String>) -> Self {
        Self::failure(Reason::Gone, message)
    }

    /// 429. `retry_after` in seconds.
    #[must_use]
    pub fn too_many_requests(message: impl Into<String>, retry_after: u32) -> Self {
        let details = Details {
            retry_after_seconds: retry_after,
            ..Details::default()
        };
        Self::about(Reason::TooManyRequests, message, details)
    }

    /// 405: this resource has no such verb.
    #[must_use]
    pub fn method_not_supported(resource: GroupResource<'_>, verb: &str) -> Self {
        let kind = quoted(&resource.to_string());
        let message = format!("{verb} is not supported on resources of kind {kind}");
        Self::about(Reason::MethodNotAllowed, message, details(resource, ""))
    }

    /// 405 for a path that is no resource.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::about(Reason::MethodNotAllowed, message, Details::default())
    }

    /// 415, naming the media types that can be read.
    #[must_use]
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let accepted = accepted.join(", ");
        Self::failure(
            Reason::UnsupportedMediaType,
            format!(
                "the body of the request was in an unknown format - accepted media types include: {accepted}"
            ),
        )
    }

    /// 406, naming the media types that can be written.
    #[must_use]
    pub fn not_acceptable(offered: &[&str]) -> Self {
        let offered = offered.join(", ");
        Self::failure(
            Reason::NotAcceptable,
            format!("only the following media types are accepted: {offered}"),
        )
    }

    /// 413.
    #[must_use]
    pub fn request_entity_too_large(message: &str) -> Self {
        let message = format!("Request entity too large: {message}");
        Self::failure(Reason::RequestEntityTooLarge, message)
    }

    /// 500: something broke in the server; the text goes to the client.
    #[must_use]
    pub fn internal(why: impl std::fmt::Display) -> Self {
        let cause = Cause {
            reason: String::new(),
            message: why.to_string(),
            field: String::new(),
        };
        Self::about(
            Reason::InternalError,
            format!("Internal error occurred: {why}"),
            Details {
                causes: vec![cause],
                ..Details::default()
            },
        )
    }

    /// 504. `retry_after` in seconds, 0 for none.
    #[must_use]
    pub fn timeout(why: &str, retry_after: u32) -> Self {
        let details = Details {
            retry_after_seconds: retry_after,
            ..Details::default()
        };
        Self::about(Reason::Timeout, format!("Timeout: {why}"), details)
    }

    /// 500 with reason `ServerTimeout`: the operation should be tried again after some seconds.
    #[must_use]
    pub fn server_timeout(resource: GroupResource<'_>, operation: &str, retry_after: u32) -> Self {
        let message = format!(
            "The {operation} operation against {resource} could not be completed at this time, please try again."
        );
        let details = Details {
            retry_after_seconds: retry_after,
            ..details(resource, operation)
        };
        Self::about(Reason::ServerTimeout, message, details)
    }

    /// 503.
    #[must_use]
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::failure(Reason::ServiceUnavailable, message)
    }

    fn about(reason: Reason, message: impl Into<String>, details: Details) -> Self {
        Self {
            details: Some(details),
            ..Self::failure(reason, message)
        }
    }
}
