//! Bootstrap tokens as bearer tokens: `ID.SECRET`, looked up in the Secret `kube-system/bootstrap-token-ID`.
//!
//! Refuses to know: what such a user may do. A token that ended a moment ago is refused even while its
//! Secret is still there.

use jiff::Timestamp;
use muster_identity::token::{K0S_NODE_TOKEN_GROUP, SECRET_NAMESPACE};
use muster_identity::{BootstrapToken, BootstrapTokenSecret, Secret};
use muster_machinery::meta;

use super::Unauthenticated;
use crate::request::{ObjectReader, UserInfo};

/// The user of a bootstrap token: `system:bootstrap:ID` in `system:bootstrappers` and the token's groups, or that of k0s'
/// tokens where it names none.
pub(super) fn bootstrap_user(
    token: &Secret<String>,
    reader: &dyn ObjectReader,
    now: Timestamp,
) -> Result<UserInfo, Unauthenticated> {
    let shown = BootstrapToken::parse(token.expose()).map_err(|_| Unauthenticated::UnknownToken)?;
    let refused = |detail| Unauthenticated::BootstrapToken {
        id: shown.id().to_string(),
        detail,
    };
    let name = shown.id().secret_name();
    let stored = reader
        .get("", "secrets", Some(SECRET_NAMESPACE), &name)
        .ok_or_else(|| refused("there is no such token"))?;
    let secret = BootstrapTokenSecret::from_object(&stored)
        .map_err(|_| refused("its Secret is not a usable bootstrap token"))?;
    if !secret
        .token
        .secret()
        .matches(shown.secret().expose().as_bytes())
    {
        return Err(refused("the secret half does not match"));
    }
    if meta::is_being_deleted(&stored) {
        return Err(refused("it is being deleted"));
    }
    if secret.is_expired(now) {
        return Err(refused("it has expired"));
    }
    if !secret.usages.authentication {
        return Err(refused("it may not be used for authentication"));
    }
    let mut groups = secret
        .authenticated_groups()
        .map_err(|_| refused("it gives a group that a token may not give"))?;
    if secret.groups.is_empty() {
        groups.push(K0S_NODE_TOKEN_GROUP.to_owned());
    }
    Ok(UserInfo::new(
        shown.id().user_name(),
        groups.iter().map(String::as_str),
    ))
}
