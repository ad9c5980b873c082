//! muster-host.
