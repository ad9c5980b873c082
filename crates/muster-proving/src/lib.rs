//! muster-proving.
