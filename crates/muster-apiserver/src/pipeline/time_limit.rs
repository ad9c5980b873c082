//! How long a request may take: as long as every other one, or as the client asks with `timeout=`.
//!
//! Refuses to know: what happens at the end of that time.

use std::time::Duration;

use muster_identity::GoDuration;
use muster_machinery::status::Status;

use crate::{
    registry::Refusal,
    request::{RequestInfo, Verb, query_value},
};

/// The time limit of a request: never more than `longest`, and what is not positive means that (upstream's
/// `WithRequestDeadline`). A watch has its own parameter, `timeoutSeconds`, and only has to begin in time.
pub(super) fn of(
    info: &RequestInfo,
    query: Option<&str>,
    longest: Duration,
) -> Result<Duration, Refusal> {
    if info.verb == Verb::Watch {
        return Ok(longest);
    }
    let Some(asked) = query_value(query, "timeout").filter(|asked| !asked.is_empty()) else {
        return Ok(longest);
    };
    let duration = GoDuration::parse(&asked).map_err(|_| {
        let why = format!(
            "invalid timeout specified in the request URL - time: invalid duration {asked:?}"
        );
        Refusal::from(Status::bad_request(why))
    })?;
    let asked = u64::try_from(duration.as_nanos()).unwrap_or_default();
    let asked = Duration::from_nanos(asked);
    Ok(if asked.is_zero() {
        longest
    } else {
        asked.min(longest)
    })
}

#[cfg(test)]
mod tests {
    use http::Method;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", Some(60_000))]
    #[case("timeout=", Some(60_000))]
    #[case("timeout=0s", Some(60_000))]
    #[case("timeout=-5s", Some(60_000))]
    #[case("timeout=3m", Some(60_000))]
    #[case("timeout=250ms", Some(250))]
    #[case("timeout=invalid", None)]
    #[case("timeout=5", None)]
    #[case("watch=1&timeout=invalid", Some(60_000))]
    fn a_client_may_ask_for_less_time(#[case] query: &str, #[case] expected: Option<u64>) {
        let info = RequestInfo::parse(&Method::GET, "/api/v1/pods", Some(query));
        let limit = of(&info, Some(query), Duration::from_secs(60));
        match (limit, expected) {
            (Ok(limit), Some(expected)) => assert_eq!(limit, Duration::from_millis(expected)),
            (Err(refused), None) => {
                assert_eq!(refused.code(), 400);
                assert!(
                    refused
                        .message()
                        .starts_with("invalid timeout specified in the request URL")
                );
            }
            (got, _) => panic!("{got:?}"),
        }
    }
}
