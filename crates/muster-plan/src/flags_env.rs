//! `kubeadm-flags.env`: the flags that the packaged unit hands to the kubelet.
//!
//! Source: kubeadm 1.36 writes one line, empty on a worker that asks for nothing special.

use crate::Taint;

/// The text of the file. `hostname_override` is given when the node's name is not the host's.
#[must_use]
pub fn flags_env(
    hostname_override: Option<&str>,
    labels: &[(String, String)],
    taints: &[Taint],
    extra: &[(String, String)],
) -> String {
    let flags = kubelet_flags(hostname_override, labels, taints, extra).join(" ");
    format!("KUBELET_KUBEADM_ARGS=\"{}\"\n", escape(&flags))
}

/// The flags themselves, in kubeadm's order: what we decide, then what was asked for.
pub(crate) fn kubelet_flags(
    hostname_override: Option<&str>,
    labels: &[(String, String)],
    taints: &[Taint],
    extra: &[(String, String)],
) -> Vec<String> {
    let mut flags = Vec::new();
    if let Some(name) = hostname_override {
        flags.push(format!("--hostname-override={name}"));
    }
    if !labels.is_empty() {
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        flags.push(format!("--node-labels={}", labels.join(",")));
    }
    if !taints.is_empty() {
        let taints: Vec<String> = taints.iter().map(ToString::to_string).collect();
        flags.push(format!("--register-with-taints={}", taints.join(",")));
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
            flags_env(None, &[], &[], &[]),
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
            flags_env(Some("n1"), &labels, &taints, &extra),
            "KUBELET_KUBEADM_ARGS=\"--hostname-override=n1 --node-labels=a=b --register-with-taints=dedicated=gpu:NoSchedule --v=4 --v=5\"\n"
        );
    }

    #[test]
    fn nothing_can_break_out_of_the_line() {
        let extra = [("x".to_owned(), "a\"\nEVIL=1 $HOME".to_owned())];
        let text = flags_env(None, &[], &[], &extra);
        assert_eq!(text.lines().count(), 1);
        assert_eq!(text, "KUBELET_KUBEADM_ARGS=\"--x=a\\\"EVIL=1 \\$HOME\"\n");
    }
}
