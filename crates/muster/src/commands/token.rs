//! `muster token`: bootstrap tokens as Secrets of any cluster, in the formats of kubeadm, k0s and K3s.

mod inspect;
mod pre_shared;
mod wrapped;

use crate::args::token::{Create, Format, Role, Token, Verb};
use crate::cluster::{self, Cluster, api_failure};
use crate::exit::Failure;
use crate::printer::{Output, Printer};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret as SecretObject;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use muster_handshake::HandshakeError;
use muster_identity::token::{
    DEFAULT_NODE_TOKEN_GROUP, Expiration, K3S_NODE_TOKEN_GROUP, SECRET_NAMESPACE, SECRET_TYPE,
    TokenUsages, is_bootstrap_group,
};
use muster_identity::{
    BootstrapToken, BootstrapTokenSecret, CaPin, CertificateBundle, GoDuration, JoinRole, TokenId,
    short_human_duration,
};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Carries out `muster token …`.
pub(crate) async fn run(token: Token, printer: Printer) -> Result<(), Failure> {
    match &token.verb {
        Verb::Generate => {
            printer.line(random_token().to_text().expose());
            Ok(())
        }
        Verb::Create(create) if create.pre_shared => pre_shared::run(create, &token, printer),
        Verb::Create(create) => create_token(&token, create, printer).await,
        Verb::Inspect(inspect) => inspect::run(inspect, &token, printer).await,
        Verb::List { role } => list(&token, role.map(JoinRole::from), printer).await,
        Verb::Delete { tokens } => delete(&token, tokens, printer).await,
    }
}

fn random_token() -> BootstrapToken {
    BootstrapToken::generate(&mut crate::entropy::fill)
}

fn secrets(cluster: &Cluster) -> Api<SecretObject> {
    Api::namespaced(cluster.client.clone(), SECRET_NAMESPACE)
}

async fn create_token(token: &Token, create: &Create, printer: Printer) -> Result<(), Failure> {
    let secret = secret_of(create, Timestamp::now())?;
    let cluster = cluster::connect(token.kubeconfig.as_deref()).await?;
    // What cannot be printed is not created.
    let wrapped = wrapped::of(create, &cluster, &secret.token)?;
    let object: SecretObject = serde_json::from_value(secret.to_object())
        .map_err(|error| Failure::usage("the token makes no Secret").because(&error))?;
    let parameters = PostParams {
        dry_run: token.dry_run,
        ..PostParams::default()
    };
    secrets(&cluster)
        .create(&parameters, &object)
        .await
        .map_err(|error| {
            let id = secret.token.id();
            match &error {
                kube::Error::Api(status) if status.code == 409 => Failure::new(
                    "token-exists",
                    crate::exit::USAGE,
                    format!("a token with id \"{id}\" already exists"),
                )
                .cure(format!("delete it first: muster token delete {id}")),
                _ => api_failure("the token was not created", &error),
            }
        })?;
    if printer.output() != Output::Text {
        let mut object = describe(&secret);
        if let Some(wrapped) = &wrapped {
            object["joinToken"] = json!(wrapped.expose());
        }
        print_object(&object, printer);
    } else if let Some(wrapped) = wrapped {
        printer.line(wrapped.expose());
    } else if create.print_join_command {
        let mut line = join_command("muster", &cluster, &secret.token)?;
        if let Some(key) = &create.certificate_key {
            let _ = write!(line, " --control-plane --certificate-key {key}");
        }
        printer.line(line);
    } else {
        printer.line(secret.token.to_text().expose());
    }
    Ok(())
}

/// Checks every flag before anything is created.
fn secret_of(create: &Create, now: Timestamp) -> Result<BootstrapTokenSecret, Failure> {
    let token = match create.token.as_deref() {
        None => random_token(),
        Some("-") => parse_token(&crate::entropy::line_of_standard_input()?)?,
        Some(text) => parse_token(text)?,
    };
    let ends = expiration(&create.ttl, now)?;
    if create.role.is_some() && create.format != Format::K0s {
        return Err(Failure::usage("--role goes with --format k0s only"));
    }
    if create.url.is_some() && create.format != Format::K0s {
        return Err(Failure::usage("--url goes with --format k0s only"));
    }
    let usages =
        TokenUsages::from_words(create.usages.iter().map(String::as_str)).ok_or_else(|| {
            Failure::usage(format!(
                "unknown word in --usages {}",
                create.usages.join(",")
            ))
            .cure("use signing, authentication or both")
        })?;
    if let Some(group) = create
        .groups
        .iter()
        .find(|group| !is_bootstrap_group(group))
    {
        return Err(
            Failure::usage(format!("a token may not give the group {group:?}"))
                .cure("groups must match system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]"),
        );
    }
    if let Some(key) = &create.certificate_key {
        muster_kubeadm::shared_certs::CertificateKey::parse(key)
            .map_err(|error| Failure::usage("--certificate-key cannot be used").because(&error))?;
    }
    let is_default = create.groups == [DEFAULT_NODE_TOKEN_GROUP];
    if create.format == Format::K0s {
        if !is_default || usages != TokenUsages::BOTH {
            return Err(Failure::usage(
                "usages and groups of a token of k0s follow from its --role",
            ));
        }
        return Ok(of_k0s(token, create, ends));
    }
    let mut secret = BootstrapTokenSecret::new(token);
    secret.description.clone_from(&create.description);
    secret.usages = usages;
    secret.groups = if create.format == Format::K3s && is_default {
        vec![K3S_NODE_TOKEN_GROUP.to_owned()]
    } else {
        create.groups.clone()
    };
    secret.expiration = ends;
    Ok(secret)
}

/// The Secret behind a join token of k0s; a description of one's own replaces that of k0s.
fn of_k0s(token: BootstrapToken, create: &Create, ends: Expiration) -> BootstrapTokenSecret {
    let role = create.role.unwrap_or_default().into();
    let mut secret = BootstrapTokenSecret::for_k0s(token, role, ends);
    if !create.description.is_empty() {
        secret.description.clone_from(&create.description);
    }
    secret
}

impl From<Role> for JoinRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Worker => Self::Worker,
            Role::Controller => Self::Controller,
        }
    }
}

/// The end of a token that begins to live now.
fn expiration(ttl: &str, now: Timestamp) -> Result<Expiration, Failure> {
    let ttl = GoDuration::parse(ttl)
        .map_err(|error| Failure::usage("--ttl is not a duration").because(&error))?;
    if ttl.as_nanos() < 0 {
        return Err(Failure::usage("--ttl must not be negative").cure("0 is for ever"));
    }
    if ttl.as_nanos() == 0 {
        return Ok(Expiration::Never);
    }
    let end = now.checked_add(jiff::SignedDuration::from_nanos(ttl.as_nanos()));
    end.map(Expiration::At)
        .map_err(|error| Failure::usage("--ttl is too long").because(&error))
}

fn parse_token(text: &str) -> Result<BootstrapToken, Failure> {
    BootstrapToken::parse(text.trim())
        .map_err(|error| crate::handshake_failure(&HandshakeError::from(error)))
}

/// The line that a person pastes on a new machine.
pub(crate) fn join_command(
    program: &str,
    cluster: &Cluster,
    token: &BootstrapToken,
) -> Result<String, Failure> {
    let bundle = CertificateBundle::from_pem(&cluster.authorities).map_err(|error| {
        Failure::usage("the kubeconfig names no CA certificate, so there is nothing to pin")
            .because(&error)
    })?;
    let mut line = format!(
        "{program} join {} --token {}",
        cluster.endpoint,
        token.to_text().expose()
    );
    for certificate in bundle.certificates() {
        let _ = write!(
            line,
            " --discovery-token-ca-cert-hash {}",
            CaPin::of(certificate)
        );
    }
    Ok(line)
}

async fn existing(cluster: &Cluster) -> Result<Vec<BootstrapTokenSecret>, Failure> {
    let of_type = ListParams::default().fields(&format!("type={SECRET_TYPE}"));
    let found = secrets(cluster)
        .list(&of_type)
        .await
        .map_err(|error| api_failure("the tokens could not be listed", &error))?;
    let mut tokens = Vec::new();
    for object in found.items {
        let value = serde_json::to_value(&object)
            .map_err(|error| Failure::usage("a Secret cannot be read").because(&error))?;
        match BootstrapTokenSecret::from_object(&value) {
            Ok(token) => tokens.push(token),
            Err(error) => tracing::warn!(
                secret = object.metadata.name.unwrap_or_default(), %error, "not a usable bootstrap token"
            ),
        }
    }
    Ok(tokens)
}

async fn list(token: &Token, role: Option<JoinRole>, printer: Printer) -> Result<(), Failure> {
    let cluster = cluster::connect(token.kubeconfig.as_deref()).await?;
    let mut tokens = existing(&cluster).await?;
    tokens.retain(|token| role.is_none() || token.join_role() == role);
    if printer.output() != Output::Text {
        tokens
            .iter()
            .for_each(|token| print_object(&describe(token), printer));
        return Ok(());
    }
    let now = Timestamp::now();
    let mut rows = vec![
        [
            "TOKEN",
            "TTL",
            "EXPIRES",
            "USAGES",
            "DESCRIPTION",
            "EXTRA GROUPS",
        ]
        .map(str::to_owned),
    ];
    rows.extend(tokens.iter().map(|token| row(token, now)));
    if rows.len() > 1 {
        printer.text(crate::columns::aligned(&rows));
    }
    Ok(())
}

fn row(secret: &BootstrapTokenSecret, now: Timestamp) -> [String; 6] {
    let (ttl, expires) = match secret.expiration.timestamp() {
        Some(end) => (
            short_human_duration(end.duration_since(now)),
            secret.expiration.to_string(),
        ),
        None => ("<forever>".to_owned(), "<never>".to_owned()),
    };
    let or_none = |text: String| {
        if text.is_empty() {
            "<none>".to_owned()
        } else {
            text
        }
    };
    [
        secret.token.to_text().expose().clone(),
        ttl,
        expires,
        or_none(secret.usages.words().join(",")),
        or_none(secret.description.clone()),
        or_none(secret.groups.join(",")),
    ]
}

/// A token as kubeadm prints it: `BootstrapToken` of `output.kubeadm.k8s.io/v1alpha3`.
fn describe(secret: &BootstrapTokenSecret) -> Value {
    let mut object = json!({
        "kind": "BootstrapToken",
        "apiVersion": "output.kubeadm.k8s.io/v1alpha3",
        "token": secret.token.to_text().expose(),
    });
    if !secret.description.is_empty() {
        object["description"] = json!(secret.description);
    }
    if secret.expiration.timestamp().is_some() {
        object["expires"] = json!(secret.expiration.to_string());
    }
    if !secret.usages.words().is_empty() {
        object["usages"] = json!(secret.usages.words());
    }
    if !secret.groups.is_empty() {
        object["groups"] = json!(secret.groups);
    }
    object
}

fn print_object(object: &Value, printer: Printer) {
    match printer.output() {
        Output::Yaml => {
            if let Ok(text) = serde_saphyr::to_string(object) {
                printer.text(format!("---\n{text}"));
            }
        }
        _ => {
            let mut bytes = Vec::new();
            let pretty = serde_json::ser::PrettyFormatter::with_indent(b"    ");
            let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, pretty);
            if serde::Serialize::serialize(object, &mut serializer).is_ok() {
                printer.line(String::from_utf8_lossy(&bytes));
            }
        }
    }
}

async fn delete(token: &Token, tokens: &[String], printer: Printer) -> Result<(), Failure> {
    let ids: Vec<TokenId> = tokens
        .iter()
        .map(|text| id_of(text))
        .collect::<Result<_, _>>()?;
    let cluster = cluster::connect(token.kubeconfig.as_deref()).await?;
    for id in ids {
        let parameters = DeleteParams {
            dry_run: token.dry_run,
            ..DeleteParams::default()
        };
        secrets(&cluster)
            .delete(&id.secret_name(), &parameters)
            .await
            .map_err(|error| api_failure(&format!("the token \"{id}\" was not deleted"), &error))?;
        printer.line(format!("bootstrap token \"{id}\" deleted"));
    }
    Ok(())
}

fn id_of(text: &str) -> Result<TokenId, Failure> {
    if let Ok(id) = TokenId::parse(text) {
        return Ok(id);
    }
    parse_token(text).map(|token| token.id().clone())
}

/// Creates a token for a run of our own: short-lived, and named for what it is.
pub(crate) async fn create_short_lived(
    cluster: &Cluster,
    life: jiff::SignedDuration,
    description: &str,
) -> Result<BootstrapToken, Failure> {
    let mut secret = BootstrapTokenSecret::new(random_token());
    secret.description = description.to_owned();
    let end = Timestamp::now().checked_add(life);
    secret.expiration = end.map_or(Expiration::Never, Expiration::At);
    let object: SecretObject = serde_json::from_value(secret.to_object())
        .map_err(|error| Failure::usage("the token makes no Secret").because(&error))?;
    let created = secrets(cluster)
        .create(&PostParams::default(), &object)
        .await;
    created.map_err(|error| api_failure("a token could not be created", &error))?;
    Ok(secret.token)
}

/// Deletes a token by its id.
pub(crate) async fn delete_token(cluster: &Cluster, id: &TokenId) -> Result<(), Failure> {
    let deleted = secrets(cluster)
        .delete(&id.secret_name(), &DeleteParams::default())
        .await;
    deleted
        .map(|_| ())
        .map_err(|error| api_failure(&format!("the token {id} was not deleted"), &error))
}
