//! Functions of addresses, ranges and URLs.

use std::sync::Arc;

use super::super::address::{parse_address, parse_network};
use super::super::eval::{EvalError, Outcome};
use super::super::value::{Url, Val};
use super::ok_text;

pub(super) fn of_address<'a>(address: std::net::IpAddr, name: &str) -> Outcome<'a> {
    use std::net::IpAddr;
    let local = match address {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.segments()[0] & 0xffc0 == 0xfe80,
    };
    let local_multicast = match address {
        IpAddr::V4(four) => four.octets()[..3] == [224, 0, 0],
        IpAddr::V6(six) => six.segments()[0] & 0xff0f == 0xff02,
    };
    let broadcast = matches!(address, IpAddr::V4(four) if four.is_broadcast());
    Ok(match name {
        "family" => Val::Int(if address.is_ipv4() { 4 } else { 6 }),
        "isUnspecified" => Val::Bool(address.is_unspecified()),
        "isLoopback" => Val::Bool(address.is_loopback()),
        "isLinkLocalMulticast" => Val::Bool(local_multicast),
        "isLinkLocalUnicast" => Val::Bool(local),
        "isGlobalUnicast" => {
            let special =
                address.is_unspecified() || address.is_loopback() || address.is_multicast();
            Val::Bool(!special && !local && !broadcast)
        }
        _ => return Err(EvalError::NoOverload),
    })
}

pub(super) fn of_network<'a>(target: &Val<'a>, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    let Val::Network(network) = target else {
        return Err(EvalError::NoOverload);
    };
    let bad = || {
        EvalError::Refused("network address parse error during conversion from string".to_owned())
    };
    match (name, args) {
        ("containsIP", [Val::Address(address)]) => Ok(Val::Bool(network.contains(*address))),
        ("containsIP", [Val::Text(text)]) => Ok(Val::Bool(
            network.contains(parse_address(text).ok_or_else(bad)?),
        )),
        ("containsCIDR", [Val::Network(other)]) => Ok(Val::Bool(network.contains_network(other))),
        ("containsCIDR", [Val::Text(text)]) => Ok(Val::Bool(
            network.contains_network(&parse_network(text).ok_or_else(bad)?),
        )),
        ("ip", []) => Ok(Val::Address(network.address)),
        ("masked", []) => Ok(Val::Network(network.masked())),
        ("prefixLength", []) => Ok(Val::Int(network.bits.into())),
        _ => Err(EvalError::NoOverload),
    }
}

/// An absolute URL or path, as `url.ParseRequestURI` takes it.
pub(super) fn parse_url(text: &str) -> Option<Url> {
    if text.is_empty() || text.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return None;
    }
    let (rest, query) = text.split_once('?').unwrap_or((text, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let query = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(k, v)| (k.to_owned(), v.to_owned()));
    let mut url = Url {
        query: query.collect(),
        ..Url::default()
    };
    if rest.starts_with('/') {
        rest.clone_into(&mut url.path);
        return Some(url);
    }
    let (scheme, rest) = rest.split_once(':')?;
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(letter) {
        return None;
    }
    scheme.to_ascii_lowercase().clone_into(&mut url.scheme);
    let Some(rest) = rest.strip_prefix("//") else {
        return Some(url);
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let port = match host.rsplit_once(':') {
        Some((_, port)) if !host.ends_with(']') => port,
        _ => "",
    };
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    host.clone_into(&mut url.host);
    path.clone_into(&mut url.path);
    Some(url)
}

pub(super) fn of_url<'a>(url: &Url, name: &str) -> Outcome<'a> {
    let (host, port) = match url.host.rsplit_once(':') {
        Some((host, port)) if !url.host.ends_with(']') => (host, port),
        _ => (url.host.as_str(), ""),
    };
    ok_text(match name {
        "getScheme" => url.scheme.as_str(),
        "getHost" => url.host.as_str(),
        "getHostname" => host.trim_start_matches('[').trim_end_matches(']'),
        "getPort" => port,
        "getEscapedPath" => url.path.as_str(),
        "getQuery" => {
            let mut entries: Vec<(Val<'a>, Vec<Val<'a>>)> = Vec::new();
            for (key, value) in &url.query {
                let key = Val::text(key.as_str());
                match entries.iter_mut().find(|(own, _)| own.same(&key)) {
                    Some((_, values)) => values.push(Val::text(value.as_str())),
                    None => entries.push((key, vec![Val::text(value.as_str())])),
                }
            }
            let entries = entries
                .into_iter()
                .map(|(key, values)| (key, Val::list(values)));
            return Ok(Val::Map(Arc::new(entries.collect())));
        }
        _ => return Err(EvalError::NoOverload),
    })
}
