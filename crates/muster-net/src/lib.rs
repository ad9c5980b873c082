//! muster-net.
