//! SystemVerification: the operating system and its kernel's release.

use super::Situation;
use crate::Finding;

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let facts = situation.facts;
    if facts.kernel_name != "Linux" {
        findings.push(Finding::error(
            "SystemVerification",
            format!("unsupported operating system: {}", facts.kernel_name),
            "Join from a Linux machine.",
        ));
    }
    if !situation.is_hollow() && !is_known_kernel(&facts.kernel) {
        findings.push(Finding::warning(
            "SystemVerification",
            format!(
                "kernel release {} is not one of 5.4, 5.10, 5.15 or 6 and later",
                facts.kernel
            ),
            "Use a kernel that is still maintained.",
        ));
    }
}

/// The releases that kubeadm 1.36 accepts without a word.
fn is_known_kernel(release: &str) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return false;
    };
    major >= 6 || (major == 5 && [4, 10, 15].contains(&minor))
}

#[cfg(test)]
mod tests {
    use super::is_known_kernel;

    #[test]
    fn releases_are_read_by_their_first_two_numbers() {
        for good in ["6.1.0-18-amd64", "5.15.0", "5.10-rc1", "7.0.1"] {
            assert!(is_known_kernel(good), "{good}");
        }
        for bad in ["5.14.0-el9", "4.19.0", "", "six", "5"] {
            assert!(!is_known_kernel(bad), "{bad}");
        }
    }
}
