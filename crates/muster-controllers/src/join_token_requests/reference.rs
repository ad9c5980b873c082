//! What a reference to a cluster leads to: Cluster objects of k0smotron and of Cluster API, and kubeconfig Secrets.
//!
//! A kubeconfig comes from somebody who may create Secrets and nothing more, so only what stands in it is used: no
//! programs are started for it, no files are read. It refuses to know the API.

use kube::core::DynamicObject;
use muster_identity::kubeconfig::{Material, Resolved};
use muster_identity::{CertificateBundle, Endpoint, Kubeconfig, Secret};
use serde_json::Value;

/// A kind of object that stands for a cluster. The first one that is there is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ClusterKind {
    /// `clusters.k0smotron.io`.
    K0smotron,
    /// `clusters.cluster.x-k8s.io`.
    ClusterApi,
}

impl ClusterKind {
    /// All, in the order in which they are asked.
    pub(crate) const ALL: [Self; 2] = [Self::K0smotron, Self::ClusterApi];

    /// The name of its definition.
    pub(crate) const fn definition(self) -> &'static str {
        match self {
            Self::K0smotron => "clusters.k0smotron.io",
            Self::ClusterApi => "clusters.cluster.x-k8s.io",
        }
    }

    /// The versions that can be read, best first.
    pub(crate) const fn versions(self) -> &'static [&'static str] {
        &["v1beta2", "v1beta1"]
    }
}

/// What an object says of its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterObject {
    /// Its uid.
    pub(crate) uid: String,
    /// Where joining machines have to go, if not where the kubeconfig says.
    pub(crate) endpoint: Option<Endpoint>,
    /// Whether that is an ingress, which leads to every port of the control plane by name.
    pub(crate) is_ingress: bool,
}

/// Where the kubeconfigs of a cluster may be: before and after its name in the Secret's name, and the key.
pub(crate) const KUBECONFIGS: [(&str, &str, &str); 3] = [
    // Cluster API, k0smotron, and what is made by hand.
    ("", "-kubeconfig", "value"),
    // Kamaji.
    ("", "-admin-kubeconfig", "admin.conf"),
    // vcluster.
    ("vc-", "", "config"),
];

/// The names that a cluster may have whose kubeconfig is in a Secret of this name.
pub(crate) fn clusters_of_secret(name: &str) -> impl Iterator<Item = &str> {
    KUBECONFIGS.iter().filter_map(|(before, after, _)| {
        let name = name.strip_prefix(before)?.strip_suffix(after)?;
        (!name.is_empty()).then_some(name)
    })
}

/// Reads a Cluster object.
pub(crate) fn read_cluster(kind: ClusterKind, object: &DynamicObject) -> ClusterObject {
    let spec = &object.data["spec"];
    let (host, port) = match kind {
        ClusterKind::K0smotron => {
            let ingress = &spec["ingress"];
            (&ingress["apiHost"], ingress["port"].as_u64().unwrap_or(443))
        }
        ClusterKind::ClusterApi => {
            let endpoint = &spec["controlPlaneEndpoint"];
            (&endpoint["host"], endpoint["port"].as_u64().unwrap_or(0))
        }
    };
    ClusterObject {
        uid: object.metadata.uid.clone().unwrap_or_default(),
        endpoint: endpoint_of(host, port),
        is_ingress: kind == ClusterKind::K0smotron,
    }
}

fn endpoint_of(host: &Value, port: u64) -> Option<Endpoint> {
    let host = muster_identity::Host::parse(host.as_str().filter(|host| !host.is_empty())?).ok()?;
    let port = u16::try_from(port).ok().filter(|port| *port != 0)?;
    Some(Endpoint::new(host, port))
}

/// How to speak to a target cluster.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// `server` of the kubeconfig.
    pub(crate) server: String,
    /// The same, parsed.
    pub(crate) endpoint: Endpoint,
    /// Whom to trust.
    pub(crate) ca: CertificateBundle,
    /// The name in the server's certificate, if it is not the host.
    pub(crate) tls_server_name: Option<String>,
    /// How to log in.
    pub(crate) login: Login,
}

/// How to log in.
#[derive(Clone, Debug)]
pub(crate) enum Login {
    /// With a bearer token.
    Token(Secret<String>),
    /// With a certificate and its key, PEM.
    Certificate(Vec<u8>, Secret<Vec<u8>>),
}

/// Reads a kubeconfig from a Secret; a text for people when it cannot be used.
pub(crate) fn read_kubeconfig(bytes: &[u8]) -> Result<Access, String> {
    let config = Kubeconfig::parse(bytes).map_err(|error| error.to_string())?;
    let Resolved { cluster, user, .. } = config.resolve().map_err(|error| error.to_string())?;
    if let Some(field) = user.other_fields.first() {
        return Err(format!(
            "its user logs in by {field:?}, which is not done for a kubeconfig in a Secret"
        ));
    }
    let in_file = || "it names files, which are not read for a kubeconfig in a Secret".to_owned();
    let ca = match cluster.certificate_authority {
        Some(Material::Data(ca)) => ca,
        Some(Material::File(_)) => return Err(in_file()),
        None => return Err("it names no certificate authority".to_owned()),
    };
    let ca = CertificateBundle::from_pem(&ca).map_err(|error| error.to_string())?;
    let endpoint = Endpoint::parse(&cluster.server).map_err(|error| error.to_string())?;
    let login = match (user.token, user.client_certificate, user.client_key) {
        (_, Some(Material::Data(certificate)), Some(Material::Data(key))) => {
            Login::Certificate(certificate, key)
        }
        (Some(Material::Data(token)), None, None) => Login::Token(token),
        (None, None, None) => return Err("its user has no credential".to_owned()),
        _ => return Err(in_file()),
    };
    Ok(Access {
        server: cluster.server,
        endpoint,
        ca,
        tls_server_name: cluster.tls_server_name,
        login,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join_token_requests::flavour::tests::ca;
    use rstest::rstest;
    use serde_json::json;

    fn object(spec: Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "k0smotron.io/v1beta1", "kind": "Cluster",
            "metadata": {"name": "c", "namespace": "ns", "uid": "u"}, "spec": spec,
        }))
        .expect("an object")
    }

    #[rstest]
    #[case(ClusterKind::K0smotron, json!({"ingress": {"apiHost": "api.example.com"}}), Some("api.example.com:443"))]
    #[case(ClusterKind::K0smotron, json!({"ingress": {"apiHost": "api.example.com", "port": 8443}}), Some("api.example.com:8443"))]
    #[case(ClusterKind::K0smotron, json!({"service": {"type": "NodePort"}}), None)]
    #[case(ClusterKind::ClusterApi, json!({"controlPlaneEndpoint": {"host": "10.0.0.1", "port": 6443}}), Some("10.0.0.1:6443"))]
    #[case(ClusterKind::ClusterApi, json!({"controlPlaneEndpoint": {"host": "", "port": 0}}), None)]
    fn the_cluster_says_where_machines_go(
        #[case] kind: ClusterKind,
        #[case] spec: Value,
        #[case] endpoint: Option<&str>,
    ) {
        let read = read_cluster(kind, &object(spec));
        assert_eq!(read.uid, "u");
        assert_eq!(
            read.endpoint
                .map(|endpoint| endpoint.to_string())
                .as_deref(),
            endpoint
        );
    }

    #[test]
    fn the_secrets_of_three_makers_lead_to_the_cluster() {
        for secret in ["c1-kubeconfig", "c1-admin-kubeconfig", "vc-c1"] {
            let clusters: Vec<_> = clusters_of_secret(secret).collect();
            assert!(clusters.contains(&"c1"), "{clusters:?}");
        }
        assert_eq!(clusters_of_secret("tls").count(), 0);
    }

    fn kubeconfig(user: &str) -> String {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let ca = STANDARD.encode(ca().to_pem());
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts:\n- name: a\n  context: {{cluster: c, user: u}}\n\
            clusters:\n- name: c\n  cluster: {{server: 'https://h:6443', certificate-authority-data: {ca}}}\n\
            users:\n- name: u\n  user: {user}\n"
        )
    }

    #[test]
    fn a_kubeconfig_starts_no_programs_and_reads_no_files() {
        assert!(read_kubeconfig(kubeconfig("{token: t}").as_bytes()).is_ok());
        for user in [
            "{exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh}}",
            "{token: t, exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh}}",
            "{tokenFile: /etc/shadow}",
            "{client-certificate: /etc/shadow, client-key: /etc/shadow}",
            "{}",
        ] {
            let read = read_kubeconfig(kubeconfig(user).as_bytes());
            assert!(read.is_err(), "{user}: {read:?}");
        }
    }

    #[test]
    fn a_debugged_access_shows_no_credential() {
        let access = read_kubeconfig(kubeconfig("{token: hush-hush}").as_bytes());
        assert!(!format!("{access:?}").contains("hush"));
    }
}
