//! The host's own K3s, as an agent under systemd. While it joins, its token file leads to one on a file system in
//! memory; afterwards the file stays, as a later start wants one, with the token's id and without its secret: the agent
//! then proves itself with its certificate.

use std::fmt::Write as _;

use muster_identity::Secret;
use muster_rollout::StageFailure;
use muster_rollout::fleet_file::ForeignMethod;
use muster_ssh::OutputLine;

use super::{Join, SHORT, Seen, Site, Words};
use crate::rollout::fault::{self, ids};

pub(super) const PROGRAM: &str = "k3s";
/// `$1` the program.
const LOOK: &str = r#"set -eu
"$1" --version
command -v systemctl >/dev/null || { echo 'there is no systemd, under which a k3s agent is started' >&2; exit 1; }
if [ -e /var/lib/rancher/k3s/agent/client-kubelet.crt ]; then echo node; fi"#;
/// `$1` the program, `$2` the run, `$3` how many seconds a certificate is waited for; further arguments are
/// the agent's, as a unit has them.
/// Standard input: the token, the token without its secret, then the configuration.
pub(super) const JOIN: &str = r#"set -eu
program=$(command -v "$1"); run=$2; patience=$3; shift 3
umask 077
etc=/etc/rancher/k3s; token=/run/muster-k3s-$run; certificate=/var/lib/rancher/k3s/agent/client-kubelet.crt
mkdir -p "$etc/config.yaml.d"
IFS= read -r secret; IFS= read -r spent
printf '%s\n' "$secret" >"$token"
unset secret
leave() { rm -f "$token" "$etc/muster-token"; printf '%s\n' "$spent" >"$etc/muster-token"; }
trap leave EXIT
trap 'exit 143' HUP INT TERM
ln -sfn "$token" "$etc/muster-token"
cat >"$etc/config.yaml.d/90-muster.yaml"
if ! systemctl cat k3s-agent.service >/dev/null 2>&1; then
  printf '%s\n' '[Unit]' 'Description=Lightweight Kubernetes' 'Wants=network-online.target' 'After=network-online.target' '' \
    '[Service]' 'Type=notify' 'KillMode=process' 'Delegate=yes' 'LimitNOFILE=1048576' 'LimitNPROC=infinity' 'LimitCORE=infinity' \
    'TasksMax=infinity' 'TimeoutStartSec=0' 'Restart=always' 'RestartSec=5s' "ExecStart=$program agent $*" '' \
    '[Install]' 'WantedBy=multi-user.target' >/etc/systemd/system/k3s-agent.service
  chmod 0644 /etc/systemd/system/k3s-agent.service
  : >"$etc/muster-made-unit"
fi
systemctl daemon-reload
systemctl enable k3s-agent.service >/dev/null 2>&1
systemctl restart --no-block k3s-agent.service
waited=0
while [ ! -s "$certificate" ]; do
  if [ "$waited" -ge "$patience" ]; then
    journalctl -u k3s-agent.service -n 12 -o cat --no-pager >&2 || true
    exit 1
  fi
  sleep 1; waited=$((waited + 1))
done"#;
/// `$1` the run. What the agent made goes, its pods included, which outlive it; the program stays.
pub(super) const RESET: &str = r#"rm -f "/run/muster-k3s-$1"
systemctl disable --now k3s-agent.service >/dev/null 2>&1
if command -v k3s-killall.sh >/dev/null 2>&1; then k3s-killall.sh >/dev/null 2>&1; fi
pods=$(ps -e -o pid,ppid,args | awk '
  {parent[$1] = $2; if ($3 ~ "/k3s/data/[^/]*/bin/containerd-shim") pod[$1] = 1}
  END {for (more = 1; more;) {more = 0; for (p in parent) if (!(p in pod) && (parent[p] in pod)) {pod[p] = 1; more = 1}} for (p in pod) print p}')
[ -z "$pods" ] || kill -9 $pods 2>/dev/null
agent=/var/lib/rancher/k3s/agent
for at in /run/k3s "$agent/" /var/lib/kubelet/pods /run/netns/cni-; do
  awk -v at="$at" 'index($2, at) == 1 {print $2}' /proc/self/mounts | sort -r | xargs -r -n 1 umount 2>/dev/null
done
etc=/etc/rancher/k3s
if [ -e "$etc/muster-made-unit" ]; then rm -f /etc/systemd/system/k3s-agent.service "$etc/muster-made-unit"; systemctl daemon-reload; fi
rm -f "$etc/muster-token" "$etc/config.yaml.d/90-muster.yaml" /etc/rancher/node/password
rmdir "$etc/config.yaml.d" "$etc" 2>/dev/null
if awk -v at="$agent/" 'index($2, at) == 1 {found = 1} END {exit !found}' /proc/self/mounts; then
  echo "something is still mounted below $agent" >&2; exit 1
fi
rm -rf "$agent" || exit 1
if systemctl is-active -q k3s-agent.service; then echo 'k3s-agent.service still runs' >&2; exit 1; fi
exit 0"#;

fn program(method: &ForeignMethod) -> &str {
    method.binary.as_deref().unwrap_or(PROGRAM)
}

/// What is looked at without changing anything.
pub(super) fn glance(method: &ForeignMethod) -> Vec<String> {
    super::shell(LOOK, &[program(method)])
}

pub(super) async fn prepare(site: &Site, method: &ForeignMethod) -> Result<Seen, StageFailure> {
    let look = site.script(LOOK, &[program(method)]).time_limit(SHORT);
    let output = site
        .must(look, ids::WRONG_BINARY, "run k3s on the host")
        .await;
    let output = output
        .map_err(|failure| failure.with_cure("put the k3s binary on the host, in root's path"))?;
    Ok(Seen {
        was_node: output.stdout.lines().any(|line| line == "node"),
        version: output.stdout.lines().next().map(str::to_owned),
    })
}

/// Token, spent token, configuration.
pub(super) fn input(join: &Join<'_>) -> Secret<Vec<u8>> {
    let hash = join.admission.k3s_ca_hash.as_ref();
    let full = |credential: &str| match hash {
        Some(hash) => format!("K10{hash}::{credential}"),
        None => credential.to_owned(),
    };
    let id = join.admission.token.id();
    let token = Secret::new(full(join.admission.token.to_text().expose()));
    let mut text = Secret::new(format!(
        "{}\n{}\n",
        token.expose(),
        full(&format!("{id}.xxxxxxxxxxxxxxxx"))
    ));
    let host = &join.site.host;
    let configuration = text.expose_mut();
    // Writing to a String cannot fail.
    let _ = writeln!(
        configuration,
        "server: {}",
        quoted(&join.admission.endpoint.url())
    );
    let _ = writeln!(
        configuration,
        "token-file: \"/etc/rancher/k3s/muster-token\""
    );
    let _ = writeln!(configuration, "node-name: {}", quoted(host.name.as_str()));
    if let Some(address) = host.node_ip.as_deref().filter(|address| *address != "auto") {
        let _ = writeln!(configuration, "node-ip: {}", quoted(address));
    }
    for (key, values) in [
        ("node-label", join.own_labels()),
        ("node-taint", join.taints()),
    ] {
        if !values.is_empty() {
            let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
            let _ = writeln!(configuration, "{key}: [{}]", values.join(", "));
        }
    }
    Secret::new(text.expose().clone().into_bytes())
}

/// A word of `ExecStart`, which splits at spaces and knows quotes, backslashes, `%` and `$` (systemd.service(5)).
pub(super) fn unit_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' | '$' => quoted.extend([c, c]),
            '\n' => quoted.push_str("\\n"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A JSON string is a YAML string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub(super) async fn join(join: &Join<'_>, method: &ForeignMethod) -> Result<(), StageFailure> {
    if join.seen.was_node {
        return Err(join.was_node("take it out first, on the host: k3s-agent-uninstall.sh"));
    }
    let patience = join.limit.as_secs().saturating_sub(10).max(5).to_string();
    let further = join.filled(&method.extra_args);
    let further: Vec<String> = further.iter().map(|word| unit_word(word)).collect();
    let mut words = vec![program(method), &join.site.run, &patience];
    words.extend(further.iter().map(String::as_str));
    (join.tell)("k3s-agent");
    let command = join
        .site
        .script(JOIN, &words)
        .stdin(input(join))
        .time_limit(join.limit);
    let mut last = Words::default();
    let mut take = |line: OutputLine| last.take(&line);
    let exit = join.site.machine.run(command, &mut take).await;
    let exit = exit.map_err(|error| fault::of_machine(&error))?;
    if exit.success() {
        return Ok(());
    }
    Err(fault::of_words("k3s agent", &last.text))
}

pub(super) async fn reset(site: &Site, _: &ForeignMethod) -> Result<(), StageFailure> {
    let reset = site.script(RESET, &[&site.run]);
    site.must(reset, ids::RESET_FAILED, "take the k3s agent back")
        .await
        .map(drop)
}
