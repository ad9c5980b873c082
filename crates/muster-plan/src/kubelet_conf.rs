//! The kubelet's kubeconfig, in the very form in which the kubelet itself writes it after its bootstrap.
//!
//! It holds no key: it points at the file that the kubelet rotates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The text of `kubelet.conf`. `server_name` is what the server's certificate is for, when that is not the URL's host;
/// `client_pem` is the path of the certificate and key as the kubelet will open it.
#[must_use]
pub fn kubelet_conf(
    server: &str,
    server_name: Option<&str>,
    ca_pem: &str,
    client_pem: &str,
) -> String {
    let ca = STANDARD.encode(ca_pem);
    let server = scalar(server);
    let client = scalar(client_pem);
    let name = server_name.map_or_else(String::new, |name| {
        format!("\n    tls-server-name: {}", scalar(name))
    });
    format!(
        "apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {ca}
    server: {server}{name}
  name: default-cluster
contexts:
- context:
    cluster: default-cluster
    namespace: default
    user: default-auth
  name: default-context
current-context: default-context
kind: Config
users:
- name: default-auth
  user:
    client-certificate: {client}
    client-key: {client}
"
    )
}

/// A YAML scalar: plain where that is safe, quoted as in JSON (which YAML includes) where it may not be.
pub(crate) fn scalar(text: &str) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"/._-:[]".contains(&b);
    let plain = text.starts_with(|c: char| c == '/' || c.is_ascii_alphabetic())
        && text.bytes().all(safe)
        && !text.ends_with(':');
    if plain {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_text_that_the_kubelet_writes() {
        let text = kubelet_conf(
            "https://10.78.0.1:6443",
            None,
            "PEM",
            "/var/lib/kubelet/pki/kubelet-client-current.pem",
        );
        assert!(text.starts_with("apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: UEVN\n    server: https://10.78.0.1:6443\n  name: default-cluster\n"));
        assert!(text.ends_with(
            "    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem\n    client-key: /var/lib/kubelet/pki/kubelet-client-current.pem\n"
        ));
    }

    #[test]
    fn a_strange_root_directory_is_quoted_and_read_back() {
        let strange = "/tmp/my node: #1/kubelet-client-current.pem";
        let text = kubelet_conf("https://[fd00::1]:6443", Some("kubernetes"), "PEM", strange);
        assert!(text.contains(r#"client-key: "/tmp/my node: #1/kubelet-client-current.pem""#));
        let read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read["users"][0]["user"]["client-key"], strange);
        let cluster = &read["clusters"][0]["cluster"];
        assert_eq!(cluster["server"], "https://[fd00::1]:6443");
        assert_eq!(cluster["tls-server-name"], "kubernetes");
    }
}
