//! Service-account tokens: minting them for a `TokenRequest`, verifying them, and the documents by which
//! others can verify them (OpenID Connect discovery, JSON Web Key Set).
//!
//! Refuses to know: who may ask for a token. A token is good only while the account it speaks for, and the
//! pod, node or Secret it is bound to, are still the same objects. Tokens without an end live in a Secret and with
//! it (`legacy`).

use jiff::{SignedDuration, Timestamp};
use muster_identity::Secret;
use muster_machinery::meta;
use serde_json::{Value, json};

use super::{
    AuthenticationConfig, Unauthenticated,
    certificate::CREDENTIAL_ID,
    jwt,
    signing_key::{SigningKey, SigningKeyError, VerificationKey},
};
use crate::{
    entropy::random_uuid,
    request::{ObjectReader, UserInfo},
};

mod answer;
mod legacy;

pub use legacy::LegacyGrant;

/// The group of all service accounts.
pub const GROUP: &str = "system:serviceaccounts";
const USER_PREFIX: &str = "system:serviceaccount:";
const PRIVATE_CLAIMS: &str = "kubernetes.io";
/// Objects that are being deleted are honoured this much longer, so that a pod can finish with its token.
const DELETION_GRACE: SignedDuration = SignedDuration::from_secs(60);

/// The user name of a service account.
pub fn user_name(namespace: &str, name: &str) -> String {
    format!("{USER_PREFIX}{namespace}:{name}")
}

/// Namespace and name of the service account that a user is, if it is one.
pub fn of_user_name(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(USER_PREFIX)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

/// An object named in a token, with the uid that keeps a successor of the same name from inheriting it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectIdentity {
    /// The object's name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// What a token is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenGrant {
    /// The namespace of the account, and of what the token is bound to.
    pub namespace: String,
    /// The account.
    pub account: ObjectIdentity,
    /// Whom the token is for; empty means this API server.
    pub audiences: Vec<String>,
    /// How long it lives.
    pub life: SignedDuration,
    /// After how long a client that still uses it should have fetched another one.
    pub warn_after: Option<SignedDuration>,
    /// What it is bound to.
    pub bound: Option<Bound>,
}

/// What a token dies with, beside its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A pod, and for information the node it runs on.
    Pod {
        /// The pod.
        pod: ObjectIdentity,
        /// Its node, if it has one.
        node: Option<ObjectIdentity>,
    },
    /// A node.
    Node(ObjectIdentity),
    /// A Secret.
    Secret(ObjectIdentity),
}

/// Signs and verifies the tokens of one cluster.
#[derive(Clone, Debug)]
pub struct TokenIssuer {
    issuer: String,
    audiences: Vec<String>,
    key: SigningKey,
    /// Every key whose tokens are believed; our own is the first.
    believed: Vec<VerificationKey>,
}

impl TokenIssuer {
    pub(super) fn new(config: AuthenticationConfig) -> Self {
        let mut audiences = vec![config.issuer.clone()];
        audiences.extend(config.further_audiences);
        let mut believed = vec![config.service_account_key.public().clone()];
        believed.extend(config.further_keys);
        Self {
            issuer: config.issuer,
            audiences,
            key: config.service_account_key,
            believed,
        }
    }

    /// The audiences that mean this API server; the first is the issuer.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// Signs a token.
    ///
    /// # Errors
    /// [`SigningKeyError`] when the crypto library fails.
    pub fn mint(
        &self,
        grant: &TokenGrant,
        now: Timestamp,
    ) -> Result<Secret<String>, SigningKeyError> {
        let identity = |of: &ObjectIdentity| {
            if of.uid.is_empty() {
                return json!({"name": of.name});
            }
            json!({"name": of.name, "uid": of.uid})
        };
        let mut private = json!({
            "namespace": grant.namespace,
            "serviceaccount": identity(&grant.account),
        });
        match &grant.bound {
            None => {}
            Some(Bound::Pod { pod, node }) => {
                private["pod"] = identity(pod);
                if let Some(node) = node {
                    private["node"] = identity(node);
                }
            }
            Some(Bound::Node(node)) => private["node"] = identity(node),
            Some(Bound::Secret(secret)) => private["secret"] = identity(secret),
        }
        let audiences = if grant.audiences.is_empty() {
            &self.audiences
        } else {
            &grant.audiences
        };
        let issued = now.as_second();
        if let Some(after) = grant.warn_after {
            private["warnafter"] = issued.saturating_add(after.as_secs()).into();
        }
        let claims = json!({
            "iss": self.issuer,
            "sub": user_name(&grant.namespace, &grant.account.name),
            "aud": audiences,
            "iat": issued,
            "nbf": issued,
            "exp": issued.saturating_add(grant.life.as_secs()),
            "jti": random_uuid(),
            PRIVATE_CLAIMS: private,
        });
        self.signed(&claims)
    }

    fn signed(&self, claims: &Value) -> Result<Secret<String>, SigningKeyError> {
        let public = self.key.public();
        let header = json!({"alg": public.algorithm(), "kid": public.id()});
        jwt::write(&header, claims, |bytes| self.key.sign(bytes)).map(Secret::new)
    }

    /// Whose token this is, and for which of the wanted audiences it is good.
    pub(super) fn verify(
        &self,
        token: &Secret<String>,
        wanted: &[String],
        reader: &dyn ObjectReader,
        now: Timestamp,
    ) -> Result<(UserInfo, Vec<String>), Unauthenticated> {
        let refused = |detail: String| Unauthenticated::ServiceAccountToken { detail };
        let claims = self
            .verified_claims(token.expose())
            .map_err(|detail| refused(detail.to_owned()))?;
        if legacy::is_one(&claims) {
            let good_for = self.own_among(wanted).map_err(refused)?;
            let user = legacy::living_user(&claims, token, reader).map_err(refused)?;
            return Ok((user, good_for));
        }
        check_times(&claims, now).map_err(|detail| refused(detail.to_owned()))?;
        let audiences = audiences_of(&claims);
        let good_for: Vec<String> = wanted
            .iter()
            .filter(|wanted| audiences.contains(&wanted.as_str()))
            .cloned()
            .collect();
        if good_for.is_empty() {
            return Err(refused("it is for other audiences".to_owned()));
        }
        let user = living_user(&claims, reader, now).map_err(refused)?;
        Ok((user, good_for))
    }

    fn verified_claims(&self, token: &str) -> Result<Value, &'static str> {
        let parts = jwt::parse(token).ok_or("it is malformed")?;
        let header = |field| meta::str_at(&parts.header, &[field]);
        if parts.header.get("crit").is_some() {
            return Err("it demands extensions");
        }
        let issuer = meta::str_at(&parts.claims, &["iss"]).unwrap_or_default();
        if issuer != self.issuer && issuer != legacy::ISSUER {
            return Err("it is of another issuer");
        }
        // A token without the id of its key may be of any; the algorithm is the key's, whatever the header says, and a
        // header that differs is refused.
        let id = header("kid").filter(|id| !id.is_empty());
        let mut fitting = self
            .believed
            .iter()
            .filter(|key| id.is_none_or(|id| id == key.id()))
            .filter(|key| header("alg") == Some(key.algorithm()))
            .peekable();
        if fitting.peek().is_none() {
            return Err("it is signed by another key");
        }
        if !fitting.any(|key| key.verifies(parts.signed, &parts.signature)) {
            return Err("its signature does not verify");
        }
        Ok(parts.claims)
    }

    /// Those of the wanted audiences that mean this server.
    fn own_among(&self, wanted: &[String]) -> Result<Vec<String>, String> {
        let own: Vec<String> = wanted
            .iter()
            .filter(|wanted| self.audiences.contains(wanted))
            .cloned()
            .collect();
        if own.is_empty() {
            return Err("it is for other audiences".to_owned());
        }
        Ok(own)
    }

    /// The OpenID Connect discovery document (`/.well-known/openid-configuration`). `server` is the URL
    /// under which the keys can be fetched, without a closing slash.
    pub fn discovery_document(&self, server: &str) -> Value {
        let mut algorithms: Vec<&str> = self.believed.iter().map(|key| key.algorithm()).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        json!({
            "issuer": self.issuer,
            "jwks_uri": format!("{server}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
        })
    }

    /// The JSON Web Key Set (`/openid/v1/jwks`, media type `application/jwk-set+json`).
    pub fn key_set(&self) -> Value {
        let keys = self.believed.iter().map(VerificationKey::json_web_key);
        json!({"keys": keys.collect::<Vec<_>>()})
    }
}

/// A token of this issuer has an end.
fn check_times(claims: &Value, now: Timestamp) -> Result<(), &'static str> {
    let second = |claim| claims.get(claim).and_then(Value::as_i64);
    let expires = second("exp").ok_or("it has no end")?;
    if now.as_second() >= expires {
        return Err("it has expired");
    }
    if second("nbf").is_some_and(|start| now.as_second() < start) {
        return Err("it is not valid yet");
    }
    Ok(())
}

fn audiences_of(claims: &Value) -> Vec<&str> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The user behind verified claims, if everything the token names still lives.
fn living_user(
    claims: &Value,
    reader: &dyn ObjectReader,
    now: Timestamp,
) -> Result<UserInfo, String> {
    let namespace = meta::str_at(claims, &[PRIVATE_CLAIMS, "namespace"]).unwrap_or_default();
    let named = |kind: &str| -> Option<ObjectIdentity> {
        let text = |field| meta::str_at(claims, &[PRIVATE_CLAIMS, kind, field]).map(str::to_owned);
        Some(ObjectIdentity {
            name: text("name")?,
            // The node of a pod is named even where there is no Node object yet. An object without a uid is never
            // equal to a stored one.
            uid: text("uid").unwrap_or_default(),
        })
    };
    let account = named("serviceaccount").ok_or("it names no service account")?;
    if meta::str_at(claims, &["sub"]) != Some(user_name(namespace, &account.name).as_str()) {
        return Err("its subject is not its service account".to_owned());
    }
    let view = Living { reader, now };
    view.check("serviceaccounts", Some(namespace), &account)?;
    let (pod, node) = (named("pod"), named("node"));
    if let Some(pod) = &pod {
        view.check("pods", Some(namespace), pod)?;
    } else if let Some(node) = &node {
        view.check("nodes", None, node)?;
    }
    if let Some(secret) = &named("secret") {
        view.check("secrets", Some(namespace), secret)?;
    }

    let mut user = UserInfo::new(
        user_name(namespace, &account.name),
        [GROUP, &format!("{GROUP}:{namespace}")],
    );
    user.uid = account.uid;
    let mut tell = |key: &str, value: String| {
        user.extra
            .insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
    };
    for (kind, object) in [("pod", pod), ("node", node)] {
        if let Some(object) = object {
            tell(&format!("{kind}-name"), object.name);
            if !object.uid.is_empty() {
                tell(&format!("{kind}-uid"), object.uid);
            }
        }
    }
    if let Some(id) = meta::str_at(claims, &["jti"]) {
        user.extra
            .insert(CREDENTIAL_ID.to_owned(), vec![format!("JTI={id}")]);
    }
    Ok(user)
}

struct Living<'a> {
    reader: &'a dyn ObjectReader,
    now: Timestamp,
}

impl Living<'_> {
    fn check(
        &self,
        resource: &str,
        namespace: Option<&str>,
        wanted: &ObjectIdentity,
    ) -> Result<(), String> {
        let gone = |why: &str| Err(format!("{resource} {:?} {why}", wanted.name));
        let Some(object) = self.reader.get("", resource, namespace, &wanted.name) else {
            return gone("is gone");
        };
        if wanted.uid.is_empty() || meta::uid(&object) != wanted.uid {
            return gone("is another one now");
        }
        let cut_off = self.now.checked_sub(DELETION_GRACE).unwrap_or(self.now);
        if meta::deletion_timestamp(&object).is_some_and(|deleted| deleted < cut_off) {
            return gone("is being deleted");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
