//! The coordinator at work.
