//! muster-storage.
