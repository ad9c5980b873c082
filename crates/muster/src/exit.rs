//! How a command ends badly: what happened, why, what to do now, a stable id and an exit code.
//!
//! Every error of the libraries becomes a [`Failure`] here and nowhere else, and takes its words here
//! and nowhere else. It knows no command.

use std::error::Error;
use std::fmt::Write as _;

/// A command went wrong in a way that nobody foresaw, or that has no code of its own.
pub(crate) const FAILED: u8 = 1;
/// The command line or a file that it names is wrong; nothing was changed.
pub(crate) const USAGE: u8 = 2;
/// The cluster could not be asked (no kubeconfig, no connection, no permission).
pub(crate) const CLUSTER: u8 = 3;

/// The end of a command that did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    /// A stable name for programs, in kebab case.
    pub(crate) id: String,
    /// What happened.
    pub(crate) what: String,
    /// Why, from the nearest cause to the farthest.
    pub(crate) causes: Vec<String>,
    /// What to do now; lines.
    pub(crate) remedy: Vec<String>,
    /// The process's exit code.
    pub(crate) code: u8,
}

impl Failure {
    /// A failure without causes or remedy.
    pub(crate) fn new(id: &str, code: u8, what: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            what: what.into(),
            causes: Vec::new(),
            remedy: Vec::new(),
            code,
        }
    }

    /// Adds the cause and its own causes.
    pub(crate) fn because(mut self, cause: &(dyn Error + 'static)) -> Self {
        let mut next = Some(cause);
        while let Some(error) = next {
            let text = error.to_string();
            // Some libraries repeat their source in their own text.
            if !self.causes.last().is_some_and(|last| last.contains(&text)) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// Adds one thing to do.
    pub(crate) fn cure(mut self, line: impl Into<String>) -> Self {
        self.remedy.push(line.into());
        self
    }

    /// A wrong argument.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new("usage", USAGE, what)
    }

    /// For people: the error, indented causes, and what to do now.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("error: {} [{}]\n", self.what, self.id);
        for cause in &self.causes {
            let _ = writeln!(text, "  because: {cause}");
        }
        for (number, line) in self.remedy.iter().enumerate() {
            let lead = if number == 0 {
                "  now:     "
            } else {
                "           "
            };
            let _ = writeln!(text, "{lead}{line}");
        }
        text
    }
}
