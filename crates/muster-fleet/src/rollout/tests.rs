//! Runs against machines in memory.
