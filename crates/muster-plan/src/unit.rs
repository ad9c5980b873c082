//! The systemd unit of the built-in kubelet.
//!
//! Its first line marks it as ours, so that a reset without a journal can tell it from anybody else's.

/// The first line of every unit that we write.
pub const UNIT_MARK: &str = "# Written by muster join; removed by muster reset.";

/// The text of the unit that runs `argv`.
#[must_use]
pub fn muster_kubelet_unit(argv: &[String]) -> String {
    let command: Vec<String> = argv.iter().map(|word| quote(word)).collect();
    format!(
        "{UNIT_MARK}
[Unit]
Description=muster kubelet: the built-in Kubernetes node agent
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={}
Restart=always
RestartSec=2
KillMode=mixed

[Install]
WantedBy=multi-user.target
",
        command.join(" ")
    )
}

/// As systemd splits command lines: quoted where needed, `%` doubled against specifiers, `$` against variables.
fn quote(word: &str) -> String {
    let word: String = word.chars().filter(|c| !c.is_control()).collect();
    let word = word.replace('%', "%%").replace('$', "$$");
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-:=,%$@+".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word;
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words() {
        let argv = ["/opt/my tools/muster", "kubelet", "--root", "/", "--x=50%"];
        let unit = muster_kubelet_unit(&argv.map(String::from));
        assert!(unit.starts_with(UNIT_MARK));
        assert!(
            unit.contains("ExecStart=\"/opt/my tools/muster\" kubelet --root / --x=50%%\n"),
            "{unit}"
        );
    }

    #[test]
    fn nothing_can_add_a_line() {
        let unit = muster_kubelet_unit(&["a\nExecStartPre=/bin/evil".to_owned()]);
        assert!(!unit.lines().any(|line| line.starts_with("ExecStartPre")));
    }
}
