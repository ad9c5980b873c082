//! Which proxy leads to a host: the rules of Go's `net/http` (`golang.org/x/net/http/httpproxy`) for https.
//!
//! Texts in, a decision out. It refuses to know the environment that the texts come from, and how a proxy is spoken to.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::endpoint::{Endpoint, EndpointError, Host};
use crate::secret::Secret;

/// Longest variable that is looked at, in bytes.
const MAX_LEN: usize = 64 * 1024;

/// What `HTTPS_PROXY` and `NO_PROXY` say.
#[derive(Clone, Debug, Default)]
pub struct ProxyRules {
    proxy: Option<Result<Proxy, ProxyError>>,
    exempt: Vec<Exemption>,
}

/// A proxy that is asked with `CONNECT` (RFC 9110 section 9.3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    endpoint: Endpoint,
    authorization: Option<Secret<String>>,
}

/// Why `HTTPS_PROXY` cannot be used: correct or unset it, or exempt the host in `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Only plain http proxies are spoken to.
    #[error("proxies of the scheme {scheme:?} are not supported, use http")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// It names no host and port.
    #[error("the proxy's address cannot be used")]
    Address(#[source] EndpointError),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Exemption {
    Everything,
    Network {
        network: IpAddr,
        bits: u32,
    },
    Address {
        ip: IpAddr,
        port: Option<u16>,
    },
    Name {
        suffix: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl ProxyRules {
    /// Reads the values of both variables; empty texts are unset variables.
    #[must_use]
    pub fn new(https_proxy: &str, no_proxy: &str) -> Self {
        let https_proxy = https_proxy.trim();
        let bounded = no_proxy.get(..MAX_LEN).unwrap_or(no_proxy);
        Self {
            proxy: (!https_proxy.is_empty()).then(|| Proxy::parse(https_proxy)),
            exempt: bounded.split(',').filter_map(Exemption::parse).collect(),
        }
    }

    /// The proxy that a connection to `target` has to go through; `None` goes there directly. This machine itself
    /// (`localhost`, loopback addresses) is never reached through a proxy.
    ///
    /// # Errors
    /// [`ProxyError`] when there should be one and it cannot be used.
    pub fn for_target(&self, target: &Endpoint) -> Result<Option<&Proxy>, ProxyError> {
        let Some(proxy) = &self.proxy else {
            return Ok(None);
        };
        let here = match target.host() {
            Host::Dns(name) => name == "localhost",
            Host::Ip(ip) => ip.is_loopback(),
        };
        if here || self.exempt.iter().any(|exemption| exemption.holds(target)) {
            return Ok(None);
        }
        proxy.as_ref().map(Some).map_err(Clone::clone)
    }
}

impl Proxy {
    /// Reads `http://USER:PASSWORD@HOST:PORT`; scheme, user and port (80) may be left out.
    ///
    /// # Errors
    /// [`ProxyError`]; no text of it repeats a password.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(ProxyError::Scheme {
                scheme: scheme.chars().take(16).collect(),
            });
        }
        let (user, address) = match rest.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, rest),
        };
        let address = address.split(['/', '?', '#']).next().unwrap_or(address);
        let endpoint =
            Endpoint::parse_with_default_port(address, 80).map_err(ProxyError::Address)?;
        let authorization = user.map(|user| {
            let decoded = Secret::new(percent_decoded(user));
            let with_colon = Secret::new(if decoded.expose().contains(&b':') {
                decoded.expose().clone()
            } else {
                [decoded.expose().as_slice(), b":"].concat()
            });
            Secret::new(format!("Basic {}", STANDARD.encode(with_colon.expose())))
        });
        Ok(Self {
            endpoint,
            authorization,
        })
    }

    /// Where the proxy is.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The value of `Proxy-Authorization`, when user and password are given.
    #[must_use]
    pub const fn authorization(&self) -> Option<&Secret<String>> {
        self.authorization.as_ref()
    }
}

impl fmt::Display for Proxy {
    /// `http://HOST:PORT`, never user or password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.endpoint)
    }
}

impl Exemption {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_ascii_lowercase();
        if entry.is_empty() {
            return None;
        }
        if entry == "*" {
            return Some(Self::Everything);
        }
        if let Some((network, bits)) = entry.split_once('/')
            && let (Ok(network), Ok(bits)) = (network.parse(), bits.parse())
        {
            return Some(Self::Network { network, bits });
        }
        let (host, port) = split_port(&entry);
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if let Ok(ip) = bare.parse() {
            return Some(Self::Address { ip, port });
        }
        let name = host.strip_prefix('*').filter(|rest| rest.starts_with('.'));
        let name = name.unwrap_or(host);
        // `.example.com` is for what lies below it, `example.com` for itself as well.
        let (suffix, itself) = match name.strip_prefix('.') {
            Some(suffix) => (suffix, false),
            None => (name, true),
        };
        (!suffix.is_empty()).then(|| Self::Name {
            suffix: suffix.to_owned(),
            itself,
            port,
        })
    }

    fn holds(&self, target: &Endpoint) -> bool {
        let port_fits = |port: &Option<u16>| port.is_none_or(|port| port == target.port());
        match (self, target.host()) {
            (Self::Everything, _) => true,
            (Self::Network { network, bits }, Host::Ip(ip)) => is_within(*ip, *network, *bits),
            (Self::Address { ip, port }, Host::Ip(host)) => ip == host && port_fits(port),
            (
                Self::Name {
                    suffix,
                    itself,
                    port,
                },
                Host::Dns(name),
            ) => {
                let below = name
                    .strip_suffix(suffix.as_str())
                    .is_some_and(|rest| rest.ends_with('.'));
                (below || (*itself && name == suffix)) && port_fits(port)
            }
            _ => false,
        }
    }
}

/// `HOST:PORT` apart; an address of IPv6 has a port only behind brackets.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

fn is_within(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (ip, network, width) = match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            (u128::from(ip.to_bits()), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => (ip.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    bits <= width && (bits == 0 || (ip ^ network) >> (width - bits) == 0)
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn goes_through(no_proxy: &str, target: &str) -> bool {
        let rules = ProxyRules::new("http://proxy:3128", no_proxy);
        let target = Endpoint::parse(target).unwrap();
        rules.for_target(&target).unwrap().is_some()
    }

    #[test]
    fn exemptions_are_those_of_go() {
        for (no_proxy, target, proxied) in [
            ("", "api.example.com:6443", true),
            ("example.com", "api.example.com:6443", false),
            ("example.com", "example.com:6443", false),
            (".example.com", "example.com:6443", true),
            (".example.com", "api.example.com:6443", false),
            ("*.example.com", "api.example.com:6443", false),
            ("ample.com", "example.com:6443", true),
            ("EXAMPLE.com", "example.com:6443", false),
            ("example.com:443", "example.com:6443", true),
            ("example.com:6443", "example.com:6443", false),
            ("foo, 10.0.0.0/8", "10.1.2.3:6443", false),
            ("10.2.0.0/16", "10.1.2.3:6443", true),
            ("10.1.2.3", "10.1.2.3:6443", false),
            ("10.1.2.3:80", "10.1.2.3:6443", true),
            ("fd00::/8", "[fd00::1]:6443", false),
            ("[fd00::1]:6443", "[fd00::1]:6443", false),
            ("fd00::1", "[fd00::1]:6443", false),
            ("0.0.0.0/99", "10.1.2.3:6443", true),
            ("*", "10.1.2.3:6443", false),
            ("", "localhost:6443", false),
            ("", "127.0.0.1:6443", false),
            ("", "[::1]:6443", false),
        ] {
            assert_eq!(
                goes_through(no_proxy, target),
                proxied,
                "{no_proxy} {target}"
            );
        }
    }

    #[test]
    fn without_the_variable_there_is_no_proxy() {
        let target = Endpoint::parse("10.0.0.1:6443").unwrap();
        assert_eq!(ProxyRules::new(" ", "").for_target(&target), Ok(None));
    }

    #[test]
    fn user_and_password_go_to_the_proxy_and_nowhere_else() {
        let proxy = Proxy::parse("http://me:p%40ss@proxy.example:3128/").unwrap();
        assert_eq!(proxy.to_string(), "http://proxy.example:3128");
        assert_eq!(
            proxy.authorization().unwrap().expose(),
            &format!("Basic {}", STANDARD.encode("me:p@ss"))
        );
        assert!(!format!("{proxy:?}").contains("ss@"));
        assert_eq!(
            Proxy::parse("proxy").unwrap().to_string(),
            "http://proxy:80"
        );
    }

    #[test]
    fn other_schemes_are_refused_only_where_the_proxy_would_be_used() {
        let rules = ProxyRules::new("socks5://proxy:1080", "10.0.0.0/8");
        let refused = rules.for_target(&Endpoint::parse("192.0.2.1:6443").unwrap());
        assert!(matches!(refused, Err(ProxyError::Scheme { .. })));
        assert_eq!(
            rules.for_target(&Endpoint::parse("10.0.0.1:6443").unwrap()),
            Ok(None)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_text_is_read(proxy in ".{0,60}", exempt in ".{0,80}") {
            let rules = ProxyRules::new(&proxy, &exempt);
            let _ = rules.for_target(&Endpoint::parse("10.0.0.1:6443").unwrap());
        }
    }
}
