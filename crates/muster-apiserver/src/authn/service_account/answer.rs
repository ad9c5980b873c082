//! Answers `POST …/serviceaccounts/NAME/token`: from a `TokenRequest` to the same object with a token in
//! its status, by the rules of Kubernetes' token endpoint.
//!
//! Refuses to know: whether the caller may have it; that is decided before.

use jiff::{SignedDuration, Timestamp};
use muster_machinery::{gvk::GroupResource, meta, status::Status, validation::FieldError};
use serde_json::{Value, json};

use super::{Bound, ObjectIdentity, TokenGrant, TokenIssuer};
use crate::request::ObjectReader;

const DEFAULT_SECONDS: i64 = 3_600;
const LEAST_SECONDS: i64 = 600;
const MOST_SECONDS: i64 = 1 << 32;
/// The life that admission writes into the volumes of pods (upstream's `WarnOnlyBoundTokenExpirationSeconds`).
const WARN_ONLY: SignedDuration = SignedDuration::from_secs(3_607);
/// How long such a token is good all the same (upstream's `ExpirationExtensionSeconds`).
const EXTENDED: SignedDuration = SignedDuration::from_hours(24 * 365);

impl TokenIssuer {
    /// Mints the token that `request` asks for on behalf of the service account `namespace/name`.
    ///
    /// # Errors
    /// The status Kubernetes answers with: 404 for an unknown account or pod, 409 for a wrong uid, 422 for a
    /// wrong life, 400 for a binding that is not possible.
    pub fn answer(
        &self,
        reader: &dyn ObjectReader,
        namespace: &str,
        name: &str,
        request: &Value,
        now: Timestamp,
    ) -> Result<Value, Box<Status>> {
        check_names(request, namespace, name)?;
        let account = find(reader, "serviceaccounts", Some(namespace), name)?;
        let wanted_uid = meta::uid(request);
        if !wanted_uid.is_empty() && wanted_uid != meta::uid(&account) {
            let why = format!(
                "the UID in the token request ({wanted_uid}) does not match the UID of the service account ({})",
                meta::uid(&account)
            );
            let resource = GroupResource::new("authentication.k8s.io", "TokenRequest");
            return Err(Box::new(Status::conflict_because(resource, name, &why)));
        }
        let life = life(request)?;
        let bound = bound(reader, namespace, name, request)?;
        let wanted = meta::items(request, &["spec", "audiences"])
            .iter()
            .filter_map(Value::as_str);
        let mut audiences: Vec<String> = wanted.map(str::to_owned).collect();
        if audiences.is_empty() {
            audiences = self.audiences().to_vec();
        }
        // Clients from before bound tokens may not fetch a new one in time: what they mount lives longer than it says.
        let is_own = audiences.iter().all(|one| self.audiences().contains(one));
        let extends = matches!(bound, Some(Bound::Pod { .. })) && life == WARN_ONLY && is_own;
        let grant = TokenGrant {
            namespace: namespace.to_owned(),
            account: ObjectIdentity {
                name: name.to_owned(),
                uid: meta::uid(&account).to_owned(),
            },
            audiences,
            life: if extends { EXTENDED } else { life },
            warn_after: extends.then_some(life),
            bound,
        };
        let token = self.mint(&grant, now).map_err(|error| {
            Box::new(Status::internal(format!(
                "failed to generate token: {error}"
            )))
        })?;
        let expires = now.checked_add(life).unwrap_or(Timestamp::MAX);
        let mut answer = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {
                "name": name, "namespace": namespace, "uid": grant.account.uid,
                "creationTimestamp": meta::format_time(now),
            },
            "spec": {
                "audiences": grant.audiences,
                "expirationSeconds": life.as_secs(),
            },
            "status": {
                "token": token.expose(),
                "expirationTimestamp": meta::format_time(expires),
            },
        });
        answer["spec"]["boundObjectRef"] = reference(request).cloned().unwrap_or(Value::Null);
        Ok(answer)
    }
}

fn find(
    reader: &dyn ObjectReader,
    resource: &str,
    namespace: Option<&str>,
    name: &str,
) -> Result<std::sync::Arc<Value>, Box<Status>> {
    reader
        .get("", resource, namespace, name)
        .ok_or_else(|| Box::new(Status::not_found(GroupResource::new("", resource), name)))
}

/// A body may name its service account, but no other one.
fn check_names(request: &Value, namespace: &str, name: &str) -> Result<(), Box<Status>> {
    let (given_namespace, given_name) = (meta::namespace(request), meta::name(request));
    if !given_namespace.is_empty() && given_namespace != namespace {
        let why =
            "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Box::new(Status::bad_request(why)));
    }
    if !given_name.is_empty() && given_name != name {
        let why = "must match the service account name if specified";
        let error = FieldError::invalid("metadata.name", given_name.into(), why);
        let (group, kind) = ("authentication.k8s.io", "TokenRequest");
        return Err(Box::new(Status::invalid(group, kind, name, &[error])));
    }
    Ok(())
}

fn life(request: &Value) -> Result<SignedDuration, Box<Status>> {
    const FIELD: &str = "spec.expirationSeconds";
    let asked = meta::at(request, &["spec", "expirationSeconds"]).and_then(Value::as_i64);
    let seconds = asked.unwrap_or(DEFAULT_SECONDS);
    let refuse = |why: &str| {
        let error = FieldError::invalid(FIELD, seconds.into(), why);
        let (group, kind) = ("authentication.k8s.io", "TokenRequest");
        Err(Box::new(Status::invalid(group, kind, "", &[error])))
    };
    if seconds < LEAST_SECONDS {
        return refuse("may not specify a duration less than 10 minutes");
    }
    if seconds > MOST_SECONDS {
        return refuse("may not specify a duration larger than 2^32 seconds");
    }
    Ok(SignedDuration::from_secs(seconds))
}

fn reference(request: &Value) -> Option<&Value> {
    meta::at(request, &["spec", "boundObjectRef"]).filter(|reference| !reference.is_null())
}

fn bound(
    reader: &dyn ObjectReader,
    namespace: &str,
    account: &str,
    request: &Value,
) -> Result<Option<Bound>, Box<Status>> {
    let Some(reference) = reference(request) else {
        return Ok(None);
    };
    let text = |field| meta::str_at(reference, &[field]).unwrap_or_default();
    let (version, kind, name) = (text("apiVersion"), text("kind"), text("name"));
    let (resource, namespace) = match (version, kind) {
        ("v1", "Pod") => ("pods", Some(namespace)),
        ("v1", "Secret") => ("secrets", Some(namespace)),
        ("v1", "Node") => ("nodes", None),
        _ => {
            let why = format!("cannot bind token to object of type /{version}, Kind={kind}");
            return Err(Box::new(Status::bad_request(why)));
        }
    };
    if name.is_empty() {
        return Err(Box::new(Status::bad_request("Name parameter required.")));
    }
    let object = find(reader, resource, namespace, name)?;
    let identity = ObjectIdentity {
        name: name.to_owned(),
        uid: meta::uid(&object).to_owned(),
    };
    let uid = text("uid");
    if !uid.is_empty() && uid != identity.uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The \
             object might have been deleted and then recreated"
        );
        let resource = GroupResource::new("", resource);
        return Err(Box::new(Status::conflict_because(resource, name, &why)));
    }
    Ok(Some(match resource {
        "pods" => {
            if meta::str_at(&object, &["spec", "serviceAccountName"]) != Some(account) {
                let why = format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                );
                return Err(Box::new(Status::bad_request(why)));
            }
            Bound::Pod {
                node: node_of(reader, &object),
                pod: identity,
            }
        }
        "nodes" => Bound::Node(identity),
        _ => Bound::Secret(identity),
    }))
}

/// The pod's node, for information only; without a Node object there is only its name to tell.
fn node_of(reader: &dyn ObjectReader, pod: &Value) -> Option<ObjectIdentity> {
    let name = meta::str_at(pod, &["spec", "nodeName"]).filter(|name| !name.is_empty())?;
    let node = reader.get("", "nodes", None, name);
    Some(ObjectIdentity {
        name: name.to_owned(),
        uid: node.map_or_else(String::new, |node| meta::uid(&node).to_owned()),
    })
}
