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
