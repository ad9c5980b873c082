//! `muster token create --pre-shared`: a join token of k0s and its Secret as files, for a cluster that is not there yet
//! or cannot be asked.
//!
//! Both files are created 0600: either lets a machine in. It asks nobody and overwrites nothing.

use super::{expiration, of_k0s, random_token, wrapped};
use crate::args::token::{Create, Token};
use crate::exit::{FAILED, Failure};
use crate::printer::{Output, Printer};
use jiff::Timestamp;
use muster_identity::{CertificateBundle, JoinRole, K0sToken, Secret};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

pub(super) fn run(create: &Create, token: &Token, printer: Printer) -> Result<(), Failure> {
    let (Some(cert), Some(url)) = (&create.cert, &create.url) else {
        return Err(Failure::usage("--pre-shared needs --cert and --url"));
    };
    let role: JoinRole = create.role.unwrap_or_default().into();
    let server = wrapped::read_url(url, role)?;
    let unusable = |error: &(dyn std::error::Error + 'static)| {
        Failure::usage(format!("the CA in {} cannot be used", cert.display())).because(error)
    };
    let pem = std::fs::read(cert).map_err(|error| unusable(&error))?;
    let ca = CertificateBundle::from_pem(&pem).map_err(|error| unusable(&error))?;
    let ends = expiration(&create.ttl, Timestamp::now())?;
    let given = create.token.as_deref().map(|text| match text {
        "-" => super::parse_token(&crate::entropy::line_of_standard_input()?),
        text => super::parse_token(text),
    });
    let bootstrap = given.transpose()?.unwrap_or_else(random_token);
    let secret = of_k0s(bootstrap.clone(), create, ends);
    let mut text = Secret::new(String::new());
    let join = K0sToken::new(role, server, ca, bootstrap).encode();
    text.expose_mut().push_str(join.expose());
    text.expose_mut().push('\n');
    let manifest = serde_saphyr::to_string(&secret.to_object())
        .map_err(|error| Failure::usage("the Secret has no YAML form").because(&error))?;
    let id = secret.token.id();
    let files = [
        (format!("{}.yaml", id.secret_name()), Secret::new(manifest)),
        (format!("token_{id}"), text),
    ]
    .map(|(name, content)| (create.out.join(name), content));
    if !token.dry_run {
        for (path, content) in &files {
            write(path, content).map_err(|error| {
                Failure::new(
                    "token-file",
                    FAILED,
                    format!("cannot write {}", path.display()),
                )
                .because(&error)
                .cure("name another folder with --out DIR; nothing is overwritten")
            })?;
        }
    }
    let [(manifest, _), (join, _)] = files;
    tell(
        &manifest,
        &join,
        role,
        &secret.expiration.to_string(),
        printer,
    );
    Ok(())
}

/// Nobody but the owner may ever read it, not even for a moment.
fn write(path: &Path, content: &Secret<String>) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content.expose().as_bytes())?;
    file.sync_all()
}

fn tell(manifest: &PathBuf, join: &PathBuf, role: JoinRole, ends: &str, printer: Printer) {
    if printer.output() != Output::Text {
        let mut object = json!({
            "kind": "PreSharedToken", "role": role.as_str(),
            "manifest": manifest, "tokenFile": join,
        });
        if !ends.is_empty() {
            object["expires"] = json!(ends);
        }
        super::print_object(&object, printer);
        return;
    }
    printer.line(manifest.display().to_string());
    printer.line(join.display().to_string());
    let end = if ends.is_empty() {
        "never ends".to_owned()
    } else {
        format!("ends at {ends}")
    };
    printer.note(format!(
        "the token is good once the cluster has the Secret (kubectl apply -f {}), and {end}",
        manifest.display()
    ));
}
