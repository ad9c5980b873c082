//! What a failure means for the run: whether it may pass by itself, what to do about it, whether the token was refused.
//!
//! Failures come as API errors, as errors of the way to a machine, and as the last words of commands on hosts. It
//! decides from ids and texts alone.

use std::error::Error;
use std::time::Duration;

use muster_handshake::{ErrorClass, ErrorKind};
use muster_net::ApiError;
use muster_rollout::StageFailure;
use muster_ssh::MachineError;

/// The most of a command's last words that is told, in characters.
const LONGEST_WORDS: usize = 600;

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// The ids of failures that this module and its neighbours make themselves. `docs/reference/errors.md` has a row for each.
pub(crate) mod ids {
    pub(crate) const API_REFUSED: &str = "fleet-api-refused";
    pub(crate) const API_UNREACHABLE: &str = "fleet-api-unreachable";
    pub(crate) const JOIN_FAILED: &str = "fleet-join-failed";
    pub(crate) const RESET_FAILED: &str = "fleet-reset-failed";
    pub(crate) const HOOK_FAILED: &str = "fleet-hook-failed";
    pub(crate) const HOST_LOCKED: &str = "fleet-host-locked";
    pub(crate) const JOINED_ELSEWHERE: &str = "already-joined-elsewhere";
    pub(crate) const WRONG_BINARY: &str = "fleet-binary-unusable";
    pub(crate) const VERSION_SKEW: &str = "fleet-version-skew";
    pub(crate) const TOKEN_NOT_MINTED: &str = "fleet-token-not-minted";
    pub(crate) const NODE_NOT_READY: &str = "node-not-ready";
    pub(crate) const PROVIDER_FAILED: &str = "fleet-provider-failed";
    pub(crate) const ACCESS: &str = "fleet-access-unusable";

    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [&str; 13] = [
        API_REFUSED,
        API_UNREACHABLE,
        JOIN_FAILED,
        RESET_FAILED,
        HOOK_FAILED,
        HOST_LOCKED,
        JOINED_ELSEWHERE,
        WRONG_BINARY,
        VERSION_SKEW,
        TOKEN_NOT_MINTED,
        NODE_NOT_READY,
        PROVIDER_FAILED,
        ACCESS,
    ];
}

/// What an API error means; `what` completes "cannot …".
pub(crate) fn of_api(what: &str, error: &ApiError) -> StageFailure {
    let message = format!("cannot {what}: {}", chain(error));
    match error {
        ApiError::Status(status) => {
            let crowded = status.code == 429 || says_busy(&status.message);
            let transient = crowded
                || status.code == 409
                || muster_handshake::error::is_transient_status(status.code);
            let id = match status.code {
                401 => ErrorKind::Unauthorized.id(),
                403 => ErrorKind::Forbidden.id(),
                _ => ids::API_REFUSED,
            };
            let failure = StageFailure {
                transient,
                retry_after: status.retry_after,
                ..StageFailure::terminal(id, message)
            };
            match status.code {
                401 | 403 => failure.with_cure("use the kubeconfig of a cluster administrator"),
                _ => failure,
            }
        }
        ApiError::Transport { error, .. } => StageFailure {
            transient: error.class() == ErrorClass::Transient,
            ..StageFailure::terminal(ids::API_UNREACHABLE, message)
        }
        .with_cure("see that the API server answers and that the kubeconfig is its own"),
        ApiError::Decode { .. } | ApiError::Tls(_) => {
            StageFailure::terminal(ids::API_REFUSED, message)
        }
    }
}

/// What an error on the way to a machine means.
pub(crate) fn of_machine(error: &MachineError) -> StageFailure {
    let kind = error.kind();
    StageFailure {
        transient: kind.is_transient(),
        ..StageFailure::terminal(kind.id(), chain(error))
    }
    .with_cure(error.cure())
}

/// The last words of a command: the lines that matter, in one.
pub(crate) fn last_words(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let from = lines.len().saturating_sub(6);
    let words = lines[from..].join("; ");
    match words.char_indices().rev().nth(LONGEST_WORDS) {
        Some((at, _)) => format!("…{}", &words[at..]),
        None => words,
    }
}

/// What of a tool's words says why: kubeadm's checks that failed, else its error, else the last words. Warnings and advice
/// would push the reason out of what is told.
fn telling(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let checks: Vec<&str> = lines().filter(|line| line.starts_with("[ERROR ")).collect();
    if !checks.is_empty() {
        // Each gets its share, so that all are named.
        let share = (LONGEST_WORDS / checks.len()).max(40);
        let short = |line: &&str| match line.char_indices().nth(share) {
            Some((at, _)) => format!("{}…", &line[..at]),
            None => (*line).to_owned(),
        };
        return last_words(&checks.iter().map(short).collect::<Vec<_>>().join("; "));
    }
    let advice = |line: &&str| {
        line.starts_with("[WARNING ") || line.starts_with("To see the stack trace of this error")
    };
    let words: Vec<&str> = lines().filter(|line| !advice(line)).collect();
    let error = words.iter().rposition(|line| line.starts_with("error: "));
    last_words(&words[error.unwrap_or(0)..].join("\n"))
}

fn says_busy(text: &str) -> bool {
    const BUSY: [&str; 7] = [
        "too many learner",
        "etcdserver: leader changed",
        "etcdserver: request timed out",
        "etcdserver: unhealthy cluster",
        "too many requests",
        "the server is currently unable to handle the request",
        "can only promote a learner member which is in sync",
    ];
    let text = text.to_lowercase();
    BUSY.iter().any(|words| text.contains(words))
}

fn says_no_way(text: &str) -> bool {
    const NO_WAY: [&str; 9] = [
        "connection refused",
        "connection reset by peer",
        "i/o timeout",
        "no route to host",
        "tls handshake timeout",
        "context deadline exceeded",
        "network is unreachable",
        "unexpected eof",
        "client.timeout exceeded",
    ];
    let text = text.to_lowercase();
    NO_WAY.iter().any(|words| text.contains(words))
}

/// An id of the handshake or of a join, as `muster join` tells it.
pub(crate) fn of_join_id(id: &str, message: &str, cure: Option<String>) -> StageFailure {
    let kind = ErrorKind::ALL.iter().find(|kind| kind.id() == id);
    let transient = match kind {
        Some(kind) => kind.class() == ErrorClass::Transient,
        // Others were joining, or etcd was busy with them.
        None => {
            matches!(id, "control-plane-busy" | "etcd-unhealthy" | "locked") || says_busy(message)
        }
    };
    StageFailure {
        transient,
        token_refused: matches!(id, "token-unknown" | "token-expired"),
        cure,
        ..StageFailure::terminal(id, message)
    }
}

/// What the last words of `kubeadm join` (or of another tool that joins) mean.
pub(crate) fn of_words(tool: &str, words: &str) -> StageFailure {
    let lower = words.to_lowercase();
    let has = |text: &str| lower.contains(text);
    let message = format!("{tool}: {}", telling(words));
    let terminal = |kind: ErrorKind, cure: &str| {
        StageFailure::terminal(kind.id(), message.clone()).with_cure(cure)
    };
    // Without a signature by its token, cluster-info is what kubeadm finds when the token is gone.
    if has("is invalid for this cluster or it has expired")
        || has("could not find a jws signature")
        || has("token id") && has("not found")
    {
        let failure = terminal(
            ErrorKind::TokenUnknown,
            "see why the token went: `muster token list`",
        );
        return StageFailure {
            token_refused: true,
            ..failure
        };
    }
    if has("none of the public keys") || has("ca hash does not match") {
        return terminal(
            ErrorKind::PinMismatch,
            "see that the hosts reach the right cluster: the CA that answers there is another one",
        );
    }
    if has("already exists in the cluster")
        || has("node password rejected")
        || has("duplicate hostname")
    {
        return terminal(
            ErrorKind::NodeNameTaken,
            "choose another name, or remove the old node: kubectl delete node NAME",
        );
    }
    if has("[error ") || has("preflight checks failed") {
        return StageFailure::terminal("preflight-failed", message)
            .with_cure("mend what is named, or list it in ignorePreflightErrors");
    }
    if has("this version of kubeadm only supports")
        || has("version skew")
        || has("unsupported kubernetes version")
    {
        return StageFailure::terminal(ids::VERSION_SKEW, message)
            .with_cure("install the version of the control plane on this host");
    }
    if says_busy(&lower) {
        return StageFailure::transient(ids::JOIN_FAILED, message);
    }
    if says_no_way(&lower) {
        return StageFailure::transient(ids::JOIN_FAILED, message)
            .with_cure("see that this host reaches the API server");
    }
    if has("timed out waiting for the condition") || has("rate: wait(n=1) would exceed") {
        return StageFailure::transient(ids::JOIN_FAILED, message)
            .with_cure("look at the kubelet's log on the host: journalctl -u kubelet");
    }
    if has("unauthorized") {
        return terminal(
            ErrorKind::Unauthorized,
            "see why the token was not accepted: `muster token list`",
        );
    }
    StageFailure::terminal(ids::JOIN_FAILED, message)
}

/// How long the other side asked to be left alone, when it was too much for it.
pub(crate) fn crowded(failure: &StageFailure) -> Option<Option<Duration>> {
    let told = failure.message.contains("429") || says_busy(&failure.message);
    (failure.transient && (told || failure.retry_after.is_some())).then_some(failure.retry_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_kubeadm_are_told_apart() {
        let table = [
            (
                "error execution phase preflight: couldn't validate the identity of the API Server: token id \"abcdef\" is invalid for this cluster or it has expired.",
                "token-unknown",
                false,
                true,
            ),
            (
                "couldn't validate the identity of the API Server: could not find a JWS signature in the cluster-info ConfigMap for token ID \"abcdef\"",
                "token-unknown",
                false,
                true,
            ),
            (
                "cluster CA found in cluster-info ConfigMap is invalid: none of the public keys \"sha256:aa\" are pinned",
                "pin-mismatch",
                false,
                false,
            ),
            (
                "a Node with name \"w1\" and status \"Ready\" already exists in the cluster. You must delete",
                "node-name-taken",
                false,
                false,
            ),
            (
                "[ERROR FileAvailable--etc-kubernetes-kubelet.conf]: /etc/kubernetes/kubelet.conf already exists",
                "preflight-failed",
                false,
                false,
            ),
            (
                "this version of kubeadm only supports deploying clusters with the control plane version >= 1.35.0",
                "fleet-version-skew",
                false,
                false,
            ),
            (
                "etcdserver: too many learner members in cluster",
                "fleet-join-failed",
                true,
                false,
            ),
            (
                "etcdserver: leader changed",
                "fleet-join-failed",
                true,
                false,
            ),
            (
                "dial tcp 10.0.0.1:6443: connect: connection refused",
                "fleet-join-failed",
                true,
                false,
            ),
            (
                "read: connection reset by peer",
                "fleet-join-failed",
                true,
                false,
            ),
            (
                "net/http: TLS handshake timeout",
                "fleet-join-failed",
                true,
                false,
            ),
            (
                "timed out waiting for the condition",
                "fleet-join-failed",
                true,
                false,
            ),
            (
                "open /etc/kubernetes/pki: permission denied",
                "fleet-join-failed",
                false,
                false,
            ),
        ];
        for (words, id, transient, refused) in table {
            let failure = of_words("kubeadm join", words);
            assert_eq!(
                (
                    failure.id.as_str(),
                    failure.transient,
                    failure.token_refused
                ),
                (id, transient, refused),
                "{words}"
            );
        }
    }

    #[test]
    fn the_reason_is_told_and_not_the_warnings_around_it() {
        let noise = "long words about what will be removed in a future release. ".repeat(20);
        let preflight = format!(
            "\t[WARNING SystemVerification]: {noise}\n[preflight] Some fatal errors occurred:\n\t[ERROR FileExisting-crictl]: crictl not found\n\t[ERROR SystemVerification]: {noise}\n\t[ERROR Swap]: {noise}\n[preflight] If you know what you are doing, you can make a check non-fatal with `--ignore-preflight-errors=...`\nerror: error execution phase preflight: preflight checks failed\nTo see the stack trace of this error execute with --v=5 or higher\n"
        );
        let failure = of_words("kubeadm join", &preflight);
        assert_eq!(failure.id, "preflight-failed");
        for check in ["FileExisting-crictl", "SystemVerification", "Swap"] {
            assert!(
                failure.message.contains(&format!("[ERROR {check}]")),
                "{failure:?}"
            );
        }
        assert!(!failure.message.contains("WARNING"), "{failure:?}");
        let taken = format!(
            "W1121 16:10:43 1 configset.go:77] Warning: {noise}\nerror: error execution phase kubelet-start: a Node with name \"w\" and status \"Ready\" already exists in the cluster.\nTo see the stack trace of this error execute with --v=5 or higher\n"
        );
        assert_eq!(
            of_words("kubeadm join", &taken).message,
            "kubeadm join: error: error execution phase kubelet-start: a Node with name \"w\" and status \"Ready\" already exists in the cluster."
        );
        assert_eq!(of_words("k3s agent", "a\nb\n").message, "k3s agent: a; b");
    }

    #[test]
    fn ids_of_muster_join_keep_their_class() {
        for (id, transient, refused) in [
            ("connection-refused", true, false),
            ("csr-pending", true, false),
            ("server-error", true, false),
            ("token-expired", false, true),
            ("token-unknown", false, true),
            ("pin-mismatch", false, false),
            ("node-name-taken", false, false),
            ("preflight-failed", false, false),
            ("control-plane-busy", true, false),
        ] {
            let failure = of_join_id(id, "m", None);
            assert_eq!(
                (failure.transient, failure.token_refused),
                (transient, refused),
                "{id}"
            );
        }
    }

    #[test]
    fn an_api_that_is_crowded_is_left_alone_as_long_as_it_asks() {
        let answer = |code, after| {
            ApiError::Status(Box::new(muster_net::StatusError {
                code,
                reason: String::new(),
                message: String::new(),
                details: None,
                retry_after: after,
            }))
        };
        let asked = Some(Duration::from_secs(7));
        let failure = of_api("do it", &answer(429, asked));
        assert!(failure.transient);
        assert_eq!(crowded(&failure), Some(asked));
        assert!(of_api("do it", &answer(503, None)).transient);
        assert!(!of_api("do it", &answer(403, None)).transient);
        assert_eq!(of_api("do it", &answer(401, None)).id, "unauthorized");
    }

    #[test]
    fn last_words_are_short() {
        assert_eq!(last_words("a\n\n  b \n"), "a; b");
        assert!(last_words(&"ä".repeat(5000)).chars().count() <= LONGEST_WORDS + 2);
    }
}
