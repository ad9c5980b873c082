//! Records on their way to the journal, and what has to wait until they are there.
//!
//! One write is under way at a time; what comes up meanwhile goes into the next one together. So nothing that stands
//! behind a record happens before the record is durable, and a slow disk makes writes larger, not more of them.

use crate::Record;

/// Records, and what stands behind them.
#[derive(Clone, Debug)]
pub(super) struct Ledger<T> {
    next: Vec<Record>,
    behind_next: Vec<T>,
    behind_write: Vec<T>,
    writing: bool,
}

/// What a ledger wants.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wish<T> {
    /// These records are to be made durable.
    Write(Vec<Record>),
    /// Nothing is in the way of these.
    Release(Vec<T>),
}

impl<T> Ledger<T> {
    pub(super) fn new() -> Self {
        Self {
            next: Vec::new(),
            behind_next: Vec::new(),
            behind_write: Vec::new(),
            writing: false,
        }
    }

    pub(super) fn record(&mut self, record: Record) {
        self.next.push(record);
    }

    /// Keeps something until everything that was recorded before it is durable.
    pub(super) fn hold(&mut self, held: T) {
        self.behind_next.push(held);
    }

    /// The write is durable; this stood behind it.
    pub(super) fn written(&mut self) -> Vec<T> {
        self.writing = false;
        std::mem::take(&mut self.behind_write)
    }

    /// What is to be done now, if anything.
    pub(super) fn wish(&mut self) -> Option<Wish<T>> {
        if self.writing {
            return None;
        }
        let behind = std::mem::take(&mut self.behind_next);
        if self.next.is_empty() {
            return (!behind.is_empty()).then_some(Wish::Release(behind));
        }
        self.behind_write = behind;
        self.writing = true;
        Some(Wish::Write(std::mem::take(&mut self.next)))
    }

    /// Whatever was recorded and not yet handed out; what stood behind it is dropped.
    pub(super) fn close(&mut self) -> Vec<Record> {
        self.behind_next.clear();
        self.behind_write.clear();
        std::mem::take(&mut self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn record(reason: &str) -> Record {
        Record::Unwinding {
            reason: reason.into(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn nothing_is_released_before_what_it_stands_behind_is_written() {
        let mut ledger = Ledger::new();
        ledger.record(record("a"));
        ledger.hold("behind a");
        assert_eq!(ledger.wish(), Some(Wish::Write(vec![record("a")])));
        ledger.record(record("b"));
        ledger.record(record("c"));
        ledger.hold("behind c");
        assert_eq!(ledger.wish(), None, "one write at a time");
        assert_eq!(ledger.written(), ["behind a"]);
        let both = vec![record("b"), record("c")];
        assert_eq!(ledger.wish(), Some(Wish::Write(both)));
        assert_eq!(ledger.written(), ["behind c"]);
        assert_eq!(ledger.wish(), None);
    }

    #[test]
    fn what_stands_behind_nothing_waits_for_nothing_but_a_write_under_way() {
        let mut ledger = Ledger::new();
        ledger.hold("free");
        assert_eq!(ledger.wish(), Some(Wish::Release(vec!["free"])));
        ledger.record(record("a"));
        ledger.wish();
        ledger.hold("later");
        assert_eq!(ledger.wish(), None);
        assert_eq!(ledger.written(), [] as [&str; 0]);
        assert_eq!(ledger.wish(), Some(Wish::Release(vec!["later"])));
    }
}
