//! `token`: bootstrap tokens, with kubeadm's flags and words. Everything is checked before anything is created.

use super::line::Parsed;
use super::output::{Fields, Format};
use super::refusal::{Refusal, api};
use super::{ambient, config, objects, rehearsal};
use crate::cluster::{self, Cluster};
use crate::printer::Printer;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret as SecretObject;
use kube::api::{Api, DeleteParams, ListParams};
use muster_identity::token::{Expiration, SECRET_NAMESPACE, SECRET_TYPE, TokenUsages};
use muster_identity::{
    BootstrapToken, BootstrapTokenSecret, CaPin, CertificateBundle, GoDuration, TokenId,
    short_human_duration,
};
use muster_kubeadm::config::{
    Ambient, CURRENT_VERSION, ClusterConfiguration, DEFAULT_CRI_SOCKET, InitConfiguration,
    InitToken, Span, Strictness, read_init, resolve_init,
};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

const TOKEN_PATTERN: &str = "\\A([a-z0-9]{6})\\.([a-z0-9]{16})\\z";
const ID_PATTERN: &str = "\\A([a-z0-9]{6})\\z";

/// Carries out `token VERB`.
pub(super) async fn run(verb: &str, line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    match verb {
        "generate" => {
            let token = BootstrapToken::generate(&mut crate::entropy::fill);
            printer.line(token.to_text().expose());
            Ok(())
        }
        "create" => create(line, printer).await,
        "list" => list(line, printer).await,
        _ => delete(line, printer).await,
    }
}

/// The cluster of `--kubeconfig`, or of the usual places.
pub(super) async fn connect(line: &Parsed) -> Result<Cluster, Refusal> {
    let explicit = line.text("kubeconfig").filter(|path| !path.is_empty());
    cluster::connect(explicit.map(Path::new))
        .await
        .map_err(|failure| Refusal::from(failure).in_front("failed to load admin kubeconfig"))
}

fn secrets(cluster: &Cluster) -> Api<SecretObject> {
    Api::namespaced(cluster.client.clone(), SECRET_NAMESPACE)
}

/// A Secret with its kind, as it is shown.
fn whole(secret: &SecretObject) -> Result<Value, Refusal> {
    let mut value =
        serde_json::to_value(secret).map_err(|error| Refusal::failed(error.to_string()))?;
    value["apiVersion"] = json!("v1");
    value["kind"] = json!("Secret");
    Ok(value)
}

/// A machine that need not have a container runtime.
fn elsewhere() -> Ambient {
    Ambient {
        cri_sockets: vec![DEFAULT_CRI_SOCKET.to_owned()],
        ..ambient::gather()
    }
}

/// The tokens that flags or a file ask for.
fn asked_for(line: &Parsed, printer: Printer) -> Result<Vec<InitToken>, Refusal> {
    line.check_mixture()?;
    let mut own = InitToken {
        description: line.text_or_default("description").to_owned(),
        usages: line.list("usages"),
        groups: line.list("groups"),
        ..InitToken::default()
    };
    if let Some(text) = line.arguments.first() {
        if BootstrapToken::parse(text).is_err() {
            return Err(Refusal::usage(format!(
                "the bootstrap token {} was not of the form {:?}",
                super::output::quoted(text),
                TOKEN_PATTERN
            )));
        }
        own.token = text.clone().into();
    }
    let ttl = GoDuration::parse(line.text_or_default("ttl"))
        .map_err(|error| Refusal::usage(error.to_string()))?;
    if ttl.as_nanos() < 0 {
        return Err(Refusal::usage(format!(
            "invalid argument \"{ttl}\" for \"--ttl\" flag: it must not be negative"
        )));
    }
    own.ttl = Some(Span(ttl));
    if line.is_given("certificate-key") {
        let key = line
            .text("certificate-key")
            .unwrap_or_default()
            .to_owned()
            .into();
        if !line.is_on("print-join-command") {
            return Err(Refusal::usage(
                "cannot use --certificate-key without --print-join-command",
            ));
        }
        if let Some(error) =
            muster_kubeadm::config::validate_certificate_key(&key, "certificate-key")
        {
            return Err(Refusal::usage(error.to_string()));
        }
    }
    let reading = match line.text("config").filter(|path| !path.is_empty()) {
        Some(path) => read_init(&config::read_file(path)?, &elsewhere(), Strictness::Lenient)?,
        None => {
            let init = InitConfiguration {
                bootstrap_tokens: vec![own],
                ..InitConfiguration::default()
            };
            let cluster = ClusterConfiguration {
                kubernetes_version: CURRENT_VERSION.to_owned(),
                ..ClusterConfiguration::default()
            };
            resolve_init(init, cluster, &elsewhere())?
        }
    };
    config::tell(&reading.warnings, printer);
    Ok(reading.value.init.bootstrap_tokens)
}

/// A token as the Secret that holds it.
pub(super) fn to_secret(
    token: &InitToken,
    now: Timestamp,
) -> Result<BootstrapTokenSecret, Refusal> {
    let refuse = |text: String| Refusal::usage(text);
    let parsed =
        BootstrapToken::parse(token.token.expose()).map_err(|error| refuse(error.to_string()))?;
    let mut secret = BootstrapTokenSecret::new(parsed);
    secret.description.clone_from(&token.description);
    secret.groups.clone_from(&token.groups);
    secret.usages =
        TokenUsages::from_words(token.usages.iter().map(String::as_str)).unwrap_or_default();
    secret.expiration = match (&token.expires, token.ttl) {
        (Some(text), _) => Expiration::parse(text),
        (None, Some(ttl)) if ttl.0.as_nanos() > 0 => now
            .checked_add(ttl.0.to_signed_duration())
            .map(Expiration::At)
            .map_err(|error| refuse(error.to_string()))?,
        _ => Expiration::Never,
    };
    Ok(secret)
}

async fn create(line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let tokens = asked_for(line, printer)?;
    let secrets_to_create: Vec<BootstrapTokenSecret> = tokens
        .iter()
        .map(|token| to_secret(token, Timestamp::now()))
        .collect::<Result<_, _>>()?;
    let cluster = connect(line).await?;
    let dry_run = line.is_on("dry-run");
    let Some(first) = secrets_to_create.first() else {
        return Err(Refusal::usage("no token is asked for"));
    };
    // The line is made first: a kubeconfig without a CA must not leave a token behind.
    let join_line = line.is_on("print-join-command").then(|| {
        let key = line.text("certificate-key");
        join_command(
            &cluster,
            first.token.to_text().expose(),
            key.map(|key| (key, "")),
        )
    });
    let join_line = join_line.transpose()?;
    for secret in &secrets_to_create {
        let id = secret.token.id();
        let existing = secrets(&cluster).get_opt(&id.secret_name()).await;
        let existing = existing.map_err(|error| api("", &error))?;
        if dry_run {
            rehearsal::would("GET", SECRET_NAMESPACE, Some(&id.secret_name()), printer);
            match &existing {
                Some(found) => rehearsal::attached(&whole(found)?, printer),
                None => rehearsal::not_there(printer),
            }
        }
        if existing.is_some() {
            return Err(Refusal::new(
                "token-exists",
                crate::exit::USAGE,
                format!("a token with id \"{id}\" already exists"),
            ));
        }
    }
    for secret in &secrets_to_create {
        let object = secret.to_object();
        if dry_run {
            rehearsal::would("CREATE", SECRET_NAMESPACE, None, printer);
            rehearsal::attached(&object, printer);
        }
        objects::create_or_update(&cluster, &object, dry_run)
            .await
            .map_err(|error| {
                let name = secret.token.id().secret_name();
                api(
                    &format!("failed to create or update bootstrap token with name {name}"),
                    &error,
                )
            })?;
    }
    match join_line {
        Some(text) => printer.line(text.replace("\\\n", "").replace('\t', "")),
        None => printer.line(first.token.to_text().expose()),
    }
    Ok(())
}

/// The lines that a person pastes on a new machine, in kubeadm's layout.
///
/// `control_plane` is the certificate key and nothing, or what is shown in its place.
pub(super) fn join_command(
    cluster: &Cluster,
    token: &str,
    control_plane: Option<(&str, &str)>,
) -> Result<String, Refusal> {
    let bundle = CertificateBundle::from_pem(&cluster.authorities).map_err(|_| {
        Refusal::failed("failed to get join command: no CA certificates found in kubeconfig")
    })?;
    let mut text = format!("kubeadm join {} --token {token} \\\n\t", cluster.endpoint);
    for certificate in bundle.certificates() {
        // Writing into a String cannot fail.
        let _ = write!(
            text,
            "--discovery-token-ca-cert-hash {} ",
            CaPin::of(certificate)
        );
    }
    if let Some((key, instead)) = control_plane {
        text.push_str("\\\n\t--control-plane ");
        let shown = if instead.is_empty() { key } else { instead };
        if !shown.is_empty() {
            let _ = write!(text, "--certificate-key {shown}");
        }
    }
    Ok(text)
}

fn fields(secret: &BootstrapTokenSecret) -> Fields<'static> {
    let mut fields = vec![
        ("kind", json!("BootstrapToken")),
        ("apiVersion", json!("output.kubeadm.k8s.io/v1alpha3")),
        ("token", json!(secret.token.to_text().expose())),
    ];
    if !secret.description.is_empty() {
        fields.push(("description", json!(secret.description)));
    }
    if secret.expiration.timestamp().is_some() {
        fields.push(("expires", json!(secret.expiration.to_string())));
    }
    if !secret.usages.words().is_empty() {
        fields.push(("usages", json!(secret.usages.words())));
    }
    if !secret.groups.is_empty() {
        fields.push(("groups", json!(secret.groups)));
    }
    fields
}

fn row(secret: &BootstrapTokenSecret, now: Timestamp) -> String {
    let or_none = |text: String| {
        if text.is_empty() {
            "<none>".to_owned()
        } else {
            text
        }
    };
    let (ttl, expires) = match secret.expiration.timestamp() {
        Some(end) => (
            short_human_duration(end.duration_since(now)),
            secret.expiration.to_string(),
        ),
        None => ("<forever>".to_owned(), "<never>".to_owned()),
    };
    // kubeadm pads three columns, so that tables of single rows stand below each other.
    format!(
        "{}\t{ttl:<9}\t{expires}\t{:<22}\t{:<56}\t{}",
        secret.token.to_text().expose(),
        or_none(secret.usages.words().join(",")),
        or_none(secret.description.clone()),
        or_none(secret.groups.join(",")),
    )
}

async fn list(line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let format = Format::of(line)?;
    let cluster = connect(line).await?;
    let of_type = ListParams::default().fields(&format!("type={SECRET_TYPE}"));
    let found = secrets(&cluster)
        .list(&of_type)
        .await
        .map_err(|error| api("failed to list bootstrap tokens", &error))?;
    if line.is_on("dry-run") {
        rehearsal::would("LIST", SECRET_NAMESPACE, None, printer);
        let items: Result<Vec<Value>, _> = found.items.iter().map(whole).collect();
        let list = json!({
            "apiVersion": "v1",
            "kind": "SecretList",
            "metadata": {"resourceVersion": found.metadata.resource_version},
            "items": items?,
        });
        rehearsal::attached(&list, printer);
    }
    let mut tokens = Vec::new();
    for object in found.items {
        let value =
            serde_json::to_value(&object).map_err(|error| Refusal::failed(error.to_string()))?;
        match BootstrapTokenSecret::from_object(&value) {
            Ok(token) => tokens.push(token),
            Err(error) => printer.note(error.to_string()),
        }
    }
    if format.is_text() {
        if tokens.is_empty() {
            return Ok(());
        }
        let now = Timestamp::now();
        let mut rows = vec!["TOKEN\tTTL\tEXPIRES\tUSAGES\tDESCRIPTION\tEXTRA GROUPS".to_owned()];
        rows.extend(tokens.iter().map(|token| row(token, now)));
        printer.text(objects::table(&rows, 10, 3));
        return Ok(());
    }
    for (number, token) in tokens.iter().enumerate() {
        format.print(&fields(token), number == 0, printer)?;
    }
    Ok(())
}

async fn delete(line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    if line.arguments.is_empty() {
        return Err(Refusal::usage(format!(
            "missing argument; 'token delete' is missing token of form {TOKEN_PATTERN:?} or {ID_PATTERN:?}"
        )));
    }
    let mut ids = Vec::new();
    for text in &line.arguments {
        let id = TokenId::parse(text).ok().or_else(|| {
            BootstrapToken::parse(text)
                .ok()
                .map(|token| token.id().clone())
        });
        ids.push(id.ok_or_else(|| {
            Refusal::usage(format!(
                "given token didn't match pattern {TOKEN_PATTERN:?} or {ID_PATTERN:?}"
            ))
        })?);
    }
    let cluster = connect(line).await?;
    let parameters = DeleteParams {
        dry_run: line.is_on("dry-run"),
        ..DeleteParams::default()
    };
    for id in ids {
        if parameters.dry_run {
            let name = id.secret_name();
            rehearsal::would("DELETE", SECRET_NAMESPACE, Some(&name), printer);
            let object = json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": SECRET_NAMESPACE},
            });
            rehearsal::attached(&object, printer);
        }
        secrets(&cluster)
            .delete(&id.secret_name(), &parameters)
            .await
            .map_err(|error| {
                api(
                    &format!("failed to delete bootstrap token \"{id}\""),
                    &error,
                )
            })?;
        printer.line(format!("bootstrap token \"{id}\" deleted"));
    }
    Ok(())
}
