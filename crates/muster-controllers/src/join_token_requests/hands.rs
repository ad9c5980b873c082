//! The single writes of the operator: on requests, Secrets, debts, and tokens in target clusters.
//!
//! Each can be repeated. It refuses to know which is due.

use super::debt::Debt;
use super::flavour::{Origin, bootstrap_secret};
use super::names::{
    CLUSTER_LABEL, COMPONENT, COMPONENT_LABEL, FINALIZER, REQUEST_LABEL, REQUEST_UID_LABEL,
    ROLE_LABEL, TOKEN_KEY, label_value,
};
use super::request::{Issue, Request, Status, Wish};
use super::targets::{PATIENCE, Target};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret as SecretObject};
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use kube::core::DynamicObject;
use kube::{Client, ResourceExt};
use muster_identity::token::Expiration;
use muster_identity::{BootstrapToken, BootstrapTokenSecret, Secret};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// What went wrong, by what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// Somebody else wrote first: read again and go on.
    #[error("somebody else was faster")]
    Outdated,
    /// Our own API did not do it: try again later.
    #[error("the API did not do it")]
    Api(#[source] kube::Error),
    /// The target cluster did not do it: see whether it is still there.
    #[error("the target cluster did not do it")]
    Target(#[source] kube::Error),
    /// The target cluster did not answer in time.
    #[error("the target cluster did not answer in time")]
    TargetSilent,
    /// The API dropped what was to be on record: another definition of requests is served. Apply ours.
    #[error(
        "the API does not keep the record of tokens: apply the definition that `muster operator manifests` prints"
    )]
    Pruned,
    /// What would be written cannot be put into words.
    #[error("an object cannot be made")]
    Form(#[source] serde_json::Error),
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Self {
        if crate::failure::is_outdated(&error) {
            Self::Outdated
        } else {
            Self::Api(error)
        }
    }
}

/// Requests of a namespace.
pub(crate) fn requests(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &Request::resource())
}

/// Puts our finalizer on, or takes it off.
pub(crate) async fn set_held(
    client: &Client,
    request: &Request,
    is_held: bool,
) -> Result<Request, Trouble> {
    let mut finalizers = request.finalizers.clone();
    finalizers.retain(|name| name != FINALIZER);
    if is_held {
        finalizers.push(FINALIZER.to_owned());
    }
    let patch = json!({"metadata": {
        "uid": request.uid, "resourceVersion": request.resource_version, "finalizers": finalizers,
    }});
    let api = requests(client, &request.place.namespace);
    let parameters = PatchParams::default();
    let object = api
        .patch(&request.place.name, &parameters, &Patch::Merge(&patch))
        .await?;
    Ok(Request::read(&object))
}

/// Writes the status; only if nobody has written since the request was read.
pub(crate) async fn write_status(
    client: &Client,
    request: &Request,
    status: &Status,
) -> Result<Request, Trouble> {
    let mut written = serde_json::to_value(status).map_err(Trouble::Form)?;
    // A merge leaves what is not named.
    for key in ["tokenID", "clusterUID", "expirationTime"] {
        if written.get(key).is_none() {
            written[key] = serde_json::Value::Null;
        }
    }
    if status.cluster_uid.is_none() {
        written["deprecated"]["v1beta1"]["clusterUID"] = serde_json::Value::Null;
    }
    let patch = json!({
        "metadata": {"uid": request.uid, "resourceVersion": request.resource_version},
        "status": written,
    });
    let api = requests(client, &request.place.namespace);
    let parameters = PatchParams::default();
    let object = api
        .patch_status(&request.place.name, &parameters, &Patch::Merge(&patch))
        .await?;
    let written = Request::read(&object);
    // Without a record no token may be made.
    if written.status.tokens.len() == status.tokens.len() {
        Ok(written)
    } else {
        Err(Trouble::Pruned)
    }
}

/// What stands in a target cluster under a token's id.
pub(crate) enum Standing {
    /// The token of this request.
    Ours(BootstrapToken),
    /// It was not there, and was made now.
    Made(BootstrapToken),
    /// Nothing.
    Nothing,
    /// A token of somebody else.
    Taken,
}

/// One call to a target cluster, within its limits.
async fn call<T>(
    target: &Target,
    work: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Trouble> {
    let _place = target.calls.acquire().await;
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Trouble::Target(error)),
        Err(_) => Err(Trouble::TargetSilent),
    }
}

/// Looks for a token.
pub(crate) async fn look_up(
    target: &Target,
    id: &str,
    request_uid: &str,
) -> Result<Standing, Trouble> {
    let name = secret_name(id);
    let found = call(target, target.secrets.get_opt(&name)).await?;
    Ok(found.map_or(Standing::Nothing, |secret| read(&secret, request_uid)))
}

fn read(secret: &SecretObject, request_uid: &str) -> Standing {
    if secret.labels().get(REQUEST_UID_LABEL).map(String::as_str) != Some(request_uid) {
        return Standing::Taken;
    }
    let data = secret.data.iter().flatten();
    let data: BTreeMap<String, Secret<Vec<u8>>> = data
        .map(|(key, value)| (key.clone(), Secret::new(value.0.clone())))
        .collect();
    BootstrapTokenSecret::from_data(&secret.name_any(), &data)
        .map_or(Standing::Taken, |read| Standing::Ours(read.token))
}

/// Makes a token with the id on record, unless it is there.
pub(crate) async fn make(
    target: &Target,
    issue: &Issue,
    wish: &Wish,
    origin: Origin<'_>,
    entropy: fn(&mut [u8]),
) -> Result<Standing, Trouble> {
    let random = BootstrapToken::generate(&mut { entropy });
    let Ok(token) = BootstrapToken::from_parts(&issue.id, random.secret().expose()) else {
        return Ok(Standing::Taken);
    };
    let end = Expiration::from(issue.expiration_time);
    let object = bootstrap_secret(wish.flavour, wish.role, token.clone(), end, origin)
        .map_err(Trouble::Form)?;
    let parameters = PostParams::default();
    match call(target, target.secrets.create(&parameters, &object)).await {
        Ok(_) => Ok(Standing::Made(token)),
        Err(Trouble::Target(kube::Error::Api(status))) if status.code == 409 => {
            look_up(target, &issue.id, origin.uid).await
        }
        Err(trouble) => Err(trouble),
    }
}

/// Removes a token of this request. That it is not there, or somebody else's, is as well.
pub(crate) async fn remove(target: &Target, id: &str, request_uid: &str) -> Result<bool, Trouble> {
    let name = secret_name(id);
    let found = call(target, target.secrets.get_metadata_opt(&name)).await?;
    let ours = found.filter(|secret| {
        secret.labels().get(REQUEST_UID_LABEL).map(String::as_str) == Some(request_uid)
    });
    let Some(secret) = ours else {
        return Ok(false);
    };
    let same = DeleteParams::default().preconditions(Preconditions {
        uid: secret.uid(),
        resource_version: None,
    });
    match call(target, target.secrets.delete(&name, &same)).await {
        Ok(_) => Ok(true),
        Err(Trouble::Target(error)) if crate::failure::is_outdated(&error) => Ok(false),
        Err(trouble) => Err(trouble),
    }
}

fn secret_name(id: &str) -> String {
    format!("bootstrap-token-{id}")
}

/// The labels that the result Secret has to have.
pub(crate) fn labels_of(request: &Request, wish: &Wish) -> BTreeMap<String, String> {
    let mut labels = request.labels.clone();
    let own = [
        (CLUSTER_LABEL, label_value(&wish.cluster_label)),
        (ROLE_LABEL, wish.role.as_str().to_owned()),
        (REQUEST_LABEL, label_value(&request.place.name)),
        (COMPONENT_LABEL, COMPONENT.to_owned()),
    ];
    labels.extend(own.map(|(key, value)| (key.to_owned(), value)));
    labels
}

/// The type of the result Secret.
pub(crate) const SECRET_TYPE: &str = "Opaque";

/// Puts a token into the result Secret. `None` when the Secret there is somebody else's.
pub(crate) async fn put_secret(
    client: &Client,
    request: &Request,
    wish: &Wish,
    token: &Secret<String>,
) -> Result<Option<SecretObject>, Trouble> {
    let api = Api::<SecretObject>::namespaced(client.clone(), &request.place.namespace);
    let data = ByteString(token.expose().clone().into_bytes());
    let mut wanted = SecretObject {
        metadata: ObjectMeta {
            name: Some(request.place.name.clone()),
            labels: Some(labels_of(request, wish)),
            annotations: Some(request.annotations_to_hand_on()),
            owner_references: Some(vec![request.owner_reference()]),
            ..ObjectMeta::default()
        },
        type_: Some(SECRET_TYPE.to_owned()),
        data: Some(BTreeMap::from([(TOKEN_KEY.to_owned(), data)])),
        ..SecretObject::default()
    };
    let parameters = PostParams::default();
    match api.create(&parameters, &wanted).await {
        Ok(made) => return Ok(Some(made)),
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        // The namespace is being deleted, or an admission plugin refuses: somebody else's word.
        Err(error) => return Err(Trouble::Api(error)),
    }
    let Some(found) = api.get_opt(&request.place.name).await? else {
        return Err(Trouble::Outdated);
    };
    if !is_owned(&found, &request.uid) {
        return Ok(None);
    }
    if found.type_ != wanted.type_ || found.immutable == Some(true) {
        // Neither can be changed.
        let same = DeleteParams::default().preconditions(Preconditions {
            uid: found.uid(),
            resource_version: None,
        });
        api.delete(&request.place.name, &same).await?;
        return Err(Trouble::Outdated);
    }
    keep_what_others_wrote(&mut wanted.metadata, &found);
    let written = api
        .replace(&request.place.name, &parameters, &wanted)
        .await?;
    Ok(Some(written))
}

/// Labels and annotations that are not ours stay, and a write in between is noticed.
fn keep_what_others_wrote(metadata: &mut ObjectMeta, found: &SecretObject) {
    metadata.resource_version = found.resource_version();
    metadata.finalizers.clone_from(&found.metadata.finalizers);
    let merge = |own: &mut Option<BTreeMap<String, String>>, others: &BTreeMap<String, String>| {
        let own = own.get_or_insert_default();
        for (key, value) in others {
            own.entry(key.clone()).or_insert_with(|| value.clone());
        }
    };
    merge(&mut metadata.labels, found.labels());
    merge(&mut metadata.annotations, found.annotations());
    let others = found.owner_references().iter();
    let others = others.filter(|owner| owner.controller != Some(true));
    if let Some(owners) = &mut metadata.owner_references {
        owners.extend(others.cloned());
    }
}

/// Whether a Secret is controlled by the request with this uid.
pub(crate) fn is_owned(secret: &SecretObject, uid: &str) -> bool {
    secret
        .owner_references()
        .iter()
        .any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// Writes a debt down, unless it is written down.
pub(crate) async fn write_debt(debts: &Api<ConfigMap>, debt: &Debt) -> Result<(), Trouble> {
    match debts
        .create(&PostParams::default(), &debt.to_object())
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(Trouble::Api(error)),
    }
}

/// Strikes a debt out.
pub(crate) async fn strike_debt(debts: &Api<ConfigMap>, name: &str) -> Result<(), Trouble> {
    match debts.delete(name, &DeleteParams::default()).await {
        Err(error) if !crate::failure::is_outdated(&error) => Err(Trouble::Api(error)),
        _ => Ok(()),
    }
}

/// Gives every write its turn, so that a flood of requests does not become a flood of writes.
pub(crate) struct Pace {
    gap: Duration,
    next: tokio::sync::Mutex<tokio::time::Instant>,
}

impl Pace {
    /// At most so many turns a second.
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            gap: Duration::from_secs(1) / per_second.max(1),
            next: tokio::sync::Mutex::new(tokio::time::Instant::now()),
        }
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self) {
        let at = {
            let mut next = self.next.lock().await;
            let at = (*next).max(tokio::time::Instant::now());
            *next = at + self.gap;
            at
        };
        tokio::time::sleep_until(at).await;
    }
}
