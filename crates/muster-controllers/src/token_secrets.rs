//! Fills Secrets of the type `kubernetes.io/service-account-token` with a token, the CA and the namespace, and removes
//! those whose account is gone, as upstream's token controller does. It makes no Secrets, and it does not sign: what
//! signs is handed in.

use crate::events::{Change, changes};
use crate::failure::outcome_of;
use crate::keyed::{self, Outcome};
use futures::{Stream, StreamExt, future, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use std::sync::Arc;

/// The type of the Secrets.
const TYPE: &str = "kubernetes.io/service-account-token";
/// The annotation that names the account.
const ACCOUNT: &str = "kubernetes.io/service-account.name";
/// The annotation with the account's uid.
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// How many Secrets are filled at the same time.
const LIMIT: usize = 4;

/// What a token without an end says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSubject {
    /// The namespace of account and Secret.
    pub namespace: String,
    /// The account's name.
    pub account: String,
    /// The account's uid.
    pub account_uid: String,
    /// The name of the Secret that keeps the token.
    pub secret: String,
}

/// Signs such a token; `None` when it cannot.
pub type TokenSigner =
    Arc<dyn Fn(&TokenSubject) -> Option<muster_identity::Secret<String>> + Send + Sync>;

/// Fills Secrets for ever. `root_ca` is PEM.
pub(crate) async fn run(client: Client, signer: TokenSigner, root_ca: Arc<str>) {
    let handle = |place: Place| {
        let (client, signer, root_ca) = (client.clone(), Arc::clone(&signer), Arc::clone(&root_ca));
        async move { look_at(&client, &place, &signer, &root_ca).await }
    };
    keyed::run(places(client.clone()), LIMIT, handle).await;
}

/// Namespace and, unless all Secrets of it are meant, name.
type Place = (String, Option<String>);

/// Secrets that changed, and namespaces in which an account has gone.
fn places(client: Client) -> impl Stream<Item = (Place, Place)> {
    let of_type = watcher::Config::default().fields(&format!("type={TYPE}"));
    let secrets = changes(Api::<Secret>::all(client.clone()), of_type).filter_map(|change| {
        future::ready(match change {
            Change::Present(secret) => secret
                .namespace()
                .map(|namespace| (namespace, Some(secret.name_any()))),
            Change::Gone(_) | Change::Listed => None,
        })
    });
    let accounts = changes(
        Api::<ServiceAccount>::all(client),
        watcher::Config::default(),
    )
    .filter_map(|change| {
        future::ready(match change {
            Change::Gone(account) => account.namespace.map(|namespace| (namespace, None)),
            Change::Present(_) | Change::Listed => None,
        })
    });
    stream::select(secrets.boxed(), accounts.boxed()).map(|place| (place.clone(), place))
}

async fn look_at(client: &Client, place: &Place, signer: &TokenSigner, root_ca: &str) -> Outcome {
    let (namespace, name) = place;
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let found = match name {
        Some(name) => secrets
            .get_opt(name)
            .await
            .map(|one| one.into_iter().collect()),
        None => {
            let of_type = ListParams::default().fields(&format!("type={TYPE}"));
            secrets.list(&of_type).await.map(|list| list.items)
        }
    };
    let found: Vec<Secret> = match found {
        Ok(found) => found,
        Err(error) => return outcome_of::<()>("reading token secrets", namespace, Err(error)),
    };
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    let mut outcome = Outcome::Done;
    for secret in found {
        let account = match secret.annotations().get(ACCOUNT) {
            Some(account) if secret.type_.as_deref() == Some(TYPE) => {
                accounts.get_opt(account).await
            }
            _ => continue,
        };
        let name = secret.name_any();
        let result = match account {
            Ok(account) => match decide(secret, account.as_ref(), root_ca) {
                Decision::Leave => continue,
                Decision::Remove(params) => secrets.delete(&name, &params).await.map(drop),
                Decision::Fill(secret, subject) => {
                    let Some(secret) = filled(*secret, subject.as_ref(), signer) else {
                        tracing::warn!(namespace, name, "a token cannot be signed");
                        continue;
                    };
                    let params = PostParams::default();
                    secrets.replace(&name, &params, &secret).await.map(drop)
                }
            },
            Err(error) => Err(error),
        };
        match outcome_of("keeping a token secret", &name, result) {
            Outcome::Done => {}
            other => outcome = other,
        }
    }
    outcome
}

/// What to do about a Secret.
#[derive(Debug)]
enum Decision {
    /// Nothing.
    Leave,
    /// Remove it, if it is still the same one.
    Remove(DeleteParams),
    /// Replace it by this, with a token for the subject where there is none yet.
    Fill(Box<Secret>, Option<TokenSubject>),
}

fn decide(mut secret: Secret, account: Option<&ServiceAccount>, root_ca: &str) -> Decision {
    if secret.metadata.deletion_timestamp.is_some() {
        return Decision::Leave;
    }
    let uid = secret
        .annotations()
        .get(ACCOUNT_UID)
        .cloned()
        .unwrap_or_default();
    let account = account
        .filter(|account| uid.is_empty() || account.metadata.uid.as_deref() == Some(uid.as_str()));
    let Some(account) = account else {
        let preconditions = Preconditions {
            uid: secret.metadata.uid.clone(),
            resource_version: secret.metadata.resource_version.clone(),
        };
        return Decision::Remove(DeleteParams::default().preconditions(preconditions));
    };
    let namespace = secret.namespace().unwrap_or_default();
    let held = |key: &str| secret.data.as_ref().and_then(|data| data.get(key));
    let has = |key: &str| held(key).is_some_and(|bytes| !bytes.0.is_empty());
    let has_ca = held("ca.crt").is_some_and(|bytes| bytes.0 == root_ca.as_bytes());
    let (has_token, has_namespace) = (has("token"), has("namespace"));
    if has_token && has_ca && has_namespace {
        return Decision::Leave;
    }
    let account_uid = account.metadata.uid.clone().unwrap_or_default();
    let subject = TokenSubject {
        namespace: namespace.clone(),
        account: account.name_any(),
        account_uid: account_uid.clone(),
        secret: secret.name_any(),
    };
    secret
        .annotations_mut()
        .insert(ACCOUNT_UID.to_owned(), account_uid);
    let data = secret.data.get_or_insert_default();
    data.insert("ca.crt".to_owned(), ByteString(root_ca.as_bytes().to_vec()));
    if !has_namespace {
        data.insert("namespace".to_owned(), ByteString(namespace.into_bytes()));
    }
    Decision::Fill(Box::new(secret), (!has_token).then_some(subject))
}

fn filled(
    mut secret: Secret,
    subject: Option<&TokenSubject>,
    signer: &TokenSigner,
) -> Option<Secret> {
    if let Some(subject) = subject {
        let token = signer(subject)?.expose().clone().into_bytes();
        let data = secret.data.get_or_insert_default();
        data.insert("token".to_owned(), ByteString(token));
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn secret(data: Value, uid: Option<&str>) -> Secret {
        serde_json::from_value(json!({
            "metadata": {
                "name": "robot-token", "namespace": "ns", "uid": "s", "resourceVersion": "7",
                "annotations": {ACCOUNT: "robot", ACCOUNT_UID: uid.unwrap_or_default()},
            },
            "type": TYPE, "data": data,
        }))
        .expect("a secret")
    }

    fn account(uid: &str) -> ServiceAccount {
        let account = json!({"metadata": {"name": "robot", "namespace": "ns", "uid": uid}});
        serde_json::from_value(account).expect("an account")
    }

    #[test]
    fn an_empty_secret_gets_everything() {
        let decision = decide(secret(json!(null), None), Some(&account("a")), "CA");
        let Decision::Fill(secret, Some(subject)) = decision else {
            panic!("{decision:?}");
        };
        assert_eq!(
            subject,
            TokenSubject {
                namespace: "ns".into(),
                account: "robot".into(),
                account_uid: "a".into(),
                secret: "robot-token".into(),
            }
        );
        let signer: TokenSigner = Arc::new(|_| Some(muster_identity::Secret::new("signed".into())));
        let secret = filled(*secret, Some(&subject), &signer).expect("signed");
        let told = serde_json::to_value(&secret).expect("JSON");
        assert_eq!(
            told["data"],
            json!({"ca.crt": "Q0E=", "namespace": "bnM=", "token": "c2lnbmVk"})
        );
        assert_eq!(told["metadata"]["annotations"][ACCOUNT_UID], "a");
        assert_eq!(told["metadata"]["resourceVersion"], "7");
    }

    #[test]
    fn a_token_that_is_there_stays_when_the_ca_changes() {
        let data = json!({"ca.crt": "Q0E=", "namespace": "bnM=", "token": "c2lnbmVk"});
        let whole = || secret(data.clone(), Some("a"));
        assert!(matches!(
            decide(whole(), Some(&account("a")), "CA"),
            Decision::Leave
        ));
        let decision = decide(whole(), Some(&account("a")), "other");
        assert!(matches!(decision, Decision::Fill(_, None)), "{decision:?}");
    }

    #[test]
    fn a_secret_of_an_account_that_is_gone_or_another_one_goes() {
        for account in [None, Some(&account("another"))] {
            let decision = decide(secret(json!(null), Some("a")), account, "CA");
            let Decision::Remove(params) = decision else {
                panic!("{decision:?}");
            };
            let sure = params.preconditions.expect("preconditions");
            assert_eq!(
                (sure.uid.as_deref(), sure.resource_version.as_deref()),
                (Some("s"), Some("7"))
            );
        }
    }
}
