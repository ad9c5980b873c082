//! The one place that writes to standard output and standard error.
//!
//! Results go to standard output, everything else to standard error, so that output can be piped.
//! With `-o json` each event is one JSON object per line on standard output.

use crate::exit::Failure;
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// How results are shown (`-o`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

/// Whether the log may be coloured: a person reads it, who has not asked for none (`NO_COLOR`).
pub(crate) fn is_coloured() -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !is_unwanted
}

/// Writes what a command has to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    output: Output,
}

impl Printer {
    /// A printer for the format asked for.
    pub(crate) const fn new(output: Output) -> Self {
        Self { output }
    }

    /// The format asked for.
    pub(crate) const fn output(self) -> Output {
        self.output
    }

    /// Whether a person watches standard error.
    pub(crate) fn is_watched(self) -> bool {
        self.output == Output::Text && std::io::stderr().is_terminal()
    }

    /// A result: one line on standard output.
    pub(crate) fn line(self, text: impl AsRef<str>) {
        write_line(&mut std::io::stdout().lock(), text.as_ref());
    }

    /// A result as it is, on standard output.
    pub(crate) fn text(self, text: impl AsRef<str>) {
        let mut out = std::io::stdout().lock();
        // A reader that went away (`| head`) is no reason to fail.
        let _ = out.write_all(text.as_ref().as_bytes());
        let _ = out.flush();
    }

    /// A remark for people: one line on standard error; nothing with `-o json`.
    pub(crate) fn note(self, text: impl AsRef<str>) {
        if self.output == Output::Text {
            write_line(&mut std::io::stderr().lock(), text.as_ref());
        }
    }

    /// One JSON object on a line of standard output.
    pub(crate) fn json(self, value: &impl Serialize) {
        if let Ok(text) = serde_json::to_string(value) {
            self.line(text);
        }
    }

    /// The end of a command that went wrong.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.output == Output::Json {
            self.json(&serde_json::json!({
                "type": "failed",
                "id": failure.id,
                "message": failure.what,
                "causes": failure.causes,
                "remedy": failure.remedy,
                "exitCode": failure.code,
            }));
            return;
        }
        let mut err = std::io::stderr().lock();
        let _ = err.write_all(failure.render().as_bytes());
    }
}

fn write_line(to: &mut impl Write, text: &str) {
    let _ = writeln!(to, "{text}");
    let _ = to.flush();
}
