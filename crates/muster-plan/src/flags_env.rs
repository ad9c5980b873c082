//! `kubeadm-flags.env`: the flags that the packaged unit hands to the kubelet.
//!
//! Source: kubeadm 1.36 writes one line, empty on a worker that asks for nothing special.

use crate::Taint;

/// The text of the file. `hostname_override` is given when the node's name is not the host's.
#[must_use]
pub fn flags_env(
    hostname_override: Option<&str>,
    node_ip: Option<&str>,
    labels: &[(String, String)],
    taints: &[Taint],
    extra: &[(String, String)],
) -> String {
    let flags = kubelet_flags(hostname_override, node_ip, labels, taints, extra).join(" ");
    format!("KUBELET_KUBEADM_ARGS=\"{}\"\n", escape(&flags))
}

/// The flags themselves, in kubeadm's order: what we decide, sorted and as far as nobody asks for another value, then
/// what was asked for, in its own order and with its repeats.
pub(crate) fn kubelet_flags(
    hostname_override: Option<&str>,
    node_ip: Option<&str>,
    labels: &[(String, String)],
    taints: &[Taint],
    extra: &[(String, String)],
) -> Vec<String> {
    let mut flags = Vec::new();
    let mut decide = |name: &str, value: String| {
        if !extra.iter().any(|(asked, _)| asked == name) {
            flags.push(format!("--{name}={value}"));
        }
    };
    if let Some(name) = hostname_override {
        decide("hostname-override", name.to_owned());
    }
    if let Some(address) = node_ip {
        decide("node-ip", address.to_owned());
    }
    if !labels.is_empty() {
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        decide("node-labels", labels.join(","));
    }
    if !taints.is_empty() {
        let taints: Vec<String> = taints.iter().map(ToString::to_string).collect();
        decide("register-with-taints", taints.join(","));
    }
    flags.extend(
        extra
            .iter()
            .map(|(name, value)| format!("--{name}={value}")),
    );
    flags
}

/// As systemd reads an `EnvironmentFile`: inside double quotes, `\`, `"`, `$` and backquote are escaped; a line ends
/// the value, so control characters cannot stand in it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control()) {
        if "\\\"$`".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_worker_has_an_empty_list() {
        assert_eq!(
            flags_env(None, None, &[], &[], &[]),
            "KUBELET_KUBEADM_ARGS=\"\"\n"
        );
    }

    #[test]
    fn name_labels_taints_and_extra_arguments_come_in_order() {
        let labels = [("a".to_owned(), "b".to_owned())];
        let taints = [Taint::parse("dedicated=gpu:NoSchedule").unwrap()];
        let extra = [
            ("v".to_owned(), "4".to_owned()),
            ("v".to_owned(), "5".to_owned()),
        ];
        assert_eq!(
            flags_env(Some("n1"), Some("10.0.0.5"), &labels, &taints, &extra),
            "KUBELET_KUBEADM_ARGS=\"--hostname-override=n1 --node-ip=10.0.0.5 --node-labels=a=b --register-with-taints=dedicated=gpu:NoSchedule --v=4 --v=5\"\n"
        );
    }

    #[test]
    fn what_somebody_asks_for_replaces_what_we_decide() {
        let extra = [("hostname-override".to_owned(), "n2".to_owned())];
        assert_eq!(
            flags_env(Some("n1"), None, &[], &[], &extra),
            "KUBELET_KUBEADM_ARGS=\"--hostname-override=n2\"\n"
        );
    }

    #[test]
    fn nothing_can_break_out_of_the_line() {
        let extra = [("x".to_owned(), "a\"\nEVIL=1 $HOME".to_owned())];
        let text = flags_env(None, None, &[], &[], &extra);
        assert_eq!(text.lines().count(), 1);
        assert_eq!(text, "KUBELET_KUBEADM_ARGS=\"--x=a\\\"EVIL=1 \\$HOME\"\n");
    }
}
