//! The forms that a token is handed out in, and the bootstrap token that each needs in the target cluster.
//!
//! It refuses to know how either is written anywhere, the time, and where random bytes come from.

use super::names::{FORMAT_ANNOTATION, MANAGER_LABEL, REQUEST_ANNOTATION, REQUEST_UID_LABEL};
use super::request::{Place, Unfit};
use k8s_openapi::api::core::v1::Secret as SecretObject;
use muster_identity::token::{DEFAULT_NODE_TOKEN_GROUP, Expiration};
use muster_identity::{
    BootstrapToken, BootstrapTokenSecret, CaPin, CertificateBundle, Endpoint, JoinRole, K0sToken,
    Secret,
};
use std::fmt::Write as _;

/// What stands in the result Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// A join token of k0s.
    K0s,
    /// A line `kubeadm join …`.
    Kubeadm,
    /// A line `muster join …`.
    Muster,
}

/// Where a token leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// Where joining machines find the cluster.
    pub(crate) endpoint: Endpoint,
    /// Whether the cluster said so itself; then the endpoint holds for both roles.
    pub(crate) is_rewritten: bool,
    /// Whom they trust there.
    pub(crate) ca: CertificateBundle,
}

impl Way {
    /// A short text that changes with any part of it.
    pub(crate) fn fingerprint(&self) -> String {
        let text = format!("{} {}", self.endpoint.url(), self.ca.to_pem());
        super::names::fingerprint(text.as_bytes())[..16].to_owned()
    }
}

impl Flavour {
    /// Reads the annotation. A line for a control-plane node needs a certificate key, which nobody has here.
    pub(crate) fn parse(text: Option<&str>, role: JoinRole) -> Result<Self, Unfit> {
        let flavour = match text {
            None | Some("k0s") => return Ok(Self::K0s),
            Some("kubeadm") => Self::Kubeadm,
            Some("muster") => Self::Muster,
            Some(other) => {
                return Err(Unfit {
                    reason: "FormatInvalid",
                    message: format!(
                        "{other:?} is no format, use k0s, kubeadm or muster in {FORMAT_ANNOTATION}"
                    ),
                });
            }
        };
        if role == JoinRole::Controller {
            return Err(Unfit {
                reason: "FormatInvalid",
                message: "a join line for a control-plane node needs a certificate key; \
                    use the format k0s, or the role worker"
                    .to_owned(),
            });
        }
        Ok(flavour)
    }

    /// The word in the annotation.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::K0s => "k0s",
            Self::Kubeadm => "kubeadm",
            Self::Muster => "muster",
        }
    }

    /// What is handed out.
    pub(crate) fn text(self, role: JoinRole, way: &Way, token: &BootstrapToken) -> Secret<String> {
        match self {
            Self::K0s => {
                let server = match role {
                    JoinRole::Controller if !way.is_rewritten => {
                        Endpoint::new(way.endpoint.host().clone(), role.default_port())
                    }
                    _ => way.endpoint.clone(),
                };
                K0sToken::new(role, server, way.ca.clone(), token.clone()).encode()
            }
            Self::Kubeadm => join_line("kubeadm", way, token),
            Self::Muster => join_line("muster", way, token),
        }
    }

    /// The token as the target cluster keeps it.
    ///
    /// Tokens of k0s come without groups, and k0s lets every bootstrap token in. Clusters made by kubeadm let in a group
    /// alone, which means nothing to k0s: with it a worker's token works on both.
    fn secret(
        self,
        role: JoinRole,
        token: BootstrapToken,
        end: Expiration,
    ) -> BootstrapTokenSecret {
        match self {
            Self::K0s => {
                let mut secret = BootstrapTokenSecret::for_k0s(token, role, end);
                if role == JoinRole::Worker {
                    secret.groups = vec![DEFAULT_NODE_TOKEN_GROUP.to_owned()];
                }
                secret
            }
            Self::Kubeadm | Self::Muster => {
                let mut secret = BootstrapTokenSecret::new(token);
                secret.expiration = end;
                secret
            }
        }
    }
}

fn join_line(program: &str, way: &Way, token: &BootstrapToken) -> Secret<String> {
    let mut line = format!("{program} join {} --token ", way.endpoint);
    line.push_str(token.to_text().expose());
    for certificate in way.ca.certificates() {
        let _ = write!(
            line,
            " --discovery-token-ca-cert-hash {}",
            CaPin::of(certificate)
        );
    }
    Secret::new(line)
}

/// Whose token it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    /// The uid of `kube-system` where the request is.
    pub(crate) manager: &'a str,
    /// The request.
    pub(crate) request: &'a Place,
    /// Its uid.
    pub(crate) uid: &'a str,
}

/// The Secret in the target cluster, saying which request it is for.
///
/// # Errors
/// Never in practice: the Secret is a Secret.
pub(crate) fn bootstrap_secret(
    flavour: Flavour,
    role: JoinRole,
    token: BootstrapToken,
    end: Expiration,
    origin: Origin<'_>,
) -> Result<SecretObject, serde_json::Error> {
    let mut secret = flavour.secret(role, token, end);
    secret.description = format!("{role} token for JoinTokenRequest {}", origin.request);
    let mut object: SecretObject = serde_json::from_value(secret.to_object())?;
    let labels = object.metadata.labels.get_or_insert_default();
    labels.insert(MANAGER_LABEL.to_owned(), origin.manager.to_owned());
    labels.insert(REQUEST_UID_LABEL.to_owned(), origin.uid.to_owned());
    let annotations = object.metadata.annotations.get_or_insert_default();
    annotations.insert(REQUEST_ANNOTATION.to_owned(), origin.request.to_string());
    Ok(object)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rstest::rstest;

    /// A CA for tests.
    pub(in super::super) fn ca() -> CertificateBundle {
        use muster_identity::CertificateAuthority;
        let mut byte = 0_u8;
        let mut entropy = |bytes: &mut [u8]| {
            for place in bytes {
                byte = byte.wrapping_mul(5).wrapping_add(3);
                *place = byte;
            }
        };
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let authority = CertificateAuthority::new_self_signed(
            "kubernetes",
            now,
            jiff::SignedDuration::from_hours(24),
            &mut entropy,
        )
        .expect("a CA");
        CertificateBundle::from_pem(authority.certificate().to_pem().as_bytes()).expect("a bundle")
    }

    fn way(is_rewritten: bool) -> Way {
        Way {
            endpoint: Endpoint::parse("https://api.example.com:6443").expect("an endpoint"),
            is_rewritten,
            ca: ca(),
        }
    }

    fn token() -> BootstrapToken {
        BootstrapToken::parse("abcdef.0123456789abcdef").expect("a token")
    }

    #[rstest]
    #[case(JoinRole::Worker, false, "https://api.example.com:6443")]
    #[case(JoinRole::Controller, false, "https://api.example.com:9443")]
    #[case(JoinRole::Controller, true, "https://api.example.com:6443")]
    fn a_token_of_k0s_leads_where_its_role_has_to_go(
        #[case] role: JoinRole,
        #[case] is_rewritten: bool,
        #[case] server: &str,
    ) {
        let way = way(is_rewritten);
        let text = Flavour::K0s.text(role, &way, &token());
        let read = K0sToken::decode(text.expose().as_bytes()).expect("a token of k0s");
        assert_eq!((read.role(), read.server().url().as_str()), (role, server));
        assert_eq!((read.ca(), read.token()), (&way.ca, &token()));
    }

    #[test]
    fn a_join_line_has_endpoint_token_and_pin() {
        let way = way(false);
        let line = Flavour::Kubeadm.text(JoinRole::Worker, &way, &token());
        let pin = CaPin::of(&way.ca.certificates()[0]);
        assert_eq!(
            *line.expose(),
            format!(
                "kubeadm join api.example.com:6443 --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash {pin}"
            )
        );
    }

    #[test]
    fn a_line_for_a_control_plane_node_is_refused() {
        for format in ["kubeadm", "muster", "tarball"] {
            assert!(Flavour::parse(Some(format), JoinRole::Controller).is_err());
        }
        assert_eq!(
            Flavour::parse(Some("k0s"), JoinRole::Controller),
            Ok(Flavour::K0s)
        );
    }

    #[test]
    fn the_secret_in_the_target_says_whose_it_is() {
        let request = Place::new("default", "my-token");
        let origin = Origin {
            manager: "m",
            request: &request,
            uid: "u",
        };
        let end = Expiration::Never;
        let object = bootstrap_secret(Flavour::K0s, JoinRole::Controller, token(), end, origin)
            .expect("a Secret");
        let data = object.data.expect("data");
        let has = |key: &str| data.contains_key(key);
        assert!(has("usage-controller-join") && has("usage-bootstrap-controller-join"));
        assert!(!has("usage-bootstrap-authentication") && !has("expiration"));
        assert_eq!(
            object.metadata.labels.expect("labels")[REQUEST_UID_LABEL],
            "u"
        );
    }
}
