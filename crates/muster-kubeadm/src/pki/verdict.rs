//! Whether a certificate on disk is still what it should be.

use jiff::Timestamp;
use muster_identity::Certificate;

use super::Profile;

/// What is to be said of a certificate on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is right.
    Right,
    /// Another authority signed it.
    Stranger,
    /// It names somebody else.
    Subject {
        /// The common name found.
        found: String,
    },
    /// It lacks alternative names, so that clients would refuse it.
    Names {
        /// The missing ones.
        missing: Vec<String>,
    },
    /// It lacks a purpose.
    Purpose {
        /// The missing one.
        missing: String,
    },
    /// It is not valid yet.
    NotYet {
        /// From when on.
        not_before: Timestamp,
    },
    /// It is no longer valid.
    Expired {
        /// Since when.
        not_after: Timestamp,
    },
}

/// Judges a certificate. More names and purposes than needed do no harm.
#[must_use]
pub fn judge(
    certificate: &Certificate,
    profile: &Profile,
    authority: &Certificate,
    now: Timestamp,
) -> Verdict {
    if certificate.verify_signed_by(authority).is_err() {
        return Verdict::Stranger;
    }
    let found = &certificate.subject().common_name;
    if *found != profile.subject.common_name {
        return Verdict::Subject {
            found: found.clone(),
        };
    }
    let sans = certificate.subject_alt_names();
    let dns = profile
        .sans
        .dns
        .iter()
        .filter(|name| !sans.dns.contains(name))
        .cloned();
    let ips = profile
        .sans
        .ip
        .iter()
        .filter(|ip| !sans.ip.contains(ip))
        .map(ToString::to_string);
    let missing: Vec<String> = dns.chain(ips).collect();
    if !missing.is_empty() {
        return Verdict::Names { missing };
    }
    if let Some(usage) = profile
        .purposes
        .iter()
        .find(|usage| !certificate.usages().contains(usage))
    {
        return Verdict::Purpose {
            missing: usage.to_string(),
        };
    }
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    if now < not_before {
        Verdict::NotYet { not_before }
    } else if now > not_after {
        Verdict::Expired { not_after }
    } else {
        Verdict::Right
    }
}
