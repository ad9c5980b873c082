//! `muster token inspect`: what is in a token, of whatever kind. The secret is never shown.
//!
//! With `--kubeconfig` the cluster is asked what it knows of the token; without, nobody is.

use crate::args::token::{Inspect, Token};
use crate::cluster::{self, api_failure};
use crate::commands::join_token;
use crate::exit::{Failure, USAGE};
use crate::handshake_failure;
use crate::printer::{Output, Printer};
use jiff::Timestamp;
use muster_handshake::HandshakeError;
use muster_identity::pin::pins_for;
use muster_identity::token::K3sCredentials;
use muster_identity::{
    BootstrapToken, BootstrapTokenSecret, CertificateBundle, JoinRole, K0sToken, K3sToken,
    K3sTokenError, Secret, TokenKind, short_human_duration,
};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::Path;

const HIDDEN: &str = "****";

/// What is known of a token. Absent is what such a token does not say.
#[derive(Default)]
struct Found {
    kind: &'static str,
    role: Option<JoinRole>,
    server: Option<String>,
    ca: Option<CertificateBundle>,
    ca_hash: Option<String>,
    user: Option<String>,
    token: Option<BootstrapToken>,
}

/// What the cluster knows of it.
struct Known {
    /// In words, for people.
    words: String,
    /// For programs.
    fields: Map<String, Value>,
}

pub(super) async fn run(inspect: &Inspect, token: &Token, printer: Printer) -> Result<(), Failure> {
    let text = text(inspect.file.as_deref())?;
    let found = read(&text)?;
    let known = match (&token.kubeconfig, &found.token) {
        (Some(path), Some(bootstrap)) => Some(look_up(path, bootstrap).await?),
        _ => None,
    };
    if printer.output() == Output::Text {
        printer.text(page(&found, known.as_ref(), Timestamp::now()));
    } else {
        super::print_object(&object(&found, known), printer);
    }
    Ok(())
}

fn text(file: Option<&Path>) -> Result<Secret<String>, Failure> {
    if let Some(path) = file {
        return join_token::of_file(path);
    }
    match join_token::of_environment() {
        Some(text) => Ok(text),
        None => join_token::of_file(Path::new("-")),
    }
}

fn read(text: &Secret<String>) -> Result<Found, Failure> {
    let text = text.expose().trim();
    let bytes = text.as_bytes();
    let of_k0s = |kind, token: K0sToken| Found {
        kind,
        role: Some(token.role()),
        server: Some(token.server().url()),
        ca: Some(token.ca().clone()),
        token: Some(token.token().clone()),
        ..Found::default()
    };
    let refused = |error: muster_identity::K0sTokenError| handshake_failure(&error.into());
    match TokenKind::of(bytes) {
        Some(TokenKind::Bootstrap) => {
            let token = BootstrapToken::parse(text);
            Ok(Found {
                kind: "bootstrap",
                token: Some(token.map_err(|error| handshake_failure(&error.into()))?),
                ..Found::default()
            })
        }
        Some(TokenKind::Kubeconfig) => K0sToken::from_kubeconfig(bytes)
            .map(|token| of_k0s("k0s, decoded", token))
            .map_err(refused),
        Some(TokenKind::K3s) => K3sToken::parse(bytes).map(of_k3s).map_err(|error| broken(&error)),
        // A bare password is a token of K3s as well, but then everything would be one.
        None if bytes.len() < 64 => Err(Failure::new(
            "token-unrecognised",
            USAGE,
            "this is not a token of any known form",
        )
        .cure("known are abcdef.0123456789abcdef, K10… of K3s, and the join token of k0s")
        .cure("K3s takes any text as the bare password of a server; nothing could be said of such a one")),
        Some(TokenKind::K0s | TokenKind::Jwt) | None => K0sToken::decode(bytes)
            .map(|token| of_k0s("k0s", token))
            .map_err(refused),
    }
}

fn of_k3s(token: K3sToken) -> Found {
    let mut found = Found {
        kind: "k3s",
        ca_hash: token.ca_hash,
        ..Found::default()
    };
    match token.credentials {
        K3sCredentials::Bootstrap(token) => found.token = Some(token),
        K3sCredentials::Password { user, .. } => found.user = Some(user),
    }
    found
}

fn broken(error: &K3sTokenError) -> Failure {
    let reason = error.to_string();
    handshake_failure(&HandshakeError::JoinTokenUnusable { reason })
}

async fn look_up(kubeconfig: &Path, token: &BootstrapToken) -> Result<Known, Failure> {
    let cluster = cluster::connect(Some(kubeconfig)).await?;
    let name = token.id().secret_name();
    let found = super::secrets(&cluster).get_opt(&name).await;
    let found = found.map_err(|error| api_failure("the token could not be looked up", &error))?;
    let mut fields = Map::new();
    let Some(object) = found else {
        fields.insert("known".into(), json!(false));
        let words =
            "unknown to the cluster: deleted, expired and cleaned away, or of another cluster";
        return Ok(Known {
            words: words.to_owned(),
            fields,
        });
    };
    fields.insert("known".into(), json!(true));
    let object = serde_json::to_value(&object)
        .map_err(|error| Failure::usage("the Secret cannot be read").because(&error))?;
    let words = match BootstrapTokenSecret::from_object(&object) {
        Err(error) => {
            fields.insert("fault".into(), json!(error.to_string()));
            format!("the Secret {name} cannot be used: {error}")
        }
        Ok(secret) => of_secret(&secret, token, Timestamp::now(), &mut fields),
    };
    Ok(Known { words, fields })
}

fn of_secret(
    secret: &BootstrapTokenSecret,
    token: &BootstrapToken,
    now: Timestamp,
    fields: &mut Map<String, Value>,
) -> String {
    let same = secret.token == *token;
    fields.insert("secretMatches".into(), json!(same));
    fields.insert("expired".into(), json!(secret.is_expired(now)));
    fields.insert("usages".into(), json!(secret.usages.words()));
    let end = secret.expiration.to_string();
    if !end.is_empty() {
        fields.insert("expires".into(), json!(end));
    }
    if !same {
        return "the cluster has another secret for this id: the token is not accepted".to_owned();
    }
    let life = match secret.expiration.timestamp() {
        _ if secret.is_expired(now) => format!("expired at {end}"),
        Some(at) => format!(
            "good until {end} ({})",
            short_human_duration(at.duration_since(now))
        ),
        None => "good for ever".to_owned(),
    };
    format!("{life}; for {}", secret.usages.words().join(", "))
}

fn page(found: &Found, known: Option<&Known>, now: Timestamp) -> String {
    let mut page = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(page, "{name:9}{value}");
    };
    line("kind", found.kind);
    if let Some(role) = found.role {
        line("role", role.as_str());
    }
    if let Some(server) = &found.server {
        line("server", server);
    }
    let certificates = found.ca.iter().flat_map(CertificateBundle::certificates);
    for certificate in certificates {
        let state = if certificate.is_valid_at(now) {
            "valid until"
        } else {
            "NOT VALID NOW; its end is"
        };
        let name = &certificate.subject().common_name;
        line(
            "ca",
            &format!("{name}, {state} {:.0}", certificate.not_after()),
        );
    }
    for pin in found.ca.iter().flat_map(pins_for) {
        line("pin", &pin.to_string());
    }
    match &found.ca_hash {
        Some(hash) => line("ca hash", hash),
        None if found.kind == "k3s" => line("ca hash", "none: whoever answers is trusted"),
        None => {}
    }
    if let Some(user) = &found.user {
        line("user", if user.is_empty() { "-" } else { user });
        line("password", HIDDEN);
        line(
            "expires",
            "never: it is the password of the server or of its agents",
        );
    }
    if let Some(token) = &found.token {
        line("id", token.id().as_str());
        line("secret", HIDDEN);
        let unknown = "only the cluster knows: --kubeconfig FILE asks it";
        line(
            "cluster",
            known.map_or(unknown, |known| known.words.as_str()),
        );
    }
    page
}

fn object(found: &Found, known: Option<Known>) -> Value {
    let mut object = json!({"kind": "InspectedToken", "tokenKind": found.kind});
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object[key] = value;
        }
    };
    put("role", found.role.map(|role| json!(role.as_str())));
    put("server", found.server.as_ref().map(|server| json!(server)));
    let certificate = |certificate: &muster_identity::Certificate| {
        json!({
            "subject": certificate.subject().common_name,
            "notBefore": format!("{:.0}", certificate.not_before()),
            "notAfter": format!("{:.0}", certificate.not_after()),
            "pin": muster_identity::CaPin::of(certificate).to_string(),
        })
    };
    let list = |ca: &CertificateBundle| ca.certificates().iter().map(certificate).collect();
    put("certificateAuthorities", found.ca.as_ref().map(list));
    put("caHash", found.ca_hash.as_ref().map(|hash| json!(hash)));
    put("user", found.user.as_ref().map(|user| json!(user)));
    put(
        "id",
        found.token.as_ref().map(|token| json!(token.id().as_str())),
    );
    put("cluster", known.map(|known| Value::Object(known.fields)));
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn inspected(text: &str) -> Result<(String, String), Failure> {
        let found = read(&Secret::new(text.to_owned()))?;
        let page = page(&found, None, Timestamp::UNIX_EPOCH);
        Ok((page, object(&found, None).to_string()))
    }

    #[test]
    fn every_kind_is_named_and_no_secret_is_shown() {
        let ca = muster_identity::CertificateAuthority::new_self_signed(
            "kubernetes",
            Timestamp::now(),
            jiff::SignedDuration::from_hours(24),
            &mut crate::entropy::fill,
        );
        let ca: CertificateBundle = ca.unwrap().certificate().clone().into();
        let k0s = K0sToken::new(
            JoinRole::Controller,
            muster_identity::Endpoint::parse("h:9443").unwrap(),
            ca,
            BootstrapToken::parse("abcdef.0123456789abcdef").unwrap(),
        );
        for (text, words) in [
            (
                "abcdef.0123456789abcdef".to_owned(),
                ["kind     bootstrap", "id       abcdef"],
            ),
            (
                k0s.encode().expose().clone(),
                ["role     controller", "server   https://h:9443"],
            ),
            (
                k0s.to_kubeconfig().to_yaml().expose().clone(),
                ["kind     k0s, decoded", "pin      sha256:"],
            ),
            (
                format!("K10{HASH}::abcdef.0123456789abcdef"),
                ["kind     k3s", "id       abcdef"],
            ),
            (
                "K10::server:0123456789abcdef".to_owned(),
                ["user     server", "ca hash  none"],
            ),
        ] {
            let (page, object) = inspected(&text).unwrap();
            for word in words {
                assert!(page.contains(word), "{page}");
            }
            for shown in [&page, &object] {
                let without_hash = shown.replace(HASH, "");
                assert!(!without_hash.contains("0123456789abcdef"), "{shown}");
            }
        }
    }

    #[test]
    fn what_is_broken_or_no_token_is_told() {
        let id = |text: &str| inspected(text).unwrap_err().id;
        assert_eq!(id("hunter2"), "token-unrecognised");
        assert_eq!(id("K10abc::a:b"), "join-token-unusable");
        assert_eq!(id("H4sIAAAA"), "join-token-unusable");
        assert_eq!(id("eyJhbGciOiJSUzI1NiJ9.e30.x"), "token-kind-mismatch");
    }
}
