//! Patterns that were compiled not long ago: a rule brings the same one each time it is judged, and compiling costs a
//! hundred times what a match does.
//!
//! A memory of the thread and nothing more: what comes out does not depend on it. It refuses to know what is matched.

use std::cell::RefCell;
use std::rc::Rc;

use regex::Regex;

use super::super::eval::EvalError;

/// How many are remembered by each thread. One may take 4 MiB, nearly all take a few KiB.
const REMEMBERED: usize = 8;

thread_local! {
    /// The latest used last.
    static LATELY: RefCell<Vec<(String, Rc<Regex>)>> = const { RefCell::new(Vec::new()) };
}

/// A pattern of Go's `regexp`, compiled.
pub(super) fn regex(pattern: &str) -> Result<Rc<Regex>, EvalError> {
    LATELY.with_borrow_mut(|lately| {
        let known = lately.iter().position(|(text, _)| text == pattern);
        let entry = match known {
            Some(at) => lately.remove(at),
            None => {
                let compiled = crate::crd::compile_pattern(pattern).map_err(EvalError::Refused)?;
                (pattern.to_owned(), Rc::new(compiled))
            }
        };
        let compiled = Rc::clone(&entry.1);
        lately.push(entry);
        if lately.len() > REMEMBERED {
            lately.remove(0);
        }
        Ok(compiled)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_compiled_once_while_it_is_in_use() {
        let first = regex("^a+$").unwrap();
        for number in 0..REMEMBERED - 1 {
            regex(&format!("^{number}$")).unwrap();
        }
        let again = regex("^a+$").unwrap();
        assert!(Rc::ptr_eq(&first, &again));
        assert!(again.is_match("aa") && !again.is_match("ab"));
        assert!(!regex("^0$").unwrap().is_match("aa"));
    }

    #[test]
    fn of_many_patterns_only_the_latest_are_remembered() {
        let first = regex("^b+$").unwrap();
        for number in 0..REMEMBERED {
            regex(&format!("^{number}$")).unwrap();
        }
        assert!(!Rc::ptr_eq(&first, &regex("^b+$").unwrap()));
        LATELY.with_borrow(|lately| assert_eq!(lately.len(), REMEMBERED));
    }

    #[test]
    fn a_broken_pattern_is_refused_each_time() {
        for _ in 0..2 {
            assert!(regex("(").is_err());
        }
    }
}
