//! A node that renews itself: when to ask for the next certificate, and what to ask.
//!
//! As the kubelet's certificate manager: at a random point between 70 and 90 % of the life, with a
//! fresh key and the identity that the certificate has. Chance and time are arguments.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use muster_identity::name::NODES_GROUP;
use muster_identity::{Csr, CsrError, NodeName, PrivateKey, Subject, SubjectAltNames};

use crate::bootstrap::CertificateWish;

/// Earliest point of a certificate's life at which it is renewed.
pub const EARLIEST: f64 = 0.7;
/// Latest point of a certificate's life at which it is renewed.
pub const LATEST: f64 = 0.9;

/// When to renew a certificate that is valid from `not_before` to `not_after`: between 70 and 90 %
/// of its life, by `chance` from 0 to 1 (values outside count as the nearer end). An empty life is
/// renewed at once.
pub fn renewal_time(not_before: Timestamp, not_after: Timestamp, chance: f64) -> Timestamp {
    let life = not_after.duration_since(not_before);
    if !life.is_positive() {
        return not_before;
    }
    let chance = if chance.is_finite() {
        chance.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let part = EARLIEST + (LATEST - EARLIEST) * chance;
    let after = SignedDuration::from_secs_f64(life.as_secs_f64() * part);
    not_before.checked_add(after).unwrap_or(not_after)
}

/// Whether a certificate still serves for a join or a renewal: valid at `now` with some life left
/// before its renewal is due.
pub fn is_due(not_before: Timestamp, not_after: Timestamp, chance: f64, now: Timestamp) -> bool {
    now >= renewal_time(not_before, not_after, chance)
}

/// The subject of a node: `O=system:nodes, CN=system:node:NAME`.
pub fn node_subject(node: &NodeName) -> Subject {
    Subject::new(node.user_name(), [NODES_GROUP])
}

/// The wish for a node's client certificate, first or next, with `key`.
///
/// # Errors
/// [`CsrError`] when the key cannot sign.
pub fn client_wish(node: &NodeName, key: &PrivateKey) -> Result<CertificateWish, CsrError> {
    let csr = Csr::build(key, &node_subject(node), &SubjectAltNames::default())?;
    Ok(CertificateWish::kubelet_client(csr))
}

/// The wish for a node's serving certificate with the names and addresses it listens on.
///
/// # Errors
/// [`CsrError`] when the key cannot sign or a name cannot be encoded.
pub fn serving_wish(
    node: &NodeName,
    names: &[String],
    addresses: &[IpAddr],
    key: &PrivateKey,
) -> Result<CertificateWish, CsrError> {
    let sans = SubjectAltNames {
        dns: names.to_vec(),
        ip: addresses.to_vec(),
        ..SubjectAltNames::default()
    };
    let csr = Csr::build(key, &node_subject(node), &sans)?;
    Ok(CertificateWish::kubelet_serving(csr))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn renewal_lies_between_70_and_90_percent_of_the_life() {
        let (from, to) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T10:00:00Z"));
        assert_eq!(renewal_time(from, to, 0.0), at("2026-01-01T07:00:00Z"));
        assert_eq!(renewal_time(from, to, 0.5), at("2026-01-01T08:00:00Z"));
        assert_eq!(renewal_time(from, to, 1.0), at("2026-01-01T09:00:00Z"));
        assert!(!is_due(from, to, 0.5, at("2026-01-01T07:59:59Z")));
        assert!(is_due(from, to, 0.5, at("2026-01-01T08:00:00Z")));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_life_and_chance_give_a_time_within_the_life(
            from in -1_000_000_000_i64..4_000_000_000,
            life in 0_i64..1_000_000_000,
            chance in prop::num::f64::ANY,
        ) {
            let from = Timestamp::from_second(from).unwrap();
            let to = from + SignedDuration::from_secs(life);
            let time = renewal_time(from, to, chance);
            prop_assert!(from <= time && time <= to);
        }
    }
}
