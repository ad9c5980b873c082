//! What inventories of other tools become, and what is said about what they cannot.

use super::*;
use crate::fleet_file::{
    Ambient, Connection, Fleet, HostMethod, HostSpec, Limit, Role, SecretSource, Sudo,
};
use proptest::prelude::*;

fn fleet_of(text: &str) -> Fleet {
    let inventory = Inventory::parse(text).unwrap_or_else(|error| panic!("{error}"));
    resolve(FleetConfiguration::default().with_inventory(inventory))
}

fn resolve(configuration: FleetConfiguration) -> Fleet {
    let ambient = Ambient {
        name: "inventory",
        directory: "",
    };
    configuration
        .resolve(&ambient)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn fault(text: &str) -> String {
    let error = Inventory::parse(text).expect_err("it is wrong");
    error.faults()[0].to_string()
}

/// `name user@address:port key [groups]`, for comparing.
fn line(fleet: &Fleet, host: &HostSpec) -> String {
    let groups: Vec<&str> = host
        .settings
        .groups
        .iter()
        .map(|group| fleet.groups[*group as usize].name.as_str())
        .collect();
    let how = match &host.settings.connection {
        Connection::Ssh(ssh) => format!(
            "{}@{}:{} {}",
            ssh.user.as_deref().unwrap_or("-"),
            host.address(),
            ssh.port.unwrap_or_default(),
            ssh.identity_files.join("+")
        ),
        Connection::Namespace => "namespace".to_owned(),
        Connection::Local => "local".to_owned(),
    };
    format!("{} {how} {}", host.name, groups.join(","))
}

fn lines(fleet: &Fleet) -> Vec<String> {
    fleet.hosts.iter().map(|host| line(fleet, host)).collect()
}

const INI: &str = r#"
# The machines of the east.
lonely ansible_connection=local

[web]
web[01:03].example.com ansible_user=deploy  # comment
web-special:2222 ansible_host=10.0.0.9 ansible_ssh_private_key_file="/keys/my key"

[db]
db-[a:b] ansible_host=10.1.0.1 ansible_port=22

[db:vars]
ansible_user = dba
ansible_become=yes
some_playbook_thing = {{ whatever }}

[east:children]
web
db

[east:vars]
ansible_user=root
ansible_ssh_private_key_file='/keys/east'
"#;

#[test]
fn groups_ranges_and_variables_come_together_as_ansible_says() {
    let inventory =
        Inventory::parse(&INI.replace("db-[a:b] ansible_host=10.1.0.1", "db-[a:b]")).unwrap();
    assert_eq!(inventory.format, Format::AnsibleIni);
    let fleet = resolve(FleetConfiguration::default().with_inventory(inventory));
    assert_eq!(
        lines(&fleet),
        [
            "lonely local ",
            "web01.example.com deploy@web01.example.com:0 /keys/east east,web",
            "web02.example.com deploy@web02.example.com:0 /keys/east east,web",
            "web03.example.com deploy@web03.example.com:0 /keys/east east,web",
            "web-special root@10.0.0.9:2222 /keys/my key east,web",
            "db-a dba@db-a:22 /keys/east east,db",
            "db-b dba@db-b:22 /keys/east east,db",
        ]
    );
    assert_eq!(fleet.hosts[5].settings.sudo, Sudo::Auto);
}

#[test]
fn one_address_for_a_whole_range_is_told() {
    let inventory = Inventory::parse(INI).unwrap();
    let ambient = Ambient {
        name: "x",
        directory: "",
    };
    let error = FleetConfiguration::default()
        .with_inventory(inventory)
        .resolve(&ambient)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("db-b is at the same place as db-a"),
        "{error}"
    );
}

#[test]
fn the_same_inventory_in_yaml_says_the_same() {
    let yaml = "
all:
  hosts:
    lonely: {ansible_connection: local}
  children:
    east:
      vars: {ansible_user: root, ansible_ssh_private_key_file: /keys/east}
      children:
        web:
          hosts:
            web[01:03].example.com:
              ansible_user: deploy
              packages: [nginx, {name: x}]
            web-special:
              ansible_host: 10.0.0.9
              ansible_port: 2222
        db:
          vars:
            ansible_user: dba
            ansible_become: true
          hosts:
            db-[a:b]:
";
    let inventory = Inventory::parse(yaml).unwrap();
    assert_eq!(inventory.format, Format::AnsibleYaml);
    let fleet = resolve(FleetConfiguration::default().with_inventory(inventory));
    assert_eq!(
        lines(&fleet),
        [
            "lonely local ",
            "web01.example.com deploy@web01.example.com:0 /keys/east east,web",
            "web02.example.com deploy@web02.example.com:0 /keys/east east,web",
            "web03.example.com deploy@web03.example.com:0 /keys/east east,web",
            "web-special root@10.0.0.9:2222 /keys/east east,web",
            "db-a dba@db-a:0 /keys/east east,db",
            "db-b dba@db-b:0 /keys/east east,db",
        ]
    );
}

#[test]
fn a_nearer_group_wins_over_a_farther_one_and_the_host_over_all() {
    let fleet = fleet_of(
        "
[near]
a ansible_host=h1
b ansible_host=h2 ansible_user=own
[far:children]
near
[far:vars]
ansible_user=far
ansible_port=1
[near:vars]
ansible_user=near
[all:vars]
ansible_port=2
ansible_user=all
",
    );
    assert_eq!(
        lines(&fleet),
        ["a near@h1:1  far,near", "b own@h2:1  far,near"]
    );
}

#[test]
fn passwords_are_never_taken_and_never_shown() {
    let text = "
a ansible_host=h1 ansible_become_password=hunter2 ansible_password=hunter2
b ansible_host=h2 ansible_become=true ansible_become_pass=\"{{ lookup('env', 'BECOME') }}\"
";
    let inventory = Inventory::parse(text).unwrap();
    assert!(!format!("{inventory:?}").contains("hunter2"));
    let notes: Vec<String> = inventory.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "line 2: passwords for SSH are not taken from an inventory: keys and the agent are used",
            "line 2: the password for sudo is not taken from the inventory: you are asked for it",
        ]
    );
    let fleet = resolve(FleetConfiguration::default().with_inventory(inventory));
    assert_eq!(
        fleet.hosts[0].settings.sudo,
        Sudo::Password(SecretSource::Prompt)
    );
    assert_eq!(
        fleet.hosts[1].settings.sudo,
        Sudo::Password(SecretSource::Env("BECOME".into()))
    );
}

#[test]
fn jump_hosts_are_found_among_the_arguments_for_ssh() {
    let fleet = fleet_of(
        "
a ansible_host=h1 ansible_ssh_common_args='-o ProxyJump=door@bastion:2222,inner -o ForwardAgent=yes'
b ansible_host=h2 ansible_ssh_common_args='-J door@bastion:2222,inner'
",
    );
    let way: Vec<String> = fleet.jumps[0].iter().map(ToString::to_string).collect();
    assert_eq!(way, ["door@bastion:2222", "inner"]);
    assert_eq!(fleet.jumps.len(), 1);
    assert_eq!(fleet.hosts[1].settings.jump, Some(0));
}

#[test]
fn kubesprays_control_plane_is_joined_as_one() {
    let fleet = fleet_of("[kube_control_plane]\ncp1\n[kube_node]\ncp1\nw1\n");
    assert_eq!(fleet.hosts[0].settings.role, Role::ControlPlane);
    assert_eq!(fleet.hosts[1].settings.role, Role::Worker);
}

#[test]
fn what_is_not_understood_has_its_line_and_its_cure() {
    for (text, wanted) in [
        (
            "[web\na\n",
            "line 1, column 1: [web: a section begins here and does not end; write ] behind its name",
        ),
        (
            "A_B\n",
            "line 1, column 1: A_B: a host has its Node's name, and this cannot be one; use lower-case letters, digits, - and ., and say where it is by ansible_host",
        ),
        (
            "[web:childern]\na\n",
            "line 1, column 1: web:childern: a section of a group is not called childern; did you mean [web:children]?",
        ),
        (
            "a user\n",
            "line 1, column 1: user: this is no variable; write NAME=VALUE, with quotes around a value that has spaces",
        ),
        (
            "a x=\"open\n",
            "line 1, column 1: a quote is opened and not closed; close it on the same line",
        ),
        (
            "a ansible_port=x\n",
            "line 1, column 1: a.ansible_port: \"x\" is not a port; write a number from 1 to 65535",
        ),
        (
            "a ansible_connection=docker\n",
            "line 1, column 1: a.ansible_connection: hosts are not reached by docker; use ssh or local",
        ),
        (
            "a ansible_host={{ip}}\n",
            "line 1, column 1: a.ansible_host: templates are not understood; write the value, or give `ansible-inventory --list --yaml` as the inventory",
        ),
        (
            "a ansible_become_user=bob\n",
            "line 1, column 1: a.ansible_become_user: joining takes root, not bob; take it out, or write root",
        ),
        (
            "w[5:1]\n",
            "line 1, column 1: w[5:1]: the range [5:1] runs backwards; write the smaller end first, and a letter before a later letter",
        ),
        (
            "h\n[a:children]\nb\n[b:children]\na\n",
            "line 2, column 1: a: the group is its own child, maybe over others; take one of the children out",
        ),
        (
            "# nothing\n",
            "there are no hosts in the inventory; write one host per line, or hosts below a group",
        ),
        (
            "all:\n  host:\n    a:\n",
            "line 2, column 3: all.host: a group has no such field; did you mean hosts?",
        ),
        (
            "all:\n  hosts: [a, b]\n",
            "line 2, column 10: all: hosts is a list; write each host as a key: `hosts: {NAME: {}}`",
        ),
        (
            "apiVersion: v1\nkind: Pod\n",
            "line 1, column 1: kind: this kind of inventory is not known; give an Ansible inventory or apiVersion: k0sctl.k0sproject.io/v1beta1, kind: Cluster",
        ),
    ] {
        assert_eq!(fault(text), wanted, "{text}");
    }
}

const K0SCTL: &str = "
apiVersion: k0sctl.k0sproject.io/v1beta1
kind: Cluster
metadata: {name: k0s-cluster}
spec:
  hosts:
  - role: controller
    ssh: {address: 10.0.0.1, user: root, keyPath: ~/.ssh/id_rsa}
  - role: controller
    ssh: {address: 10.0.0.2}
  - role: worker
    hostname: w1
    privateAddress: 192.168.0.5
    installFlags: [--debug]
    uploadBinary: true
    dataDir: /data/k0s
    hooks:
      apply: {before: [date], after: []}
      reset: {before: [ls]}
    ssh:
      address: 10.0.0.3
      port: 2222
      bastion: {address: 10.9.0.1, user: jump, bastion: {address: 10.8.0.1}}
  - role: worker
    openSSH: {address: alias, configPath: /etc/my_ssh}
  - role: worker
    reset: true
    ssh: {address: 10.0.0.4}
  k0s:
    version: 1.30.0+k0s.0
    config: {spec: {api: {port: 6443}}}
  options: {concurrency: {limit: 30, uploads: 5}, wait: {enabled: true}}
";

#[test]
fn the_workers_of_a_k0sctl_file_are_joined_by_k0s_with_tokens_of_the_first_controller() {
    let inventory = Inventory::parse(K0SCTL).unwrap();
    assert_eq!(inventory.format, Format::K0sctl);
    let notes: Vec<String> = inventory.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "line 7: the first controller mints the tokens; it is not joined",
            "line 9: a further controller is left out: it is there already",
            "line 15: uploadBinary is not carried out: k0s must be on the host",
            "line 11: of the hooks only apply is run, not reset",
            "line 26: a host with reset: true is left out",
        ]
    );
    let fleet = resolve(FleetConfiguration::default().with_inventory(inventory));
    assert_eq!(
        lines(&fleet),
        ["w1 root@10.0.0.3:2222  ", "alias -@alias:0  "]
    );
    let way: Vec<String> = fleet.jumps[0].iter().map(ToString::to_string).collect();
    assert_eq!(way, ["root@10.8.0.1", "jump@10.9.0.1"]);
    assert_eq!(fleet.cluster.mint_on.unwrap().host.address(), "10.0.0.1");
    let HostMethod::K0s(k0s) = &fleet.hosts[0].settings.join else {
        panic!()
    };
    assert_eq!(k0s.extra_args, ["--debug", "--data-dir=/data/k0s"]);
    assert_eq!(fleet.hosts[0].node_ip.as_deref(), Some("192.168.0.5"));
    assert_eq!(fleet.hosts[0].settings.hooks.before_join.len(), 1);
    assert_eq!(fleet.concurrency.limit, Limit::Fixed(2));
}

#[test]
fn what_a_k0sctl_file_gets_wrong_has_its_line() {
    for (from, to, wanted) in [
        (
            "role: worker\n    hostname",
            "role: wroker\n    hostname",
            "line 11, column 11: spec.hosts[2].role: there is no such role; write controller, controller+worker, single or worker",
        ),
        (
            "hostname: w1",
            "hostnmae: w1",
            "line 12, column 5: spec.hosts[2].hostnmae: there is no field hostnmae here; did you mean hostname?",
        ),
        (
            "hostname: w1",
            "hostname: W_1",
            "line 12, column 15: spec.hosts[2].hostname: the Node needs a name, and this cannot be one; add hostname: with lower-case letters, digits, - and .",
        ),
        (
            "{address: 10.0.0.2}",
            "{address: '${CP2}'}",
            "line 10, column 20: spec.hosts[1].address: variables are not filled in; run the file through envsubst first",
        ),
        (
            "openSSH: {address: alias, configPath: /etc/my_ssh}",
            "winRM: {address: x}",
            "line 25, column 12: spec.hosts[3]: Windows machines are not joined; give it ssh, openSSH or localhost: {enabled: true}",
        ),
    ] {
        assert!(K0SCTL.contains(from), "{from}");
        assert_eq!(fault(&K0SCTL.replace(from, to)), wanted);
    }
}

#[test]
fn a_fleet_file_adds_what_the_inventory_does_not_say() {
    let file = "
apiVersion: muster.dev/v1alpha1
kind: FleetConfiguration
cluster: {kubeconfig: /etc/admin.conf}
defaults:
  ssh: {user: fleet, port: 2022}
  join: kubeadm
groups:
  web: {concurrency: 1, labels: {tier: web}}
";
    let with = |inventory: &str| {
        let inventory = Inventory::parse(inventory).unwrap();
        resolve(
            FleetConfiguration::parse(file)
                .unwrap()
                .with_inventory(inventory),
        )
    };
    let fleet = with("[web]\na ansible_user=own\nb\n");
    assert_eq!(lines(&fleet), ["a own@a:2022  web", "b fleet@b:2022  web"]);
    assert_eq!(fleet.groups[0].limit, Some(1));
    assert_eq!(fleet.hosts[0].settings.labels["tier"], "web");
    assert!(matches!(
        fleet.hosts[0].settings.join,
        HostMethod::Kubeadm(_)
    ));
    // The file's method wins over k0sctl's, and its kubeconfig mints.
    let fleet = with(
        &K0SCTL
            .replace("installFlags: [--debug]", "")
            .replace("dataDir: /data/k0s", ""),
    );
    assert!(matches!(
        fleet.hosts[0].settings.join,
        HostMethod::Kubeadm(_)
    ));
    assert!(fleet.cluster.mint_on.is_none());
}

#[test]
fn hosts_are_picked_by_name_and_by_group() {
    let mut inventory = Inventory::parse("[web]\na\nb\n[db]\nc\n").unwrap();
    let unknown = inventory.limit_to(&["db".to_owned(), "a".to_owned(), "x".to_owned()]);
    assert_eq!(unknown, Err(vec!["x".to_owned()]));
    let names: Vec<&str> = inventory
        .hosts
        .iter()
        .map(|host| host.value.name.value.as_str())
        .collect();
    assert_eq!(names, ["a", "c"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_the_text_nothing_panics(text in r"(\PC|\n){0,200}") {
        if let Ok(inventory) = Inventory::parse(&text) {
            let ambient = Ambient { name: "x", directory: "" };
            let _ = FleetConfiguration::default().with_inventory(inventory).resolve(&ambient);
        }
    }

    #[test]
    fn whatever_the_words_no_section_panics(text in r"((\[[a-c](:(vars|children))?\]|[a-c]|[a-c] ansible_[a-z]{1,8}=[a-z0-9]{0,4}|[a-c]\[[0-9]{1,2}:[0-9]{1,3}\]|ansible_port=[0-9]{1,6})\n){0,30}") {
        if let Ok(inventory) = Inventory::parse(&text) {
            let names: std::collections::HashSet<_> = inventory.hosts.iter().map(|h| h.value.name.value.clone()).collect();
            prop_assert_eq!(names.len(), inventory.hosts.len());
        }
    }

    #[test]
    fn a_spoilt_k0sctl_file_is_told_or_read(at in 0_usize..900, junk in r"[a-z:\[\]{}', ]{1,8}") {
        let mut text = K0SCTL.to_owned();
        let at = at.min(text.len());
        text.insert_str(at, &junk);
        if let Err(error) = Inventory::parse(&text) {
            prop_assert!(!error.faults().is_empty());
        }
    }
}
