//! Tokens without an end: those in Secrets of the type `kubernetes.io/service-account-token`. Such a token is good
//! for as long as its Secret holds it and its account is the same.
//!
//! Refuses to know: who makes the Secrets, and the tokens of this issuer's own name, which do end.

use muster_identity::Secret;
use muster_machinery::meta;
use serde_json::{Value, json};

use super::{GROUP, ObjectIdentity, TokenIssuer, user_name};
use crate::{
    authn::signing_key::SigningKeyError,
    request::{ObjectReader, UserInfo},
};

/// The issuer of such tokens, in every cluster.
pub(super) const ISSUER: &str = "kubernetes/serviceaccount";
/// The label by which an administrator (or a cleaner) takes such a token out of use.
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

const NAMESPACE: &str = "kubernetes.io/serviceaccount/namespace";
const SECRET: &str = "kubernetes.io/serviceaccount/secret.name";
const ACCOUNT: &str = "kubernetes.io/serviceaccount/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/serviceaccount/service-account.uid";

/// What such a token is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyGrant {
    /// The namespace of account and Secret.
    pub namespace: String,
    /// The account.
    pub account: ObjectIdentity,
    /// The name of the Secret that the token will be kept in.
    pub secret: String,
}

impl TokenIssuer {
    /// Signs a token without an end. It is good once the Secret that it names holds it.
    ///
    /// # Errors
    /// [`SigningKeyError`] when the crypto library fails.
    pub fn mint_legacy(&self, grant: &LegacyGrant) -> Result<Secret<String>, SigningKeyError> {
        self.signed(&json!({
            "iss": ISSUER,
            "sub": user_name(&grant.namespace, &grant.account.name),
            NAMESPACE: grant.namespace,
            SECRET: grant.secret,
            ACCOUNT: grant.account.name,
            ACCOUNT_UID: grant.account.uid,
        }))
    }
}

/// Whether verified claims are those of such a token.
pub(super) fn is_one(claims: &Value) -> bool {
    meta::str_at(claims, &["iss"]) == Some(ISSUER)
}

/// The user behind verified claims, if the Secret still holds the token and the account still lives.
pub(super) fn living_user(
    claims: &Value,
    token: &Secret<String>,
    reader: &dyn ObjectReader,
) -> Result<UserInfo, String> {
    let claim = |name: &str| {
        meta::str_at(claims, &[name])
            .filter(|value| !value.is_empty())
            .ok_or_else(|| format!("the claim {name} is missing"))
    };
    let (namespace, secret) = (claim(NAMESPACE)?, claim(SECRET)?);
    let (account, uid) = (claim(ACCOUNT)?, claim(ACCOUNT_UID)?);
    if claim("sub")? != user_name(namespace, account) {
        return Err("its subject is not its service account".to_owned());
    }
    let stored = reader
        .get("", "secrets", Some(namespace), secret)
        .filter(|stored| !meta::is_being_deleted(stored))
        .ok_or("its Secret is gone")?;
    let held = Secret::new(held_token(&stored).unwrap_or_default());
    if !held.matches(token.expose().as_bytes()) {
        return Err("its Secret holds another one".to_owned());
    }
    let found = reader
        .get("", "serviceaccounts", Some(namespace), account)
        .filter(|found| !meta::is_being_deleted(found))
        .ok_or("its service account is gone")?;
    if meta::uid(&found) != uid {
        return Err("its service account is another one now".to_owned());
    }
    if meta::label(&stored, INVALID_SINCE).is_some_and(|since| !since.is_empty()) {
        return Err(format!("its Secret is labelled {INVALID_SINCE}"));
    }
    let mut user = UserInfo::new(
        user_name(namespace, account),
        [GROUP, &format!("{GROUP}:{namespace}")],
    );
    user.uid = uid.to_owned();
    Ok(user)
}

fn held_token(secret: &Value) -> Option<String> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let encoded = meta::str_at(secret, &["data", "token"])?;
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}
