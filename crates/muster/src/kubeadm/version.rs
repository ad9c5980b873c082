//! `kubeadm version`: the release whose behaviour this is.
//!
//! Scripts compare it with the kubelet and the cluster, so it is kubeadm's version and not muster's own; the build
//! fields say that it is muster.

use super::line::Parsed;
use super::output::{go_json, quoted};
use super::refusal::Refusal;
use crate::printer::Printer;
use muster_kubeadm::config::{KUBERNETES_VERSION, to_yaml};
use serde_json::{Value, json};

fn fields() -> Vec<(&'static str, String)> {
    let plain = KUBERNETES_VERSION.trim_start_matches('v');
    let mut parts = plain.split('.').map(str::to_owned);
    let platform = match std::env::consts::ARCH {
        "x86_64" => "linux/amd64".to_owned(),
        "aarch64" => "linux/arm64".to_owned(),
        other => format!("linux/{other}"),
    };
    vec![
        ("major", parts.next().unwrap_or_default()),
        ("minor", parts.next().unwrap_or_default()),
        ("gitVersion", KUBERNETES_VERSION.to_owned()),
        ("gitCommit", format!("muster {}", env!("CARGO_PKG_VERSION"))),
        ("gitTreeState", String::new()),
        ("buildDate", "1970-01-01T00:00:00Z".to_owned()),
        ("goVersion", String::new()),
        ("compiler", "rustc".to_owned()),
        ("platform", platform),
    ]
}

/// Carries out `version`.
pub(super) fn run(line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let fields = fields();
    let field = |name: &str| {
        fields
            .iter()
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value.as_str())
            .unwrap_or_default()
    };
    match line.text("output").unwrap_or_default() {
        "" => printer.line(format!(
            "kubeadm version: &version.Info{{Major:{}, Minor:{}, EmulationMajor:\"\", EmulationMinor:\"\", MinCompatibilityMajor:\"\", MinCompatibilityMinor:\"\", GitVersion:{}, GitCommit:{}, GitTreeState:{}, BuildDate:{}, GoVersion:{}, Compiler:{}, Platform:{}}}",
            quoted(field("major")),
            quoted(field("minor")),
            quoted(field("gitVersion")),
            quoted(field("gitCommit")),
            quoted(field("gitTreeState")),
            quoted(field("buildDate")),
            quoted(field("goVersion")),
            quoted(field("compiler")),
            quoted(field("platform")),
        )),
        "short" => printer.line(field("gitVersion")),
        "yaml" => {
            let map: serde_json::Map<String, Value> =
                fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            printer.text(to_yaml(&json!({ "clientVersion": map })));
            printer.line("");
        }
        "json" => {
            let object: Vec<(&str, Value)> =
                fields.iter().map(|(name, value)| (*name, json!(value))).collect();
            let inner = go_json(&object, 2, 1);
            printer.line(format!("{{\n  \"clientVersion\": {inner}\n}}"));
        }
        other => return Err(Refusal::usage(format!("invalid output format: {other}"))),
    }
    Ok(())
}
