//! What is said below wins over what is said above: defaults, then groups in their order, then the host.
//!
//! Single values are replaced, labels and taints are added to, lists (hooks, arguments, jump hosts) are replaced as a
//! whole. It refuses to know what the settings mean.

use super::host::Taint;
use super::words::MethodName;
use super::written::{HooksEntry, Join, JoinBlock, Ordered, Settings, Ssh};

impl Settings {
    /// These settings with those of a lower level over them.
    pub(crate) fn with(&self, lower: &Self) -> Self {
        let mut merged = self.with_connection(lower);
        merged.sudo = lower.sudo.clone().or_else(|| self.sudo.clone());
        merged.role = lower.role.or(self.role);
        merged.labels = labels(&self.labels, &lower.labels);
        merged.taints = taints(&self.taints, &lower.taints);
        merged.join = match (&self.join, &lower.join) {
            (Some(upper), Some(lower)) => Some(join(upper, lower)),
            (upper, lower) => lower.clone().or_else(|| upper.clone()),
        };
        merged.hooks = HooksEntry {
            before_join: or(&lower.hooks.before_join, &self.hooks.before_join),
            after_join: or(&lower.hooks.after_join, &self.hooks.after_join),
        };
        merged.provider = or(&lower.provider, &self.provider);
        merged
    }

    /// The connection alone: who names another kind drops what was said about the one above.
    fn with_connection(&self, lower: &Self) -> Self {
        let local = lower.local.filter(|local| local.value);
        let mut merged = Self::default();
        if local.is_some() || lower.namespace.is_some() {
            merged.local = local;
            merged.namespace = lower.namespace.clone();
            merged.ssh = lower.ssh.clone();
        } else if let Some(ssh) = &lower.ssh {
            merged.ssh = Some(
                self.ssh
                    .as_ref()
                    .map_or_else(|| ssh.clone(), |upper| upper.with(ssh)),
            );
        } else {
            let not_local = lower.local.is_some();
            merged.ssh = self.ssh.clone();
            merged.namespace = self.namespace.clone();
            merged.local = self.local.filter(|_| !not_local);
        }
        merged
    }
}

fn or<T: Clone>(lower: &Option<T>, upper: &Option<T>) -> Option<T> {
    lower.clone().or_else(|| upper.clone())
}

impl Ssh {
    fn with(&self, lower: &Self) -> Self {
        Self {
            address: or(&lower.address, &self.address),
            user: or(&lower.user, &self.user),
            port: lower.port.or(self.port),
            identity_file: or(&lower.identity_file, &self.identity_file),
            jump: or(&lower.jump, &self.jump),
            config_file: or(&lower.config_file, &self.config_file),
            known_hosts_file: or(&lower.known_hosts_file, &self.known_hosts_file),
        }
    }
}

fn labels(upper: &Ordered<String>, lower: &Ordered<String>) -> Ordered<String> {
    let below = |key: &str| lower.0.iter().any(|(other, _)| other.value == key);
    let kept = upper.0.iter().filter(|(key, _)| !below(&key.value));
    Ordered(kept.chain(&lower.0).cloned().collect())
}

fn taints(upper: &[Taint], lower: &[Taint]) -> Vec<Taint> {
    let same = |left: &Taint, right: &Taint| left.key == right.key && left.effect == right.effect;
    let kept = upper
        .iter()
        .filter(|taint| !lower.iter().any(|other| same(taint, other)));
    kept.chain(lower).cloned().collect()
}

/// Another method drops the settings of the one above; the node's address means the same to all.
fn join(upper: &Join, lower: &Join) -> Join {
    let (upper, lower) = (&upper.0, &lower.0);
    let of = |block: &JoinBlock| block.method.unwrap_or(MethodName::Muster);
    if lower.method.is_some_and(|method| method != of(upper)) {
        return Join(JoinBlock {
            node_ip: or(&lower.node_ip, &upper.node_ip),
            ..lower.clone()
        });
    }
    Join(JoinBlock {
        method: lower.method.or(upper.method),
        binary: or(&lower.binary, &upper.binary),
        node_ip: or(&lower.node_ip, &upper.node_ip),
        root: or(&lower.root, &upper.root),
        kubelet: lower.kubelet.or(upper.kubelet),
        runtime: lower.runtime.or(upper.runtime),
        cri_socket: or(&lower.cri_socket, &upper.cri_socket),
        ignore_preflight_errors: or(
            &lower.ignore_preflight_errors,
            &upper.ignore_preflight_errors,
        ),
        extra_args: or(&lower.extra_args, &upper.extra_args),
    })
}
