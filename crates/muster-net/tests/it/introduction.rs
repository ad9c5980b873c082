//! Discovery files over real files and TLS, what they may hold, and clusters that show no cluster-info.

use std::sync::Arc;
use std::time::Duration;

use muster_handshake::discovery::CLUSTER_INFO_PATH;
use muster_handshake::{DiscoveryRequest, HandshakeError};
use muster_identity::{BootstrapToken, Endpoint, Kubeconfig, NodeName, Proxy, ProxyRules, Secret};
use muster_net::connect::dial_through;
use muster_net::{
    DialLimits, Identity, Introduction, discover_as, introduction, introduction_from_file,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{Reply, Server};
use crate::world::{TOKEN, World, authority, loopback, status, until};

const LIMIT: Duration = Duration::from_secs(20);

fn request(introduction: &Introduction) -> DiscoveryRequest {
    DiscoveryRequest::introduced(
        introduction.endpoint.clone(),
        introduction.ca.clone(),
        introduction.server_name.clone(),
    )
}

async fn go(introduction: &Introduction) -> Result<muster_net::Discovered, HandshakeError> {
    let identity = introduction.identity.clone();
    let limits = DialLimits::default();
    discover_as(request(introduction), identity, limits, &mut |_| {}).await
}

fn with_token(world: &World, port: u16) -> Kubeconfig {
    let token = BootstrapToken::parse(TOKEN).unwrap();
    let server = format!("https://127.0.0.1:{port}");
    Kubeconfig::for_bootstrap_token(&server, &world.bundle(), &token)
}

/// A server that answers 401 to everybody without a credential, or 403, and hides cluster-info from the others too.
async fn closed(world: &Arc<World>, code: u16) -> Server {
    let inner = world.handler();
    let handler = move |seen: crate::server::Seen| {
        if seen.bearer().is_none() && seen.user.is_none() {
            return Reply::Json(code, status(code, "No"));
        }
        if seen.path == CLUSTER_INFO_PATH {
            return Reply::Json(404, status(404, "NotFound"));
        }
        inner(seen)
    };
    Server::start(world.speech(), Arc::new(handler)).await
}

#[tokio::test]
async fn a_file_with_a_token_leads_into_a_cluster_that_shows_nothing() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    for code in [401, 403] {
        let server = closed(&world, code).await;
        let path = folder.path().join("discovery.conf");
        std::fs::write(&path, with_token(&world, server.port).to_yaml().expose()).unwrap();
        for location in [
            path.display().to_string(),
            format!("file://{}", path.display()),
        ] {
            let introduced = introduction(&location, None, LIMIT).await.unwrap();
            let found = go(&introduced).await.unwrap();
            assert!(found.names.contains(&"localhost".to_owned()));
            assert_eq!(found.local_ip, Some("127.0.0.1".parse().unwrap()));
            let node: Result<serde_json::Value, _> = found.client.get("/api/v1/nodes/n1").await;
            assert!(node.unwrap_err().is_not_found(), "the token was accepted");
        }
    }
}

#[tokio::test]
async fn nothing_of_the_file_is_sent_to_a_server_that_its_ca_does_not_vouch_for() {
    let world = World::new();
    let stranger = authority();
    let speech = world.speech_for(&stranger, &["localhost"], &["127.0.0.1"], None);
    let server = Server::start(speech, world.handler()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("discovery.conf");
    std::fs::write(&path, with_token(&world, server.port).to_yaml().expose()).unwrap();
    let introduced = introduction_from_file(&path).unwrap();
    let error = go(&introduced).await.unwrap_err();
    assert_eq!(error.id(), "tls-untrusted", "{error}");
    assert!(server.seen().iter().all(|seen| seen.bearer().is_none()));
}

#[tokio::test]
async fn a_client_certificate_in_a_file_is_shown_after_the_server_has_proved_itself() {
    let world = World::new();
    let server = closed(&world, 401).await;
    let node = NodeName::parse("n1").unwrap();
    let (certificate, key) = world.client_certificate(&node);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("client.pem"), certificate.to_pem()).unwrap();
    std::fs::write(at("client.key"), key.to_pem().expose()).unwrap();
    std::fs::write(at("ca.pem"), world.bundle().to_pem()).unwrap();
    let text = format!(
        "clusters:\n- name: c\n  cluster: {{server: 'https://127.0.0.1:{}', certificate-authority: ca.pem}}\n\
         users:\n- name: u\n  user: {{client-certificate: client.pem, client-key: client.key}}\n\
         contexts:\n- name: x\n  context: {{cluster: c, user: u}}\ncurrent-context: x\n",
        server.port
    );
    std::fs::write(at("admin.conf"), text).unwrap();
    let introduced = introduction_from_file(&at("admin.conf")).unwrap();
    assert!(matches!(introduced.identity, Identity::Certificate { .. }));
    let found = go(&introduced).await.unwrap();
    let answer: Result<serde_json::Value, _> = found.client.get("/api/v1/nodes/n2").await;
    assert!(answer.unwrap_err().is_not_found());
    let users: Vec<_> = server.seen().into_iter().map(|seen| seen.user).collect();
    assert_eq!(users, [None, Some("system:node:n1".to_owned())]);
}

fn reason(error: &HandshakeError) -> String {
    assert_eq!(error.id(), "discovery-file-unusable", "{error}");
    error.to_string()
}

#[tokio::test]
async fn what_a_file_may_not_hold_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let refuse = |cluster: &str, user: &str| {
        let text = format!(
            "clusters:\n- name: c\n  cluster: {{{cluster}}}\nusers:\n- name: u\n  user: {{{user}}}\n\
             contexts:\n- name: x\n  context: {{cluster: c, user: u}}\ncurrent-context: x\n"
        );
        std::fs::write(&path, text).unwrap();
        reason(&introduction_from_file(&path).unwrap_err())
    };
    let server = "server: 'https://h:1'";
    for (cluster, user, word) in [
        (server, "exec: {command: aws}", "logs in by exec"),
        (server, "auth-provider: {name: oidc}", "auth-provider"),
        (server, "username: a, password: b", "logs in by"),
        ("server: 'http://h:1'", "", "scheme"),
        (
            "server: 'https://h:1', insecure-skip-tls-verify: true",
            "",
            "insecure",
        ),
        (
            server,
            "client-certificate: nowhere.pem, client-key: k",
            "nowhere.pem",
        ),
    ] {
        let said = refuse(cluster, user);
        assert!(said.contains(word), "{said}");
        assert!(!said.contains("password: b"), "{said}");
    }
    for location in ["/no/such/file", "http://h/f", "ftp://h/f"] {
        reason(&introduction(location, None, LIMIT).await.unwrap_err());
    }
}

#[tokio::test]
async fn a_file_is_fetched_over_https_within_bounds_and_from_a_trusted_server_only() {
    let world = World::new();
    let text = with_token(&world, 6443).to_yaml().expose().clone();
    let leaked: &'static str = Box::leak(text.into_boxed_str());
    let big: &'static str = Box::leak("x".repeat(2 * 1024 * 1024).into_boxed_str());
    let handler = move |seen: crate::server::Seen| match seen.path.as_str() {
        "/join.conf?a=b" => Reply::Text(200, leaked),
        "/big" => Reply::Text(200, big),
        "/files" => Reply::Text(
            200,
            "clusters: [{name: '', cluster: {server: 'https://h:1', certificate-authority: /etc/passwd}}]",
        ),
        _ => Reply::Text(404, "gone"),
    };
    let server = Server::start(world.speech(), Arc::new(handler)).await;
    let at = |path: &str| format!("https://127.0.0.1:{}{path}", server.port);
    let ca = world.bundle();
    let introduced = introduction(&at("/join.conf?a=b"), Some(&ca), LIMIT)
        .await
        .unwrap();
    assert_eq!(introduced.endpoint, loopback(6443));
    for (path, word) in [
        ("/gone", "404"),
        ("/big", "larger"),
        ("/files", "names files"),
    ] {
        let said = reason(&introduction(&at(path), Some(&ca), LIMIT).await.unwrap_err());
        assert!(said.contains(word), "{said}");
    }
    let stranger = World::new().bundle();
    let error = introduction(&at("/join.conf"), Some(&stranger), LIMIT)
        .await
        .unwrap_err();
    assert!(reason(&error).contains("not issued by the CA"), "{error}");
    let with_user = format!("https://me:secret@127.0.0.1:{}/", server.port);
    reason(
        &introduction(&with_user, Some(&ca), LIMIT)
            .await
            .unwrap_err(),
    );
}

#[tokio::test]
async fn a_server_of_discovery_files_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://127.0.0.1:{}/f",
        listener.local_addr().unwrap().port()
    );
    let error = introduction(&url, None, Duration::from_millis(200))
        .await
        .unwrap_err();
    assert_eq!(error.id(), "timeout", "{error}");
}

/// A proxy that asks for a password and leads every CONNECT to `port`; it gives back the heads it saw.
async fn proxy(port: u16, answer: &'static str) -> (u16, Arc<parking::Heads>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().port();
    let heads = Arc::new(parking::Heads::default());
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                seen.0
                    .lock()
                    .unwrap()
                    .push(String::from_utf8(head).unwrap());
                client.write_all(answer.as_bytes()).await.unwrap();
                if answer.contains(" 200 ") {
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    (at, heads)
}

mod parking {
    /// What a proxy saw.
    #[derive(Default)]
    pub(super) struct Heads(pub(super) std::sync::Mutex<Vec<String>>);
}

#[tokio::test]
async fn a_proxy_is_asked_for_a_tunnel_with_its_password() {
    let world = World::new();
    let server = world.serve().await;
    let (port, heads) = proxy(
        server.port,
        "HTTP/1.1 200 Connection established\r\nVia: p\r\n\r\n",
    )
    .await;
    let rules = ProxyRules::new(&format!("http://me:pw@127.0.0.1:{port}"), "10.0.0.0/8");
    let target = Endpoint::parse("cluster.invalid:6443").unwrap();
    let limits = DialLimits::default();
    let mut stream = dial_through(&target, &limits, &rules).await.unwrap();
    // What answers through it is the server: it takes a TLS greeting and nothing else.
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    until(|| !heads.0.lock().unwrap().is_empty()).await;
    let head = heads.0.lock().unwrap()[0].clone();
    assert!(
        head.starts_with("CONNECT cluster.invalid:6443 HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains("Proxy-Authorization: Basic bWU6cHc="),
        "{head}"
    );
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told_apart_from_the_server() {
    let target = Endpoint::parse("cluster.invalid:6443").unwrap();
    let limits = DialLimits::default();
    for (answer, word, class) in [
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            "403",
            muster_handshake::ErrorClass::Terminal,
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\n\r\n",
            "502",
            muster_handshake::ErrorClass::Transient,
        ),
        (
            "SSH-2.0-x\r\n\r\n",
            "HTTP",
            muster_handshake::ErrorClass::Terminal,
        ),
    ] {
        let (port, _) = proxy(1, answer).await;
        let rules = ProxyRules::new(&format!("127.0.0.1:{port}"), "");
        let error = dial_through(&target, &limits, &rules).await.unwrap_err();
        assert_eq!(error.id(), "proxy-failed");
        assert_eq!(error.class(), class);
        assert!(error.to_string().contains(word), "{error}");
        assert!(error.remedy().contains("NO_PROXY"));
    }
    let proxy = Proxy::parse("127.0.0.1:1").unwrap();
    assert_eq!(proxy.authorization(), None::<&Secret<String>>);
    let rules = ProxyRules::new("127.0.0.1:1", "");
    let error = dial_through(&target, &limits, &rules).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}
