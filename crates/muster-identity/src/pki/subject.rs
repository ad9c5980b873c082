//! Whom a certificate or a request names: [`Subject`] and [`SubjectAltNames`] (RFC 5280 sections 4.1.2.6 and
//! 4.2.1.6).
//!
//! It refuses to know who may bear which name.

use std::net::IpAddr;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc4519;
use der::asn1::{Any, BmpString, Ia5String, PrintableStringRef, Utf8StringRef};
use der::{Decode as _, Encode as _, Tag, Tagged as _};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

/// The distinguished name of a certificate or request, as far as Kubernetes uses it: the common name is the
/// user, the organisations are the groups.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Subject {
    /// CN, the user name; empty when there is none. Of several the last counts, as in Go.
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
    /// How many there are of any other kind; these are never issued.
    pub others: usize,
}

/// The other attributes that are kept from a request.
const KEPT: [ObjectIdentifier; 7] = [
    rfc4519::C,
    rfc4519::OU,
    rfc4519::L,
    rfc4519::ST,
    rfc4519::STREET,
    rfc4519::POSTAL_CODE,
    rfc4519::SERIAL_NUMBER,
];

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

    pub(super) fn from_name(name: &Name) -> der::Result<Self> {
        let mut subject = Self::default();
        for attribute in name.iter() {
            let kept = KEPT.contains(&attribute.oid);
            if attribute.oid == rfc4519::CN {
                subject.common_name = text_of(&attribute.value)?;
            } else if attribute.oid == rfc4519::O {
                subject.organizations.push(text_of(&attribute.value)?);
            } else if kept {
                let value = text_of(&attribute.value)?;
                subject.other.push(SubjectAttribute {
                    oid: attribute.oid.to_string(),
                    value,
                });
            }
        }
        Ok(subject)
    }

    /// Every attribute is an RDN of its own: in one set they would be sorted and lose their order.
    pub(super) fn to_name(&self) -> der::Result<Name> {
        let mut attributes = Vec::new();
        for organization in &self.organizations {
            attributes.push((rfc4519::O, organization.as_str()));
        }
        for attribute in &self.other {
            attributes.push((
                ObjectIdentifier::new(&attribute.oid)?,
                attribute.value.as_str(),
            ));
        }
        if !self.common_name.is_empty() {
            attributes.push((rfc4519::CN, self.common_name.as_str()));
        }
        let mut sequence = RdnSequence::default();
        for (oid, text) in attributes {
            let attribute = AttributeTypeAndValue {
                oid,
                value: directory_string(text)?,
            };
            sequence.push(RelativeDistinguishedName::try_from(vec![attribute])?);
        }
        Name::from_der(&sequence.to_der()?)
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

    /// No names at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether there is no name of any kind.
    pub fn is_empty(&self) -> bool {
        self.dns.is_empty()
            && self.ip.is_empty()
            && self.email.is_empty()
            && self.uri.is_empty()
            && self.others == 0
    }

    pub(super) fn from_extension(names: &SubjectAltName) -> der::Result<Self> {
        let mut sans = Self::default();
        for name in &names.0 {
            match name {
                GeneralName::DnsName(dns) => sans.dns.push(dns.to_string()),
                GeneralName::Rfc822Name(email) => sans.email.push(email.to_string()),
                GeneralName::UniformResourceIdentifier(uri) => sans.uri.push(uri.to_string()),
                GeneralName::IpAddress(bytes) => sans.ip.push(address(bytes.as_bytes())?),
                _ => sans.others += 1,
            }
        }
        Ok(sans)
    }

    /// `None` when there is nothing that could be written.
    pub(super) fn to_extension(&self) -> der::Result<Option<SubjectAltName>> {
        let mut names = Vec::new();
        for dns in &self.dns {
            names.push(GeneralName::DnsName(Ia5String::new(dns)?));
        }
        for email in &self.email {
            names.push(GeneralName::Rfc822Name(Ia5String::new(email)?));
        }
        for ip in &self.ip {
            names.push(GeneralName::from(*ip));
        }
        for uri in &self.uri {
            names.push(GeneralName::UniformResourceIdentifier(Ia5String::new(uri)?));
        }
        Ok((!names.is_empty()).then_some(SubjectAltName(names)))
    }
}

fn address(bytes: &[u8]) -> der::Result<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(v4.into());
    }
    let v6 = <[u8; 16]>::try_from(bytes).map_err(|_| Tag::OctetString.value_error())?;
    Ok(v6.into())
}

fn text_of(value: &Any) -> der::Result<String> {
    match value.tag() {
        Tag::BmpString => Ok(value.decode_as::<BmpString>()?.to_string()),
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::TeletexString => {
            let text = std::str::from_utf8(value.value());
            Ok(text.map_err(|_| value.tag().value_error())?.to_owned())
        }
        tag => Err(tag.value_error().into()),
    }
}

/// As Go: PrintableString where the text allows it, else UTF8String.
fn directory_string(text: &str) -> der::Result<Any> {
    match PrintableStringRef::new(text) {
        Ok(printable) => Any::encode_from(&printable),
        Err(_) => Any::encode_from(&Utf8StringRef::new(text)?),
    }
}
