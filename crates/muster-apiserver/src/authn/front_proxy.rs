//! Users whom a proxy in front of this server vouches for: `X-Remote-User` and its companions, believed only
//! from a client whose certificate the CA of front proxies signed, under one of the allowed names.
//!
//! Refuses to know: which proxy that is. From anybody else the headers are so many bytes.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use muster_identity::CertificateBundle;

use super::{
    Unauthenticated,
    certificate::{ClientCertificate, ClientTrust, unusable},
};
use crate::request::{UserInfo, decode_percent};

/// The common name of the certificate that a cluster's own proxies show (kubeadm's).
pub const ALLOWED_NAME: &str = "front-proxy-client";
/// The header with the user's name.
pub const USER_HEADER: &str = "X-Remote-User";
/// The header with the user's uid.
pub const UID_HEADER: &str = "X-Remote-Uid";
/// The header with a group; it may come several times.
pub const GROUP_HEADER: &str = "X-Remote-Group";
/// What the headers of further attributes begin with.
pub const EXTRA_PREFIX: &str = "X-Remote-Extra-";

/// The proxies that are believed.
#[derive(Debug, Default)]
pub(super) struct FrontProxies {
    trust: ClientTrust,
}

impl FrontProxies {
    /// Believes proxies of these CAs from now on.
    pub(super) fn trust(&self, bundle: &CertificateBundle) {
        self.trust.replace(bundle);
    }

    /// The user that a proxy names; `None` when it is a proxy and names nobody.
    ///
    /// # Errors
    /// [`Unauthenticated`] when the certificate is not that of a proxy.
    pub(super) fn user(
        &self,
        certificate: &ClientCertificate,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Option<UserInfo>, Unauthenticated> {
        // Without the header nothing can come of it, and nearly all requests are without it.
        let Some(name) = headers.get(USER_HEADER).filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        self.trust.verify(certificate, now)?;
        let common_name = &certificate.subject()?.common_name;
        if common_name != ALLOWED_NAME {
            let why = format!("subject with cn={common_name} is not in the allowed list");
            return Err(unusable(why));
        }
        let groups = headers.get_all(GROUP_HEADER).iter();
        Ok(Some(UserInfo {
            name: text(name),
            uid: headers.get(UID_HEADER).map(text).unwrap_or_default(),
            groups: groups.filter(|group| !group.is_empty()).map(text).collect(),
            extra: extra(headers),
        }))
    }
}

fn extra(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let prefix = EXTRA_PREFIX.to_ascii_lowercase();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(&prefix) {
            let key = decode_percent(key, false).unwrap_or_else(|| key.to_owned());
            extra.entry(key).or_default().push(text(value));
        }
    }
    extra
}

/// Header values are bytes; what is not UTF-8 is marked, and then is nobody's name.
fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
