//! Ages as people read them: `5s`, `3m20s`, `4h`, `2d3h` (k8s.io/apimachinery `duration.HumanDuration`).

use jiff::{SignedDuration, Timestamp};

/// An approximation in at most two units. Up to two seconds into the future is `0s`, more is `<invalid>`.
#[must_use]
pub fn human_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    let hours = seconds / 3600;
    let pair = |big: i64, unit: char, small: i64, small_unit: char| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{small_unit}")
        }
    };
    match () {
        () if seconds < -1 => "<invalid>".into(),
        () if seconds < 0 => "0s".into(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 192 => pair(hours / 24, 'd', hours % 24, 'h'),
        () if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        () if hours < 24 * 365 * 8 => pair(hours / 24 / 365, 'y', hours / 24 % 365, 'd'),
        () => format!("{}y", hours / 24 / 365),
    }
}

/// The age of something made at `since`; `<unknown>` when that is not known.
#[must_use]
pub fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    since.map_or_else(
        || "<unknown>".into(),
        |since| human_duration(now.duration_since(since)),
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(-5, "<invalid>")]
    #[case(-1, "0s")]
    #[case(0, "0s")]
    #[case(119, "119s")]
    #[case(120, "2m")]
    #[case(200, "3m20s")]
    #[case(599, "9m59s")]
    #[case(600, "10m")]
    #[case(3 * 3600 - 1, "179m")]
    #[case(3 * 3600, "3h")]
    #[case(3 * 3600 + 125, "3h2m")]
    #[case(8 * 3600 + 125, "8h")]
    #[case(48 * 3600, "2d")]
    #[case(51 * 3600, "2d3h")]
    #[case(192 * 3600, "8d")]
    #[case(729 * 86400, "729d")]
    #[case(731 * 86400, "2y1d")]
    #[case(10 * 365 * 86400, "10y")]
    fn durations_are_approximated_as_kubectl_does(#[case] seconds: i64, #[case] text: &str) {
        assert_eq!(human_duration(SignedDuration::from_secs(seconds)), text);
    }

    #[test]
    fn an_unknown_start_has_no_age() {
        assert_eq!(age(None, Timestamp::UNIX_EPOCH), "<unknown>");
    }
}
