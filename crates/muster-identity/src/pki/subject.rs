//! Whom a certificate or a request names: [`Subject`] and [`SubjectAltNames`].
use std::net::IpAddr;

/// The distinguished name of a certificate or request, as far as Kubernetes uses it: the common name is the
/// user, the organisations are the groups.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Subject {
    /// CN, the user name; empty when there is none.
    pub common_name: String,
    /// All O, the groups, in order.
    pub organizations: Vec<String>,
    /// Other attributes that Go's x509 keeps (C, OU, L, ST, street, postal code, serial number), in order.
    pub other: Vec<SubjectAttribute>,
}

/// One more attribute of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectAttribute {
    /// Its type, dotted: `2.5.4.11` is an organisational unit.
    pub oid: String,
    /// Its text.
    pub value: String,
}

/// Subject alternative names by kind.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SubjectAltNames {
    /// DNS names.
    pub dns: Vec<String>,
    /// IP addresses.
    pub ip: Vec<IpAddr>,
    /// Email addresses.
    pub email: Vec<String>,
    /// URIs.
    pub uri: Vec<String>,
    /// How many there are of any other kind.
    pub others: usize,
}

impl Subject {
    /// A subject of a user and groups.
    pub fn new<S: Into<String>>(
        common_name: impl Into<String>,
        organizations: impl IntoIterator<Item = S>,
    ) -> Self {
        Self {
            common_name: common_name.into(),
            organizations: organizations.into_iter().map(Into::into).collect(),
            other: Vec::new(),
        }
    }
}

impl SubjectAltNames {
    /// DNS names and addresses, in order.
    pub fn new(
        dns: impl IntoIterator<Item = impl Into<String>>,
        ip: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        Self {
            dns: dns.into_iter().map(Into::into).collect(),
            ip: ip.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Whether there is no name of any kind.
    pub fn is_empty(&self) -> bool {
        self.dns.is_empty()
            && self.ip.is_empty()
            && self.email.is_empty()
            && self.uri.is_empty()
            && self.others == 0
    }
}
