//! The words of [`HandshakeError`](super::HandshakeError) that need more than a format string.

use jiff::{SignedDuration, Timestamp};
use muster_identity::CaPin;

pub(super) fn unknown_token(id: &str, others: usize, may_have_expired: bool) -> String {
    let fault = if may_have_expired {
        "is unknown to the cluster, or has expired"
    } else {
        "is unknown to the cluster"
    };
    match others {
        0 => format!("token {id} {fault}: cluster-info is not signed for any token"),
        1 => format!("token {id} {fault}: cluster-info is signed for another token only"),
        n => format!("token {id} {fault}: cluster-info is signed for {n} other tokens only"),
    }
}

pub(super) fn pins(pins: &[CaPin]) -> String {
    if pins.is_empty() {
        return "no certificate at all".into();
    }
    pins.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

pub(super) fn seconds(duration: SignedDuration) -> String {
    let millis = duration.as_millis();
    if millis % 1000 == 0 {
        format!("{} s", millis / 1000)
    } else {
        format!("{millis} ms")
    }
}

pub(super) fn closed(endpoint: &str, anonymous_refused: bool, message: &str) -> String {
    let how = if anonymous_refused {
        "lets nobody in without a credential (anonymous authentication is off)"
    } else {
        "does not show cluster-info to strangers (public discovery is closed)"
    };
    if message.is_empty() {
        format!("{endpoint} {how}")
    } else {
        format!("{endpoint} {how}: {message}")
    }
}

pub(super) fn waiting_for(approved: bool) -> &'static str {
    if approved {
        "waiting for a signer, though it is approved"
    } else {
        "waiting for approval"
    }
}

pub(super) fn skew_text(
    what: &str,
    local: Timestamp,
    server: Option<Timestamp>,
    not_before: Timestamp,
    not_after: Timestamp,
) -> String {
    let side = if local < not_before {
        format!("{what} is valid only from {not_before}")
    } else {
        format!("{what} was valid only until {not_after}")
    };
    match server {
        None => format!("{side}, but this machine's clock says {}", second(local)),
        Some(server) => {
            let skew = local.duration_since(server);
            let direction = if skew.is_negative() {
                "behind"
            } else {
                "ahead of"
            };
            let apart = SignedDuration::from_secs(skew.abs().as_secs());
            format!(
                "{side}: this machine's clock ({}) is {apart:#} {direction} the server's ({})",
                second(local),
                second(server)
            )
        }
    }
}

pub(super) fn second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Where it was looked for, as the end of a sentence.
pub(super) fn looked_for(config_maps: &[String]) -> String {
    if config_maps.is_empty() {
        ": it does not tell its version".to_owned()
    } else {
        format!(
            ", or does not show it (ConfigMaps {} in kube-system)",
            config_maps.join(", ")
        )
    }
}
