//! Progress bars for people who watch; nothing for programs.

use crate::printer::Printer;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// A bar of `length` steps, drawn only when somebody watches.
pub(crate) fn bar(length: u64, what: &str, printer: Printer) -> ProgressBar {
    let target = if printer.is_watched() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(length), target).with_message(what.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} {elapsed}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// One line at the bottom that says what is going on, and lines above it that stay. Without
/// anybody to watch there are only the lines that stay.
#[derive(Clone)]
pub(crate) struct Ticker {
    printer: Printer,
    bar: ProgressBar,
}

impl Ticker {
    /// A line that says nothing yet.
    pub(crate) fn new(printer: Printer) -> Self {
        let target = if printer.is_watched() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        Self { printer, bar }
    }

    /// Says what is going on from now on.
    pub(crate) fn going_on(&self, what: &str) {
        self.bar.set_message(format!("{what}…"));
        self.bar.enable_steady_tick(Duration::from_millis(80));
    }

    /// A line that stays.
    pub(crate) fn line(&self, text: &str) {
        self.bar.suspend(|| self.printer.note(text));
    }

    /// Nothing goes on any more.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
