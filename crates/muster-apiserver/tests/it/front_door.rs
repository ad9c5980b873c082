//! Who one is at the front door: certificates good and bad, front proxies, CAs and certificates that change while the
//! server runs, tokens and what they live with.

use muster_identity::{CertificateAuthority, CertificateBundle};
use serde_json::{Value, json};

use crate::{
    dial::{
        Http1, admin, authority, client_of, connect_as, expired_client_of, get_http1,
        own_credential, pki_folder, until,
    },
    harness::Cluster,
};

fn cluster_ca(cluster: &Cluster) -> CertificateAuthority {
    let (certificate, key) = own_credential(&cluster.server, "ca");
    CertificateAuthority::from_parts(certificate, key).unwrap()
}

#[tokio::test]
async fn a_wrong_certificate_is_answered_with_a_status_and_not_with_an_alert() {
    let cluster = Cluster::start().await;
    let strange = client_of(
        &authority("strange"),
        "kubernetes-admin",
        &["system:masters"],
    );
    let expired = expired_client_of(&cluster_ca(&cluster), "late");
    // The server's own serving certificate is of the right CA, and not for clients.
    let misused = own_credential(&cluster.server, "apiserver");
    for credential in [strange, expired, misused] {
        let wire = connect_as(&cluster.server, Some(&credential), b"http/1.1").await;
        let answer = get_http1(wire, "/readyz").await;
        assert_eq!(answer.status(), 401);
        let status: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(
            (&status["kind"], &status["reason"]),
            (&json!("Status"), &json!("Unauthorized"))
        );
    }
    let good = client_of(&cluster_ca(&cluster), "jane", &["team"]);
    let wire = connect_as(&cluster.server, Some(&good), b"http/1.1").await;
    let user = Http1::over(wire).await.whoami(&[]).await;
    assert_eq!(user["username"], "jane");
    assert_eq!(user["groups"], json!(["team", "system:authenticated"]));
}

#[tokio::test]
async fn a_front_proxy_speaks_for_others_and_nobody_else_does() {
    let cluster = Cluster::start().await;
    let headers = [
        ("x-remote-user", "jane"),
        ("x-remote-group", "team"),
        ("x-remote-uid", "1"),
    ];
    let proxy = own_credential(&cluster.server, "front-proxy-client");
    let wire = connect_as(&cluster.server, Some(&proxy), b"http/1.1").await;
    let mut proxy = Http1::over(wire).await;
    let user = proxy.whoami(&headers).await;
    assert_eq!(
        (&user["username"], &user["uid"]),
        (&json!("jane"), &json!("1"))
    );
    assert_eq!(user["groups"], json!(["team", "system:authenticated"]));
    assert_eq!(proxy.get("/readyz").await.status(), 401);

    let wire = connect_as(&cluster.server, Some(&admin(&cluster.server)), b"http/1.1").await;
    let user = Http1::over(wire).await.whoami(&headers).await;
    assert_eq!(user["username"], "kubernetes-admin");
}

#[tokio::test]
async fn extension_servers_are_told_how_to_authenticate_and_it_is_kept_true() {
    let cluster = Cluster::start().await;
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let data = cluster.admin().get(path).await.ok()["data"].clone();
    let pki = pki_folder(&cluster.server);
    let file = |name: &str| std::fs::read_to_string(pki.join(name)).unwrap();
    assert_eq!(
        data,
        json!({
            "client-ca-file": file("ca.crt"),
            "requestheader-allowed-names": "[\"front-proxy-client\"]",
            "requestheader-client-ca-file": file("front-proxy-ca.crt"),
            "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
            "requestheader-group-headers": "[\"X-Remote-Group\"]",
            "requestheader-uid-headers": "[\"X-Remote-Uid\"]",
            "requestheader-username-headers": "[\"X-Remote-User\"]",
        })
    );
    let spoiled = json!({"data": {"requestheader-allowed-names": "[]", "client-ca-file": null}});
    cluster.admin().merge(path, &spoiled).await.ok();
    until("the map is true again", || async {
        cluster.admin().get(path).await.ok()["data"] == data
    })
    .await;
}

#[tokio::test]
async fn another_ca_is_trusted_as_soon_as_its_file_says_so_also_on_open_connections() {
    let cluster = Cluster::start().await;
    let next = authority("next");
    let client = client_of(&next, "jane", &[]);
    let wire = connect_as(&cluster.server, Some(&client), b"http/1.1").await;
    let mut open = Http1::over(wire).await;
    assert_eq!(open.get("/readyz").await.status(), 401);

    let file = pki_folder(&cluster.server).join("ca.crt");
    let old = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\n").unwrap();
    let both = format!("{old}{}", next.certificate().to_pem());
    std::fs::write(&file, &both).unwrap();
    let open = tokio::sync::Mutex::new(open);
    until("the next CA is trusted", || async {
        open.lock().await.get("/readyz").await.status() == 200
    })
    .await;
    let told = |path: &'static str, key: &'static str| {
        let (cluster, next) = (&cluster, next.certificate().clone());
        async move {
            let text = cluster.admin().get(path).await.ok()["data"][key].clone();
            let text = text.as_str().unwrap_or_default().to_owned();
            CertificateBundle::from_pem(text.as_bytes())
                .is_ok_and(|bundle| bundle.certificates().contains(&next))
        }
    };
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    until("others are told of it", || told(path, "client-ca-file")).await;
    let admin = connect_as(&cluster.server, Some(&admin(&cluster.server)), b"http/1.1").await;
    assert_eq!(get_http1(admin, "/api/v1/nodes").await.status(), 200);

    std::fs::write(&file, &old).unwrap();
    until("the next CA is not trusted any more", || async {
        open.lock().await.get("/readyz").await.status() == 401
    })
    .await;
}

fn shown(wire: &crate::dial::Wire) -> Vec<u8> {
    let (_, session) = wire.get_ref();
    session.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_replaced_serving_certificate_is_shown_to_new_connections_and_open_ones_go_on() {
    let cluster = Cluster::start().await;
    let first = connect_as(&cluster.server, None, b"http/1.1").await;
    let before = shown(&first);
    let mut first = Http1::over(first).await;
    // Somebody takes certificate and key away: the server makes others.
    for file in ["apiserver.crt", "apiserver.key"] {
        std::fs::remove_file(pki_folder(&cluster.server).join(file)).unwrap();
    }
    until("another certificate is shown", || async {
        shown(&connect_as(&cluster.server, None, b"http/1.1").await) != before
    })
    .await;
    assert_eq!(first.get("/readyz").await.status(), 200);
    let (on_disk, _) = own_credential(&cluster.server, "apiserver");
    until("it is the one on disk", || async {
        shown(&connect_as(&cluster.server, None, b"http/1.1").await) == on_disk.der()
    })
    .await;
}

async fn bearer(cluster: &Cluster, token: &str) -> u16 {
    let wire = connect_as(&cluster.server, None, b"http/1.1").await;
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let mut client = Http1::over(wire).await;
    client
        .send("GET", "/version", &headers, "")
        .await
        .status()
        .as_u16()
}

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

#[tokio::test]
async fn a_token_bound_to_a_pod_or_secret_or_node_dies_with_it() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let objects = [
        ("Pod", "/api/v1/namespaces/default/pods", pod),
        (
            "Secret",
            "/api/v1/namespaces/default/secrets",
            json!({"metadata": {"name": "p"}}),
        ),
        ("Node", "/api/v1/nodes", json!({"metadata": {"name": "p"}})),
    ];
    for (kind, path, object) in objects {
        let uid = admin.post(path, &object).await.ok()["metadata"]["uid"].clone();
        let reference = json!({"apiVersion": "v1", "kind": kind, "name": "p", "uid": uid});
        let request = json!({"spec": {"boundObjectRef": reference, "expirationSeconds": 600}});
        let answer = admin
            .post(&format!("{ACCOUNTS}/default/token"), &request)
            .await
            .ok();
        let token = answer["status"]["token"].as_str().unwrap().to_owned();
        assert_eq!(bearer(&cluster, &token).await, 200, "{kind}");
        let review = json!({"spec": {"token": token}});
        let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
        let told = admin.post(reviews, &review).await.ok()["status"].clone();
        assert_eq!(told["authenticated"], true);
        let extra = &told["user"]["extra"];
        let credential = &extra["authentication.kubernetes.io/credential-id"][0];
        assert!(credential.as_str().unwrap().starts_with("JTI="));
        if kind != "Secret" {
            let name = format!("authentication.kubernetes.io/{}-name", kind.to_lowercase());
            assert_eq!(extra[name], json!(["p"]));
        }
        let now = json!({"gracePeriodSeconds": 0});
        admin.delete(&format!("{path}/p"), &now).await.ok();
        assert_eq!(bearer(&cluster, &token).await, 401, "{kind}");
        let told = admin.post(reviews, &review).await.ok()["status"].clone();
        assert_eq!(told.get("authenticated"), None);
    }
}

#[tokio::test]
async fn verification_keys_are_published_for_caches() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let document = admin.get("/.well-known/openid-configuration").await;
    assert_eq!(document.headers["content-type"], "application/json");
    assert_eq!(document.headers["cache-control"], "public, max-age=3600");
    let keys = admin.get("/openid/v1/jwks").await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    assert_eq!(keys.headers["cache-control"], "public, max-age=3600");
    assert_eq!(keys.json()["keys"][0]["alg"], "ES256");
}
