//! Where an API server listens: [`Endpoint`] and [`Host`].
//!
//! It refuses to know how a name resolves and whether anything answers there.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Longest text that is looked at, in bytes: a DNS name (253), brackets, scheme and port with room to spare.
const MAX_LEN: usize = 512;
/// Port of an `https://` URL that names none (RFC 9110).
const HTTPS_PORT: u16 = 443;

/// A host: a DNS name or an IP literal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A DNS name, lower case, without a closing dot.
    Dns(String),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
}

/// A host and a TCP port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    host: Host,
    port: u16,
}

/// Why a text is not an endpoint. All of them are for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Longer than any endpoint; nothing was looked at.
    #[error("an endpoint has at most 512 characters, this one has {length}")]
    TooLong {
        /// Length in bytes.
        length: usize,
    },
    /// Only `https://` or no scheme at all is understood.
    #[error("the scheme {scheme:?} is not supported, use https or none")]
    Scheme {
        /// The scheme found.
        scheme: String,
    },
    /// The URL goes on after the port; give only `https://HOST:PORT`.
    #[error("an endpoint has no path, query or user, found {found:?}")]
    Trailing {
        /// What follows the port, or the text before `@`, masked.
        found: String,
    },
    /// There is no port; add `:6443` or what the server listens on.
    #[error("the port is missing")]
    MissingPort,
    /// The port is not a number from 1 to 65535.
    #[error("{port:?} is not a port")]
    Port {
        /// The text found.
        port: String,
    },
    /// Neither a DNS name nor an IP address; an IPv6 address with a port needs brackets.
    #[error("{host:?} is neither a DNS name nor an IP address (IPv6 in brackets)")]
    Host {
        /// The text found.
        host: String,
    },
}

impl Host {
    /// Reads a DNS name (letters, digits, `-`, `_`, `.`; lower-cased), an IPv4 address or an IPv6 address
    /// with or without brackets.
    ///
    /// # Errors
    /// [`EndpointError::Host`] when it is none of these.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let refuse = || EndpointError::Host {
            host: text.chars().take(MAX_LEN).collect(),
        };
        if let Some(inner) = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            return inner
                .parse::<Ipv6Addr>()
                .map(|ip| Self::Ip(ip.into()))
                .map_err(|_| refuse());
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(ip));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        // Only digits and dots: somebody meant an address and mistyped it.
        let looks_like_an_address = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if is_dns_name(&name) && !looks_like_an_address {
            Ok(Self::Dns(name))
        } else {
            Err(refuse())
        }
    }

    /// The name to verify a server certificate against and to send as SNI (IP literals bare, without brackets).
    pub fn server_name(&self) -> String {
        match self {
            Self::Dns(name) => name.clone(),
            Self::Ip(ip) => ip.to_string(),
        }
    }

    /// The address, when the host is a literal one.
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Dns(_) => None,
            Self::Ip(ip) => Some(*ip),
        }
    }
}

impl fmt::Display for Host {
    /// As in a URL: IPv6 in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip)
    }
}

impl Endpoint {
    /// Puts an endpoint together.
    pub const fn new(host: Host, port: u16) -> Self {
        Self { host, port }
    }

    /// Reads `HOST:PORT`, `https://HOST:PORT` or `https://HOST` (port 443); IPv6 hosts in brackets;
    /// a single closing `/` is ignored.
    ///
    /// # Errors
    /// [`EndpointError`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        Self::read(text, None)
    }

    /// Like [`Endpoint::parse`], but a bare `HOST` means `default_port`.
    ///
    /// # Errors
    /// [`EndpointError`] says what is wrong with the text.
    pub fn parse_with_default_port(text: &str, default_port: u16) -> Result<Self, EndpointError> {
        Self::read(text, Some(default_port))
    }

    fn read(text: &str, default_port: Option<u16>) -> Result<Self, EndpointError> {
        let text = text.trim();
        if text.len() > MAX_LEN {
            return Err(EndpointError::TooLong { length: text.len() });
        }
        let (authority, default_port) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (
                rest.strip_suffix('/').unwrap_or(rest),
                Some(default_port.unwrap_or(HTTPS_PORT)),
            ),
            Some((scheme, _)) => {
                return Err(EndpointError::Scheme {
                    scheme: scheme.to_owned(),
                });
            }
            None => (text, default_port),
        };
        if authority.contains('@') {
            return Err(EndpointError::Trailing {
                found: "****@".to_owned(),
            });
        }
        if let Some(at) = authority.find(['/', '?', '#']) {
            return Err(EndpointError::Trailing {
                found: authority[at..].to_owned(),
            });
        }
        let (host, port) = split_port(authority)?;
        let port = match port {
            Some(port) => parse_port(port)?,
            None => default_port.ok_or(EndpointError::MissingPort)?,
        };
        Ok(Self {
            host: Host::parse(host)?,
            port,
        })
    }

    /// The host.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The TCP port, 1 to 65535.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `https://HOST:PORT`, as a kubeconfig's `server`.
    pub fn url(&self) -> String {
        format!("https://{self}")
    }

    /// The name to verify the server's certificate against; see [`Host::server_name`].
    pub fn server_name(&self) -> String {
        self.host.server_name()
    }
}

impl fmt::Display for Endpoint {
    /// `HOST:PORT`, IPv6 in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), EndpointError> {
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or_else(|| EndpointError::Host {
            host: authority.to_owned(),
        })?;
        let (host, rest) = authority.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(EndpointError::Host {
                host: authority.to_owned(),
            }),
        };
    }
    match authority.split_once(':') {
        // Two colons outside brackets: a bare IPv6 address, where the port could not be told apart.
        Some((_, rest)) if rest.contains(':') => Err(EndpointError::Host {
            host: authority.to_owned(),
        }),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, EndpointError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(EndpointError::Port {
            port: text.to_owned(),
        }),
    }
}

/// Host names in the wild have underscores; DNS itself does not mind, so neither do we.
fn is_dns_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|part| {
            (1..=63).contains(&part.len())
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10.78.0.1:6443", "https://10.78.0.1:6443", "10.78.0.1")]
    #[case("https://10.78.0.1:6443", "https://10.78.0.1:6443", "10.78.0.1")]
    #[case(
        "HTTPS://API.Example.com:443/",
        "https://api.example.com:443",
        "api.example.com"
    )]
    #[case(
        "https://api.example.com",
        "https://api.example.com:443",
        "api.example.com"
    )]
    #[case("[fd00::1]:6443", "https://[fd00::1]:6443", "fd00::1")]
    #[case("localhost:1", "https://localhost:1", "localhost")]
    #[case("my_host.:65535", "https://my_host:65535", "my_host")]
    fn endpoints_are_read(#[case] text: &str, #[case] url: &str, #[case] name: &str) {
        let endpoint = Endpoint::parse(text).unwrap();
        assert_eq!(endpoint.url(), url);
        assert_eq!(endpoint.server_name(), name);
    }

    #[rstest]
    #[case("api", EndpointError::MissingPort)]
    #[case("http://api:80", EndpointError::Scheme { scheme: "http".into() })]
    #[case("api:0", EndpointError::Port { port: "0".into() })]
    #[case("api:+1", EndpointError::Port { port: "+1".into() })]
    #[case("api:65536", EndpointError::Port { port: "65536".into() })]
    #[case("api:", EndpointError::Port { port: "".into() })]
    #[case(":6443", EndpointError::Host { host: "".into() })]
    #[case("fd00::1:6443", EndpointError::Host { host: "fd00::1:6443".into() })]
    #[case("[fd00::1:6443", EndpointError::Host { host: "[fd00::1:6443".into() })]
    #[case("10.0.0:6443", EndpointError::Host { host: "10.0.0".into() })]
    #[case("https://a:1/k8s/c", EndpointError::Trailing { found: "/k8s/c".into() })]
    #[case("u:secret@a:1", EndpointError::Trailing { found: "****@".into() })]
    fn other_texts_are_refused(#[case] text: &str, #[case] error: EndpointError) {
        assert_eq!(Endpoint::parse(text), Err(error));
    }

    #[test]
    fn a_bare_host_takes_the_default_port_when_there_is_one() {
        assert_eq!(
            Endpoint::parse_with_default_port("api", 6443)
                .unwrap()
                .to_string(),
            "api:6443"
        );
        let v6 = Endpoint::parse_with_default_port("[::1]", 6443).unwrap();
        assert_eq!(v6.to_string(), "[::1]:6443");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_text_is_read_or_refused_and_printing_reads_back(text in "(https://)?[\\[\\]:a-z0-9./@-]{0,40}|.{0,60}") {
            if let Ok(endpoint) = Endpoint::parse(&text) {
                prop_assert_eq!(Endpoint::parse(&endpoint.url()), Ok(endpoint.clone()));
                prop_assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint));
            }
        }
    }
}
