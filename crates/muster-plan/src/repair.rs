//! What `muster preflight --fix` mends: modules, kernel settings and swap, now and for the next boot, as steps with undo.
//!
//! Only what is safe on any machine is in here; everything else stays a finding.

use crate::{Facts, JoinRequest, Phase, PlannedStep, Runtime, Step, paths};

/// Where swap is configured for the next boot.
const FSTAB: &str = "/etc/fstab";
/// Before a line that was commented out.
const MARK: &str = "# switched off by muster: ";

/// Files that repairs build upon, as they are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairFiles {
    /// `/etc/fstab`
    pub fstab: Option<String>,
    /// [`paths::MODULES_CONF`], from an earlier repair.
    pub modules_conf: Option<String>,
    /// [`paths::SYSCTL_CONF`], from an earlier repair.
    pub sysctl_conf: Option<String>,
}

impl RepairFiles {
    /// The paths, in the order of the fields.
    pub const PATHS: [&str; 3] = [FSTAB, paths::MODULES_CONF, paths::SYSCTL_CONF];
}

/// The steps that mend this machine; none where there is nothing to mend, on a simulated node, or below a root directory.
#[must_use]
pub fn repairs(facts: &Facts, request: &JoinRequest, files: &RepairFiles) -> Vec<PlannedStep> {
    let mut draft = Draft::default();
    if request.runtime == Runtime::Hollow || !request.root.is_machine() {
        return draft.0;
    }
    let modules: Vec<&str> = ["br_netfilter", "overlay"]
        .into_iter()
        .filter(|name| !facts.modules.contains(*name))
        .collect();
    if !modules.is_empty() {
        let content = joined(
            files.modules_conf.as_deref(),
            modules.iter().map(|name| (*name).to_owned()),
        );
        draft.file("fix-modules-conf", paths::MODULES_CONF, content);
    }
    for name in modules {
        draft.step(
            &format!("fix-module-{name}"),
            Step::LoadModule { name: name.into() },
        );
    }
    let settings = settings(facts, request);
    if !settings.is_empty() {
        let lines = settings
            .iter()
            .map(|(key, value)| format!("{} = {value}", key.replace('/', ".")));
        draft.file(
            "fix-sysctl-conf",
            paths::SYSCTL_CONF,
            joined(files.sysctl_conf.as_deref(), lines),
        );
    }
    for (key, value) in settings {
        let id = format!("fix-{}", key.replace('/', "-"));
        draft.step(
            &id,
            Step::SetSysctl {
                key: key.into(),
                value: value.into(),
            },
        );
    }
    if !facts.swap.is_empty() {
        if let Some(content) = files.fstab.as_deref().and_then(without_swap) {
            let (path, mode) = (FSTAB.into(), 0o644);
            draft.step(
                "fix-fstab",
                Step::WriteFile {
                    path,
                    mode,
                    content,
                },
            );
        }
        draft.step("fix-swap", Step::SwapOff {});
    }
    draft.0
}

/// The settings that are not as a node needs them.
fn settings(facts: &Facts, request: &JoinRequest) -> Vec<(&'static str, &'static str)> {
    let v6 = matches!(request.endpoint.host(), muster_identity::Host::Ip(ip) if ip.is_ipv6());
    let mut wanted = vec![
        ("net/bridge/bridge-nf-call-iptables", "1"),
        ("net/bridge/bridge-nf-call-ip6tables", "1"),
    ];
    // Forwarding of IPv6 lets a machine ignore router advertisements: only where the cluster speaks it.
    wanted.push(if v6 {
        ("net/ipv6/conf/default/forwarding", "1")
    } else {
        ("net/ipv4/ip_forward", "1")
    });
    let is_one = |key: &str| {
        facts
            .sysctls
            .get(key)
            .is_some_and(|value| value.trim() == "1")
    };
    wanted.retain(|(key, _)| !is_one(key));
    for (key, least, value) in [
        ("fs/inotify/max_user_instances", 256, "8192"),
        ("fs/inotify/max_user_watches", 16_384, "524288"),
    ] {
        let now = facts
            .sysctls
            .get(key)
            .and_then(|value| value.trim().parse::<u64>().ok());
        if now.is_some_and(|now| now < least) {
            wanted.push((key, value));
        }
    }
    wanted
}

/// The lines that are there and those that are not, each once.
fn joined(before: Option<&str>, lines: impl IntoIterator<Item = String>) -> String {
    let mut text = before
        .unwrap_or("# written by `muster preflight --fix`\n")
        .to_owned();
    for line in lines {
        if !text.lines().any(|there| there == line) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

/// fstab(5) with its swap lines commented out; `None` when there are none.
fn without_swap(fstab: &str) -> Option<String> {
    let is_swap = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        fields.next().is_some_and(|first| !first.starts_with('#')) && fields.nth(1) == Some("swap")
    };
    if !fstab.lines().any(is_swap) {
        return None;
    }
    let mark = |line: &str| {
        if is_swap(line) {
            format!("{MARK}{line}\n")
        } else {
            format!("{line}\n")
        }
    };
    Some(fstab.lines().map(mark).collect())
}

#[derive(Default)]
struct Draft(Vec<PlannedStep>);

impl Draft {
    fn step(&mut self, id: &str, step: Step) {
        let after = self.0.last().map(|step| step.id.clone());
        self.0.push(PlannedStep {
            id: id.to_owned(),
            phase: Phase::Repair,
            after: after.into_iter().collect(),
            step,
        });
    }

    fn file(&mut self, id: &str, path: &str, content: String) {
        let (path, mode) = (path.to_owned(), 0o644);
        if let Some((dir, _)) = path.rsplit_once('/') {
            let dir = dir.to_owned();
            self.step(
                &format!("{id}-dir"),
                Step::MakeDir {
                    path: dir,
                    mode: 0o755,
                },
            );
        }
        self.step(
            id,
            Step::WriteFile {
                path,
                mode,
                content,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Root;
    use crate::request::tests::request;
    use jiff::Timestamp;

    fn facts() -> Facts {
        Facts::plain("n1", Timestamp::UNIX_EPOCH)
    }

    fn words(facts: &Facts, files: &RepairFiles) -> Vec<String> {
        let steps = repairs(facts, &request(), files);
        steps.iter().map(|step| step.step.description()).collect()
    }

    #[test]
    fn a_machine_in_order_needs_nothing() {
        assert_eq!(
            words(&facts(), &RepairFiles::default()),
            Vec::<String>::new()
        );
    }

    #[test]
    fn modules_settings_and_swap_are_mended_now_and_for_the_next_boot() {
        let mut facts = facts();
        facts.modules.clear();
        facts
            .sysctls
            .insert("net/ipv4/ip_forward".into(), "0\n".into());
        facts.sysctls.remove("net/bridge/bridge-nf-call-iptables");
        facts
            .sysctls
            .insert("fs/inotify/max_user_instances".into(), "128".into());
        facts.swap.push("/dev/sda2".into());
        let files = RepairFiles {
            fstab: Some("/dev/sda1 / ext4 defaults 0 1\n/dev/sda2 none swap sw 0 0\n# /x none swap sw 0 0\n".into()),
            ..RepairFiles::default()
        };
        let steps = repairs(&facts, &request(), &files);
        let words: Vec<String> = steps.iter().map(|step| step.step.description()).collect();
        let expected = [
            "make directory /etc/modules-load.d (0755)",
            "write /etc/modules-load.d/90-muster.conf (0644, 59 bytes)",
            "load kernel module br_netfilter",
            "load kernel module overlay",
            "make directory /etc/sysctl.d (0755)",
            "write /etc/sysctl.d/90-muster.conf (0644, 138 bytes)",
            "set net.bridge.bridge-nf-call-iptables to 1",
            "set net.ipv4.ip_forward to 1",
            "set fs.inotify.max_user_instances to 8192",
            "write /etc/fstab (0644, 105 bytes)",
            "switch swap off",
        ];
        assert_eq!(words, expected);
        let fstab = steps.iter().find_map(|step| match &step.step {
            Step::WriteFile { path, content, .. } if path == FSTAB => Some(content.clone()),
            _ => None,
        });
        assert_eq!(
            fstab.unwrap(),
            "/dev/sda1 / ext4 defaults 0 1\n# switched off by muster: /dev/sda2 none swap sw 0 0\n# /x none swap sw 0 0\n"
        );
    }

    #[test]
    fn an_earlier_repairs_lines_stay() {
        let mut facts = facts();
        facts.modules.remove("overlay");
        let files = RepairFiles {
            modules_conf: Some("br_netfilter\n".into()),
            ..RepairFiles::default()
        };
        let steps = repairs(&facts, &request(), &files);
        let Step::WriteFile { content, .. } = &steps[1].step else {
            panic!("{steps:?}");
        };
        assert_eq!(content, "br_netfilter\noverlay\n");
    }

    #[test]
    fn nothing_is_mended_for_a_node_below_a_directory_or_a_simulated_one() {
        let mut facts = facts();
        facts.modules.clear();
        let mut below = request();
        below.root = Root::new("/tmp/n1");
        assert_eq!(repairs(&facts, &below, &RepairFiles::default()), []);
        let mut hollow = request();
        hollow.runtime = Runtime::Hollow;
        assert_eq!(repairs(&facts, &hollow, &RepairFiles::default()), []);
    }
}
