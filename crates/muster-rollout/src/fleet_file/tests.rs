//! What a fleet file says, and what it says when it is wrong.

use super::*;
use crate::document::FileError;
use crate::range::MAX_HOSTS;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const HEAD: &str = "apiVersion: muster.dev/v1alpha1\nkind: FleetConfiguration\n";

fn ambient() -> Ambient<'static> {
    Ambient {
        name: "unnamed",
        directory: "/etc/fleets",
    }
}

fn fleet(body: &str) -> Fleet {
    try_fleet(body).unwrap_or_else(|error| panic!("{error}"))
}

fn try_fleet(body: &str) -> Result<Fleet, FileError> {
    FleetConfiguration::parse(&format!("{HEAD}{body}"))?.resolve(&ambient())
}

/// The first fault as it is shown.
fn fault(body: &str) -> String {
    let error = try_fleet(body).expect_err("it is wrong");
    error
        .faults()
        .first()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

#[test]
fn the_shortest_fleet_has_every_default() {
    let fleet = fleet("hosts: [{name: a}]\n");
    assert_eq!(fleet.name, "unnamed");
    let host = &fleet.hosts[0];
    assert_eq!(host.address(), "a");
    assert_eq!(*host.settings, HostSettings::default());
    assert_eq!(fleet.policy.keep, Keep::AllOrNothing);
    assert_eq!(fleet.policy.max_failures, None);
    assert_eq!(fleet.policy.waves, [1]);
    assert_eq!(fleet.concurrency.limit, Limit::Fixed(1));
    assert_eq!(fleet.timeouts.ready, Duration::from_secs(300));
    assert_eq!(fleet.timeouts.run, None);
    assert_eq!(fleet.token.ttl, Duration::from_secs(3600));
    assert_eq!(fleet.readiness.until, Until::Ready);
}

#[test]
fn the_host_wins_over_its_groups_and_they_over_the_defaults() {
    let fleet = fleet(
        "
defaults:
  ssh: {user: root, port: 2222, identityFile: keys/fleet, jump: [door]}
  labels: {site: a, tier: low}
  taints: ['gpu=no:NoSchedule']
  hooks: {beforeJoin: [echo above]}
groups:
  fast:
    concurrency: 4
    labels: {tier: high}
    ssh: {user: admin}
  odd:
    hooks: {beforeJoin: [[/bin/prepare, --odd]]}
hosts:
- name: w1
  groups: [odd, fast]
  ssh: {port: 22}
  labels: {site: b}
  taints: ['gpu=yes:NoSchedule', 'x:NoExecute']
- name: w2
  namespace: ns-{name}
",
    );
    let [first, second] = fleet.hosts.as_slice() else {
        panic!()
    };
    let Connection::Ssh(ssh) = &first.settings.connection else {
        panic!()
    };
    assert_eq!(ssh.user.as_deref(), Some("admin"));
    assert_eq!(ssh.port, Some(22));
    assert_eq!(ssh.identity_files, ["/etc/fleets/keys/fleet"]);
    assert_eq!(first.settings.jump, Some(0));
    assert_eq!(fleet.jumps[0][0].to_string(), "door");
    let labels: Vec<_> = first
        .settings
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    assert_eq!(labels, ["site=b", "tier=high"]);
    let taints: Vec<_> = first
        .settings
        .taints
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(taints, ["gpu=yes:NoSchedule", "x:NoExecute"]);
    let program = vec!["/bin/prepare".to_owned(), "--odd".to_owned()];
    assert_eq!(
        first.settings.hooks.before_join,
        [HookCommand::Program(program)]
    );
    assert_eq!(first.settings.groups, [0, 1]);
    assert_eq!(fleet.groups[0].limit, Some(4));
    assert_eq!(fleet.groups[1].limit, None);
    assert_eq!(second.settings.connection, Connection::Namespace);
    assert_eq!(second.address(), "ns-w2");
    assert_eq!(second.settings.jump, None);
}

#[test]
fn ranges_of_one_host_go_along_with_its_name_one_by_one() {
    let fleet = fleet(
        "
hosts:
- name: worker-[01:20]
  ssh: {address: '10.0.0.[101:120]'}
  join: {nodeIP: '192.168.7.[1:20]'}
- name: r[1:2]n[1:2]
  ssh: {address: '{name}.example.com'}
",
    );
    assert_eq!(fleet.hosts.len(), 24);
    let last = &fleet.hosts[19];
    assert_eq!(last.name.as_str(), "worker-20");
    assert_eq!(last.address(), "10.0.0.120");
    assert_eq!(last.node_ip.as_deref(), Some("192.168.7.20"));
    assert_eq!(fleet.hosts[22].address(), "r2n1.example.com");
    assert!(Arc::ptr_eq(
        &fleet.hosts[0].settings,
        &fleet.hosts[20].settings
    ));
}

#[test]
fn two_hundred_thousand_hosts_share_what_they_have_in_common() {
    let fleet = fleet(
        "
defaults: {labels: {a: b}, join: kubeadm}
hosts:
- {name: 'n-[1:199998]'}
- {name: x, ssh: {address: 10.0.0.1}}
- {name: y, ssh: {address: 10.0.0.2, user: other}}
",
    );
    assert_eq!(fleet.hosts.len(), MAX_HOSTS);
    let shared = &fleet.hosts[0].settings;
    assert!(
        fleet.hosts[..199_998]
            .iter()
            .all(|host| Arc::ptr_eq(&host.settings, shared))
    );
    // Saying only where it is makes a host no exception.
    assert!(Arc::ptr_eq(&fleet.hosts[199_998].settings, shared));
    assert!(!Arc::ptr_eq(&fleet.hosts[199_999].settings, shared));
    assert!(size_of::<HostSpec>() <= 80);
}

#[test]
fn one_host_more_than_there_may_be_is_refused() {
    let text = fault("hosts: [{name: 'n-[1:200000]'}, {name: x}]\n");
    assert_eq!(
        text,
        "line 3, column 33: hosts[1]: there are more than 200000 hosts; make several fleets of them"
    );
}

#[test]
fn what_is_wrong_has_its_line_its_column_its_field_and_its_cure() {
    for (body, wanted) in [
        (
            "hosts:\n- name: a\n  ssh: {prot: 22}\n",
            "line 5, column 9: hosts[0].ssh.prot: there is no field prot here; did you mean port?",
        ),
        (
            "host: []\n",
            "line 3, column 1: host: there is no field host here; did you mean hosts?",
        ),
        (
            "hosts:\n- nmae: a\n",
            "line 4, column 3: hosts[0].nmae: there is no field nmae here; did you mean name?",
        ),
        (
            "hosts:\n- ssh: {user: root}\n",
            "line 4, column 3: hosts[0]: the field name is missing; add name: …",
        ),
        (
            "hosts:\n- name: a\n  ssh: {port: 70000}\n",
            "line 5, column 15: hosts[0].ssh.port: 70000 is not a port; write a number from 1 to 65535",
        ),
        (
            "hosts:\n- name: a\n  labels: {gpu: true}\n",
            "line 5, column 17: hosts[0].labels.gpu: expected a string, found true; put it in quotes",
        ),
        (
            "hosts:\n- name: a\n  role: controller\n",
            "line 5, column 9: hosts[0].role: there is no choice controller; did you mean control-plane?",
        ),
        (
            "hosts:\n- name: a\n  role: wroker\n",
            "line 5, column 9: hosts[0].role: there is no choice wroker; did you mean worker?",
        ),
        (
            "hosts:\n- name: a\n  join: kubeadn\n",
            "line 5, column 9: hosts[0].join: there is no choice kubeadn; did you mean kubeadm?",
        ),
        (
            "hosts:\n- name: a\n  taints: ['gpu']\n",
            "line 5, column 12: hosts[0].taints[0]: \"gpu\" will not do; write key=value:NoSchedule, key=value:PreferNoSchedule or key=value:NoExecute",
        ),
        (
            "timeouts: {ready: 5 minutes}\nhosts: [{name: a}]\n",
            "line 3, column 19: timeouts.ready: \"5 minutes\" will not do; write a span such as 30s, 5m or 1h30m",
        ),
        (
            "timeouts: {ready: 0s}\nhosts: [{name: a}]\n",
            "line 3, column 19: timeouts.ready: nothing can be done in no time; write a span such as 30s or 5m",
        ),
        (
            "hosts:\n- name: Worker_1\n",
            "line 4, column 9: hosts[0].name: \"worker_1\" is not a DNS-1123 subdomain; use lower-case letters, digits, - and ., such as worker-01; ranges are written [01:20]",
        ),
        (
            "hosts:\n- name: w[01-20]\n",
            "line 4, column 9: hosts[0].name: [01-20] is not how a range is written here; write [01:20]",
        ),
        (
            "hosts:\n- name: w[1:3]\n  ssh: {address: '10.0.0.[1:4]'}\n",
            "line 5, column 18: hosts[0].ssh.address: it stands for 4 and the name for 3; they go along with each other one by one; give both ranges the same length, or write {name} for the host's name",
        ),
        (
            "hosts:\n- name: a\n- name: a\n",
            "line 5, column 9: hosts[1].name: a stands there already, in line 4; give every host a name of its own",
        ),
        (
            "hosts:\n- {name: a, ssh: {address: h}}\n- {name: b, ssh: {address: h}}\n",
            "line 5, column 3: hosts[1]: b is at the same place as a; give each an address, a port, or with muster a root of its own; ranges go along one by one",
        ),
        (
            "hosts:\n- {name: a, ssh: {address: 'root@h'}}\n",
            "line 4, column 3: hosts[0]: the address \"root@h\" has a login in it; write the login as ssh.user",
        ),
        (
            "hosts:\n- {name: a, ssh: {address: 'h:22'}}\n",
            "line 4, column 3: hosts[0]: the address \"h:22\" has a port or brackets in it; write the address bare and the port as ssh.port",
        ),
        (
            "groups: {racks: {}}\nhosts:\n- {name: a, groups: [rack]}\n",
            "line 5, column 22: hosts[0].groups: there is no group rack; did you mean racks?",
        ),
        (
            "hosts:\n- {name: a, namespace: x, local: true}\n",
            "line 4, column 3: hosts[0].ssh: a host is reached in one way; keep one of ssh, namespace and local",
        ),
        (
            "hosts:\n- {name: a, join: {method: kubeadm, root: /x}}\n",
            "line 4, column 43: hosts[0].join.root: kubeadm knows nothing like it; take it out, say it by extraArgs, or use join: muster",
        ),
        (
            "hosts:\n- {name: a, role: control-plane, join: k0s}\n",
            "line 4, column 3: hosts[0].role: k0s joins workers only; use join: muster or join: kubeadm for control-plane hosts",
        ),
        (
            "policy: {onFailure: keepAtLeast}\nhosts: [{name: a}]\n",
            "line 3, column 21: policy.onFailure: nothing says how many are enough; add keepAtLeast: 80%",
        ),
        (
            "policy: {keepAtLeast: 2}\nhosts: [{name: a}]\n",
            "line 3, column 23: policy.keepAtLeast: it can never be met: there are 1 hosts; write a smaller number, or a share such as 80%",
        ),
        (
            "policy: {keepAtLeast: 120%}\nhosts: [{name: a}]\n",
            "line 3, column 23: policy.keepAtLeast: a text will not do; write a number of hosts from 1, or a share from 1% to 100%",
        ),
        (
            "concurrency: {limit: 0}\nhosts: [{name: a}]\n",
            "line 3, column 22: concurrency.limit: 0 is not between 1 and 4294967295; write a number from 1, or auto",
        ),
        (
            "k8s: {kubeadm: {join_parallelism: -2}}\nhosts: [{name: a}]\n",
            "line 3, column 35: k8s.kubeadm.join_parallelism: -2 is not between 1 and 4294967295; write a number from 1, or auto",
        ),
        (
            "token: {ttl: 5m, margin: 10m}\nhosts: [{name: a}]\n",
            "line 3, column 26: token.margin: a token would be too old as soon as it is minted; write a margin that is shorter than the ttl",
        ),
        (
            "cluster: {endpoint: 'https://h:1/x'}\nhosts: [{name: a}]\n",
            "line 3, column 21: cluster.endpoint: an endpoint has no path, query or user, found \"/x\"; write HOST:PORT, such as 10.0.0.10:6443",
        ),
        (
            "cluster: {mintOn: {sudo: none}}\nhosts: [{name: a}]\n",
            "line 3, column 19: cluster.mintOn: nothing says which machine it is; add ssh: {address: HOST}, namespace: NAME or local: true",
        ),
        (
            "hosts: []\n",
            "hosts: there are no hosts; add hosts: [{name: NAME}], or give an inventory",
        ),
        (
            "hosts:\n- name: a\n  name: b\n",
            "line 5, column 3: the field name stands there twice; keep one of them",
        ),
        (
            "hosts: 5\n",
            "line 3, column 8: hosts: expected a list, found 5; write a list",
        ),
        (
            "defaults:\nhosts: [{name: a}]\n",
            "line 3, column 9: defaults: expected a block of fields, found nothing; give it a value or take the line out",
        ),
    ] {
        assert_eq!(fault(body), wanted, "{body}");
    }
}

#[test]
fn everything_that_is_wrong_with_the_hosts_is_said_at_once_in_the_order_of_the_file() {
    let error = try_fleet(
        "policy: {onFailure: keepAtLeast}\nhosts:\n- name: A_B\n- {name: b, labels: {'': x}}\n",
    )
    .unwrap_err();
    let lines: Vec<u32> = error
        .faults()
        .iter()
        .map(|fault| fault.position.line)
        .collect();
    assert_eq!(lines, [3, 5, 6]);
    assert_eq!(error.to_string().lines().count(), 3);
}

#[test]
fn more_faults_than_anybody_reads_are_counted() {
    let hosts: String = (0..50).map(|n| format!("- {{name: x_{n}}}\n")).collect();
    let error = try_fleet(&format!("hosts:\n{hosts}")).unwrap_err();
    assert_eq!(error.faults().len(), 20);
    assert!(error.to_string().ends_with("and 30 more"));
}

#[test]
fn a_secret_at_the_wrong_place_is_not_repeated() {
    for body in [
        "hosts: [{name: a, sudo: hunter2}]\n",
        "hosts: [{name: a, sudo: {password: hunter2}}]\n",
        "hosts: [{name: a, sudo: {password: [hunter2]}}]\n",
        "cluster: {certificateKey: hunter2}\nhosts: [{name: a}]\n",
    ] {
        let text = fault(body);
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("prompt"), "{text}");
    }
}

#[test]
fn a_password_comes_from_a_prompt_a_variable_or_a_file_below_the_fleet_files_directory() {
    let sudo = |text: &str| {
        fleet(&format!("hosts: [{{name: a, sudo: {text}}}]\n")).hosts[0]
            .settings
            .sudo
            .clone()
    };
    assert_eq!(sudo("none"), Sudo::Never);
    assert_eq!(sudo("passwordless"), Sudo::Passwordless);
    assert_eq!(
        sudo("{password: prompt}"),
        Sudo::Password(SecretSource::Prompt)
    );
    assert_eq!(
        sudo("{password: {env: PW}}"),
        Sudo::Password(SecretSource::Env("PW".into()))
    );
    assert_eq!(
        sudo("{password: {file: pw}}"),
        Sudo::Password(SecretSource::File("/etc/fleets/pw".into()))
    );
    assert_eq!(
        sudo("{password: {file: ~/pw}}"),
        Sudo::Password(SecretSource::File("~/pw".into()))
    );
}

#[test]
fn the_cap_has_two_names_and_one_meaning() {
    let limit = |text: &str| {
        fleet(&format!("{text}\nhosts: [{{name: 'n[1:10]'}}]\n"))
            .concurrency
            .limit
    };
    assert_eq!(limit(""), Limit::Fixed(3));
    assert_eq!(
        limit("k8s: {kubeadm: {join_parallelism: 5}}"),
        Limit::Fixed(5)
    );
    assert_eq!(limit("concurrency: {limit: 5}"), Limit::Fixed(5));
    assert_eq!(limit("concurrency: {limit: auto}"), Limit::Auto);
    // More than there are hosts is all at once.
    assert_eq!(limit("concurrency: {limit: 99}"), Limit::Fixed(10));
    assert_eq!(
        limit("concurrency: {limit: 4}\nk8s: {kubeadm: {join_parallelism: 4}}"),
        Limit::Fixed(4)
    );
    let text = fault(
        "concurrency: {limit: 4}\nk8s: {kubeadm: {join_parallelism: 5}}\nhosts: [{name: a}]\n",
    );
    assert!(text.contains("says another number"), "{text}");
}

#[test]
fn waves_are_counted_out_the_last_one_is_repeated_and_the_canary_goes_first() {
    let waves = |policy: &str| {
        fleet(&format!("policy: {policy}\nhosts: [{{name: 'n[1:20]'}}]\n"))
            .policy
            .waves
    };
    assert_eq!(waves("{canary: 1}"), [1, 19]);
    assert_eq!(waves("{canary: 1, waves: [10%, 50%]}"), [1, 2, 10, 7]);
    assert_eq!(waves("{waves: [5]}"), [5, 5, 5, 5]);
    assert_eq!(waves("{canary: 100}"), [20]);
    let kept = |policy: &str| {
        fleet(&format!("policy: {policy}\nhosts: [{{name: 'n[1:20]'}}]\n"))
            .policy
            .keep
    };
    assert_eq!(kept("{keepAtLeast: 81%}"), Keep::AtLeast(17));
    assert_eq!(kept("{onFailure: keepSuccesses}"), Keep::Successes);
}

#[test]
fn another_method_below_drops_the_settings_of_the_one_above_but_not_the_nodes_address() {
    let fleet = fleet(
        "
defaults: {join: {method: kubeadm, binary: /opt/kubeadm, nodeIP: auto}}
hosts:
- name: a
- {name: b, join: k3s}
- {name: c, join: {extraArgs: [--v=5]}}
",
    );
    let binary = |index: usize| match &fleet.hosts[index].settings.join {
        HostMethod::Kubeadm(method) => ("kubeadm", method.binary.clone(), method.extra_args.len()),
        HostMethod::K3s(method) => ("k3s", method.binary.clone(), method.extra_args.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!(binary(0), ("kubeadm", Some("/opt/kubeadm".into()), 0));
    assert_eq!(binary(1), ("k3s", None, 0));
    assert_eq!(binary(2), ("kubeadm", Some("/opt/kubeadm".into()), 1));
    assert!(
        fleet
            .hosts
            .iter()
            .all(|host| host.node_ip.as_deref() == Some("auto"))
    );
}

#[test]
fn several_nodes_of_one_machine_need_roots_of_their_own() {
    let fleet =
        fleet("defaults: {local: true, join: {root: '/srv/{name}'}}\nhosts: [{name: 'n[1:3]'}]\n");
    assert_eq!(fleet.hosts.len(), 3);
    let text = fault("defaults: {local: true}\nhosts: [{name: 'n[1:3]'}]\n");
    assert!(text.contains("n2 is at the same place as n1"), "{text}");
}

#[test]
fn a_control_plane_machine_mints_with_what_the_defaults_say_about_ssh() {
    let fleet = fleet(
        "
cluster:
  mintOn: {ssh: {address: 10.0.0.10}, kubeadm: /opt/bin/kubeadm}
  caCertHashes: ['sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855']
defaults: {ssh: {user: ubuntu, jump: [door@bastion:2222]}}
hosts: [{name: a}]
",
    );
    let mint = fleet.cluster.mint_on.unwrap();
    assert_eq!(mint.host.address(), "10.0.0.10");
    let Connection::Ssh(ssh) = &mint.host.settings.connection else {
        panic!()
    };
    assert_eq!(ssh.user.as_deref(), Some("ubuntu"));
    assert_eq!(ssh.jump[0].to_string(), "door@bastion:2222");
    assert_eq!(mint.host.settings.jump, fleet.hosts[0].settings.jump);
    assert_eq!(fleet.cluster.pins.len(), 1);
}

#[test]
fn providers_have_a_size_of_two_processors_and_eight_gibibytes() {
    let fleet = fleet(
        "
hosts:
- {name: a, provider: {vagrant: {box: debian/bookworm64, cpus: 4}}}
- {name: b, provider: {command: {create: 'make {name}', destroy: 'unmake {name}'}}}
- {name: c, provider: local}
- {name: d, provider: none}
",
    );
    let Provider::Vagrant(vagrant) = &fleet.hosts[0].settings.provider else {
        panic!()
    };
    assert_eq!((vagrant.size.cpus, vagrant.size.memory), (4, 8192));
    let Provider::Command(command) = &fleet.hosts[1].settings.provider else {
        panic!()
    };
    assert_eq!((command.size.cpus, command.size.memory), (2, 8192));
    assert_eq!(fleet.hosts[1].fill(&command.create), "make b");
    assert_eq!(fleet.hosts[2].settings.provider.as_str(), "local");
    assert_eq!(fleet.hosts[3].settings.provider, Provider::None);
}

#[test]
fn other_kinds_of_files_are_told_apart_before_their_fields_are_read() {
    let told = |text: &str| FleetConfiguration::parse(text).unwrap_err().to_string();
    assert!(
        told("apiVersion: k0sctl.k0sproject.io/v1beta1\nkind: Cluster\n").contains("--inventory")
    );
    assert!(
        told("kind: FleetConfiguration\nhosts: []\n").contains("apiVersion: muster.dev/v1alpha1")
    );
    assert!(told("- a\n").contains("this is no fleet file"));
    assert!(told("[worker]\na ansible_host=1\n").contains("line"));
    assert!(told("a: 1\n---\nb: 2\n").contains("more than one document"));
}

#[test]
fn json_is_read_as_well() {
    let text = r#"{"apiVersion": "muster.dev/v1alpha1", "kind": "FleetConfiguration", "hosts": [{"name": "a"}]}"#;
    let fleet = FleetConfiguration::parse(text)
        .unwrap()
        .resolve(&ambient())
        .unwrap();
    assert_eq!(fleet.hosts.len(), 1);
}

#[test]
fn what_grows_by_aliases_or_depth_is_refused() {
    let bomb = (1..12).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
        let before = n - 1;
        let list = vec![format!("*a{before}"); 9].join(", ");
        format!("{text}a{n}: &a{n} [{list}]\n")
    });
    assert!(FleetConfiguration::parse(&bomb).is_err());
    assert!(FleetConfiguration::parse(&"[".repeat(100_000)).is_err());
    assert!(FleetConfiguration::parse(&"{a: ".repeat(100_000)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_the_text_nothing_panics(text in r"(\PC|\n){0,200}") {
        let _ = try_fleet(&text);
    }

    /// A working file with one line spoilt: either it still works, or what is said has a line.
    #[test]
    fn a_spoilt_line_is_named(line in 0_usize..18, junk in r"[a-z:\[\]{}'\-, 0-9]{0,20}", at in 0_usize..20) {
        let good = "metadata: {name: x}
cluster:
  endpoint: h:6443
defaults:
  ssh:
    user: root
    port: 22
  labels: {a: b}
groups:
  g: {concurrency: 2}
hosts:
- name: w[1:3]
  groups: [g]
- name: x
  ssh: {address: h}
policy: {canary: 1}
timeouts: {ready: 5m}
token: {ttl: 1h}
";
        let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
        let text = &mut lines[line];
        let at = at.min(text.len());
        text.insert_str(at, &junk);
        if let Err(error) = try_fleet(&lines.join("\n")) {
            for fault in error.faults() {
                let whole = fault.field == "hosts" || fault.position.line > 0;
                prop_assert!(whole, "{fault:?}");
                prop_assert!(!fault.cure.is_empty() && !fault.what.is_empty());
            }
        }
    }

    #[test]
    fn every_host_of_a_range_is_there_once_and_in_order(count in 1_usize..300) {
        let fleet = fleet(&format!("hosts: [{{name: 'n-[1:{count}]', ssh: {{address: '10.0.0.[1:{count}]'}}}}]\n"));
        prop_assert_eq!(fleet.hosts.len(), count);
        for (index, host) in fleet.hosts.iter().enumerate() {
            prop_assert_eq!(host.name.as_str(), format!("n-{}", index + 1));
            prop_assert_eq!(host.address(), format!("10.0.0.{}", index + 1));
        }
        prop_assert_eq!(fleet.policy.waves.iter().sum::<u32>() as usize, count);
    }
}
