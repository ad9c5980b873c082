//! What can go wrong between a controller and the API, sorted by what to do about it.

use crate::keyed::Outcome;

/// Whether the API answered that somebody else was faster: a newer event will follow by itself.
pub(crate) fn is_outdated(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409))
}

/// Turns the result of a write into what the worker does next. Conflicts and vanished objects are
/// no failures: the watch brings the newer object.
pub(crate) fn outcome_of<T>(what: &str, name: &str, result: Result<T, kube::Error>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(error) if is_outdated(&error) => {
            tracing::debug!(name, %error, "{what}: somebody else was faster");
            Outcome::Done
        }
        Err(error) => {
            tracing::warn!(name, %error, "{what} failed and is tried again");
            Outcome::Retry
        }
    }
}

/// An error with what caused it. Of what an API answered its message is enough.
pub(crate) fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = words_of(error);
    let mut next = error.source();
    while let Some(cause) = next {
        let more = words_of(cause);
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}

fn words_of(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => status.message.clone(),
        Some(kube::Error::Service(cause)) => cause.to_string(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the call failed{0}")]
    struct Failed(&'static str, #[source] std::io::Error);

    #[test]
    fn an_error_is_told_with_its_causes_and_each_of_them_once() {
        let refused = || std::io::Error::other("connection refused");
        assert_eq!(
            told(&Failed("", refused())),
            "the call failed: connection refused"
        );
        assert_eq!(
            told(&Failed(": connection refused", refused())),
            "the call failed: connection refused"
        );
    }
}
