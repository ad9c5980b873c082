//! Every way into a cluster but the plain token: files, CAs, kubeconfigs, proxies, and clusters that tell nothing.

use crate::harness::{MUSTER, TestNode, TestServer, failure_id, muster, stdout_of, text_of};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A join of a hollow node with nothing but these flags, after an optional endpoint.
fn join(node: &TestNode, endpoint: Option<&str>, flags: &[&str]) -> Output {
    muster(&arguments(node, endpoint, flags))
}

fn arguments(node: &TestNode, endpoint: Option<&str>, flags: &[&str]) -> Vec<String> {
    let mut arguments = node.join_arguments("ENDPOINT", flags);
    match endpoint {
        Some(endpoint) => arguments[1] = endpoint.to_owned(),
        None => drop(arguments.remove(1)),
    }
    arguments
}

fn joined(output: &Output) {
    assert!(output.status.success(), "{}", text_of(output));
}

/// Nobody without a credential may read cluster-info any more.
fn close_discovery(server: &TestServer) {
    let binding = "kubeadm:bootstrap-signer-clusterinfo";
    server.kubectl_ok(&["delete", "rolebinding", "-n", "kube-public", binding]);
}

fn authority(server: &TestServer) -> PathBuf {
    let path = server.folder.path().join("cluster-ca.crt");
    let raw = [
        "config",
        "view",
        "--raw",
        "-o",
        "jsonpath={.clusters[0].cluster.certificate-authority-data}",
    ];
    let text = server.kubectl_ok(&raw);
    let decoded = Command::new("base64")
        .arg("-d")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            child.stdin.take().unwrap().write_all(text.as_bytes())?;
            child.wait_with_output()
        })
        .unwrap();
    fs::write(&path, decoded.stdout).unwrap();
    path
}

/// A discovery file: the server and its CA, and whatever its user may do.
fn discovery_file(server: &TestServer, user: &str) -> PathBuf {
    let ca = authority(server);
    let path = server.folder.path().join("discovery.conf");
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster:\n    server: https://{}\n    \
         certificate-authority: {}\nusers:\n- name: u\n  user: {{{user}}}\ncontexts:\n- name: x\n  \
         context: {{cluster: c, user: u}}\ncurrent-context: x\n",
        server.address,
        ca.display()
    );
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_discovery_file_lets_a_machine_in_where_nothing_is_shown_to_strangers() {
    let server = TestServer::start();
    close_discovery(&server);
    let token = server.token(&[]);
    // The credential stands in the file.
    let file = discovery_file(&server, &format!("token: {token}"));
    let first = server.node();
    joined(&join(
        &first,
        None,
        &["--discovery-file", file.to_str().unwrap()],
    ));
    // Or comes beside it.
    let file = discovery_file(&server, "");
    let second = server.node();
    let url = format!("file://{}", file.display());
    let bare = join(&second, None, &["--discovery-file", &url]);
    assert!(
        text_of(&bare).contains("--tls-bootstrap-token"),
        "{}",
        text_of(&bare)
    );
    assert!(second.paths().is_empty());
    let flags = ["--discovery-file", &url, "--tls-bootstrap-token", &token];
    joined(&join(&second, None, &flags));
    for node in [&first, &second] {
        assert!(server.get(&["node", &node.name]).is_some());
    }
    // Other ways to log in are named, not ignored.
    let file = discovery_file(&server, "exec: {command: aws}");
    let node = server.node();
    let flags = ["--discovery-file", file.to_str().unwrap(), "-o", "json"];
    let refused = join(&node, None, &flags);
    assert_eq!(
        failure_id(&refused).as_deref(),
        Some("discovery-file-unusable")
    );
    assert_eq!(refused.status.code(), Some(16));
}

#[test]
fn a_ca_and_a_token_need_no_discovery() {
    let server = TestServer::start();
    server.kubectl_ok(&["delete", "configmap", "-n", "kube-public", "cluster-info"]);
    let (token, ca) = (server.token(&[]), authority(&server));
    let flags = [
        "--token",
        &token,
        "--certificate-authority",
        ca.to_str().unwrap(),
    ];
    let node = server.node();
    joined(&join(&node, Some(&server.address), &flags));
    // Another CA is not believed, and gets no token.
    let other = TestServer::start();
    let ca = authority(&other);
    let flags = [
        "--token",
        &token,
        "-o",
        "json",
        "--certificate-authority",
        ca.to_str().unwrap(),
    ];
    let refused = join(&server.node(), Some(&server.address), &flags);
    assert_eq!(
        failure_id(&refused).as_deref(),
        Some("tls-untrusted"),
        "{}",
        text_of(&refused)
    );
}

#[test]
fn an_administrators_kubeconfig_lets_in_and_sets_what_a_node_may_not() {
    let server = TestServer::start();
    let node = server.node();
    let label = "node-role.kubernetes.io/worker=";
    let token = server.token(&[]);
    let flags = ["--token", &token, "--node-labels", label];
    let refused = node.join(&server.address, &flags, &server.pin());
    let said = text_of(&refused);
    assert!(
        said.contains(&format!("kubectl label node {} {label}", node.name)),
        "{said}"
    );
    assert!(node.paths().is_empty());
    let kubeconfig = server.kubeconfig();
    let flags = [
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--node-labels",
        "rack=r1,node-role.kubernetes.io/worker=",
        "--node-annotation",
        "example.com/note=bought in 2026, rack 1",
    ];
    joined(&join(&node, None, &flags));
    let object = server.get(&["node", &node.name]).unwrap();
    let labels = &object["metadata"]["labels"];
    assert_eq!(labels["rack"], "r1");
    assert_eq!(labels["node-role.kubernetes.io/worker"], "");
    assert_eq!(
        object["metadata"]["annotations"]["example.com/note"],
        "bought in 2026, rack 1"
    );
}

#[test]
fn a_nodes_own_certificate_is_used_as_it_is() {
    let server = TestServer::start();
    let first = server.join_ready();
    let requests = || {
        server
            .kubectl_ok(&["get", "csr", "-o", "name"])
            .lines()
            .count()
    };
    let before = requests();
    // The same node on another machine, with the kubelet.conf that the first one had.
    let conf = first.root.join("etc/kubernetes/kubelet.conf");
    let kept = server.folder.path().join("kept");
    fs::create_dir(&kept).unwrap();
    let pem = fs::read(
        first
            .root
            .join("var/lib/kubelet/pki/kubelet-client-current.pem"),
    )
    .unwrap();
    fs::write(kept.join("client.pem"), pem).unwrap();
    let text = fs::read_to_string(conf).unwrap();
    let old = first
        .root
        .join("var/lib/kubelet/pki/kubelet-client-current.pem");
    let text = text.replace(old.to_str().unwrap(), "client.pem");
    fs::write(kept.join("kubelet.conf"), text).unwrap();
    stdout_of(first.reset(&server));
    let second = TestNode {
        name: first.name.clone(),
        root: server.node().root,
    };
    let file = kept.join("kubelet.conf");
    let flags = [
        "--discovery-file",
        file.to_str().unwrap(),
        "--wait",
        "ready",
    ];
    joined(&join(&second, None, &flags));
    assert_eq!(requests(), before, "no certificate was asked for");
    // It is the certificate of that node and of no other.
    let third = server.node();
    let flags = ["--discovery-file", file.to_str().unwrap(), "-o", "json"];
    let refused = join(&third, None, &flags);
    assert_eq!(
        failure_id(&refused).as_deref(),
        Some("discovery-file-unusable")
    );
    assert!(third.paths().is_empty());
}

#[test]
fn a_cluster_that_publishes_nothing_is_joined_with_assumptions_that_are_told() {
    let server = TestServer::start_with(&["--tls-san", "kubernetes.default.svc.corp.example"]);
    for map in ["kubeadm-config", "kubelet-config"] {
        server.kubectl(&["delete", "configmap", "-n", "kube-system", map]);
    }
    let token = server.token(&[]);
    let node = server.node();
    let rehearsal = [
        "--token",
        &token,
        "--dry-run",
        "--runtime",
        "cri",
        "--ignore-preflight-errors",
        "all",
    ];
    let mut arguments = node.join_arguments(&server.address, &rehearsal);
    let at = arguments.iter().position(|word| word == "hollow").unwrap();
    arguments.drain(at - 1..=at);
    arguments.extend(["--discovery-token-ca-cert-hash".to_owned(), server.pin()]);
    let said = text_of(&muster(&arguments));
    assert!(
        said.contains("ClusterDNS") && said.contains("--cluster-domain"),
        "{said}"
    );
    let patches = server.folder.path().join("patches");
    fs::create_dir(&patches).unwrap();
    fs::write(
        patches.join("kubeletconfiguration+merge.yaml"),
        "maxPods: 17\n",
    )
    .unwrap();
    let flags = [
        "--token",
        &token,
        "--cluster-dns",
        "192.0.2.53",
        "--cluster-domain",
        "said.example",
        "--patches",
        patches.to_str().unwrap(),
    ];
    joined(&node.join(&server.address, &flags, &server.pin()));
    let config = fs::read_to_string(node.root.join("var/lib/kubelet/config.yaml")).unwrap();
    for part in ["192.0.2.53", "said.example", "maxPods: 17"] {
        assert!(config.contains(part), "{config}");
    }
}

#[test]
fn the_nodes_address_is_the_given_one_or_that_of_the_route() {
    let server = TestServer::start();
    let address = |flag: &str| {
        let (node, token) = (server.node(), server.token(&[]));
        let flags = ["--token", &token, "--node-ip", flag];
        joined(&node.join(&server.address, &flags, &server.pin()));
        let object = server.get(&["node", &node.name]).unwrap();
        let all = object["status"]["addresses"].as_array().unwrap().clone();
        let internal = all.into_iter().filter(|one| one["type"] == "InternalIP");
        internal
            .map(|one| one["address"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(address("auto"), ["127.0.0.1"]);
    assert_eq!(address("192.0.2.7,fd00::7"), ["192.0.2.7", "fd00::7"]);
    for wrong in [
        "somewhere",
        "192.0.2.7,192.0.2.8",
        "fd00::1,192.0.2.7,192.0.2.9",
    ] {
        let token = server.token(&[]);
        let output = server.node().join(
            &server.address,
            &["--token", &token, "--node-ip", wrong],
            &server.pin(),
        );
        assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
    }
}

#[test]
fn a_request_that_nobody_approves_in_time_says_how_to_approve_it() {
    let server = TestServer::start();
    let group = "system:bootstrappers:manual";
    server.kubectl_ok(&[
        "create",
        "clusterrolebinding",
        "may-ask",
        "--clusterrole=system:node-bootstrapper",
        &format!("--group={group}"),
    ]);
    let token = server.token(&["--groups", group]);
    let node = server.node();
    let flags = ["--token", &token, "--timeout", "2s", "-o", "json"];
    let output = node.join(&server.address, &flags, &server.pin());
    let said = text_of(&output);
    assert_eq!(
        failure_id(&output).as_deref(),
        Some("csr-pending"),
        "{said}"
    );
    assert!(said.contains("kubectl certificate approve node-csr-"));
    assert!(node.paths().is_empty());
}

const INSTALLER: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: installer, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: installer}
rules:
- {apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: [create, get, list, watch]}
- {apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests/approval], verbs: [update]}
- apiGroups: [certificates.k8s.io]
  resources: [signers]
  resourceNames: [kubernetes.io/kube-apiserver-client-kubelet]
  verbs: [approve]
- {apiGroups: [''], resources: [nodes], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: installer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: installer}
subjects: [{kind: ServiceAccount, name: installer, namespace: kube-system}]
";

#[test]
fn whoever_may_approve_requests_approves_their_own_join() {
    let server = TestServer::start();
    // Such requests are approved for nobody by themselves: this one may approve, and is not of those who need not.
    let objects = server.folder.path().join("installer.yaml");
    fs::write(&objects, INSTALLER).unwrap();
    server.kubectl_ok(&["create", "-f", objects.to_str().unwrap()]);
    let token = server.kubectl_ok(&["create", "token", "-n", "kube-system", "installer"]);
    let file = discovery_file(&server, &format!("token: {}", token.trim()));
    let node = server.node();
    let flags = ["--discovery-file", file.to_str().unwrap(), "-o", "json"];
    let output = join(&node, None, &flags);
    joined(&output);
    assert!(
        text_of(&output).contains("csr-pending"),
        "{}",
        text_of(&output)
    );
    let approved = server.kubectl_ok(&[
        "get",
        "csr",
        "-o",
        "jsonpath={.items[*].status.conditions[*].reason}",
    ]);
    assert!(approved.contains("JoinedByAdministrator"), "{approved}");
}

/// A proxy for CONNECT that leads everything to one port and gives back what was asked for.
fn proxy(to: u16) -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, heads) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(mut client), asked) = (client, asked.clone()) else {
                return;
            };
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") {
                    if client.read_exact(&mut byte).is_err() {
                        return;
                    }
                    head.push(byte[0]);
                }
                let _ = asked.send(String::from_utf8_lossy(&head).into_owned());
                let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
                    return;
                };
                let (mut up, mut down) = (server.try_clone().unwrap(), server);
                let mut from = client.try_clone().unwrap();
                std::thread::spawn(move || std::io::copy(&mut from, &mut up));
                let _ = std::io::copy(&mut down, &mut client);
            });
        }
    });
    (port, heads)
}

#[test]
fn a_proxy_of_the_environment_is_used_and_named() {
    let server = TestServer::start_with(&["--tls-san", "cluster.invalid"]);
    let port: u16 = server.address.rsplit(':').next().unwrap().parse().unwrap();
    let (proxy, heads) = proxy(port);
    let (node, token) = (server.node(), server.token(&[]));
    let endpoint = format!("cluster.invalid:{port}");
    let mut arguments = node.join_arguments(&endpoint, &["--token", &token]);
    arguments.extend(["--discovery-token-ca-cert-hash".to_owned(), server.pin()]);
    let run = |proxy: &str| {
        Command::new(MUSTER)
            .args(&arguments)
            .env("HTTPS_PROXY", proxy)
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let refused = run("http://127.0.0.1:1");
    assert_eq!(refused.status.code(), Some(25), "{}", text_of(&refused));
    assert!(
        text_of(&refused).contains("NO_PROXY"),
        "{}",
        text_of(&refused)
    );
    let url = format!("http://me:hunter2@127.0.0.1:{proxy}");
    let output = run(&url);
    joined(&output);
    let said = text_of(&output);
    assert!(
        said.contains(&format!("the proxy http://127.0.0.1:{proxy}")),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
    let head = heads.recv().unwrap();
    assert!(
        head.starts_with(&format!("CONNECT {endpoint} HTTP/1.1\r\n")),
        "{head}"
    );
}

#[test]
fn closed_discovery_is_told_at_once_with_the_other_ways_in() {
    let server = TestServer::start();
    close_discovery(&server);
    let (node, token) = (server.node(), server.token(&[]));
    let flags = [
        "--token",
        &token,
        "--discovery-token-unsafe-skip-ca-verification",
    ];
    let output = join(&node, Some(&server.address), &flags);
    let said = text_of(&output);
    assert_eq!(output.status.code(), Some(36), "{said}");
    assert!(
        said.contains("--certificate-authority") && said.contains("UNSAFE"),
        "{said}"
    );
    assert!(node.paths().is_empty());
}
