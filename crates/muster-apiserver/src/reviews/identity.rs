//! TokenReview and SelfSubjectReview: who a token or the caller is.
//!
//! Refuses to know: rights.

use muster_identity::Secret;
use muster_machinery::{
    meta::{items, str_at},
    status::Status,
};
use serde_json::{Map, Value, json};

use super::ReviewDeps;
use crate::request::UserInfo;

/// A user as `authentication.k8s.io/v1 UserInfo`; empty fields are left out.
fn user_info(user: &UserInfo) -> Value {
    let mut info = Map::new();
    info.insert("username".to_owned(), user.name.clone().into());
    if !user.uid.is_empty() {
        info.insert("uid".to_owned(), user.uid.clone().into());
    }
    if !user.groups.is_empty() {
        info.insert("groups".to_owned(), user.groups.clone().into());
    }
    if !user.extra.is_empty() {
        info.insert("extra".to_owned(), json!(user.extra));
    }
    info.into()
}

pub(super) fn self_subject(user: &UserInfo) -> Value {
    json!({"userInfo": user_info(user)})
}

pub(super) fn token(body: &Value, deps: &ReviewDeps<'_>) -> Result<Value, Box<Status>> {
    let token = str_at(body, &["spec", "token"]).unwrap_or_default();
    if token.is_empty() {
        let why = "token is required for TokenReview in authentication";
        return Err(Box::new(Status::bad_request(why)));
    }
    let wanted = items(body, &["spec", "audiences"]);
    let mut audiences: Vec<String> = wanted
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if audiences.is_empty() {
        audiences = deps.authenticator.issuer().audiences().to_vec();
    }
    let token = Secret::new(token.to_owned());
    let found = deps
        .authenticator
        .authenticate_token(&token, &audiences, deps.now);
    Ok(match found {
        Ok((user, audiences)) => json!({
            "authenticated": true, "user": user_info(&user), "audiences": audiences,
        }),
        // Why it is not good is no business of whoever holds the token.
        Err(_) => json!({"user": {}, "error": "invalid bearer token"}),
    })
}
