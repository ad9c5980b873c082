//! Which known word somebody may have meant.
//!
//! It refuses to know what the words stand for.

/// Longer words are compared with nothing.
const LONGEST: usize = 64;
/// How many words a list of all names at most.
const LISTED: usize = 24;

/// The known word that is nearest, if one is near: a third of its letters may differ, case never counts.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let wanted = plain(word);
    known
        .iter()
        .map(|candidate| (distance(&wanted, &plain(candidate)), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Words as a list for people.
pub(crate) fn listed(words: &[&str]) -> String {
    let mut text = words
        .iter()
        .take(LISTED)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    if words.len() > LISTED {
        text.push_str(", …");
    }
    text
}

/// How many letters must be added, taken out, changed, or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in right.iter().enumerate() {
            let mut best = (last[column] + usize::from(a != b))
                .min(last[column + 1] + 1)
                .min(current[column] + 1);
            let swapped = row > 0 && column > 0 && *a == right[column - 1] && left[row - 1] == *b;
            if swapped {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_meant_is_found_and_a_stranger_is_not() {
        let known = ["address", "user", "port", "identityFile"];
        assert_eq!(nearest("adress", &known), Some("address"));
        assert_eq!(nearest("prot", &known), Some("port"));
        assert_eq!(nearest("identity_file", &known), Some("identityFile"));
        assert_eq!(nearest("USER", &known), Some("user"));
        assert_eq!(nearest("bananas", &known), None);
        assert_eq!(nearest(&"x".repeat(10_000), &known), None);
    }
}
