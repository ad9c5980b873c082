//! The host's own k0s, as a worker. It starts from `kubelet-bootstrap.conf`, which leads to a file on a file system in
//! memory while it joins and is gone afterwards: k0s looks for no token once it has a certificate, so a later start
//! needs nothing.

use muster_identity::Secret;
use muster_rollout::StageFailure;
use muster_rollout::fleet_file::ForeignMethod;
use muster_ssh::OutputLine;

use super::{Join, SHORT, Seen, Site, Words};
use crate::rollout::fault::{self, ids};
use crate::rollout::token::k0s_kubeconfig;

pub(super) const PROGRAM: &str = "k0s";
/// `$1` the program.
const LOOK: &str = r#"set -eu
"$1" version
if [ -e /var/lib/k0s/kubelet.conf ]; then echo node; fi"#;
/// `$1` the program, `$2` the run, `$3` how many seconds a certificate is waited for; further arguments are the worker's.
/// Standard input: the kubeconfig with the token.
pub(super) const JOIN: &str = r#"set -eu
program=$1; run=$2; patience=$3; shift 3
umask 077
conf=/run/muster-k0s-$run.conf; bootstrap=/var/lib/k0s/kubelet-bootstrap.conf
mkdir -p /var/lib/k0s && chmod 0755 /var/lib/k0s
leave() { rm -f "$conf" "$bootstrap"; }
trap leave EXIT
trap 'exit 143' HUP INT TERM
cat >"$conf"
ln -sfn "$conf" "$bootstrap"
if ! systemctl cat k0sworker.service >/dev/null 2>&1; then "$program" install worker "$@"; fi
"$program" start || "$program" status >/dev/null
waited=0
while [ ! -s /var/lib/k0s/kubelet.conf ]; do
  if [ "$waited" -ge "$patience" ]; then
    journalctl -u k0sworker.service -n 12 -o cat --no-pager >&2 || true
    exit 1
  fi
  sleep 1; waited=$((waited + 1))
done"#;
/// `$1` the program, `$2` the run.
pub(super) const RESET: &str = r#"rm -f "/run/muster-k0s-$2.conf" /var/lib/k0s/kubelet-bootstrap.conf
"$1" stop >/dev/null 2>&1
"$1" reset"#;

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
        .must(look, ids::WRONG_BINARY, "run k0s on the host")
        .await;
    let output = output
        .map_err(|failure| failure.with_cure("put the k0s binary on the host, in root's path"))?;
    Ok(Seen {
        was_node: output.stdout.lines().any(|line| line == "node"),
        version: output.stdout.lines().next().map(str::to_owned),
    })
}

/// The arguments of `k0s install worker`.
pub(super) fn arguments(join: &Join<'_>, method: &ForeignMethod) -> Vec<String> {
    let host = &join.site.host;
    let mut kubelet = vec![format!("--hostname-override={}", host.name)];
    if let Some(address) = host.node_ip.as_deref().filter(|address| *address != "auto") {
        kubelet.push(format!("--node-ip={address}"));
    }
    let mut words = vec![format!("--kubelet-extra-args={}", kubelet.join(" "))];
    for (flag, values) in [("--labels", join.own_labels()), ("--taints", join.taints())] {
        if !values.is_empty() {
            words.push(format!("{flag}={}", values.join(",")));
        }
    }
    words.extend(join.filled(&method.extra_args));
    words
}

pub(super) async fn join(join: &Join<'_>, method: &ForeignMethod) -> Result<(), StageFailure> {
    if join.seen.was_node {
        return Err(join.was_node("take it out first, on the host: k0s stop && k0s reset"));
    }
    let patience = join.limit.as_secs().saturating_sub(10).max(5).to_string();
    let further = arguments(join, method);
    let mut words = vec![program(method), &join.site.run, &patience];
    words.extend(further.iter().map(String::as_str));
    let kubeconfig = k0s_kubeconfig(join.admission)?;
    let input = Secret::new(kubeconfig.expose().clone().into_bytes());
    (join.tell)("k0s worker");
    let command = join
        .site
        .script(JOIN, &words)
        .stdin(input)
        .time_limit(join.limit);
    let mut last = Words::default();
    let mut take = |line: OutputLine| last.take(&line);
    let exit = join.site.machine.run(command, &mut take).await;
    let exit = exit.map_err(|error| fault::of_machine(&error))?;
    if exit.success() {
        return Ok(());
    }
    Err(fault::of_words("k0s worker", &last.text))
}

pub(super) async fn reset(site: &Site, method: &ForeignMethod) -> Result<(), StageFailure> {
    let reset = site.script(RESET, &[program(method), &site.run]);
    site.must(reset, ids::RESET_FAILED, "take the k0s worker back")
        .await
        .map(drop)
}
