//! What the playground shows while nodes join: a line per node with its current phase on a
//! terminal, plain lines elsewhere, and the events themselves with `-o json`.

use crate::printer::{Output, Printer};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The lines of all nodes.
pub(super) struct Screen {
    printer: Printer,
    lines: BTreeMap<String, ProgressBar>,
    _all: MultiProgress,
}

impl Screen {
    /// A line for each of these nodes.
    pub(super) fn new(names: &[String], printer: Printer) -> Self {
        let all = MultiProgress::new();
        let mut lines = BTreeMap::new();
        if printer.is_watched() {
            for name in names {
                let line = all.add(ProgressBar::new_spinner());
                if let Ok(style) = ProgressStyle::with_template("  {spinner} {prefix:10} {msg}") {
                    line.set_style(style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏✔"));
                }
                line.set_prefix(name.clone());
                line.enable_steady_tick(Duration::from_millis(80));
                lines.insert(name.clone(), line);
            }
        }
        Self {
            printer,
            lines,
            _all: all,
        }
    }

    /// Shows an event of a node; `text` says it to people.
    pub(super) fn event(&self, node: &str, event: &Value, text: Option<&str>) {
        if self.printer.output() == Output::Json {
            self.printer.json(&json!({ "node": node, "event": event }));
            return;
        }
        let Some(text) = text else { return };
        match self.lines.get(node) {
            Some(line) => line.set_message(text.to_owned()),
            None => self.printer.note(format!("  {node:10} {text}")),
        }
    }

    /// The end of a node's line.
    pub(super) fn done(&self, node: &str, text: &str) {
        match self.lines.get(node) {
            Some(line) => line.finish_with_message(text.to_owned()),
            None => self.printer.note(format!("  {node:10} {text}")),
        }
    }
}
