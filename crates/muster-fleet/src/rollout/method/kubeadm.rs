//! The host's own kubeadm: a `JoinConfiguration` comes over standard input into a file that only root reads, on a
//! file system in memory, and goes when the join has ended.

use muster_identity::Secret;
use muster_rollout::StageFailure;
use muster_rollout::fleet_file::{KubeadmMethod, Role, TaintEffect};
use muster_ssh::{OutputLine, Stream};
use serde_json::{Value, json};

use super::{Join, SHORT, Seen, Site, Words};
use crate::rollout::fault::{self, ids};

pub(super) const PROGRAM: &str = "kubeadm";
/// `$1` the program.
const LOOK: &str = r#"set -eu
"$1" version -o short
if [ -e /etc/kubernetes/kubelet.conf ]; then echo node; fi"#;
/// `$1` the program, `$2` the file, then further arguments. The file goes however this ends.
pub(super) const JOIN: &str = r#"set -u
program=$1; file=$2; shift 2
umask 077
trap 'rm -f "$file"' EXIT
trap 'exit 143' HUP INT TERM
cat >"$file" || exit 1
"$program" join --config "$file" "$@""#;
/// `$1` the program, `$2` the file, then further arguments. A join of this run whose connection broke may still be at work.
pub(super) const RESET: &str = r#"program=$1; file=$2; shift 2
joining() {
  grep -l -F -e "$file" /proc/[0-9]*/cmdline 2>/dev/null | while read -r at; do
    case "$(tr '\0' ' ' 2>/dev/null <"$at")" in *" --config $file "*) at=${at%/cmdline}; echo "${at#/proc/}";; esac
  done
}
for signal in TERM TERM TERM TERM TERM KILL; do
  left=$(joining)
  [ -n "$left" ] || break
  kill -s "$signal" $left 2>/dev/null
  sleep 1
done
rm -f "$file"
"$program" reset --force "$@""#;
/// How long kubeadm looks for cluster-info signed by the token; the signature is there a moment after the token.
const DISCOVERY: &str = "1m0s";

fn program(method: &KubeadmMethod) -> &str {
    method.binary.as_deref().unwrap_or(PROGRAM)
}

/// The file of one run.
pub(super) fn file(run: &str) -> String {
    format!("/run/muster-{run}.yaml")
}

/// What is looked at without changing anything.
pub(super) fn glance(method: &KubeadmMethod) -> Vec<String> {
    super::shell(LOOK, &[program(method)])
}

pub(super) async fn prepare(site: &Site, method: &KubeadmMethod) -> Result<Seen, StageFailure> {
    let look = site.script(LOOK, &[program(method)]).time_limit(SHORT);
    let output = site
        .must(look, ids::WRONG_BINARY, "run kubeadm on the host")
        .await;
    let output = output.map_err(|failure| {
        failure.with_cure("install kubeadm and the kubelet on the host, or let muster join it")
    })?;
    Ok(Seen {
        was_node: output.stdout.lines().any(|line| line == "node"),
        version: output.stdout.lines().next().map(str::to_owned),
    })
}

/// v1beta4 came with 1.31; older ones read v1beta3.
fn reads_v1beta4(version: Option<&str>) -> bool {
    let minor = version
        .and_then(|version| version.strip_prefix("v1."))
        .and_then(|rest| rest.split('.').next())
        .and_then(|minor| minor.parse::<u32>().ok());
    minor.is_none_or(|minor| minor >= 31)
}

pub(super) fn configuration(join: &Join<'_>, method: &KubeadmMethod) -> Secret<Vec<u8>> {
    let host = &join.site.host;
    let new = reads_v1beta4(join.seen.version.as_deref());
    let mut registration = json!({"name": host.name.as_str()});
    if let Some(socket) = &method.cri_socket {
        registration["criSocket"] = json!(socket);
    }
    if !method.ignore_preflight_errors.is_empty() {
        registration["ignorePreflightErrors"] = json!(method.ignore_preflight_errors);
    }
    if !host.settings.taints.is_empty() {
        let taints = host.settings.taints.iter().map(|taint| {
            let effect: TaintEffect = taint.effect;
            json!({"key": taint.key, "value": taint.value, "effect": effect.as_str()})
        });
        registration["taints"] = taints.collect();
    }
    let mut arguments: Vec<(&str, String)> = Vec::new();
    let labels = join.own_labels();
    if !labels.is_empty() {
        arguments.push(("node-labels", labels.join(",")));
    }
    if let Some(address) = host.node_ip.as_deref().filter(|address| *address != "auto") {
        arguments.push(("node-ip", address.to_owned()));
    }
    if !arguments.is_empty() {
        registration["kubeletExtraArgs"] = if new {
            arguments
                .iter()
                .map(|(name, value)| json!({"name": name, "value": value}))
                .collect()
        } else {
            Value::Object(
                arguments
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), json!(value)))
                    .collect(),
            )
        };
    }
    let mut configuration = json!({
        "apiVersion": if new { "kubeadm.k8s.io/v1beta4" } else { "kubeadm.k8s.io/v1beta3" },
        "kind": "JoinConfiguration",
        "discovery": {"bootstrapToken": {
            "token": join.admission.token.to_text().expose(),
            "apiServerEndpoint": join.admission.endpoint.to_string(),
            "caCertHashes": join.pins(),
        }},
        "nodeRegistration": registration,
    });
    if new {
        configuration["timeouts"] = json!({"discovery": DISCOVERY});
    } else {
        configuration["discovery"]["timeout"] = json!(DISCOVERY);
    }
    if host.settings.role == Role::ControlPlane {
        let key = join
            .admission
            .certificate_key
            .as_ref()
            .map(|key| key.expose().as_str());
        configuration["controlPlane"] = json!({"certificateKey": key.unwrap_or_default()});
    }
    Secret::new(configuration.to_string().into_bytes())
}

pub(super) async fn join(join: &Join<'_>, method: &KubeadmMethod) -> Result<(), StageFailure> {
    if join.seen.was_node {
        return Err(join.was_node("take it out first, on the host: kubeadm reset"));
    }
    let file = file(&join.site.run);
    let further = join.filled(&method.extra_args);
    let mut words = vec![program(method), &file];
    words.extend(further.iter().map(String::as_str));
    let command = join
        .site
        .script(JOIN, &words)
        .stdin(configuration(join, method))
        .time_limit(join.limit);
    let mut last = Words::default();
    let mut take = |line: OutputLine| {
        if let Some(phase) = phase(&line) {
            (join.tell)(phase);
        }
        last.take(&line);
    };
    let exit = join.site.machine.run(command, &mut take).await;
    let exit = exit.map_err(|error| fault::of_machine(&error))?;
    if exit.success() {
        return Ok(());
    }
    Err(fault::of_words("kubeadm join", &last.text))
}

/// kubeadm says `[phase] what it does`.
fn phase(line: &OutputLine) -> Option<&str> {
    let rest = line
        .text
        .strip_prefix('[')
        .filter(|_| line.stream == Stream::Stdout)?;
    let (phase, _) = rest.split_once(']')?;
    let plain = phase
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    plain.then_some(phase)
}

pub(super) async fn reset(site: &Site, method: &KubeadmMethod) -> Result<(), StageFailure> {
    let file = file(&site.run);
    let mut words = vec![program(method), &file];
    if let Some(socket) = &method.cri_socket {
        words.extend(["--cri-socket", socket]);
    }
    let output = site.output(site.script(RESET, &words)).await?;
    if output.exit.success() {
        return Ok(());
    }
    let failure = fault::of_words("kubeadm reset", &output.stderr);
    Err(StageFailure {
        id: ids::RESET_FAILED.to_owned(),
        ..failure
    }
    .with_cure("run it by hand on the host: kubeadm reset --force"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_in_the_version_that_this_kubeadm_reads() {
        for (version, new) in [
            ("v1.36.2", true),
            ("v1.31.0", true),
            ("v1.30.9", false),
            ("v1.22.0", false),
            ("odd", true),
        ] {
            assert_eq!(reads_v1beta4(Some(version)), new, "{version}");
        }
    }

    #[test]
    fn a_phase_is_what_stands_in_brackets() {
        let line = |text: &str| OutputLine {
            stream: Stream::Stdout,
            text: text.to_owned(),
        };
        assert_eq!(
            phase(&line("[kubelet-start] Starting the kubelet")),
            Some("kubelet-start")
        );
        assert_eq!(phase(&line("\t[WARNING Swap]: running with swap on")), None);
        assert_eq!(
            phase(&line("[ERROR Port-10250]: Port 10250 is in use")),
            None
        );
    }
}
