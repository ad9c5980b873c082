//! What is run on hosts, word for word: the tools' own commands, and where the token is.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use muster_identity::{
    BootstrapToken, CaPin, CertificateAuthority, CertificateBundle, Endpoint, Secret,
};
use muster_rollout::fleet_file::{Ambient, FleetConfiguration, HostMethod};

use super::{Binaries, Join, Seen, Site, k0s, k3s, kubeadm, muster};
use crate::rollout::scripted::{Scripted, says};
use crate::rollout::token::Admission;

const SECRET: &str = "0123456789abcdef";

fn admission(ca: Option<CertificateBundle>) -> Admission {
    Admission {
        token: BootstrapToken::parse(&format!("abcdef.{SECRET}")).unwrap(),
        expires: Timestamp::MAX,
        endpoint: Endpoint::parse("10.0.0.1:6443").unwrap(),
        pins: vec![CaPin::parse(&format!("sha256:{}", "a".repeat(64))).unwrap()],
        ca,
        k3s_ca_hash: Some("b".repeat(64)),
        certificate_key: Some(Secret::new("c".repeat(64))),
    }
}

fn site(settings: &str) -> (Site, Scripted) {
    let text = format!(
        "apiVersion: muster.dev/v1alpha1\nkind: FleetConfiguration\nmetadata: {{name: f}}\nhosts:\n- name: w1\n{}",
        settings
            .lines()
            .map(|line| format!("  {line}\n"))
            .collect::<String>()
    );
    let file = FleetConfiguration::parse(&text).unwrap();
    let ambient = Ambient {
        name: "f",
        directory: "",
    };
    let fleet = file.resolve(&ambient).unwrap();
    let machine = Scripted::new("w1");
    let site = Site {
        run: "r1".to_owned(),
        host: fleet.hosts[0].clone(),
        machine: Arc::new(machine.clone()),
        binaries: Binaries::new("/usr/local/bin/muster".into()),
    };
    (site, machine)
}

fn join<'a>(site: &'a Site, seen: &'a Seen, admission: &'a Admission) -> Join<'a> {
    Join {
        site,
        seen,
        admission,
        limit: Duration::from_secs(100),
        tell: &|_| {},
    }
}

const MARKS: &str = "labels: {site: east, node-role.kubernetes.io/gpu: ''}\ntaints: ['a=b:NoSchedule', 'c:NoExecute']\n";

#[test]
fn muster_join_gets_everything_but_the_token_as_arguments() {
    let (site, _) = site(&format!(
        "{MARKS}join: {{method: muster, root: '/r/{{name}}', kubelet: builtin, runtime: hollow, nodeIP: 10.0.0.9, ignorePreflightErrors: [Swap], extraArgs: [--kubelet-arg, v=2]}}"
    ));
    let HostMethod::Muster(method) = &site.host.settings.join else {
        panic!()
    };
    let (seen, admission) = (Seen::default(), admission(None));
    let line = muster::arguments(&join(&site, &seen, &admission), method).join(" ");
    assert_eq!(
        line,
        format!(
            "join 10.0.0.1:6443 --token - --discovery-token-ca-cert-hash sha256:{} --node-name w1 --node-ip 10.0.0.9 \
             --node-labels site=east --register-with-taints a=b:NoSchedule,c:NoExecute --kubelet builtin --runtime hollow \
             --ignore-preflight-errors Swap --root /r/w1 --discovery-timeout 30s --timeout 90s --wait registered \
             --output json --kubelet-arg v=2",
            "a".repeat(64)
        )
    );
}

#[test]
fn kubeadm_reads_a_join_configuration_in_its_own_version() {
    let (site, _) = site(&format!(
        "{MARKS}join: {{method: kubeadm, criSocket: 'unix:///run/x.sock', nodeIP: 10.0.0.9}}"
    ));
    let HostMethod::Kubeadm(method) = &site.host.settings.join else {
        panic!()
    };
    let admission = admission(None);
    let of = |version: &str| -> serde_json::Value {
        let seen = Seen {
            was_node: false,
            version: Some(version.to_owned()),
        };
        serde_json::from_slice(
            kubeadm::configuration(&join(&site, &seen, &admission), method).expose(),
        )
        .unwrap()
    };
    let new = of("v1.36.2");
    assert_eq!(new["apiVersion"], "kubeadm.k8s.io/v1beta4");
    let registration = &new["nodeRegistration"];
    assert_eq!(registration["name"], "w1");
    assert_eq!(registration["criSocket"], "unix:///run/x.sock");
    assert_eq!(
        registration["taints"][1],
        serde_json::json!({"key": "c", "value": "", "effect": "NoExecute"})
    );
    assert_eq!(
        registration["kubeletExtraArgs"][0],
        serde_json::json!({"name": "node-labels", "value": "site=east"})
    );
    assert_eq!(
        new["discovery"]["bootstrapToken"]["token"],
        format!("abcdef.{SECRET}")
    );
    assert!(new.get("controlPlane").is_none());
    assert_eq!(new["timeouts"]["discovery"], "1m0s");
    let old = of("v1.29.4");
    assert_eq!(old["apiVersion"], "kubeadm.k8s.io/v1beta3");
    assert_eq!(
        old["nodeRegistration"]["kubeletExtraArgs"]["node-ip"],
        "10.0.0.9"
    );
    assert_eq!(old["discovery"]["timeout"], "1m0s");
    assert!(old.get("timeouts").is_none());
}

#[test]
fn a_control_plane_host_gets_the_key_of_the_shared_certificates() {
    let (site, _) = site("role: control-plane\njoin: kubeadm\n");
    let HostMethod::Kubeadm(method) = &site.host.settings.join else {
        panic!()
    };
    let (seen, admission) = (Seen::default(), admission(None));
    let bytes = kubeadm::configuration(&join(&site, &seen, &admission), method);
    let configuration: serde_json::Value = serde_json::from_slice(bytes.expose()).unwrap();
    assert_eq!(
        configuration["controlPlane"]["certificateKey"],
        "c".repeat(64)
    );
}

#[test]
fn k3s_gets_a_full_token_a_spent_one_and_its_configuration() {
    let (site, _) = site(&format!("{MARKS}join: k3s\n"));
    let (seen, admission) = (Seen::default(), admission(None));
    let input = k3s::input(&join(&site, &seen, &admission));
    let text = String::from_utf8(input.expose().clone()).unwrap();
    let expected = format!(
        "K10{hash}::abcdef.{SECRET}\nK10{hash}::abcdef.xxxxxxxxxxxxxxxx\nserver: \"https://10.0.0.1:6443\"\ntoken-file: \"/etc/rancher/k3s/muster-token\"\nnode-name: \"w1\"\nnode-label: [\"site=east\"]\nnode-taint: [\"a=b:NoSchedule\", \"c:NoExecute\"]\n",
        hash = "b".repeat(64)
    );
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_word_of_k3s_stays_one_word_in_its_unit() {
    assert_eq!(k3s::unit_word("--kubelet-arg=a=b,c"), "--kubelet-arg=a=b,c");
    assert_eq!(k3s::unit_word(""), r#""""#);
    assert_eq!(
        k3s::unit_word(r#"--x=a b'c"d\e%f$g;"#),
        r#""--x=a b'c\"d\\e%%f$$g;""#
    );
    let (site, machine) = site("local: true\njoin: {method: k3s, extraArgs: ['--x=a b']}\n");
    machine.on("", says(0, ""));
    let (seen, admission) = (Seen::default(), admission(None));
    site.join(&seen, &admission, Duration::from_secs(60), &|_| {})
        .await
        .unwrap();
    assert_eq!(machine.count(r#" "--x=a b""#), 1);
}

#[test]
fn k0s_gets_its_flags_and_a_kubeconfig_of_the_role_worker() {
    let (site, _) = site(&format!(
        "{MARKS}join: {{method: k0s, nodeIP: 10.0.0.9, extraArgs: [--profile, x]}}"
    ));
    let HostMethod::K0s(method) = &site.host.settings.join else {
        panic!()
    };
    let (seen, admission) = (Seen::default(), admission(None));
    let words = k0s::arguments(&join(&site, &seen, &admission), method);
    assert_eq!(
        words,
        [
            "--kubelet-extra-args=--hostname-override=w1 --node-ip=10.0.0.9",
            "--labels=site=east",
            "--taints=a=b:NoSchedule,c:NoExecute",
            "--profile",
            "x"
        ]
    );
    let refused = crate::rollout::token::k0s_kubeconfig(&admission).unwrap_err();
    assert!(refused.message.contains("CA"));
}

#[tokio::test]
async fn no_method_has_the_token_in_an_argument_and_all_feed_it_over_standard_input() {
    let ca = authority();
    for method in ["muster", "kubeadm", "k3s", "k0s"] {
        let (site, machine) = site(&format!("local: true\njoin: {method}\n"));
        machine.on("", says(0, ""));
        let admission = admission(Some(ca.clone()));
        let seen = Seen::default();
        site.join(&seen, &admission, Duration::from_secs(60), &|_| {})
            .await
            .unwrap();
        let calls = machine.calls();
        assert!(
            !calls.iter().any(|call| call.line.contains(SECRET)),
            "{method}"
        );
        assert!(
            calls
                .iter()
                .any(|call| call.stdin.contains(SECRET) && call.as_root),
            "{method}"
        );
    }
}

/// Scripts hold for a real shell: with stand-ins for the tools, a token's file is in memory, closed, and gone afterwards.
#[cfg(target_os = "linux")]
#[test]
fn kubeadms_file_is_closed_to_others_and_goes_whether_or_not_the_join_succeeds() {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let tool = dir.path().join("kubeadm");
    let file = dir.path().join("join.yaml");
    for code in [0, 3] {
        let script = format!("#!/bin/sh\nstat -c %a \"$3\"; cat \"$3\"; exit {code}\n");
        std::fs::write(&tool, script).unwrap();
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", kubeadm::JOIN, "muster"])
            .args([&tool, &file])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(b"the configuration")
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "600\nthe configuration"
        );
        assert!(!file.exists());
    }
}

/// A run that was cut off leaves a join at work on the host; nothing may be taken back beside it.
#[cfg(target_os = "linux")]
#[test]
fn a_join_that_still_runs_ends_before_kubeadm_resets() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Command, Stdio};
    let dir = tempfile::tempdir().unwrap();
    let (tool, file) = (dir.path().join("kubeadm"), dir.path().join("join.yaml"));
    let log = dir.path().join("log");
    let script = format!(
        "#!/bin/sh\ntrap 'echo ended >>{log}; exit 1' TERM\n[ $1 = reset ] && {{ echo \"$*\" >>{log}; exit 0; }}\n\
         echo began >>{log}; n=0; while [ $n -lt 300 ]; do sleep 0.1; n=$((n + 1)); done\n",
        log = log.display()
    );
    std::fs::write(&tool, script).unwrap();
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    let shell = |script: &str| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "muster"]).args([&tool, &file]);
        command.stdin(Stdio::null());
        command
    };
    let mut join = shell(kubeadm::JOIN).spawn().unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while !log.exists() && std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(shell(kubeadm::RESET).status().unwrap().success());
    assert!(!join.wait().unwrap().success());
    assert_eq!(
        std::fs::read_to_string(&log).unwrap(),
        "began\nended\nreset --force\n"
    );
    assert!(!file.exists());
}

fn authority() -> CertificateBundle {
    let life = jiff::SignedDuration::from_hours(1);
    let mut entropy = crate::rollout::tests::world::entropy;
    let authority =
        CertificateAuthority::new_self_signed("kubernetes", Timestamp::now(), life, &mut entropy)
            .unwrap();
    CertificateBundle::from_pem(authority.certificate().to_pem().as_bytes()).unwrap()
}
